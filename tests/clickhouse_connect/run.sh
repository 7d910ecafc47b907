#!/bin/sh
# Runs the official Python client against the warehouse that the environment names.
# Exit code 77: skipped, because Python or the package cannot be had.
set -eu
cd "$(dirname "$0")"
venv=../../target/clickhouse-connect
if ! "$venv/bin/python" -c 'import clickhouse_connect' 2>/dev/null; then
    rm -rf "$venv"
    if ! { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt; } >&2; then
        rm -rf "$venv"
        echo "SKIPPED: clickhouse-connect could not be installed, so it was not tested" >&2
        exit 77
    fi
fi
exec "$venv/bin/python" client.py
