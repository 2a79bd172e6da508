# The cluster's certificate authority, its certificates, and the kubeconfig of each component. Sourced by `cluster`.
# Keys are P-256, also the one that signs service account tokens: an RSA key alone took longer than all of these.
# shellcheck shell=bash

cert() { # NAME SUBJECT [SUBJECT-ALT-NAMES]
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.csr" -subj "$2" 2>/dev/null
  printf 'basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\n%s\n' "${3:+subjectAltName=$3}" > "$1.ext"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -extfile "$1.ext" -out "$1.crt" 2>/dev/null
}

pki() { # COMPONENT...: beside the API server and the administrator
  mkdir -p "$DIR/pki"; pushd "$DIR/pki" >/dev/null
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -keyout ca.key -out ca.crt \
    -subj /CN=penstock-cluster 2>/dev/null
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out sa.key 2>/dev/null
  openssl pkey -in sa.key -pubout -out sa.pub
  cert apiserver /CN=kube-apiserver \
    "IP:127.0.0.1,IP:$API_SERVICE_IP,IP:$NODE_IP,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
  local n; for n in admin "$@"; do
    case $n in
      admin) cert $n /O=system:masters/CN=admin ;;
      kcm) cert $n /CN=system:kube-controller-manager ;;
      scheduler) cert $n /CN=system:kube-scheduler ;;
      node) cert $n "/O=system:nodes/CN=system:node:$NODE" "DNS:$NODE,IP:$NODE_IP,IP:127.0.0.1" ;;
      proxy) cert $n /CN=system:kube-proxy ;;
    esac
    kubeconfig "$n" > "$DIR/$n.conf"
  done
  popd >/dev/null
}

kubeconfig() { # NAME: by hand, because four runs of kubectl for each would take seconds
  cat <<E
apiVersion: v1
kind: Config
current-context: penstock
contexts: [{name: penstock, context: {cluster: penstock, user: $1}}]
clusters:
- name: penstock
  cluster: {server: "https://127.0.0.1:$PORT", certificate-authority-data: $(base64 -w0 ca.crt)}
users:
- name: $1
  user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}
E
}
