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
cargo build --release --locked -p holdfast-tests --bin holdfast-load --bin holdfast-silent
# The other Rust node has a workspace and a build folder of its own.
peer_target=${HOLDFAST_PEER_TARGET:-$HOME/.cache/holdfast/rust-ipfs}
if CARGO_TARGET_DIR=$peer_target cargo build --release --locked --manifest-path bench/rust-ipfs/Cargo.toml; then
  export RUST_IPFS_PEER=$peer_target/release/rust-ipfs-peer RUST_IPFS_NODE=$peer_target/release/rust-ipfs-node
else
  echo "SKIPPED: runs against rust-ipfs, it could not be built" >&2
fi
# shellcheck disable=SC2086  # ROWS is a list of words
HOLDFAST_BIN=${HOLDFAST_BIN:-$CARGO_TARGET_DIR/release/holdfast} "$CARGO_TARGET_DIR/release/speed" ${ROWS:-}
