//! The commands that do one thing and end. All but `migrate` talk to the admin API.

use super::flags::{ClickHouse, RowRetention};
use super::parse;
use super::reports::{Export, Report, Traffic, Whose};
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub enum Ask {
    /// Put configuration documents in force: all of them, or none.
    #[command(after_long_help = "Example:\n  gokart apply examples\n  \
        gokart apply --dry-run offer.yaml share.yaml")]
    Apply(Apply),
    /// Show an advertiser's postback URL and its credentials.
    #[command(after_long_help = "Example:\n  \
        gokart postback-url --advertiser brain-games --reveal")]
    PostbackUrl(PostbackUrl),
    /// Show a publisher's tracking link for an offer.
    #[command(after_long_help = "Example:\n  \
        gokart tracking-link --offer pet-the-dogs-ios --publisher acme-rewards --test")]
    TrackingLink(TrackingLink),
    /// Reports: funnel, cohorts, performance, money, rejections and more.
    #[command(
        subcommand,
        after_long_help = "Example:\n  \
        gokart report funnel --offer pet-the-dogs-ios --by publisher"
    )]
    Report(Report),
    /// Write all clicks, conversions or postbacks to a file: CSV, JSON lines or Parquet.
    #[command(after_long_help = "Example:\n  gokart export conversions --from 2026-10-01 \
        --to 2026-10-31 --out october.parquet\n  \
        gokart export clicks --offer pet-the-dogs-ios --file-format jsonl")]
    Export(Box<Export>),
    /// Tell the whole story of a click, a postback or a conversion, in words.
    #[command(after_long_help = "Example:\n  \
        gokart explain 01890a5d-ac96-774b-bcce-b302099a8057")]
    Explain(Explain),
    /// Make a conversion a Success by hand.
    #[command(after_long_help = "Example:\n  \
        gokart approve pet-the-dogs-ios.0123456789abcdefghjkmnpqrs --reason \"checked with Acme\"")]
    Approve(Approve),
    /// Make a conversion Rejected by hand.
    #[command(after_long_help = "Example:\n  \
        gokart reject pet-the-dogs-ios.0123456789abcdefghjkmnpqrs --reason \"fraud, ticket 17\"")]
    Reject(Reject),
    /// List what publishers were told, or send it again.
    #[command(after_long_help = "Example:\n  gokart deliveries --publisher acme-rewards \
        --outcome failed\n  gokart deliveries --publisher acme-rewards --outcome failed --resend")]
    Deliveries(Deliveries),
    /// Show a publisher's postbacks and their secret, or try them.
    #[command(after_long_help = "Example:\n  \
        gokart publisher-postback --publisher acme-rewards --test")]
    PublisherPostback(PublisherPostback),
    /// Put stored postbacks that were refused back for decision, as of when they were received.
    #[command(after_long_help = "Example:\n  \
        gokart redecide --refusal UNKNOWN_EVENT --offer pet-the-dogs-ios --from 2026-11-21\n  \
        gokart redecide --refusal UNKNOWN_EVENT --offer pet-the-dogs-ios --from 2026-11-21 \
        --apply --reason \"the event was renamed on Friday\"")]
    Redecide(Redecide),
    /// List requests whose credentials did not match, redacted.
    #[command(after_long_help = "Example:\n  gokart refused --tenant brownboots --limit 20")]
    Refused(Refused),
    /// Take what is personal about some clicks out of all tables; money stays as it is.
    #[command(after_long_help = "Example:\n  \
        gokart erase --sub1 user-4711 --by \"privacy desk\" --reason \"the user asked for it\"")]
    Erase(Box<Erase>),
    /// Bring ClickHouse's tables up to date.
    #[command(after_long_help = "Example:\n  gokart migrate --clickhouse http://clickhouse:8123 \
        --table-retention clicks=180d,postbacks=forever")]
    Migrate(Migrate),
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(false))]
pub struct Erase {
    /// The click with this id.
    #[arg(
        long,
        env = "GOKART_CLICK",
        value_name = "GK_CLICK_ID",
        hide_env_values = true,
        group = "what"
    )]
    pub click: Option<String>,
    #[command(flatten)]
    pub subs: SubIds,
    /// Who asks for it; kept.
    #[arg(long, env = "GOKART_BY", value_name = "TEXT")]
    pub by: String,
    /// Why; kept.
    #[arg(long, env = "GOKART_REASON", value_name = "TEXT")]
    pub reason: String,
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub output: Output,
}

