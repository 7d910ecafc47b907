//! The promise at the level of plans, without I/O: whatever happens between which steps, every
//! record's row is there, physically once, also when partitions move in the middle of a plan.
//!
//! The model of ClickHouse keeps what the sink relies on: an insert with a known token changes
//! nothing, and what was inserted is found. That a token may be known without its rows, and rows
//! refused, is tried on the real engine. The model of the log keeps positions with their notes.

use eventlog::Position;
use proptest::prelude::*;
use schemas::Topic;
use sink::FlushLimits;
use sink::plan::{Due, OffsetRange, Plan, Planner, Source};
use sink::recovery::recover;
use std::collections::{BTreeMap, BTreeSet};

const TABLES: [&str; 2] = ["postbacks", "conversions"];
const SOURCES: [Source; 3] = [(Topic::Clicks, 0), (Topic::Decisions, 0), (Topic::Decisions, 1)];
const RECORDS: u64 = 40;
const LIMITS: FlushLimits = FlushLimits { rows: 7, bytes: 1_000, age_ms: 10 };

/// One row: its table and the record it came from.
type Row = (&'static str, Source, u64);

#[derive(Default)]
struct ClickHouse {
    tokens: BTreeSet<String>,
    rows: Vec<Row>,
}

impl ClickHouse {
    fn insert(&mut self, table: &'static str, plan: &Plan) {
        self.insert_under(plan.token(table), rows_of(table, plan));
    }

    /// A plan that somebody may have begun: what is there is left out.
    fn insert_again(&mut self, table: &'static str, plan: &Plan) {
        let is_missing = |row: &Row| !self.rows.contains(row);
        let missing: Vec<Row> = rows_of(table, plan).into_iter().filter(is_missing).collect();
        if !missing.is_empty() {
            self.insert_under(plan.token(table), missing);
        }
    }

    fn insert_under(&mut self, token: String, rows: Vec<Row>) {
        // The heart of it: a token that is known never comes with rows that are not in.
        if self.tokens.contains(&token) {
            assert!(rows.iter().all(|row| self.rows.contains(row)), "{token} is lost on {rows:?}");
        } else {
            self.rows.extend(&rows);
            self.tokens.insert(token);
        }
    }

    /// Every row is there, and once.
    fn check(&self) {
        let mut seen = self.rows.clone();
        seen.sort_unstable();
        let all = TABLES.iter().flat_map(|table| {
            SOURCES.iter().flat_map(|source| (0..RECORDS).map(|offset| (*table, *source, offset)))
        });
        let mut all: Vec<Row> = all.collect();
        all.sort_unstable();
        assert_eq!(seen, all);
    }
}

fn rows_of(table: &'static str, plan: &Plan) -> Vec<Row> {
    let records = plan.ranges.iter().flat_map(|(source, range)| {
        (range.from..range.end).map(move |offset| (table, *source, offset))
    });
    records.collect()
}

struct World {
    clickhouse: ClickHouse,
    positions: BTreeMap<Source, Position>,
    /// Numbers plans: an id is never used twice.
    plans: u32,
}

impl World {
    fn new() -> Self {
        let start = |(topic, partition)| {
            let note = String::new();
            ((topic, partition), Position { topic, partition, next_offset: 0, note })
        };
        Self { clickhouse: ClickHouse::default(), positions: SOURCES.map(start).into(), plans: 0 }
    }

    fn commit(&mut self, positions: Vec<Position>) {
        for position in positions {
            self.positions.insert((position.topic, position.partition), position);
        }
    }

    /// A sink's life with some partitions: recovery, then flushes, for as many steps as it lives.
    /// `reads` says of which partition how much is read next.
    fn live(&mut self, owned: &[Source], reads: &[(usize, u64)], mut steps: usize) {
        let mut alive = || {
            steps = steps.saturating_sub(1);
            steps > 0
        };
        let recovery = recover(owned.iter().map(|source| &self.positions[source])).unwrap();
        for plan in &recovery.plans {
            if !self.insert_and_commit(plan, ClickHouse::insert_again, &mut alive) {
                return;
            }
        }
        let mut next = recovery.starts;
        let mut planner = Planner::new(LIMITS);
        for &(index, count) in reads {
            let source = owned[index % owned.len()];
            let from = next[&source];
            let end = (from + count).min(RECORDS);
            if from == end {
                continue;
            }
            next.insert(source, end);
            planner.add(source, OffsetRange { from, end }, (end - from) as usize, 1, 0);
            if let Due::Now(_) = planner.due(0) {
                let plan = self.close(&mut planner);
                self.commit(plan.written_down());
                if !alive() || !self.insert_and_commit(&plan, ClickHouse::insert, &mut alive) {
                    return;
                }
            }
        }
        if planner.due(0) != Due::Idle {
            let plan = self.close(&mut planner);
            self.commit(plan.written_down());
            if alive() {
                self.insert_and_commit(&plan, ClickHouse::insert, &mut alive);
            }
        }
    }

    fn close(&mut self, planner: &mut Planner) -> Plan {
        self.plans += 1;
        planner.close(self.plans.to_string())
    }

    fn insert_and_commit(
        &mut self,
        plan: &Plan,
        insert: fn(&mut ClickHouse, &'static str, &Plan),
        alive: &mut impl FnMut() -> bool,
    ) -> bool {
        for table in TABLES {
            insert(&mut self.clickhouse, table, plan);
            if !alive() {
                return false;
            }
        }
        self.commit(plan.done());
        alive()
    }

    /// Lives until everything is there.
    fn finish(&mut self) {
        let reads: Vec<(usize, u64)> = (0..SOURCES.len()).map(|index| (index, RECORDS)).collect();
        self.live(&SOURCES, &reads, usize::MAX);
        self.clickhouse.check();
    }
}

fn reads() -> impl Strategy<Value = Vec<(usize, u64)>> {
    prop::collection::vec((0..SOURCES.len(), 1..6u64), 1..30)
}

proptest! {
    /// One owner, as on the local log.
    #[test]
    fn one_owner_inserts_every_row_once(
        lives in prop::collection::vec((reads(), 1..20usize), 1..12),
    ) {
        let mut world = World::new();
        for (reads, steps) in &lives {
            world.live(&SOURCES, reads, *steps);
        }
        world.finish();
    }

    /// Partitions that move in the middle of a plan.
    #[test]
    fn moving_partitions_lose_and_repeat_nothing(
        lives in prop::collection::vec((reads(), 1..20usize, 1..(1 << SOURCES.len())), 1..12),
    ) {
        let mut world = World::new();
        for (reads, steps, mask) in &lives {
            let owned: Vec<Source> = SOURCES
                .iter()
                .enumerate()
                .filter(|(index, _)| mask & (1 << index) != 0)
                .map(|(_, source)| *source)
                .collect();
            world.live(&owned, reads, *steps);
        }
        world.finish();
    }
}
