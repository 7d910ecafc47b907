//! The command line.

use crate::mix::Mix;
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

/// A run has an end even when nobody asks for one.
const COUNT_MAX: u64 = 1_000_000_000;
const DURATION_S_MAX: u64 = 24 * 60 * 60;
const RATE_MAX: u64 = 1_000_000;
const CONNECTIONS_MAX: u64 = 4096;
const RESEND_MAX: i64 = 100_000;

/// Load for gokart over HTTP, and the proof that nothing of it was lost.
#[derive(Debug, Parser)]
#[command(
    name = "loadtest",
    version,
    after_help = "Example:
  loadtest run --tracking-link \"$LINK\" --postback-url \"$URL\" --event Install --event SignUp \\
    --steps 1000,2000,4000 --ledger run.ledger --html run.html
  loadtest verify --ledger run.ledger --config examples --token-file .gokart/warehouse-read.token"
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Send clicks and postbacks and measure the answers.
    Run(Box<RunArguments>),
    /// Look every accepted postback of a ledger up in ClickHouse: each must be there exactly once.
    Verify(VerifyArguments),
}

#[derive(Debug, Args)]
pub struct RunArguments {
    /// A tracking link, as `gokart tracking-link` prints it; repeat for several.
    #[arg(long, value_name = "URL", required_unless_present = "targets")]
    pub tracking_link: Vec<String>,

    /// The advertiser's postback URL, as `gokart postback-url --reveal` prints it; or one that names
    /// its event, repeated for each event in the order of the offer's.
    #[arg(long, value_name = "URL", required_unless_present = "targets")]
    pub postback_url: Vec<String>,

    /// An event ID of the offer, exactly; repeat for each, in order.
    #[arg(long, value_name = "EVENT ID")]
    pub event: Vec<String>,

    /// Several advertisers: a JSON file with a list of {"tracking_links": […], "postback_url": "…",
    /// "events": […]}, each as the options of these names.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["tracking_link", "postback_url", "event"])]
    pub targets: Option<PathBuf>,

    /// Make the first tracking links hot: the one at place n gets a share of the clicks by
    /// 1 / n^EXPONENT; 0 makes all alike, 1 is Zipf's law.
    #[arg(long, value_name = "EXPONENT", default_value_t = 0.0, value_parser = exponent)]
    pub hot_offers: f64,

    /// Requests a second, on a schedule that slow answers do not move.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=RATE_MAX),
          required_unless_present_any = ["as_fast_as_possible", "steps", "ramp"])]
    pub rate: Option<u64>,

    /// Several rates, one after the other, each for --step-s; finds the knee.
    #[arg(long, value_name = "N,…", value_delimiter = ',', conflicts_with_all = ["rate", "duration_s"],
          value_parser = clap::value_parser!(u64).range(1..=RATE_MAX))]
    pub steps: Vec<u64>,

    /// How long each step is.
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub step_s: u64,

    /// A rate that grows evenly over --duration-s, e.g. 1000..8000; finds the knee.
    #[arg(long, value_name = "FROM..TO", value_parser = ramp, conflicts_with_all = ["rate", "steps"])]
    pub ramp: Option<(u64, u64)>,

    /// The knee is the highest step that kept 99 % of its rate with a p99.9 up to this.
    #[arg(long, value_name = "MS", default_value_t = 20,
          value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub knee_p999_ms: u64,

    /// Each connection sends again as soon as it has its answer.
    #[arg(long, conflicts_with_all = ["rate", "steps", "ramp"])]
    pub as_fast_as_possible: bool,

    /// Speak HTTP/2: chosen with the target over https://, known beforehand over http://.
    #[arg(long)]
    pub http2: bool,

    /// Requests in flight on each HTTP/2 connection.
    #[arg(long, value_name = "N", default_value_t = 8, requires = "http2",
          value_parser = clap::value_parser!(u64).range(1..=100))]
    pub streams: u64,

    /// Authorities (PEM) to trust for https:// URLs; without it, those of the web.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,

    /// Trust any certificate; only of this machine.
    #[arg(long, conflicts_with = "ca_file")]
    pub insecure: bool,

    /// Threads that send; half of the cores without it, since the target needs some, too.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=64))]
    pub threads: Option<u64>,

    /// Keep-alive connections; each has one request in flight at most (HTTP/2: --streams).
    #[arg(long, value_name = "N", default_value_t = 64,
          value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub connections: u64,

    /// How long to send.
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(1..=DURATION_S_MAX))]
    pub duration_s: u64,

    /// How much to send at most.
    #[arg(long, value_name = "N", default_value_t = COUNT_MAX,
          value_parser = clap::value_parser!(u64).range(1..=COUNT_MAX))]
    pub count: u64,

    /// What to send, by weight.
    #[arg(long, value_name = "KIND=WEIGHT,…", default_value = Mix::DEFAULT)]
    pub mix: Mix,

    /// The same seed gives the same sequence of kinds.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// After this long without an answer a request counts as failed.
    #[arg(long, value_name = "MS", default_value_t = 5000,
          value_parser = clap::value_parser!(u64).range(1..=600_000))]
    pub timeout_ms: u64,

    /// The parameter of the redirect that holds the click id; found by its looks without this.
    #[arg(long, value_name = "NAME")]
    pub click_id_parameter: Option<String>,

    /// Connect here, whatever host the URLs name; repeat for several, which take turns.
    #[arg(long, value_name = "IP:PORT")]
    pub connect: Vec<SocketAddr>,

    /// Send a postback that got a 5xx or no answer again, up to so many times, as trackers do; over
    /// as many further connections.
    #[arg(long, value_name = "N", default_value_t = 0,
          value_parser = clap::value_parser!(u32).range(0..=RESEND_MAX))]
    pub resend: u32,

    /// Wait before sending again the first time; each further wait is twice as long, up to 15 s.
    #[arg(long, value_name = "MS", default_value_t = 1000,
          value_parser = clap::value_parser!(u64).range(1..=15_000))]
    pub resend_after_ms: u64,

    /// Allow a target that is not this machine.
    #[arg(long)]
    pub allow_remote: bool,

    /// Remember every accepted postback in this new file, for `loadtest verify`.
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,

    /// Write the results to this file as JSON too.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Write a page with plots to this file: throughput and latency over time.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

