#!/usr/bin/env bash
# Runs Apache Kafka (KRaft) for tests, without Docker.
#
#   deploy/kafka/start.sh [--port N] [--properties FILE] [--scram USER]… [--as-shipped]
#
# A single node. Prints `kafka://127.0.0.1:PORT` on standard output once the broker takes requests,
# then runs until SIGTERM, SIGINT or the end of the process that started it, and leaves nothing behind.
#
#   deploy/kafka/start.sh --node N --of HOST:PORT:CONTROLLER_PORT,… --data DIR [--as-shipped]
#
# The Nth node of a cluster, counted from 1, which keeps its data in DIR. This process becomes the
# broker: kill it and start it again as you like. It ends with the process that started it.
#
# FILE has further lines for broker.properties.in, which win. USER is a user of SCRAM as kafka-storage
# takes it, e.g. SCRAM-SHA-256=[name=me,password=…]. The JVM is set up to start quickly and to stay
# small, for tests; --as-shipped sets it up as Apache Kafka's own scripts do, for measuring.
# The jars are fetched with Maven the first time and kept in target/kafka/<version>/.
# Needs: Java 17 or later, and Maven for the first time (apt-get install openjdk-17-jre-headless maven).
set -euo pipefail

HEAP_MB=${GOKART_TEST_KAFKA_HEAP_MB:-512}
HEAP_MB_AS_SHIPPED=${GOKART_TEST_KAFKA_HEAP_MB:-1024}
READY_WITHIN_S=60
START_ATTEMPTS=3

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$here/pom.xml")
jars=${CARGO_TARGET_DIR:-$root/target}/kafka/$version

fail() {
    echo "kafka: $*" >&2
    exit 1
}

usage() {
    echo "kafka: $1; usage: start.sh [--port N] [--properties FILE] [--scram USER]… [--as-shipped] | --node N --of HOST:PORT:CONTROLLER_PORT,… --data DIR" >&2
    exit 2
}

fixed_port=
jvm=(-Xms128m "-Xmx${HEAP_MB}m" -XX:+UseSerialGC -XX:TieredStopAtLevel=1)
properties=/dev/null
scram=()
node=
nodes=()
data=
while [ $# -gt 0 ]; do
    case $1 in
    --as-shipped)
        jvm=("-Xms${HEAP_MB_AS_SHIPPED}m" "-Xmx${HEAP_MB_AS_SHIPPED}m" -server -XX:+UseG1GC -XX:MaxGCPauseMillis=20
            -XX:InitiatingHeapOccupancyPercent=35 -XX:+ExplicitGCInvokesConcurrent)
        shift
        continue
        ;;
    --port)
        [[ ${2:-} =~ ^[0-9]+$ ]] || usage "--port wants a number"
        fixed_port=$2
        ;;
    --properties)
        [ -r "${2:-}" ] || usage "--properties wants a file"
        properties=$2
        ;;
    --scram)
        [ -n "${2:-}" ] || usage "--scram wants a user"
        scram+=(--add-scram "$2")
        ;;
    --node)
        [[ ${2:-} =~ ^[1-9]$ ]] || usage "--node wants a number from 1 to 9"
        node=$2
        ;;
    --of)
        IFS=, read -r -a nodes <<<"${2:-}"
        ;;
    --data)
        [ -n "${2:-}" ] || usage "--data wants a directory"
        data=$2
        ;;
    *) usage "unknown argument '$1'" ;;
    esac
    shift 2
done
if [ -n "$node" ]; then
    [ -n "$data" ] && [ "$node" -le "${#nodes[@]}" ] || usage "--node wants --data, and --of with as many nodes"
elif [ -n "$data" ] || [ "${#nodes[@]}" -gt 0 ]; then
    usage "--of and --data belong to --node"
fi

command -v java >/dev/null || fail "java is missing; install Java 17: apt-get install openjdk-17-jre-headless"
major=$(java -version 2>&1 | sed -n '1s/.*version "\([0-9]*\).*/\1/p')
[ "${major:-0}" -ge 17 ] || fail "Kafka $version needs Java 17 or later, and this is Java ${major:-unknown}: apt-get install openjdk-17-jre-headless"

# Two test runs may come here at once: the first fetches, the second waits for it.
fetch_jars() {
    command -v mvn >/dev/null || fail "mvn is missing, which fetches Kafka's jars once: apt-get install maven"
    mkdir -p "$(dirname "$jars")"
    exec 9>"$jars.lock"
    flock 9
    if [ ! -d "$jars" ]; then
        echo "kafka: fetching Apache Kafka $version with Maven (once)" >&2
        rm -rf "$jars.part"
        mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$jars.part" >&2 ||
            fail "Maven could not fetch Kafka $version; see its message above, and check the network"
        mv "$jars.part" "$jars"
    fi
    exec 9>&-
}
[ -d "$jars" ] || fetch_jars

