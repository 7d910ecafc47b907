//! What goes to ClickHouse together, decided without touching anything: time and sizes come in,
//! plans come out.
//!
//! A plan is written down beside the committed offsets before its rows are inserted, and its
//! token goes with the insert. After a crash the same plan is read back ([`crate::recovery`]), and
//! what is not there of it is brought ([`crate::bring`]).

use crate::config::FlushLimits;
use eventlog::{Offset, Position};
use schemas::Topic;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One partition of one topic.
pub type Source = (Topic, u32);

/// Records with `from <= offset < end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetRange {
    pub from: Offset,
    pub end: Offset,
}

/// What stands beside a committed offset while a plan is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanNote {
    /// The plan's id.
    pub plan: String,
    /// The plan's end in this partition.
    pub end: Offset,
    /// How many partitions the plan has.
    pub of: usize,
}

/// Ranges of some partitions whose rows are inserted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Never used for anything else, not even in another life of the same log: topics and disks
    /// are made anew, and then the same offsets hold other records.
    pub id: String,
    pub ranges: BTreeMap<Source, OffsetRange>,
}

impl Plan {
    /// The `insert_deduplication_token` of this plan's rows for one table.
    #[must_use]
    pub fn token(&self, table: &str) -> String {
        format!("{}:{table}", self.id)
    }

    /// When the plan was made, in Unix milliseconds: it is in the id. 0 when the id is not ours.
    #[must_use]
    pub fn made_at_ms(&self) -> i64 {
        let id = self.id.split('/').next().and_then(|id| uuid::Uuid::parse_str(id).ok());
        let made_at = id.and_then(|id| id.get_timestamp()).map(|at| at.to_unix());
        let ms =
            made_at.map_or(0, |(seconds, nanos)| seconds * 1_000 + u64::from(nanos) / 1_000_000);
        i64::try_from(ms).unwrap_or_default()
    }

    /// The positions that write the plan down: nothing is done yet, but it is known what will be.
    #[must_use]
    pub fn written_down(&self) -> Vec<Position> {
        self.positions(|range| {
            let note = PlanNote { plan: self.id.clone(), end: range.end, of: self.ranges.len() };
            // Two numbers and a short text always have a JSON form.
            (range.from, serde_json::to_string(&note).unwrap_or_default())
        })
    }

    /// The positions after all tables took the plan's rows.
    #[must_use]
    pub fn done(&self) -> Vec<Position> {
        self.positions(|range| (range.end, String::new()))
    }

    fn positions(&self, at: impl Fn(&OffsetRange) -> (Offset, String)) -> Vec<Position> {
        let position = |(&(topic, partition), range): (&Source, &OffsetRange)| {
            let (next_offset, note) = at(range);
            Position { topic, partition, next_offset, note }
        };
        self.ranges.iter().map(position).collect()
    }
}

/// Why a plan was closed; the label of the metric `gokart_sink_flushes_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    Rows,
    Bytes,
    Age,
}

impl Cause {
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Bytes => "bytes",
            Self::Age => "age",
        }
    }
}

/// When the next plan is to be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing has been read.
    Idle,
    /// Not before this time, unless more comes.
    At(i64),
    Now(Cause),
}

/// Gathers what has been read until it is worth an insert.
#[derive(Debug)]
pub struct Planner {
    limits: FlushLimits,
    ranges: BTreeMap<Source, OffsetRange>,
    rows: usize,
    bytes: usize,
    since_ms: Option<i64>,
}

impl Planner {
    #[must_use]
    pub fn new(limits: FlushLimits) -> Self {
        Self { limits, ranges: BTreeMap::new(), rows: 0, bytes: 0, since_ms: None }
    }

    /// Takes the next range of a partition, read at `now_ms` (any clock that never goes back).
    pub fn add(
        &mut self,
        source: Source,
        range: OffsetRange,
        rows: usize,
        bytes: usize,
        now_ms: i64,
    ) {
        self.ranges.entry(source).and_modify(|known| known.end = range.end).or_insert(range);
        self.rows += rows;
        self.bytes += bytes;
        self.since_ms.get_or_insert(now_ms);
    }

