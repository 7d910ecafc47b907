#!/usr/bin/env bash
# Every metric that the alerts and the dashboard ask for must be one that the code counts: a name
# that was changed would otherwise show as a graph that is always empty and an alert that never fires.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# One that was deleted but is still tracked is no loss.
known=$(git ls-files -z '*.rs' | { xargs -0 cat 2>/dev/null || true; } | tr '\n' ' ' |
    grep -oE '(counter|gauge|histogram)!\( *"[a-z_]+"' | grep -oE '"[a-z_]+"' | tr -d '"' | sort -u)
[ -n "$known" ] || { echo "metrics: none were found in the code" >&2; exit 1; }

asked=$(cat deploy/prometheus/{alerts,recording}.yml deploy/grafana/dashboards/*.json |
    grep -oE '\bgokart_[a-z_]+' | sed 's/_bucket$//' | sort -u)
unknown=$(comm -13 <(echo "$known") <(echo "$asked"))
if [ -n "$unknown" ]; then
    echo "metrics: deploy/prometheus and deploy/grafana ask for metrics that nothing counts:" $unknown >&2
    exit 1
fi
# Names and kinds, as docs/METRICS.md has them; the help texts of /metrics are made from it.
counted=$(git ls-files -z '*.rs' | { xargs -0 cat 2>/dev/null || true; } | tr '\n' ' ' |
    grep -oE '(counter|gauge|histogram)!\( *"gokart_[a-z_]+"' | sed -E 's/!\( *"/ /; s/"//' | sort -u)
documented=$(sed -nE 's/^\| `([a-z_]+)` \| ([a-z]+) .*/\2 \1/p' docs/METRICS.md | sort -u)
if [ "$counted" != "$documented" ]; then
    echo "metrics: docs/METRICS.md and the code differ (< only in the code, > only in the document):" >&2
    diff <(echo "$counted") <(echo "$documented") | grep '^[<>]' >&2
    exit 1
fi
recorded=$(sed -n 's/^ *- record: *//p' deploy/prometheus/recording.yml | sort -u)
unknown=$(comm -13 <(echo "$recorded") \
    <(cat deploy/prometheus/alerts.yml deploy/grafana/dashboards/*.json | grep -oE 'gokart:[a-z_0-9:]+' | sort -u))
if [ -n "$unknown" ]; then
    echo "metrics: nothing in deploy/prometheus/recording.yml records:" $unknown >&2
    exit 1
fi
for file in deploy/grafana/dashboards/*.json; do
    python3 -m json.tool "$file" >/dev/null || { echo "metrics: $file is not JSON" >&2; exit 1; }
done
echo "metrics: $(echo "$asked" | wc -l) names in alerts and dashboard, all of them counted; $(echo "$documented" | wc -l) documented"
