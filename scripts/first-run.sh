#!/usr/bin/env bash
# What `make run` ends with: a repo, a directory added, one file read back, what to try next, and a node that runs until
# it is interrupted. Usage: first-run.sh BINARY DIRECTORY. IPFS_PROFILE, if set, is the profile of a new repo.
set -euo pipefail
bin=$1 dir=$2
export IPFS_PATH=${IPFS_PATH:-$HOME/.holdfast}

[ -d "$dir" ] || { echo "DIR=$dir is not a directory" >&2; exit 1; }
[ -f "$IPFS_PATH/config" ] || "$bin" init ${IPFS_PROFILE:+--profile="$IPFS_PROFILE"}
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
if "$bin" diag healthy >/dev/null 2>&1; then
  running="A daemon runs on this repo already; these go to it:"
else
  running="The node starts now, in this terminal. Try in another one:"
fi
cat <<TEXT

The repo is $IPFS_PATH. $running
    export PATH=$(dirname "$bin"):\$PATH IPFS_PATH=$IPFS_PATH
    holdfast ls $root
    holdfast get -o copy $root
    holdfast dag export $root > docs.car
    holdfast repo stat
    curl -X POST "\$(sed 's|/ip4/|http://|; s|/tcp/|:|' $IPFS_PATH/api)/api/v0/pin/ls?type=recursive"
    holdfast shutdown
    holdfast --help

TEXT
case $running in "The node"*) exec "$bin" daemon ;; esac
