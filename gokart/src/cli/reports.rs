//! What `gokart report …` takes. The filters and options are those of the admin API, by the same
//! names (`admin::report`); a test holds the two together.

use super::asking::{Connection, Conversions, Funnel, Output, Period, Postbacks};
use crate::client::Target;
use admin::report::Kind;
use clap::{Args, Subcommand, ValueEnum};
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub enum Report {
    /// How many users reached each event of an offer, how fast, and what it cost.
    #[command(after_long_help = "Example:\n  gokart report funnel --offer pet-the-dogs-ios \
        --from 2026-11-01 --to 2026-11-30 --by country\n  \
        gokart report funnel --offer pet-the-dogs-ios --basis clicked --times")]
    Funnel(Box<Funnel>),
    /// Of the clicks of each day, how many users had reached each event within 0 to 90 days.
    #[command(after_long_help = "Example:\n  gokart report cohorts --offer pet-the-dogs-ios \
        --days 0,1,7,30 --event Install")]
    Cohorts(Box<Cohorts>),
    /// How long after its click each event comes.
    #[command(after_long_help = "Example:\n  \
        gokart report time-to-convert --offer pet-the-dogs-ios")]
    TimeToConvert(Box<TimeToConvert>),
    /// What was refused or rejected, why, how often, with examples to explain.
    #[command(after_long_help = "Example:\n  gokart report rejections --advertiser brain-games \
        --from 2026-11-01")]
    Rejections(Box<Rejections>),
    /// What is pending: when it is due, and the money at stake.
    #[command(after_long_help = "Example:\n  gokart report on-hold --offer pet-the-dogs-ios")]
    OnHold(Box<OnHold>),
    /// Clicks, conversion rate and earnings per click, by publisher or other dimensions.
    #[command(after_long_help = "Example:\n  gokart report performance --from 2026-11-01 \
        --by publisher,day")]
    Performance(Box<Performance>),
    /// Offers and events that used to come and have stopped.
    #[command(after_long_help = "Example:\n  gokart report silence --tenant brownboots")]
    Silence(Box<Silence>),
    /// Caps and budgets: used, reserved, left, and where they go at the present pace.
    #[command(
        name = "caps",
        after_long_help = "Example:\n  gokart report caps \
        --advertiser brain-games"
    )]
    CapsAndBudgets(Box<CapsAndBudgets>),
    /// What a publisher is owed for a month, by offer and event, with adjustments.
    #[command(after_long_help = "Example:\n  gokart report statement --publisher acme-rewards \
        --month 2026-10")]
    Statement(Box<Statement>),
    /// What an advertiser owes for a month, by offer and event, with adjustments.
    #[command(after_long_help = "Example:\n  gokart report invoice --advertiser brain-games \
        --month 2026-10 --format csv")]
    Invoice(Box<Invoice>),
    /// Both sides of a month, for ourselves: revenue, payout, and what is left between them.
    #[command(after_long_help = "Example:\n  gokart report margin --tenant brownboots \
        --month 2026-10")]
    Margin(Box<Margin>),
    /// The advertiser's own count, a CSV file, beside ours: what differs and why.
    #[command(after_long_help = "Example:\n  gokart report reconciliation \
        --advertiser brain-games --from 2026-10-01 --to 2026-10-31 theirs.csv")]
    Reconciliation(Box<Reconciliation>),
    /// Clicks, one a line, the newest first.
    #[command(after_long_help = "Example:\n  gokart report clicks --offer pet-the-dogs-ios")]
    Clicks(Box<Clicks>),
    /// Conversions, one a line, the newest first.
    #[command(after_long_help = "Example:\n  gokart report conversions --offer pet-the-dogs-ios \
        --status Pending --format csv")]
    Conversions(Box<Conversions>),
    /// Postbacks, one a line, with what became of each, the newest first.
    #[command(after_long_help = "Example:\n  gokart report postbacks --advertiser brain-games \
        --reason UNKNOWN_EVENT")]
    Postbacks(Box<Postbacks>),
}

