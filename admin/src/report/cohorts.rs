//! What became of the clicks of each day: how many users had reached an event within so many days.
//! Day n is over n + 1 times 24 hours after the click, so that a cohort's days are equally long
//! through daylight saving; which day a click is of is the calendar's, in the report's zone.

use super::column::{Column, Kind, percent};
use super::filter::{Filter, View};
use super::table::Table;
use super::{Asked, Definition, REACHED};
use crate::error::Error;
use crate::parameter::Parameter;
use crate::warehouse::Question;
use schemas::time::DAY_MS;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The last day that is asked about.
pub const LAST_DAY: usize = 90;
const DAYS_DEFAULT: &str = "0,1,3,7,14,30,60,90";

const DAYS: Parameter = Parameter::text(
    "days",
    "Days after the click, separated by commas, from 0 to 90; or `all`. 0,1,3,7,14,30,60,90 unless \
     given.",
);

pub const DEFINITION: Definition = Definition {
    name: "cohorts",
    about: "Of the clicks of each day, how many users had reached each event within 0 to 90 days.",
    filters: &[
        Filter::Offer,
        Filter::Publisher,
        Filter::Event,
        Filter::Country,
        Filter::Platform,
        Filter::Clones,
    ],
    has_tests: true,
    options: &[DAYS],
    columns: &[
        Column::new("cohort", Kind::Day, "The day of the clicks."),
        Column::new("clicks", Kind::Count, "Clicks of that day."),
        Column::new("event_id", Kind::Text, "The event."),
        Column::new("day", Kind::Count, "Full days of 24 hours after the click."),
        Column::new("users", Kind::Count, "Had reached it by the end of that day; none: not over."),
        Column::new("percent", Kind::Percent, "Of the clicks."),
        Column::new("users_so_far", Kind::Count, "Have reached it until now, however late."),
    ],
};

#[derive(Debug, Deserialize)]
struct ClickRow {
    cohort: String,
    clicks: u64,
}

#[derive(Debug, Deserialize)]
struct EventRow {
    cohort: String,
    event: String,
    day: usize,
    users: u64,
}

pub async fn run(asked: &Asked<'_>) -> Result<Table, Error> {
    let offer = asked.query.required("offer")?;
    let days = days(asked.query.text(DAYS.name).unwrap_or(DAYS_DEFAULT))?;
    let offer = asked
        .catalog
        .offer(offer)
        .ok_or_else(|| Error::not_found(format!("there is no offer {offer:?}")))?;
    let repeatable = offer.events.iter().any(|event| event.repeatable);
    let bound = |sql: String| {
        let question = asked.scope.bind(Question::new(sql), asked.catalog);
        question.bind("tz", &asked.scope.period.zone_name)
    };
    let clicks_scope = asked.scope.without(Filter::Event);
    let clicks = Question::new(format!(
        "SELECT toString(toDate(clicked_at, {{tz:String}})) AS cohort, count() AS clicks FROM {} \
         WHERE {} GROUP BY cohort",
        View::Clicks.name(),
        clicks_scope.conditions(View::Clicks, "clicked_at"),
    ));
    let clicks = clicks_scope.bind(clicks, asked.catalog).bind("tz", &asked.scope.period.zone_name);
    // A one-time event has one conversion a click; only repeatable ones need their first found.
    let delay = "least(91, intDiv(greatest(0, toUnixTimestamp64Milli(received_at) - \
        toUnixTimestamp64Milli(clicked_at)), 86400000))";
    let conditions = asked.scope.conditions(View::Conversions, "clicked_at");
    let source = match repeatable {
        false => format!(
            "SELECT clicked_at, event_id, {delay} AS day FROM {} WHERE {conditions} AND {REACHED}",
            View::Conversions.name()
        ),
        true => format!(
            "SELECT any(clicked_at) AS clicked_at, event_id, min({delay}) AS day FROM \
             (SELECT clicked_at, received_at, event_id, click_id FROM {} WHERE {conditions} AND \
             {REACHED}) GROUP BY click_id, event_id",
            View::Conversions.name()
        ),
    };
    let events = bound(format!(
        "SELECT toString(toDate(clicked_at, {{tz:String}})) AS cohort, toString(event_id) AS event, \
         toUInt32(day) AS day, count() AS users FROM ({source}) GROUP BY cohort, event, day"
    ));
    let (clicks, events) = tokio::try_join!(
        asked.warehouse.rows::<ClickRow>(clicks),
        asked.warehouse.rows::<EventRow>(events)
    )?;
    let mut order: Vec<(u32, String)> = offer
        .events
        .iter()
        .map(|event| (event.sequence.unwrap_or(u32::MAX), event.id.to_string()))
        .collect();
    order.sort_by_key(|(sequence, _)| *sequence);
    let order: Vec<String> = order.into_iter().map(|(_, id)| id).collect();
    let only = asked.scope.value(Filter::Event);
    let is_over = |cohort: &str, day: usize| {
        let day_after = cohort.parse::<jiff::civil::Date>().ok().and_then(|it| it.tomorrow().ok());
        let end = day_after.and_then(|it| asked.scope.period.start_of(it));
        end.is_some_and(|end| end + (day as i64 + 1) * DAY_MS <= asked.now.0)
    };
    let mut table = asked.table(assemble(clicks, events, &order, only, &days, is_over));
    table.notes.push(
        "Users: by the end of that day after their own click, cumulative. Empty: the day is not \
         over for the last click of the cohort."
            .to_owned(),
    );
    Ok(table)
}

