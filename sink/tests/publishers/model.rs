//! A partition's desk under anything that can happen, judged by what was committed: decisions,
//! answers of every kind in any order, clocks that jump, crashes, and commits that are lost.

use crate::world::{START, conversion, documents, get};
use bytes::Bytes;
use eventlog::{PartitionState, ReadError, Record, StoredRecord};
use proptest::prelude::*;
use schemas::time::{DAY_MS, HOUR_MS, SECOND_MS};
use schemas::{
    Catalog, Decision, DeliveryAttempt, DeliveryOutcome, DeliveryProblem, UnixMillis, codec,
};
use serde_json::json;
use sink::DelivererConfig;
use sink::publishers::desk::{Begin, Desk, Finished};
use sink::publishers::gates::Gates;
use sink::publishers::keys::Place;
use sink::publishers::schedule::{Answer, RETRY_MS};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

const CONVERSIONS: u32 = 4;
const STATUSES: [&str; 3] = ["Pending", "Success", "Rejected"];
/// The shortest and the longest wait that are ours; a publisher's wish may be longer.
const WAIT_MS: std::ops::RangeInclusive<i64> = 5 * SECOND_MS..=6 * HOUR_MS;
const WISH_MS: i64 = 10 * HOUR_MS;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A conversion has a new revision with this status.
    Decide(u32, usize),
    Turn,
    /// One of the requests under way ends.
    Answer(usize, Ending),
    Advance(i64),
    Crash,
    /// A turn whose commit does not come about.
    LostCommit,
}

#[derive(Debug, Clone, Copy)]
enum Ending {
    Status(u16),
    Wish(u16),
    Problem(DeliveryProblem),
}

impl Ending {
    fn answer(self) -> Answer {
        let (status, problem, wish) = match self {
            Self::Status(status @ 200..=299) => (Some(status), None, None),
            Self::Status(status) => (Some(status), Some(DeliveryProblem::Status), None),
            Self::Wish(status) => (Some(status), Some(DeliveryProblem::Status), Some(WISH_MS)),
            Self::Problem(problem) => (None, Some(problem), None),
        };
        Answer { status, problem, retry_after_ms: wish, latency_ms: 1 }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ending = prop_oneof![
        4 => Just(Ending::Status(200)),
        4 => prop::sample::select(vec![500, 503, 408, 429]).prop_map(Ending::Status),
        2 => prop::sample::select(vec![404, 302]).prop_map(Ending::Status),
        1 => Just(Ending::Wish(429)),
        2 => Just(Ending::Problem(DeliveryProblem::Timeout)),
        1 => Just(Ending::Problem(DeliveryProblem::Address)),
    ];
    let jump = prop_oneof![
        6 => 0..20 * SECOND_MS,
        3 => 0..2 * HOUR_MS,
        1 => 0..DAY_MS,
        1 => -10 * SECOND_MS..0,
    ];
    let step = prop_oneof![
        4 => (0..CONVERSIONS, 0..STATUSES.len()).prop_map(|(n, status)| Step::Decide(n, status)),
        8 => Just(Step::Turn),
        6 => (any::<prop::sample::Index>(), ending)
            .prop_map(|(which, ending)| Step::Answer(which.index(1 << 20), ending)),
        4 => jump.prop_map(Step::Advance),
        1 => Just(Step::Crash),
        1 => Just(Step::LostCommit),
    ];
    prop::collection::vec(step, 1..150)
}

/// What is durable: the only thing that a crash leaves.
#[derive(Default)]
struct Durable {
    state: BTreeMap<Vec<u8>, Vec<u8>>,
    offset: u64,
    rows: Vec<DeliveryAttempt>,
}

impl PartitionState for Durable {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        Ok(self.state.get(key).map(|value| value.clone().into()))
    }

    fn first_in(&self, from: &[u8], end: &[u8]) -> Result<Option<(Bytes, Bytes)>, ReadError> {
        let range = (Bound::Included(from), Bound::Excluded(end));
        let first = self.state.range::<[u8], _>(range).next();
        Ok(first.map(|(key, value)| (key.clone().into(), value.clone().into())))
    }
}

