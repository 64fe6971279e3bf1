#!/usr/bin/env bash
# Builds the page, its readers and the engine's four builds into a folder of static files.
#   tools/wasm.sh ship    dist: fat LTO, what travels
#   tools/wasm.sh test    dist-test: the same files, without the slow link
#   tools/wasm.sh test relaxed-shared ...   while working: these engines alone
#
# The engine is built with relaxed SIMD and without, each over memory that
# threads can share and over memory of its own; www/engine-choice.js picks one
# before downloading it. The toolchain is rustup's where it has what is needed,
# else Debian's.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/wasm-toolchain.sh

case ${1:-ship} in
  ship) profile=wasm-ship page_profile=wasm-page dist=dist ;;
  test) profile=wasm-test page_profile=wasm-test dist=dist-test ;;
  *) echo "usage: tools/wasm.sh [ship|test] [ENGINE...]" >&2; exit 2 ;;
esac
chosen=("${@:2}")

sources=(src www Cargo.toml Cargo.lock Trunk.toml tools/wasm.sh tools/stamp.sh tools/wasm-toolchain.sh tools/rustc-relaxed.sh)
[ -d model-card/demo ] && sources+=(model-card/demo)
stamp=$dist/.stamp
if [ -e "$stamp" ] && [ -z "$(find "${sources[@]}" -path www/npm -prune -o -newer "$stamp" -print -quit)" ]; then
  exit 0
fi

cache=${HUGGINGTWEETS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/huggingtweets}
export PATH="$cache/tools/bin:$PATH"
for tool in trunk wasm-bindgen; do
  command -v "$tool" >/dev/null || { echo "wasm: $tool is missing: run 'make setup-wasm'" >&2; exit 1; }
done

# A target folder of its own: two compilers must not take turns in one.
export CARGO_TARGET_DIR=${HUGGINGTWEETS_WASM_TARGET_DIR:-${CARGO_TARGET_DIR:-target}/wasm}
if rustup_wasm; then
  :
elif debian_wasm; then
  export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld-19
  export PATH="$cache/tools/bin:/usr/bin:$PATH"
else
  echo "wasm: no WebAssembly target: either 'rustup target add wasm32-unknown-unknown' and 'rustup component add rust-src', or Debian's packages rustc-web, cargo-web, rust-web-src and lld-19" >&2
  exit 1
fi
# The standard library is built along: rustup's has no threads, Debian has none, and a ready-made
# one is larger, with traces of panics that nobody sees in a browser.
export RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=std,panic_abort
export CARGO_UNSTABLE_BUILD_STD_FEATURES=optimize_for_size

# The kernels' steps in the order in which they are written: in LLVM's own more values
# are alive at once than browsers have registers for. And pointers as they are written:
# what LLVM makes of a loop's (strength reduction) no longer says that an offset does not
# wrap, and what could be part of a load becomes an addition before it.
order='-C llvm-args=-pre-RA-sched=source -C llvm-args=-disable-lsr'
flags="-C target-feature=+simd128 $order --cfg getrandom_backend=\"wasm_js\""
# Memory that comes from outside: www/engine-choice.js makes it, with at least
# this size and a maximum of its own.
shared_flags="-C target-feature=+simd128,+atomics,+bulk-memory,+mutable-globals $order --cfg getrandom_backend=\"wasm_js\""
for argument in --shared-memory --import-memory --initial-memory=16777216 --max-memory=4294967296 \
  --export=__wasm_init_tls --export=__tls_size --export=__tls_align --export=__tls_base; do
  shared_flags+=" -C link-arg=$argument"
done

# Of the page, its readers and the engines with the same flags: one set of compiled
# dependencies, one library.
page_features=web,reader

