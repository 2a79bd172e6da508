#!/usr/bin/env bash
# The version is in Cargo.toml; this brings it to the charts, the image and the plain manifests.
#
#   scripts/version.sh            prints it
#   scripts/version.sh --check    fails when something has another one
#   scripts/version.sh 1.2.3      makes it this one everywhere, and gives CHANGELOG.md a section for it
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version() { sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml; }

case ${1:-} in
  "") version; exit ;;
  --check)
    now=$(version) failed=0
    differs() { failed=1; echo "$1 has version $2, Cargo.toml has $now: run scripts/version.sh $now and commit the result" >&2; }
    for chart in charts/*/Chart.yaml; do
      for field in version appVersion; do
        found=$(sed -n "s/^$field: //p" "$chart"); [[ $found == "$now" ]] || differs "$chart ($field)" "$found"
      done
    done
    found=$(sed -n 's/^ARG VERSION=//p' Dockerfile); [[ $found == "$now" ]] || differs Dockerfile "$found"
    found=$(sed -n 's/^ *image: .*:\(.*\)$/\1/p' deploy/penstock.yaml); [[ $found == "$now" ]] || differs deploy/penstock.yaml "$found"
    exit $failed ;;
  [0-9]*.[0-9]*.[0-9]*) new=$1 ;;
  *) echo "usage: scripts/version.sh [--check | VERSION]" >&2; exit 2 ;;
esac

sed -i "/^\[workspace.package\]/,/^$/s/^version = .*/version = \"$new\"/" Cargo.toml
cargo update --quiet --offline --workspace
sed -i "s/^version: .*/version: $new/; s/^appVersion: .*/appVersion: $new/" charts/*/Chart.yaml
sed -i "s/^ARG VERSION=.*/ARG VERSION=$new/" Dockerfile
charts/render.sh
grep -q "^## \[$new\]" CHANGELOG.md || sed -i "s/^## \[Unreleased\]$/&\n\n## [$new] - $(date -u +%F)/" CHANGELOG.md
echo "version $new; the next step is the tag v$new, whose push makes the release" >&2
