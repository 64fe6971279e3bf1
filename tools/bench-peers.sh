#!/usr/bin/env bash
# Our page against wllama and transformers.js with the same weights in the same
# browser; prints medians and ratios in Markdown. What it installs (npm's
# packages, and torch and optimum for the ONNX file) stays in the cache folder.
#   tools/bench-peers.sh BINARY [prepare]
# BENCH_ROUNDS (3), BENCH_TOKENS (64), BENCH_ENGINES (a pattern, such as
# "ours|wllama"), BENCH_BACKEND (webgpu: on the GPU, without transformers.js);
# BENCH_KEEP=1 adds rounds to those of the call before.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/bench-common.sh
bench_prepare "$1"

# make bench-train compares with the same Python.
python=$(tools/python-peers.sh)
export BENCH_ONNX=$BENCH_PACKAGES/onnx
if [ ! -e "$BENCH_ONNX/onnx/model_int8.onnx" ]; then
  HF_HUB_OFFLINE=1 "$python" tests/web/bench/export_onnx.py "$BENCH_BUNDLE" "$BENCH_ONNX"
fi
[ "${2:-}" = prepare ] || node tests/web/bench/peers.mjs
