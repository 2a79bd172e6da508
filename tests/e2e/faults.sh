#!/usr/bin/env bash
# Breaks things around the built binary, under load, and prints a table of what clients saw.
#
#   tests/e2e/faults.sh [FILTER...]     such as `network`: parts of the tests' names, all tests without one
#
# PENSTOCK=FILE takes this binary instead of a debug build. Networks that lose packets need root and /dev/net/tun.
# FAULTS_APISERVER=no leaves out what needs etcd and kube-apiserver, which are fetched or built once otherwise.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
if [[ -z ${PENSTOCK:-} ]]; then
  cargo build --locked -p penstock
  PENSTOCK=${CARGO_TARGET_DIR:-target}/debug/penstock
fi
FAULTS_PENSTOCK=$(realpath "$PENSTOCK")
FAULTS_NETWORK=no
if [[ $(id -u) == 0 && -c /dev/net/tun ]] && command -v ip >/dev/null; then
  FAULTS_NETWORK=yes
fi
export FAULTS_PENSTOCK FAULTS_NETWORK
features=faults
if [[ ${FAULTS_APISERVER:-yes} == no ]]; then
  echo "not asked: faults around an API server (FAULTS_APISERVER=no)"
else
  tests/cluster/cluster build --apiserver
  features=apiserver
fi
echo "| fault | requests answered | errors | WebSockets cut | messages | memory and files |"
echo "|---|---|---|---|---|---|"
cargo test --locked --quiet -p penstock-e2e --features "$features" --test faults -- --test-threads=1 --nocapture "$@"