in_use() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Below 32768 the system does not hand out ports by itself, so few are taken between look and use.
free_port() {
    local port
    while :; do
        port=$((10240 + (RANDOM * 32768 + RANDOM) % 22000))
        in_use "$port" || { echo "$port"; return; }
    done
}

parent_is_there() {
    local line
    while read -r line; do
        [[ $line == PPid:* ]] && { [ "${line//[^0-9]/}" = "$PPID" ]; return; }
    done <"/proc/$$/status"
}

# The broker ends with this script even when the script is killed outright.
tie=()
if command -v setpriv >/dev/null && setpriv --pdeathsig KILL true 2>/dev/null; then
    tie=(setpriv --pdeathsig KILL)
fi
java_options=(-cp "$jars/*" "${jvm[@]}" -Xshare:auto -Djava.awt.headless=true
    -Dorg.slf4j.simpleLogger.defaultLogLevel=warn)

# Writes $data/broker.properties for one of the nodes HOST:PORT:CONTROLLER_PORT… that follow its number.
write_properties() {
    local id=$1 voters= number=0 host port controller_port own
    shift
    for own in "$@"; do
        number=$((number + 1))
        IFS=: read -r host port controller_port <<<"$own"
        voters+="${voters:+,}$number@$host:$controller_port"
    done
    IFS=: read -r host port controller_port <<<"${*:id:1}"
    local copies=$(($# < 3 ? $# : 3))
    sed -e "s|@ID@|$id|g" -e "s|@HOST@|$host|g" -e "s|@PORT@|$port|g" -e "s|@VOTERS@|$voters|g" \
        -e "s|@CONTROLLER_PORT@|$controller_port|g" -e "s|@DATA@|$data|g" \
        -e "s|@COPIES@|$copies|g" -e "s|@IN_SYNC@|$((copies < 3 ? 1 : 2))|g" \
        "$here/broker.properties.in" "$properties" >"$data/broker.properties"
}

format_storage() {
    java "${java_options[@]}" kafka.tools.StorageTool format --cluster-id gokartTestClusterAAAAA \
        --ignore-formatted ${scram[@]+"${scram[@]}"} --config "$data/broker.properties" >"$data/output" 2>&1 ||
        fail "the storage could not be formatted: $(tail -n 3 "$data/output")"
}

if [ -n "$node" ]; then
    mkdir -p "$data"
    write_properties "$node" "${nodes[@]}"
    [ -f "$data/log/meta.properties" ] || format_storage
    exec "${tie[@]}" java "${java_options[@]}" kafka.Kafka "$data/broker.properties"
fi

data=$(mktemp -d "${TMPDIR:-/tmp}/gokart-kafka.XXXXXXXX")
broker=
clean_up() {
    trap - EXIT TERM INT HUP
    if [ -n "$broker" ]; then
        kill -KILL "$broker" 2>/dev/null || true
        wait "$broker" 2>/dev/null || true
    fi
    rm -rf "$data"
}
# Nothing in the data directory is worth an orderly end.
trap clean_up EXIT
trap 'clean_up; exit 0' TERM INT HUP

for ((attempt = 1; attempt <= START_ATTEMPTS; attempt++)); do
    port=${fixed_port:-$(free_port)}
    in_use "$port" && fail "port $port is taken; choose another with --port"
    rm -rf "${data:?}"/*
    write_properties 1 "127.0.0.1:$port:$(free_port)"
    format_storage
    "${tie[@]}" java "${java_options[@]}" kafka.Kafka "$data/broker.properties" >"$data/output" 2>&1 &
    broker=$!
    for ((tick = 0; tick < READY_WITHIN_S * 5; tick++)); do
        kill -0 "$broker" 2>/dev/null || break
        parent_is_there || exit 0
        if in_use "$port"; then
            echo "kafka://127.0.0.1:$port"
            while kill -0 "$broker" 2>/dev/null; do
                parent_is_there || exit 0
                # In the background, so that a signal is answered at once.
                sleep 0.5 &
                wait $! || true
            done
            fail "the broker ended by itself: $(tail -n 3 "$data/output")"
        fi
        sleep 0.2
    done
    kill -KILL "$broker" 2>/dev/null || true
    wait "$broker" 2>/dev/null || true
    broker=
done
fail "the broker did not start within $READY_WITHIN_S s: $(tail -n 5 "$data/output")"