/// Whose.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Filters")]
pub struct Whose {
    /// Only of this tenant.
    #[arg(long, env = "GOKART_TENANT", value_name = "ID")]
    pub tenant: Option<String>,
    /// Only of this advertiser.
    #[arg(long, env = "GOKART_ADVERTISER", value_name = "ID")]
    pub advertiser: Option<String>,
    /// Only of this offer.
    #[arg(long, env = "GOKART_OFFER", value_name = "ID")]
    pub offer: Option<String>,
    /// Only of this publisher.
    #[arg(long, env = "GOKART_PUBLISHER", value_name = "ID")]
    pub publisher: Option<String>,
}

impl Whose {
    pub fn add(&self, target: Target) -> Target {
        target
            .with("tenant", self.tenant.as_deref())
            .with("advertiser", self.advertiser.as_deref())
            .with("offer", self.offer.as_deref())
            .with("publisher", self.publisher.as_deref())
    }
}

/// Which traffic.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Filters")]
pub struct Traffic {
    /// Only of this country (ISO 3166, two letters).
    #[arg(long, env = "GOKART_COUNTRY", value_name = "CODE")]
    pub country: Option<String>,
    /// Only of this platform.
    #[arg(long, env = "GOKART_PLATFORM", value_name = "PLATFORM")]
    pub platform: Option<String>,
    /// Clones of the offer too: everything below its root.
    #[arg(long, env = "GOKART_CLONES")]
    pub clones: bool,
}

impl Traffic {
    pub fn add(&self, target: Target) -> Target {
        target
            .with("country", self.country.as_deref())
            .with("platform", self.platform.as_deref())
            .flag("clones", self.clones)
    }
}

/// What every report has.
#[derive(Debug, Clone, Args)]
pub struct Common {
    #[command(flatten)]
    pub period: Period,
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub output: Output,
}

impl Period {
    pub fn add(&self, target: Target) -> Target {
        target
            .with("from", self.from.as_deref())
            .with("to", self.to.as_deref())
            .with("tz", self.tz.as_deref())
    }
}

#[derive(Debug, Args)]
pub struct Cohorts {
    /// The offer's id.
    #[arg(long, env = "GOKART_OFFER", value_name = "ID")]
    pub offer: String,
    /// Days after the click, 0 to 90, separated by commas; or `all`.
    #[arg(long, env = "GOKART_DAYS", value_name = "DAYS", default_value = "0,1,3,7,14,30,60,90")]
    pub days: String,
    /// Only this publisher.
    #[arg(long, env = "GOKART_PUBLISHER", value_name = "ID")]
    pub publisher: Option<String>,
    /// Only this event ID.
    #[arg(long, env = "GOKART_EVENT", value_name = "EVENT ID")]
    pub event: Option<String>,
    #[command(flatten)]
    pub traffic: Traffic,
    /// Test clicks too.
    #[arg(long, env = "GOKART_INCLUDE_TEST")]
    pub include_test: bool,
    /// Draw it to this file too: .png or .svg.
    #[arg(long, env = "GOKART_PLOT", value_name = "FILE")]
    pub plot: Option<PathBuf>,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Args)]
pub struct TimeToConvert {
    #[command(flatten)]
    pub whose: Whose,
    /// Only this event ID.
    #[arg(long, env = "GOKART_EVENT", value_name = "EVENT ID")]
    pub event: Option<String>,
    #[command(flatten)]
    pub traffic: Traffic,
    /// Test clicks too.
    #[arg(long, env = "GOKART_INCLUDE_TEST")]
    pub include_test: bool,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Args)]
pub struct Rejections {
    #[command(flatten)]
    pub whose: Whose,
    /// Only this event ID.
    #[arg(long, env = "GOKART_EVENT", value_name = "EVENT ID")]
    pub event: Option<String>,
    /// Only with this reason, e.g. CAP_REACHED.
    #[arg(long, env = "GOKART_REASON", value_name = "CODE")]
    pub reason: Option<String>,
    /// Test clicks too.
    #[arg(long, env = "GOKART_INCLUDE_TEST")]
    pub include_test: bool,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Args)]
