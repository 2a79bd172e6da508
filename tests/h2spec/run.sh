#!/usr/bin/env bash
# h2spec, the conformance tests of HTTP/2 and HPACK, against the built binary: in cleartext and over TLS, with a backend of
# HTTP/1.1 behind it. Needs Go (h2spec is built once into a cache), openssl and python3. BINARY says what is tested.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
NAME=h2spec
. tests/common.sh
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/penstock-h2spec
VERSION=v2.2.1+incompatible

if [[ ! -x $CACHE/h2spec ]]; then
  need go "install Go 1.21 or later, https://go.dev/dl"
  GOBIN=$CACHE go install "github.com/summerwind/h2spec/cmd/h2spec@$VERSION"
fi

prepare
python3 - "$backend" 2>"$folder/backend.log" <<'PY' &
import http.server, sys

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        if length:
            self.rfile.read(length)
        chunked = self.headers.get("Transfer-Encoding") == "chunked"
        while chunked:
            size = int(self.rfile.readline() or "0", 16)
            self.rfile.read(size)
            # The empty line behind a chunk; behind the last one, what is left of the trailers.
            while self.rfile.readline() not in (b"\r\n", b""):
                pass
            if size == 0:
                break
        body = b"h2spec\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_OPTIONS = answer

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
PY
pids+=($!)
start_gateway

failed=0
spec() { # NAME ARGS...
  local name=$1; shift
  echo "== h2spec over $name"
  "$CACHE/h2spec" -h 127.0.0.1 -o 5 "$@" >"$folder/$name" 2>&1 || failed=1
  if ! grep -q ' 0 failed' "$folder/$name"; then failed=1; sed -n '/^Failures/,$p' "$folder/$name"; fi
  tail -n 1 "$folder/$name"
}
spec TLS -p "$https" -t -k
# All but one: http2/3.5/2 takes any bytes between a wrong preface and the end of the connection for a failure, and a port that
# speaks HTTP/1.1, too, has to answer 400 (RFC 9112 3). That is looked at here.
spec cleartext -p "$http" generic hpack http2/3.5/1 http2/4 http2/5 http2/6 http2/7 http2/8
exec 3<>"/dev/tcp/127.0.0.1/$http"
printf 'INVALID CONNECTION PREFACE\r\n\r\n' >&3
if answer=$(timeout 5 cat <&3) && [[ $answer == "HTTP/1.1 400 Bad Request"* ]]; then
  echo "http2/3.5/2: a wrong preface gets 400 and the end of the connection"
else
  echo "http2/3.5/2: a wrong preface got '$answer'" >&2; failed=1
fi
exit "$failed"
