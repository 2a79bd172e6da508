#!/usr/bin/env bash
# Makes sure that what a target needs is there: scripts/setup.sh NEED...
#
#   rust       cargo, rustfmt and clippy; installed with rustup into the home folder when cargo is missing
#   cc         a C compiler, for mimalloc and aws-lc
#   openssl    for the certificates of the test cluster
#   venv       python3 with venv, for the tests with gRPC and the Autobahn test suite
#   yaml       python3 with PyYAML, for the tests of the charts
#   podman     for images
#   prometheus prometheus and promtool; Debian's package is unpacked into a cache when they are missing, no root
#   browser    Chromium, and Node with npm, for the tests of the dashboard
#   node       what a node of the test cluster needs; root
#   fuzz       a nightly compiler and cargo-fuzz
#
# Packages are installed on Debian and Ubuntu by root; anybody else is told the one command.
set -euo pipefail
export PATH=$HOME/.cargo/bin:$PATH
# As in Cargo.toml.
MSRV=1.92

say() { echo "setup: $*" >&2; }
die() { say "$*"; exit 1; }

packages=()
lacks() { command -v "$1" >/dev/null || packages+=("$2"); } # COMMAND PACKAGE

install_packages() {
  (( ${#packages[@]} > 0 )) || return 0
  command -v apt-get >/dev/null || die "missing: ${packages[*]} (names of Debian's packages); install them with your system's package manager"
  [[ $(id -u) == 0 ]] || die "missing: ${packages[*]}. Install them with: sudo apt-get install -y ${packages[*]}"
  say "installing ${packages[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
}

rust() {
  if ! command -v cargo >/dev/null; then
    command -v curl >/dev/null || die "cargo and curl are missing. Install curl with: apt-get install -y curl; or Rust from https://rustup.rs"
    say "cargo is missing: installing Rust into $HOME/.cargo with rustup"
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --quiet --profile minimal -c clippy -c rustfmt --no-modify-path
  fi
  local version; version=$(rustc --version | cut -d' ' -f2)
  [[ $(printf '%s\n%s\n' "$MSRV" "$version" | sort -V | head -n 1) == "$MSRV" ]] \
    || die "rustc $version is older than $MSRV. Update it with: rustup update stable"
  for tool in fmt clippy; do
    cargo $tool --version >/dev/null 2>&1 || rustup component add clippy rustfmt >&2 \
      || die "cargo $tool is missing. Install it with: rustup component add clippy rustfmt"
  done
}

fuzz() {
  cargo +nightly --version >/dev/null 2>&1 || die "a nightly compiler is missing. Install it with: rustup toolchain install nightly --profile minimal"
  cargo fuzz --version >/dev/null 2>&1 || die "cargo-fuzz is missing. Install it with: cargo install --locked cargo-fuzz"
}

# Unpacked, not installed: the package would start a server on port 9090.
prometheus() {
  local cache=${XDG_CACHE_HOME:-$HOME/.cache}/penstock-prometheus folder
  # Not `command -v`, which finds this function.
  [[ -z $(PATH=$PATH:$cache/usr/bin; type -P prometheus) || -z $(PATH=$PATH:$cache/usr/bin; type -P promtool) ]] || return 0
  command -v apt-get >/dev/null || die "prometheus and promtool are missing. Put them into the PATH: https://prometheus.io/download"
  say "unpacking Debian's prometheus into $cache"
  folder=$(mktemp -d)
  chmod 755 "$folder"
  (
    cd "$folder"
    apt-get download -qq prometheus 2>/dev/null || {
      [[ $(id -u) == 0 ]] || die "the package prometheus cannot be downloaded. Try again after: sudo apt-get update"
      apt-get update -qq
      apt-get download -qq prometheus
    }
    mkdir -p "$cache"
    dpkg -x prometheus_*.deb "$cache"
  )
  rm -rf "$folder"
}

for need in "$@"; do
  case $need in
    # Packages first, all in one go.
    rust | fuzz | prometheus) ;;
    cc) command -v cc >/dev/null || packages+=(gcc libc6-dev) ;;
    openssl) lacks openssl openssl ;;
    yaml) python3 -c 'import yaml' 2>/dev/null || packages+=(python3-yaml) ;;
    venv) python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv) ;;
    podman) lacks podman podman ;;
    browser)
      PATH=$PATH:/usr/bin
      command -v chromium >/dev/null || command -v google-chrome >/dev/null || packages+=(chromium)
      # Debian's npm brings its own node; who has one brings npm, too.
      command -v node >/dev/null && command -v npm >/dev/null || packages+=(nodejs npm) ;;
    node)
      PATH=$PATH:/usr/sbin:/sbin
      [[ $(id -u) == 0 ]] || die "a node of the test cluster needs root"
      lacks iptables iptables; lacks runc runc; lacks podman podman; lacks ip iproute2; lacks openssl openssl
      [[ -x /usr/lib/cni/bridge ]] || packages+=(containernetworking-plugins) ;;
    *) die "no such need: $need" ;;
  esac
done
install_packages
for need in "$@"; do
  case $need in rust | fuzz | prometheus) "$need" ;; esac
done
