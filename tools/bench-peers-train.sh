#!/usr/bin/env bash
# Installs what tools/bench-train.sh compares with: torch and transformers, in
# the cache folder's Python environment that tools/peers.sh uses, too.
set -euo pipefail
cache=${HUGGINGTWEETS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/huggingtweets}
venv=$cache/venv
if ! "$venv/bin/python" -c 'import torch, transformers' 2>/dev/null; then
  echo "bench-peers: installing torch and transformers (once, some GB)" >&2
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet 'torch>=2.9' 'transformers>=4.57,<5' huggingface_hub pyyaml
fi
