#!/usr/bin/env bash
# Measures the way from a write to a real API server to the traffic, with few objects and with many, and prints Markdown.
#   benches/control.sh [--out FILE]
#   PENSTOCK=FILE  this binary instead of a release build      RULES="100 1000 5000 20000"   so many rules, one row each
#   ENDPOINTS=20000  so many endpoints in the last row          CHANGES=200                   changes measured in each row
# Needs root, for addresses that endpoints can have (10.232.0.0/16 on lo), and Python with PyYAML.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=
while (( $# > 0 )); do
  case $1 in
    --out) out=${2:?--out needs a file}; shift 2 ;;
    -h | --help) sed -n '2,6s/^# *//p' "$0"; exit 0 ;;
    *) echo "$1 is not known: --out FILE is" >&2; exit 2 ;;
  esac
done
[[ $(id -u) == 0 ]] || { echo "only root can give lo a network" >&2; exit 1; }
python3 -c 'import yaml' 2>/dev/null || { echo "PyYAML is missing. Debian, Ubuntu: apt-get install python3-yaml" >&2; exit 1; }
if [[ -z ${PENSTOCK:-} ]]; then
  echo "building the release binary (PENSTOCK=FILE takes another)" >&2
  cargo build --locked --release -p penstock >&2
  PENSTOCK=${CARGO_TARGET_DIR:-target}/release/penstock
fi
tests/cluster/cluster build --apiserver >&2

scratch=$(mktemp -d)
export CLUSTER_DIR=$scratch/cluster CLUSTER_PORT=${CLUSTER_PORT:-7443}
take_down() {
  local code=$?
  trap - EXIT
  ip route del local 10.232.0.0/16 dev lo 2>/dev/null || true
  tests/cluster/cluster down >&2 || true
  rm -rf "$scratch"
  exit $code
}
trap take_down EXIT
tests/cluster/cluster up --apiserver >&2
eval "$(tests/cluster/cluster env)"
kubectl apply --server-side -f crds/ >&2
kubectl wait --for=condition=Established crd --all --timeout=60s >&2
ip route add local 10.232.0.0/16 dev lo
report=$(python3 benches/control/main.py "$KUBECONFIG" "$PENSTOCK" "${RULES:-100 1000 5000 20000}" "${ENDPOINTS:-20000}" "${CHANGES:-200}")
echo "$report"
[[ -z $out ]] || echo "$report" > "$out"