pub struct OnHold {
    #[command(flatten)]
    pub whose: Whose,
    /// Only this event ID.
    #[arg(long, env = "GOKART_EVENT", value_name = "EVENT ID")]
    pub event: Option<String>,
    /// Clones of the offer too: everything below its root.
    #[arg(long, env = "GOKART_CLONES")]
    pub clones: bool,
    /// Test clicks too.
    #[arg(long, env = "GOKART_INCLUDE_TEST")]
    pub include_test: bool,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Args)]
pub struct Performance {
    /// One row for each value of this: publisher, offer, day, country, platform, campaign or sub1 to
    /// sub15; several are separated by commas.
    #[arg(long, env = "GOKART_BY", value_name = "DIMENSIONS", default_value = "publisher")]
    pub by: String,
    #[command(flatten)]
    pub whose: Whose,
    #[command(flatten)]
    pub traffic: Traffic,
    /// Test clicks too.
    #[arg(long, env = "GOKART_INCLUDE_TEST")]
    pub include_test: bool,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Args)]
pub struct Silence {
    /// The usual rate is that of so many days.
    #[arg(long, env = "GOKART_WINDOW_DAYS", value_name = "N", default_value_t = 28,
        value_parser = clap::value_parser!(u32).range(1..=366))]
    pub window_days: u32,
    /// Show what has been silent for so long that so many were to be expected.
    #[arg(long, env = "GOKART_MISSING", value_name = "N", default_value_t = 5,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub missing: u32,
    /// Show what is not silent too.
    #[arg(long, env = "GOKART_ALL")]
    pub all: bool,
    #[command(flatten)]
    pub whose: Whose,
    /// Time zone of the times shown; the tenant's unless given.
    #[arg(long, env = "GOKART_TZ", value_name = "ZONE",
        value_parser = super::parse::time_zone)]
    pub tz: Option<String>,
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct CapsAndBudgets {
    /// Only of this tenant.
    #[arg(long, env = "GOKART_TENANT", value_name = "ID")]
    pub tenant: Option<String>,
    /// Only of this advertiser.
    #[arg(long, env = "GOKART_ADVERTISER", value_name = "ID")]
    pub advertiser: Option<String>,
    /// Only of this offer.
    #[arg(long, env = "GOKART_OFFER", value_name = "ID")]
    pub offer: Option<String>,
    /// Clones of the offer too: everything below its root.
    #[arg(long, env = "GOKART_CLONES")]
    pub clones: bool,
    /// Time zone of the times shown; the tenant's unless given.
    #[arg(long, env = "GOKART_TZ", value_name = "ZONE",
        value_parser = super::parse::time_zone)]
    pub tz: Option<String>,
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub output: Output,
}

/// What every account of a period has.
#[derive(Debug, Clone, Args)]
pub struct Account {
    /// A whole month, e.g. 2026-10; the running one unless a time is given.
    #[arg(long, env = "GOKART_MONTH", value_name = "MONTH")]
    pub month: Option<String>,
    /// A line for each conversion and adjustment.
    #[arg(long, env = "GOKART_DETAIL")]
    pub detail: bool,
    /// Only of this offer.
    #[arg(long, env = "GOKART_OFFER", value_name = "ID")]
    pub offer: Option<String>,
    /// Only this event ID.
    #[arg(long, env = "GOKART_EVENT", value_name = "EVENT ID")]
    pub event: Option<String>,
    #[command(flatten)]
    pub common: Common,
}

impl Account {
    fn add(&self, target: Target) -> Target {
        let target = target
            .with("month", self.month.as_deref())
            .flag("detail", self.detail)
            .with("offer", self.offer.as_deref())
            .with("event", self.event.as_deref());
        self.common.period.add(target)
    }
}

#[derive(Debug, Args)]
pub struct Statement {
    /// The publisher's id.
    #[arg(long, env = "GOKART_PUBLISHER", value_name = "ID")]
    pub publisher: String,
    #[command(flatten)]
    pub account: Account,
}

