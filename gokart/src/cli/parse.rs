//! How values on the command line are written.

use ipnet::IpNet;
use jiff::tz::TimeZone;
use std::time::Duration;

/// Longest duration that a flag takes.
const DURATION_MAX: Duration = Duration::from_secs(3 * 366 * 24 * 60 * 60);

/// A whole number and a unit: `250ms`, `10s`, `5m`, `24h`, `7d`; or `0`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration: write 250ms, 10s, 5m, 24h, 7d or 0");
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" if number == 0 => 1,
        _ => return Err(wrong()),
    };
    match number.checked_mul(unit_ms).map(Duration::from_millis) {
        Some(duration) if duration <= DURATION_MAX => Ok(duration),
        _ => Err(format!("{text:?} is longer than three years")),
    }
}

/// A whole number of bytes with an optional unit: `4096`, `64KiB`, `10GB`.
pub fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size: write 4096, 64KiB, 32MiB, 10GiB or 10GB");
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit: u64 = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).ok_or_else(|| format!("{text:?} is too large"))
}

/// `10.1.0.0/16`, or one address.
pub fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let one = || text.parse::<std::net::IpAddr>().map(IpNet::from).ok();
    text.parse()
        .ok()
        .or_else(one)
        .ok_or_else(|| format!("{text:?} is not a network: write 10.1.0.0/16 or one address"))
}

/// `key=value`; the value may hold more equals signs.
pub fn property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        // The text is not repeated: it may be a password.
        _ => Err("write it as key=value, e.g. security.protocol=SASL_SSL".to_owned()),
    }
}

/// An IANA time zone by name.
pub fn time_zone(text: &str) -> Result<String, String> {
    TimeZone::get(text)
        .map(|_| text.to_owned())
        .map_err(|_| format!("{text:?} is not a time zone: write e.g. UTC or Europe/Berlin"))
}

/// How long ClickHouse keeps rows: `clicks=400d,postbacks=forever`.
pub fn table_retention(text: &str) -> Result<sink::TableRetention, String> {
    sink::TableRetention::parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let check = |text: &str, expected: Option<u64>| {
            let found = duration(text).ok().map(|d| u64::try_from(d.as_millis()).unwrap());
            assert_eq!(found, expected, "{text}");
        };
        check("250ms", Some(250));
        check("10s", Some(10_000));
        check("7d", Some(604_800_000));
        check("0", Some(0));
        for wrong in ["", "s", "10", "-1s", "1.5h", "1 h", "99999999999999999999d", "1200d"] {
            check(wrong, None);
        }
    }

    #[test]
    fn sizes() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(bytes(text).ok(), expected, "{text}");
        };
        check("4096", Some(4096));
        check("64KiB", Some(65_536));
        check("10GB", Some(10_000_000_000));
        for wrong in ["", "GiB", "1.5GiB", "-1", "1gb", "99999999999TiB"] {
            check(wrong, None);
        }
    }

    #[test]
    fn properties_and_zones() {
        assert_eq!(property("a.b=c=d").unwrap(), ("a.b".to_owned(), "c=d".to_owned()));
        assert!(!property("hunter2").unwrap_err().contains("hunter2"));
        assert!(time_zone("Europe/Berlin").is_ok());
        assert!(time_zone("Mars/Olympus").is_err());
    }
}
