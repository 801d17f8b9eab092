#!/usr/bin/env bash
# hold.sh [real|fake]: starts the cluster with a real node, or with nodes in name
# only, and keeps it for as long as this program's standard input is open; then, or when the holder dies in whatever way, takes
# it down. One holder at a time on a machine: others wait for the lock.
#
# Standard output, for the tests: lines of `note TEXT`, then either
# `ready KUBECONFIG KUBECTL` or `error TEXT`.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PIPEOPS_KUBE_CACHE=${PIPEOPS_KUBE_CACHE:-$HOME/.cache/pipeops-tunnel/kube}
node=${1:-real}
if [ "$node" = real ]; then
  export PIPEOPS_KUBE_REAL_NODE=1 PIPEOPS_KUBE_RUN=${PIPEOPS_KUBE_RUN:-$PIPEOPS_KUBE_CACHE/run}
  lock=/run/pipeops-kube.lock # holds the run folder of whoever has it, or died with it
else
  export PIPEOPS_KUBE_REAL_NODE='' PIPEOPS_KUBE_RUN=$PIPEOPS_KUBE_CACHE/run-fake
  lock=$PIPEOPS_KUBE_CACHE/run-fake.lock
fi
die() { echo "error $*"; exit 1; }

# --- what has to be there, in one line ----------------------------------------
key=$("$here/build.sh" --key)
built=$PIPEOPS_KUBE_CACHE/bin-$key
missing=
need() { [ -e "$1" ] || command -v "$1" >/dev/null || missing+=" $2"; }
need flock util-linux
if [ "$node" = real ]; then
  need containerd containerd
  need runc runc
  need busybox busybox-static
  need /usr/lib/cni/bridge containernetworking-plugins
  need iptables iptables
  need conntrack conntrack
  need ip iproute2
fi
need python3 python3
wanted=
[ -z "$missing" ] || wanted="Debian's$missing (apt-get install$missing)"
if [ ! -x "$built/kubectl" ] && ! command -v go >/dev/null; then
  wanted="${wanted:+$wanted, and }Go 1.26 (https://go.dev/dl), to build Kubernetes once"
fi
[ "$node" = fake ] || [ "$(id -u)" = 0 ] || wanted="${wanted:+$wanted, and }root, for the node's network and containers"
[ -z "$wanted" ] || die "the Kubernetes tests need $wanted; PIPEOPS_TEST_SKIP_KUBERNETES=1 leaves them out"

# --- one at a time --------------------------------------------------------------
mkdir -p "$PIPEOPS_KUBE_CACHE"
exec 9<>"$lock" || die "cannot open $lock"
if ! flock -n 9; then
  echo "note waiting for another test run's cluster ($lock)"
  flock 9
fi
log=$PIPEOPS_KUBE_RUN.log
down() { PIPEOPS_KUBE_RUN=$1 "$here/down.sh" </dev/null >>"$log" 2>&1 9>&-; }
: >"$log"
for stale in "$(head -n 1 "$lock")" "$PIPEOPS_KUBE_RUN"; do # nobody holds these: left by a holder that was killed
  if [ -n "$stale" ] && [ -d "$stale/pids" ]; then down "$stale"; fi
done
echo "$PIPEOPS_KUBE_RUN" >"$lock"

# --- hold -----------------------------------------------------------------------
finish() { trap '' TERM INT HUP; down "$PIPEOPS_KUBE_RUN"; : >"$lock"; }
trap finish EXIT
trap 'exit 1' TERM INT HUP
[ -x "$built/kubectl" ] || echo "note building Kubernetes: once, about 15 minutes of processor time (log: $log)"
PIPEOPS_KUBE_PORT=$(python3 - <<'PY'
import random, socket
while True: # below the ephemeral ports, so nobody's outgoing connection takes one meanwhile
    first = random.randrange(20000, 32000)
    try:
        held = [socket.socket() for _ in range(6)]
        for n, s in enumerate(held): s.bind(("0.0.0.0", first + n))
    except OSError: continue
    print(first); break
PY
)
export PIPEOPS_KUBE_PORT
if kubeconfig=$("$here/up.sh" </dev/null 2>>"$log" 9>&-); then
  echo "ready $kubeconfig $built/kubectl"
else
  die "Kubernetes did not start: $(tail -n 1 "$log") (log: $log)"
fi
exec >>"$log" 2>&1
while read -r _ || [ $? -gt 128 ]; do :; done