fn exponent(text: &str) -> Result<f64, String> {
    let exponent = text.parse::<f64>().ok().filter(|it| (0.0..=10.0).contains(it));
    exponent.ok_or_else(|| "give a number from 0 to 10".to_owned())
}

fn ramp(text: &str) -> Result<(u64, u64), String> {
    let rate = |text: &str| text.parse().ok().filter(|it| (1..=RATE_MAX).contains(it));
    let rates = text.split_once("..").and_then(|(from, to)| rate(from).zip(rate(to)));
    rates.ok_or_else(|| format!("give two rates from 1 to {RATE_MAX}, e.g. 1000..8000"))
}

#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// What `loadtest run --ledger` wrote; repeat for several runs.
    #[arg(long, value_name = "FILE", required = true)]
    pub ledger: Vec<PathBuf>,

    /// The configuration documents that were in force (YAML or JSON; a file or a directory of them):
    /// outcomes and money are compared with what they promise. Without it only what is the same
    /// under every configuration is.
    #[arg(long, value_name = "PATH")]
    pub config: Option<PathBuf>,

    /// ClickHouse's HTTP interface.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8123")]
    pub clickhouse: String,

    #[arg(long, value_name = "NAME", default_value = "default")]
    pub user: String,

    /// The token or password.
    #[arg(
        long,
        env = "GOKART_CLICKHOUSE_TOKEN",
        hide_env_values = true,
        conflicts_with = "token_file"
    )]
    pub token: Option<String>,

    /// A file with the token, as in gokart's data directory.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Wait this long for what is accepted and not visible yet.
    #[arg(long, value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub wait_s: u64,

    /// Allow a ClickHouse that is not on this machine.
    #[arg(long)]
    pub allow_remote: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_run_needs_a_pace() {
        let parse = |pace: &[&str]| {
            let fixed = ["loadtest", "run", "--tracking-link", "a", "--postback-url", "b"];
            Cli::try_parse_from(fixed.iter().chain(pace)).is_ok()
        };
        assert!(parse(&["--rate", "10"]));
        assert!(parse(&["--as-fast-as-possible"]));
        assert!(!parse(&[]));
        assert!(!parse(&["--rate", "0"]));
        assert!(!parse(&["--rate", "10", "--as-fast-as-possible"]));
        assert!(parse(&["--steps", "10,20", "--step-s", "1"]));
        assert!(!parse(&["--steps", "10,x"]) && !parse(&["--steps", "10", "--rate", "1"]));
        assert!(parse(&["--ramp", "10..20"]));
        assert!(!parse(&["--ramp", "10"]) && !parse(&["--ramp", "0..5"]));
    }
}
