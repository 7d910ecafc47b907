//! A plan's rows of one table, until each is there or refused.
//!
//! ClickHouse drops whatever comes under a token that it knows, and it may know the token and not
//! have the rows ([`crate::kept`]). So wherever a token may have been used before, by an attempt
//! that failed or by whoever began the plan, the rows themselves are looked for, and those that are
//! not there go again under a token that was never used.

use crate::columns::Tables;
use crate::decode::Placed;
use crate::insert::{Refused, insert, insert_some};
use crate::kept::keep_missing;
use crate::plan::Plan;
use crate::rows::Record;

/// How far ClickHouse's clock may be behind that of whoever made a plan. What was inserted since then
/// is read when rows are looked for; were the clock further behind, rows that are there would come
/// again, for the tables to collapse.
const CLOCK_SKEW_MS: i64 = 5 * 60 * 1_000;

/// What may have been done of a plan before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// It was just made.
    Nothing,
    /// It was found: anything, together with more partitions perhaps than there are now. What is
    /// there is left out.
    Anything,
    /// The same on a cluster, where a row that one replica has is not safe yet: everything goes
    /// again.
    AnythingOnCluster,
}

/// Comes back when every row is there except those returned. May be given up at any time, and called
/// again with the same plan and rows, and then no longer with [`Before::Nothing`].
pub async fn bring<M: Record>(
    tables: &Tables,
    plan: &Plan,
    before: Before,
    rows: &[Placed<M>],
) -> Vec<Refused> {
    let since_ms = plan.made_at_ms().saturating_sub(CLOCK_SKEW_MS);
    let mut left: Vec<&Placed<M>> = rows.iter().collect();
    if before == Before::Anything {
        keep_missing(tables.client(), &mut left, since_ms).await;
    }
    let mut token = plan.token(M::TABLE);
    let mut is_ours_alone = before == Before::Nothing;
    let mut refused = Vec::new();
    let mut with_all = false;
    while !left.is_empty() {
        let inserted = if with_all || left.len() == rows.len() {
            insert(tables, &token, &left).await
        } else if let Some(inserted) = insert_some(tables, &token, &left).await {
            inserted
        } else {
            // Once more as it was at first: which rows are at fault shows beside the others.
            with_all = true;
            refused.clear();
            left = rows.iter().collect();
            token = plan.token(M::TABLE);
            is_ours_alone = false;
            continue;
        };
        left.retain(|row| inserted.refused.iter().all(|it| it.place != row.place));
        refused.extend(inserted.refused);
        if is_ours_alone && inserted.at_once {
            break;
        }
        keep_missing(tables.client(), &mut left, since_ms).await;
        if left.is_empty() {
            break;
        }
        let (table, count) = (M::TABLE, left.len());
        tracing::warn!(
            plan = plan.id,
            table,
            count,
            "ClickHouse lost rows it had taken; they go again"
        );
        metrics::counter!("gokart_sink_rows_restored_total", "table" => table)
            .increment(count as u64);
        token = format!("{}:again:{}", plan.token(table), uuid::Uuid::now_v7().simple());
        is_ours_alone = true;
    }
    refused
}
