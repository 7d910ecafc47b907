#!/usr/bin/env bash
# Shows gokart at work: everything on this machine in a throw-away directory, real traffic over HTTP
# (clicks, each event's postback, repeats, an early one, an unknown one, a forged one), then the
# funnel and one click's story. Fails when anything does not come out as it should.
#
#   deploy/demo.sh <gokart binary>
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

gokart=${1:?"usage: deploy/demo.sh <gokart binary>"}
offer=pet-the-dogs-ios
publisher=acme-rewards
advertiser=brain-games
events=("Install" "s2s_level 200" "s2s_level 400")
# Of so many users, so many reach each event.
users=20
reached=(20 12 6)
ready_within_s=180
visible_within_s=60
stops_within_s=60
phone='Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1'

say() { printf '\n==> %s\n' "$*"; }
fail() {
    echo "demo: $*" >&2
    [ ! -s "$work/gokart.log" ] || { echo "demo: the last lines that gokart wrote:" >&2; tail -n 15 "$work/gokart.log" >&2; }
    exit 1
}

work=$(mktemp -d)
running=
# Ends gokart, by force when it does not end by itself in time; its exit code is the result.
stop_gokart() {
    local pid=$running code=0 tick
    running=
    kill -TERM "$pid" 2>/dev/null || true
    for ((tick = 0; tick < stops_within_s * 5; tick++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.2
    done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" || code=$?
    return "$code"
}
clean_up() {
    [ -z "$running" ] || stop_gokart || true
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

free_port() {
    local port
    while :; do
        # Below the ports that the system hands out by itself.
        port=$((10240 + (RANDOM * 32768 + RANDOM) % 22000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
    done
}

# A setting of the user's own must not reach the demo.
for name in $(compgen -e | grep '^GOKART_' || true); do unset "$name"; done
listen=127.0.0.1:$(free_port)
export GOKART_ADMIN_LISTEN=127.0.0.1:$(free_port)
export GOKART_ADMIN=http://$GOKART_ADMIN_LISTEN
export GOKART_DATA=$work/data

say "starting gokart in a throw-away directory"
"$gokart" up --config examples --listen "$listen" --warehouse-listen "127.0.0.1:$(free_port)" \
    --metrics-listen "127.0.0.1:$(free_port)" >"$work/gokart.log" 2>&1 &
running=$!

# ask <field> <command…>: one field of a command's JSON.
ask() {
    local field=$1
    shift
    "$gokart" "$@" --format json | tr -d '\n' | sed -nE "s/.*\"$field\": *\"([^\"]*)\".*/\1/p"
}

for ((second = 0; ; second++)); do
    kill -0 "$running" 2>/dev/null || { running=; fail "gokart ended by itself"; }
    # The link is there once the example configuration is in force.
    link=$(ask tracking_link tracking-link --offer "$offer" --publisher "$publisher" 2>/dev/null || true)
    [ -z "$link" ] || break
    [ "$second" -lt "$ready_within_s" ] || fail "gokart was not ready within $ready_within_s s"
    sleep 1
done
url=$(ask url postback-url --advertiser "$advertiser" --reveal)
[ -n "$url" ] || fail "there is no postback URL"
host=${link#*://}
host=${host%%/*}
path=/${url#*://*/}
signature=$(sed -nE 's/.*[?&]signature=([^&]*).*/\1/p' <<<"$path")
path=${path%%\?*}
echo "ready: $link"

# get <path and query> [curl arguments…]: status and redirect of a request, on one line.
get() {
    local target=$1
    shift
    curl --silent --show-error --max-time 10 --output /dev/null --resolve "$host:${listen%:*}" \
        --write-out '%{http_code} %{redirect_url}' "$@" "http://$host$target"
}

encode() { sed 's/ /%20/g' <<<"$1"; }

accepted=0
# postback <click id> <event>: sends it; only 200 is right.
postback() {
    local answer
    answer=$(get "$path?signature=$signature&gk_click_id=$1&cnv_event_id=$(encode "$2")")
    [ "${answer%% *}" = 200 ] || fail "the postback \"$2\" was answered ${answer%% *}, not 200"
    accepted=$((accepted + 1))
}

say "$users users follow the tracking link"
clicks=()
for ((user = 1; user <= users; user++)); do
    answer=$(get "/${link#*://*/}?sub1=demo&sub2=user-$user" --user-agent "$phone")
    [ "${answer%% *}" = 302 ] || fail "a click was answered ${answer%% *}, not 302"
    click=$(sed -nE 's/.*[?&]gk_click_id=([^&]*).*/\1/p' <<<"${answer#* }")
    [ -n "$click" ] || fail "the redirect holds no click id: ${answer#* }"
    clicks+=("$click")
done
echo "$users redirects to ${answer#* }"

for index in "${!events[@]}"; do
    say "${reached[$index]} of them: ${events[$index]}"
    for ((user = 0; user < ${reached[$index]}; user++)); do
        postback "${clicks[$user]}" "${events[$index]}"
    done
    echo "${reached[$index]} postbacks accepted"
done

say "what senders do besides"
for user in 0 1 2; do postback "${clicks[$user]}" Install; done
echo "3 repeats of an Install: accepted, decided as duplicates"
postback "${clicks[15]}" "s2s_level 400"
echo "1 level 400 before its level 200: accepted, waits for it"
postback "${clicks[0]}" install
echo "1 event that is not spelled as configured: accepted, rejected with a reason"
forged=$([ "${signature:0:1}" = A ] && echo B || echo A)${signature:1}
answer=$(get "$path?signature=$forged&gk_click_id=${clicks[0]}&cnv_event_id=Install")
[ "${answer%% *}" = 403 ] || fail "a forged signature was answered ${answer%% *}, not 403"
echo "1 forged signature: 403, nothing decided"

say "waiting until all $accepted postbacks are decided and visible"
for ((second = 0; ; second++)); do
    kill -0 "$running" 2>/dev/null || { running=; fail "gokart ended by itself"; }
    visible=$("$gokart" report postbacks --limit 1000 --format json | grep -oE '"postback_id": *"' | wc -l || true)
    [ "$visible" -lt "$accepted" ] || break
    [ "$second" -lt "$visible_within_s" ] || fail "only $visible of $accepted are visible after $visible_within_s s"
    sleep 1
done
[ "$visible" -eq "$accepted" ] || fail "$visible postbacks are visible, and $accepted were accepted"
echo "$visible of $accepted, each once"

say "gokart report funnel --offer $offer"
"$gokart" report funnel --offer "$offer"
say "gokart explain ${clicks[0]}"
story=$("$gokart" explain "${clicks[0]}")
echo "$story"
grep -q "install" <<<"$story" || fail "the story does not tell of the misspelt event"
say "gokart refused"
"$gokart" refused

say "stopping gokart"
code=0
stop_gokart || code=$?
[ "$code" -eq 0 ] || fail "gokart ended with exit code $code"
echo "stopped, exit code 0; nothing is left behind"
