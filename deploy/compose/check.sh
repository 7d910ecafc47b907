#!/usr/bin/env bash
# Holds docker-compose.yml to what a compose client accepts and to what gokart's command line knows.
# A compose client needs no Docker engine for this; without one the first half is left out, loudly.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

fail() {
    echo "compose: $*" >&2
    exit 1
}

# Every GOKART_ variable that a container is given must be one that gokart reads.
check_variables() {
    local known variable unknown=
    known=$(grep -rhoE 'env = "GOKART_[A-Z_]+"' gokart/src/cli gokart/src/cli.rs | grep -oE 'GOKART_[A-Z_]+' | sort -u)
    [ -n "$known" ] || fail "no GOKART_ variable was found in gokart/src/cli"
    for variable in $(grep -ohE 'GOKART_[A-Z_]+' docker-compose.yml Dockerfile | sort -u); do
        grep -qx "$variable" <<<"$known" || unknown+=" $variable"
    done
    [ -z "$unknown" ] || fail "gokart knows no$unknown (docker-compose.yml, Dockerfile)"
}

# The compose client's command, in $client; installed where that is possible.
find_client() {
    client=()
    if command -v docker-compose >/dev/null; then
        client=(docker-compose)
    elif docker compose version >/dev/null 2>&1; then
        client=(docker compose)
    elif [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        echo "compose: installing docker-compose"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq || true
        apt-get install -y -qq --no-install-recommends docker-compose >/dev/null || return 0
        client=(docker-compose)
    fi
}

check_variables
find_client
if [ ${#client[@]} -eq 0 ]; then
    printf '\n**************** SKIPPED: docker-compose.yml was not checked: no compose client (apt-get install docker-compose)\n\n' >&2
    exit 0
fi
# A client looks whether the mounted secrets are there only when it starts containers.
services=$("${client[@]}" --file docker-compose.yml config --services) ||
    fail "${client[*]} does not accept docker-compose.yml; see its message above"
for service in kafka clickhouse ingest processor sink admin prometheus grafana; do
    grep -qx "$service" <<<"$services" || fail "docker-compose.yml has no service $service"
done
"${client[@]}" --file docker-compose.yml config --quiet
echo "compose: accepted by $("${client[@]}" version --short), variables known"
