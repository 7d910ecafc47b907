//! The sender's own time of an event: read in the forms senders use, believed when plausible.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use schemas::UnixMillis;
use schemas::time::{DAY_MS, MINUTE_MS, SECOND_MS};

/// How far a sender's clock may be ahead of ours.
pub const AHEAD_MAX_MS: i64 = 5 * MINUTE_MS;
/// How long a postback may have been under way, or we away, for its own time to count.
pub const BEHIND_MAX_MS: i64 = DAY_MS;
/// Numbers from here on are milliseconds; as seconds they would be after the year 5000.
const MILLISECONDS_FROM: i64 = 100_000_000_000;

/// Reads Unix seconds, Unix milliseconds, RFC 3339, or `YYYY-MM-DD hh:mm:ss[.fff]` in UTC.
pub fn read(text: &str) -> Option<UnixMillis> {
    let text = text.trim();
    if text.bytes().all(|b| b.is_ascii_digit()) {
        let number: i64 = text.parse().ok()?;
        let in_ms = number >= MILLISECONDS_FROM;
        return Some(UnixMillis(if in_ms { number } else { number * SECOND_MS }));
    }
    if may_have_offset(text)
        && let Ok(timestamp) = text.parse::<jiff::Timestamp>()
    {
        return Some(UnixMillis(timestamp.as_millisecond()));
    }
    let civil: DateTime = text.parse().ok()?;
    let timestamp = TimeZone::UTC.to_timestamp(civil).ok()?;
    Some(UnixMillis(timestamp.as_millisecond()))
}

/// Whether anything beside digits and their separators follows the date. Asked first, because a
/// parser that fails allocates its error.
fn may_have_offset(text: &str) -> bool {
    /// A date is at least `YYYYMMDD`.
    const DATE_BYTES_MIN: usize = 8;
    let is_plain = |byte: &u8| byte.is_ascii_digit() || b" tT:.,".contains(byte);
    // The hyphens of `YYYY-MM-DD` are before that.
    !text.as_bytes().iter().skip(DATE_BYTES_MIN).all(is_plain)
}

/// Not before the click, not much after its arrival, not long before it.
pub fn is_plausible(time: UnixMillis, clicked_at: UnixMillis, received_at: UnixMillis) -> bool {
    time >= clicked_at
        && time <= received_at.plus_ms(AHEAD_MAX_MS)
        && time >= received_at.plus_ms(-BEHIND_MAX_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forms() {
        let at = Some(UnixMillis(1_700_000_000_000));
        let fraction = Some(UnixMillis(1_700_000_000_250));
        for (text, expected) in [
            ("1700000000", at),
            ("1700000000000", at),
            (" 1700000000 ", at),
            ("2023-11-14T22:13:20Z", at),
            ("2023-11-14T23:13:20+01:00", at),
            ("2023-11-14 22:13:20", at),
            ("2023-11-14 22:13:20.250", fraction),
            ("2023-11-14T22:13:20.25Z", fraction),
            ("", None),
            ("soon", None),
            ("-1", None),
            ("99999999999999999999", None),
            ("2023-13-14 22:13:20", None),
            ("{created_at}", None),
        ] {
            assert_eq!(read(text), expected, "{text:?}");
        }
    }

    proptest! {
        /// Looking before parsing changes nothing about what is read.
        #[test]
        fn a_look_first_changes_nothing(
            text in prop_oneof![
                "[0-9TtZz:.,+ \\-]{0,32}",
                "[+-]?[0-9]{4,6}-?[01][0-9]-?[0-3][0-9][Tt ][0-2][0-9]:?[0-5][0-9](:?[0-5][0-9]([.,][0-9]{1,9})?)?(Z|z|[+-][01][0-9](:?[0-5]0)?)?(\\[UTC\\])?",
            ],
        ) {
            let timestamp = text.parse::<jiff::Timestamp>().ok();
            if !may_have_offset(&text) {
                prop_assert_eq!(timestamp, None);
            }
        }
    }

    #[test]
    fn boundaries_of_belief() {
        let received = UnixMillis(100 * DAY_MS);
        let click = received.plus_ms(-BEHIND_MAX_MS - 10);
        for (delta, plausible) in [
            (0, true),
            (AHEAD_MAX_MS, true),
            (AHEAD_MAX_MS + 1, false),
            (-BEHIND_MAX_MS, true),
            (-BEHIND_MAX_MS - 1, false),
        ] {
            assert_eq!(
                is_plausible(received.plus_ms(delta), click, received),
                plausible,
                "{delta}"
            );
        }
        assert!(is_plausible(received, received, received));
        assert!(!is_plausible(received.plus_ms(-1), received, received));
    }
}
