#!/usr/bin/env bash
# Formatting, clippy and documentation. In CI (CI set) each must be there, and a warning
# fails; elsewhere warnings are shown: a newer compiler than CI's has others.
set -euo pipefail
cd "$(dirname "$0")/.."
deny=
if [ -n "${CI:-}" ]; then deny="-D warnings"; fi

# has NAME SUBCOMMAND
has() {
  if cargo "$2" --version >/dev/null 2>&1; then return; fi
  if [ -n "${CI:-}" ]; then echo "lint: $1 is not installed" >&2; exit 1; fi
  echo "skipped: $1 is not installed"
  return 1
}

if has rustfmt fmt; then cargo fmt --check; fi
if has clippy clippy; then cargo clippy --locked --all-targets --features web,reader -- $deny; fi
RUSTDOCFLAGS=$deny cargo doc --locked --no-deps --features web,reader
