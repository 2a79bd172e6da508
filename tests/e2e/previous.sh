#!/usr/bin/env bash
# Keeps the charts of a commit as those that the end-to-end tests upgrade from: once a release is out, its own.
#
#   tests/e2e/previous.sh COMMIT
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
commit=${1:?"usage: tests/e2e/previous.sh COMMIT"} to=tests/e2e/previous
command -v helm >/dev/null || { echo "helm is missing: tests/cluster/cluster build, or https://helm.sh" >&2; exit 1; }
date=$(git show --no-patch --date=format:%Y%m%d --format=%cd "$commit")

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
git archive "$commit" charts | tar -x -C "$scratch"
rm -rf $to; mkdir $to
for chart in penstock-crds penstock; do
  version=$(sed -n 's/^version: //p' "$scratch/charts/$chart/Chart.yaml")
  # With its day, so that `helm list` tells it from what it becomes.
  helm package "$scratch/charts/$chart" --version "$version-$date" --destination $to
done
