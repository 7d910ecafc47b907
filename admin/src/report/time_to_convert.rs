//! How long after its click an event comes.

use super::column::{Column, Kind, percent};
use super::filter::{Filter, View};
use super::table::Table;
use super::{Asked, Definition, REACHED, event_name};
use crate::error::Error;
use crate::warehouse::Question;
use serde::Deserialize;
use serde_json::Value;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Upper bounds of the stretches, in seconds; the last stretch has none.
const BOUNDS: [(u64, &str); 15] = [
    (MINUTE, "1 min"),
    (5 * MINUTE, "5 min"),
    (15 * MINUTE, "15 min"),
    (HOUR, "1 h"),
    (3 * HOUR, "3 h"),
    (6 * HOUR, "6 h"),
    (12 * HOUR, "12 h"),
    (DAY, "1 d"),
    (2 * DAY, "2 d"),
    (3 * DAY, "3 d"),
    (7 * DAY, "7 d"),
    (14 * DAY, "14 d"),
    (30 * DAY, "30 d"),
    (60 * DAY, "60 d"),
    (90 * DAY, "90 d"),
];

pub const DEFINITION: Definition = Definition {
    name: "time-to-convert",
    about: "How long after its click each event comes: the distribution.",
    filters: &[
        Filter::Tenant,
        Filter::Advertiser,
        Filter::Offer,
        Filter::Publisher,
        Filter::Event,
        Filter::Country,
        Filter::Platform,
        Filter::Clones,
    ],
    has_tests: true,
    options: &[],
    columns: &[
        Column::new("event_id", Kind::Text, "The event."),
        Column::new("event_name", Kind::Text, "Its name in the offer, when one offer is chosen.")
            .wide(),
        Column::new("within", Kind::Text, "At most so long after the click."),
        Column::new("within_seconds", Kind::Seconds, "The same; none: longer than all.").wide(),
        Column::new("conversions", Kind::Count, "Of this stretch: longer than the one above."),
        Column::new("percent", Kind::Percent, "Of the event's conversions."),
        Column::new("cumulative_percent", Kind::Percent, "Of this stretch and those above."),
        Column::new("median_seconds", Kind::Seconds, "Of the whole event."),
        Column::new("p90_seconds", Kind::Seconds, "Nine of ten were no slower."),
        Column::new("max_seconds", Kind::Seconds, "The slowest.").wide(),
    ],
};

#[derive(Debug, Deserialize)]
struct EventRow {
    event: String,
    all: u64,
    /// How many were no slower than each bound.
    within: Vec<u64>,
    quantiles_ms: Vec<i64>,
    max_ms: i64,
}

pub async fn run(asked: &Asked<'_>) -> Result<Table, Error> {
    let bounds: Vec<String> = BOUNDS.iter().map(|(s, _)| (s * 1000).to_string()).collect();
    let sql = format!(
        "SELECT toString(event_id) AS event, count() AS all, \
         sumForEach(arrayMap(bound -> toUInt64(delay <= bound), [{}])) AS within, \
         quantilesExact(0.5, 0.9)(delay) AS quantiles_ms, max(delay) AS max_ms \
         FROM (SELECT event_id, greatest(0, toUnixTimestamp64Milli(received_at) - \
         toUnixTimestamp64Milli(clicked_at)) AS delay FROM {} WHERE {} AND {REACHED}) \
         GROUP BY event ORDER BY all DESC, event LIMIT 1000",
        bounds.join(", "),
        View::Conversions.name(),
        asked.scope.conditions(View::Conversions, View::Conversions.time()),
    );
    let question = asked.scope.bind(Question::new(sql), asked.catalog);
    let events: Vec<EventRow> = asked.warehouse.rows(question).await?;
    let offer = asked.scope.value(Filter::Offer).unwrap_or_default();
    let rows = events.iter().flat_map(|event| {
        let name = event_name(asked.catalog, offer, &event.event);
        stretches(event, &name)
    });
    let mut table = asked.table(rows.collect());
    table.notes.push(
        "Of events that count, are held, or met a cap: from the click to the postback's arrival."
            .to_owned(),
    );
    Ok(table)
}

fn stretches(event: &EventRow, name: &str) -> Vec<Vec<Value>> {
    let seconds = |ms: Option<&i64>| Value::from(ms.map(|ms| ms / 1000));
    let ends = BOUNDS.iter().map(|(s, text)| (Some(*s), *text)).chain([(None, "longer")]);
    let within = event.within.iter().copied().chain([event.all]);
    let mut before = 0;
    let mut rows = Vec::new();
    for ((bound, text), so_far) in ends.zip(within) {
        rows.push(vec![
            event.event.clone().into(),
            name.into(),
            text.into(),
            bound.into(),
            (so_far - before).into(),
            percent(so_far - before, event.all).into(),
            percent(so_far, event.all).into(),
            seconds(event.quantiles_ms.first()),
            seconds(event.quantiles_ms.get(1)),
            (event.max_ms / 1000).into(),
        ]);
        before = so_far;
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_add_up_to_the_event() {
        let mut within = vec![0; BOUNDS.len()];
        within[3..].fill(2);
        within[14] = 3;
        let event = EventRow {
            event: "Install".into(),
            all: 4,
            within,
            quantiles_ms: vec![5, 9],
            max_ms: 9,
        };
        let rows = stretches(&event, "Install");
        let counts: Vec<u64> = rows.iter().map(|row| row[4].as_u64().unwrap()).collect();
        assert_eq!(counts.iter().sum::<u64>(), 4);
        assert_eq!((counts[3], counts[14], counts[15]), (2, 1, 1));
        assert_eq!(rows[15][6], 100.0);
    }
}