struct Story {
    catalog: Catalog,
    durable: Durable,
    /// The topic `decisions`.
    log: Vec<StoredRecord>,
    gates: Gates,
    desk: Desk,
    under_way: Vec<Begin>,
    answered: Vec<Finished>,
    now: UnixMillis,
    /// Revision and status of each conversion so far.
    conversions: BTreeMap<u32, (u32, usize)>,
    /// What must be told: destination, conversion, revision.
    expected: BTreeSet<(String, String, u32)>,
    /// When each may be tried again.
    not_before: BTreeMap<Place, UnixMillis>,
    ended: BTreeMap<(String, String, u32), DeliveryOutcome>,
    ids: BTreeMap<String, (String, String, u32)>,
}

fn key(place: &Place) -> (String, String, u32) {
    (place.destination.to_string(), place.conversion.clone(), place.revision)
}

impl Story {
    fn new() -> Self {
        let mut catalog = Catalog::default();
        let with = |name: &str, statuses| {
            let mut postback = get(name, "https://acme.example/");
            postback["statuses"] = statuses;
            postback["per_second"] = json!(10_000);
            postback
        };
        let postbacks = json!([with("main", json!(["Success"])), with("all", json!(STATUSES))]);
        catalog.apply(1, documents(vec![("p".to_owned(), postbacks)], json!([])));
        let durable = Durable::default();
        let gates = Gates::new(&DelivererConfig::default());
        let desk = Desk::open(0, 0, &durable, &gates).unwrap();
        Self {
            catalog,
            durable,
            log: Vec::new(),
            gates,
            desk,
            under_way: Vec::new(),
            answered: Vec::new(),
            now: UnixMillis(START),
            conversions: BTreeMap::new(),
            expected: BTreeSet::new(),
            not_before: BTreeMap::new(),
            ended: BTreeMap::new(),
            ids: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Decide(n, status) => self.decide(n, status),
            Step::Turn => self.turn(true),
            Step::LostCommit => self.turn(false),
            Step::Crash => self.crash(),
            Step::Advance(ms) => self.now = self.now.plus_ms(ms),
            Step::Answer(_, _) if self.under_way.is_empty() => {}
            Step::Answer(which, ending) => self.answer(which % self.under_way.len(), ending),
        }
    }

    fn decide(&mut self, n: u32, status: usize) {
        let before = self.conversions.get(&n).copied();
        let revision = before.map_or(1, |(revision, _)| revision + 1);
        self.conversions.insert(n, (revision, status));
        let it = conversion(n, revision, STATUSES[status]);
        if before.is_none_or(|(_, before)| before != status) {
            let id = it.conversion_id.to_string();
            self.expected.insert(("publisher/p/all".to_owned(), id.clone(), revision));
            if STATUSES[status] == "Success" {
                self.expected.insert(("publisher/p/main".to_owned(), id, revision));
            }
        }
        let decision = Decision { conversions: vec![it], ..Decision::default() };
        let value = codec::encode(&decision).into();
        let record = Record { key: Bytes::new(), value, at: self.now };
        self.log.push(StoredRecord { offset: self.log.len() as u64, record });
    }

    fn turn(&mut self, commits: bool) {
        if self.desk.wants_records() {
            let unread = self.log[self.durable.offset as usize..].to_vec();
            self.desk.give(unread, self.log.len() as u64);
        }
        let answered = std::mem::take(&mut self.answered);
        let with = (&self.catalog, &self.gates);
        let commit = self.desk.settle(&self.durable, answered, with, self.now).unwrap();
        if !commits {
            return self.crash();
        }
        if let Some(commit) = commit {
            self.durable.offset = commit.next_offset;
            for (key, value) in commit.state_changes {
                match value {
                    Some(value) => self.durable.state.insert(key, value),
                    None => self.durable.state.remove(&key),
                };
            }
            for (_, _, record) in commit.outputs {
                let row: DeliveryAttempt = codec::decode(&record.value).unwrap();
                self.check_row(&row);
                self.durable.rows.push(row);
            }
        }
        self.desk.look_again(self.now);
        let with = (&self.catalog, &self.gates);
        for begin in self.desk.begin(&self.durable, with, self.now).unwrap() {
            self.check_begin(&begin);
            self.under_way.push(begin);
        }
    }