macro_rules! sub_ids {
    ($($number:literal $name:ident $variable:literal,)*) => {
        /// One flag for each sub-id.
        #[derive(Debug, Args)]
        pub struct SubIds {
            $(
                #[doc = concat!("Every click up to now with this ", stringify!($name), ".")]
                #[arg(long, env = $variable, value_name = "VALUE", hide_env_values = true, group = "what")]
                pub $name: Option<String>,
            )*
        }

        impl SubIds {
            /// The one that was given, with its number.
            pub fn given(&self) -> Option<(u8, &str)> {
                [$(($number, &self.$name),)*]
                    .into_iter()
                    .find_map(|(number, value)| Some((number, value.as_deref()?)))
            }
        }
    };
}

sub_ids! {
    1 sub1 "GOKART_SUB1",
    2 sub2 "GOKART_SUB2",
    3 sub3 "GOKART_SUB3",
    4 sub4 "GOKART_SUB4",
    5 sub5 "GOKART_SUB5",
    6 sub6 "GOKART_SUB6",
    7 sub7 "GOKART_SUB7",
    8 sub8 "GOKART_SUB8",
    9 sub9 "GOKART_SUB9",
    10 sub10 "GOKART_SUB10",
    11 sub11 "GOKART_SUB11",
    12 sub12 "GOKART_SUB12",
    13 sub13 "GOKART_SUB13",
    14 sub14 "GOKART_SUB14",
    15 sub15 "GOKART_SUB15",
}

/// How to reach the admin API.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// The admin API.
    #[arg(long, env = "GOKART_ADMIN", value_name = "URL", default_value = "http://127.0.0.1:8081")]
    pub admin: String,
    #[arg(
        long,
        env = "GOKART_ADMIN_TOKEN",
        value_name = "SECRET",
        hide_env_values = true,
        help = "The admin API's token; without one it is read from the data directory"
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
    /// Data directory in which the token is looked for.
    #[arg(long, env = "GOKART_DATA", value_name = "DIR", default_value = ".gokart")]
    pub data: PathBuf,
    /// Longest time to wait for an answer.
    #[arg(long, env = "GOKART_TIMEOUT", value_name = "TIME", default_value = "60s",
        value_parser = parse::duration)]
    pub timeout: Duration,
}

/// How results are printed.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub struct Output {
    /// `table` to read, `json` and `csv` to go on working with.
    #[arg(long, env = "GOKART_FORMAT", value_enum, default_value = "table")]
    pub format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Json,
    Csv,
}

/// Which stretch of time.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Time")]
pub struct Period {
    /// First day, or RFC 3339 time, that is in it.
    #[arg(long, env = "GOKART_FROM", value_name = "DATE")]
    pub from: Option<String>,
    /// Last day that is in it, or RFC 3339 time that no longer is.
    #[arg(long, env = "GOKART_TO", value_name = "DATE")]
    pub to: Option<String>,
    /// Time zone of days; the tenant's unless given.
    #[arg(long, env = "GOKART_TZ", value_name = "ZONE", value_parser = parse::time_zone)]
    pub tz: Option<String>,
}

