# What both browser benchmarks need: npm's packages and random bots of GPT-2
# 124M's shape, in the cache folder. Sourced by bench-web.sh and bench-peers.sh.

# bench_prepare BINARY
bench_prepare() {
  local cache=${HUGGINGTWEETS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/huggingtweets}
  HUGGINGTWEETS_BIN=$(realpath "$1")
  HUGGINGTWEETS_DIST=${HUGGINGTWEETS_DIST:-$PWD/dist}
  BENCH_PACKAGES=$cache/bench-web
  BENCH_BUNDLE=$BENCH_PACKAGES/bot
  BENCH_BUNDLE_4BIT=$BENCH_PACKAGES/bot-4bit
  export HUGGINGTWEETS_BIN HUGGINGTWEETS_DIST BENCH_PACKAGES BENCH_BUNDLE BENCH_BUNDLE_4BIT
  mkdir -p "$BENCH_PACKAGES"

  local lock=tests/web/bench/package-lock.json
  if ! cmp -s "$lock" "$BENCH_PACKAGES/package-lock.json" || [ ! -e "$BENCH_PACKAGES/node_modules/.stamp" ]; then
    echo "bench: installing the browser benchmarks' packages" >&2
    cp tests/web/bench/package.json "$lock" "$BENCH_PACKAGES/"
    # No install scripts: they fetch native builds, and only the browser's are used.
    (cd "$BENCH_PACKAGES" && npm ci --silent --ignore-scripts --no-audit --no-fund)
    touch "$BENCH_PACKAGES/node_modules/.stamp"
  fi
  tools/random-bundle.sh "$HUGGINGTWEETS_BIN" "$BENCH_BUNDLE"
  tools/random-bundle.sh "$HUGGINGTWEETS_BIN" "$BENCH_BUNDLE_4BIT" 4bit
}
