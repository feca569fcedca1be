#!/usr/bin/env bash
# Licences, sources and duplicate crates by cargo-deny; advisories where their database can be reached.
set -euo pipefail
tools=${HOLDFAST_TOOLS:-$HOME/.cache/holdfast/tools}
export PATH=$tools/bin:$PATH
if ! command -v cargo-deny >/dev/null 2>&1; then
  echo "installing cargo-deny into $tools"
  cargo install cargo-deny --locked --no-default-features --root "$tools" --target-dir "$tools/target"
  rm -rf "$tools/target"
fi
cargo deny --locked check bans licenses sources
if [ "${DENY_ADVISORIES:-0}" = 1 ]; then
  cargo deny --locked check advisories
fi
