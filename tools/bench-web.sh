#!/usr/bin/env bash
# Our page in headless Chromium, measured against the speed of memory; prints
# tables in Markdown. What it installs and makes stays in the cache folder.
#   tools/bench-web.sh BINARY [prepare]
# BENCH_ROUNDS (3), BENCH_TOKENS (64), BENCH_BACKENDS ("simd", "simd scalar"),
# BENCH_THREADS ("1 2"); BENCH_KEEP=1 adds rounds to those of the call before.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/bench-common.sh
bench_prepare "$1"
[ "${2:-}" = prepare ] || node tests/web/bench/web.mjs
