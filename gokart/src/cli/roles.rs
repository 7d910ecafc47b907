//! The long-running commands.

use super::flags::{
    ClickHouse, Data, Disk, Domains, EventLog, Keys, Metrics, Retention, RowRetention, Topics,
};
use super::parse;
use clap::Args;
use ipnet::IpNet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Everything on one machine, on the local log and the embedded ClickHouse.
#[derive(Debug, Clone, Args)]
pub struct Up {
    /// Directory (or file) of configuration documents that are applied at start.
    #[arg(long, env = "GOKART_CONFIG", value_name = "DIR")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub data: Data,
    #[command(flatten)]
    pub topics: Topics,
    #[command(flatten)]
    pub retention: Retention,
    #[command(flatten)]
    pub disk: Disk,
    #[command(flatten)]
    pub keys: Keys,
    #[command(flatten)]
    pub domains: Domains,
    #[command(flatten)]
    pub metrics: Metrics,
    #[command(flatten)]
    pub ingest: IngestSettings,
    #[command(flatten)]
    pub processor: ProcessorSettings,
    #[command(flatten)]
    pub sink: SinkSettings,
    #[command(flatten)]
    pub publishers: PublisherSettings,
    #[command(flatten)]
    pub admin: AdminSettings,
    #[command(flatten)]
    pub warehouse: WarehouseSettings,
}

#[derive(Debug, Clone, Args)]
pub struct Ingest {
    #[command(flatten)]
    pub data: Data,
    #[command(flatten)]
    pub log: EventLog,
    #[command(flatten)]
    pub keys: Keys,
    #[command(flatten)]
    pub domains: Domains,
    #[command(flatten)]
    pub metrics: Metrics,
    #[command(flatten)]
    pub ingest: IngestSettings,
}

#[derive(Debug, Clone, Args)]
pub struct Processor {
    #[command(flatten)]
    pub data: Data,
    #[command(flatten)]
    pub log: EventLog,
    #[command(flatten)]
    pub keys: Keys,
    #[command(flatten)]
    pub metrics: Metrics,
    #[command(flatten)]
    pub processor: ProcessorSettings,
}

#[derive(Debug, Clone, Args)]
pub struct Sink {
    #[command(flatten)]
    pub data: Data,
    #[command(flatten)]
    pub log: EventLog,
    #[command(flatten)]
    pub clickhouse: ClickHouse,
    #[command(flatten)]
    pub keys: Keys,
    #[command(flatten)]
    pub metrics: Metrics,
    #[command(flatten)]
    pub sink: SinkSettings,
    #[command(flatten)]
    pub publishers: PublisherSettings,
}

#[derive(Debug, Clone, Args)]
pub struct Admin {
    #[command(flatten)]
    pub data: Data,
    #[command(flatten)]
    pub log: EventLog,
    #[command(flatten)]
    pub clickhouse: ClickHouse,
    #[command(flatten)]
    pub keys: Keys,
    #[command(flatten)]
    pub domains: Domains,
    #[command(flatten)]
    pub metrics: Metrics,
    #[command(flatten)]
    pub admin: AdminSettings,
}

