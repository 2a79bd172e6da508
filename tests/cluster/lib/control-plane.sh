# etcd, the API server and the controller manager: all of `up --apiserver`, the first half of `up`. Needs no root.
# shellcheck shell=bash

POD_CIDR=10.244.0.0/16
SERVICE_CIDR=10.96.0.0/16
API_SERVICE_IP=10.96.0.1

control_plane() { # ADDRESS: where the API server says it is
  local etcd=http://127.0.0.1:$((PORT + 1)) reconciler=lease
  if [[ $1 == 127.0.0.1 ]]; then
    # Endpoints must not be loopback addresses; without Pods nobody asks for this Service anyway.
    reconciler=none
    pki kcm
  else
    pki kcm scheduler node proxy
  fi
  export KUBECONFIG=$DIR/admin.conf
  start etcd etcd --data-dir "$DIR/etcd" --unsafe-no-fsync --log-level warn \
    --listen-peer-urls unix://etcd-peer:0 --listen-client-urls "$etcd" --advertise-client-urls "$etcd"
  start apiserver kube-apiserver --etcd-servers="$etcd" --secure-port="$PORT" \
    --advertise-address="$1" --endpoint-reconciler-type=$reconciler \
    --client-ca-file="$DIR/pki/ca.crt" --tls-cert-file="$DIR/pki/apiserver.crt" --tls-private-key-file="$DIR/pki/apiserver.key" \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$DIR/pki/sa.pub" \
    --service-account-signing-key-file="$DIR/pki/sa.key" --service-cluster-ip-range=$SERVICE_CIDR --authorization-mode=Node,RBAC \
    --kubelet-client-certificate="$DIR/pki/admin.crt" --kubelet-client-key="$DIR/pki/admin.key" \
    --kubelet-preferred-address-types=InternalIP --allow-privileged
  wait_for 60 apiserver port_open "$PORT"
  wait_for 60 apiserver kubectl get --raw /readyz
  start kcm kube-controller-manager --kubeconfig="$DIR/kcm.conf" --authentication-kubeconfig="$DIR/kcm.conf" \
    --authorization-kubeconfig="$DIR/kcm.conf" --service-account-private-key-file="$DIR/pki/sa.key" --root-ca-file="$DIR/pki/ca.crt" \
    --use-service-account-credentials --kube-api-qps=1000 --kube-api-burst=2000 --cluster-cidr=$POD_CIDR --allocate-node-cidrs --leader-elect=false \
    --bind-address=127.0.0.1 --secure-port=$((PORT + 2))
  wait_for 30 kcm kubectl get serviceaccount default
}
