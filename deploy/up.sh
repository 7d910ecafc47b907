#!/usr/bin/env bash
# Runs a command in the foreground so that its own exit code is the result even when it is ended with
# Ctrl-C: at a terminal it gets a process group of its own, and the interrupt goes to it alone
# instead of to `make` too, which would report a failure.
set -euo pipefail

if [ ! -t 0 ]; then
    exec "$@"
fi
set -m
code=0
"$@" || code=$?
exit "$code"
