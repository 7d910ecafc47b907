//! The command `replay`.

use super::asking::Format;
use super::flags::{ClickHouse, Data, EventLog, Keys};
use super::parse;
use super::roles::WarehouseSettings;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Clone, Args)]
pub struct Replay {
    /// First day (UTC) or RFC 3339 time whose postbacks are asked about; the oldest kept unless given.
    #[arg(long, env = "GOKART_FROM", value_name = "DATE")]
    pub from: Option<String>,
    /// Last day (UTC) whose postbacks are asked about, or RFC 3339 time that no longer is; now
    /// unless given.
    #[arg(long, env = "GOKART_TO", value_name = "DATE")]
    pub to: Option<String>,
    /// Decide as if these documents (files or directories) had been applied to what is in force.
    #[arg(long, env = "GOKART_DOCUMENTS", value_name = "FILE", num_args = 1..)]
    pub documents: Vec<PathBuf>,
    /// Begin to read so long before --from, for clicks and earlier events; everything that is kept
    /// unless given.
    #[arg(long, env = "GOKART_HISTORY", value_name = "TIME", value_parser = parse::duration)]
    pub history: Option<Duration>,
    /// Name of the replay: its tables are the database `gokart_replay_NAME`. Made of the time
    /// unless given.
    #[arg(long, env = "GOKART_INTO", value_name = "NAME")]
    pub into: Option<String>,
    /// Show the replays there are.
    #[arg(long, env = "GOKART_LIST", conflicts_with_all = ["from", "to", "documents", "history", "into", "drop"])]
    pub list: bool,
    /// Remove a replay.
    #[arg(long, env = "GOKART_DROP", value_name = "NAME",
        conflicts_with_all = ["from", "to", "documents", "history", "into"])]
    pub drop: Option<String>,
    /// `table` to read, `json` and `csv` to go on working with.
    #[arg(long, env = "GOKART_FORMAT", value_enum, default_value = "table")]
    pub format: Format,
    #[command(flatten)]
    pub data: Data,
    #[command(flatten)]
    pub log: EventLog,
    #[command(flatten)]
    pub keys: Keys,
    #[command(flatten)]
    pub clickhouse: ClickHouse,
    #[command(flatten)]
    pub warehouse: WarehouseSettings,
}
