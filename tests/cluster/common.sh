# Sourced by the scripts beside it: where things are, and what the cluster is called.
# Binaries are kept between runs ($XDG_CACHE_HOME), everything else lies in STATE and is gone after `down`.
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$HERE/versions"
CACHE=${REDIAL_CLUSTER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/redial-cluster}
BIN=$CACHE/$(cat "$HERE/versions" "$HERE/go.mod" | sha256sum | cut -c1-12)/bin
# Clusters of different names do not touch each other.
NAME=${REDIAL_CLUSTER_NAME:-redial-cluster}
STATE=${REDIAL_CLUSTER_STATE:-/var/lib/$NAME}
NETNS=/run/netns/$NAME
# Of the node: on a bridge inside the namespace, so it can be any address. Pods: 10.244.0.0/24, services: 10.96.0.0/16.
NODE_IP=172.31.255.1
# A second namespace, joined to the node by a cable: where phones live, with addresses of their own.
OUTSIDE=$NAME-outside
OUTSIDE_NET=172.31.254
OUTSIDE_PHONES=60
# phones: their addresses.
phones() { printf "$OUTSIDE_NET.%s " $(seq 2 $((1 + OUTSIDE_PHONES))); }
CONTAINERD_SOCKET=$STATE/containerd.sock
export PATH=$BIN:$PATH

say() { echo "cluster: $*"; }
die() { echo "cluster: $*" >&2; exit 1; }
as_root() { [[ $(id -u) -eq 0 ]] || die "needs root, for namespaces and containers"; }

# enter NAMESPACE COMMAND...: with the cluster's KUBECONFIG, kubectl, helm and ctr.
enter() {
  as_root
  [[ -e /run/netns/$1 ]] || die "is not started: make cluster"
  export KUBECONFIG=$STATE/admin.kubeconfig CONTAINERD_ADDRESS=$CONTAINERD_SOCKET CONTAINERD_NAMESPACE=k8s.io
  # Not `ip netns exec`, which mounts another /sys and so hides the cgroups.
  exec nsenter --net="/run/netns/$1" -- "${@:2}"
}

# runs NAME: whether the process that `up` started under that name is still the one with the recorded id.
runs() {
  local pid line
  pid=$(cat "$STATE/run/$1" 2>/dev/null) && [[ -n $pid ]] || return 1
  line=$(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline") && [[ $line == *"$STATE"* ]]
}

# wait_for SECONDS WHAT COMMAND...
wait_for() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || die "$what did not come up; see $STATE/log"
    sleep 0.2
  done
}
