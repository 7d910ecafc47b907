//! Columns of reports: their names, what they mean, and how a value of each kind is written.

use super::period::Period;
use schemas::{Micros, UnixMillis};
use serde_json::Value;

/// What a column's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// An id that people look up or copy.
    Id,
    Count,
    /// Of a hundred, one decimal.
    Percent,
    /// Whole units of the row's currency, as text: at least two decimals.
    Amount,
    /// A count, or an amount where the row names a currency.
    Measure,
    /// RFC 3339 with milliseconds, in the report's zone.
    Time,
    /// A calendar day of the report's zone.
    Day,
    Seconds,
    /// Events a day or a like rate: two decimals.
    Rate,
    Flag,
}

/// One column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    pub kind: Kind,
    pub about: &'static str,
    /// Not in a table on a terminal; JSON and CSV have it.
    pub is_wide: bool,
}

impl Column {
    #[must_use]
    pub const fn new(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { name, kind, about, is_wide: false }
    }

    #[must_use]
    pub const fn wide(self) -> Self {
        Self { is_wide: true, ..self }
    }

    /// A value as ClickHouse gave it, as the report shows it: times come as milliseconds, amounts
    /// without the zeros that people expect.
    #[must_use]
    pub fn show(&self, value: Value, period: &Period) -> Value {
        match (self.kind, &value) {
            (Kind::Time, Value::Number(ms)) => {
                ms.as_i64().map_or(Value::Null, |ms| Value::from(period.show(UnixMillis(ms))))
            }
            (Kind::Amount | Kind::Measure, Value::String(text)) => {
                Micros::parse(text).map_or(value, |amount| Value::from(amount.to_string()))
            }
            _ => value,
        }
    }
}

impl Kind {
    /// Whether a cell reads better aligned to the right.
    #[must_use]
    pub fn is_number(self) -> bool {
        !matches!(self, Self::Text | Self::Id | Self::Time | Self::Day | Self::Flag)
    }
}

/// A part of a whole in percent, one decimal; none of nothing.
#[must_use]
pub fn percent(part: u64, whole: u64) -> Option<f64> {
    // A rate for people, not an amount.
    (whole > 0).then(|| (part as f64 * 1000.0 / whole as f64).round() / 10.0)
}

/// A number with two decimals.
#[must_use]
pub fn two_decimals(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