fn days(text: &str) -> Result<Vec<usize>, Error> {
    if text == "all" {
        return Ok((0..=LAST_DAY).collect());
    }
    let wrong = || {
        Error::bad_request(format!("days: is not a list of numbers from 0 to {LAST_DAY}, nor all"))
            .with_hint("write e.g. 0,1,7,30")
    };
    let mut days = Vec::new();
    for part in text.split(',') {
        let day: usize = part.trim().parse().map_err(|_| wrong())?;
        if day > LAST_DAY {
            return Err(wrong());
        }
        days.push(day);
    }
    days.sort_unstable();
    days.dedup();
    Ok(days)
}

fn assemble(
    clicks: Vec<ClickRow>,
    events: Vec<EventRow>,
    order: &[String],
    only: Option<&str>,
    days: &[usize],
    is_over: impl Fn(&str, usize) -> bool,
) -> Vec<Vec<Value>> {
    // What is later than the last day counts in the place behind it.
    let mut counts: BTreeMap<(String, String), Vec<u64>> = BTreeMap::new();
    let mut cohorts: BTreeMap<String, u64> =
        clicks.into_iter().map(|row| (row.cohort, row.clicks)).collect();
    let mut names: Vec<String> = order.to_vec();
    for row in events {
        cohorts.entry(row.cohort.clone()).or_default();
        if !names.contains(&row.event) {
            names.push(row.event.clone());
        }
        let list = counts.entry((row.cohort, row.event)).or_insert_with(|| vec![0; LAST_DAY + 2]);
        list[row.day.min(LAST_DAY + 1)] += row.users;
    }
    names.retain(|name| only.is_none_or(|only| only == name));
    let mut rows = Vec::new();
    for (cohort, clicks) in &cohorts {
        for event in &names {
            let list = counts.get(&(cohort.clone(), event.clone()));
            let until = |day: usize| list.map_or(0, |list| list[..=day].iter().sum::<u64>());
            for &day in days {
                let users = is_over(cohort, day).then(|| until(day));
                rows.push(vec![
                    cohort.clone().into(),
                    (*clicks).into(),
                    event.clone().into(),
                    day.into(),
                    users.into(),
                    users.and_then(|users| percent(users, *clicks)).into(),
                    until(LAST_DAY + 1).into(),
                ]);
            }
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_that_can_be_asked_for() {
        assert_eq!(days("7, 0,7").unwrap(), [0, 7]);
        assert_eq!(days("all").unwrap().len(), 91);
        for wrong in ["", "91", "-1", "1;2", "x"] {
            assert!(days(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn counts_grow_and_what_is_not_over_is_empty() {
        let row = |day, users| EventRow {
            cohort: "2026-11-01".into(),
            event: "Install".into(),
            day,
            users,
        };
        let clicks = vec![ClickRow { cohort: "2026-11-01".into(), clicks: 10 }];
        let rows = assemble(
            clicks,
            vec![row(0, 3), row(1, 2), row(91, 1)],
            &["Install".to_owned()],
            None,
            &[0, 1, 90],
            |_, day| day < 90,
        );
        let users: Vec<Option<u64>> = rows.iter().map(|row| row[4].as_u64()).collect();
        assert_eq!(users, [Some(3), Some(5), None]);
        assert_eq!((&rows[1][5], &rows[1][6]), (&Value::from(50.0), &Value::from(6)));
    }
}
