#!/usr/bin/env bash
# Builds the static binary with this machine's cargo and packs it: localhost/penstock:dev, or the name given.
#
#   tests/cluster/image.sh [IMAGE]
#
# PROFILE chooses cargo's profile (default release; quick or dev build sooner); BINARY packs a static binary that is there
# already. `cluster load` then takes the image to the node. Needs podman; no other image is pulled.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
image=${1:-localhost/penstock:dev} profile=${PROFILE:-release} binary=${BINARY:-}
command -v podman >/dev/null || { echo "podman is missing. Debian, Ubuntu: apt-get install podman" >&2; exit 1; }

if [[ -z $binary ]]; then
  target=$(uname -m)-unknown-linux-gnu
  # With --target the flags are for the binary alone: procedural macros cannot be linked statically.
  RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" \
    cargo build --locked --profile "$profile" -p penstock --bin penstock --target "$target"
  binary=${CARGO_TARGET_DIR:-target}/$target/$([[ $profile == dev ]] && echo debug || echo "$profile")/penstock
fi
# A static binary has no program interpreter; a dynamic one cannot start in an empty image.
if readelf --program-headers "$binary" 2>/dev/null | grep -q INTERP; then
  echo "$binary is linked dynamically and cannot start in an empty image: build it with -C target-feature=+crt-static" >&2; exit 1
fi

stage=target/image; mkdir -p $stage
cp "$binary" $stage/penstock; chmod 755 $stage/penstock
for bundle in "${SSL_CERT_FILE:-}" /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do
  [[ -f $bundle ]] && break
done
[[ -f $bundle ]] || { echo "no certificate bundle found. Debian, Ubuntu: apt-get install ca-certificates; or set SSL_CERT_FILE" >&2; exit 1; }
cp "$bundle" $stage/ca-certificates.crt; chmod 644 $stage/ca-certificates.crt

# --isolation and --ulimit: builds also inside a container or a small virtual machine.
podman build --quiet --isolation chroot --ulimit nofile=1024:1024 --target prebuilt --tag "$image" \
  --build-arg REVISION="$(git rev-parse HEAD 2>/dev/null || echo unknown)" . >/dev/null
echo "$image"
