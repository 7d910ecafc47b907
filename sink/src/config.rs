//! Where ClickHouse is, and how much goes there at once.

use crate::error::Error;
use crate::retention::TableRetention;
use std::fmt;
use std::time::Duration;

/// The database that people and tools outside know.
pub const DATABASE: &str = "gokart";

/// How to reach ClickHouse.
#[derive(Clone, PartialEq, Eq)]
pub struct ClickHouseConfig {
    /// `http://host:port`, without credentials.
    pub url: String,
    /// `None`: the server's default user.
    pub user: Option<String>,
    pub password: Option<String>,
    pub database: String,
    /// The cluster to create the tables on, replicated; `None`: on this one node.
    pub cluster: Option<String>,
    /// How long rows are kept.
    pub retention: TableRetention,
    /// Sends rows as LZ4: worth it over a network, not on one machine.
    pub compress: bool,
}

impl ClickHouseConfig {
    /// One node, the usual database, no credentials.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            user: None,
            password: None,
            database: DATABASE.to_owned(),
            cluster: None,
            retention: TableRetention::default(),
            compress: false,
        }
    }

    /// Checks what ends up inside statements and what the client would only complain of later.
    pub fn validate(&self) -> Result<(), Error> {
        let wrong = |text: String| Err(Error::Configuration(text));
        match url::Url::parse(&self.url) {
            Ok(url) if url.scheme() != "http" => {
                return wrong(format!(
                    "the ClickHouse address must begin with http://, not {}://",
                    url.scheme()
                ));
            }
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                return wrong(
                    "the ClickHouse address must not hold credentials; give user and password on their own"
                        .to_owned(),
                );
            }
            Ok(_) => {}
            Err(error) => {
                return wrong(format!(
                    "the ClickHouse address is not a URL like http://127.0.0.1:8123: {error}"
                ));
            }
        }
        for (what, name) in [("database", Some(&self.database)), ("cluster", self.cluster.as_ref())]
        {
            if name.is_some_and(|name| !is_name(name)) {
                return wrong(format!(
                    "the ClickHouse {what} must be 1 to 64 letters, digits, '_' or '-', beginning with a letter or '_'"
                ));
            }
        }
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

impl fmt::Debug for ClickHouseConfig {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClickHouseConfig")
            .field("url", &self.url)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("database", &self.database)
            .field("cluster", &self.cluster)
            .field("retention", &self.retention)
            .field("compress", &self.compress)
            .finish()
    }
}

/// When what has been read is inserted: at whichever limit comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlushLimits {
    /// Rows of all tables together.
    pub rows: usize,
    /// Bytes of the records as they stand in the log.
    pub bytes: usize,
    /// Since the first record of the plan was read.
    pub age_ms: i64,
}

impl Default for FlushLimits {
    fn default() -> Self {
        Self { rows: 100_000, bytes: 32 * 1024 * 1024, age_ms: 200 }
    }
}

/// ClickHouse cuts an insert into blocks of this many rows (1,048,449 by default), and each block
/// is deduplicated on its own; a plan must stay one block, whatever order its rows come in.
pub const BLOCK_ROWS_MAX: usize = 1_000_000;
/// One read of a partition brings at most this many records, so a plan passes its limit by at
/// most one read.
pub const READ_RECORDS_MAX: usize = 20_000;
/// Rows a plan may have: as many reads' records may each make several rows.
pub const PLAN_ROWS_MAX: usize = 400_000;
const _: () = assert!(PLAN_ROWS_MAX + 4 * READ_RECORDS_MAX < BLOCK_ROWS_MAX);

/// Everything the sink is told.
#[derive(Debug, Clone)]
pub struct SinkConfig {
    pub clickhouse: ClickHouseConfig,
    pub limits: FlushLimits,
    /// How long a start waits for ClickHouse before it gives up. Once running, it waits for ever.
    pub start_timeout: Duration,
    /// How long a flush that is under way may go on after the signal to stop.
    pub drain_timeout: Duration,
}

impl SinkConfig {
    #[must_use]
    pub fn new(clickhouse: ClickHouseConfig) -> Self {
        Self {
            clickhouse,
            limits: FlushLimits::default(),
            start_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
        }
    }

    pub fn validate(&self) -> Result<(), Error> {
        self.clickhouse.validate()?;
        let FlushLimits { rows, bytes, age_ms } = self.limits;
        if !(1..=PLAN_ROWS_MAX).contains(&rows) || bytes == 0 || !(1..=60_000).contains(&age_ms) {
            return Err(Error::Configuration(format!(
                "the sink's limits must be 1 to {PLAN_ROWS_MAX} rows, at least 1 byte and 1 to 60000 ms, not {rows}, {bytes} and {age_ms}"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl Fn(&mut ClickHouseConfig), good: bool) {
        let mut config = ClickHouseConfig::new("http://127.0.0.1:8123");
        change(&mut config);
        assert_eq!(config.validate().is_ok(), good, "{config:?}");
    }

    #[test]
    fn what_is_a_usable_address() {
        check(|_| {}, true);
        check(|c| c.url = "127.0.0.1:8123".to_owned(), false);
        check(|c| c.url = "https://host:8443".to_owned(), false);
        check(|c| c.url = "http://me:secret@host:8123".to_owned(), false);
        check(|c| c.database = "a b".to_owned(), false);
        check(|c| c.cluster = Some("main-1".to_owned()), true);
        check(|c| c.cluster = Some("x' ENGINE".to_owned()), false);
    }

    #[test]
    fn passwords_are_not_printed() {
        let mut config = ClickHouseConfig::new("http://127.0.0.1:8123");
        config.password = Some("canary".to_owned());
        assert!(!format!("{:?}", SinkConfig::new(config)).contains("canary"));
    }
}
