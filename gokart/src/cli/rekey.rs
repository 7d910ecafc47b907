//! The command `rekey`.

use super::flags::{Data, EventLog};
use clap::Args;

#[derive(Debug, Clone, Args)]
pub struct Rekey {
    /// Prefix of the new topics; there must be none of them, or empty ones.
    #[arg(long, env = "GOKART_TO_TOPIC_PREFIX", value_name = "TEXT")]
    pub to_topic_prefix: String,
    /// Partitions of the new topics: twice, three times, … as many as there are.
    #[arg(long, env = "GOKART_TO_PARTITIONS", value_name = "N",
        value_parser = clap::value_parser!(u32).range(2..=1024))]
    pub to_partitions: u32,
    #[command(flatten)]
    pub data: Data,
    #[command(flatten)]
    pub log: EventLog,
}
