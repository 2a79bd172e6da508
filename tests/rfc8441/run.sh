#!/usr/bin/env bash
# WebSockets over HTTP/2 (RFC 8441) through the built binary with a client that is not ours: the Python packages h2 and wsproto, without TLS
# and with it, to a backend of HTTP/1.1. BINARY says what is tested.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
NAME=rfc8441
. tests/common.sh
python_with tests/rfc8441/requirements.txt
prepare
"$venv/bin/python" tests/rfc8441/backend.py "$backend" >"$folder/backend.log" 2>&1 &
pids+=($!)
start_gateway
"$venv/bin/python" tests/rfc8441/client.py "$http" "$https" "$folder/cert" || { tail -n 20 "$folder"/*.log >&2; exit 1; }
