//! Lists and exports: which rows there are, and every column of them with what is selected. A list
//! is the newest rows of an export; both have the same filters, so what a report counts is what the
//! export holds.

use super::filter::{self, Filter, View};
use crate::parameter::Parameter;

/// Rows of one list.
pub const LIMIT_MAX: u32 = 100_000;
/// Rows unless asked otherwise.
pub const LIMIT_DEFAULT: u32 = 100;
pub const LIMIT: Parameter =
    Parameter::whole("limit", "At most so many.", (1, LIMIT_MAX), Some(LIMIT_DEFAULT));

/// One kind of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Clicks,
    Conversions,
    Postbacks,
    Refused,
    Deliveries,
}

/// What a value is, on the wire from ClickHouse (RowBinary) and in what we write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `String`.
    Text,
    /// `Nullable(Int64)`, milliseconds.
    Time,
    /// `Nullable(String)`, a decimal number of whole units.
    Amount,
    /// `Nullable(UInt64)`.
    Whole,
    /// `UInt8`.
    Flag,
}

/// A column: its name, its form, and what is selected for it.
pub type Column = (&'static str, Form, &'static str);

const CLICKS: &[Column] = &[
    ("clicked_at", Form::Time, "clicked_at"),
    ("click_id", Form::Text, "click_id"),
    ("tenant", Form::Text, "tenant"),
    ("advertiser_id", Form::Text, "advertiser_id"),
    ("offer_id", Form::Text, "offer_id"),
    ("root_offer_id", Form::Text, "root_offer_id"),
    ("share_id", Form::Text, "share_id"),
    ("publisher_id", Form::Text, "publisher_id"),
    ("country", Form::Text, "country"),
    ("platform", Form::Text, "platform"),
    ("offer_version", Form::Whole, "offer_version"),
    ("test", Form::Flag, "test"),
    ("flags", Form::Text, "arrayStringConcat(flags, ' ')"),
];

const CONVERSIONS: &[Column] = &[
    ("received_at", Form::Time, "received_at"),
    ("conversion_id", Form::Text, "conversion_id"),
    ("revision", Form::Whole, "revision"),
    ("event_id", Form::Text, "event_id"),
    ("event_name", Form::Text, "event_name"),
    ("sequence", Form::Whole, "sequence"),
    ("status", Form::Text, "status"),
    ("reason", Form::Text, "reason"),
    ("revenue", Form::Amount, "revenue"),
    ("payout", Form::Amount, "payout"),
    ("currency", Form::Text, "currency"),
    ("reward", Form::Amount, "reward"),
    ("reward_unit", Form::Text, "reward_unit"),
    ("tenant", Form::Text, "tenant"),
    ("advertiser_id", Form::Text, "advertiser_id"),
    ("offer_id", Form::Text, "offer_id"),
    ("root_offer_id", Form::Text, "root_offer_id"),
    ("share_id", Form::Text, "share_id"),
    ("publisher_id", Form::Text, "publisher_id"),
    ("country", Form::Text, "country"),
    ("platform", Form::Text, "platform"),
    ("click_id", Form::Text, "click_id"),
    ("clicked_at", Form::Time, "clicked_at"),
    ("due_at", Form::Time, "due_at"),
    ("decided_at", Form::Time, "decided_at"),
    ("sale_amount", Form::Amount, "sale_amount"),
    ("sale_currency", Form::Text, "sale_currency"),
    ("transaction_id", Form::Text, "transaction_id"),
    ("offer_version", Form::Whole, "offer_version"),
    ("test", Form::Flag, "test"),
    ("flags", Form::Text, "arrayStringConcat(flags, ' ')"),
    ("note", Form::Text, "note"),
];

/// Of clicks and conversions, behind their other columns.
const SUBS: &[Column] = &[
    ("sub1", Form::Text, "sub1"),
    ("sub2", Form::Text, "sub2"),
    ("sub3", Form::Text, "sub3"),
    ("sub4", Form::Text, "sub4"),
    ("sub5", Form::Text, "sub5"),
    ("sub6", Form::Text, "sub6"),
    ("sub7", Form::Text, "sub7"),
    ("sub8", Form::Text, "sub8"),
    ("sub9", Form::Text, "sub9"),
    ("sub10", Form::Text, "sub10"),
    ("sub11", Form::Text, "sub11"),
    ("sub12", Form::Text, "sub12"),
    ("sub13", Form::Text, "sub13"),
    ("sub14", Form::Text, "sub14"),
    ("sub15", Form::Text, "sub15"),
];

const POSTBACKS: &[Column] = &[
    ("received_at", Form::Time, "received_at"),
    ("postback_id", Form::Text, "postback_id"),
    ("event_id", Form::Text, "event_id"),
    ("outcome", Form::Text, "outcome"),
    ("reason", Form::Text, "reason"),
    ("conversion_id", Form::Text, "conversion_id"),
    ("tenant", Form::Text, "tenant"),
    ("advertiser_id", Form::Text, "advertiser_id"),
    ("offer_id", Form::Text, "offer_id"),
    ("publisher_id", Form::Text, "publisher_id"),
    ("click_id", Form::Text, "click_id"),
    ("flags", Form::Text, "arrayStringConcat(flags, ' ')"),
    ("test", Form::Flag, "test"),
    ("parameters", Form::Text, PAIRS),
];

