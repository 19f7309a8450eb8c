#!/bin/sh
# Model-checks the protocols of skate-shm. About a minute; in release, since loom runs each test
# some thousand times.
set -eu
cd "$(dirname "$0")/../../.."
# Another target directory: the cfg would otherwise rebuild everything, twice.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/loom"
RUSTFLAGS="--cfg loom" exec cargo test -p skate-shm --release --test loom -- "$@"
