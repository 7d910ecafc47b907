//! Rows into one table: tried until ClickHouse takes them, and cut down to the rows that it will
//! never take.

use crate::backoff::Backoff;
use crate::client::{Meaning, meaning};
use crate::decode::{Place, Placed};
use crate::error::Error;
use crate::rows::Record;
use clickhouse::Client;
use std::time::Duration;

/// For a part of the rows to leave.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// For the answer, after the last row.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// Rows of one insert that may be refused before it is plain that something else is wrong.
const REFUSED_ROWS_MAX: usize = 100;

/// A row that ClickHouse does not take, and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub place: Place,
    pub problem: String,
}

/// Inserts rows under a token. Comes back when all are in except those returned, however long
/// ClickHouse is away; dropping the future gives up, and the same call with the same token and
/// rows may be made again at any time.
pub async fn insert<M: Record>(
    client: &Client,
    token: &str,
    rows: &[Placed<M>],
) -> Result<Vec<Refused>, Error> {
    let mut refused = Vec::new();
    // Parts still to be inserted, the next one last.
    let mut parts = if rows.is_empty() { Vec::new() } else { vec![(0, rows.len())] };
    while let Some((from, end)) = parts.pop() {
        let token = part_token(token, from, end, rows.len());
        match insert_part(client, &token, &rows[from..end]).await? {
            Taken::All => {}
            Taken::Nothing { problem } if end - from == 1 => {
                if refused.len() == REFUSED_ROWS_MAX {
                    let (table, limit) = (M::TABLE, REFUSED_ROWS_MAX);
                    return Err(Error::TooManyRefused { table, limit, problem });
                }
                refused.push(Refused { place: rows[from].place, problem });
            }
            Taken::Nothing { .. } => {
                let middle = from + (end - from) / 2;
                parts.push((middle, end));
                parts.push((from, middle));
            }
        }
    }
    metrics::counter!("gokart_sink_rows_total", "table" => M::TABLE)
        .increment((rows.len() - refused.len()) as u64);
    Ok(refused)
}

/// Parts have tokens of their own, the same at every attempt.
fn part_token(token: &str, from: usize, end: usize, rows: usize) -> String {
    if (from, end) == (0, rows) { token.to_owned() } else { format!("{token}:{from}-{end}") }
}

enum Taken {
    All,
    /// A value among them is not acceptable, so none is in.
    Nothing {
        problem: String,
    },
}

async fn insert_part<M: Record>(
    client: &Client,
    token: &str,
    rows: &[Placed<M>],
) -> Result<Taken, Error> {
    let mut backoff = Backoff::default();
    loop {
        let Err(error) = attempt(client, token, rows).await else { return Ok(Taken::All) };
        match meaning(&error) {
            Meaning::Rows(problem) => return Ok(Taken::Nothing { problem }),
            Meaning::Table(problem) => {
                return Err(Error::TableMismatch { table: M::TABLE, problem });
            }
            Meaning::Away(problem) => {
                metrics::counter!("gokart_sink_retries_total", "what" => "insert").increment(1);
                let (table, rows) = (M::TABLE, rows.len());
                tracing::warn!(table, rows, problem, "ClickHouse did not take rows; trying again");
                backoff.wait().await;
            }
        }
    }
}

async fn attempt<M: Record>(
    client: &Client,
    token: &str,
    rows: &[Placed<M>],
) -> Result<(), clickhouse::error::Error> {
    let mut insert = client
        .insert::<M::Row>(M::TABLE)
        .await?
        .with_setting("insert_deduplication_token", token)
        .with_timeouts(Some(SEND_TIMEOUT), Some(ANSWER_TIMEOUT));
    for row in rows {
        insert.write(&row.message.row()).await?;
    }
    insert.end().await
}
