#!/usr/bin/env bash
# Builds everything once, runs every test, and ends with one line of totals.
set -uo pipefail
cd "$(dirname "$0")/.."

if [ -x tests/interop/setup.sh ]; then
  tests/interop/setup.sh || { [ "${REQUIRE_ALL:-0}" = 1 ] && exit 1; }
fi
cargo build --release --locked -p holdfast || exit 1
cargo test --release --locked --workspace --no-fail-fast 2>&1 | scripts/totals.sh
status=("${PIPESTATUS[@]}")
[ "${status[0]}" = 0 ] && [ "${status[1]}" = 0 ]
