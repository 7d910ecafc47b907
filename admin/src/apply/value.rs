//! The kinds of values that documents are made of: how each is written, read and described.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use rust_iso3166::from_alpha2;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use schemas::money::MICROS_PER_UNIT;
use schemas::offer::DURATION_MS_MAX;
use schemas::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};
use schemas::{Currency, EventId, Micros, UnixMillis};
use std::borrow::Cow;

/// Characters of a name, of a long text.
pub const NAME_CHARS_MAX: usize = 200;
pub const TEXT_CHARS_MAX: usize = 10_000;

/// A value that is read from one scalar.
pub trait FromText: Sized {
    /// How it is written, for the message about something that is not even a scalar.
    const EXAMPLE: &'static str;
    /// The error is a whole message: what is wrong and how it is written right.
    fn from_text(text: &str) -> Result<Self, String>;
}

/// Gives a wrapper its JSON Schema.
macro_rules! schema {
    ($name:ident, $($json:tt)+) => {
        impl JsonSchema for $name {
            fn inline_schema() -> bool { true }
            fn schema_name() -> Cow<'static, str> { stringify!($name).into() }
            fn json_schema(_: &mut SchemaGenerator) -> Schema { json_schema!($($json)+) }
        }
    };
}

/// A short text: a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(pub String);
schema!(Name, { "type": ["string", "number"], "maxLength": 200 });

impl FromText for Name {
    const EXAMPLE: &'static str = "a short text";
    fn from_text(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("is empty".to_owned());
        }
        if text.chars().count() > NAME_CHARS_MAX {
            return Err(format!("is longer than {NAME_CHARS_MAX} characters"));
        }
        if text.chars().any(char::is_control) {
            return Err("holds a line break or another control character".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

/// A text of several lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LongText(pub String);
schema!(LongText, { "type": "string", "maxLength": 10_000 });

impl FromText for LongText {
    const EXAMPLE: &'static str = "a text";
    fn from_text(text: &str) -> Result<Self, String> {
        if text.chars().count() > TEXT_CHARS_MAX {
            return Err(format!("is longer than {TEXT_CHARS_MAX} characters"));
        }
        Ok(Self(text.trim_end().to_owned()))
    }
}

/// The id of a configured thing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slug(pub String);
schema!(Slug, { "type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,31}$" });

impl FromText for Slug {
    const EXAMPLE: &'static str = "an id such as brain-games";
    fn from_text(text: &str) -> Result<Self, String> {
        // All configured ids are written alike; the offer's stands for them.
        schemas::OfferId::new(text).map(|id| Self(id.to_string())).map_err(|e| e.to_string())
    }
}

/// An event ID or alias, exactly as the sender sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventName(pub EventId);
schema!(EventName, { "type": ["string", "number"], "minLength": 1, "maxLength": 255 });

impl FromText for EventName {
    const EXAMPLE: &'static str = "an event ID such as Install";
    fn from_text(text: &str) -> Result<Self, String> {
        EventId::new(text).map(Self).map_err(|error| error.to_string())
    }
}

/// The greatest amount: a million millions. Two of them can be added without a thought.
const AMOUNT_MAX: Micros = Micros(1_000_000_000_000 * MICROS_PER_UNIT);
const _: () = assert!(AMOUNT_MAX.0 < i64::MAX / 4);

/// An amount of money, or of rewards: not negative, at most six decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount(pub Micros);
schema!(Amount, { "type": ["string", "number"], "minimum": 0, "pattern": "^[0-9]*\\.?[0-9]*$" });

impl FromText for Amount {
    const EXAMPLE: &'static str = "an amount such as 1.25";
    fn from_text(text: &str) -> Result<Self, String> {
        match Micros::parse(text) {
            Ok(micros) if micros.0 < 0 => Err(format!("{text} is negative; amounts are 0 or more")),
            Ok(micros) if micros > AMOUNT_MAX => {
                Err(format!("{text} is more than {AMOUNT_MAX}, the greatest amount"))
            }
            Ok(micros) => Ok(Self(micros)),
            Err(error) => Err(format!("{text:?} is not an amount: {error}; write e.g. 1.25")),
        }
    }
}

/// A stretch of time in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duration(pub i64);
schema!(Duration, { "type": ["string", "integer"], "pattern": "^(0|[0-9]+ ?(s|m|h|d))$" });

impl FromText for Duration {
    const EXAMPLE: &'static str = "a time such as 24h or 7d";
    fn from_text(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a time: write 30s, 15m, 24h, 7d or 0");
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let number: i64 = number.parse().map_err(|_| wrong())?;
        let unit_ms = match unit.trim() {
            "" if number == 0 => 1,
            "s" => SECOND_MS,
            "m" => MINUTE_MS,
            "h" => HOUR_MS,
            "d" => DAY_MS,
            _ => return Err(wrong()),
        };
        match number.checked_mul(unit_ms) {
            Some(ms) if ms <= DURATION_MS_MAX => Ok(Self(ms)),
            _ => Err(format!("{text} is longer than {} days", DURATION_MS_MAX / DAY_MS)),
        }
    }
}

/// A whole number from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count(pub u64);
schema!(Count, { "type": "integer", "minimum": 0 });

impl FromText for Count {
    const EXAMPLE: &'static str = "a whole number";
    fn from_text(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(count) if text.bytes().all(|b| b.is_ascii_digit()) => Ok(Self(count)),
            _ => Err(format!("{text:?} is not a whole number from 0")),
        }
    }
}

/// An event's level, or `none` for an event outside of the sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level(pub Option<u32>);
schema!(Level, { "anyOf": [{ "type": "integer", "minimum": 1 }, { "const": "none" }] });

impl FromText for Level {
    const EXAMPLE: &'static str = "a whole number from 1, or none";
    fn from_text(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        match text.parse() {
            Ok(0) => Err("the sequence starts at 1".to_owned()),
            Ok(level) if text.bytes().all(|b| b.is_ascii_digit()) => Ok(Self(Some(level))),
            _ => Err(format!(
                "{text:?} is not a level: write a whole number from 1, or none for an event \
                 outside of the sequence"
            )),
        }
    }
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag(pub bool);
schema!(Flag, { "type": "boolean" });

impl FromText for Flag {
    const EXAMPLE: &'static str = "true or false";
    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "true" => Ok(Self(true)),
            "false" => Ok(Self(false)),
            _ => Err(format!("{text:?} is neither true nor false")),
        }
    }
}

/// A day, which begins at midnight in some zone, or a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Day(Date),
    Time(UnixMillis),
}
schema!(When, { "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ].+)?$" });

