#!/usr/bin/env bash
# Proves the column "never links" of the crate table in ARCHITECTURE.md, and that each crate compiles alone: with the
# features that it asks for itself, not those that others happen to switch on.
#
#   scripts/check-links.sh [--links-only]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
failed=0

# Normal and build dependencies of our crate must not have any of these.
never() { # CRATE FORBIDDEN...
  local crate=penstock-$1 forbidden found; shift
  local all; all=$(cargo tree --locked --package "$crate" --edges normal,build --prefix none --format '{p}' | cut -d' ' -f1 | sort -u)
  for forbidden in "$@"; do
    found=$(grep -Ex -- "$forbidden" <<< "$all" || true)
    [[ -z $found ]] || {
      failed=1
      echo "$crate links ${found//$'\n'/, }, which ARCHITECTURE.md forbids; this is how:" >&2
      cargo tree --locked --package "$crate" --edges normal,build --invert "$(head -n 1 <<< "$found")" >&2 || true
    }
  done
}

KUBE='kube|kube-(client|runtime)'
never model      "kube.*|k8s-openapi" "tokio.*" "serde_json"
never api        "$KUBE" "tokio.*"
never translate  "$KUBE" "tokio.*" "hyper.*"
never routing    "kube.*|k8s-openapi" "tokio.*"
never controller "penstock-(dataplane|routing|runtime|otlp)"
never dataplane  "kube.*|k8s-openapi" "penstock-(api|translate|controller|runtime)"
never otlp       "kube.*|k8s-openapi" "penstock-(api|model|routing|translate|controller|dataplane|runtime)"
never runtime    "kube.*|k8s-openapi" "penstock-(api|model|routing|translate|controller|dataplane|otlp)"
(( failed == 0 )) || exit 1

# The controller speaks HTTP as a client only.
if cargo tree --locked --package penstock-controller --edges normal,features --prefix none | grep -E '^hyper feature "server"' >/dev/null; then
  echo "penstock-controller links hyper's server, which ARCHITECTURE.md forbids" >&2; exit 1
fi
# One copy each of what must agree with itself, and none of what is not wanted at all.
for one in kube-core k8s-openapi rustls hyper h2; do
  n=$(cargo tree --locked --workspace --edges normal,build --prefix none --format '{p}' | awk -v one="$one" '$1 == one {print $2}' | sort -u | wc -l)
  (( n <= 1 )) || { echo "$n versions of $one are linked: cargo tree --invert $one --duplicates" >&2; failed=1; }
done
for none in ring protobuf openssl native-tls; do
  if cargo tree --locked -p penstock --edges normal,build --prefix none --format '{p}' | grep -E "^$none v" >/dev/null; then
    echo "penstock links $none, which is not wanted: cargo tree -p penstock --invert $none" >&2; failed=1
  fi
done
(( failed == 0 )) || exit 1
echo "links: as ARCHITECTURE.md says"

[[ ${1:-} != --links-only ]] || exit 0
for manifest in crates/*/Cargo.toml; do
  crate=$(sed -n 's/^name = "\(.*\)"/\1/p' "$manifest" | head -n 1)
  echo "cargo check -p $crate"
  cargo check --locked --quiet -p "$crate"
done
