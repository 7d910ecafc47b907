//! What a replay decided about each postback, beside what was decided live.

use super::decide::Read;
use super::span::Span;
use crate::cli::asking::Format;
use crate::commands::shown;
use jiff::Timestamp;
use schemas::{Micros, UnixMillis};
use service::ServiceError;
use sink::{ClickHouseConfig, ask};

const HEADING: [&str; 12] = [
    "live_outcome",
    "live_status",
    "live_reason",
    "replay_outcome",
    "replay_status",
    "replay_reason",
    "postbacks",
    "currency",
    "live_revenue",
    "replay_revenue",
    "live_payout",
    "replay_payout",
];
const NUMBERS: [usize; 5] = [6, 8, 9, 10, 11];
/// The last millisecond that ClickHouse's `DateTime64(3)` has.
const LAST_MS: i64 = 10_413_791_999_999;

const WITHIN: &str = "received_at >= fromUnixTimestamp64Milli({from:Int64}, 'UTC') \
    AND received_at < fromUnixTimestamp64Milli({to:Int64}, 'UTC') AND NOT test";

#[derive(Debug, serde::Deserialize)]
struct Row {
    live_outcome: String,
    live_status: String,
    live_reason: String,
    replay_outcome: String,
    replay_status: String,
    replay_reason: String,
    postbacks: u64,
    money: String,
    live_revenue: String,
    replay_revenue: String,
    live_payout: String,
    replay_payout: String,
}

#[derive(Debug, Default, serde::Deserialize)]
struct NotJoined {
    older: u64,
    without_subs: u64,
}

/// Each postback with its outcome, and with the conversion as it stands now. The money is with the
/// postback that spoke last about its conversion, so that it is counted once.
fn side(database: &str) -> String {
    let money = |column: &str| {
        format!("if(c.status IN ('Success', 'Pending'), c.{column}, toDecimal64(0, 6)) AS {column}")
    };
    format!(
        "SELECT p.postback_id AS id, toString(p.outcome) AS outcome, toString(p.reason) AS reason, \
         toString(c.status) AS status, toString(c.currency) AS currency, {}, {} \
         FROM (SELECT postback_id, outcome, reason FROM `{database}`.postbacks_unique WHERE {WITHIN}) AS p \
         LEFT JOIN (SELECT conversion_id, argMax(postback_id, (received_at, postback_id)) AS speaker \
         FROM `{database}`.postbacks_unique WHERE {WITHIN} AND conversion_id != '' \
         AND outcome NOT IN ('duplicate', 'ignored') GROUP BY conversion_id) AS s \
         ON s.speaker = p.postback_id \
         LEFT JOIN (SELECT conversion_id, status, currency, revenue, payout \
         FROM `{database}`.conversions_current \
         WHERE received_at < fromUnixTimestamp64Milli({{to:Int64}}, 'UTC')) AS c \
         ON c.conversion_id = s.conversion_id",
        money("revenue"),
        money("payout"),
    )
}

/// Live outcome by replayed outcome; an empty outcome: that side does not have the postback.
fn comparison(live: &str, own: &str) -> String {
    format!(
        "SELECT l.outcome AS live_outcome, l.status AS live_status, l.reason AS live_reason, \
         r.outcome AS replay_outcome, r.status AS replay_status, r.reason AS replay_reason, \
         if(r.currency = '', l.currency, r.currency) AS money, toUInt64(count()) AS postbacks, \
         toString(sum(l.revenue)) AS live_revenue, toString(sum(r.revenue)) AS replay_revenue, \
         toString(sum(l.payout)) AS live_payout, toString(sum(r.payout)) AS replay_payout \
         FROM ({}) AS l FULL OUTER JOIN ({}) AS r ON l.id = r.id \
         GROUP BY live_outcome, live_status, live_reason, replay_outcome, replay_status, \
         replay_reason, money ORDER BY live_outcome, live_status, live_reason, replay_outcome, \
         replay_status, replay_reason, money",
        side(live),
        side(own)
    )
}

