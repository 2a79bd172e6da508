#!/usr/bin/env bash
# Tests of the charts: lint, rendered output (needs helm and python3-yaml); with `--cluster` also the API server at
# KUBECONFIG is asked whether it takes every object and whether the roles allow what they should and nothing else.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$HERE/../.."
export PATH=${CLUSTER_BIN:-${XDG_CACHE_HOME:-$HOME/.cache}/penstock-cluster/bin}:$PATH
command -v helm >/dev/null || { echo "helm is missing: tests/cluster/cluster build, or https://helm.sh" >&2; exit 1; }
python3 -c 'import yaml' 2>/dev/null || { echo "PyYAML is missing. Debian, Ubuntu: apt-get install python3-yaml" >&2; exit 1; }

helm lint --quiet --strict charts/penstock
for f in tests/charts/*.values.yaml; do helm lint --quiet --strict charts/penstock -f "$f"; done
helm lint --quiet --strict charts/penstock-crds
python3 "$HERE/rendered.py"
charts/render.sh --check
charts/sync-crds.sh --check
case ${1:-} in
  --cluster) "$HERE/cluster.sh" ;;
  "") echo "charts: not asked: an API server (tests/charts/run.sh --cluster)" >&2 ;;
  *) echo "usage: tests/charts/run.sh [--cluster]" >&2; exit 2 ;;
esac
echo "charts: passed"
