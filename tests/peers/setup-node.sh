#!/bin/sh
# Puts the JavaScript peers and runtimes, pinned by the lock file, into
# target/node-peers. Does nothing if they are there already. (deno and workerd
# are the packages of their binaries: what wraps them picks one after
# installation, in a script.)
set -eu
cd "$(dirname "$0")/../.."
lock=tests/peers/package-lock.json
if cmp -s "$lock" target/node-peers/installed.json; then
    exit 0
fi
mkdir -p target/node-peers
cp tests/peers/package.json "$lock" target/node-peers/
cd target/node-peers
npm ci --ignore-scripts --no-audit --no-fund
# Last, so that what failed is tried again.
cp package-lock.json installed.json