#[derive(Debug, Args)]
pub struct Apply {
    /// YAML or JSON files, or directories of them.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Check everything and say what would change, but change nothing.
    #[arg(long, env = "GOKART_DRY_RUN")]
    pub dry_run: bool,
    /// Only if this is still the configuration version in force.
    #[arg(long, env = "GOKART_BASE_VERSION", value_name = "N")]
    pub base_version: Option<u64>,
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct PostbackUrl {
    /// The advertiser's id.
    #[arg(long, env = "GOKART_ADVERTISER", value_name = "ID")]
    pub advertiser: String,
    /// Show the credentials in full.
    #[arg(long, env = "GOKART_REVEAL")]
    pub reveal: bool,
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct TrackingLink {
    /// The offer's id.
    #[arg(long, env = "GOKART_OFFER", value_name = "ID")]
    pub offer: String,
    /// The publisher's id.
    #[arg(long, env = "GOKART_PUBLISHER", value_name = "ID")]
    pub publisher: String,
    /// A link whose clicks are tests: they touch no cap, budget or statement.
    #[arg(long, env = "GOKART_TEST")]
    pub test: bool,
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Funnel {
    /// The offer's id.
    #[arg(long, env = "GOKART_OFFER", value_name = "ID")]
    pub offer: String,
    /// One funnel for each value of this: publisher, offer, day, country, platform, campaign or sub1
    /// to sub15; several are separated by commas.
    #[arg(long, env = "GOKART_BY", value_name = "DIMENSIONS")]
    pub by: Option<String>,
    /// Conversions that were `received` in the period, or those of the clicks `clicked` in it.
    #[arg(long, env = "GOKART_BASIS", value_name = "BASIS", default_value = "received",
        value_parser = ["received", "clicked"])]
    pub basis: String,
    /// Show how long it took: median and p90 from the click and from the step before.
    #[arg(long, env = "GOKART_TIMES")]
    pub times: bool,
    /// Only this publisher.
    #[arg(long, env = "GOKART_PUBLISHER", value_name = "ID")]
    pub publisher: Option<String>,
    #[command(flatten)]
    pub traffic: Traffic,
    /// Test clicks too.
    #[arg(long, env = "GOKART_INCLUDE_TEST")]
    pub include_test: bool,
    /// Draw it to this file too: .png or .svg.
    #[arg(long, env = "GOKART_PLOT", value_name = "FILE")]
    pub plot: Option<PathBuf>,
    #[command(flatten)]
    pub period: Period,
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Conversions {
    #[command(flatten)]
    pub whose: Whose,
    /// Only of this event ID.
    #[arg(long, env = "GOKART_EVENT", value_name = "EVENT ID")]
    pub event: Option<String>,
    /// Only Pending, Success or Rejected.
    #[arg(long, env = "GOKART_STATUS", value_name = "STATUS")]
    pub status: Option<String>,
    /// Only with this reason, e.g. CAP_REACHED.
    #[arg(long, env = "GOKART_REASON", value_name = "CODE")]
    pub reason: Option<String>,
    /// Only of this click.
    #[arg(long, env = "GOKART_CLICK", value_name = "GK_CLICK_ID")]
    pub click: Option<String>,
    #[command(flatten)]
    pub traffic: Traffic,
    /// Test clicks too.
    #[arg(long, env = "GOKART_INCLUDE_TEST")]
    pub include_test: bool,
    /// At most so many.
    #[arg(long, env = "GOKART_LIMIT", value_name = "N", default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    #[command(flatten)]
    pub period: Period,
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Postbacks {
    #[command(flatten)]
    pub whose: Whose,
    /// Only with this event ID as it was received.
    #[arg(long, env = "GOKART_EVENT", value_name = "EVENT ID")]
    pub event: Option<String>,
    /// Only accepted, duplicate, rejected, waiting or ignored ones.
    #[arg(long, env = "GOKART_OUTCOME", value_name = "OUTCOME")]
    pub outcome: Option<String>,
    /// Only with this reason, e.g. UNKNOWN_EVENT.
    #[arg(long, env = "GOKART_REASON", value_name = "CODE")]
    pub reason: Option<String>,
    /// Only of this click.
    #[arg(long, env = "GOKART_CLICK", value_name = "GK_CLICK_ID")]
    pub click: Option<String>,
    /// Test clicks too.
    #[arg(long, env = "GOKART_INCLUDE_TEST")]
    pub include_test: bool,
    /// At most so many.
    #[arg(long, env = "GOKART_LIMIT", value_name = "N", default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    #[command(flatten)]
    pub period: Period,
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Explain {
    /// A gk_click_id, a postback id or a conversion id.
    #[arg(value_name = "ID")]
    pub id: String,
    /// Time zone of the times told; the tenant's unless given.
    #[arg(long, env = "GOKART_TZ", value_name = "ZONE", value_parser = parse::time_zone)]
    pub tz: Option<String>,
    #[command(flatten)]
    pub connection: Connection,
    /// `table` tells it in words; `json` gives what the words were made from.
    #[arg(long, env = "GOKART_FORMAT", value_enum, default_value = "table")]
    pub format: Format,
}

#[derive(Debug, Args)]
pub struct Approve {
    /// The conversion's id.
    #[arg(value_name = "CONVERSION_ID")]
    pub conversion: String,
    /// Why; it is kept with the conversion.
    #[arg(long, env = "GOKART_REASON", value_name = "TEXT")]
    pub reason: String,
    /// Even past a cap or the budget; counted apart.
    #[arg(long, env = "GOKART_OVER_LIMIT")]
    pub over_limit: bool,
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Reject {
    /// The conversion's id.
    #[arg(value_name = "CONVERSION_ID")]
    pub conversion: String,
    /// Why; it is kept with the conversion.
    #[arg(long, env = "GOKART_REASON", value_name = "TEXT")]
    pub reason: String,
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Deliveries {
    /// Only of this tenant.
    #[arg(long, env = "GOKART_TENANT", value_name = "ID")]
    pub tenant: Option<String>,
    /// Only of this offer.
    #[arg(long, env = "GOKART_OFFER", value_name = "ID")]
    pub offer: Option<String>,
    /// Only to this publisher.
    #[arg(long, env = "GOKART_PUBLISHER", value_name = "ID")]
    pub publisher: Option<String>,
    /// Only of this event ID.
    #[arg(long, env = "GOKART_EVENT", value_name = "EVENT ID")]
    pub event: Option<String>,
    /// Only waiting, delivered, retrying, failed, expired, disabled or cancelled ones.
    #[arg(long, env = "GOKART_OUTCOME", value_name = "OUTCOME")]
    pub outcome: Option<String>,
    /// Only this delivery.
    #[arg(long, env = "GOKART_DELIVERY", value_name = "ID")]
    pub delivery: Option<String>,
    /// Only of this conversion.
    #[arg(long, env = "GOKART_CONVERSION", value_name = "ID")]
    pub conversion: Option<String>,
    /// Only of this click.
    #[arg(long, env = "GOKART_CLICK", value_name = "GK_CLICK_ID")]
    pub click: Option<String>,
    /// Tests and samples too.
    #[arg(long, env = "GOKART_INCLUDE_TEST")]
    pub include_test: bool,
    /// Send them again, with the ids that they had.
    #[arg(long, env = "GOKART_RESEND")]
    pub resend: bool,
    /// At most so many (10000 to send again).
    #[arg(long, env = "GOKART_LIMIT", value_name = "N", default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    #[command(flatten)]
    pub period: Period,
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("choice").multiple(true).required(true)
    .args(["tenant", "advertiser", "offer", "event", "refusals", "postbacks", "from", "to"]))]
pub struct Redecide {
    /// Put them back for decision. Without it they are only shown, with what would become of them.
    #[arg(long, env = "GOKART_APPLY", requires = "reason")]
    pub apply: bool,
    /// Why; it is kept with what comes of it.
    #[arg(long, env = "GOKART_REASON", value_name = "TEXT")]
    pub reason: Option<String>,
    /// Who asks for it; kept too.
    #[arg(long, env = "GOKART_OPERATOR", value_name = "NAME")]
    pub operator: Option<String>,
    /// Only those that were refused for this reason, e.g. UNKNOWN_EVENT. May be given several times.
    #[arg(long = "refusal", env = "GOKART_REFUSAL", value_name = "CODE", value_delimiter = ',')]
    pub refusals: Vec<String>,
    /// Only of this tenant.
    #[arg(long, env = "GOKART_TENANT", value_name = "ID")]
    pub tenant: Option<String>,
    /// Only of this advertiser.
    #[arg(long, env = "GOKART_ADVERTISER", value_name = "ID")]
    pub advertiser: Option<String>,
    /// Only of this offer.
    #[arg(long, env = "GOKART_OFFER", value_name = "ID")]
    pub offer: Option<String>,
    /// Only with this event ID as it was received.
    #[arg(long, env = "GOKART_EVENT", value_name = "EVENT ID")]
    pub event: Option<String>,
    /// Only this postback. May be given several times.
    #[arg(long = "postback", env = "GOKART_POSTBACK", value_name = "ID", value_delimiter = ',')]
    pub postbacks: Vec<String>,
    /// Test clicks too.
    #[arg(long, env = "GOKART_INCLUDE_TEST")]
    pub include_test: bool,
    #[command(flatten)]
    pub period: Period,
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct PublisherPostback {
    /// The publisher's id.
    #[arg(long, env = "GOKART_PUBLISHER", value_name = "ID")]
    pub publisher: String,
    /// Show the secret in full.
    #[arg(long, env = "GOKART_REVEAL")]
    pub reveal: bool,
    /// Send an invented conversion to each of its test URLs now, and tell what came of it.
    #[arg(long, env = "GOKART_TEST")]
    pub test: bool,
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Refused {
    /// Only of this tenant's host.
    #[arg(long, env = "GOKART_TENANT", value_name = "ID")]
    pub tenant: Option<String>,
    /// At most so many.
    #[arg(long, env = "GOKART_LIMIT", value_name = "N", default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    #[command(flatten)]
    pub period: Period,
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Migrate {
    #[command(flatten)]
    pub clickhouse: ClickHouse,
    #[command(flatten)]
    pub retention: RowRetention,
    /// Data directory in which an embedded ClickHouse's token is looked for.
    #[arg(long, env = "GOKART_DATA", value_name = "DIR", default_value = ".gokart")]
    pub data: PathBuf,
}
