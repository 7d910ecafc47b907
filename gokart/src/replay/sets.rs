//! The replays there are: a database of ClickHouse each.

use crate::cli::asking::Format;
use crate::commands::shown;
use crate::data_dir::DataDir;
use jiff::Timestamp;
use schemas::UnixMillis;
use service::ServiceError;
use sink::{ClickHouseConfig, ask, tell};
use std::path::PathBuf;

/// Longest name of a replay.
const NAME_CHARS_MAX: usize = 32;

#[derive(serde::Deserialize)]
struct Set {
    name: String,
    rows: u64,
    bytes: u64,
}

/// What the names of all their databases begin with.
fn prefix(live: &ClickHouseConfig) -> String {
    format!("{}_replay_", live.database)
}

/// The database of a replay.
pub fn database(live: &ClickHouseConfig, name: &str) -> Result<String, ServiceError> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(is_plain) {
        return Err(ServiceError::Configuration(format!(
            "{name:?} is no name of a replay: 1 to {NAME_CHARS_MAX} of a-z, 0-9 and _"
        )));
    }
    Ok(format!("{}{name}", prefix(live)))
}

/// A name for a replay that was given none.
pub fn name_at(now: UnixMillis) -> String {
    let time = Timestamp::from_millisecond(now.0).unwrap_or_default();
    time.strftime("%Y%m%d_%H%M%S").to_string()
}

/// Where a replay under way keeps its state.
pub fn directory(data: &DataDir, name: &str) -> PathBuf {
    data.join("replay").join(name)
}

async fn exists(own: &ClickHouseConfig) -> Result<bool, ServiceError> {
    let found: Vec<serde_json::Value> = ask(
        own,
        "the list of databases",
        "SELECT name FROM system.databases WHERE name = {name:String}",
        &[("name", own.database.clone())],
    )
    .await?;
    Ok(!found.is_empty())
}

/// A replay never adds to another one.
pub async fn check_unused(own: &ClickHouseConfig, name: &str) -> Result<(), ServiceError> {
    match exists(own).await? {
        false => Ok(()),
        true => Err(ServiceError::Configuration(format!(
            "there is a replay {name} already; choose another name with --into, or remove it with \
             `gokart replay --drop {name}`"
        ))),
    }
}

/// Removes a replay, finished or not.
pub async fn drop_set(
    name: &str,
    data: &DataDir,
    live: &ClickHouseConfig,
) -> Result<(), ServiceError> {
    let own = ClickHouseConfig { database: database(live, name)?, ..live.clone() };
    if !exists(&own).await? {
        return Err(ServiceError::Failed(format!(
            "there is no replay {name}; `gokart replay --list` shows those there are"
        )));
    }
    let on_cluster = own.cluster.as_ref().map_or(String::new(), |it| format!(" ON CLUSTER '{it}'"));
    let statement = format!("DROP DATABASE `{}`{on_cluster} SYNC", own.database);
    tell(&own, "the replay's database", &statement).await?;
    let directory = directory(data, name);
    if directory.exists() {
        std::fs::remove_dir_all(&directory)
            .map_err(|error| ServiceError::Failed(format!("{}: {error}", directory.display())))?;
    }
    println!("The replay {name} is gone.");
    Ok(())
}

/// Shows the replays there are.
pub async fn list(live: &ClickHouseConfig, format: Format) -> Result<(), ServiceError> {
    let sets: Vec<Set> = ask(
        live,
        "the list of replays",
        "SELECT d.name AS name, toUInt64(sum(t.total_rows)) AS rows, \
         toUInt64(sum(t.total_bytes)) AS bytes \
         FROM system.databases AS d LEFT JOIN system.tables AS t ON t.database = d.name \
         WHERE startsWith(d.name, {prefix:String}) GROUP BY d.name ORDER BY d.name",
        &[("prefix", prefix(live))],
    )
    .await?;
    let lines: Vec<Vec<String>> = sets
        .iter()
        .map(|set| {
            let name = set.name.strip_prefix(&prefix(live)).unwrap_or(&set.name).to_owned();
            vec![name, set.name.clone(), set.rows.to_string(), set.bytes.to_string()]
        })
        .collect();
    shown(format, &["replay", "database", "rows", "bytes"], &lines, &[2, 3])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_plain_and_never_the_live_database() {
        let live = ClickHouseConfig::new("http://127.0.0.1:8123");
        assert_eq!(database(&live, "may_1").unwrap(), "gokart_replay_may_1");
        for wrong in ["", "May", "a`b", "a b", "../x", &"a".repeat(33)] {
            assert_eq!(database(&live, wrong).unwrap_err().exit_code(), 78, "{wrong}");
        }
        let made = name_at(UnixMillis(1_793_491_200_000));
        assert_eq!(made, "20261101_000000");
        assert!(database(&live, &made).is_ok());
    }
}
