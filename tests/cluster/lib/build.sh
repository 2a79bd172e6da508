# Gets the binaries of the cluster into $BIN: official releases where they can be reached, else from Go modules.
# The versions stand in the go.mod files beside this folder and nowhere else. Sourced by `cluster`.
# shellcheck shell=bash

version() { # FOLDER MODULE: the version that the folder's go.mod names, without the v
  awk -v m="$2" '$1 == m {v = $2} $1 == "require" && $2 == m {v = $3} END {print substr(v, 2)}' "$HERE/$1/go.mod"
}

declare -A REACHABLE=()
reachable() { # HOST: asked once per run, so that a machine without a network goes on to building at once
  if [[ -z ${REACHABLE[$1]:-} ]]; then
    if command -v curl >/dev/null && curl -sI --connect-timeout 3 --max-time 6 -o /dev/null "https://$1/"; then REACHABLE[$1]=yes
    else REACHABLE[$1]=no; say "https://$1 cannot be reached: building from Go modules what it would have served"; fi
  fi
  [[ ${REACHABLE[$1]} == yes ]]
}

fetch() { # URL FILE SUMS-URL: over https only; refused unless the sum is the pinned one, or else the published one
  local host=${1#https://} name=${1##*/} sum got
  reachable "${host%%/*}" || return 1
  local get=(curl -fsSL --proto =https --proto-redir =https --connect-timeout 3 --retry 1)
  "${get[@]}" -o "$2" "$1" || { say "$1 could not be fetched"; return 1; }
  # dl.k8s.io names its files alike in every version: its pins are looked up by the whole URL, which works for all.
  sum=$(awk -v u="$1" '$1 !~ /^#/ && $2 == u {print $1}' "$HERE/checksums.txt")
  got=$(sha256sum < "$2" | cut -d' ' -f1)
  if [[ -z $sum ]]; then
    sum=$("${get[@]}" "$3" | awk -v n="$name" 'NF == 1 {print $1} $2 == n || $2 == "*" n || $2 ~ ("/" n "$") {print $1}' | head -n 1) || true
    [[ $sum == "$got" ]] && say "not pinned, checked against $3; to pin it, add to checksums.txt: $got  $1"
  fi
  [[ $sum == "$got" ]] || { rm -f "$2"; die "$1 has the SHA-256 sum $got, expected ${sum:-one that could not be read from $3}"; }
}

install_all() { # FROM...: atomically, so that a half-written file is never taken for a binary
  local f; for f in "$@"; do chmod 755 "$f"; mv -f "$f" "$BIN/"; done
}

fetch_archive() { # URL SUMS-URL NAME...: takes the named files out of a release archive
  local url=$1 sums=$2 f; shift 2
  fetch "$url" "$TMP/archive" "$sums" || return 1
  tar -xzf "$TMP/archive" -C "$TMP" --no-same-owner || die "$url is not a tar.gz archive"
  rm -f "$TMP/archive"
  for f in "$@"; do install_all "$(find "$TMP" -type f -name "$f" -print -quit)"; done
}

go_build() { # FOLDER LDFLAGS TAGS PACKAGE...
  require go golang "to build the cluster from source (Go $(awk '$1 == "go" {print $2}' "$HERE/$1/go.mod") or newer: https://go.dev/dl)"
  local folder=$1 ldflags=$2 tags=$3; shift 3
  say "building $* (minutes, once)"
  mkdir -p "$TMP/out"
  (cd "$HERE/$folder" && CGO_ENABLED=0 GOFLAGS=-trimpath go build -tags "$tags" -ldflags "-s -w $ldflags" -o "$TMP/out/" "$@")
}

get_kubernetes() { # NAME
  local v minor url; v=$(version k8s k8s.io/kubernetes); minor=${v#*.}; minor=${minor%%.*}
  url=https://dl.k8s.io/release/v$v/bin/linux/$ARCH/$1
  if fetch "$url" "$TMP/$1" "$url.sha256"; then install_all "$TMP/$1"; return; fi
  local x=k8s.io/component-base/version
  go_build k8s "-X $x.gitVersion=v$v -X $x.gitMajor=1 -X $x.gitMinor=$minor -X $x.gitTreeState=clean \
    -X k8s.io/client-go/pkg/version.gitVersion=v$v" "" "k8s.io/kubernetes/cmd/$1"
  install_all "$TMP/out/$1"
}

get_etcd() {
  local v base; v=$(version k8s go.etcd.io/etcd/server/v3); base=https://github.com/etcd-io/etcd/releases/download/v$v
  fetch_archive "$base/etcd-v$v-linux-$ARCH.tar.gz" "$base/SHA256SUMS" etcd && return
  go_build k8s "" "" go.etcd.io/etcd/server/v3
  mv "$TMP/out/server" "$TMP/out/etcd"
  install_all "$TMP/out/etcd"
}

get_containerd() {
  local v url; v=$(version containerd github.com/containerd/containerd/v2)
  url=https://github.com/containerd/containerd/releases/download/v$v/containerd-$v-linux-$ARCH.tar.gz
  fetch_archive "$url" "$url.sha256sum" containerd containerd-shim-runc-v2 ctr && return
  go_build containerd "" no_btrfs,no_devmapper,no_zfs github.com/containerd/containerd/v2/cmd/{containerd,containerd-shim-runc-v2,ctr}
  install_all "$TMP"/out/{containerd,containerd-shim-runc-v2,ctr}
}

get_coredns() {
  local v url; v=$(version dns github.com/coredns/coredns)
  url=https://github.com/coredns/coredns/releases/download/v$v/coredns_${v}_linux_$ARCH.tgz
  fetch_archive "$url" "$url.sha256" coredns && return
  go_build dns "" "" penstock.dev/cluster/dns && mv "$TMP/out/dns" "$TMP/out/coredns" && install_all "$TMP/out/coredns"
}

get_helm() {
  local v url; v=$(version helm helm.sh/helm/v4); url=https://get.helm.sh/helm-v$v-linux-$ARCH.tar.gz
  fetch_archive "$url" "$url.sha256sum" helm && return
  go_build helm "-X helm.sh/helm/v4/internal/version.version=v$v" "" helm.sh/helm/v4/cmd/helm && install_all "$TMP/out/helm"
}

get_pause() {
  require gcc "gcc libc6-dev" "to build the sandbox process of the Pods"
  gcc -O2 -static -o "$TMP/pause" "$HERE/pause.c" && install_all "$TMP/pause"
}

build() { # [--apiserver]
  local control=(kube-apiserver kube-controller-manager kubectl) node=(kube-scheduler kubelet kube-proxy) b
  local all=("${control[@]}" etcd)
  [[ ${1:-} == --apiserver ]] || all+=("${node[@]}" containerd containerd-shim-runc-v2 ctr coredns helm pause)
  missing "${all[@]}" || return 0
  case $(uname -m) in
    x86_64) ARCH=amd64 ;; aarch64) ARCH=arm64 ;;
    *) die "$(uname -m) is not supported: the releases used are for x86_64 and aarch64" ;;
  esac
  mkdir -p "$BIN"
  # One at a time: tests that start side by side must not build the same thing twice.
  exec 9> "$BIN/.lock"; flock 9
  TMP=$(mktemp -d "$BIN/.new.XXXXXX"); trap 'rm -rf "$TMP"' EXIT
  for b in "${all[@]}"; do
    missing "$b" || continue
    case $b in
      kube*) get_kubernetes "$b" ;;
      containerd-shim-runc-v2 | ctr) get_containerd ;;
      *) "get_$b" ;;
    esac
  done
  rm -rf "$TMP"; trap - EXIT; exec 9>&-
}

missing() { # NAME...: is any of them not in $BIN?
  local b; for b in "$@"; do [[ -x $BIN/$b ]] || return 0; done; return 1
}
