#!/usr/bin/env bash
# Lighthouse on the page as the command serves it; its scores go into the
# README's table. Run where nothing else runs: it measures time.
#   tools/lighthouse.sh BINARY
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$1

source tools/node.sh
node_packages tests/lighthouse "Lighthouse"
log=$(mktemp)
"$bin" serve --assets dist --port 0 > "$log" &
server=$!
trap 'kill $server; rm -f "$log"' EXIT
for _ in $(seq 100); do
  address=$(grep -o 'http://[^ ]*' "$log" || true)
  [ -n "$address" ] && break
  sleep 0.1
done
node tests/lighthouse/run.mjs "${address:?the server did not start}" README.md
