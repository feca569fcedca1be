#!/usr/bin/env bash
# Prints every table of ratios. Needs about 60 GiB in BENCH_DIR (default: the cache folder). ROWS picks some of them.
set -euo pipefail
cd "$(dirname "$0")/.."
export BENCH_DIR=${BENCH_DIR:-$HOME/.cache/holdfast/bench}
mkdir -p "$BENCH_DIR"
if [ -x tests/interop/setup.sh ]; then
  tests/interop/setup.sh || echo "SKIPPED: runs against Kubo 0.22, its environment could not be made" >&2
fi
cargo build --release --locked -p holdfast -p holdfast-bench
# shellcheck disable=SC2086  # ROWS is a list of words
"$CARGO_TARGET_DIR/release/speed" ${ROWS:-}