    /// When to carry out what has been gathered.
    #[must_use]
    pub fn due(&self, now_ms: i64) -> Due {
        let Some(since_ms) = self.since_ms else { return Due::Idle };
        let at = since_ms.saturating_add(self.limits.age_ms);
        if self.rows >= self.limits.rows {
            Due::Now(Cause::Rows)
        } else if self.bytes >= self.limits.bytes {
            Due::Now(Cause::Bytes)
        } else if now_ms >= at {
            Due::Now(Cause::Age)
        } else {
            Due::At(at)
        }
    }

    /// Closes what has been gathered into a plan with a new id, and begins the next.
    pub fn close(&mut self, id: String) -> Plan {
        let gathered = std::mem::replace(self, Self::new(self.limits));
        Plan { id, ranges: gathered.ranges }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FlushLimits = FlushLimits { rows: 10, bytes: 100, age_ms: 50 };
    const CLICKS: Source = (Topic::Clicks, 0);

    fn check(reads: &[(usize, usize, i64)], now_ms: i64, expected: Due) {
        let mut planner = Planner::new(LIMITS);
        for (index, &(rows, bytes, at)) in reads.iter().enumerate() {
            let range = OffsetRange { from: index as u64, end: index as u64 + 1 };
            planner.add(CLICKS, range, rows, bytes, at);
        }
        assert_eq!(planner.due(now_ms), expected, "{reads:?} at {now_ms}");
    }

    #[test]
    fn a_plan_is_due_at_whichever_limit_comes_first() {
        check(&[], 1_000, Due::Idle);
        check(&[(1, 1, 0)], 0, Due::At(50));
        check(&[(1, 1, 0), (1, 1, 40)], 49, Due::At(50));
        check(&[(1, 1, 0), (1, 1, 40)], 50, Due::Now(Cause::Age));
        check(&[(9, 1, 0)], 0, Due::At(50));
        check(&[(9, 1, 0), (1, 1, 0)], 0, Due::Now(Cause::Rows));
        check(&[(1, 99, 0)], 0, Due::At(50));
        check(&[(1, 50, 0), (1, 50, 0)], 0, Due::Now(Cause::Bytes));
        // Records without rows (all broken, or only markers) still move the offset on.
        check(&[(0, 0, 0)], 50, Due::Now(Cause::Age));
    }

    #[test]
    fn closing_begins_anew_and_joins_what_follows_on() {
        let mut planner = Planner::new(LIMITS);
        planner.add(CLICKS, OffsetRange { from: 3, end: 5 }, 2, 2, 0);
        planner.add((Topic::Decisions, 1), OffsetRange { from: 0, end: 9 }, 2, 2, 0);
        planner.add(CLICKS, OffsetRange { from: 5, end: 8 }, 2, 2, 0);
        let plan = planner.close("a".to_owned());
        assert_eq!(plan.ranges[&CLICKS], OffsetRange { from: 3, end: 8 });
        assert_eq!(plan.ranges[&(Topic::Decisions, 1)], OffsetRange { from: 0, end: 9 });
        assert_eq!(planner.due(1_000), Due::Idle);
    }

    #[test]
    fn an_id_tells_its_time() {
        let plan = |id: &str| Plan { id: id.to_owned(), ranges: BTreeMap::new() }.made_at_ms();
        assert_eq!(plan("0199a3b5c1e07abc8def0123456789ab"), 0x0199_a3b5_c1e0);
        assert_eq!(plan("0199a3b5c1e07abc8def0123456789ab/ff070c168c988bb1"), 0x0199_a3b5_c1e0);
        assert_eq!(plan("p"), 0);
    }

    #[test]
    fn a_note_fits_beside_an_offset() {
        let id = uuid::Uuid::nil().simple().to_string();
        let range = OffsetRange { from: u64::MAX - 1, end: u64::MAX };
        let ranges = BTreeMap::from([((Topic::ProcessorState, u32::MAX), range)]);
        for position in (Plan { id, ranges }).written_down() {
            assert!(position.note.len() < eventlog::NOTE_BYTES_MAX / 8, "{}", position.note);
        }
    }
}
