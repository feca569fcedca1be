#!/usr/bin/env bash
# RocksDB is 15 minutes of C++, and Cargo compiles it anew whenever any feature in its graph changes. So it is compiled
# once into an archive of its own, which every build then links: `rocksdb.sh` makes it, `rocksdb.sh dir` says where. The
# archive is known by RocksDB's version, the machine and the compiler flags: whoever changes the features of the rocksdb
# crate in Cargo.toml removes the folder.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${HOLDFAST_CACHE:-$HOME/.cache/holdfast}
version=$(awk '/^name = "librocksdb-sys"/ { getline; gsub(/version = |"/, ""); print }' Cargo.lock)
flags=$(cat .cargo/config.toml | cksum | cut -d' ' -f1)
dir=$cache/rocksdb/$version-$(uname -m)-$flags

[ "${1:-}" = dir ] && { echo "$dir"; exit; }
[ -f "$dir/librocksdb.a" ] && exit

echo "compiling RocksDB ${version#*+}, once: 15 minutes on two cores"
mkdir -p "$dir"
log=$dir/build.log
if ! env -u ROCKSDB_LIB_DIR -u ROCKSDB_STATIC cargo build --release --locked -p librocksdb-sys \
  --target-dir "$dir/build" >"$log" 2>&1; then
  tail -n 40 "$log" >&2
  exit 1
fi
# Cargo shows no warnings of crates from a registry; what their build scripts said is kept.
if grep -q 'CRC will be slow\|WITHOUT CRC' "$dir"/build/release/build/librocksdb-sys-*/output; then
  echo "RocksDB was compiled without hardware CRC32C: see .cargo/config.toml" >&2
  rm -rf "$dir/build"
  exit 1
fi
archive=$(find "$dir/build" -name librocksdb.a | head -n 1)
cp "$archive" "$dir/librocksdb.a.tmp" && mv "$dir/librocksdb.a.tmp" "$dir/librocksdb.a"
rm -rf "$dir/build"
