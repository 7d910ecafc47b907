#!/bin/sh
# Fetches the ClickHouse engine library with the npm client, once, and prints its path.
#
# The package's version, and the checksums of package and library, are pinned here; nothing is
# kept that does not match. With the library in place this needs no network.
#   GOKART_CACHE   where to keep it (default: target/chdb)
set -eu

VERSION=26.7.3-stable.1
# Only this platform's package could be checked; another one is refused rather than trusted.
case "$(uname -s)-$(uname -m)" in
Linux-x86_64)
    PACKAGE=@chdb/lib-linux-x64-gnu
    PACKAGE_BYTES=177817999
    PACKAGE_SHA512=5cff7b98caa7739b59a4a432c11f0dedc2d3b073624e61ebdf4a42e66ce8de35a6ba48ca9f62016bad1cd81fe059435cb858ce3235a8a2b408082a81563e70a7
    LIBRARY_SHA256=36ad4e999882821ef13cf2d0f52c93f48e6ee1b4498b35a201c23ce4b8d15bf5
    ;;
*)
    echo "chdb: no engine library is pinned for $(uname -s) $(uname -m); use a ClickHouse server with --clickhouse instead" >&2
    exit 1
    ;;
esac

cd "$(dirname "$0")/../.."
folder=${GOKART_CACHE:-target/chdb}/$VERSION
library=$folder/libchdb.so
if [ -f "$library" ]; then
    echo "$library"
    exit 0
fi
if ! command -v npm >/dev/null 2>&1; then
    echo "chdb: npm is missing, which fetches the engine library; install it with: apt-get install npm" >&2
    exit 1
fi

mkdir -p "$folder"
work=$(mktemp -d "$folder/fetch.XXXXXX")
npm_pid=
cleanup() {
    [ -z "$npm_pid" ] || kill "$npm_pid" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    [ ! -t 2 ] || printf '\r\033[K' >&2
    echo "chdb: $1" >&2
    exit 1
}

# How much of the package has come: npm writes it below its cache first.
show_progress() {
    have=$(du -sb "$work" 2>/dev/null | cut -f1)
    percent=$((${have:-0} * 100 / PACKAGE_BYTES))
    [ "$percent" -le 100 ] || percent=100
    done_marks=$((percent / 4))
    bar=$(printf '%*s' "$done_marks" '' | tr ' ' '#')
    printf '\r\033[Kengine library [%-25s] %3d%% of %d MB' "$bar" "$percent" $((PACKAGE_BYTES / 1000000)) >&2
}

[ -t 2 ] || echo "chdb: fetching the engine library, $((PACKAGE_BYTES / 1000000)) MB" >&2
# npm's own cache would hold the package a second time for good.
npm pack "$PACKAGE@$VERSION" --pack-destination "$work" --cache "$work/cache" \
    >"$work/npm.out" 2>"$work/npm.err" &
npm_pid=$!
while kill -0 "$npm_pid" 2>/dev/null; do
    [ ! -t 2 ] || show_progress
    sleep 0.3
done
code=0
wait "$npm_pid" || code=$?
npm_pid=
if [ "$code" -ne 0 ]; then
    reason=$(grep -m 1 -iE 'network|not found|ENOTFOUND|ECONN|EACCES|ENOSPC|ETIMEDOUT' "$work/npm.err" || tail -n 1 "$work/npm.err")
    fail "npm could not fetch $PACKAGE $VERSION (${reason:-exit code $code}); check the network and try again"
fi

set -- "$work"/*.tgz
[ -f "$1" ] || fail "npm gave no package for $PACKAGE $VERSION"
found=$(sha512sum "$1" | cut -d' ' -f1)
[ "$found" = "$PACKAGE_SHA512" ] ||
    fail "the package $PACKAGE $VERSION is not the pinned one: its sha512 is $found; nothing was kept"

[ ! -t 2 ] || printf '\r\033[Kengine library: unpacking' >&2
tar -xzf "$1" -C "$work" package/libchdb.so ||
    fail "the package could not be unpacked in $folder; is the disk full?"
found=$(sha256sum "$work/package/libchdb.so" | cut -d' ' -f1)
[ "$found" = "$LIBRARY_SHA256" ] ||
    fail "libchdb.so in $PACKAGE $VERSION is not the pinned one: its sha256 is $found; nothing was kept"
chmod 0755 "$work/package/libchdb.so"
mv -f "$work/package/libchdb.so" "$library"
[ ! -t 2 ] || printf '\r\033[K' >&2
echo "$library"
