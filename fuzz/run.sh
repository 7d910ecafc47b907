#!/usr/bin/env bash
# Runs each fuzz target for a bounded time from its committed seeds. What it finds fails the run and
# is left below target/fuzz/findings, with the command that plays it again.
#
#   fuzz/run.sh [seconds a target] [target…]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

CARGO_FUZZ_VERSION=0.13.2
INPUT_BYTES_MAX=16384 # Twice the longest URL; bodies are alike from there on.
SLOW_INPUT_SECONDS=10 # One input that takes longer is a finding.
MEMORY_MB_MAX=1024    # So is one that needs more.

seconds=${1:-30}
[ $# -eq 0 ] || shift
case $seconds in
'' | 0 | *[!0-9]*)
    echo "fuzz: '$seconds' is not a number of seconds from 1; e.g. make fuzz SECONDS=30" >&2
    exit 2
    ;;
esac
targets=("$@")
[ ${#targets[@]} -gt 0 ] || for file in fuzz/fuzz_targets/*.rs; do
    targets+=("$(basename "$file" .rs)")
done

missing() {
    printf '\n**************** NOT FUZZED: %s\n' "$1" >&2
    exit 1
}
command -v cargo >/dev/null || missing "cargo is missing; install Rust from https://rustup.rs"
command -v c++ >/dev/null || missing "a C++ compiler is missing (apt-get install build-essential)"
[ "$(uname -s)" = Linux ] || missing "libFuzzer is set up here for Linux only"

target_dir=${CARGO_TARGET_DIR:-target}
tools=$target_dir/tools
if [ "$("$tools/bin/cargo-fuzz" --version 2>/dev/null)" != "cargo-fuzz $CARGO_FUZZ_VERSION" ]; then
    echo "fuzz: installing cargo-fuzz $CARGO_FUZZ_VERSION into $tools"
    CARGO_TARGET_DIR=$target_dir/fuzz-tools cargo install --quiet --locked --force \
        --version "$CARGO_FUZZ_VERSION" --root "$tools" cargo-fuzz ||
        missing "cargo-fuzz $CARGO_FUZZ_VERSION could not be installed, see above"
fi

# The coverage that libFuzzer goes by needs compiler flags which the stable compiler has, but
# accepts in this mode only. Nothing else is built in it.
export RUSTC_BOOTSTRAP=1
fuzz() {
    local command=$1
    shift
    "$tools/bin/cargo-fuzz" fuzz "$command" --fuzz-dir fuzz --target-dir "$target_dir/fuzz" \
        --sanitizer address "$@"
}
began=$SECONDS
fuzz build
echo "fuzz: built in $((SECONDS - began)) s"

failed=()
for target in "${targets[@]}"; do
    corpus=$target_dir/fuzz/corpus/$target
    findings=$target_dir/fuzz/findings/$target
    mkdir -p "$corpus" "$findings"
    echo "==> $target for $seconds s"
    fuzz run "$target" "$corpus" "fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -max_len="$INPUT_BYTES_MAX" -timeout="$SLOW_INPUT_SECONDS" \
        -rss_limit_mb="$MEMORY_MB_MAX" -artifact_prefix="$findings/" \
        -print_final_stats=1 -print_funcs=0 -verbosity=0 || failed+=("$target")
done

for target in ${failed[@]+"${failed[@]}"}; do
    printf '\n**************** FOUND: %s, see %s; put it into a test beside the code\n' \
        "$target" "$target_dir/fuzz/findings/$target" >&2
done
[ ${#failed[@]} -eq 0 ] || exit 1
echo "==> nothing found: ${targets[*]}, $seconds s each"