/// Conversions of clicks of before the first record that was read, and conversions whose click's
/// sub-ids are known live but not here.
fn not_joined(live: &str, own: &str) -> String {
    let subs = (1..=15).map(|n| format!("sub{n}")).collect::<Vec<_>>().join(", ");
    let conversions = |database: &str| {
        format!(
            "SELECT conversion_id, clicked_at, concat({subs}) AS subs \
             FROM `{database}`.conversions_current WHERE {WITHIN}"
        )
    };
    format!(
        "SELECT toUInt64(countIf(r.clicked_at < fromUnixTimestamp64Milli({{oldest:Int64}}, 'UTC'))) \
         AS older, toUInt64(countIf(r.subs = '' AND l.subs != '')) AS without_subs \
         FROM ({}) AS r LEFT JOIN ({}) AS l ON l.conversion_id = r.conversion_id",
        conversions(own),
        conversions(live)
    )
}

/// Compares a replay with what is live, over the postbacks received in its span.
pub async fn print(
    live: &ClickHouseConfig,
    own: &ClickHouseConfig,
    span: Span,
    read: Read,
    format: Format,
) -> Result<(), ServiceError> {
    let parameters = [
        ("from", span.from.map_or(0, |at| at.0).to_string()),
        ("to", span.to.map_or(LAST_MS, |at| at.0).to_string()),
        ("oldest", read.oldest.map_or(0, |at| at.0).to_string()),
    ];
    let statement = comparison(&live.database, &own.database);
    let rows: Vec<Row> = ask(own, "the summary", &statement, &parameters).await?;
    let lines: Vec<Vec<String>> = rows.into_iter().map(line).collect();
    shown(format, &HEADING, &lines, &NUMBERS)?;
    if format == Format::Table {
        let statement = not_joined(&live.database, &own.database);
        let found: Vec<NotJoined> = ask(own, "the summary", &statement, &parameters).await?;
        println!("{}", footer(own, read, &found.into_iter().next().unwrap_or_default()));
    }
    Ok(())
}

fn line(row: Row) -> Vec<String> {
    let outcome = |outcome: String| if outcome.is_empty() { "absent".to_owned() } else { outcome };
    let money = |text: &str| match row.money.is_empty() {
        true => String::new(),
        false => Micros::parse(text).map_or_else(|_| text.to_owned(), |it| it.to_string()),
    };
    let amounts = [&row.live_revenue, &row.replay_revenue, &row.live_payout, &row.replay_payout]
        .map(|it| money(it));
    let mut line = vec![outcome(row.live_outcome), row.live_status, row.live_reason];
    line.extend([outcome(row.replay_outcome), row.replay_status, row.replay_reason]);
    line.extend([row.postbacks.to_string(), row.money]);
    line.extend(amounts);
    line
}

fn footer(own: &ClickHouseConfig, read: Read, not_joined: &NotJoined) -> String {
    let oldest = match read.oldest {
        Some(UnixMillis(ms)) => Timestamp::from_millisecond(ms).unwrap_or_default().to_string(),
        None => "(there was none)".to_owned(),
    };
    let name = own.database.rsplit_once("_replay_").map_or("", |(_, name)| name);
    format!(
        "Money is that of conversions in Success or Pending; tests are left out. {} records were read, \
         the oldest of {oldest}: what came\nbefore is not known here. {} conversions are of older \
         clicks, so earlier events of theirs may be missing, and {} lack the sub-ids\nthat they have \
         live. Nothing live was changed. The tables are in the database {}, with everything that was \
         read;\n`gokart replay --drop {name}` removes them.",
        read.records, not_joined.older, not_joined.without_subs, own.database
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_that_lacks_a_postback_says_so_and_money_has_a_currency() {
        let row = |money: &str, live: &str| Row {
            live_outcome: live.to_owned(),
            live_status: String::new(),
            live_reason: String::new(),
            replay_outcome: "accepted".to_owned(),
            replay_status: "Success".to_owned(),
            replay_reason: String::new(),
            postbacks: 3,
            money: money.to_owned(),
            live_revenue: "0".to_owned(),
            replay_revenue: "4.5".to_owned(),
            live_payout: "0".to_owned(),
            replay_payout: "3".to_owned(),
        };
        let with = line(row("USD", ""));
        assert_eq!(with[0], "absent");
        assert_eq!(with[6..], ["3", "USD", "0.00", "4.50", "0.00", "3.00"]);
        let without = line(row("", "ignored"));
        assert_eq!(without[6..], ["3", "", "", "", "", ""]);
        assert_eq!([with.len(), without.len()], [HEADING.len(); 2]);
    }
}
