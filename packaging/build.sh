#!/usr/bin/env bash
# build.sh OUTPUT: builds a static imapi for linux/$GOARCH, this machine's by default. The
# same source, version, Go and C compiler give the same bytes, wherever and whenever they are
# built.
set -euo pipefail
output=$(realpath -m "${1:?usage: packaging/build.sh OUTPUT}")
cd "$(dirname "$0")/.."

export GOOS=linux CGO_ENABLED=1
GOARCH=${GOARCH:-$(go env GOHOSTARCH)}
export GOARCH
if [[ -z ${CC:-} && $GOARCH != "$(go env GOHOSTARCH)" ]]; then
  case $GOARCH in
    amd64) CC=x86_64-linux-gnu-gcc ;;
    arm64) CC=aarch64-linux-gnu-gcc ;;
    *) echo "build.sh: set CC to a C compiler for $GOARCH" >&2; exit 1 ;;
  esac
  export CC
fi
${CC:-gcc} --version >/dev/null || {
  echo "build.sh: there is no ${CC:-gcc}; on Debian: apt-get install gcc, or gcc-aarch64-linux-gnu and libc6-dev-arm64-cross" >&2
  exit 1
}

# What would load shared libraries of the machine at run time is left out: glibc's resolver
# and user database, for which Go has its own, and SQLite's extensions, which imapi never
# loads.
GOFLAGS='' go build -trimpath -buildvcs=false -tags netgo,osusergo,sqlite_omit_load_extension \
  -ldflags "-s -w -buildid= -X main.version=${VERSION:-dev} -linkmode external -extldflags '-static -Wl,--build-id=none'" \
  -o "$output" ./cmd/imapi