impl FromText for When {
    const EXAMPLE: &'static str = "a day such as 2026-11-01";
    fn from_text(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is not a day or time: write 2026-11-01 or 2026-11-01T12:00:00Z");
        // A date with a time but no offset would be read as midnight of it: not what was meant.
        if text.len() == "2026-11-01".len() {
            return text.parse().map(Self::Day).map_err(|_| wrong());
        }
        let time: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
        Ok(Self::Time(UnixMillis(time.as_millisecond())))
    }
}

impl When {
    /// The point in time, with days beginning at midnight of the zone.
    #[must_use]
    pub fn in_zone(self, zone: &TimeZone) -> Option<UnixMillis> {
        match self {
            Self::Time(time) => Some(time),
            Self::Day(date) => {
                let midnight = date.to_zoned(zone.clone()).ok()?;
                Some(UnixMillis(midnight.timestamp().as_millisecond()))
            }
        }
    }
}

/// A time zone's IANA name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(pub String);
schema!(Zone, { "type": "string", "examples": ["UTC", "Europe/Berlin", "America/New_York"] });

impl FromText for Zone {
    const EXAMPLE: &'static str = "a time zone such as Europe/Berlin";
    fn from_text(text: &str) -> Result<Self, String> {
        match TimeZone::get(text) {
            // The database's own spelling, so that SQL understands it too.
            Ok(zone) => Ok(Self(zone.iana_name().unwrap_or(text).to_owned())),
            Err(_) => Err(format!("{text:?} is not a time zone: write e.g. UTC or Europe/Berlin")),
        }
    }
}

/// A country as ISO 3166 alpha-2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Country(pub String);
schema!(Country, { "type": "string", "pattern": "^[A-Z]{2}$" });

impl FromText for Country {
    const EXAMPLE: &'static str = "a country code such as US";
    fn from_text(text: &str) -> Result<Self, String> {
        match from_alpha2(text) {
            Some(country) => Ok(Self(country.alpha2.to_owned())),
            // YAML 1.1 would read a bare NO as false; here it stays text, so Norway works.
            None => Err(format!(
                "{text:?} is not a country: write its two letters in capitals, e.g. US, ZA, AU"
            )),
        }
    }
}

/// A currency as ISO 4217.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CurrencyCode(pub Currency);
schema!(CurrencyCode, { "type": "string", "pattern": "^[A-Z]{3}$" });

impl FromText for CurrencyCode {
    const EXAMPLE: &'static str = "a currency such as USD";
    fn from_text(text: &str) -> Result<Self, String> {
        Currency::from_code(text).map(Self).ok_or_else(|| {
            format!("{text:?} is not a currency: write its three letters in capitals, e.g. USD")
        })
    }
}

