#!/usr/bin/env bash
# Builds what the crash harness needs with the features that the tests have, so that nothing is
# compiled twice, and runs it with the given arguments.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cargo build --locked --quiet --workspace --bins
exec deploy/up.sh "${CARGO_TARGET_DIR:-target}/debug/crash" "$@"
