# Everything a developer runs. Each target works first, from a fresh clone: what it needs it makes.
# Needed on the machine: Python 3.11 or newer, a Rust toolchain, a C linker.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

# The first of these that runs and is new enough; PYTHON=... chooses another.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$p"; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
# PyO3 asks this interpreter when the whole workspace is checked without maturin.
export PYO3_PYTHON := $(CURDIR)/$(PY)

# Where the extension is built that tests can kill at named points.
KILL_POINTS := $(CURDIR)/target/kill-points

RUST_SOURCES := Cargo.toml Cargo.lock $(shell find rust -name '*.rs' -o -name Cargo.toml)
SEEDS ?= 10000
SEED ?= 1
FIRST ?= 1
GOES_ON ?= 0
POINTS ?= 100
ARRIVALS ?= 1 2 5
SESSIONS ?= 10
SOAK_SECONDS ?= 600
ARGS ?=

.PHONY: help setup demo test check cargo-test pytest local types docs bench loom sanitize miri sim fuzz chaos stops soak wheel dist clean

help: ## Print this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F'\t' '{ printf "  make %-12s %s\n", $$1, $$2 }'

setup: .make/native ## Make .venv and build the extension into it (again when Rust sources changed)

demo: setup ## Set up, run the main job, then the documentation's programs
	$(PY) examples/tokenise_stdlib.py
	@for example in static_generator dynamic_split generator_errors stream_items actors; do \
		echo; echo "== examples/$$example.py"; $(PY) "examples/$$example.py"; done
	@echo; echo "== skate run examples/written_for_ray.py"; $(BIN)/skate run examples/written_for_ray.py

test: check cargo-test pytest local ## All of it: check, cargo test, pytest, local