#[derive(Debug, Clone, Args)]
pub struct Warehouse {
    #[command(flatten)]
    pub data: Data,
    #[command(flatten)]
    pub metrics: Metrics,
    #[command(flatten)]
    pub warehouse: WarehouseSettings,
    /// End when standard input is closed: the parent process is gone.
    #[arg(long, env = "GOKART_STOP_WITH_PARENT", hide = true)]
    pub stop_with_parent: bool,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Ingest")]
pub struct IngestSettings {
    /// Where tracking links and postbacks arrive.
    #[arg(long, env = "GOKART_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Speak HTTPS only, with this certificate (PEM: the server's own first, then those up to the
    /// authority). Both files are looked at again every 10 s, so renewing needs no restart.
    #[arg(long, env = "GOKART_TLS_CERTIFICATE", value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// The certificate's key (PEM, without a password).
    #[arg(long, env = "GOKART_TLS_KEY", value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// Postbacks a second that one advertiser may send before it gets 503.
    #[arg(long, env = "GOKART_ADVERTISER_RATE", value_name = "N", default_value_t = 5_000,
        value_parser = clap::value_parser!(u32).range(1..))]
    pub advertiser_rate: u32,
    /// Requests a second without valid credentials that one address may send before it gets 429.
    #[arg(long, env = "GOKART_ADDRESS_RATE", value_name = "N", default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(1..))]
    pub address_rate: u32,
    /// Clicks a second, all together.
    #[arg(long, env = "GOKART_CLICK_RATE", value_name = "N", default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(1..))]
    pub click_rate: u32,
    /// Postbacks being taken at once; beyond it they get 503.
    #[arg(long, env = "GOKART_IN_FLIGHT", value_name = "N", default_value_t = 4_096,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub in_flight: u32,
    /// Clicks being taken at once.
    #[arg(long, env = "GOKART_CLICKS_IN_FLIGHT", value_name = "N", default_value_t = 2_048,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub clicks_in_flight: u32,
    /// Longest wait for the log before a postback gets 503.
    #[arg(long, env = "GOKART_MAX_POSTBACK_WAIT", value_name = "TIME", default_value = "1500ms",
        value_parser = parse::duration)]
    pub max_postback_wait: Duration,
    /// Longest wait for a click's record before the redirect.
    #[arg(long, env = "GOKART_MAX_CLICK_WAIT", value_name = "TIME", default_value = "250ms",
        value_parser = parse::duration)]
    pub max_click_wait: Duration,
    /// Longest gk_click_id in characters.
    #[arg(long, env = "GOKART_CLICK_ID_CHARS", value_name = "N", default_value_t = 150,
        value_parser = clap::value_parser!(u16).range(100..=255))]
    pub click_id_chars: u16,
    /// Header in which a trusted proxy gives the client's address; none: the connection's.
    #[arg(long, env = "GOKART_CLIENT_ADDRESS_HEADER", value_name = "NAME")]
    pub client_address_header: Option<String>,
    /// Header in which a trusted edge gives the user's country (ISO 3166 alpha-2).
    #[arg(long, env = "GOKART_COUNTRY_HEADER", value_name = "NAME")]
    pub country_header: Option<String>,
}

impl IngestSettings {
    /// What the URLs of its listening address begin with.
    pub fn scheme(&self) -> &'static str {
        if self.tls_certificate.is_some() { "https" } else { "http" }
    }
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Processor")]
pub struct ProcessorSettings {
    /// How far an idle partition's clock stays behind the wall clock.
    #[arg(long, env = "GOKART_CLOCK_ALLOWANCE", value_name = "TIME", default_value = "2s",
        value_parser = parse::duration)]
    pub clock_allowance: Duration,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Sink")]
pub struct SinkSettings {
    /// Insert when this many rows have come together, …
    #[arg(long, env = "GOKART_FLUSH_ROWS", value_name = "N", default_value_t = 100_000,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub flush_rows: u32,
    /// … or this many bytes, …
    #[arg(long, env = "GOKART_FLUSH_BYTES", value_name = "SIZE", default_value = "32MiB",
        value_parser = parse::bytes)]
    pub flush_bytes: u64,
    /// … or when the oldest row is this old.
    #[arg(long, env = "GOKART_FLUSH_AGE", value_name = "TIME", default_value = "200ms",
        value_parser = parse::duration)]
    pub flush_age: Duration,
    #[command(flatten)]
    pub rows: RowRetention,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Publisher postbacks")]