#[derive(Debug, Args)]
pub struct Invoice {
    /// The advertiser's id.
    #[arg(long, env = "GOKART_ADVERTISER", value_name = "ID")]
    pub advertiser: String,
    #[command(flatten)]
    pub account: Account,
}

#[derive(Debug, Args)]
pub struct Margin {
    /// Only of this tenant.
    #[arg(long, env = "GOKART_TENANT", value_name = "ID")]
    pub tenant: Option<String>,
    /// Only of this advertiser.
    #[arg(long, env = "GOKART_ADVERTISER", value_name = "ID")]
    pub advertiser: Option<String>,
    /// Only of this publisher.
    #[arg(long, env = "GOKART_PUBLISHER", value_name = "ID")]
    pub publisher: Option<String>,
    #[command(flatten)]
    pub account: Account,
}

#[derive(Debug, Args)]
pub struct Reconciliation {
    /// Their file: CSV with event_id, and click_id or transaction_id; revenue, currency and status
    /// are compared when they are there.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The advertiser's id.
    #[arg(long, env = "GOKART_ADVERTISER", value_name = "ID")]
    pub advertiser: String,
    /// Only of this offer.
    #[arg(long, env = "GOKART_OFFER", value_name = "ID")]
    pub offer: Option<String>,
    /// Only this event ID.
    #[arg(long, env = "GOKART_EVENT", value_name = "EVENT ID")]
    pub event: Option<String>,
    #[command(flatten)]
    pub common: Common,
}

impl Reconciliation {
    pub fn target(&self) -> Target {
        let target = Target::new(&["report", "reconciliation"])
            .with("advertiser", Some(&self.advertiser))
            .with("offer", self.offer.as_deref())
            .with("event", self.event.as_deref());
        self.common.period.add(target)
    }
}

#[derive(Debug, Args)]
pub struct Clicks {
    #[command(flatten)]
    pub whose: Whose,
    /// Only this click.
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
    pub common: Common,
}

/// What can be exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportKind {
    Clicks,
    Conversions,
    Postbacks,
    Refused,
    Deliveries,
}

impl ExportKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Clicks => "clicks",
            Self::Conversions => "conversions",
            Self::Postbacks => "postbacks",
            Self::Refused => "refused",
            Self::Deliveries => "deliveries",
        }
    }
}

/// Formats of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FileFormat {
    Csv,
    Jsonl,
    Parquet,
}

impl FileFormat {
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
        }
    }
}

#[derive(Debug, Args)]
pub struct Export {
    /// What to export.
    #[arg(value_name = "WHAT", value_enum)]
    pub what: ExportKind,
    /// The file to write; standard output without it.
    #[arg(long, env = "GOKART_OUT", value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// `csv`, `jsonl` or `parquet`; as the file's name ends unless given, and CSV otherwise.
    #[arg(long, env = "GOKART_FILE_FORMAT", value_name = "FORMAT", value_enum)]
    pub file_format: Option<FileFormat>,
    #[command(flatten)]
    pub whose: Whose,
    /// Only this event ID.
    #[arg(long, env = "GOKART_EVENT", value_name = "EVENT ID")]
    pub event: Option<String>,
    /// Conversions only: Pending, Success or Rejected.
    #[arg(long, env = "GOKART_STATUS", value_name = "STATUS")]
    pub status: Option<String>,
    /// Postbacks: accepted, duplicate, rejected, waiting or ignored; deliveries: e.g. delivered.
    #[arg(long, env = "GOKART_OUTCOME", value_name = "OUTCOME")]
    pub outcome: Option<String>,
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
    #[command(flatten)]
    pub period: Period,
    #[command(flatten)]
    pub connection: Connection,
}

/// A report that is a table: which, where it is asked for, and how it is shown.
pub struct TableReport<'a> {
    pub kind: Kind,
    pub target: Target,
    pub connection: &'a Connection,
    pub output: &'a Output,
    /// A picture of it, where there can be one.
    pub plot: Option<&'a Path>,
}

fn path(kind: Kind) -> Target {
    Target::new(&["report", kind.definition().name])
}

