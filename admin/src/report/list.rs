//! Reports with one row a thing: conversions, postbacks, refusals. What a list adds up to is what
//! the funnel says, because both read the same views with the same bounds.

use super::period::{Period, StatedPeriod};
use crate::error::Error;
use crate::warehouse::{Question, Warehouse};
use schemas::{Micros, UnixMillis};
use serde::Serialize;
use serde_json::{Map, Value};

/// Rows of one list.
pub const LIMIT_MAX: u32 = 100_000;
/// Rows unless asked otherwise.
pub const LIMIT_DEFAULT: u32 = 100;

/// One kind of list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Conversions,
    Postbacks,
    Refused,
}

/// A column of a list: its name, and what is selected. A name ending in `_ms` is a time, which is
/// shown in the report's zone under the name without it.
type Column = (&'static str, &'static str);

const CONVERSIONS: &[Column] = &[
    ("received_at_ms", "toUnixTimestamp64Milli(received_at)"),
    ("conversion_id", "conversion_id"),
    ("revision", "revision"),
    ("event_id", "event_id"),
    ("status", "status"),
    ("reason", "reason"),
    ("revenue", "toString(revenue)"),
    ("payout", "toString(payout)"),
    ("currency", "currency"),
    ("reward", "toString(reward)"),
    ("reward_unit", "reward_unit"),
    ("offer_id", "offer_id"),
    ("publisher_id", "publisher_id"),
    ("advertiser_id", "advertiser_id"),
    ("country", "country"),
    ("platform", "platform"),
    ("click_id", "click_id"),
    ("due_at_ms", "toUnixTimestamp64Milli(due_at)"),
    ("decided_at_ms", "toUnixTimestamp64Milli(decided_at)"),
    ("sale_amount", "toString(sale_amount)"),
    ("sale_currency", "sale_currency"),
    ("transaction_id", "transaction_id"),
    ("sub1", "sub1"),
    ("sub2", "sub2"),
    ("sub3", "sub3"),
    ("test", "test"),
    ("note", "note"),
];

const POSTBACKS: &[Column] = &[
    ("received_at_ms", "toUnixTimestamp64Milli(received_at)"),
    ("postback_id", "toString(postback_id)"),
    ("event_id", "event_id"),
    ("outcome", "outcome"),
    ("reason", "reason"),
    ("conversion_id", "conversion_id"),
    ("offer_id", "offer_id"),
    ("publisher_id", "publisher_id"),
    ("advertiser_id", "advertiser_id"),
    ("click_id", "click_id"),
    ("flags", "arrayStringConcat(flags, ' ')"),
    ("test", "test"),
    ("parameters", "arrayStringConcat(arrayMap(p -> concat(p.1, '=', p.2), parameters), '&')"),
];

const REFUSED: &[Column] = &[
    ("refused_at_ms", "toUnixTimestamp64Milli(refused_at)"),
    ("tenant", "tenant"),
    ("mismatch", "mismatch"),
    ("address", "address"),
    ("host", "host"),
    ("parameters", "arrayStringConcat(arrayMap(p -> concat(p.1, '=', p.2), parameters), '&')"),
];

impl Kind {
    fn columns(self) -> &'static [Column] {
        match self {
            Self::Conversions => CONVERSIONS,
            Self::Postbacks => POSTBACKS,
            Self::Refused => REFUSED,
        }
    }

    fn view(self) -> &'static str {
        match self {
            Self::Conversions => "conversions_current",
            Self::Postbacks => "postbacks_unique",
            Self::Refused => "refused_unique",
        }
    }

    fn time(self) -> &'static str {
        match self {
            Self::Conversions | Self::Postbacks => "received_at",
            Self::Refused => "refused_at",
        }
    }

    /// Query parameters that choose rows, with the condition of each.
    #[must_use]
    pub fn filters(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Conversions => &[
                ("tenant", "tenant = {tenant:String}"),
                ("advertiser", "advertiser_id = {advertiser:String}"),
                ("offer", "offer_id = {offer:String}"),
                ("publisher", "publisher_id = {publisher:String}"),
                ("event", "event_id = {event:String}"),
                ("status", "status = {status:String}"),
                ("reason", "reason = {reason:String}"),
                ("click", "click_id = {click:String}"),
            ],
            Self::Postbacks => &[
                ("tenant", "tenant = {tenant:String}"),
                ("advertiser", "advertiser_id = {advertiser:String}"),
                ("offer", "offer_id = {offer:String}"),
                ("event", "event_id = {event:String}"),
                ("outcome", "outcome = {outcome:String}"),
                ("reason", "reason = {reason:String}"),
                ("click", "click_id = {click:String}"),
            ],
            Self::Refused => &[("tenant", "tenant = {tenant:String}")],
        }
    }

    fn has_tests(self) -> bool {
        self != Self::Refused
    }
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub kind: Kind,
    pub period: Period,
    /// Name and value of filters that [`Kind::filters`] knows.
    pub filters: Vec<(&'static str, String)>,
    pub include_test: bool,
    pub limit: u32,
}

