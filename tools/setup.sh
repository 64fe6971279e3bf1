#!/usr/bin/env bash
# Installs what a target needs and this machine lacks: nothing twice.
#   tools/setup.sh native | wasm | browser | arm
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/wasm-toolchain.sh
source tools/vulkan.sh
source tools/node.sh

cache=${HUGGINGTWEETS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/huggingtweets}
tools=$cache/tools
export PATH="$tools/bin:$PATH"
trunk_version=0.21.14
# The lock file decides, so that the tool always matches the library.
wasm_bindgen_version=$(awk '/^name = "wasm-bindgen"$/ { getline; gsub(/[^0-9.]/, ""); print; exit }' Cargo.lock)

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

# apt NAME...: Debian's packages, through sudo where needed; 1 if there is no apt.
apt() {
  has apt-get || return 1
  local sudo=()
  if [ "$(id -u)" != 0 ]; then has sudo || return 1; sudo=(sudo); fi
  local install=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@")
  say "installing $*"
  # Where that fails, the machine's lists of packages may be old, or not there yet.
  "${install[@]}" >/dev/null 2>&1 || { "${sudo[@]}" apt-get update -qq >&2 && "${install[@]}" >/dev/null; }
}

# cargo_tool NAME VERSION OPT_LEVEL ARGS...: a cargo-installed tool, built quickly
# rather than fast: each runs for seconds only.
cargo_tool() {
  local name=$1 version=$2 level=$3; shift 3
  local stamp=$tools/$name-$version
  [ -e "$stamp" ] && return
  say "building $name $version (once, some minutes)"
  CARGO_PROFILE_RELEASE_OPT_LEVEL=$level CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
  CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_TARGET_DIR="$cache/tools-target" \
    cargo install --quiet --force --root "$tools" "$name" --version "$version" "$@"
  rm -rf "$cache/tools-target"
  touch "$stamp"
}

native() {
  local needed found
  needed=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
  has cargo || fail "cargo is missing: install Rust from https://rustup.rs ($needed or newer), then open a new terminal"
  found=$(cargo --version | cut -d' ' -f2)
  [ "$(printf '%s\n' "$needed" "$found" | sort -V | head -n 1)" = "$needed" ] ||
    fail "this is Rust $found, and $needed or newer is needed: run 'rustup update', or install Rust from https://rustup.rs"
  has cc || apt build-essential || fail "a C compiler is missing: install gcc or clang"
  # For the GPU kernels' tests; without it they are left out where there is no GPU.
  software_vulkan || apt mesa-vulkan-drivers || say "no software Vulkan here: without a GPU its kernels' tests are left out"
}

wasm() {
  # What tools/wasm.sh and tools/stamp.sh work with, said before half an hour of building.
  find . -maxdepth 0 -printf '' 2>/dev/null && sed --version >/dev/null 2>&1 && has sha256sum && has timeout ||
    fail "the page is built with GNU's find, sed and coreutils: build it on Linux, or put GNU's first in PATH"
  has perl || apt perl || fail "Perl is missing: install perl"
  if rustup_wasm || debian_wasm; then :
  elif has rustup && timeout 120 rustup target add wasm32-unknown-unknown >/dev/null 2>&1 &&
    timeout 300 rustup component add rust-src >/dev/null 2>&1 && rustup_wasm; then
    say "added rustup's wasm32-unknown-unknown target and rust-src"
  elif apt rustc-web cargo-web rust-web-src lld-19; then :
  else
    fail "no WebAssembly target: 'rustup target add wasm32-unknown-unknown' or 'rustup component add rust-src' failed, and Debian's packages rustc-web, cargo-web, rust-web-src and lld-19 cannot be installed"
  fi
  # Not --locked: the lock file in the package of 0.2.130 names webpki-roots 1.0.11, which the
  # registry's index does not have.
  cargo_tool wasm-bindgen-cli "$wasm_bindgen_version" 1
  cargo_tool trunk "$trunk_version" 0 --locked --no-default-features --features rustls
}

# "engines" of tests/web/package.json: Vite's, which one of the tests builds a page with.
node_is_new_enough='const [major, minor] = process.versions.node.split(".").map(Number);
  process.exit(major > 22 || (major === 22 && minor >= 12) || (major === 20 && minor >= 19) ? 0 : 1)'

browser() {
  has node && has npm || apt nodejs npm || fail "Node.js and npm are missing: install Node.js 22 or newer"
  node -e "$node_is_new_enough" || fail "Node.js $(node --version) cannot run the browser tests, which need 20.19 or newer of 20, or 22.12 or newer: install a current one (https://nodejs.org)"
  if [ -z "${CHROMIUM:-}" ] && ! has chromium && ! has google-chrome; then
    apt chromium fonts-dejavu-core fonts-noto-color-emoji || fail "Chromium is missing: install it, or set CHROMIUM to a Chrome binary"
  fi
  if [ -z "${FIREFOX:-}" ] && ! has firefox-esr && ! has firefox; then
    apt firefox-esr || apt firefox || fail "Firefox is missing: install it, or set FIREFOX to its binary"
  fi
  if [ -z "${WEBKIT_DRIVER:-}" ] && ! has WebKitWebDriver || ! has xvfb-run; then
    apt webkit2gtk-driver xvfb xauth || fail "WebKit is missing: install webkit2gtk-driver and xvfb (Debian's names), or set WEBKIT_DRIVER"
  fi
  node_packages tests/web "the browser tests' packages"
}

arm() {
  [ "$(uname -m)" = aarch64 ] && return
  has rustup || fail "the aarch64 target is missing: install Rust from https://rustup.rs"
  timeout 300 rustup target add aarch64-unknown-linux-gnu >/dev/null 2>&1 ||
    fail "rustup target add aarch64-unknown-linux-gnu failed: is there a network?"
  has aarch64-linux-gnu-gcc && has qemu-aarch64 || apt gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user ||
    fail "a compiler and an emulator are missing: install gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user (Debian's names)"
}

case ${1:-} in
  native | wasm | browser | arm) "$1" ;;
  *) fail "usage: tools/setup.sh native|wasm|browser|arm" ;;
esac
