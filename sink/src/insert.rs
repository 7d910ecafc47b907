//! Rows into one table: tried until ClickHouse takes them, and cut down to the rows that it will
//! never take.

use crate::backoff::Backoff;
use crate::columns::{Block, Tables};
use crate::decode::{Place, Placed};
use crate::meaning::{Meaning, meaning};
use crate::rows::Record;
use std::borrow::Borrow;
use std::time::Duration;

/// For a part of the rows to leave.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// For the answer, after the last row.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// Rows that become columns before others get a turn on this thread: about a millisecond.
const ROWS_AT_ONCE: usize = 4_096;
/// Rows of one insert that may be refused before it is plain that something else is wrong.
const REFUSED_ROWS_MAX: usize = 100;
/// Failures in a row, of a kind that is in no list, before the rows are looked at one by one.
const UNCLEAR_TRIES: u32 = 5;

/// A row that ClickHouse does not take, and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub place: Place,
    pub problem: String,
}

/// What an insert came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inserted {
    /// In the order of the rows.
    pub refused: Vec<Refused>,
    /// No attempt failed. One that did may have left its token in ClickHouse and not its rows.
    pub at_once: bool,
}

/// Inserts rows under a token. Comes back when ClickHouse has taken all except those returned, or
/// dropped them because it knows the token ([`crate::bring`] looks which), however long it is away
/// or set up wrongly; dropping the future gives up, and the same call with the same token and rows
/// may be made again at any time.
pub async fn insert<M: Record, R: Borrow<Placed<M>>>(
    tables: &Tables,
    token: &str,
    rows: &[R],
) -> Inserted {
    insert_until(tables, token, rows, Unclear::IsWaitedOut).await.unwrap_or_default()
}

/// The same of rows whose neighbours are in already. `None` when ClickHouse takes none of them and
/// it is not clear why: only together with rows that it takes can it be seen whether it is them.
pub async fn insert_some<M: Record, R: Borrow<Placed<M>>>(
    tables: &Tables,
    token: &str,
    rows: &[R],
) -> Option<Inserted> {
    insert_until(tables, token, rows, Unclear::IsTold).await
}

