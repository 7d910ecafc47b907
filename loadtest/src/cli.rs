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
#[command(name = "loadtest", version)]
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
    #[arg(long, value_name = "URL", required = true)]
    pub tracking_link: Vec<String>,

    /// The advertiser's postback URL, as `gokart postback-url --reveal` prints it; or one that names
    /// its event, repeated for each event in the order of the offer's.
    #[arg(long, value_name = "URL", required = true)]
    pub postback_url: Vec<String>,

    /// An event ID of the offer, exactly; repeat for each, in order.
    #[arg(long, value_name = "EVENT ID")]
    pub event: Vec<String>,

    /// Requests a second, on a schedule that slow answers do not move.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=RATE_MAX),
          required_unless_present = "as_fast_as_possible")]
    pub rate: Option<u64>,

    /// Each connection sends again as soon as it has its answer.
    #[arg(long, conflicts_with = "rate")]
    pub as_fast_as_possible: bool,

    /// Keep-alive connections; each has one request in flight at most.
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
}

#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// What `loadtest run --ledger` wrote; repeat for several runs.
    #[arg(long, value_name = "FILE", required = true)]
    pub ledger: Vec<PathBuf>,

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
    }
}
