#!/bin/sh
# The Rust tests of core and shm under AddressSanitizer, and those of shm, which has the threads, under
# ThreadSanitizer; the standard library is built with them. Then the extension, in Python and all of its
# processes, under AddressSanitizer. Without a nightly toolchain it says so and does nothing.
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
directory=$(realpath -m "${CARGO_TARGET_DIR:-target}")
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

# The interpreter is not built with the sanitizer, so its runtime is the C compiler's, loaded first. What
# Python allocates is seen as well: by malloc, and not from its own arenas.
runtime=$(realpath "$(cc -print-file-name=libasan.so)")
if [ ! -e "$runtime" ]; then
    echo "skipped, the extension: the C compiler has no libasan"
    exit 0
fi
echo "== address: the extension"
python=$PWD/.venv/bin/python
package=$directory/address/python
CARGO_TARGET_DIR="$directory/address" PYO3_PYTHON=$python \
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true \
    RUSTFLAGS="-Zsanitizer=address -Zexternal-clangrt --cfg rustix_use_libc" \
    cargo +nightly build --quiet --release --target "$target" -p skate-native
rm -rf "$package" && mkdir -p "$package" && cp -r python/skate "$package"
cp "$directory/address/$target/release/lib_native.so" "$package/skate/_native.abi3.so"
export ASAN_OPTIONS="detect_leaks=0:handle_segv=0:allocator_may_return_null=1:log_path=$package/report"
# A browser does not start with the runtime loaded, and what it keeps back of freed memory, 256 MB, grows for
# longer than a short look at the limit of the store takes.
status=0
LD_PRELOAD=$runtime PYTHONMALLOC=malloc PYTHONPATH=$package \
    "$python" -m pytest -q -p no:cacheprovider --timeout 600 -k "not browser and not memory_is_constant" \
    ${SKATE_SANITIZED_TESTS:-tests/conformance tests/generators tests/inspection tests/spilling} || status=$?
for report in "$package"/report.*; do
    [ ! -e "$report" ] || { cat "$report"; status=1; }
done
exit $status
