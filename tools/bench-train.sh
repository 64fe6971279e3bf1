#!/usr/bin/env bash
# Training speed: ours and, where `make bench-peers` has installed it,
# PyTorch's, in turns; medians of three runs and their ratio.
#   tools/bench-train.sh BINARY
# DROPOUT (0.1) and STEPS (3) may be set.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$(realpath "$1")
cache=${HUGGINGTWEETS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/huggingtweets}
python=$cache/venv/bin/python
dropout=${DROPOUT:-0.1}
steps=${STEPS:-3}
runs=3
peer=yes
"$python" -c 'import torch, transformers' 2>/dev/null || peer=

# number JSON FIELD
number() { sed -E "s/.*\"$2\": ?([0-9.e+-]+).*/\1/" <<<"$1"; }
# median FILE FIELD: of the lines' numbers
median() {
  while read -r line; do number "$line" "$2"; done <"$1" | sort -g | sed -n "$(((runs + 1) / 2))p"
}
# most FILE FIELD
most() { while read -r line; do number "$line" "$2"; done <"$1" | sort -g | tail -n 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for shape in "1 1024" "4 64"; do
  read -r batch context <<<"$shape"
  : >"$work/ours"; : >"$work/torch"
  for ((run = 0; run < runs; run++)); do
    "$bin" bench train --batch "$batch" --context "$context" --steps "$steps" --dropout "$dropout" --json \
      >>"$work/ours"
    if [ -n "$peer" ] &&
      ! "$python" tools/bench-train.py "$batch" "$context" "$steps" "$dropout" 2>"$work/errors" >>"$work/torch"; then
      echo "PyTorch failed at $batch x $context, so only ours goes on:" >&2
      tail -n 5 "$work/errors" >&2
      peer=
    fi
  done
  ours=$(median "$work/ours" tokens_per_s)
  echo "$batch x $context tokens, dropout $dropout, medians of $runs runs"
  awk -v t="$ours" -v b="$(most "$work/ours" peak_bytes)" -v u="$(median "$work/ours" utilisation)" \
    -v p="$(median "$work/ours" matrix_peak_flops)" 'BEGIN {
    printf "  ours     %6.1f tokens/s  %.2f GB  %.0f%% of the matrix peak (%.0f GFLOP/s)\n", t, b / 1e9, 100 * u, p / 1e9 }'
  if [ -n "$peer" ]; then
    awk -v o="$ours" -v t="$(median "$work/torch" tokens_per_s)" -v b="$(most "$work/torch" peak_bytes)" 'BEGIN {
      printf "  PyTorch  %6.1f tokens/s  %.2f GB\n  ratio    %6.2f\n", t, b / 1e9, o / t }'
  elif [ -s "$work/errors" ]; then
    echo "  PyTorch failed, as said above"
  else
    echo "  PyTorch is not installed: make bench-peers"
  fi
done
