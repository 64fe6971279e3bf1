# Every target installs what it needs and skips what is done.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

ifeq ($(HUGGINGTWEETS_CACHE),)
HUGGINGTWEETS_CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/huggingtweets
endif
export HUGGINGTWEETS_CACHE
export PATH := $(HUGGINGTWEETS_CACHE)/tools/bin:$(PATH)

CARGO_TARGET_DIR ?= target
export CARGO_TARGET_DIR
PORT ?= 8080
RELEASE_BIN := $(CARGO_TARGET_DIR)/release/huggingtweets
TEST_BIN := $(CARGO_TARGET_DIR)/debug/huggingtweets

.PHONY: help demo test test-arm build build-test compile-test-rust dist-test npm lighthouse setup-native setup-wasm setup-browser test-rust test-web \
	lint fmt demo-bot full-bundle peers check-record bench bench-web bench-peers bench-train screenshots clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## Build everything and serve the page with the demo bot at http://127.0.0.1:8080/
	@exec "$(RELEASE_BIN)" serve --assets dist --port $(PORT)

# Two builds at a time where they need no lock of each other: alone, each leaves
# a core idle now and then.
test: setup-native ## Every test, real browser included
	$(MAKE) -j2 lint setup-wasm
	$(MAKE) -j2 compile-test-rust dist-test
	$(MAKE) test-rust test-web

# Cargo counts its own jobs, and warns of a job server that it cannot reach.
lint setup-wasm compile-test-rust dist-test: export MAKEFLAGS =
lint setup-wasm compile-test-rust dist-test: export MFLAGS =

build: setup-native setup-wasm ## The command (target/release) and the page (dist)
	cargo build --release --locked --bin huggingtweets
	tools/wasm.sh ship

# The page's plain types are tested natively, too, and so are the GPU's kernels.
test-rust: setup-native ## Unit and integration tests of the library and the command
	tools/cargo-test.sh --locked --features reader

test-arm: setup-native ## The CPU's kernels on aarch64: natively there, elsewhere under QEMU
	@tools/setup.sh arm
	tools/test-arm.sh

compile-test-rust: setup-native
	tools/cargo-test.sh --no-run --locked --features reader

dist-test: setup-wasm
	tools/wasm.sh test

# With a test beside it, so that dependencies are those that test-rust compiled:
# what tests ask of them besides would make others.
build-test: setup-native dist-test
	cargo build --locked --features reader --bin huggingtweets --test integration

test-web: build-test setup-browser full-bundle ## Browser tests against the real server, page and engine
	export HUGGINGTWEETS_BIN="$$(realpath "$(TEST_BIN)")" HUGGINGTWEETS_DIST="$(CURDIR)/dist-test" \
	HUGGINGTWEETS_FULL_BUNDLE="$(HUGGINGTWEETS_CACHE)/full-bundle"; cd tests/web && npm test

screenshots: build-test setup-browser ## The README's pictures, from the real page
	export HUGGINGTWEETS_BIN="$$(realpath "$(TEST_BIN)")" HUGGINGTWEETS_DIST="$(CURDIR)/dist-test"; \
	cd tests/web && npm run --silent screenshots -- "$(CURDIR)/model-card"

npm: build ## The widget's npm package (www/npm), for `npm publish`
	tools/npm.sh dist

lighthouse: build setup-browser ## Lighthouse on the served page: at least 95 in each category
	tools/lighthouse.sh "$(RELEASE_BIN)"

full-bundle: build-test ## A random GPT-2 of 124M parameters, for the browser tests
	@tools/random-bundle.sh "$(TEST_BIN)" "$(HUGGINGTWEETS_CACHE)/full-bundle"

lint: setup-native ## Formatting, clippy and documentation; in CI without warnings
	@tools/lint.sh

fmt: ## Format the Rust code
	cargo fmt

demo-bot: setup-native ## Train the demo bot again (model-card/demo), from its grammar
	cargo build --release --locked --bin huggingtweets
	tools/demo-bot.sh "$(RELEASE_BIN)"

peers: build-test ## Open our bots in transformers (installs torch into the cache folder)
	tools/peers.sh "$(TEST_BIN)"

bench: setup-native ## The kernels alone: checked against the reference, then timed
	cargo bench --locked --bench kernels

bench-web: build setup-browser ## The page in a real browser, against the speed of memory
	tools/bench-web.sh "$(RELEASE_BIN)"

bench-peers: build setup-browser ## The page against wllama and transformers.js with the same weights
	tools/bench-peers.sh "$(RELEASE_BIN)"

check-record: build-test ## Read a recorded run with TensorBoard and wandb (installs both into the cache folder)
	tools/check-record.sh "$(TEST_BIN)"

bench-train: setup-native ## Training speed and memory: ours, and PyTorch's where it is installed
	cargo build --release --locked --bin huggingtweets
	tools/bench-train.sh "$(RELEASE_BIN)"

setup-native:
	@tools/setup.sh native

setup-wasm: setup-native
	@tools/setup.sh wasm

setup-browser:
	@tools/setup.sh browser

clean: ## Remove what was built here (the cache folder stays)
	rm -rf target dist dist-test
