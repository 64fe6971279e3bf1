#!/bin/sh
# The compiler with relaxed SIMD, for this package alone (RUSTC_WORKSPACE_WRAPPER):
# both kinds of build share every compiled dependency. Its build script runs on
# this machine and does without.
case "$*" in
  *wasm32*) exec "$@" -C target-feature=+relaxed-simd ;;
  *) exec "$@" ;;
esac
