#!/usr/bin/env bash
# Builds Kubernetes and kubectl from their Go modules, once for each state of the
# sources. Prints the folder with the programs; all else goes to stderr.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${PIPEOPS_KUBE_CACHE:-$HOME/.cache/pipeops-tunnel/kube}
say() { echo "kube-harness: $*" >&2; }

key=$(cd "$here" && cat go.mod go.sum cmd/*/*.go | sha256sum | cut -c1-16)
if [ "${1:-}" = --key ]; then echo "$key"; exit; fi # the name of what would be built
bin=$cache/bin-$key
built() { [ -x "$bin/kubebox" ] && [ -x "$bin/kubectl" ]; }

if ! built; then
  mkdir -p "$cache"
  exec 9>"$cache/build.lock"
  flock 9 # another run may be building the same: then there is nothing left to do
fi
if ! built; then
  command -v go >/dev/null || { say "no Go toolchain on PATH: install Go 1.26 or newer"; exit 1; }
  version=$(cd "$here" && go list -m -f '{{.Version}}' k8s.io/kubernetes)
  say "building kubernetes $version (long, the first time)"
  rm -rf "$bin.part"
  mkdir -p "$bin.part"
  (cd "$here" && CGO_ENABLED=0 nice go build -trimpath -o "$bin.part/" -ldflags "-s -w \
    -X k8s.io/component-base/version.gitVersion=$version \
    -X k8s.io/client-go/pkg/version.gitVersion=$version" ./cmd/...) >&2
  mv -T "$bin.part" "$bin"
fi
echo "$bin"
