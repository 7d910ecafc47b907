//! Whether ClickHouse has the rows of a plan that was begun before. Its answers do not tell: they
//! may have got lost. A token does not tell either: ClickHouse notes it before the part that came
//! with it is in place, and killed between the two it knows the token and does not have the rows;
//! and who has only some of the plan's partitions cannot send what the token stands for. So whoever
//! carries a plan out again looks for the rows themselves, by their identity.

use crate::backoff::Backoff;
use crate::client::problem;
use crate::decode::Placed;
use crate::insert::blocked;
use crate::meaning::{Meaning, meaning};
use crate::rows::Record;
use clickhouse::Client;
use clickhouse::error::Error as ClientError;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::time::Duration;

/// From 1970 to 2100: the times of real rows.
const TIMES_MS: std::ops::Range<i64> = 0..4_102_444_800_000;
/// For one table to be looked through.
const LOOK_TIMEOUT: Duration = Duration::from_secs(300);

/// A table in which a row of kind `M` must be found.
pub struct Kept<M> {
    pub table: &'static str,
    /// The identity as text, the same from a message and in SQL.
    pub identity: fn(&M) -> String,
    pub identity_sql: &'static str,
    /// A time of the row, in Unix milliseconds, and its column: most tables are cut into months and
    /// sorted by days of it, so that not all of them has to be read.
    pub time: fn(&M) -> i64,
    pub time_sql: &'static str,
    /// A row of this rank or a higher one is enough: the table may keep only the highest.
    pub rank: fn(&M) -> u32,
    pub rank_sql: &'static str,
}

/// Leaves those rows that are not in every table where they must be, having been inserted at
/// `since_ms` (Unix milliseconds, of ClickHouse's clock) or later. Asks until it is answered.
pub async fn keep_missing<M: Record>(client: &Client, rows: &mut Vec<&Placed<M>>, since_ms: i64) {
    let mut is_missing = vec![false; rows.len()];
    for kept in M::KEPT {
        for index in ask(client, kept, rows, since_ms).await {
            is_missing[index] = true;
        }
    }
    let mut is_missing = is_missing.into_iter();
    rows.retain(|_| is_missing.next().unwrap_or_default());
}

/// Those that are not in one of the tables, by their indexes.
async fn ask<M: Record>(
    client: &Client,
    kept: &Kept<M>,
    rows: &[&Placed<M>],
    since_ms: i64,
) -> Vec<usize> {
    let (mut soon, mut slow) = (Backoff::default(), Backoff::slow());
    let mut is_blocked = false;
    loop {
        let asked = missing_from(client, kept, rows, since_ms);
        let asked = tokio::time::timeout(LOOK_TIMEOUT, asked).await;
        let error = match asked.unwrap_or(Err(ClientError::TimedOut)) {
            Ok(indexes) => {
                if is_blocked {
                    blocked(kept.table, false);
                }
                return indexes;
            }
            Err(error) => error,
        };
        metrics::counter!("gokart_sink_retries_total", "what" => "look").increment(1);
        let (table, problem) = (kept.table, problem(&error));
        if matches!(meaning(&error), Meaning::Setup(_)) {
            is_blocked = true;
            blocked(kept.table, true);
            tracing::error!(
                table,
                problem,
                "ClickHouse does not let its rows be read; mend it (tables: `gokart migrate`, \
                 access: --clickhouse-user and its token)"
            );
            slow.wait().await;
        } else {
            tracing::warn!(table, problem, "ClickHouse cannot be asked; trying again");
            soon.wait().await;
        }
    }
}

async fn missing_from<M: Record>(
    client: &Client,
    kept: &Kept<M>,
    rows: &[&Placed<M>],
    since_ms: i64,
) -> Result<Vec<usize>, ClientError> {
    let messages = || rows.iter().map(|row| &row.message);
    let times = || messages().map(kept.time);
    let (Some(first), Some(last)) = (times().min(), times().max()) else { return Ok(Vec::new()) };
    let key = |it: &M| (short_hash(&(kept.identity)(it)), (kept.rank)(it));
    let keys: Vec<(u64, u32)> = messages().map(key).collect();
    // The highest rank that was found of each that is looked for.
    let mut found: HashMap<u64, Option<u32>> = keys.iter().map(|(hash, _)| (*hash, None)).collect();
    let Kept { table, identity_sql, time_sql, rank_sql, .. } = kept;
    // Beyond them neither the function nor the days of the key are sure.
    let days = if TIMES_MS.contains(&first) && TIMES_MS.contains(&last) {
        format!(
            "AND {time_sql} >= fromUnixTimestamp64Milli({first}, 'UTC') \
             AND {time_sql} <= fromUnixTimestamp64Milli({last}, 'UTC')"
        )
    } else {
        String::new()
    };
    let query = format!(
        "SELECT reinterpretAsUInt64(substring(SHA256({identity_sql}), 1, 8)), toUInt32({rank_sql}) \
         FROM {table} WHERE inserted_at >= fromUnixTimestamp64Milli({since_ms}, 'UTC') {days}"
    );
    let mut cursor = client.query_raw(&query).fetch::<(u64, u32)>()?;
    while let Some((hash, rank)) = cursor.next().await? {
        if let Some(highest) = found.get_mut(&hash) {
            *highest = (*highest).max(Some(rank));
        }
    }
    let is_missing = |(hash, rank): &(u64, u32)| found.get(hash).copied().flatten() < Some(*rank);
    Ok(keys.iter().enumerate().filter(|(_, key)| is_missing(key)).map(|(index, _)| index).collect())
}

/// The first eight bytes, as ClickHouse reads them.
pub fn short_hash(text: &str) -> u64 {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(8).rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_as_clickhouse_has_it() {
        // SELECT reinterpretAsUInt64(substring(SHA256('abc'), 1, 8))
        assert_eq!(short_hash("abc"), 0xeacf_018f_bf16_78ba);
    }
}
