#!/usr/bin/env bash
# Everything that CI runs, in the order in which it fails fastest. Says what it does and how long
# each step took, and what it had to leave out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

KAFKA_READY_WITHIN_S=600 # The first time its jars are fetched.

step() {
    local began=$SECONDS
    echo "==> $*"
    "$@" || {
        echo "==> FAILED after $((SECONDS - began)) s: $*" >&2
        exit 1
    }
    echo "==> done in $((SECONDS - began)) s: $*"
}

skipped=()
broker=
output=
clean_up() {
    [ -z "$broker" ] || kill "$broker" 2>/dev/null || true
    [ -z "$broker" ] || wait "$broker" 2>/dev/null || true
    [ -z "$output" ] || rm -f "$output"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# One broker for all tests; each uses topics of its own.
start_kafka() {
    if [ -n "${GOKART_TEST_KAFKA:-}" ]; then
        echo "kafka: using $GOKART_TEST_KAFKA"
        return
    fi
    if ! command -v java >/dev/null || ! command -v mvn >/dev/null; then
        skipped+=("every test on Apache Kafka: java or mvn is missing (apt-get install openjdk-17-jre-headless maven)")
        return
    fi
    output=$(mktemp)
    deploy/kafka/start.sh >"$output" &
    broker=$!
    for ((tick = 0; tick < KAFKA_READY_WITHIN_S * 5; tick++)); do
        GOKART_TEST_KAFKA=$(head -n 1 "$output")
        [ -z "$GOKART_TEST_KAFKA" ] || break
        kill -0 "$broker" 2>/dev/null || return 1
        sleep 0.2
    done
    [ -n "$GOKART_TEST_KAFKA" ] || return 1
    export GOKART_TEST_KAFKA
    echo "kafka: $GOKART_TEST_KAFKA"
}

step deploy/setup.sh --tests
step cargo fmt --all --check
step cargo run --locked --quiet --package xtask -- tidy
step deploy/compose/check.sh
step deploy/check-metrics.sh
step deploy/prometheus/check.sh
step cargo clippy --locked --workspace --all-targets -- -D warnings
step deploy/chdb/fetch.sh
# The binaries with the tests' own features, so that nothing is compiled twice.
step cargo build --locked --workspace --bins --tests
step start_kafka
# Most tests wait for the time-outs of real processes, and leave the cores to others.
export RUST_TEST_THREADS="${RUST_TEST_THREADS:-$((2 * $(nproc)))}"
# All of them, whatever fails: one run tells everything that is to be mended.
step cargo test --locked --workspace --no-fail-fast

for what in ${skipped[@]+"${skipped[@]}"}; do
    printf '\n**************** SKIPPED: %s\n' "$what" >&2
done
echo "==> all passed in $((SECONDS / 60)) min $((SECONDS % 60)) s"