    fn crash(&mut self) {
        (self.under_way, self.answered) = (Vec::new(), Vec::new());
        self.gates = Gates::new(&DelivererConfig::default());
        self.desk = Desk::open(0, self.durable.offset, &self.durable, &self.gates).unwrap();
    }

    fn answer(&mut self, which: usize, ending: Ending) {
        let Begin { place, .. } = self.under_way.swap_remove(which);
        let answer = ending.answer();
        self.gates.finished(&place.destination, Some(&answer), self.now);
        self.answered.push(Finished { place, answer, began_at: self.now, unit: 0.5 });
    }

    fn check_row(&mut self, row: &DeliveryAttempt) {
        let place = Place {
            destination: row.destination.clone(),
            conversion: row.conversion_id.to_string(),
            revision: row.revision,
        };
        let meaning = self.ids.entry(row.delivery_id.to_string()).or_insert_with(|| key(&place));
        assert_eq!(*meaning, key(&place), "one id for two things");
        match row.outcome {
            DeliveryOutcome::Waiting => {
                assert!(self.expected.contains(&key(&place)), "nobody asked for {place:?}");
            }
            DeliveryOutcome::Retrying => {
                let next = row.next_attempt_at.expect("a time to try again");
                let wait = next.since(self.now);
                assert!(WAIT_MS.contains(&wait) || wait == WISH_MS, "waits {wait} ms");
                assert!(next < row.created_at.plus_ms(RETRY_MS), "later than three days");
                self.not_before.insert(place, next);
            }
            outcome => {
                let before = self.ended.insert(key(&place), outcome);
                assert_eq!(before, None, "{place:?} ended twice");
            }
        }
    }

    fn check_begin(&self, begin: &Begin) {
        let place = &begin.place;
        let is_same_lane = |it: &Begin| {
            it.place.destination == place.destination && it.place.conversion == place.conversion
        };
        assert!(!self.under_way.iter().any(is_same_lane), "two under way of {place:?}");
        assert!(!self.ended.contains_key(&key(place)), "{place:?} had ended");
        let not_before = self.not_before.get(place).copied().unwrap_or_default();
        assert!(not_before <= self.now, "{place:?} is tried too soon");
        let (destination, conversion, revision) = key(place);
        let earlier =
            (destination.clone(), conversion.clone(), 0)..(destination, conversion, revision);
        for before in self.expected.range(earlier) {
            assert!(self.ended.contains_key(before), "{place:?} goes out before {before:?}");
        }
    }

    /// Time goes on, and half of all attempts fail: everything ends all the same.
    fn finish(&mut self) {
        for round in 0..(5 * DAY_MS / HOUR_MS) {
            for _ in 0..6 {
                self.turn(true);
                while !self.under_way.is_empty() {
                    let fails = round % 2 == 0;
                    self.answer(0, Ending::Status(if fails { 503 } else { 200 }));
                }
            }
            self.now = self.now.plus_ms(HOUR_MS);
        }
        let ended: BTreeSet<_> = self.ended.keys().cloned().collect();
        assert_eq!(ended, self.expected, "each ends once, and nothing else does");
        let waiting = self.durable.state.keys().filter(|key| b"mto".contains(&key[0]));
        assert_eq!(waiting.count(), 0, "something waits for nothing");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn one_at_a_time_in_order_to_an_end(steps in steps()) {
        let mut story = Story::new();
        for step in steps {
            story.step(step);
        }
        story.finish();
    }
}
