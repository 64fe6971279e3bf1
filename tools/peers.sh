#!/usr/bin/env bash
# Opens our bots with the program that most people will: Python's transformers.
#   tools/peers.sh BINARY
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$(realpath "$1")
python=$(tools/python-peers.sh)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$bin" convert tests/fixtures/tiny-gpt2 --out "$work/tiny" >/dev/null
HF_HUB_OFFLINE=1 "$python" tests/peers/card_check.py \
  tests/fixtures/card/golden.md "$work/tiny/README.md" model-card/demo/README.md
for bot in "$work/tiny" model-card/demo; do
  HF_HUB_OFFLINE=1 "$python" tests/peers/transformers_check.py "$bin" "$bot"
done
