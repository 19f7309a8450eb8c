#!/bin/sh
# Miri over what it can run in minutes: of shm what needs no system call but `mmap`, and short stories of
# core. Without a nightly toolchain with Miri it says so and does nothing.
set -eu
cd "$(dirname "$0")/../.."
if ! cargo +nightly miri --version >/dev/null 2>&1; then
    echo "skipped: it needs \`rustup toolchain install nightly --component miri,rust-src\`"
    exit 0
fi
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/miri" MIRIFLAGS=-Zmiri-disable-isolation
cargo +nightly miri test --quiet -p skate-shm --lib -- ring:: flags:: spin::
cargo +nightly miri test --quiet -p skate-core --test actor_lives --test arguments --test closing