check: setup ## rustfmt, clippy, ruff, mypy, stubtest
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/mypy tests/typing/*.py
	$(PY) -m mypy.stubtest --ignore-disjoint-bases --allowlist tests/stubtest_allowlist.txt skate._native

cargo-test: ## The Rust tests of core and shm (no Python needed)
	cargo test --quiet

pytest: setup ## The Python tests; ARGS="-k name" chooses
	$(PY) -m pytest -q $(ARGS)

local: setup ## Those tests again in one process (local_mode), but for what needs several
	SKATE_TEST_ENGINE=local $(PY) -m pytest -q tests/conformance tests/generators tests/test_inherited_errors.py \
		tests/test_functions_without_end.py tests/test_copies.py tests/test_errors_unusual.py tests/test_bad_arguments.py $(ARGS)

types: setup ## The typing tests by pyright, too (it needs node, and fetches itself from npm)
	PIP_QUIET=1 $(PY) -m pip install --disable-pip-version-check 'pyright>=1.1.414'
	$(PY) -m pytest -q tests/test_types.py

docs: setup ## Build the documentation into site/; a warning is an error
	PIP_QUIET=1 $(PY) -m pip install --disable-pip-version-check 'mkdocs-material>=9.8' 'mkdocstrings-python>=2'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "site/index.html"

bench: setup ## skate, Ray (when installed) and the floor in one table, then the cargo benches
	$(PY) benches/run.py $(ARGS)
	cargo bench --quiet

loom: ## Model-check the shared-memory protocols
	rust/shm/ci/loom.sh

sanitize: setup ## Rust tests and the extension under sanitizers (needs a nightly toolchain)
	rust/ci/sanitize.sh

miri: ## Miri over the rings and the stories of the node (needs a nightly toolchain)
	rust/ci/miri.sh

sim: ## Simulate the node from SEEDS=10000 seeds, from FIRST=1 on; GOES_ON=1: whatever fails
	SKATE_SIM_FIRST=$(FIRST) SKATE_SIM_SEEDS=$(SEEDS) SKATE_SIM_GOES_ON=$(GOES_ON) cargo test --release -p skate-core --test simulation -- --nocapture

fuzz: setup ## SEEDS=10000 of garbage for each decoder: messages, rings, values, spill files, zygote, looking
	SKATE_FUZZ_SEEDS=$(SEEDS) cargo test -p skate-core --test hostile --test codec -- --nocapture
	cargo test --release -p skate-shm --lib ring
	cargo test --release -p skate-shm --test spill_file
	SKATE_FUZZ_SEEDS=$(SEEDS) $(PY) -m pytest -q --timeout 3600 tests/test_hostile_values.py \
		tests/inspection/test_hostile_words.py tests/processes/test_hostile_zygote.py

chaos: setup ## Kill each role at its first POINTS=100 system calls and at each named point; SESSIONS=10 of 20 kills
	cargo test --quiet --release -p skate-shm --features kill-points --target-dir $(KILL_POINTS) --test killpoint
	cargo build --release -p skate-native --features kill-points --target-dir $(KILL_POINTS)
	rm -rf $(KILL_POINTS)/python && mkdir $(KILL_POINTS)/python && cp -r python/skate $(KILL_POINTS)/python
	cp $(KILL_POINTS)/release/lib_native.so $(KILL_POINTS)/python/skate/_native.abi3.so
	SKATE_CHAOS_POINTS=$(POINTS) SKATE_CHAOS_ARRIVALS="$(ARRIVALS)" SKATE_CHAOS_SEEDS=$(SESSIONS) SKATE_KILL_POINTS=$(KILL_POINTS)/python \
		$(PY) -m pytest -q tests/processes/test_killed_at_points.py tests/processes/test_killed_at_each_call.py

stops: setup ## The tests while random processes and threads of them are stopped for a moment, chosen by SEED=1
	@# Left out is what stops processes itself, says that one is stopped, or counts how often an idle one wakes up.
	$(PY) tests/soak/stops.py $(SEED) -q --timeout 300 --deselect tests/processes/test_stopped_processes.py \
		--deselect tests/inspection/test_stack.py --deselect tests/processes/test_idle_and_start.py

soak: setup ## Long runs: 10 GB through 200 MB, 10 minutes at the store's limit, random programs, a minute's SIGSTOP, 200 kills
	SKATE_SOAK_ITEMS=1000 $(PY) -m pytest -q tests/test_store_pressure.py -k 1_gb --timeout 900
	SKATE_SOAK_SECONDS=$(SOAK_SECONDS) $(PY) -m pytest -q tests/spilling/test_at_the_limit.py --timeout 3600
	SKATE_STATEFUL_EXAMPLES=300 $(PY) -m pytest -q tests/generators/test_stateful.py --timeout 1800
	SKATE_STATEFUL_EXAMPLES=100 SKATE_STATEFUL_TIMEOUT=3600 $(PY) -m pytest -q tests/spilling/test_random_programs.py
	SKATE_STOPPED_SECONDS=60 $(PY) -m pytest -q tests/processes/test_stopped_processes.py --timeout 300
	$(PY) -m pytest -q tests/soak

wheel: .make/venv ## Build the wheel into dist/
	@rm -rf dist
	$(BIN)/maturin build --release --out dist

dist: setup wheel ## Wheel and source archive in dist/, and the tests of both
	$(BIN)/maturin sdist --out dist
	$(PY) -m pytest -q tests/dist --timeout 1800

clean: ## Remove all that was built, the .venv too
	rm -rf $(VENV) .make dist site target benches/results .pytest_cache .mypy_cache .ruff_cache
	find python tests benches docs examples -name __pycache__ -prune -exec rm -rf {} +
	rm -f python/skate/*.so

# ------------------------------------------------------------------------ stamps of what was made
$(VENV)/pyvenv.cfg:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer was found; say PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)

.make/venv: $(VENV)/pyvenv.cfg
	$(PY) -m pip install --quiet --disable-pip-version-check 'maturin>=1.9,<2'
	@mkdir -p .make && touch $@

.make/native: .make/venv pyproject.toml $(RUST_SOURCES)
	PIP_QUIET=1 VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/maturin develop --release --quiet --extras dev
	@touch $@
