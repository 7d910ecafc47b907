//! Offers and events that used to come and have stopped: the rate at which they came against the
//! time since the last one. A broken integration shows here before anybody complains.

use super::column::{Column, Kind, two_decimals};
use super::filter::{Filter, View};
use super::table::{ROWS_MAX, Table};
use super::{Asked, Definition};
use crate::error::Error;
use crate::parameter::Parameter;
use crate::warehouse::Question;
use schemas::UnixMillis;
use schemas::time::DAY_MS;
use serde::Deserialize;
use serde_json::Value;

const WINDOW_DAYS: u32 = 28;
const HOUR_MS: i64 = 3_600_000;
/// Fewer tell no rate.
const COUNT_MIN: u64 = 5;
/// With so many expected, none at all happens by chance less than once in a hundred times.
const MISSING: u32 = 5;

const WINDOW: Parameter = Parameter::whole(
    "window_days",
    "The usual rate is that of so many days.",
    (1, 366),
    Some(WINDOW_DAYS),
);
const THRESHOLD: Parameter = Parameter::whole(
    "missing",
    "Show what has been silent for so long that so many were to be expected.",
    (1, 1_000_000),
    Some(MISSING),
);
const ALL: Parameter = Parameter::flag("all", "Show what is not silent too.");

pub const DEFINITION: Definition = Definition {
    name: "silence",
    about: "Offers and events that have stopped: the usual rate against when the last one came.",
    filters: &[Filter::Tenant, Filter::Advertiser, Filter::Offer, Filter::Publisher],
    has_tests: false,
    options: &[WINDOW, THRESHOLD, ALL],
    columns: &[
        Column::new("of", Kind::Text, "`click` or `event`."),
        Column::new("offer_id", Kind::Id, "The offer."),
        Column::new("event_id", Kind::Text, "The event; empty for clicks."),
        Column::new("publisher_id", Kind::Id, "The publisher."),
        Column::new("count", Kind::Count, "How many came in the window."),
        Column::new("usual_per_day", Kind::Rate, "From the first in the window to the last."),
        Column::new("last_at", Kind::Time, "When the last came."),
        Column::new("silent_seconds", Kind::Seconds, "Since then."),
        Column::new("missing", Kind::Rate, "How many would have come since, at the usual rate."),
        Column::new("silent", Kind::Flag, "At least as many as was asked for."),
    ],
};

#[derive(Debug, Deserialize)]
struct Row {
    of: String,
    offer: String,
    event: String,
    publisher: String,
    count: u64,
    first_ms: i64,
    last_ms: i64,
}

pub async fn run(asked: &Asked<'_>) -> Result<Table, Error> {
    if asked.scope.period.from_ms.is_some() || asked.scope.period.to_ms.is_some() {
        return Err(Error::bad_request("from, to: silence is about now; use window_days"));
    }
    let window = i64::from(asked.query.number(WINDOW.name).unwrap_or(WINDOW_DAYS));
    let threshold = f64::from(asked.query.number(THRESHOLD.name).unwrap_or(MISSING));
    let question = |of: &str, view: View, event: &str| {
        let time = view.time();
        let sql = format!(
            "SELECT '{of}' AS of, toString(offer_id) AS offer, {event} AS event, \
             toString(publisher_id) AS publisher, count() AS count, \
             toUnixTimestamp64Milli(min({time})) AS first_ms, \
             toUnixTimestamp64Milli(max({time})) AS last_ms FROM {} WHERE {} AND \
             {time} >= fromUnixTimestamp64Milli({{since:Int64}}, 'UTC') \
             GROUP BY offer, event, publisher LIMIT {}",
            view.name(),
            asked.scope.conditions(view, time),
            ROWS_MAX + 1
        );
        let question = asked.scope.bind(Question::new(sql), asked.catalog);
        question.bind("since", (asked.now.0 - window * DAY_MS).max(0))
    };
    let clicks = question("click", View::Clicks, "''");
    let events = question("event", View::Conversions, "toString(event_id)");
    let (mut rows, events) =
        tokio::try_join!(asked.warehouse.rows::<Row>(clicks), asked.warehouse.rows::<Row>(events))?;
    rows.extend(events);
    let mut found: Vec<(f64, Vec<Value>)> = rows
        .iter()
        .filter_map(|row| {
            let missing = missing(row, asked.now)?;
            let silent = missing >= threshold;
            let per_day = per_ms(row) * DAY_MS as f64;
            let cells = vec![
                row.of.clone().into(),
                row.offer.clone().into(),
                row.event.clone().into(),
                row.publisher.clone().into(),
                row.count.into(),
                two_decimals(per_day).into(),
                asked.scope.period.show(UnixMillis(row.last_ms)).into(),
                ((asked.now.0 - row.last_ms).max(0) / 1000).into(),
                two_decimals(missing).into(),
                silent.into(),
            ];
            (silent || asked.query.flag(ALL.name)).then_some((missing, cells))
        })
        .collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut table = asked.table(found.into_iter().map(|(_, cells)| cells).collect());
    table.notes.push(format!(
        "Usual rate: of the last {window} days, from at least {COUNT_MIN}. Nights and weekends \
         count as silence too."
    ));
    Ok(table)
}

/// From the first to the last, but at least an hour: a burst is no rate.
fn per_ms(row: &Row) -> f64 {
    row.count as f64 / (row.last_ms - row.first_ms).max(HOUR_MS) as f64
}

/// How many would have come since the last; none when there are too few to tell.
fn missing(row: &Row, now: UnixMillis) -> Option<f64> {
    (row.count >= COUNT_MIN).then(|| per_ms(row) * (now.0 - row.last_ms).max(0) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_often_is_missed_soon() {
        let row = |count, hours: i64| Row {
            of: "event".into(),
            offer: "o".into(),
            event: "e".into(),
            publisher: "p".into(),
            count,
            first_ms: 0,
            last_ms: hours * HOUR_MS,
        };
        let at = |hours: i64| UnixMillis(hours * HOUR_MS);
        assert_eq!(missing(&row(100, 10), at(11)), Some(10.0));
        assert_eq!(missing(&row(100, 10), at(5)), Some(0.0));
        assert_eq!(missing(&row(4, 10), at(1000)), None);
        // Five within a second are not 18,000 an hour.
        assert_eq!(missing(&row(5, 0), at(1)), Some(5.0));
    }
}
