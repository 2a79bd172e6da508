#!/usr/bin/env bash
# gRPC through the built binary, with the client and the server of gRPC's own C core, without TLS and with it on either side: unary
# calls, streams in all directions, metadata, trailers, deadlines, health, reflection, and what the gateway itself answers a call.
# BINARY says what is tested. The Python packages go into a virtual environment of their own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
NAME=grpc
. tests/common.sh
python_with tests/grpc/requirements.txt
exec "$venv/bin/python" tests/grpc/run.py
