#!/bin/sh
# Puts the programs that the interop tests compare with into a folder outside the checkout:
# a Python environment (Kubo 0.22 as a library, aleph-cid) and node packages (the JavaScript
# importer). HOLDFAST_INTEROP_DIR names the folder; the default is ~/.cache/holdfast/interop.
# Quick when everything is there. What cannot be had is said on a line that starts with SKIPPED,
# and fails when REQUIRE_ALL=1.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
dir=${HOLDFAST_INTEROP_DIR:-$HOME/.cache/holdfast/interop}
mkdir -p "$dir"
missing=0

skip() {
    echo "SKIPPED: interop setup: $1" >&2
    missing=1
}

# A stamp holds what was installed; another version of it here means: install again.
fresh() {
    [ -f "$dir/$1.stamp" ] && cmp -s "$dir/$1.stamp" "$here/$2"
}

if fresh python requirements.txt && [ -x "$dir/venv/bin/python" ]; then
    :
elif ! command -v python3 >/dev/null; then
    skip "no python3"
elif rm -rf "$dir/venv" && python3 -m venv "$dir/venv" &&
    "$dir/venv/bin/python" -m pip install --quiet --no-deps -r "$here/requirements.txt"; then
    cp "$here/requirements.txt" "$dir/python.stamp"
    echo "interop: Python programs installed in $dir/venv"
else
    skip "the Python packages could not be installed (is python3-venv there?)"
fi

if fresh node package-lock.json && [ -d "$dir/node_modules" ]; then
    :
elif ! command -v npm >/dev/null || ! command -v node >/dev/null; then
    skip "no node or npm"
elif cp "$here/package.json" "$here/package-lock.json" "$dir/" &&
    (cd "$dir" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error); then
    cp "$here/package-lock.json" "$dir/node.stamp"
    echo "interop: node packages installed in $dir/node_modules"
else
    skip "the node packages could not be installed"
fi

if [ "$missing" = 1 ] && [ -n "${REQUIRE_ALL:-}" ] && [ "${REQUIRE_ALL:-}" != 0 ]; then
    echo "interop setup: REQUIRE_ALL is set" >&2
    exit 1
fi
