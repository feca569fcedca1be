# Two commands do everything: `make run` and `make test`. The rest is for those who work on Holdfast.

# Outside the checkout, shared by all checkouts.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/holdfast/build
# RocksDB is 15 minutes of C++: scripts/rocksdb.sh compiles it once, every build links what it made.
export ROCKSDB_LIB_DIR ?= $(shell scripts/rocksdb.sh dir)
export ROCKSDB_STATIC ?= 1
export HOLDFAST_TEST_DATA ?= $(abspath $(CURDIR)/../shared/data)
export HOLDFAST_INTEROP_DIR ?= $(HOME)/.cache/holdfast/interop

CARGO = cargo
BIN = $(CARGO_TARGET_DIR)/release/holdfast

.PHONY: help run build test lint bench fuzz soak setup clean-test

help:
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: ## install what the build needs (libclang, a C++ compiler)
	@scripts/setup.sh build
	@scripts/rocksdb.sh

build: setup ## build the binary
	$(CARGO) build --release --locked -p holdfast

run: build ## make a repo, add DIR (default: docs), read it back, say what to try next, run a node
	@scripts/first-run.sh $(BIN) "$(or $(DIR),$(CURDIR)/docs)"

test: setup ## all tests; suites that lack Python, Node or root say so, and fail with REQUIRE_ALL=1
	@scripts/setup.sh test
	@scripts/test.sh

lint: setup ## rustfmt, clippy, docs, licences
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --locked --workspace --no-deps --document-private-items
	@scripts/deny.sh

bench: build ## measure, in turn with peers, and print tables of ratios
	@scripts/bench.sh

fuzz: setup ## run every fuzz target for SECONDS_EACH (default 60)
	@scripts/fuzz.sh $(or $(SECONDS_EACH),60)

soak: setup ## the long forms of the crash and power-cut tests, and sweeps of up to a million keys
	@scripts/setup.sh test
	@SOAK=1 scripts/test.sh
	$(CARGO) run --release --locked -p holdfast-dht --example scale
