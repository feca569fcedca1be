#!/bin/sh
# Puts the programs that the interop tests compare with, and the clients that they drive the daemon
# with, into a folder outside the checkout:
#   venv, node_modules   what computes CIDs (Kubo 0.22 as a library, aleph-cid, the JavaScript importer)
#   clients/             kubo-rpc-client and ipfsd-ctl; Python's ipfshttpclient, aioipfs, ipfsspec, basic-ipfs
#   core/                interface-ipfs-core, its client and its fixtures
#   peers/               Helia 7, and the Node that it needs
# and builds rust-ipfs as a peer, in a folder beside it (HOLDFAST_PEER_TARGET; default ~/.cache/holdfast/rust-ipfs).
# HOLDFAST_INTEROP_DIR names the folder; the default is ~/.cache/holdfast/interop.
# Quick when everything is there. What cannot be had is said on a line that starts with SKIPPED,
# and fails when REQUIRE_ALL=1. No package's install script runs: none fetches a binary of its own.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
dir=${HOLDFAST_INTEROP_DIR:-$HOME/.cache/holdfast/interop}
mkdir -p "$dir/clients" "$dir/core" "$dir/peers"
missing=0

skip() {
    echo "SKIPPED: interop setup: $1" >&2
    missing=1
}

# A stamp holds what was installed; another version of it here means: install again.
fresh() {
    [ -f "$dir/$1.stamp" ] && cmp -s "$dir/$1.stamp" "$here/$2"
}

# python_programs NAME VENV REQUIREMENTS: an environment with exactly the pinned packages.
python_programs() {
    if fresh "$1" "$3" && [ -x "$dir/$2/bin/python" ]; then
        :
    elif ! command -v python3 >/dev/null; then
        skip "$1: no python3"
    elif rm -rf "${dir:?}/$2" && python3 -m venv "$dir/$2" &&
        "$dir/$2/bin/python" -m pip install --quiet --no-deps -r "$here/$3"; then
        cp "$here/$3" "$dir/$1.stamp"
        echo "interop: Python programs installed in $dir/$2"
    else
        skip "$1: the Python packages could not be installed (is python3-venv there?)"
    fi
}

# node_packages NAME FOLDER [FLAG]: the packages of FOLDER's lock file (the top folder is `.`).
node_packages() {
    if fresh "$1" "$2/package-lock.json" && [ -d "$dir/$2/node_modules" ]; then
        :
    elif ! command -v npm >/dev/null || ! command -v node >/dev/null; then
        skip "$1: no node or npm"
    elif cp "$here/$2/package.json" "$here/$2/package-lock.json" "$dir/$2/" &&
        (cd "$dir/$2" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error ${3:+"$3"}); then
        cp "$here/$2/package-lock.json" "$dir/$1.stamp"
        echo "interop: node packages installed in $dir/$2/node_modules"
    else
        skip "$1: the node packages could not be installed"
    fi
}

# There can be only one ipfshttpclient in an environment: the older one lies in a folder of its own,
# which the tests put first on Python's path.
old_ipfshttpclient() {
    version=0.7.0
    folder=clients/ipfshttpclient-$version
    if [ -f "$dir/$folder/ipfshttpclient/version.py" ]; then
        :
    elif [ -x "$dir/clients/venv/bin/python" ] && rm -rf "${dir:?}/$folder" &&
        "$dir/clients/venv/bin/python" -m pip install --quiet --no-deps --target "$dir/$folder" \
            "ipfshttpclient==$version"; then
        echo "interop: ipfshttpclient $version installed in $dir/$folder"
    else
        skip "ipfshttpclient $version could not be installed"
    fi
}

# The package of interface-ipfs-core lacks the files its tests add; an earlier version has them.
core_fixtures() {
    version=0.142.3
    sum=ca9f8ec6ea225b04d3668dcdcb6314fa16b0cb11b9796896ec209608ac0e7ff5
    if [ -f "$dir/core/fixtures.stamp" ] && [ "$(cat "$dir/core/fixtures.stamp")" = "$sum" ]; then
        return
    fi
    if ! command -v npm >/dev/null; then
        skip "the fixtures of interface-ipfs-core: no npm"
        return
    fi
    archive=$dir/core/interface-ipfs-core-$version.tgz
    rm -rf "$dir/core/fixtures"
    if mkdir "$dir/core/fixtures" &&
        (cd "$dir/core" && npm pack --silent --loglevel=error "interface-ipfs-core@$version" >/dev/null) &&
        echo "$sum  $archive" | sha256sum --quiet -c - &&
        tar -xzf "$archive" -C "$dir/core/fixtures" --strip-components=1 package/test/fixtures; then
        rm -f "$archive"
        echo "$sum" >"$dir/core/fixtures.stamp"
        echo "interop: fixtures of interface-ipfs-core $version unpacked in $dir/core/fixtures"
    else
        skip "the fixtures of interface-ipfs-core could not be had"
    fi
}

# The other Rust node has a workspace and a build folder of its own. A build takes several minutes, also where only the
# checkout lies elsewhere, so what was built is told by its sources.
rust_ipfs() {
    target=${HOLDFAST_PEER_TARGET:-$HOME/.cache/holdfast/rust-ipfs}
    source=$here/../../bench/rust-ipfs
    sum=$(cd "$source" && find Cargo.toml Cargo.lock src -type f | LC_ALL=C sort | xargs cat | sha256sum)
    if [ -x "$target/quick/rust-ipfs-node" ] && [ "$(cat "$target/node.stamp" 2>/dev/null)" = "$sum" ]; then
        return
    fi
    if ! command -v cargo >/dev/null; then
        skip "rust-ipfs: no cargo"
    elif CARGO_TARGET_DIR=$target cargo build --quiet --profile quick --locked \
        --manifest-path "$source/Cargo.toml" --bin rust-ipfs-node; then
        echo "$sum" >"$target/node.stamp"
    else
        skip "rust-ipfs could not be built"
    fi
}

python_programs python venv requirements.txt
node_packages node .
python_programs python-clients clients/venv clients/requirements.txt
old_ipfshttpclient
node_packages node-clients clients
# Ours, a folder that the lock file refers to.
rm -rf "$dir/core/aegir" && cp -r "$here/core/aegir" "$dir/core/aegir"
node_packages node-core core
core_fixtures
# Without peer dependencies: they are React Native, half a gigabyte of it.
node_packages node-peers peers --legacy-peer-deps
rust_ipfs

if [ "$missing" = 1 ] && [ -n "${REQUIRE_ALL:-}" ] && [ "${REQUIRE_ALL:-}" != 0 ]; then
    echo "interop setup: REQUIRE_ALL is set" >&2
    exit 1
fi
