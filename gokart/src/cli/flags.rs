//! Groups of settings that several roles share.

use super::kafka::Kafka;
use super::parse;
use clap::{Args, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What is logged unless somebody says otherwise.
pub const LOG_FILTER: &str = "info,fjall=warn,lsm_tree=warn";

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logging")]
pub struct Logging {
    /// How log lines are written on standard error.
    #[arg(long, global = true, env = "GOKART_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// What is logged, e.g. `info` or `warn,ingest=debug`.
    #[arg(
        long,
        global = true,
        env = "GOKART_LOG_FILTER",
        default_value = LOG_FILTER
    )]
    pub log_filter: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// Where this process keeps what is its own.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Data")]
pub struct Data {
    /// Directory of this installation: the local log, state, tokens, the development key.
    #[arg(long, env = "GOKART_DATA", value_name = "DIR", default_value = ".gokart")]
    pub data: PathBuf,
    /// Take the time from a file of milliseconds since 1970 (tests).
    #[arg(long, env = "GOKART_CLOCK_FILE", value_name = "FILE", hide = true)]
    pub clock_file: Option<PathBuf>,
}

/// The topics, as they are when they are created and as they are checked at every start.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Event log")]
pub struct Topics {
    /// Partitions of postbacks, clicks and decisions. Fixed when the topics are made.
    #[arg(long, env = "GOKART_PARTITIONS", value_name = "N", default_value_t = 12,
        value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub partitions: u32,
}

/// An event log on Kafka, or the local one.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Event log")]
pub struct EventLog {
    /// `kafka://host:port,host:port`, or `local` (one process only: `gokart up`).
    #[arg(long, env = "GOKART_LOG", value_name = "URL", default_value = "local")]
    pub log: String,
    /// Put before every topic's name, e.g. `gokart.`.
    #[arg(long, env = "GOKART_TOPIC_PREFIX", value_name = "TEXT", default_value = "")]
    pub topic_prefix: String,
    /// Copies of every topic on Kafka; those that are there must have as many.
    #[arg(long, env = "GOKART_REPLICATION", value_name = "N", default_value_t = 3,
        value_parser = clap::value_parser!(u16).range(1..=15))]
    pub replication: u16,
    #[command(flatten)]
    pub kafka: Kafka,
    #[command(flatten)]
    pub topics: Topics,
    #[command(flatten)]
    pub retention: TopicRetention,
}

/// How long topics on Kafka keep records. Sizes are the brokers' own affair.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Event log")]
pub struct TopicRetention {
    /// Keep records this long, read or not; topics that are there must keep them as long.
    #[arg(long, env = "GOKART_RETENTION_AGE", value_name = "TIME", default_value = "7d",
        value_parser = parse::duration)]
    pub retention_age: Duration,
}

/// How long the local log keeps records, and what it may take of the disk.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Event log")]
pub struct Retention {
    /// Keep postbacks and decisions this long (never past a consumer that has not read them).
    #[arg(long, env = "GOKART_RETENTION_AGE", value_name = "TIME", default_value = "7d",
        value_parser = parse::duration)]
    pub retention_age: Duration,
    /// Keep at most this much of postbacks and of decisions.
    #[arg(long, env = "GOKART_RETENTION_BYTES", value_name = "SIZE", default_value = "20GiB",
        value_parser = parse::bytes)]
    pub retention_bytes: u64,
    /// Keep click records this long.
    #[arg(long, env = "GOKART_CLICK_RETENTION_AGE", value_name = "TIME", default_value = "3d",
        value_parser = parse::duration)]
    pub click_retention_age: Duration,
    /// Click records may take this much, so that a flood of them leaves room for postbacks.
    #[arg(long, env = "GOKART_CLICK_RETENTION_BYTES", value_name = "SIZE", default_value = "10GiB",
        value_parser = parse::bytes)]
    pub click_retention_bytes: u64,
}

