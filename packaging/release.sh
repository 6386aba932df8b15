#!/usr/bin/env bash
# release.sh DIR [GOARCH…]: writes into DIR an archive for each architecture, by default
# amd64 and arm64, and SHA256SUMS. The version is $VERSION, by default that of git; times in
# the archives are that of the commit, or $SOURCE_DATE_EPOCH.
set -euo pipefail
mkdir -p "${1:?usage: packaging/release.sh DIR [GOARCH…]}"
output=$(realpath "$1")
shift
cd "$(dirname "$0")/.."

VERSION=${VERSION:-$(git describe --tags --always --dirty)}
export VERSION
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

archives=()
(($#)) || set -- amd64 arm64
for arch in "$@"; do
  name=imapi_${VERSION}_linux_$arch
  mkdir "$work/$name"
  GOARCH=$arch packaging/build.sh "$work/$name/imapi"
  cp LICENSE CHANGELOG.md packaging/imapi.service packaging/imapi.sysusers docs/grafana.json docs/alerts.yml "$work/$name/"
  chmod 0644 "$work/$name"/*
  chmod 0755 "$work/$name" "$work/$name/imapi"
  tar --create --format=gnu --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" \
    --directory "$work" "$name" | gzip --no-name -9 >"$output/$name.tar.gz.new"
  mv "$output/$name.tar.gz.new" "$output/$name.tar.gz"
  archives+=("$name.tar.gz")
done
cd "$output"
sha256sum "${archives[@]}" >SHA256SUMS.new
mv SHA256SUMS.new SHA256SUMS
cat SHA256SUMS
