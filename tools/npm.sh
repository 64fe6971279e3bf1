#!/usr/bin/env bash
# Fills www/npm, the widget's npm package, from a built page:
#   tools/npm.sh DIST [NPM]
# The bot stays out: an element names its own.
set -euo pipefail
cd "$(dirname "$0")/.."
dist=$1 npm=${2:-www/npm}

rm -rf "$npm/site"
mkdir -p "$npm/site"
for file in engine.html embed.html embed.js start.js offline.js worker-start.js pool-worker.js wait-worker.js digest-worker.js engine-choice.js \
  tweet-bot.js icon.svg app.js app_bg.wasm engine; do
  cp -r "$dist/$file" "$npm/site/"
done
# The page stays out, too: a bot's own page is the element alone.
sed -i 's/^  const PAGE = "";$/  const PAGE = "embed.html";/' "$npm/site/tweet-bot.js"
grep -q 'PAGE = "embed.html"' "$npm/site/tweet-bot.js" || { echo "npm: $dist/tweet-bot.js has no PAGE to name" >&2; exit 1; }
cp LICENSE LICENSE-MIT LICENSE-APACHE "$npm/"
version=$(awk -F'"' '/^version = / { print $2; exit }' Cargo.toml)
grep -q "\"version\": \"$version\"" "$npm/package.json" || { echo "npm: $npm/package.json has another version than Cargo.toml ($version)" >&2; exit 1; }
echo "npm: $npm is ready for 'npm pack'"
