#!/bin/sh
# Makes sure that what the build needs is here: installs it where that is possible (root, with apt),
# else names the one command that does. Does nothing, and needs no network, when all is there.
#
#   deploy/setup.sh            what `make up` needs
#   deploy/setup.sh --tests    what `make test` needs beside it
set -eu

with_tests=no
case "${1:-}" in
'') ;;
--tests) with_tests=yes ;;
*)
    echo "usage: deploy/setup.sh [--tests]" >&2
    exit 2
    ;;
esac

missing=
# need <package> <command> [argument…]: the package, unless the command succeeds.
need() {
    package=$1
    shift
    "$@" >/dev/null 2>&1 && return
    case " $missing " in
    *" $package "*) ;;
    *) missing="${missing:+$missing }$package" ;;
    esac
}

# librdkafka is compiled from source: C, C++ and make. The engine library comes with npm.
need build-essential command -v cc
need build-essential command -v c++
need build-essential command -v make
# Its TLS to the brokers is the system's OpenSSL.
need pkg-config command -v pkg-config
need libssl-dev pkg-config --exists openssl
need npm command -v npm
# The demo talks to gokart as any client does; the rest are in every Debian but the slimmest.
need curl command -v curl
need coreutils command -v sha512sum
need tar command -v tar
if [ "$with_tests" = yes ]; then
    # The tracked files are what is checked; the official Python client gets an environment of its own.
    need git command -v git
    need python3 command -v python3
    need python3-venv python3 -c 'import ensurepip, venv'
fi

if [ -n "$missing" ]; then
    install="apt-get install -y --no-install-recommends $missing"
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "setup: installing $missing"
        export DEBIAN_FRONTEND=noninteractive
        # The lists of a fresh machine are empty or old.
        # shellcheck disable=SC2086 # the packages are separate words
        apt-get update -qq && $install -qq >/dev/null || {
            echo "setup: '$install' failed; see its message above, and run it by hand" >&2
            exit 1
        }
    elif command -v apt-get >/dev/null 2>&1; then
        echo "setup: $missing missing; install with: sudo $install" >&2
        exit 1
    else
        echo "setup: these are missing (by their Debian names): $missing; install them with your system's package manager" >&2
        exit 1
    fi
fi

if ! command -v cargo >/dev/null 2>&1; then
    echo "setup: cargo is missing; install Rust 1.95 or later as https://rustup.rs says, and open a new shell" >&2
    exit 1
fi
if [ "$with_tests" = yes ]; then
    for component in rustfmt clippy; do
        program=cargo-${component#rust}
        command -v "$program" >/dev/null 2>&1 && "$program" --version >/dev/null 2>&1 && continue
        echo "setup: adding $component to the Rust toolchain"
        rustup component add "$component" || {
            echo "setup: $component is missing; add it to the Rust toolchain" >&2
            exit 1
        }
    done
fi
