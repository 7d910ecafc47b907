//! From what was typed to what the crates are configured with.

use crate::cli::flags;
use crate::cli::roles::{IngestSettings, ProcessorSettings, SinkSettings};
use crate::data_dir::{DataDir, read_secret_file};
use eventlog::local::{LocalConfig, Retention};
use keyring::Keyring;
use processor::ProcessorConfig;
use schemas::UnixMillis;
use service::{Clock, ServiceError};
use sink::{ClickHouseConfig, FlushLimits, SinkConfig};
use std::sync::Arc;
use std::time::Duration;

/// The file of the development master key in the data directory.
const DEVELOPMENT_KEYS: &str = "master.keys";
/// The id of the development master key.
const DEVELOPMENT_KEY_ID: u8 = 1;

/// Saturates: the command line bounds durations far below.
pub fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

pub fn clock(data: &flags::Data) -> Result<Clock, ServiceError> {
    match &data.clock_file {
        None => Ok(Clock::System),
        Some(path) => {
            tracing::warn!("the time comes from {}: this is for tests", path.display());
            Clock::from_file(path.clone())
        }
    }
}

/// The master keys: given, or the development key, which only `up` makes: processes of a cluster
/// that each made their own would not understand each other's clicks.
pub fn keyring(keys: &flags::Keys, development: Option<&DataDir>) -> Result<Keyring, ServiceError> {
    let (text, origin) = match (&keys.master_keys, &keys.master_key_file, development) {
        (Some(text), _, _) => (text.clone(), "GOKART_MASTER_KEYS".to_owned()),
        (None, Some(path), _) => {
            (read_secret_file(path, "--master-key-file")?, path.display().to_string())
        }
        (None, None, Some(data)) => {
            let made = data.secret(DEVELOPMENT_KEYS, || {
                Keyring::generate(DEVELOPMENT_KEY_ID)
                    .map_err(|error| ServiceError::Failed(error.to_string()))
            })?;
            let path = data.join(DEVELOPMENT_KEYS);
            if made.is_new {
                tracing::warn!(
                    "made a development master key in {}; give your own with --master-key-file before real traffic, for links and postback URLs depend on it",
                    path.display()
                );
            }
            (made.value, path.display().to_string())
        }
        (None, None, None) => {
            return Err(ServiceError::Configuration(
                "there are no master keys; give the same ones to every process with --master-key-file or GOKART_MASTER_KEYS".to_owned(),
            ));
        }
    };
    Keyring::parse(&text)
        .map_err(|error| ServiceError::Configuration(format!("the master keys in {origin}: {error}")))
}

pub fn local_log(up: &crate::cli::roles::Up, data: &DataDir, clock: &Clock) -> LocalConfig {
    let mut config = LocalConfig::new(data.join("log"), up.topics.partitions);
    config.fsync = up.disk.fsync == flags::Switch::On;
    config.min_free_disk_bytes = up.disk.min_free_disk;
    let main = Retention {
        age_ms: ms(up.retention.retention_age),
        bytes: up.retention.retention_bytes,
    };
    config.retention.postbacks = main;
    config.retention.decisions = main;
    config.retention.clicks = Retention {
        age_ms: ms(up.retention.click_retention_age),
        bytes: up.retention.click_retention_bytes,
    };
    let clock = clock.clone();
    config.now = Arc::new(move || UnixMillis(clock.now()));
    config
}

pub fn processor(settings: &ProcessorSettings) -> ProcessorConfig {
    ProcessorConfig { clock_allowance_ms: ms(settings.clock_allowance) }
}

pub fn clickhouse(settings: &flags::ClickHouse) -> Result<ClickHouseConfig, ServiceError> {
    let mut config = ClickHouseConfig::new(&settings.clickhouse);
    config.user = Some(settings.clickhouse_user.clone());
    config.password = match (&settings.clickhouse_token, &settings.clickhouse_token_file) {
        (Some(token), _) => Some(token.clone()),
        (None, Some(path)) => Some(read_secret_file(path, "--clickhouse-token-file")?),
        (None, None) => None,
    };
    config.cluster = settings.clickhouse_cluster.clone();
    Ok(config)
}

pub fn sink(settings: &SinkSettings, clickhouse: ClickHouseConfig) -> SinkConfig {
    let mut config = SinkConfig::new(clickhouse);
    config.limits = FlushLimits {
        rows: settings.flush_rows as usize,
        bytes: usize::try_from(settings.flush_bytes).unwrap_or(usize::MAX),
        age_ms: ms(settings.flush_age),
    };
    config
}
