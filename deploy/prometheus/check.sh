#!/usr/bin/env bash
# Holds the Prometheus configuration, the alerts and their unit tests to what Prometheus' own tool says.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
tools=$PWD/../../target/tools

# Every alert has to be named in the tests: one that never fires helps nobody.
missing=$(comm -23 <(sed -n 's/^ *- alert: *//p' alerts.yml | sort) \
    <(grep -oE 'alertname="[A-Za-z]+"' alerts_test.yml | cut -d'"' -f2 | sort -u))
if [ -n "$missing" ]; then
    echo "prometheus: alerts without a test in deploy/prometheus/alerts_test.yml:" $missing >&2
    exit 1
fi

# And every recorded number.
missing=$(comm -23 <(sed -n 's/^ *- record: *//p' recording.yml | sort) \
    <(grep -oE 'gokart:[a-z_0-9:]+' recording_test.yml | sort -u))
if [ -n "$missing" ]; then
    echo "prometheus: recording rules without a test in deploy/prometheus/recording_test.yml:" $missing >&2
    exit 1
fi

# The tool, in $promtool. Of Debian's package only this one file is taken: no server is installed.
find_tool() {
    promtool=
    if command -v promtool >/dev/null; then
        promtool=promtool
    elif [ -x "$tools/promtool" ]; then
        promtool=$tools/promtool
    elif command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then
        echo "prometheus: fetching promtool"
        local place
        place=$(mktemp -d)
        { (cd "$place" && apt-get download -qq prometheus) || {
            apt-get update -qq && (cd "$place" && apt-get download -qq prometheus)
        }; } >/dev/null 2>&1 || true
        mkdir -p "$tools"
        if dpkg-deb -x "$place"/prometheus_*.deb "$place/files" 2>/dev/null; then
            mv "$place/files/usr/bin/promtool" "$tools/promtool"
            promtool=$tools/promtool
        fi
        rm -rf "$place"
    fi
}

find_tool
if [ -z "$promtool" ]; then
    printf '\n**************** SKIPPED: the alert rules were not tested: no promtool (apt-get install prometheus)\n\n' >&2
    exit 0
fi
quietly() {
    local said
    said=$("$@" 2>&1) || {
        echo "prometheus: $* failed:" >&2
        echo "$said" >&2
        exit 1
    }
}
quietly "$promtool" check config --syntax-only prometheus.yml
quietly "$promtool" check rules alerts.yml recording.yml
quietly "$promtool" test rules alerts_test.yml recording_test.yml
# What the dashboard asks must at least be a question: each expression as a rule of its own.
questions=$(mktemp)
trap 'rm -f "$questions"' EXIT
python3 - ../grafana/dashboards/*.json >"$questions" <<'ASKED'
import json, sys

rules = []
for path in sys.argv[1:]:
    for panel in json.load(open(path))["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", "5m").replace("$__range", "1h")
            rules.append({"record": f"panel:{panel['id']}", "expr": expression,
                          "labels": {"target": target["refId"]}})
print(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
ASKED
quietly "$promtool" check rules "$questions"
echo "prometheus: $(grep -c -- '- alert:' alerts.yml) alerts, each seen to fire, none on a healthy installation; $(grep -c -- '- record:' recording.yml) recording rules"
