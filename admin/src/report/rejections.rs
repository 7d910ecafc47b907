//! What was refused or rejected, why, and two examples of each to look at with `explain`.
//!
//! A postback that the first rules refused has made no conversion; a conversion that was rejected
//! counts as it stands now. So nothing is in both.

use super::column::{Column, Kind};
use super::filter::{Filter, View};
use super::table::{ROWS_MAX, Table};
use super::{Asked, Definition};
use crate::error::Error;
use crate::warehouse::Question;
use schemas::Reason;
use serde_json::{Map, Value};

pub const DEFINITION: Definition = Definition {
    name: "rejections",
    about: "What was refused or rejected, why, how often, with examples.",
    filters: &[
        Filter::Tenant,
        Filter::Advertiser,
        Filter::Offer,
        Filter::Publisher,
        Filter::Event,
        Filter::Reason,
    ],
    has_tests: true,
    options: &[],
    columns: &[
        Column::new("of", Kind::Text, "`postback`: refused, made no conversion; or `conversion`."),
        Column::new("reason", Kind::Text, "The reason's code."),
        Column::new("meaning", Kind::Text, "The reason in words.").wide(),
        Column::new("event_id", Kind::Text, "The event; of a postback as it was received."),
        Column::new("offer_id", Kind::Id, "Empty when the click is not known."),
        Column::new("publisher_id", Kind::Id, "Empty when the click is not known."),
        Column::new("count", Kind::Count, "How many."),
        Column::new("first_at", Kind::Time, "When the first was received.").wide(),
        Column::new("last_at", Kind::Time, "When the last was received."),
        Column::new("first_example", Kind::Id, "Id of the first, for `explain`.").wide(),
        Column::new("last_example", Kind::Id, "Id of the last, for `explain`."),
    ],
};

pub async fn run(asked: &Asked<'_>) -> Result<Table, Error> {
    let select = |of: &str, view: View, id: &str, is_rejected: &str| {
        Question::new(format!(
            "SELECT '{of}' AS c_of, toString(reason) AS c_reason, \
             toString(event_id) AS c_event_id, toString(offer_id) AS c_offer_id, \
             toString(publisher_id) AS c_publisher_id, count() AS c_count, \
             toUnixTimestamp64Milli(min(received_at)) AS c_first_at, \
             toUnixTimestamp64Milli(max(received_at)) AS c_last_at, \
             argMin({id}, (received_at, {id})) AS c_first_example, \
             argMax({id}, (received_at, {id})) AS c_last_example \
             FROM {} AS v WHERE {} AND {is_rejected} \
             GROUP BY c_reason, c_event_id, c_offer_id, c_publisher_id \
             ORDER BY c_count DESC, c_reason, c_event_id, c_offer_id, c_publisher_id LIMIT {}",
            view.name(),
            asked.scope.conditions(view, view.time()),
            ROWS_MAX + 1
        ))
    };
    let refused = "v.outcome = 'rejected' AND v.conversion_id = ''";
    let postbacks = select("postback", View::Postbacks, "toString(v.postback_id)", refused);
    let rejected = "v.status = 'Rejected'";
    let conversions = select("conversion", View::Conversions, "v.conversion_id", rejected);
    let (mut rows, more) = tokio::try_join!(asked.rows(postbacks), asked.rows(conversions))?;
    rows.extend(more);
    let count = |row: &Map<String, Value>| row.get("c_count").and_then(Value::as_u64);
    rows.sort_by_key(|row| std::cmp::Reverse(count(row)));
    for row in &mut rows {
        let reason = row.get("c_reason").and_then(Value::as_str).and_then(|code| code.parse().ok());
        let meaning = reason.map_or("", Reason::text);
        row.insert("c_meaning".to_owned(), Value::from(meaning));
    }
    Ok(asked.table(asked.shown(rows)))
}
