#!/usr/bin/env bash
# Installs what the build (`setup.sh build`) or the tests (`setup.sh test`) need on Debian, if it is not there. With
# REQUIRE_ALL=1 the tests also need Python and Node, and the lints rustfmt and clippy.
set -euo pipefail
# Where Debian keeps what makes file systems, which is not on everyone's path.
PATH=$PATH:/usr/sbin:/sbin

missing=()
need() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }
has_libclang() {
  [ -n "${LIBCLANG_PATH:-}" ] || ldconfig -p 2>/dev/null | grep -q 'libclang[-.0-9]*\.so' ||
    ls /usr/lib/llvm-*/lib/libclang*.so* 2>/dev/null | grep -qE 'libclang(-[0-9.]+)?\.so'
}

case "${1:-build}" in
  build)
    command -v cargo >/dev/null 2>&1 || { echo "Rust is missing: install it first (rustup, or your distribution)" >&2; exit 1; }
    need c++ g++
    has_libclang || missing+=(libclang-dev)
    ;;
  test)
    need mkfs.xfs xfsprogs
    need mkfs.ext4 e2fsprogs
    need losetup mount
    need ip iproute2
    need nsenter util-linux
    need nft nftables
    need zsh zsh
    need fish fish
    if [ "${REQUIRE_ALL:-0}" = 1 ]; then
      need python3 python3
      python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
      need node nodejs
      need npm npm
    fi
    ;;
esac
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null 2>&1; then
  echo "please install: ${missing[*]}" >&2
  [ "${1:-build}" = test ] && exit 0 || exit 1
fi
as_root=()
if [ "$(id -u)" != 0 ]; then
  if command -v sudo >/dev/null 2>&1; then as_root=(sudo); else
    echo "please install as root: apt-get install ${missing[*]}" >&2
    [ "${1:-build}" = test ] && exit 0 || exit 1
  fi
fi
echo "installing ${missing[*]}"
log=$(mktemp)
if ! { "${as_root[@]}" apt-get update && "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  cat "$log" >&2
  exit 1
fi
rm -f "$log"
