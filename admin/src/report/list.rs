//! Reports with one row a thing: conversions, postbacks, refusals. What a list adds up to is what
//! the funnel says, because both read the same views with the same bounds.

use super::filter::{self, Filter, Scope, View};
use super::period::{Period, StatedPeriod};
use crate::error::Error;
use crate::parameter::Parameter;
use crate::warehouse::{Question, Warehouse};
use schemas::{Catalog, Micros, UnixMillis};
use serde::Serialize;
use serde_json::{Map, Value};

/// Rows of one list.
pub const LIMIT_MAX: u32 = 100_000;
/// Rows unless asked otherwise.
pub const LIMIT_DEFAULT: u32 = 100;
pub const LIMIT: Parameter =
    Parameter::whole("limit", "At most so many.", (1, LIMIT_MAX), Some(LIMIT_DEFAULT));

/// One kind of list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Conversions,
    Postbacks,
    Refused,
    Deliveries,
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

const DELIVERIES: &[Column] = &[
    ("created_at_ms", "toUnixTimestamp64Milli(created_at)"),
    ("attempted_at_ms", "toUnixTimestamp64Milli(attempted_at)"),
    ("delivery_id", "delivery_id"),
    ("attempt", "attempt"),
    ("kind", "kind"),
    ("publisher_id", "publisher_id"),
    ("destination", "destination"),
    ("event_id", "event_id"),
    ("status", "status"),
    ("outcome", "outcome"),
    ("problem", "problem"),
    ("http_status", "http_status"),
    ("latency", "latency_ms"),
    ("next_attempt_at_ms", "toUnixTimestamp64Milli(next_attempt_at)"),
    ("conversion_id", "conversion_id"),
    ("revision", "revision"),
    ("offer_id", "offer_id"),
    ("click_id", "click_id"),
    ("method", "method"),
    ("url", "url"),
    ("test", "test"),
];

impl Kind {
    fn columns(self) -> &'static [Column] {
        match self {
            Self::Conversions => CONVERSIONS,
            Self::Postbacks => POSTBACKS,
            Self::Refused => REFUSED,
            Self::Deliveries => DELIVERIES,
        }
    }

    /// As they are shown, in order.
    #[must_use]
    pub fn column_names(self) -> Vec<&'static str> {
        let names = self.columns().iter().map(|(name, _)| *name);
        names.map(|name| name.strip_suffix("_ms").unwrap_or(name)).collect()
    }

    fn view(self) -> View {
        match self {
            Self::Conversions => View::Conversions,
            Self::Postbacks => View::Postbacks,
            Self::Refused => View::Refused,
            Self::Deliveries => View::Deliveries,
        }
    }

    /// Filters that choose rows.
    #[must_use]
    pub fn filters(self) -> &'static [Filter] {
        match self {
            Self::Conversions => &[
                Filter::Tenant,
                Filter::Advertiser,
                Filter::Offer,
                Filter::Publisher,
                Filter::Event,
                Filter::Status,
                Filter::Reason,
                Filter::Click,
                Filter::Country,
                Filter::Platform,
                Filter::Clones,
            ],
            Self::Postbacks => &[
                Filter::Tenant,
                Filter::Advertiser,
                Filter::Offer,
                Filter::Publisher,
                Filter::Event,
                Filter::Outcome,
                Filter::Reason,
                Filter::Click,
            ],
            Self::Refused => &[Filter::Tenant],
            Self::Deliveries => &[
                Filter::Tenant,
                Filter::Offer,
                Filter::Publisher,
                Filter::Event,
                Filter::DeliveryOutcome,
                Filter::Delivery,
                Filter::Conversion,
                Filter::Click,
            ],
        }
    }

    /// What it takes.
    #[must_use]
    pub fn parameters(self) -> Vec<Parameter> {
        let mut all = filter::parameters(self.filters(), self.has_tests());
        all.push(LIMIT);
        all
    }

    fn has_tests(self) -> bool {
        self != Self::Refused
    }
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub kind: Kind,
    pub scope: Scope,
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

pub async fn list(
    warehouse: &Warehouse,
    catalog: &Catalog,
    wanted: &Wanted,
) -> Result<List, Error> {
    let question = wanted.scope.bind(question(wanted), catalog);
    let mut rows: Vec<Map<String, Value>> = warehouse.rows(question).await?;
    let limit = wanted.limit as usize;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let rows = rows.into_iter().map(|row| show_values(row, &wanted.scope.period)).collect();
    Ok(List {
        period: wanted.scope.period.stated(),
        columns: wanted.kind.column_names(),
        rows,
        more,
        tests_included: wanted.scope.include_test || !wanted.kind.has_tests(),
    })
}

fn question(wanted: &Wanted) -> Question {
    let kind = wanted.kind;
    let selected: Vec<String> =
        kind.columns().iter().map(|(name, sql)| format!("{sql} AS c_{name}")).collect();
    // Names of their own, so that no alias hides a column that a condition means.
    let sql = format!(
        "SELECT {} FROM {} WHERE {} ORDER BY {time} DESC LIMIT {{rows:UInt32}}",
        selected.join(", "),
        kind.view().name(),
        wanted.scope.conditions(kind.view(), kind.view().time()),
        time = kind.view().time(),
    );
    Question::new(sql).bind("rows", wanted.limit.min(LIMIT_MAX) + 1)
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
