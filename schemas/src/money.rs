//! Money: integer micros (millionths of the currency's unit) beside an ISO 4217 code. Binary
//! floating point never touches an amount.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Micros in one whole unit of a currency.
pub const MICROS_PER_UNIT: i64 = 1_000_000;

/// An ISO 4217 currency code.
pub type Currency = iso_currency::Currency;

/// Millionths of a currency's unit.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Micros(pub i64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    #[error("not a decimal number")]
    NotADecimal,
    #[error("more than six decimal places")]
    TooFine,
    #[error("too large")]
    TooLarge,
}

impl Micros {
    pub const ZERO: Self = Self(0);

    /// Reads a plain decimal number of whole units: `12`, `-0.5`, `1.000001`. No exponent, no
    /// thousands separator, no currency sign; digits beyond the sixth decimal must be zero.
    pub fn parse(text: &str) -> Result<Self, AmountError> {
        Self::parse_scaled(text, 0)
    }

    /// Reads a decimal number in units of 10^-`shift` (2 for cents).
    pub fn parse_scaled(text: &str, shift: u32) -> Result<Self, AmountError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() && fraction.is_empty() {
            return Err(AmountError::NotADecimal);
        }
        if !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
            return Err(AmountError::NotADecimal);
        }
        let decimals = 6usize.saturating_sub(shift as usize);
        let mut micros: i64 = 0;
        let push = |micros: i64, digit: u8| {
            micros
                .checked_mul(10)
                .and_then(|m| m.checked_add(i64::from(digit - b'0')))
                .ok_or(AmountError::TooLarge)
        };
        for digit in whole.bytes() {
            micros = push(micros, digit)?;
        }
        let fraction = fraction.as_bytes();
        for index in 0..decimals {
            micros = push(micros, fraction.get(index).copied().unwrap_or(b'0'))?;
        }
        if fraction.iter().skip(decimals).any(|digit| *digit != b'0') {
            return Err(AmountError::TooFine);
        }
        Ok(Self(if negative { -micros } else { micros }))
    }

    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }
}

impl fmt::Display for Micros {
    /// Whole units with at least two decimals and no more than needed: `1.00`, `0.125`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let micros = self.0.unsigned_abs();
        let unit = MICROS_PER_UNIT.unsigned_abs();
        let mut fraction = format!("{:06}", micros % unit);
        while fraction.len() > 2 && fraction.ends_with('0') {
            fraction.pop();
        }
        f.pad(&format!("{sign}{}.{fraction}", micros / unit))
    }
}

/// An amount in a currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    pub micros: Micros,
    pub currency: Currency,
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.micros, self.currency.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, shift: u32, expected: Result<i64, AmountError>) {
        assert_eq!(Micros::parse_scaled(text, shift).map(|m| m.0), expected, "{text} / {shift}");
    }

    #[test]
    fn decimals_are_exact() {
        check("1", 0, Ok(1_000_000));
        check("-0.5", 0, Ok(-500_000));
        check("+.25", 0, Ok(250_000));
        check("7.", 0, Ok(7_000_000));
        check("0.1000000", 0, Ok(100_000));
        check("1999", 2, Ok(19_990_000));
        check("1999.5", 2, Ok(19_995_000));
        check("9223372036854.775807", 0, Ok(i64::MAX));
    }

    #[test]
    fn what_is_not_an_amount() {
        for text in ["", ".", "-", "1e3", "NaN", "inf", "1,000", "0x1", " 1", "--1", "१"] {
            check(text, 0, Err(AmountError::NotADecimal));
        }
        check("0.0000001", 0, Err(AmountError::TooFine));
        check("0.00001", 2, Err(AmountError::TooFine));
        check("9223372036854.775808", 0, Err(AmountError::TooLarge));
        check(&"9".repeat(400), 0, Err(AmountError::TooLarge));
    }

    #[test]
    fn prints_like_money() {
        for (micros, text) in [
            (0, "0.00"),
            (1_000_000, "1.00"),
            (-500_000, "-0.50"),
            (125_000, "0.125"),
            (i64::MIN, "-9223372036854.775808"),
        ] {
            assert_eq!(Micros(micros).to_string(), text);
        }
    }
}