impl Default for Inserted {
    fn default() -> Self {
        Self { refused: Vec::new(), at_once: true }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unclear {
    IsWaitedOut,
    IsTold,
}

async fn insert_until<M: Record, R: Borrow<Placed<M>>>(
    tables: &Tables,
    token: &str,
    rows: &[R],
    unclear: Unclear,
) -> Option<Inserted> {
    if rows.is_empty() {
        return Some(Inserted::default());
    }
    let mut backoff = Backoff::slow();
    let mut tries = 0;
    let mut inserted = loop {
        tries += 1;
        match sift(tables, token, rows).await {
            Ok(inserted) => break inserted,
            Err(Blocked { is_unclear: true, .. }) if unclear == Unclear::IsTold => return None,
            Err(Blocked { problem, .. }) => {
                blocked(M::TABLE, true);
                metrics::counter!("gokart_sink_retries_total", "what" => "setup").increment(1);
                let (table, rows) = (M::TABLE, rows.len());
                tracing::error!(
                    table,
                    rows,
                    problem,
                    "ClickHouse cannot take rows as it is; mend it (tables: `gokart migrate`, access: \
                     --clickhouse-user and its token); they wait in the log until then"
                );
                backoff.wait().await;
                // It may have been mended by changing the table.
                tables.forget(M::TABLE);
            }
        }
    };
    inserted.at_once &= tries == 1;
    blocked(M::TABLE, false);
    metrics::counter!("gokart_sink_rows_total", "table" => M::TABLE)
        .increment((rows.len() - inserted.refused.len()) as u64);
    Some(inserted)
}

/// Whether the rows of a table wait for somebody to mend something.
pub(crate) fn blocked(table: &'static str, is: bool) {
    metrics::gauge!("gokart_sink_blocked", "table" => table).set(f64::from(u8::from(is)));
}

/// Nothing of this kind is taken now: not the rows' fault, and not over soon.
struct Blocked {
    problem: String,
    /// Not known to be anything else.
    is_unclear: bool,
}

/// One way through the rows, cut down to those that ClickHouse does not take.
async fn sift<M: Record, R: Borrow<Placed<M>>>(
    tables: &Tables,
    token: &str,
    rows: &[R],
) -> Result<Inserted, Blocked> {
    let mut inserted = Inserted::default();
    // Parts still to be inserted, the next one last.
    let mut parts = vec![(0, rows.len())];
    let mut any_taken = false;
    let mut unclear = None;
    while let Some((from, end)) = parts.pop() {
        let token = part_token(token, from, end, rows.len());
        let problem = match insert_part(tables, &token, &rows[from..end]).await? {
            Taken::All { at_once } => {
                any_taken = true;
                inserted.at_once &= at_once;
                continue;
            }
            Taken::Nothing { problem, is_unclear } => {
                if is_unclear {
                    unclear.get_or_insert_with(|| problem.clone());
                }
                problem
            }
        };
        if end - from > 1 {
            let middle = from + (end - from) / 2;
            parts.push((middle, end));
            parts.push((from, middle));
            continue;
        }
        if inserted.refused.len() == REFUSED_ROWS_MAX {
            let problem = format!(
                "more than {REFUSED_ROWS_MAX} rows of one insert are refused, so it is not the rows: {problem}"
            );
            return Err(Blocked { problem, is_unclear: false });
        }
        inserted.refused.push(Refused { place: rows[from].borrow().place, problem });
    }
    match unclear {
        // Its neighbours being taken is what shows that it is the row.
        Some(problem) if !any_taken => Err(Blocked { problem, is_unclear: true }),
        _ => Ok(inserted),
    }
}

/// Parts have tokens of their own, the same at every attempt.
fn part_token(token: &str, from: usize, end: usize, rows: usize) -> String {
    if (from, end) == (0, rows) { token.to_owned() } else { format!("{token}:{from}-{end}") }
}

enum Taken {
    All {
        at_once: bool,
    },
    /// A value among them is not acceptable, so none is in.
    Nothing {
        problem: String,
        /// That is only what is left to think.
        is_unclear: bool,
    },
}

async fn insert_part<M: Record, R: Borrow<Placed<M>>>(
    tables: &Tables,
    token: &str,
    rows: &[R],
) -> Result<Taken, Blocked> {
    let mut backoff = Backoff::default();
    let mut unclear = 0;
    let mut at_once = true;
    loop {
        let Err(error) = attempt(tables, token, rows).await else {
            return Ok(Taken::All { at_once });
        };
        at_once = false;
        let problem = match meaning(&error) {
            Meaning::Rows(problem) => return Ok(Taken::Nothing { problem, is_unclear: false }),
            Meaning::Setup(problem) => return Err(Blocked { problem, is_unclear: false }),
            Meaning::Unclear(problem) => {
                unclear += 1;
                if unclear == UNCLEAR_TRIES {
                    return Ok(Taken::Nothing { problem, is_unclear: true });
                }
                problem
            }
            Meaning::Away(problem) => problem,
        };
        metrics::counter!("gokart_sink_retries_total", "what" => "insert").increment(1);
        let (table, rows) = (M::TABLE, rows.len());
        tracing::warn!(table, rows, problem, "ClickHouse did not take rows; trying again");
        backoff.wait().await;
    }
}

async fn attempt<M: Record, R: Borrow<Placed<M>>>(
    tables: &Tables,
    token: &str,
    rows: &[R],
) -> Result<(), clickhouse::error::Error> {
    let layout = tables.layout::<M>().await?;
    let mut block = Block::new(&layout, rows.len());
    for some in rows.chunks(ROWS_AT_ONCE) {
        for row in some {
            block.push(&row.borrow().message.row())?;
        }
        tokio::task::yield_now().await;
    }
    let mut insert = tables
        .client()
        .insert_formatted_with(layout.statement())
        .with_setting("insert_deduplication_token", token)
        .with_timeouts(Some(SEND_TIMEOUT), Some(ANSWER_TIMEOUT));
    for piece in block.finish() {
        insert.send(piece).await?;
    }
    insert.end().await
}
