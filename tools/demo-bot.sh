#!/usr/bin/env bash
# Trains the demo bot again from its grammar: model-card/demo. One seed, one result.
#   tools/demo-bot.sh BINARY
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$bin" demo-corpus --out "$work/keeper.zip"
"$bin" train "$work/keeper.zip" --out model-card/demo --force \
  --base scratch --layers 4 --channels 192 --heads 6 --vocab-size 2048 --context 128 \
  --epochs 12 --batch 4 --lr 1e-3 --dropout 0 --seed 1 --run "$work/run" \
  --notice "A fictional lighthouse keeper, invented for this demo: nobody's account."
"$bin" card model-card/demo --language en --measure "$work/keeper.zip"