const REFUSED: &[Column] = &[
    ("refused_at", Form::Time, "refused_at"),
    ("tenant", Form::Text, "tenant"),
    ("mismatch", Form::Text, "mismatch"),
    ("address", Form::Text, "address"),
    ("host", Form::Text, "host"),
    ("parameters", Form::Text, PAIRS),
];

const DELIVERIES: &[Column] = &[
    ("created_at", Form::Time, "created_at"),
    ("attempted_at", Form::Time, "attempted_at"),
    ("delivery_id", Form::Text, "delivery_id"),
    ("attempt", Form::Whole, "attempt"),
    ("kind", Form::Text, "kind"),
    ("publisher_id", Form::Text, "publisher_id"),
    ("destination", Form::Text, "destination"),
    ("event_id", Form::Text, "event_id"),
    ("status", Form::Text, "status"),
    ("outcome", Form::Text, "outcome"),
    ("problem", Form::Text, "problem"),
    ("http_status", Form::Whole, "http_status"),
    ("latency", Form::Whole, "latency_ms"),
    ("next_attempt_at", Form::Time, "next_attempt_at"),
    ("conversion_id", Form::Text, "conversion_id"),
    ("revision", Form::Whole, "revision"),
    ("offer_id", Form::Text, "offer_id"),
    ("click_id", Form::Text, "click_id"),
    ("method", Form::Text, "method"),
    ("url", Form::Text, "url"),
    ("test", Form::Flag, "test"),
];

const PAIRS: &str = "arrayStringConcat(arrayMap(p -> concat(p.1, '=', p.2), parameters), '&')";

impl Kind {
    pub const ALL: [Self; 5] =
        [Self::Clicks, Self::Conversions, Self::Postbacks, Self::Refused, Self::Deliveries];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Clicks => "clicks",
            Self::Conversions => "conversions",
            Self::Postbacks => "postbacks",
            Self::Refused => "refused",
            Self::Deliveries => "deliveries",
        }
    }

    #[must_use]
    pub fn columns(self) -> Vec<Column> {
        let (first, rest): (&[Column], &[Column]) = match self {
            Self::Clicks => (CLICKS, SUBS),
            Self::Conversions => (CONVERSIONS, SUBS),
            Self::Postbacks => (POSTBACKS, &[]),
            Self::Refused => (REFUSED, &[]),
            Self::Deliveries => (DELIVERIES, &[]),
        };
        first.iter().chain(rest).copied().collect()
    }

    /// As they are shown, in order.
    #[must_use]
    pub fn column_names(self) -> Vec<&'static str> {
        self.columns().into_iter().map(|(name, _, _)| name).collect()
    }

    /// What each is of.
    #[must_use]
    pub fn forms(self) -> Vec<Form> {
        self.columns().into_iter().map(|(_, form, _)| form).collect()
    }

    #[must_use]
    pub fn view(self) -> View {
        match self {
            Self::Clicks => View::Clicks,
            Self::Conversions => View::Conversions,
            Self::Postbacks => View::Postbacks,
            Self::Refused => View::Refused,
            Self::Deliveries => View::Deliveries,
        }
    }

    /// The order of the table below the view, in which rows can be read without sorting them.
    fn key(self) -> &'static str {
        match self {
            Self::Clicks => "toDate(clicked_at), tenant, offer_id, click_id",
            Self::Conversions => "toDate(received_at), tenant, offer_id, conversion_id",
            Self::Postbacks => "toDate(received_at), tenant, advertiser_id, postback_id",
            Self::Refused => "toDate(refused_at), tenant, refusal_id",
            Self::Deliveries => "toDate(created_at), tenant, publisher_id, delivery_id",
        }
    }

    #[must_use]
    pub fn filters(self) -> &'static [Filter] {
        match self {
            Self::Clicks => &[
                Filter::Tenant,
                Filter::Advertiser,
                Filter::Offer,
                Filter::Publisher,
                Filter::Click,
                Filter::Country,
                Filter::Platform,
                Filter::Clones,
            ],
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

    #[must_use]
    pub fn has_tests(self) -> bool {
        self != Self::Refused
    }

    /// What lists and exports of it take.
    #[must_use]
    pub fn parameters(self) -> Vec<Parameter> {
        filter::parameters(self.filters(), self.has_tests())
    }

    fn selected(self) -> String {
        let each = self.columns().into_iter().map(|(_, form, sql)| match form {
            Form::Text => format!("toString({sql})"),
            Form::Time => format!("toNullable(toUnixTimestamp64Milli({sql}))"),
            Form::Amount => format!("toNullable(toString({sql}))"),
            Form::Whole => format!("toNullable(toUInt64({sql}))"),
            Form::Flag => format!("toUInt8({sql})"),
        });
        each.collect::<Vec<_>>().join(", ")
    }

    /// The newest `{rows:UInt32}` rows that meet the conditions.
    #[must_use]
    pub fn newest_sql(self, conditions: &str) -> String {
        let (view, time) = (self.view().name(), self.view().time());
        format!(
            "SELECT {} FROM {view} WHERE {conditions} ORDER BY {time} DESC LIMIT {{rows:UInt32}}",
            self.selected()
        )
    }

    /// All rows that meet the conditions, in the table's order.
    #[must_use]
    pub fn all_sql(self, conditions: &str) -> String {
        let view = self.view().name();
        format!("SELECT {} FROM {view} WHERE {conditions} ORDER BY {}", self.selected(), self.key())
    }
}
