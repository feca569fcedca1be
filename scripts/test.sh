#!/usr/bin/env bash
# Builds everything once, runs every test, and ends with one line of totals.
set -uo pipefail
cd "$(dirname "$0")/.."

if [ -x tests/interop/setup.sh ]; then
  tests/interop/setup.sh || { [ "${REQUIRE_ALL:-0}" = 1 ] && exit 1; }
fi
cargo build --release --locked -p holdfast || exit 1
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cargo test --release --locked --workspace --no-fail-fast 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
scripts/totals.sh <"$log"
exit "$status"
