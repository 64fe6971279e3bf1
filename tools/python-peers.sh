#!/usr/bin/env bash
# Installs the Python programs that ours is compared with, once, in the cache
# folder (some GB): torch, transformers, and optimum for ONNX files. Prints its Python.
set -euo pipefail
source "$(dirname "$0")/venv.sh"
venv=${HUGGINGTWEETS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/huggingtweets}/venv
venv_with "$venv" torch==2.15.0 transformers==4.57.6 'optimum-onnx[onnxruntime]==0.1.0' optimum==2.1.0 \
  onnxruntime==1.32.0 huggingface_hub==0.36.2 safetensors==0.8.0 numpy==2.4.6 pyyaml==6.0.4
echo "$venv/bin/python"