/// A choice among words that have an enum of their own.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident, $of:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name(pub $of);
        impl JsonSchema for $name {
            fn inline_schema() -> bool { true }
            fn schema_name() -> Cow<'static, str> { stringify!($name).into() }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let codes: Vec<&str> = <$of>::ALL.iter().map(|it| it.code()).collect();
                json_schema!({ "enum": codes })
            }
        }
        impl FromText for $name {
            const EXAMPLE: &'static str = "one word";
            fn from_text(text: &str) -> Result<Self, String> {
                let codes: Vec<&str> = <$of>::ALL.iter().map(|it| it.code()).collect();
                text.parse().map(Self).map_err(|()| {
                    format!("{text:?} is not known here; there are {}", codes.join(", "))
                })
            }
        }
    };
}

choice!(
    /// The sender of the postbacks.
    IntegrationChoice,
    schemas::Integration
);
choice!(PlatformChoice, schemas::Platform);
choice!(StatusChoice, schemas::ConversionStatus);
choice!(RequestChoice, schemas::postback::RequestKind);
choice!(SequenceRuleChoice, schemas::SequenceRule);
choice!(AmountsAtChoice, schemas::AmountsAt);

/// Live, paused or closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Live,
    Paused,
    Closed,
}
schema!(State, { "enum": ["live", "paused", "closed"] });

impl FromText for State {
    const EXAMPLE: &'static str = "live, paused or closed";
    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "live" => Ok(Self::Live),
            "paused" => Ok(Self::Paused),
            "closed" => Ok(Self::Closed),
            _ => Err(format!("{text:?} is not known here; there are live, paused, closed")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: FromText + PartialEq + std::fmt::Debug>(text: &str, expected: Result<T, &str>) {
        assert_eq!(T::from_text(text), expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn amounts_are_exact_and_not_negative() {
        check("1.25", Ok(Amount(Micros(1_250_000))));
        check("0", Ok(Amount(Micros(0))));
        check::<Amount>("-1", Err("-1 is negative; amounts are 0 or more"));
        check::<Amount>(
            "$1",
            Err("\"$1\" is not an amount: not a decimal number; write e.g. 1.25"),
        );
        check::<Amount>(
            "0.0000001",
            Err("\"0.0000001\" is not an amount: more than six decimal places; write e.g. 1.25"),
        );
    }

    #[test]
    fn durations() {
        check("7d", Ok(Duration(7 * DAY_MS)));
        check("24h", Ok(Duration(DAY_MS)));
        check("15 m", Ok(Duration(15 * MINUTE_MS)));
        check("0", Ok(Duration(0)));
        check::<Duration>("7", Err("\"7\" is not a time: write 30s, 15m, 24h, 7d or 0"));
        check::<Duration>("-1d", Err("\"-1d\" is not a time: write 30s, 15m, 24h, 7d or 0"));
        check::<Duration>("1099d", Err("1099d is longer than 1098 days"));
    }

    #[test]
    fn days_begin_in_a_zone() {
        let zone = TimeZone::get("America/New_York").unwrap();
        let at = |text| When::from_text(text).unwrap().in_zone(&zone).unwrap().to_string();
        assert_eq!(at("2026-11-01"), "2026-11-01T04:00:00.000Z");
        assert_eq!(at("2026-11-02"), "2026-11-02T05:00:00.000Z");
        assert_eq!(at("2026-11-01T12:00:00+02:00"), "2026-11-01T10:00:00.000Z");
        for wrong in ["tomorrow", "2026-13-01", "01.11.2026", "2026-11-01T12:00:00"] {
            assert!(When::from_text(wrong).unwrap_err().contains("is not a day or time"));
        }
    }

    #[test]
    fn codes_and_words() {
        check("NO", Ok(Country("NO".to_owned())));
        check("europe/berlin", Ok(Zone("Europe/Berlin".to_owned())));
        assert!(Country::from_text("us").is_err());
        assert!(Country::from_text("XX").is_err());
        assert!(CurrencyCode::from_text("usd").is_err());
        assert!(CurrencyCode::from_text("points").is_err());
        check::<Level>("0", Err("the sequence starts at 1"));
        check("none", Ok(Level(None)));
        check("2", Ok(Level(Some(2))));
        check::<State>("open", Err("\"open\" is not known here; there are live, paused, closed"));
        check::<PlatformChoice>(
            "iOS",
            Err("\"iOS\" is not known here; there are ios, android, web"),
        );
        check("12", Ok(Count(12)));
        assert!(Count::from_text("+12").is_err());
    }
}
