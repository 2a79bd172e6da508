#!/usr/bin/env bash
# The fuzzing client of the Autobahn test suite against an echo, once directly and once through the built binary, over HTTP and
# HTTPS; README.md says more. BINARY says what is tested.
#
#   tests/autobahn/run.sh            all cases
#   tests/autobahn/run.sh --quick    with compressed messages of up to 256 bytes only, for CI
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
BINARY=${BINARY:-${CARGO_TARGET_DIR:-target}/debug/penstock}
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/penstock-autobahn
here=tests/autobahn

excluded=()
case ${1:-} in
  "") ;;
  # 12.* and 13.* above 256 bytes, and those in fragments. The suite makes regular expressions of its patterns.
  --quick) excluded=('1[23].*.[4-9]' '1[23].*.1[0-8]') ;;
  *) echo "autobahn: unknown argument $1; there is only --quick" >&2; exit 2 ;;
esac
need() { command -v "$1" >/dev/null || { echo "autobahn: $1 is missing: $2" >&2; exit 1; }; }
need openssl "apt-get install openssl"
need python3 "apt-get install python3 python3-venv"
[[ -x $BINARY ]] || { echo "autobahn: $BINARY is missing: cargo build -p penstock" >&2; exit 1; }

# The suite in Python 3, made once for this Python and these files.
made=$(cat "$here/requirements.txt" "$here/port.py" <(python3 --version) | sha256sum | cut -c1-16)
venv=$CACHE/$made
if [[ ! -e $venv/made ]]; then
  echo "autobahn: installing the suite into $venv"
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --no-compile -r "$here/requirements.txt"
  "$venv/bin/python" "$here/port.py"
  touch "$venv/made"
fi
# Warnings of the suite's age.
python=("$venv/bin/python" -W ignore)

folder=$(mktemp -d)
pids=()
keep=
cleanup() {
  kill "${pids[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  if [[ $keep ]]; then echo "autobahn: reports and logs are in $folder"; else rm -rf "$folder"; fi
}
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
metadata: {name: echo}
spec: {ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: echo, labels: {kubernetes.io/service-name: echo}}
addressType: IPv4
ports: [{port: $backend}]
endpoints: [{addresses: [127.0.0.1]}]
---
apiVersion: penstock.dev/v1alpha1
kind: ApplicationGateway
metadata: {name: autobahn}
spec:
  listeners:
  - {name: http, port: $http, protocol: HTTP}
  - {name: https, port: $https, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}
---
apiVersion: penstock.dev/v1alpha1
kind: RoutingRule
metadata: {name: all}
spec:
  gatewayRef: {name: autobahn}
  backend: {services: [{name: echo, port: 80}]}
YAML

"${python[@]}" "$here/echo.py" "$backend" >"$folder/echo.log" 2>&1 &
pids+=($!)
"$BINARY" run --manifests "$folder/manifests" --bind-address 127.0.0.1 --admin-address "127.0.0.1:$admin" \
  --workers 1 >"$folder/gateway.out" 2>"$folder/gateway.log" &
pids+=($!)
reached() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
for (( tries = 0; ; tries++ )); do
  if reached "$backend" && reached "$http" && reached "$https"; then break; fi
  (( tries < 300 )) || { echo "autobahn: the gateway or the echo does not listen:" >&2; cat "$folder"/*.log >&2; exit 1; }
  sleep 0.1
done

# Side by side: much of the suite is waiting.
started=$SECONDS
clients=()
for way in "direct ws://127.0.0.1:$backend" "http ws://127.0.0.1:$http" "https wss://127.0.0.1:$https"; do
  read -r name url <<<"$way"
  mkdir "$folder/$name"
  "${python[@]}" "$here/fuzz.py" "$url" "$folder/$name" "${excluded[@]}" >"$folder/$name.out" 2>"$folder/$name.log" &
  clients+=($!)
  pids+=($!)
done
keep=yes
for pid in "${clients[@]}"; do
  wait "$pid" || { echo "autobahn: a client failed:" >&2; tail -n 20 "$folder"/{direct,http,https}.log >&2; exit 1; }
done
python3 "$here/compare.py" "$folder" "http://127.0.0.1:$admin/metrics"
echo "autobahn: $((SECONDS - started)) s"
keep=
