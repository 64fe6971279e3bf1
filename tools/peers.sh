#!/usr/bin/env bash
# Opens our bots with the program that most people will: Python's transformers.
#   tools/peers.sh BINARY
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$(realpath "$1")
cache=${HUGGINGTWEETS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/huggingtweets}
venv=$cache/venv
if ! "$venv/bin/python" -c 'import torch, transformers, huggingface_hub' 2>/dev/null; then
  echo "peers: installing torch and transformers (once, some GB)" >&2
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet 'torch>=2.9' 'transformers>=4.57,<5' huggingface_hub pyyaml
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$bin" convert tests/fixtures/tiny-gpt2 --out "$work/tiny" 2>/dev/null
HF_HUB_OFFLINE=1 "$venv/bin/python" tests/peers/card_check.py \
  tests/fixtures/card/golden.md "$work/tiny/README.md" model-card/demo/README.md
for bot in "$work/tiny" model-card/demo; do
  HF_HUB_OFFLINE=1 "$venv/bin/python" tests/peers/transformers_check.py "$bin" "$bot"
done
