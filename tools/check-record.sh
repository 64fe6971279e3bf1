#!/usr/bin/env bash
# Reads a recorded run with the real TensorBoard and the real wandb.
#   tools/check-record.sh BINARY [RUN_FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$(realpath "$1")
cache=${HUGGINGTWEETS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/huggingtweets}
venv=$cache/venv-record
source tools/venv.sh
venv_with "$venv" tensorboard==2.21.0 wandb==0.31.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
run=${2:-}
if [ -z "$run" ]; then
  run=$work/run
  "$bin" bench record --out "$run"
fi
"$venv/bin/python" tests/peers/record_check.py "$run" 2> >(grep -v 'TensorFlow installation not found' >&2)
