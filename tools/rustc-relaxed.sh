#!/bin/sh
# The compiler with relaxed SIMD, for this package alone (RUSTC_WORKSPACE_WRAPPER):
# both kinds of build share every compiled dependency.
exec "$@" -C target-feature=+relaxed-simd
