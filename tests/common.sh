# What the tests in shell share: the binary under test, Python packages in an environment of their own, and a gateway with a listener
# of HTTP and one of HTTPS before one backend. Sourced from the root of the repository, with NAME set to that of the test.
#
# BINARY says what is tested.
export BINARY=${BINARY:-${CARGO_TARGET_DIR:-target}/debug/penstock}

die() { echo "$NAME: $*" >&2; exit 1; }
need() { command -v "$1" >/dev/null || die "$1 is missing: $2"; } # COMMAND REMEDY

[[ -x $BINARY ]] || die "$BINARY is missing: cargo build -p penstock"

# What a test has made and started; it goes when the test ends. With `keep` the folder stays.
folder=
pids=()
keep=
cleanup() {
  (( ${#pids[@]} == 0 )) || kill "${pids[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  [[ $folder ]] || return 0
  if [[ $keep ]]; then echo "$NAME: reports and logs are in $folder"; else rm -rf "$folder"; fi
}
trap cleanup EXIT

# Sets `venv` to an environment with these packages, made once for this Python and these files in a cache of the test's name. Each
# PROGRAM is run by it when it is made.
python_with() { # REQUIREMENTS PROGRAM...
  need python3 "apt-get install python3 python3-venv"
  local made program
  made=$(cat "$@" <(python3 --version) | sha256sum | cut -c1-16)
  venv=${XDG_CACHE_HOME:-$HOME/.cache}/penstock-$NAME/$made
  [[ ! -e $venv/made ]] || return 0
  echo "$NAME: installing $1 into $venv"
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --no-compile -r "$1"
  for program in "${@:2}"; do "$venv/bin/python" "$program"; done
  touch "$venv/made"
}

# Makes `folder`, and chooses the ports `http`, `https`, `admin` and `backend`.
prepare() {
  need openssl "apt-get install openssl"
  need python3 "apt-get install python3"
  folder=$(mktemp -d)
  read -r http https admin backend < <(python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
print(*(s.getsockname()[1] for s in sockets))')
}

# Starts the gateway, with a certificate for localhost and everything sent to `backend`, and waits until all of them listen.
start_gateway() {
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
metadata: {name: backend}
spec: {ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: backend, labels: {kubernetes.io/service-name: backend}}
addressType: IPv4
ports: [{port: $backend}]
endpoints: [{addresses: [127.0.0.1]}]
---
apiVersion: penstock.dev/v1alpha1
kind: ApplicationGateway
metadata: {name: $NAME}
spec:
  listeners:
  - {name: http, port: $http, protocol: HTTP}
  - {name: https, port: $https, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}
---
apiVersion: penstock.dev/v1alpha1
kind: RoutingRule
metadata: {name: all}
spec:
  gatewayRef: {name: $NAME}
  backend: {services: [{name: backend, port: 80}]}
YAML
  "$BINARY" run --manifests "$folder/manifests" --bind-address 127.0.0.1 --admin-address "127.0.0.1:$admin" \
    --workers 1 >"$folder/gateway.out" 2>"$folder/gateway.log" &
  pids+=($!)
  local tries
  for (( tries = 0; ; tries++ )); do
    if reached "$backend" && reached "$http" && reached "$https"; then return; fi
    (( tries < 300 )) || { cat "$folder"/*.log >&2; die "the gateway or the backend does not listen"; }
    sleep 0.1
  done
}
reached() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; } # PORT
