//! Brings the database to what this build needs: creates it, and applies each numbered file that
//! it does not have yet, in order; then sees to it that rows are kept as long as is wanted.

use crate::backoff::Backoff;
use crate::client::{problem, statement_client};
use crate::config::ClickHouseConfig;
use crate::ddl::{sha256_hex, statements};
use crate::error::Error;
use clickhouse::error::Error as ClientError;
use clickhouse::{Client, Row};
use schemas::sql::{FILES, MIGRATIONS, SqlFile};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// For one statement; a cluster's go round all of its nodes.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(120);

/// What a migration did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MigrationReport {
    /// Files applied now, in order.
    pub applied: Vec<&'static str>,
    /// Files that were there already.
    pub present: usize,
    /// Statements that changed how long rows are kept.
    pub retention: Vec<String>,
}

/// All of them in one row, so that the answer is the same shape when there are none.
#[derive(Debug, Row, Deserialize)]
struct AppliedFiles {
    files: Vec<(u32, String, String)>,
}

#[derive(Debug, Row, Serialize)]
struct AppliedFile {
    number: u32,
    name: String,
    sha256: String,
}

/// Creates the database and applies the files it lacks. Repeating it changes nothing, two at once
/// do no harm, and one that broke off is taken up by the next: every statement can be repeated.
///
/// Refuses a database in which an applied file differs from this build's, or which has files that
/// this build does not know.
pub async fn migrate(config: &ClickHouseConfig) -> Result<MigrationReport, Error> {
    config.validate()?;
    let bare = statement_client(config);
    execute(config, &bare, "SELECT 1", "the first query").await?;
    let on_cluster =
        config.cluster.as_ref().map_or(String::new(), |c| format!(" ON CLUSTER '{c}'"));
    let create = format!("CREATE DATABASE IF NOT EXISTS `{}`{on_cluster}", config.database);
    execute(config, &bare, &create, "the database").await?;
    let client = bare.with_database(&config.database);
    apply(config, &client, &MIGRATIONS).await?;
    let mut report = MigrationReport::default();
    let mut known = applied_files(config, &client).await?;
    for file in FILES {
        let now = sha256_hex(file.text);
        match known.remove(&file.number) {
            Some(applied) if applied.sha256 == now => report.present += 1,
            Some(AppliedFile { sha256: applied, .. }) => {
                return Err(Error::MigrationChanged { file: file.name.to_owned(), applied, now });
            }
            None => {
                apply(config, &client, file).await?;
                record(config, &client, file, now).await?;
                report.applied.push(file.name);
            }
        }
    }
    if let Some(AppliedFile { number, name, .. }) = known.into_values().next() {
        return Err(Error::MigrationUnknown { number, name });
    }
    let engines = engines(config, &client).await?;
    for statement in config.retention.statements(&engines, &on_cluster) {
        execute(config, &client, &statement, "the retention of rows").await?;
        tracing::info!(statement, "how long rows are kept was changed");
        report.retention.push(statement);
    }
    Ok(report)
}

/// Each table's engine with everything that belongs to it, its `TTL` too.
async fn engines(
    config: &ClickHouseConfig,
    client: &Client,
) -> Result<BTreeMap<String, String>, Error> {
    let query = "SELECT name, engine_full FROM system.tables WHERE database = currentDatabase()";
    let rows = within(client.query(query).fetch_all::<(String, String)>()).await;
    let rows = rows.map_err(|error| failure(config, &error, "the list of tables"))?;
    Ok(rows.into_iter().collect())
}

/// Migrates as soon as ClickHouse answers, which it must within `patience`.
pub async fn migrate_when_reachable(
    config: &ClickHouseConfig,
    patience: Duration,
) -> Result<MigrationReport, Error> {
    let deadline = tokio::time::Instant::now() + patience;
    let mut backoff = Backoff::default();
    loop {
        match migrate(config).await {
            Err(error @ Error::Unreachable { .. }) => {
                let wait = backoff.next_wait();
                if tokio::time::Instant::now() + wait >= deadline {
                    return Err(error);
                }
                tracing::debug!(%error, "waiting for ClickHouse");
                tokio::time::sleep(wait).await;
            }
            done => return done,
        }
    }
}

async fn apply(config: &ClickHouseConfig, client: &Client, file: &SqlFile) -> Result<(), Error> {
    for statement in statements(file.text, config.cluster.as_deref()) {
        execute(config, client, &statement, file.name).await?;
    }
    Ok(())
}

/// The last word about each file: two migrations at once may both have recorded it.
async fn applied_files(
    config: &ClickHouseConfig,
    client: &Client,
) -> Result<BTreeMap<u32, AppliedFile>, Error> {
    let query = "SELECT groupArray((number, name, sha256)) AS files FROM migrations FINAL";
    let list = within(client.query(query).fetch_one::<AppliedFiles>()).await;
    let list = list.map_err(|error| failure(config, &error, "the list of applied files"))?;
    let files = list.files.into_iter();
    Ok(files.map(|(number, name, sha256)| (number, AppliedFile { number, name, sha256 })).collect())
}

async fn record(
    config: &ClickHouseConfig,
    client: &Client,
    file: &SqlFile,
    sha256: String,
) -> Result<(), Error> {
    let row = AppliedFile { number: file.number, name: file.name.to_owned(), sha256 };
    let written = within(async {
        let client = client.clone().with_setting("async_insert", "0");
        let mut insert = client.insert::<AppliedFile>("migrations").await?;
        insert.write(&row).await?;
        insert.end().await
    });
    written.await.map_err(|error| failure(config, &error, file.name))
}

async fn execute(
    config: &ClickHouseConfig,
    client: &Client,
    statement: &str,
    what: &str,
) -> Result<(), Error> {
    // Raw: a `?` in a statement is a `?`.
    let done = within(client.query_raw(statement).execute()).await;
    done.map_err(|error| failure(config, &error, what))
}

async fn within<T>(
    request: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    tokio::time::timeout(STATEMENT_TIMEOUT, request).await.unwrap_or(Err(ClientError::TimedOut))
}

/// An answer is about the statement; no answer is about the server.
fn failure(config: &ClickHouseConfig, error: &ClientError, what: &str) -> Error {
    match error {
        ClientError::Network(_) | ClientError::TimedOut => {
            Error::Unreachable { url: config.url.clone(), problem: problem(error) }
        }
        _ => Error::Migration { file: what.to_owned(), problem: problem(error) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_clickhouse_that_is_not_there_is_named_in_one_line() {
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = ClickHouseConfig::new(&format!("http://{address}"));
        let error = migrate_when_reachable(&config, Duration::ZERO).await.unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
        let text = error.to_string();
        assert!(text.starts_with(&format!("ClickHouse at http://{address} cannot be used: ")));
        assert!(text.contains("refused") && !text.contains('\n'), "{text}");
    }
}
