#!/usr/bin/env bash
# Builds the page and its worker into a folder of static files.
#   tools/wasm.sh ship    dist: fat LTO, what travels
#   tools/wasm.sh test    dist-test: the same page, without the slow link
# The toolchain is rustup's where it has the wasm32 target, else Debian's.
set -euo pipefail
cd "$(dirname "$0")/.."

case ${1:-ship} in
  ship) profile=wasm-ship dist=dist ;;
  test) profile=wasm-test dist=dist-test ;;
  *) echo "usage: tools/wasm.sh [ship|test]" >&2; exit 2 ;;
esac

sources=(src www Cargo.toml Cargo.lock Trunk.toml tools/wasm.sh)
[ -d model-card/demo ] && sources+=(model-card/demo)
stamp=$dist/.stamp
if [ -e "$stamp" ] && [ -z "$(find "${sources[@]}" -newer "$stamp" -print -quit)" ]; then
  exit 0
fi

cache=${HUGGINGTWEETS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/huggingtweets}
export PATH="$cache/tools/bin:$PATH"
for tool in trunk wasm-bindgen; do
  command -v "$tool" >/dev/null || { echo "wasm: $tool is missing: run 'make setup-wasm'" >&2; exit 1; }
done

# A target folder of its own: two compilers must not take turns in one.
export CARGO_TARGET_DIR=${HUGGINGTWEETS_WASM_TARGET_DIR:-${CARGO_TARGET_DIR:-target}/wasm}
export RUSTFLAGS='-C target-feature=+simd128 --cfg getrandom_backend="wasm_js"'
if rustup target list --installed 2>/dev/null | grep -qx wasm32-unknown-unknown; then
  :
elif [ -x /usr/bin/cargo ] && command -v wasm-ld-19 >/dev/null &&
  [ -e "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library/std/Cargo.toml" ]; then
  # Debian's compiler has no wasm standard library: it is built along.
  export RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=std,panic_abort
  export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld-19
  export PATH="$cache/tools/bin:/usr/bin:$PATH"
else
  echo "wasm: no WebAssembly target: either 'rustup target add wasm32-unknown-unknown', or Debian's packages rustc-web, cargo-web, rust-web-src and lld-19" >&2
  exit 1
fi

# Trunk writes aside and renames, so a failed build leaves the old page alone.
started=$(mktemp)
trap 'rm -f "$started"' EXIT
NO_COLOR=true trunk build --skip-version-check --cargo-profile "$profile" --dist "$dist"
# Trunk leaves its own marks where it injects no scripts.
sed -i -e '/<link data-trunk /d' -e '/^ *$/d' "$dist/index.html"
rm -rf "$dist/bot"
if [ -e model-card/demo/bot.json ]; then
  cp -r model-card/demo "$dist/bot"
fi
touch -r "$started" "$stamp"
