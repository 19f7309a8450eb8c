#!/bin/sh
# Miri over what it can run: the parts of shm that need no system call, and the stories of core. Without a
# nightly toolchain with Miri it says so and does nothing.
set -eu
cd "$(dirname "$0")/../.."
if ! cargo +nightly miri --version >/dev/null 2>&1; then
    echo "skipped: it needs \`rustup toolchain install nightly --component miri,rust-src\`"
    exit 0
fi
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/miri" MIRIFLAGS=-Zmiri-disable-isolation
cargo +nightly miri test --quiet -p skate-shm --lib
cargo +nightly miri test --quiet -p skate-core --test arguments --test closing --test deadlock \
    --test room --test room_of_actors --test actor_lives --test sharing --test memory
