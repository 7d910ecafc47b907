#!/bin/sh
# Has the official `standardwebhooks` package verify the requests in a file.
# Exit code 77: skipped, because Python or the package cannot be had.
set -eu
cd "$(dirname "$0")"
venv=../../target/standard-webhooks
if ! "$venv/bin/python" -c 'import standardwebhooks' 2>/dev/null; then
    rm -rf "$venv"
    if ! { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r requirements.txt; } >&2; then
        rm -rf "$venv"
        echo "SKIPPED: standardwebhooks could not be installed, so signatures were not verified by it" >&2
        exit 77
    fi
fi
exec "$venv/bin/python" verify.py "$1"
