//! Which stretch of time a report is about, in which zone; both are always stated with it.

use crate::error::Error;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use schemas::UnixMillis;
use serde::Serialize;

/// What ClickHouse's times reach, with room for the offset of any zone: 1970 to 2299.
const EARLIEST_MS: i64 = 0;
const LATEST_MS: i64 = 10_413_619_200_000;

/// From the first millisecond that is in it to the first that no longer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    pub from_ms: Option<i64>,
    pub to_ms: Option<i64>,
    pub zone: TimeZone,
    pub zone_name: String,
}

/// A period as it is stated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatedPeriod {
    /// The first point in time that is in it; none: from the beginning.
    pub from: Option<String>,
    /// The first that no longer is; none: until now.
    pub to: Option<String>,
    pub time_zone: String,
}

impl Default for Period {
    /// All of time, in UTC.
    fn default() -> Self {
        Self { from_ms: None, to_ms: None, zone: TimeZone::UTC, zone_name: "UTC".to_owned() }
    }
}

impl Period {
    /// Reads days (both are in it) or RFC 3339 times (`to` no longer is).
    pub fn parse(from: Option<&str>, to: Option<&str>, zone_name: &str) -> Result<Self, Error> {
        let zone = TimeZone::get(zone_name).map_err(|_| {
            Error::bad_request(format!("tz: {zone_name:?} is not a time zone"))
                .with_hint("write e.g. UTC or Europe/Berlin")
        })?;
        let from_ms = from.map(|text| read("from", text, &zone, 0)).transpose()?;
        let to_ms = to.map(|text| read("to", text, &zone, 1)).transpose()?;
        for (name, ms) in [("from", from_ms), ("to", to_ms)] {
            if ms.is_some_and(|ms| !(EARLIEST_MS..=LATEST_MS).contains(&ms)) {
                return Err(Error::bad_request(format!("{name}: is not between 1970 and 2299")));
            }
        }
        if let (Some(from), Some(to)) = (from_ms, to_ms)
            && from >= to
        {
            return Err(Error::bad_request("the period ends before it begins"));
        }
        // The database's own spelling: ClickHouse is particular about it.
        let zone_name = zone.iana_name().unwrap_or(zone_name).to_owned();
        Ok(Self { from_ms, to_ms, zone, zone_name })
    }

    #[must_use]
    pub fn stated(&self) -> StatedPeriod {
        StatedPeriod {
            from: self.from_ms.map(|ms| self.show(UnixMillis(ms))),
            to: self.to_ms.map(|ms| self.show(UnixMillis(ms))),
            time_zone: self.zone_name.clone(),
        }
    }

    /// The calendar day of a time in the period's zone.
    #[must_use]
    pub fn day_of(&self, time: UnixMillis) -> Option<Date> {
        let time = Timestamp::from_millisecond(time.0).ok()?;
        Some(time.to_zoned(self.zone.clone()).date())
    }

    /// The first millisecond of a day in the period's zone.
    #[must_use]
    pub fn start_of(&self, day: Date) -> Option<i64> {
        Some(day.to_zoned(self.zone.clone()).ok()?.timestamp().as_millisecond())
    }

    /// A time in the period's zone: RFC 3339 with milliseconds.
    #[must_use]
    pub fn show(&self, time: UnixMillis) -> String {
        match Timestamp::from_millisecond(time.0) {
            Ok(time) => {
                time.to_zoned(self.zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()
            }
            Err(_) => time.to_string(),
        }
    }
}

fn read(name: &str, text: &str, zone: &TimeZone, days_after: i64) -> Result<i64, Error> {
    let wrong = || {
        Error::bad_request(format!("{name}: {text:?} is neither a day nor a time"))
            .with_hint("write e.g. 2026-11-01 or 2026-11-01T12:00:00Z")
    };
    if text.len() == "2026-11-01".len() {
        let day: Date = text.parse().map_err(|_| wrong())?;
        let day = day.checked_add(days_after.days()).map_err(|_| wrong())?;
        let midnight = day.to_zoned(zone.clone()).map_err(|_| wrong())?;
        return Ok(midnight.timestamp().as_millisecond());
    }
    let time: Timestamp = text.parse().map_err(|_| wrong())?;
    Ok(time.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(from: &str, to: &str, expected: Result<(&str, &str), &str>) {
        let found = Period::parse(Some(from), Some(to), "america/new_york");
        match (found, expected) {
            (Ok(found), Ok((from, to))) => {
                let stated = found.stated();
                assert_eq!((stated.from.as_deref(), stated.to.as_deref()), (Some(from), Some(to)));
                assert_eq!(stated.time_zone, "America/New_York");
            }
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (found, expected) => panic!("{found:?}, not {expected:?}"),
        }
    }

    #[test]
    fn days_are_whole_and_zones_change_their_offset() {
        check(
            "2026-11-01",
            "2026-11-01",
            Ok(("2026-11-01T00:00:00.000-04:00", "2026-11-02T00:00:00.000-05:00")),
        );
        check(
            "2026-11-01T12:00:00Z",
            "2026-11-03",
            Ok(("2026-11-01T07:00:00.000-05:00", "2026-11-04T00:00:00.000-05:00")),
        );
        check("2026-11-02", "2026-11-01", Err("ends before it begins"));
        check("yesterday", "2026-11-01", Err("from: \"yesterday\""));
        check("2026-11-01", "2026-11-31", Err("to: \"2026-11-31\""));
    }
}