impl Report {
    /// None for those that are more than a table.
    pub fn table(&self) -> Option<TableReport<'_>> {
        let of = |kind, target: Target, common: &'_ Common| (kind, common.period.add(target));
        let (kind, target, connection, output) = match self {
            Self::Funnel(_)
            | Self::Reconciliation(_)
            | Self::Clicks(_)
            | Self::Conversions(_)
            | Self::Postbacks(_) => return None,
            Self::Cohorts(it) => {
                let target = path(Kind::Cohorts)
                    .with("offer", Some(&it.offer))
                    .with("days", Some(&it.days))
                    .with("publisher", it.publisher.as_deref())
                    .with("event", it.event.as_deref())
                    .flag("include_test", it.include_test);
                let (kind, target) = of(Kind::Cohorts, it.traffic.add(target), &it.common);
                (kind, target, &it.common.connection, &it.common.output)
            }
            Self::TimeToConvert(it) => {
                let target = it
                    .whose
                    .add(path(Kind::TimeToConvert))
                    .with("event", it.event.as_deref())
                    .flag("include_test", it.include_test);
                let (kind, target) = of(Kind::TimeToConvert, it.traffic.add(target), &it.common);
                (kind, target, &it.common.connection, &it.common.output)
            }
            Self::Rejections(it) => {
                let target = it
                    .whose
                    .add(path(Kind::Rejections))
                    .with("event", it.event.as_deref())
                    .with("reason", it.reason.as_deref())
                    .flag("include_test", it.include_test);
                let (kind, target) = of(Kind::Rejections, target, &it.common);
                (kind, target, &it.common.connection, &it.common.output)
            }
            Self::OnHold(it) => {
                let target = it
                    .whose
                    .add(path(Kind::OnHold))
                    .with("event", it.event.as_deref())
                    .flag("clones", it.clones)
                    .flag("include_test", it.include_test);
                let (kind, target) = of(Kind::OnHold, target, &it.common);
                (kind, target, &it.common.connection, &it.common.output)
            }
            Self::Performance(it) => {
                let target = it
                    .whose
                    .add(path(Kind::Performance))
                    .with("by", Some(&it.by))
                    .flag("include_test", it.include_test);
                let (kind, target) = of(Kind::Performance, it.traffic.add(target), &it.common);
                (kind, target, &it.common.connection, &it.common.output)
            }
            Self::CapsAndBudgets(it) => {
                let target = path(Kind::Caps)
                    .with("tenant", it.tenant.as_deref())
                    .with("advertiser", it.advertiser.as_deref())
                    .with("offer", it.offer.as_deref())
                    .flag("clones", it.clones)
                    .with("tz", it.tz.as_deref());
                (Kind::Caps, target, &it.connection, &it.output)
            }
            Self::Statement(it) => {
                let target = path(Kind::Statement).with("publisher", Some(&it.publisher));
                let common = &it.account.common;
                (Kind::Statement, it.account.add(target), &common.connection, &common.output)
            }
            Self::Invoice(it) => {
                let target = path(Kind::Invoice).with("advertiser", Some(&it.advertiser));
                let common = &it.account.common;
                (Kind::Invoice, it.account.add(target), &common.connection, &common.output)
            }
            Self::Margin(it) => {
                let target = path(Kind::Margin)
                    .with("tenant", it.tenant.as_deref())
                    .with("advertiser", it.advertiser.as_deref())
                    .with("publisher", it.publisher.as_deref());
                let common = &it.account.common;
                (Kind::Margin, it.account.add(target), &common.connection, &common.output)
            }
            Self::Silence(it) => {
                let target = it
                    .whose
                    .add(path(Kind::Silence))
                    .with("window_days", Some(&it.window_days.to_string()))
                    .with("missing", Some(&it.missing.to_string()))
                    .flag("all", it.all)
                    .with("tz", it.tz.as_deref());
                (Kind::Silence, target, &it.connection, &it.output)
            }
        };
        let plot = match self {
            Self::Cohorts(it) => it.plot.as_deref(),
            _ => None,
        };
        Some(TableReport { kind, target, connection, output, plot })
    }
}
