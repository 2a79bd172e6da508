#!/usr/bin/env bash
# Runs tests/e2e/run.sh against a cluster: its own with CLUSTER=local (root; taken down at the end), else that of KUBECONFIG.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ ${CLUSTER:-} != local ]]; then
  [[ -z ${CLUSTER:-} ]] || { echo "CLUSTER=$CLUSTER: the only value is local; without it KUBECONFIG counts" >&2; exit 2; }
  : "${KUBECONFIG:?is not set: name a cluster with it, or let make e2e CLUSTER=local bring one up (root)}"
  exec tests/e2e/run.sh
fi
scripts/setup.sh rust cc openssl podman node
started=$SECONDS
step() { echo "e2e: $* ($((SECONDS - started)) s)"; }

step "building the image"
image=$(tests/cluster/image.sh)
step "starting the cluster"
# Set first: a cluster that came up half is taken down, too.
trap 'step "taking the cluster down"; tests/cluster/cluster down' EXIT
tests/cluster/cluster up
eval "$(tests/cluster/cluster env)"
tests/cluster/cluster load "$image"
step "running the tests"
tests/e2e/run.sh
