#!/usr/bin/env bash
# What `make run` ends with: a repo, a directory added, one file read back, and what to try next.
# Usage: first-run.sh BINARY DIRECTORY
set -euo pipefail
bin=$1 dir=$2
export IPFS_PATH=${IPFS_PATH:-$HOME/.holdfast}

[ -d "$dir" ] || { echo "DIR=$dir is not a directory" >&2; exit 1; }
[ -f "$IPFS_PATH/config" ] || "$bin" init
echo
echo "adding $dir"
"$bin" add -r "$dir"
root=$("$bin" add -r -Q "$dir")
file=$(cd "$dir" && find . -type f ! -path '*/.*' -size -64k | sort | head -n 1)
echo
echo "root: $root"
if [ -n "$file" ]; then
  echo "first lines of /ipfs/$root/${file#./}, read back from the repo:"
  "$bin" cat "/ipfs/$root/${file#./}" | sed -n '1,5s/^/    /p'
fi
cat <<TEXT

The repo is $IPFS_PATH. Try next:
    export PATH=$(dirname "$bin"):\$PATH
    holdfast ls $root
    holdfast get -o copy $root
    holdfast dag export $root > docs.car
    holdfast repo stat
    holdfast --help
TEXT
