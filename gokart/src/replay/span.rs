//! The stretch of time that a replay is asked about.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use schemas::UnixMillis;
use service::ServiceError;

/// From the first moment that is in it to the first that no longer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub from: Option<UnixMillis>,
    pub to: Option<UnixMillis>,
}

impl Span {
    /// Days are whole, and in UTC.
    pub fn read(from: Option<&str>, to: Option<&str>) -> Result<Self, ServiceError> {
        let from = from.map(|text| time("--from", text, 0)).transpose()?;
        let to = to.map(|text| time("--to", text, 1)).transpose()?;
        match (from, to) {
            (Some(from), Some(to)) if from >= to => Err(ServiceError::Configuration(
                "--to is not after --from: nothing is between them".to_owned(),
            )),
            _ => Ok(Self { from, to }),
        }
    }
}

fn time(flag: &str, text: &str, days_after: i64) -> Result<UnixMillis, ServiceError> {
    let read = || {
        if let Ok(time) = text.parse::<Timestamp>() {
            return Some(time);
        }
        let day: Date = text.parse().ok()?;
        let day = day.checked_add(days_after.days()).ok()?;
        Some(day.to_zoned(TimeZone::UTC).ok()?.timestamp())
    };
    read().map(|time| UnixMillis(time.as_millisecond())).ok_or_else(|| {
        ServiceError::Configuration(format!(
            "{flag} {text:?} is neither a day nor a time; write e.g. 2026-11-01 or 2026-11-01T12:00:00Z"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_whole_and_in_utc() {
        let day = 1_793_491_200_000;
        let read = |from: &str, to: &str| Span::read(Some(from), Some(to));
        let both = |from, to| Ok(Span { from: Some(UnixMillis(from)), to: Some(UnixMillis(to)) });
        assert_eq!(read("2026-11-01", "2026-11-01"), both(day, day + 86_400_000));
        assert_eq!(
            read("2026-11-01T06:00:00Z", "2026-11-01T12:00:00Z"),
            both(day + 21_600_000, day + 43_200_000)
        );
        assert_eq!(Span::read(None, None), Ok(Span { from: None, to: None }));
        for (from, to) in [("soon", "2026-11-01"), ("2026-11-02", "2026-11-01")] {
            assert_eq!(read(from, to).unwrap_err().exit_code(), 78, "{from} {to}");
        }
    }
}
