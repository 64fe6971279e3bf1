#!/usr/bin/env bash
# The Rust tests: with nextest where it is installed, else plain cargo test.
#   tools/cargo-test.sh [--no-run] ARGS...
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/vulkan.sh
# Where there is a Vulkan that needs no GPU, the GPU's tests must run.
if software_vulkan; then
  export HUGGINGTWEETS_GPU_TESTS=require
fi
# nextest shows nothing of tests that pass, and one without its reference passes.
if [ ! -e ../shared ] && [ "${HUGGINGTWEETS_REFERENCE:-}" != require ]; then
  cat >&2 <<'END'
tests: ../shared is not beside this checkout, so these comparisons are left out: PyTorch's logits,
tests: gradients and optimiser steps; all of GPT-2's tokenizer; the original's cleaning of its 830
tests: cases; a real X archive. HUGGINGTWEETS_REFERENCE=require makes that a failure.
END
fi
if ! cargo nextest --version >/dev/null 2>&1; then
  cargo test "$@"
elif [ "${1:-}" = --no-run ]; then
  cargo nextest run "$@"
else
  cargo nextest run --no-tests fail --no-fail-fast "$@"
  cargo test --doc "$@"
fi
