#!/usr/bin/env bash
# Builds MediaMTX, a peer in the benchmarks, from its Go module into .cache/mediamtx. Its module
# lacks two files that a release adds: its version, and hls.js, which its own page alone uses.
set -euo pipefail

version=v1.14.0
to=$(cd "$(dirname "$0")/.." && pwd)/.cache/mediamtx
[ "$(cat "$to/version" 2>/dev/null)" = "$version" ] && exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" # so that go changes nothing in this module
dir=$(go mod download -json "github.com/bluenviron/mediamtx@$version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
cp -r "$dir" src
chmod -R u+w src
cd src
echo "$version" >internal/core/VERSION
: >internal/servers/hls/hls.min.js
mkdir -p "$to"
go build -o "$to/mediamtx" .
echo "$version" >"$to/version"