engines=$CARGO_TARGET_DIR/engines-$profile
kernels=$CARGO_TARGET_DIR/kernels-$profile
# module BIN OUT_DIR NAME FEATURES: one module, with the flags in RUSTFLAGS.
module() {
  cargo build --locked --profile "$profile" --target wasm32-unknown-unknown \
    --no-default-features --features "$4" --bin "$1"
  wasm-bindgen --target web --no-typescript --out-dir "$2" --out-name "$3" \
    "$CARGO_TARGET_DIR/wasm32-unknown-unknown/$profile/$1.wasm"
}
# engine NAME FEATURES: one build of the engine; for tests its kernels by themselves,
# once with relaxed SIMD and once without.
engine() {
  if [ ${#chosen[@]} != 0 ] && [[ " ${chosen[*]} " != *" $1 "* ]]; then return; fi
  module worker "$engines" "$1" "$2"
  # A compressed answer does not say how much there is to come.
  echo "export const wasmBytes = $(($(wc -c <"$engines/$1_bg.wasm")));" >>"$engines/$1.js"
  if [ "$profile-${1#*-}" = wasm-test-single ]; then module kernel_check "$kernels" "${1%-*}" "$2"; fi
}
relaxed=$PWD/tools/rustc-relaxed.sh

# The readers of archives and cards, which the page fetches when they are wanted.
readers=$CARGO_TARGET_DIR/readers-$profile
readers() {
  cargo build --locked --profile "$page_profile" --target wasm32-unknown-unknown \
    --no-default-features --features "$page_features" --bin reader
  wasm-bindgen --target web --no-typescript --out-dir "$readers" --out-name reader \
    "$CARGO_TARGET_DIR/wasm32-unknown-unknown/$page_profile/reader.wasm"
}

# Trunk writes aside and renames, so a failed build leaves the old page alone.
started=$(mktemp)
trap 'rm -f "$started"' EXIT
mkdir -p "$engines" "$kernels" "$readers"
export RUSTFLAGS="$flags"
engine plain-single "$page_features"
RUSTC_WORKSPACE_WRAPPER=$relaxed engine relaxed-single "$page_features"
RUSTFLAGS=$shared_flags engine plain-shared worker
RUSTFLAGS=$shared_flags RUSTC_WORKSPACE_WRAPPER=$relaxed engine relaxed-shared worker
readers
NO_COLOR=true trunk build --skip-version-check --cargo-profile "$page_profile" --dist "$dist"

# Trunk leaves its own marks where it injects no scripts.
sed -i -e '/<link data-trunk /d' -e '/^ *$/d' "$dist/index.html"
cp -r "$engines" "$dist/engine"
cp -r "$readers" "$dist/reader"
if [ "$profile" = wasm-test ]; then cp -r "$kernels" "$dist/kernels"; fi
rm -rf "$dist/bot"
if [ -e model-card/demo/bot.json ]; then
  cp -r model-card/demo "$dist/bot"
fi
# The widget is one script, so that a page needs one tag: its parts are put where it names
# them. A classic script is read in the encoding of a stranger's page.
for part in www/tweet-bot/*.js; do
  sed -i -e "\|^  //= ${part#www/}\$|{r $part" -e 'd}' "$dist/tweet-bot.js"
done
# One request less on the way to the engine.
sed -i -e '/^import .*"\.\/engine-choice\.js";$/{r www/engine-choice.js' -e 'd}' "$dist/worker-start.js"
sed -i 's/^export //' "$dist/worker-start.js"
if grep '^import ' "$dist/worker-start.js"; then echo "wasm: www/worker-start.js imports what is not put into it" >&2; exit 1; fi
if grep '^  //= ' "$dist/tweet-bot.js"; then echo "wasm: www/tweet-bot.js names a part that is not there" >&2; exit 1; fi
perl -CSD -i -pe 's/([^\x00-\x7F])/sprintf "\\u{%X}", ord $1/ge' "$dist/tweet-bot.js"
tools/stamp.sh "$dist"
# Where some engines were left as they were, the next whole build makes all.
if [ ${#chosen[@]} = 0 ]; then touch -r "$started" "$stamp"; else rm -f "$stamp"; fi
