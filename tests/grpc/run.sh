#!/usr/bin/env bash
# gRPC through the built binary, with the client and the server of gRPC's own C core, without TLS and with it on either side: unary
# calls, streams in all directions, metadata, trailers, deadlines, health, reflection, and what the gateway itself answers a call.
# BINARY says what is tested. The Python packages go into a virtual environment of their own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export BINARY=${BINARY:-${CARGO_TARGET_DIR:-target}/debug/penstock}
[[ -x $BINARY ]] || { echo "grpc: $BINARY is missing: cargo build -p penstock" >&2; exit 1; }
made=$(cat tests/grpc/requirements.txt <(python3 --version) | sha256sum | cut -c1-16)
venv=${XDG_CACHE_HOME:-$HOME/.cache}/penstock-grpc/$made
if [[ ! -e $venv/made ]]; then
  echo "grpc: installing grpcio into $venv"
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/grpc/requirements.txt
  touch "$venv/made"
fi
exec "$venv/bin/python" tests/grpc/run.py
