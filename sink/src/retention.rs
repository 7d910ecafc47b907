//! How long ClickHouse keeps the rows of each table: from what was typed to the tables' `TTL`.
//!
//! Where a table has partitions, whole parts are dropped once their last row has expired, so rows
//! are kept for at least the time given and at most a month longer; rewriting parts day by day
//! would cost more than the month.

use schemas::sql::{KEEPING, Keeping};
use std::collections::BTreeMap;
use std::fmt;

/// Longest retention in days. ClickHouse counts the end of a row's life in 32 bits of seconds, to
/// February 2106: a longer one would wrap around, and rows would go at once.
const DAYS_MAX: u32 = 14_600;
/// Until when rows may be written, in days since 1970: the end of 2060.
const LAST_DAY: u32 = 33_237;
const _: () = assert!((LAST_DAY + DAYS_MAX) as u64 * 86_400 < u32::MAX as u64);

/// Days for each name in [`KEEPING`]; `None`: for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRetention {
    days: BTreeMap<&'static str, Option<u32>>,
}

impl Default for TableRetention {
    fn default() -> Self {
        Self { days: KEEPING.iter().map(|keeping| (keeping.name, keeping.default_days)).collect() }
    }
}

impl TableRetention {
    /// Reads `clicks=400d,postbacks=forever`; what is not named keeps its default.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut retention = Self::default();
        let mut named = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let Some((name, value)) = part.split_once('=') else {
                return Err(format!("{part:?}: write TABLE=400d or TABLE=forever"));
            };
            let (name, value) = (name.trim(), value.trim());
            let Some(keeping) = KEEPING.iter().find(|keeping| keeping.name == name) else {
                let known: Vec<&str> = KEEPING.iter().map(|keeping| keeping.name).collect();
                return Err(format!("{name:?} is not one of {}", known.join(", ")));
            };
            if named.contains(&keeping.name) {
                return Err(format!("{name} is named twice"));
            }
            named.push(keeping.name);
            retention.days.insert(keeping.name, days(keeping, value)?);
        }
        Ok(retention)
    }

    /// The statements that bring tables to this, given each table's `engine_full` as ClickHouse
    /// tells it; none for a table that is so already.
    #[must_use]
    pub fn statements(&self, engines: &BTreeMap<String, String>, on_cluster: &str) -> Vec<String> {
        let mut statements = Vec::new();
        for keeping in KEEPING {
            for table in keeping.tables {
                let Some(engine) = engines.get(*table) else { continue };
                let ttl = self.days.get(keeping.name).copied().flatten().map(|days| {
                    format!("toDateTime({}) + toIntervalDay({days})", keeping.time_column)
                });
                match ttl {
                    Some(ttl) if !engine.contains(&format!(" TTL {ttl}")) => {
                        if keeping.is_partitioned {
                            statements.push(format!(
                                "ALTER TABLE {table}{on_cluster} MODIFY SETTING ttl_only_drop_parts = 1"
                            ));
                        }
                        statements
                            .push(format!("ALTER TABLE {table}{on_cluster} MODIFY TTL {ttl}"));
                    }
                    None if engine.contains(" TTL ") => {
                        statements.push(format!("ALTER TABLE {table}{on_cluster} REMOVE TTL"));
                    }
                    _ => {}
                }
            }
        }
        statements
    }
}

impl fmt::Display for TableRetention {
    /// As it is typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, days)) in self.days.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match days {
                Some(days) => write!(f, "{comma}{name}={days}d")?,
                None => write!(f, "{comma}{name}=forever")?,
            }
        }
        Ok(())
    }
}

fn days(keeping: &Keeping, value: &str) -> Result<Option<u32>, String> {
    if value == "forever" {
        return Ok(None);
    }
    let days = value.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    let Some(days) = days else {
        return Err(format!(
            "{}: {value:?} is not a number of days: write 400d or forever",
            keeping.name
        ));
    };
    let least = keeping.least_days;
    if !(least..=DAYS_MAX).contains(&days) {
        return Err(format!("{}: {days}d is not between {least}d and {DAYS_MAX}d", keeping.name));
    }
    Ok(Some(days))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_typed() {
        let default = TableRetention::default();
        assert_eq!(TableRetention::parse("").as_ref(), Ok(&default));
        assert_eq!(TableRetention::parse(&default.to_string()).as_ref(), Ok(&default));
        let some = TableRetention::parse(" clicks=30d, postbacks=forever ").unwrap();
        assert_eq!((some.days["clicks"], some.days["postbacks"]), (Some(30), None));
        for (wrong, told) in [
            ("clicks", "write TABLE=400d"),
            ("clicks=30", "not a number of days"),
            ("clicks=0d", "not between 1d"),
            ("clicks=36500d", "and 14600d"),
            ("clicks=-1d", "not a number"),
            ("clicks=99999999999d", "not a number"),
            ("click=30d", "is not one of clicks"),
            ("clicks=30d,clicks=40d", "twice"),
            // Statements need them, and a reversal must find its conversion.
            ("conversions=30d", "not between 400d"),
        ] {
            let error = TableRetention::parse(wrong).unwrap_err();
            assert!(error.contains(told), "{wrong}: {error}");
        }
    }

    #[test]
    fn money_never_expires_unless_somebody_says_so() {
        let default = TableRetention::default();
        assert_eq!((default.days["conversions"], default.days["commands"]), (None, None));
    }

    #[test]
    fn only_what_differs_is_changed() {
        let engines = |ttl: &str| {
            let engine = |table: &&str| {
                ((*table).to_owned(), format!("ReplacingMergeTree ORDER BY x{ttl} SETTINGS a = 1"))
            };
            ["clicks", "conversions", "conversions_latest"].iter().map(engine).collect()
        };
        let kept = |text: &str, ttl: &str| {
            TableRetention::parse(text).unwrap().statements(&engines(ttl), " ON CLUSTER 'c'")
        };
        assert_eq!(
            kept("clicks=30d", ""),
            [
                "ALTER TABLE clicks ON CLUSTER 'c' MODIFY SETTING ttl_only_drop_parts = 1",
                "ALTER TABLE clicks ON CLUSTER 'c' MODIFY TTL toDateTime(clicked_at) + toIntervalDay(30)",
            ]
        );
        let ttl = " TTL toDateTime(clicked_at) + toIntervalDay(30)";
        assert_eq!(
            kept("clicks=30d", ttl),
            ["conversions", "conversions_latest"]
                .map(|t| format!("ALTER TABLE {t} ON CLUSTER 'c' REMOVE TTL"))
        );
        assert_eq!(kept("clicks=forever", ttl).len(), 3);
    }
}
