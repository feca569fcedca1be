#!/usr/bin/env bash
# Runs every fuzz target for SECONDS (argument 1) with coverage guidance, from fuzz/corpus.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
target=$(rustc -vV | sed -n 's/^host: //p')
build=${HOLDFAST_CACHE:-$HOME/.cache/holdfast}/fuzz

# The flags of cargo-fuzz. Stable Rust hides them; nothing else of nightly is used. Without AddressSanitizer: it cannot be in one program
# with jemalloc, which RocksDB brings, and no decoder here has unsafe code.
flags=(-Cpasses=sancov-module --cfg=fuzzing -Ccodegen-units=1)
for arg in level=4 inline-8bit-counters pc-table trace-compares; do
  flags+=("-Cllvm-args=-sanitizer-coverage-$arg")
done
RUSTC_BOOTSTRAP=1 RUSTFLAGS="${flags[*]}" cargo build --release --locked -p holdfast-fuzz --features libfuzzer --bins \
  --target "$target" --target-dir "$build"

for source in fuzz/fuzz_targets/*.rs; do
  name=$(basename "$source" .rs)
  echo "== $name, $seconds seconds"
  found=$build/found/$name
  mkdir -p "$found"
  "$build/$target/release/$name" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024 \
    -artifact_prefix="$found/" "$found" "fuzz/corpus/$name"
done
