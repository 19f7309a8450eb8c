#!/bin/sh
# The Rust tests of core and shm under AddressSanitizer, and those of shm, which has the threads, under
# ThreadSanitizer; the standard library is built with them. Without a nightly toolchain it says so and
# does nothing.
#
# Left out: tests/killed.rs, which single-steps a process and with it each check of the sanitizer;
# loom.rs, which has a run of its own; of core, what plays at scale.
set -eu
cd "$(dirname "$0")/../.."
if ! cargo +nightly --version >/dev/null 2>&1 ||
    [ ! -e "$(rustc +nightly --print sysroot)/lib/rustlib/src/rust/library/Cargo.lock" ]; then
    echo "skipped: it needs \`rustup toolchain install nightly --component rust-src\`"
    exit 0
fi
target=$(rustc +nightly -vV | sed -n 's/^host: //p')
directory=${CARGO_TARGET_DIR:-target}
# Tests of read-only memory mean to fault, and children of a fork mean to go on.
export ASAN_OPTIONS=handle_segv=0 TSAN_OPTIONS="handle_segv=0 die_after_fork=0"
export SKATE_FUZZ_SEEDS="${SKATE_FUZZ_SEEDS:-300}"

# tests_of SANITIZER CRATE TEST...
tests_of() {
    sanitizer=$1 crate=$2
    shift 2
    echo "== $sanitizer: $crate $*"
    # By way of the C library, whose `mmap` a sanitizer sees.
    CARGO_TARGET_DIR="$directory/$sanitizer" \
        RUSTFLAGS="-Zsanitizer=$sanitizer --cfg rustix_use_libc" \
        cargo +nightly test --quiet -Zbuild-std --target "$target" -p "$crate" --lib \
        $(printf -- '--test %s ' "$@")
}

for sanitizer in thread address; do
    tests_of $sanitizer skate-shm descriptors doorbell segment spill_file
done
tests_of address skate-core $(cd rust/core/tests && ls *.rs | sed 's/\.rs$//' | grep -v -e simulation -e scale)
