//! The command line: what can be typed, with its help, its environment variables and defaults.
//! Nothing is done here. `roles` are the long-running commands, `asking` the others, `flags` the
//! groups of settings that several commands share.

pub mod asking;
pub mod flags;
pub mod kafka;
pub mod parse;
pub mod rekey;
pub mod replay;
pub mod reports;
pub mod roles;

use clap::{Parser, Subcommand};

/// Tracks clicks and conversions: from the tracking link to the report.
#[derive(Debug, Parser)]
#[command(
    name = "gokart",
    version,
    max_term_width = 100,
    after_long_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 78 bad configuration.\n\n\
        Example:\n  gokart up --config examples\n  gokart report funnel --offer pet-the-dogs-ios"
)]
pub struct Cli {
    #[command(flatten)]
    pub logging: flags::Logging,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything on this machine, with nothing else needed.
    #[command(after_long_help = "Example:\n  gokart up --data .gokart --config examples")]
    Up(Box<roles::Up>),
    /// Run an ingester: it takes clicks and postbacks over HTTP and writes them to the log.
    #[command(
        after_long_help = "Example:\n  gokart ingest --log kafka://kafka-1:9092,kafka-2:9092 \
        --listen 0.0.0.0:8080 --base-domain example.com --master-key-file /run/secrets/master-keys"
    )]
    Ingest(Box<roles::Ingest>),
    /// Run a processor: it decides about postbacks.
    #[command(after_long_help = "Example:\n  gokart processor --log kafka://kafka-1:9092 \
        --data /var/lib/gokart --master-key-file /run/secrets/master-keys")]
    Processor(Box<roles::Processor>),
    /// Run a sink: it moves clicks and decisions from the log into ClickHouse.
    #[command(after_long_help = "Example:\n  gokart sink --log kafka://kafka-1:9092 \
        --clickhouse http://clickhouse:8123 --clickhouse-user gokart")]
    Sink(Box<roles::Sink>),
    /// Run the admin API, which all the commands below talk to.
    #[command(after_long_help = "Example:\n  gokart admin --log kafka://kafka-1:9092 \
        --clickhouse http://clickhouse:8123 --admin-listen 127.0.0.1:8081")]
    Admin(Box<roles::Admin>),
    /// Run the embedded ClickHouse engine behind ClickHouse's HTTP interface.
    #[command(after_long_help = "Example:\n  gokart warehouse --data .gokart \
        --engine-library target/chdb/libchdb.so")]
    Warehouse(Box<roles::Warehouse>),
    /// Decide the postbacks of a time again into tables of their own, and compare with what was
    /// decided. Nothing live is changed.
    #[command(after_long_help = "Example:\n  gokart replay --from 2026-11-01 --to 2026-11-07\n  \
        gokart replay --from 2026-11-01 --documents offer.yaml --into mended\n  \
        gokart replay --drop mended")]
    Replay(Box<replay::Replay>),
    /// Move an installation on Kafka, all of whose roles are stopped, into topics with more partitions.
    #[command(
        after_long_help = "Example:\n  gokart rekey --log kafka://kafka-1:9092 --partitions 12 \
        --to-topic-prefix wide. --to-partitions 24"
    )]
    Rekey(Box<rekey::Rekey>),
    #[command(flatten)]
    Ask(Box<asking::Ask>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// Every command that can be run, with its path, e.g. `report funnel`.
    fn leaves(command: &clap::Command, path: &str, found: &mut Vec<(String, clap::Command)>) {
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let path = format!("{path} {}", sub.get_name()).trim().to_owned();
            if sub.has_subcommands() {
                leaves(sub, &path, found);
            } else {
                found.push((path, sub.clone()));
            }
        }
    }

    fn all() -> Vec<(String, clap::Command)> {
        let mut command = Cli::command();
        command.build();
        let mut found = Vec::new();
        leaves(&command, "", &mut found);
        found
    }

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
        let names: Vec<String> = all().into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            [
                "up",
                "ingest",
                "processor",
                "sink",
                "admin",
                "warehouse",
                "replay",
                "rekey",
                "apply",
                "postback-url",
                "tracking-link",
                "report funnel",
                "report cohorts",
                "report time-to-convert",
                "report rejections",
                "report on-hold",
                "report performance",
                "report silence",
                "report caps",
                "report statement",
                "report invoice",
                "report margin",
                "report reconciliation",
                "report clicks",
                "report conversions",
                "report postbacks",
                "export",
                "explain",
                "approve",
                "reject",
                "deliveries",
                "publisher-postback",
                "redecide",
                "refused",
                "erase",
                "migrate",
            ]
        );
    }

    #[test]
    fn every_command_shows_an_example_that_parses() {
        for (name, mut command) in all() {
            command = command.term_width(0);
            let help = command.render_long_help().to_string();
            let (_, example) = help.split_once("Example:\n").unwrap_or_else(|| panic!("{name}"));
            for line in example.lines().filter(|line| line.trim_start().starts_with("gokart ")) {
                let words = words(line);
                Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
            }
        }
    }

    /// Splits like a shell, as far as the examples need it.
    fn words(line: &str) -> Vec<String> {
        let mut quoted = line.trim().split('"');
        let mut words = Vec::new();
        while let Some(plain) = quoted.next() {
            words.extend(plain.split_whitespace().map(str::to_owned));
            words.extend(quoted.next().map(str::to_owned));
        }
        words
    }

    /// Kafka's brokers say how much a topic may hold: a limit that a role would take and not keep
    /// is refused.
    #[test]
    fn sizes_of_the_local_log_are_for_up_alone() {
        for flag in ["--retention-bytes", "--click-retention-bytes", "--min-free-disk"] {
            for command in ["up", "ingest", "processor", "sink", "admin"] {
                let taken = Cli::try_parse_from(["gokart", command, flag, "1GiB"]).is_ok();
                assert_eq!(taken, command == "up", "{command} {flag}");
            }
        }
    }

    #[test]
    fn every_flag_has_its_environment_variable() {
        for (name, command) in all() {
            for argument in command.get_arguments() {
                let id = argument.get_id().as_str();
                if argument.is_positional() || matches!(id, "help" | "version") {
                    continue;
                }
                let long = argument.get_long().unwrap_or_else(|| panic!("{name} {id}"));
                let expected = format!("GOKART_{}", long.to_uppercase().replace('-', "_"));
                let env = argument.get_env().map(|env| env.to_string_lossy().into_owned());
                assert_eq!(env.as_deref(), Some(expected.as_str()), "{name} --{long}");
            }
        }
    }
}
