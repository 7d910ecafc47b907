//! Days, weeks (from Monday) and months in an offer's time zone, daylight saving and all.

use crate::record::DayShift;
use jiff::Timestamp;
use jiff::civil::{Date, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use schemas::UnixMillis;
use std::sync::LazyLock;

/// A zone by its IANA name. Only from the database built in, so that two machines never disagree
/// about a day. UTC for a name that it does not have, which no applied configuration has.
pub fn zone(name: &str) -> TimeZone {
    static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);
    if name == "UTC" {
        return TimeZone::UTC;
    }
    ZONES.get(name).unwrap_or(TimeZone::UTC)
}

fn timestamp(time: UnixMillis) -> Timestamp {
    Timestamp::from_millisecond(time.0).unwrap_or(if time.0 < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

/// The calendar day of a time.
pub fn day_of(time: UnixMillis, zone: &TimeZone) -> Date {
    zone.to_datetime(timestamp(time)).date()
}

fn next(day: Date) -> Date {
    day.tomorrow().unwrap_or(day)
}

fn previous(day: Date) -> Date {
    day.yesterday().unwrap_or(day)
}

/// How a day differs from the day of `time` in UTC.
pub fn shift_of(time: UnixMillis, day: Date) -> DayShift {
    match day.cmp(&day_of(time, &TimeZone::UTC)) {
        std::cmp::Ordering::Less => DayShift::Before,
        std::cmp::Ordering::Equal => DayShift::Same,
        std::cmp::Ordering::Greater => DayShift::After,
    }
}

/// The day that [`shift_of`] was asked about.
pub fn shifted_day(time: UnixMillis, shift: DayShift) -> Date {
    let day = day_of(time, &TimeZone::UTC);
    match shift {
        DayShift::Same => day,
        DayShift::Before => previous(day),
        DayShift::After => next(day),
    }
}

/// The months are numbered from 1; 0 is no month.
pub fn month_number(day: Date) -> u32 {
    let years = u32::try_from(day.year()).unwrap_or(0);
    years * 12 + u32::from(day.month().unsigned_abs())
}

/// The seven days of the week a day is in.
pub fn week_of(day: Date) -> impl Iterator<Item = Date> {
    let mut monday = day;
    while monday.weekday() != Weekday::Monday && previous(monday) != monday {
        monday = previous(monday);
    }
    std::iter::successors(Some(monday), |day| Some(next(*day))).take(7)
}

/// The moment a day begins: midnight, or what follows it where the clocks skip midnight.
fn start_of(day: Date, zone: &TimeZone) -> UnixMillis {
    zone.to_ambiguous_timestamp(day.at(0, 0, 0, 0))
        .compatible()
        .map_or(UnixMillis(i64::MAX), |at| UnixMillis(at.as_millisecond()))
}

/// The moment a day begins in a zone; the greatest time where the calendar ends before.
pub fn day_start(day: Date, zone: &TimeZone) -> UnixMillis {
    start_of(day, zone)
}

pub fn day_end(day: Date, zone: &TimeZone) -> UnixMillis {
    start_of(next(day), zone)
}

pub fn week_end(day: Date, zone: &TimeZone) -> UnixMillis {
    start_of(next(week_of(day).last().unwrap_or(day)), zone)
}

pub fn month_end(day: Date, zone: &TimeZone) -> UnixMillis {
    start_of(next(day.last_of_month()), zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> UnixMillis {
        UnixMillis(text.parse::<Timestamp>().unwrap().as_millisecond())
    }

    fn check(zone_name: &str, time: &str, day: &str, ends: [&str; 3]) {
        let zone = zone(zone_name);
        let found = day_of(at(time), &zone);
        assert_eq!(found.to_string(), day, "{zone_name} {time}");
        let found_ends = [day_end(found, &zone), week_end(found, &zone), month_end(found, &zone)];
        assert_eq!(found_ends, ends.map(at), "{zone_name} {time}");
        let shift = shift_of(at(time), found);
        assert_eq!(shifted_day(at(time), shift), found, "{zone_name} {time}");
    }

    #[test]
    fn days_begin_at_local_midnight() {
        let week = "2026-03-30T00:00:00Z";
        let ends = ["2026-03-29T00:00:00Z", week, "2026-04-01T00:00:00Z"];
        check("UTC", "2026-03-28T23:59:59.999Z", "2026-03-28", ends);
        let ends = ["2026-03-30T00:00:00Z", week, "2026-04-01T00:00:00Z"];
        check("UTC", "2026-03-29T00:00:00Z", "2026-03-29", ends);
        // West and east of Greenwich.
        let ends = ["2026-01-01T08:00:00Z", "2026-01-05T08:00:00Z", "2026-01-01T08:00:00Z"];
        check("America/Los_Angeles", "2026-01-01T07:59:59Z", "2025-12-31", ends);
        let ends = ["2026-01-01T10:00:00Z", "2026-01-04T10:00:00Z", "2026-01-31T10:00:00Z"];
        check("Pacific/Kiritimati", "2025-12-31T10:00:00Z", "2026-01-01", ends);
    }

    #[test]
    fn daylight_saving() {
        // A day of 23 hours, and one of 25.
        let ends = ["2026-03-29T22:00:00Z", "2026-03-29T22:00:00Z", "2026-03-31T22:00:00Z"];
        check("Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-29", ends);
        let ends = ["2026-10-25T23:00:00Z", "2026-10-25T23:00:00Z", "2026-10-31T23:00:00Z"];
        check("Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25", ends);
        // Clocks skip midnight: the day begins at one.
        let ends = ["2026-04-24T21:00:00Z", "2026-04-26T21:00:00Z", "2026-04-30T21:00:00Z"];
        check("Africa/Cairo", "2026-04-23T22:00:00Z", "2026-04-24", ends);
    }

    #[test]
    fn odd_inputs() {
        assert_eq!(zone("Nowhere/Land"), TimeZone::UTC);
        for time in [i64::MIN, i64::MAX] {
            let day = day_of(UnixMillis(time), &zone("Europe/Berlin"));
            assert_eq!(week_of(day).count(), 7);
            month_end(day, &TimeZone::UTC);
            month_number(day);
        }
    }
}
