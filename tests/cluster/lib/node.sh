# The node: scheduler, containerd, kubelet, kube-proxy, DNS and load balancer addresses. Needs root; one per machine,
# because its bridge, its iptables chains and its kubelet's ports are the machine's own. Sourced by `cluster`.
# shellcheck shell=bash

NODE=node1
NET=${CLUSTER_NET:-198.51.100}   # a /24 of RFC 5737, on lo: .1 is the node, load balancers get .100 and up
NODE_IP=$NET.1
DNS_IP=10.96.0.10          # also in coredns.yaml
SOCK=$DIR/containerd.sock
# Images and volumes: overlayfs cannot sit on every /run, so they are on disk.
DISK=/var/lib/penstock-cluster

node_check() { # says everything that is missing at once, before anything is started or built
  local lacks=()
  [[ $(id -u) == 0 ]] || die "a node needs root; without it: cluster up --apiserver"
  command -v iptables >/dev/null || lacks+=(iptables)
  command -v runc >/dev/null || lacks+=(runc)
  command -v podman >/dev/null || lacks+=(podman)
  command -v ip >/dev/null || lacks+=(iproute2)
  command -v openssl >/dev/null || lacks+=(openssl)
  [[ -x /usr/lib/cni/bridge ]] || lacks+=(containernetworking-plugins)
  (( ${#lacks[@]} == 0 )) || die "missing for a node: ${lacks[*]}. Debian, Ubuntu: apt-get install ${lacks[*]}"
  local other; other=$(cat $DISK/dir 2>/dev/null || true)
  [[ -z $other || ! -e $other/node ]] || die "a node is up with CLUSTER_DIR=$other, and a machine has room for one: take it down first, or use --apiserver"
  # Taking over the network of an interface would cut the machine off.
  [[ -z $(ip -o -4 addr show | grep -F " $NET.") ]] || die "$NET.0/24 is in use on this machine: choose another with CLUSTER_NET, such as 203.0.113"
}

node_prepare() {
  echo "$NET" > "$DIR/node"
  rm -rf $DISK; mkdir -p $DISK/{containerd,kubelet}; echo "$DIR" > $DISK/dir
  ip addr replace "$NODE_IP/32" dev lo; ip route replace local "$NET.0/24" dev lo
  sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1 net.ipv4.conf.all.route_localnet=1 2>/dev/null || true
  mount --make-rshared /
}

node_up() {
  start scheduler kube-scheduler --kubeconfig="$DIR/scheduler.conf" --authentication-kubeconfig="$DIR/scheduler.conf" \
    --authorization-kubeconfig="$DIR/scheduler.conf" --leader-elect=false
  containerd_config; kubelet_config
  start containerd containerd -c "$DIR/containerd.toml"
  wait_for 20 containerd ctr -a "$SOCK" version
  image pause
  start kubelet kubelet --config "$DIR/kubelet.yaml" --kubeconfig "$DIR/node.conf" --hostname-override=$NODE --node-ip="$NODE_IP" \
    --root-dir $DISK/kubelet
  start kube-proxy kube-proxy --kubeconfig="$DIR/proxy.conf" --proxy-mode=iptables --cluster-cidr=$POD_CIDR --hostname-override=$NODE \
    --conntrack-max-per-core=0 --conntrack-tcp-timeout-established=0 --conntrack-tcp-timeout-close-wait=0
  image coredns
  kubectl apply -f "$HERE/coredns.yaml" >/dev/null
  start loadbalancer bash "$HERE/loadbalancer" "$NET"
  wait_for 60 kubelet kubectl wait --for=condition=Ready node/$NODE --timeout=1s
  wait_for 60 kubelet kubectl -n kube-system wait --for=condition=Available deploy/coredns --timeout=1s
}

containerd_config() {
  mkdir -p "$DIR/cni"
  cat > "$DIR/cni/10-pods.conflist" <<E
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$DIR/ipam", "ranges": [[{"subnet": "10.244.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
E
  cat > "$DIR/containerd.toml" <<E
version = 3
root = "$DISK/containerd"
state = "$DIR/containerd"
[grpc]
  address = "$SOCK"
[ttrpc]
  address = "$SOCK.ttrpc"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "localhost/pause:3"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = "$DIR/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
E
}

kubelet_config() {
  cat > "$DIR/kubelet.yaml" <<E
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $DIR/pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $DIR/pki/node.crt
tlsPrivateKeyFile: $DIR/pki/node.key
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
containerRuntimeEndpoint: unix://$SOCK
clusterDomain: cluster.local
clusterDNS: [$DNS_IP]
resolvConf: ""
featureGates: {KubeletInUserNamespace: true}
evictionHard: {nodefs.available: "1%", imagefs.available: "1%", memory.available: 100Mi}
localStorageCapacityIsolation: false
nodeStatusUpdateFrequency: 5s
E
}

image() { # NAME: a from-scratch image of one static binary from $BIN, straight into the node
  local ctx; ctx=$(mktemp -d); cp "$BIN/$1" "$ctx/$1"
  printf 'FROM scratch\nCOPY %s /%s\nENTRYPOINT ["/%s"]\n' "$1" "$1" "$1" > "$ctx/Dockerfile"
  podman build -q --isolation chroot --ulimit nofile=1024:1024 -t "localhost/$1:3" "$ctx" >/dev/null
  rm -rf "$ctx"; load "localhost/$1:3"
}

load() { # IMAGE...
  (( $# > 0 )) || die "which images? cluster load localhost/penstock:dev"
  [[ -S $SOCK ]] || die "$SOCK is not there: images go to a node, which \`cluster up\` starts"
  local i tar; for i in "$@"; do
    tar=$(mktemp -u); podman save -q --format oci-archive -o "$tar" "$i" >/dev/null
    # containerd warns about cgroup v1 on every call: what it says matters when it fails.
    ctr -a "$SOCK" -n k8s.io images import "$tar" >/dev/null 2>"$tar.log" || { cat "$tar.log" >&2; die "$i could not be loaded"; }
    rm -f "$tar" "$tar.log"
  done
}

node_stop() { # before the control plane: every Pod, then its shim
  local n t; for n in loadbalancer kubelet kube-proxy; do stop_one $n; done
  if [[ -S $SOCK ]] && running containerd; then
    local c=(ctr -a "$SOCK" -n k8s.io)
    for t in $("${c[@]}" tasks ls -q 2>/dev/null); do "${c[@]}" tasks kill -s KILL "$t" >/dev/null 2>&1 || true; done
    for t in $("${c[@]}" tasks ls -q 2>/dev/null); do "${c[@]}" tasks rm -f "$t" >/dev/null 2>&1 || true; done
    for t in $("${c[@]}" containers ls -q 2>/dev/null); do "${c[@]}" containers rm "$t" >/dev/null 2>&1 || true; done
  fi
  for n in containerd scheduler; do stop_one $n; done
}

node_clean() { # what a node leaves on the machine: mounts, network namespaces, bridge, iptables chains, addresses
  awk '{print $2}' /proc/mounts | grep -E "^($DIR|$DISK)/" | sort -r | xargs -r -n1 umount -l 2>/dev/null || true
  ip netns list | awk '/^cni-/ {print $1}' | xargs -r -n1 ip netns del 2>/dev/null || true
  ip link del cni0 2>/dev/null || true
  local t; for t in nat filter mangle; do
    iptables-save -t $t | grep -vE 'KUBE-|CNI-|cni' | iptables-restore -T $t 2>/dev/null || true
  done
  local net; net=$(cat "$DIR/node")
  ip route del local "$net.0/24" dev lo 2>/dev/null || true; ip addr del "$net.1/32" dev lo 2>/dev/null || true
  rm -rf $DISK
}
