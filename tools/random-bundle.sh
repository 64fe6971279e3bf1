#!/usr/bin/env bash
# A bot with random weights of GPT-2 124M's shape, made again where another build of
# the command made it: what a bundle holds may have changed.
#   tools/random-bundle.sh BINARY FOLDER [4bit]
# 4bit: with a q4_0 file whose head is 4-bit, too.
set -euo pipefail
bin=$1 folder=$2
made_by=$(sha256sum "$bin" | cut -d' ' -f1)
# Beside the folder: --force replaces nothing that is not the command's own.
note=$folder.made-by
if [ -d "$folder" ] && [ "$(cat "$note" 2>/dev/null)" = "$made_by" ]; then exit; fi
rm -f "$folder/.made-by"
"$bin" bench bundle --out "$folder" --force
if [ "${3:-}" = 4bit ]; then "$bin" quantize "$folder" --to q4_0 --all-4bit; fi
echo "$made_by" >"$note"
