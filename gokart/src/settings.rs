//! From what was typed to what the crates are configured with.

use crate::cli::flags;
use crate::cli::roles::{
    AdminSettings, IngestSettings, ProcessorSettings, PublisherSettings, SinkSettings,
    WarehouseSettings,
};
use crate::data_dir::{DataDir, read_secret_file};
use admin::AdminConfig;
use eventlog::local::{LocalConfig, Retention};
use ingest::{IngestConfig, Rate};
use keyring::Keyring;
use processor::ProcessorConfig;
use schemas::UnixMillis;
use service::{Clock, ServiceError, TlsFiles};
use sink::{ClickHouseConfig, DelivererConfig, FlushLimits, SinkConfig};
use std::path::{Path, PathBuf};
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
    Keyring::parse(&text).map_err(|error| {
        ServiceError::Configuration(format!("the master keys in {origin}: {error}"))
    })
}

pub fn local_log(up: &crate::cli::roles::Up, data: &DataDir, clock: &Clock) -> LocalConfig {
    let mut config = LocalConfig::new(data.join("log"), up.topics.partitions);
    config.fsync = up.disk.fsync == flags::Switch::On;
    config.min_free_disk_bytes = up.disk.min_free_disk;
    let main =
        Retention { age_ms: ms(up.retention.retention_age), bytes: up.retention.retention_bytes };
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

pub fn sink(settings: &SinkSettings, mut clickhouse: ClickHouseConfig) -> SinkConfig {
    clickhouse.retention = settings.rows.table_retention.clone();
    let mut config = SinkConfig::new(clickhouse);
    config.limits = FlushLimits {
        rows: settings.flush_rows as usize,
        bytes: usize::try_from(settings.flush_bytes).unwrap_or(usize::MAX),
        age_ms: ms(settings.flush_age),
    };
    config
}

// What `/readyz` of each role waits for. A role gets its flag when the process begins: one that named
// its condition only after Kafka's was met could be asked in between, and would be called ready.
pub const INGEST_READY: &str = "ingest: configuration read and listening";
pub const ADMIN_READY: &str = "admin: configuration read";
pub const PROCESSOR_READY: &str = "processor: configuration read and group joined";
pub const SINK_READY: &str = "sink: tables ready and group joined";
pub const DELIVERER_READY: &str = "deliverer: configuration read and group joined";

pub fn deliverer(settings: &PublisherSettings) -> DelivererConfig {
    DelivererConfig {
        allow: settings.publisher_allow.clone(),
        ca_file: settings.publisher_ca_file.clone(),
        in_flight: settings.publisher_in_flight as usize,
        answer_timeout: settings.publisher_timeout,
        ..DelivererConfig::default()
    }
}

pub fn ingest(settings: &IngestSettings, domains: &flags::Domains) -> IngestConfig {
    // As many at once after a quiet time as in a second.
    let rate = |per_second| Rate { per_second, burst: per_second };
    IngestConfig {
        listen: settings.listen,
        // Clap gives both or none.
        tls: settings
            .tls_certificate
            .clone()
            .zip(settings.tls_key.clone())
            .map(|(certificate, key)| TlsFiles { certificate, key }),
        base_domains: domains.base_domains.clone(),
        country_header: settings.country_header.clone(),
        client_address_header: settings.client_address_header.clone(),
        token_chars: usize::from(settings.click_id_chars),
        answer_timeout: settings.max_postback_wait,
        click_record_wait: settings.max_click_wait,
        postbacks_in_flight: settings.in_flight as usize,
        clicks_in_flight: settings.clicks_in_flight as usize,
        advertiser_rate: rate(settings.advertiser_rate),
        unauthenticated_rate: rate(settings.address_rate),
        click_rate: rate(settings.click_rate),
        ..IngestConfig::default()
    }
}

/// The embedded ClickHouse's two tokens.
pub struct WarehouseTokens {
    pub read: String,
    pub write: String,
}

/// The user's own, or those in the data directory, made on first run.
pub fn warehouse_tokens(
    settings: &WarehouseSettings,
    data: &DataDir,
) -> Result<WarehouseTokens, ServiceError> {
    let token = |own: &Option<PathBuf>, flag: &str, name: &str| match own {
        Some(path) => read_secret_file(path, flag),
        None => data.token(name),
    };
    Ok(WarehouseTokens {
        read: token(
            &settings.warehouse_read_token_file,
            "--warehouse-read-token-file",
            "warehouse-read.token",
        )?,
        write: token(
            &settings.warehouse_write_token_file,
            "--warehouse-write-token-file",
            "warehouse-write.token",
        )?,
    })
}

/// The file name of the engine.
const ENGINE: &str = "libchdb.so";

/// The engine that was named, or the one that `make engine` or a package has put beside us.
pub fn engine_library(given: Option<&Path>) -> Result<PathBuf, ServiceError> {
    if let Some(path) = given {
        return Ok(path.to_owned());
    }
    // target/<profile>/gokart → target/chdb/<version>/
    let built =
        std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.parent()?.join("chdb")));
    let caches = built.into_iter().chain([PathBuf::from("target/chdb")]);
    let versions = caches.flat_map(|cache| {
        let mut found: Vec<PathBuf> = std::fs::read_dir(cache)
            .map(|entries| entries.flatten().map(|entry| entry.path().join(ENGINE)).collect())
            .unwrap_or_default();
        found.sort();
        found.into_iter().rev()
    });
    let installed =
        ["/usr/local/lib/gokart", "/usr/lib/gokart"].map(|dir| Path::new(dir).join(ENGINE));
    let mut places = versions.chain(installed);
    places.find(|path| path.is_file()).ok_or_else(|| {
        ServiceError::Failed(format!(
            "the ClickHouse engine {ENGINE} is not in target/chdb nor in /usr/local/lib/gokart; fetch it with `make engine`, or name it with --engine-library"
        ))
    })
}

/// The file of the admin API's token in the data directory.
pub const ADMIN_TOKEN: &str = "admin.token";

/// The admin API. `local_url` is how links are written when the user says nothing.
pub fn admin(
    settings: &AdminSettings,
    domains: &flags::Domains,
    clickhouse: ClickHouseConfig,
    data: &DataDir,
    local_url: Option<String>,
) -> Result<AdminConfig, ServiceError> {
    let chosen = match (&settings.admin_token, &settings.admin_token_file) {
        (Some(token), _) => Some(token.clone()),
        (None, Some(path)) => Some(read_secret_file(path, "--admin-token-file")?),
        (None, None) => None,
    };
    let first_domain = domains.base_domains.first().map_or("localhost", String::as_str);
    let public_url = settings.public_url.clone().or(local_url);
    Ok(AdminConfig {
        listen: settings.admin_listen,
        host_names: settings.admin_hosts.clone(),
        token_chosen: chosen.is_some(),
        token: match chosen {
            Some(token) => token,
            None => data.token(ADMIN_TOKEN)?,
        },
        clickhouse: admin::ClickHouse {
            url: clickhouse.url,
            user: clickhouse.user,
            password: clickhouse.password,
            database: clickhouse.database,
        },
        public_url: public_url.unwrap_or_else(|| format!("https://{first_domain}")),
        limits: admin::QueryLimits {
            timeout: settings.query_timeout,
            memory_bytes: settings.query_memory,
            stall: settings.reader_stall,
        },
    })
}