pub struct PublisherSettings {
    /// Addresses that publishers' URLs may lead to although they are not public, e.g. 10.1.0.0/16.
    #[arg(
        long = "publisher-allow-address",
        env = "GOKART_PUBLISHER_ALLOW_ADDRESS",
        value_name = "CIDR",
        value_delimiter = ',',
        value_parser = parse::network
    )]
    pub publisher_allow: Vec<IpNet>,
    /// Certificates (PEM) of authorities that are trusted beside the web's.
    #[arg(long, env = "GOKART_PUBLISHER_CA_FILE", value_name = "FILE")]
    pub publisher_ca_file: Option<PathBuf>,
    /// Requests to publishers under way at once.
    #[arg(long, env = "GOKART_PUBLISHER_IN_FLIGHT", value_name = "N", default_value_t = 1_024,
        value_parser = clap::value_parser!(u32).range(2..=65_536))]
    pub publisher_in_flight: u32,
    /// Longest wait for a publisher's answer.
    #[arg(long, env = "GOKART_PUBLISHER_TIMEOUT", value_name = "TIME", default_value = "10s",
        value_parser = parse::duration)]
    pub publisher_timeout: Duration,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Admin")]
pub struct AdminSettings {
    /// Where the admin API listens.
    #[arg(
        long,
        env = "GOKART_ADMIN_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8081"
    )]
    pub admin_listen: SocketAddr,
    /// A further host name under which the admin API may be asked for; loopback names always may.
    #[arg(
        long = "admin-host",
        env = "GOKART_ADMIN_HOST",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub admin_hosts: Vec<String>,
    #[arg(
        long,
        env = "GOKART_ADMIN_TOKEN",
        value_name = "SECRET",
        hide_env_values = true,
        help = "The admin API's token; without one it is made in the data directory"
    )]
    pub admin_token: Option<String>,
    #[arg(
        long,
        env = "GOKART_ADMIN_TOKEN_FILE",
        value_name = "FILE",
        conflicts_with = "admin_token",
        help = "File that holds the admin API's token"
    )]
    pub admin_token_file: Option<PathBuf>,
    /// How links are written: scheme, base domain and port, e.g. `https://example.com`. Default:
    /// https and the first base domain; for `up`, that domain, the port of --listen, and http
    /// without --tls-certificate.
    #[arg(long, env = "GOKART_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,
    /// Longest time that a report's query may take.
    #[arg(long, env = "GOKART_QUERY_TIMEOUT", value_name = "TIME", default_value = "30s",
        value_parser = parse::duration)]
    pub query_timeout: Duration,
    /// Memory that one query of a report may take in ClickHouse.
    #[arg(long, env = "GOKART_QUERY_MEMORY", value_name = "SIZE", default_value = "1GiB",
        value_parser = parse::bytes)]
    pub query_memory: u64,
    /// How long the reader of an export may take nothing before it is cut off.
    #[arg(long, env = "GOKART_READER_STALL", value_name = "TIME", default_value = "60s",
        value_parser = parse::duration)]
    pub reader_stall: Duration,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Warehouse")]
pub struct WarehouseSettings {
    /// Where the embedded ClickHouse listens.
    #[arg(
        long,
        env = "GOKART_WAREHOUSE_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8123"
    )]
    pub warehouse_listen: SocketAddr,
    /// The engine, `libchdb.so`; `make engine` fetches it. Default: where that puts it.
    #[arg(long, env = "GOKART_ENGINE_LIBRARY", value_name = "FILE")]
    pub engine_library: Option<PathBuf>,
    /// A further host name under which it may be asked for; loopback names always may.
    #[arg(
        long = "warehouse-host",
        env = "GOKART_WAREHOUSE_HOST",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub warehouse_hosts: Vec<String>,
    #[arg(
        long,
        env = "GOKART_WAREHOUSE_READ_TOKEN_FILE",
        value_name = "FILE",
        help = "File of a read-only token of your own; else one is made in the data directory"
    )]
    pub warehouse_read_token_file: Option<PathBuf>,
    #[arg(
        long,
        env = "GOKART_WAREHOUSE_WRITE_TOKEN_FILE",
        value_name = "FILE",
        help = "File of a writing token of your own; else one is made in the data directory"
    )]
    pub warehouse_write_token_file: Option<PathBuf>,
    /// Memory that the engine may take.
    #[arg(long, env = "GOKART_WAREHOUSE_MEMORY", value_name = "SIZE", default_value = "2GiB",
        value_parser = parse::bytes)]
    pub warehouse_memory: u64,
}
