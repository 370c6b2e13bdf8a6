#!/bin/sh
# Puts the JavaScript peers, pinned by the lock file, into target/node-peers.
# Does nothing if they are there already.
set -eu
cd "$(dirname "$0")/../.."
lock=tests/peers/package-lock.json
if cmp -s "$lock" target/node-peers/package-lock.json && [ -d target/node-peers/node_modules ]; then
    exit 0
fi
mkdir -p target/node-peers
cp tests/peers/package.json "$lock" target/node-peers/
cd target/node-peers
npm ci --ignore-scripts --no-audit --no-fund