/// How the local log treats the disk.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Event log")]
pub struct Disk {
    /// Answer 503 rather than fill the disk beyond this.
    #[arg(long, env = "GOKART_MIN_FREE_DISK", value_name = "SIZE", default_value = "1GiB",
        value_parser = parse::bytes)]
    pub min_free_disk: u64,
    /// Sync every commit of the local log to the disk. `off` survives a crash of the process, not
    /// of the machine.
    #[arg(long, env = "GOKART_FSYNC", value_enum, default_value = "on")]
    pub fsync: Switch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    On,
    Off,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "ClickHouse")]
pub struct ClickHouse {
    /// ClickHouse's HTTP interface.
    #[arg(
        long,
        env = "GOKART_CLICKHOUSE",
        value_name = "URL",
        default_value = "http://127.0.0.1:8123"
    )]
    pub clickhouse: String,
    #[arg(
        long,
        env = "GOKART_CLICKHOUSE_USER",
        value_name = "NAME",
        default_value = "default",
        help = "ClickHouse user"
    )]
    pub clickhouse_user: String,
    #[arg(
        long,
        env = "GOKART_CLICKHOUSE_TOKEN",
        value_name = "SECRET",
        hide_env_values = true,
        help = "Password or token of the ClickHouse user; rather give it as a file"
    )]
    pub clickhouse_token: Option<String>,
    #[arg(
        long,
        env = "GOKART_CLICKHOUSE_TOKEN_FILE",
        value_name = "FILE",
        conflicts_with = "clickhouse_token",
        help = "File that holds the password or token of the ClickHouse user"
    )]
    pub clickhouse_token_file: Option<PathBuf>,
    /// Name of the replicated ClickHouse cluster whose tables are made; none: one node.
    #[arg(long, env = "GOKART_CLICKHOUSE_CLUSTER", value_name = "NAME")]
    pub clickhouse_cluster: Option<String>,
}

/// How long ClickHouse keeps rows.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "ClickHouse")]
pub struct RowRetention {
    /// How long ClickHouse keeps the rows of clicks, postbacks, conversions, refused, dead_letters
    /// and commands, in days or `forever`. Not named: clicks and postbacks 400d, refused and
    /// dead_letters 90d, the others forever.
    #[arg(long, env = "GOKART_TABLE_RETENTION", value_name = "TABLE=TIME,…", default_value = "",
        hide_default_value = true, value_parser = parse::table_retention)]
    pub table_retention: sink::TableRetention,
}

/// The master keys from which credentials and click ids are derived.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Keys")]
pub struct Keys {
    /// File of master keys, one a line. Without one, `up` makes a development key in the data
    /// directory; the roles of a cluster do not start.
    #[arg(long, env = "GOKART_MASTER_KEY_FILE", value_name = "FILE")]
    pub master_key_file: Option<PathBuf>,
    /// The master keys themselves; meant for the environment variable, not the command line.
    #[arg(
        long,
        env = "GOKART_MASTER_KEYS",
        value_name = "LINES",
        hide_env_values = true,
        conflicts_with = "master_key_file"
    )]
    pub master_keys: Option<String>,
}

impl Keys {
    /// Whether there are any of the user's own.
    pub fn is_given(&self) -> bool {
        self.master_key_file.is_some() || self.master_keys.is_some()
    }
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Listening")]
pub struct Metrics {
    /// Where /metrics, /healthz and /readyz are.
    #[arg(
        long,
        env = "GOKART_METRICS_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9090"
    )]
    pub metrics_listen: SocketAddr,
}

/// How the outside world names us.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Domains")]
pub struct Domains {
    /// A tenant is `api.<tenant>.<base domain>`; repeat it or separate several by commas.
    #[arg(long = "base-domain", env = "GOKART_BASE_DOMAIN", value_name = "DOMAIN",
        value_delimiter = ',', default_values = ["localhost", "getgokart.ai"])]
    pub base_domains: Vec<String>,
}
