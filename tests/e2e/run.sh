#!/usr/bin/env bash
# End-to-end tests: installs Penstock with Helm, runs the tests against it, and takes down what it brought up.
#
#   tests/e2e/run.sh [FILTER...]     such as `disruption`: parts of the tests' names, all tests without one
#
# CLUSTER=local brings up the cluster of tests/cluster (root) and takes it down at the end; otherwise KUBECONFIG names one,
# and LOAD the command that puts images into it (such as `kind load docker-image`; `true` when they are there already).
# README.md has the other variables.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
case ${CLUSTER:-} in
  local) LOAD="tests/cluster/cluster load" ;;
  "") : "${KUBECONFIG:?is not set: name a cluster with it, or let CLUSTER=local bring one up (root)}"
    : "${LOAD:?is not set: the command that puts an image into this cluster, such as \"kind load docker-image\"}" ;;
  *) echo "CLUSTER=$CLUSTER: the only value is local; without it KUBECONFIG counts" >&2; exit 2 ;;
esac
export CLUSTER=${CLUSTER:-} PROFILE=${PROFILE:-release}
export E2E_SYSTEM_NAMESPACE=penstock-e2e-system E2E_NAMESPACE=penstock-e2e E2E_RELEASE=penstock
image=localhost/penstock:dev
export E2E_BACKEND_IMAGE=localhost/penstock-e2e-backend:dev
# The program in the image, for what is asked from outside.
export E2E_PENSTOCK=target/image/penstock

step() { echo "e2e: $* ($SECONDS s)" >&2; }

backend_image() {
  local target stage=target/e2e-image; target=$(uname -m)-unknown-linux-gnu
  # With --target the flags are for the binary alone: procedural macros cannot be linked statically.
  RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" \
    cargo build --locked --profile "$PROFILE" -p penstock-e2e --no-default-features --bin e2e-backend --target "$target"
  mkdir -p $stage
  cp "${CARGO_TARGET_DIR:-target}/$target/$([[ $PROFILE == dev ]] && echo debug || echo "$PROFILE")/e2e-backend" $stage/
  podman build --quiet --isolation chroot --ulimit nofile=1024:1024 --tag "$E2E_BACKEND_IMAGE" --file tests/e2e/Dockerfile $stage >/dev/null
}

explain() { # what a failed test does not say
  kubectl get pods,services,applicationgateways --all-namespaces --output wide || true
  kubectl -n $E2E_SYSTEM_NAMESPACE get events --sort-by .lastTimestamp | tail -n 20 || true
  kubectl -n $E2E_SYSTEM_NAMESPACE logs --selector app.kubernetes.io/instance=$E2E_RELEASE --prefix --tail=2000 --all-containers \
    | grep -v '"request_id"' | tail -n 60 || true
}

take_down() {
  local code=$?
  trap - EXIT
  (( code == 0 )) || explain >&2
  if [[ -n ${KEEP:-} ]]; then step "left as it is, since KEEP is set"; exit $code; fi
  step "taking down"
  if [[ $CLUSTER == local ]]; then tests/cluster/cluster down; exit $code; fi
  # Gateways and rules go first: without the definitions the API server could not delete them.
  kubectl delete namespace $E2E_NAMESPACE --ignore-not-found >/dev/null || true
  helm uninstall $E2E_RELEASE --namespace $E2E_SYSTEM_NAMESPACE --ignore-not-found --wait >/dev/null || true
  kubectl delete namespace $E2E_SYSTEM_NAMESPACE --ignore-not-found >/dev/null || true
  [[ -z ${own_crds:-} ]] || helm uninstall penstock-crds --ignore-not-found >/dev/null || true
  exit $code
}

step "building the images and the tests"
tests/cluster/image.sh $image >/dev/null
backend_image
cargo test --locked -p penstock-e2e --features cluster --test cluster --no-run

# Set first: what came up half is taken down, too.
trap take_down EXIT
if [[ $CLUSTER == local ]]; then
  step "starting the cluster"
  tests/cluster/cluster up
  eval "$(tests/cluster/cluster env)"
fi
step "installing"
for i in $image "$E2E_BACKEND_IMAGE"; do $LOAD "$i"; done
if ! kubectl get crd routingrules.penstock.dev >/dev/null 2>&1; then own_crds=yes; fi
kubectl create namespace $E2E_NAMESPACE --dry-run=client --output yaml | kubectl apply -f - >/dev/null
# The test of the upgrade, the first one, makes the charts of today of those before them.
crds=charts/penstock-crds chart=charts/penstock
[[ $# != 0 && "$*" != *upgrade* ]] || { crds=$(echo tests/e2e/previous/penstock-crds-*.tgz) chart=$(echo tests/e2e/previous/penstock-[0-9]*.tgz); }
helm upgrade --install penstock-crds "$crds" --namespace default --set keep=false >/dev/null
helm upgrade --install $E2E_RELEASE "$chart" --namespace $E2E_SYSTEM_NAMESPACE --create-namespace --values tests/e2e/values.yaml \
  --set image.repository=${image%:*},image.tag=${image##*:} --wait --timeout 3m >/dev/null
step "testing"
cargo test --locked --quiet -p penstock-e2e --features cluster --test cluster -- --test-threads=1 --nocapture "$@"
step "passed"
