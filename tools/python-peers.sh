#!/usr/bin/env bash
# Installs the Python programs that ours is compared with, once, in the cache
# folder: torch, transformers, and optimum for ONNX files. Prints its Python.
set -euo pipefail
cache=${HUGGINGTWEETS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/huggingtweets}
venv=$cache/venv
if [ ! -e "$venv/.done" ]; then
  echo "peers: installing torch, transformers and optimum (once, some GB)" >&2
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet 'torch>=2.9' 'transformers>=4.57,<4.58' 'optimum-onnx[onnxruntime]==0.1.0' \
    huggingface_hub pyyaml
  touch "$venv/.done"
fi
echo "$venv/bin/python"