/// The rows, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct List {
    pub period: StatedPeriod,
    /// In the order in which to show them.
    pub columns: Vec<&'static str>,
    pub rows: Vec<Map<String, Value>>,
    /// There are more rows than were asked for.
    pub more: bool,
    pub tests_included: bool,
}

pub async fn list(warehouse: &Warehouse, wanted: &Wanted) -> Result<List, Error> {
    let mut rows: Vec<Map<String, Value>> = warehouse.rows(question(wanted)).await?;
    let limit = wanted.limit as usize;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let rows = rows.into_iter().map(|row| show_values(row, &wanted.period)).collect();
    let columns = wanted.kind.columns().iter();
    Ok(List {
        period: wanted.period.stated(),
        columns: columns.map(|(name, _)| name.strip_suffix("_ms").unwrap_or(name)).collect(),
        rows,
        more,
        tests_included: wanted.include_test || !wanted.kind.has_tests(),
    })
}

fn question(wanted: &Wanted) -> Question {
    let kind = wanted.kind;
    let selected: Vec<String> =
        kind.columns().iter().map(|(name, sql)| format!("{sql} AS c_{name}")).collect();
    let mut conditions = vec!["1"];
    if kind.has_tests() && !wanted.include_test {
        conditions.push("NOT test");
    }
    for (name, _) in &wanted.filters {
        conditions.extend(kind.filters().iter().find(|it| it.0 == *name).map(|it| it.1));
    }
    let time = kind.time();
    let (from, to) = (
        format!("{time} >= fromUnixTimestamp64Milli({{from:Int64}}, 'UTC')"),
        format!("{time} < fromUnixTimestamp64Milli({{to:Int64}}, 'UTC')"),
    );
    conditions.extend(wanted.period.from_ms.map(|_| from.as_str()));
    conditions.extend(wanted.period.to_ms.map(|_| to.as_str()));
    // Names of their own, so that no alias hides a column that a condition means.
    let sql = format!(
        "SELECT {} FROM {} WHERE {} ORDER BY {time} DESC LIMIT {{rows:UInt32}}",
        selected.join(", "),
        kind.view(),
        conditions.join(" AND ")
    );
    let mut question = Question::new(sql).bind("rows", wanted.limit.min(LIMIT_MAX) + 1);
    for (name, value) in &wanted.filters {
        question = question.bind(name, value);
    }
    if let Some(ms) = wanted.period.from_ms {
        question = question.bind("from", ms);
    }
    if let Some(ms) = wanted.period.to_ms {
        question = question.bind("to", ms);
    }
    question
}

/// Columns with amounts, which ClickHouse writes without the zeros that people expect.
const AMOUNTS: &[&str] = &["revenue", "payout", "reward", "sale_amount"];

fn show_values(row: Map<String, Value>, period: &Period) -> Map<String, Value> {
    row.into_iter()
        .map(|(name, value)| {
            let name = name.strip_prefix("c_").unwrap_or(&name).to_owned();
            match (name.strip_suffix("_ms"), value.as_i64()) {
                (Some(name), Some(ms)) => {
                    (name.to_owned(), Value::from(period.show(UnixMillis(ms))))
                }
                (Some(name), None) => (name.to_owned(), Value::Null),
                (None, _) if AMOUNTS.contains(&name.as_str()) => {
                    let amount = value.as_str().and_then(|text| Micros::parse(text).ok());
                    let value = amount.map_or(value, |amount| Value::from(amount.to_string()));
                    (name, value)
                }
                (None, _) => (name, value),
            }
        })
        .collect()
}
