#!/usr/bin/env bash
# h2spec, the conformance tests of HTTP/2 and HPACK, against the built binary: in cleartext and over TLS, with a backend of
# HTTP/1.1 behind it. Needs Go (h2spec is built once into a cache), openssl and python3. BINARY says what is tested.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
BINARY=${BINARY:-${CARGO_TARGET_DIR:-target}/debug/penstock}
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/penstock-h2spec
VERSION=v2.2.1+incompatible

need() { command -v "$1" >/dev/null || { echo "h2spec: $1 is missing: $2" >&2; exit 1; }; }
need openssl "apt-get install openssl"
need python3 "apt-get install python3"
if [[ ! -x $CACHE/h2spec ]]; then
  need go "install Go 1.21 or later, https://go.dev/dl"
  GOBIN=$CACHE go install "github.com/summerwind/h2spec/cmd/h2spec@$VERSION"
fi

folder=$(mktemp -d)
pids=()
cleanup() { kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$folder"; }
trap cleanup EXIT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
http=$(free_port) https=$(free_port) admin=$(free_port) backend=$(free_port)

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$folder/key" -out "$folder/cert" 2>/dev/null
mkdir "$folder/manifests"
cat >"$folder/manifests/all.yaml" <<YAML
apiVersion: v1
kind: Secret
metadata: {name: cert}
type: kubernetes.io/tls
data: {tls.crt: "$(base64 -w0 <"$folder/cert")", tls.key: "$(base64 -w0 <"$folder/key")"}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: $backend}]
endpoints: [{addresses: [127.0.0.1]}]
---
apiVersion: penstock.dev/v1alpha1
kind: ApplicationGateway
metadata: {name: h2spec}
spec:
  listeners:
  - {name: http, port: $http, protocol: HTTP}
  - {name: https, port: $https, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}
---
apiVersion: penstock.dev/v1alpha1
kind: RoutingRule
metadata: {name: all}
spec:
  gatewayRef: {name: h2spec}
  backend: {services: [{name: web, port: 80}]}
YAML

python3 - "$backend" 2>"$folder/backend" <<'PY' &
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
"$BINARY" run --manifests "$folder/manifests" --bind-address 127.0.0.1 --admin-address "127.0.0.1:$admin" \
  --workers 1 >"$folder/out" 2>"$folder/log" &
pids+=($!)
reached() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
for (( tries = 0; ; tries++ )); do
  if reached "$backend" && reached "$http" && reached "$https"; then break; fi
  (( tries < 300 )) || { echo "h2spec: the gateway does not listen:" >&2; cat "$folder/log" >&2; exit 1; }
  sleep 0.1
done

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
