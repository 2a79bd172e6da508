#!/usr/bin/env bash
# Copies the generated crds/*.yaml into the chart penstock-crds. `--check`: changes nothing, fails when they differ.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
from=crds to=charts/penstock-crds/files

compgen -G "$from/*.yaml" >/dev/null || { echo "$from/ has no .yaml files: generate them first (penstock crds)" >&2; exit 1; }
case ${1:-} in
  --check)
    diff -rq --exclude='.*' --exclude='README*' "$from" "$to" \
      || { echo "$to differs from $from: run charts/sync-crds.sh and commit the result" >&2; exit 1; } ;;
  "") mkdir -p "$to"; rm -f "$to"/*.yaml; cp "$from"/*.yaml "$to/" ;;
  *) echo "usage: charts/sync-crds.sh [--check]" >&2; exit 2 ;;
esac
