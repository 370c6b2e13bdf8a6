#!/bin/sh
# Makes target/peers, a Python environment with the COSE libraries that
# tests/all/wire/cose_peers.rs compares with. Does nothing if it is there already.
set -eu
cd "$(dirname "$0")/../.."
venv=target/peers
wanted=tests/peers/requirements.txt
if cmp -s "$wanted" "$venv/requirements.txt"; then
    exit 0
fi
rm -rf "$venv"
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted"
cp "$wanted" "$venv/requirements.txt"
