#!/usr/bin/env bash
# Renders deploy/penstock.yaml, plain manifests for those who do not use Helm, from the chart with its default values. First
# gives the chart its copy of the alert rules: Helm reads no files outside of the chart.
# `--check`: changes nothing, fails when a file differs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
file=deploy/penstock.yaml namespace=penstock-system
rules=deploy/alerts/penstock.rules.yaml copy=charts/penstock/files/penstock.rules.yaml
PATH=${CLUSTER_BIN:-${XDG_CACHE_HOME:-$HOME/.cache}/penstock-cluster/bin}:$PATH
command -v helm >/dev/null || { echo "helm is missing: tests/cluster/cluster build, or https://helm.sh" >&2; exit 1; }

render() {
  cat <<E
# Penstock in the namespace $namespace. Rendered from charts/penstock by charts/render.sh; do not edit.
#   kubectl apply --server-side -f crds/ -f $file
apiVersion: v1
kind: Namespace
metadata:
  name: $namespace
  labels:
    pod-security.kubernetes.io/enforce: restricted
E
  # What is not installed by Helm must not say so.
  helm template penstock charts/penstock --namespace $namespace \
    | sed -e '/^ *helm.sh\/chart:/d' -e '/^ *app.kubernetes.io\/managed-by: Helm$/d' -e '/^# Source: /d' -e '/^$/d'
}

case ${1:-} in
  --check)
    diff -u "$rules" "$copy" || { echo "$copy differs from $rules: run charts/render.sh and commit the result" >&2; exit 1; }
    render | diff -u "$file" - || { echo "$file differs from the chart: run charts/render.sh and commit the result" >&2; exit 1; } ;;
  "") mkdir -p deploy "${copy%/*}"; cp "$rules" "$copy"; render > "$file.new"; mv "$file.new" "$file" ;;
  *) echo "usage: charts/render.sh [--check]" >&2; exit 2 ;;
esac
