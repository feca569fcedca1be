#!/usr/bin/env bash
# Runs every fuzz target for SECONDS (argument 1) with coverage guidance, starting from the corpora in fuzz/corpus.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
tools=${HOLDFAST_TOOLS:-$HOME/.cache/holdfast/tools}
export PATH=$tools/bin:$PATH
command -v cargo-fuzz >/dev/null 2>&1 || cargo install cargo-fuzz --locked --root "$tools"
for target in fuzz/fuzz_targets/*.rs; do
  name=$(basename "$target" .rs)
  echo "== $name"
  # libFuzzer needs compiler flags that stable hides; nothing else of nightly is used.
  RUSTC_BOOTSTRAP=1 cargo fuzz run --features libfuzzer "$name" -- -max_total_time="$seconds" -timeout=1 -rss_limit_mb=512
done
