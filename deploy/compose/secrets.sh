#!/usr/bin/env bash
# Makes the secrets that docker-compose.yml mounts, once: each that is there is kept. They lie in
# deploy/compose/secrets, which only its owner can enter; the containers' own users read the files.
set -euo pipefail
umask 077
cd "$(dirname "${BASH_SOURCE[0]}")"
mkdir -p secrets
chmod 0700 secrets
cd secrets

random() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; }

# keep <file>: writes standard input to the file unless it is there.
keep() {
    if [ -e "$1" ]; then
        cat >/dev/null
        return
    fi
    cat >"$1.part"
    chmod 0444 "$1.part"
    mv "$1.part" "$1"
    echo "made deploy/compose/secrets/$1"
}

printf '1 %s\n' "$(random)" | keep master-keys
random | keep admin-token
random | keep clickhouse-token
random | keep grafana-password

# ClickHouse knows the token by its hash only.
hash=$(sha256sum clickhouse-token | cut -d' ' -f1)
keep clickhouse-users.xml <<XML
<clickhouse>
    <users>
        <default remove="remove"/>
        <gokart>
            <password_sha256_hex>$hash</password_sha256_hex>
            <networks><ip>::/0</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
        </gokart>
    </users>
</clickhouse>
XML
