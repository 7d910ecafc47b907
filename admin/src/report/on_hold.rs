//! What is pending: when it becomes due, and how much money waits with it. A conversion on `HOLD`
//! becomes a Success on that day; one that is `WAITING_SEQUENCE` is rejected then, unless the
//! earlier event has come.

use super::column::{Column, Kind};
use super::filter::{Filter, View};
use super::table::{ROWS_MAX, Table};
use super::{Asked, Definition};
use crate::error::Error;
use crate::warehouse::Question;

pub const DEFINITION: Definition = Definition {
    name: "on-hold",
    about: "What is pending, by the day on which it is due, with the money at stake.",
    filters: &[
        Filter::Tenant,
        Filter::Advertiser,
        Filter::Offer,
        Filter::Publisher,
        Filter::Event,
        Filter::Clones,
    ],
    has_tests: true,
    options: &[],
    columns: &[
        Column::new("due_day", Kind::Day, "The day on which it is decided; the period is of it."),
        Column::new("overdue", Kind::Flag, "Due already: the processor is behind."),
        Column::new("reason", Kind::Text, "`HOLD`, or `WAITING_SEQUENCE`."),
        Column::new("offer_id", Kind::Id, "The offer."),
        Column::new("event_id", Kind::Text, "The event."),
        Column::new("publisher_id", Kind::Id, "The publisher."),
        Column::new("conversions", Kind::Count, "How many wait."),
        Column::new("currency", Kind::Text, "ISO 4217."),
        Column::new("revenue", Kind::Amount, "What the advertiser would pay."),
        Column::new("payout", Kind::Amount, "What the publisher would be paid."),
        Column::new("first_due_at", Kind::Time, "When the first of them is due.").wide(),
    ],
};

pub async fn run(asked: &Asked<'_>) -> Result<Table, Error> {
    let sql = format!(
        "SELECT toString(toDate(assumeNotNull(due_at), {{tz:String}})) AS c_due_day, \
         due_at < fromUnixTimestamp64Milli({{now:Int64}}, 'UTC') AS c_overdue, \
         toString(reason) AS c_reason, toString(offer_id) AS c_offer_id, \
         toString(event_id) AS c_event_id, toString(publisher_id) AS c_publisher_id, \
         toString(currency) AS c_currency, count() AS c_conversions, \
         toString(sum(v.revenue)) AS c_revenue, toString(sum(v.payout)) AS c_payout, \
         toUnixTimestamp64Milli(min(assumeNotNull(due_at))) AS c_first_due_at \
         FROM {} AS v WHERE {} AND status = 'Pending' AND due_at IS NOT NULL \
         GROUP BY c_due_day, c_overdue, c_reason, c_offer_id, c_event_id, c_publisher_id, \
         c_currency ORDER BY c_due_day, c_first_due_at, c_offer_id, c_event_id, c_publisher_id \
         LIMIT {}",
        View::Conversions.name(),
        asked.scope.conditions(View::Conversions, "due_at"),
        ROWS_MAX + 1
    );
    let question =
        Question::new(sql).bind("tz", &asked.scope.period.zone_name).bind("now", asked.now.0);
    let mut rows = asked.rows(question).await?;
    for row in &mut rows {
        let overdue = row.get("c_overdue").and_then(serde_json::Value::as_u64) == Some(1);
        row.insert("c_overdue".to_owned(), overdue.into());
    }
    Ok(asked.table(asked.shown(rows)))
}
