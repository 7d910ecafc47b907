//! The history as one undisturbed process would have decided it: the same records in log order,
//! with the clock and the configuration that each commit had, on one plain map.

use super::Broken;
use super::history::{Past, Taken, Written};
use super::offers::{KEYRING, PARTITIONS, ROOTS};
use eventlog::StoredRecord;
use processor::ProcessorConfig;
use rules::invariants::{Audit, Invariant, Violation};
use rules::{ClickReference, Decided, DecisionView, MoreDue, Scratch, StepInput};
use schemas::codec::encode;
use schemas::topic::partition_of;
use schemas::{Availability, Decision, Input, OfferId, Postback, ResolvedClick, Topic, UnixMillis};
use std::collections::BTreeMap;

/// Plain state.
#[derive(Default)]
struct Plain(BTreeMap<Vec<u8>, Vec<u8>>);

impl rules::Store for Plain {
    type Error = rules::Damaged;

    fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, rules::Damaged> {
        let Some(stored) = self.0.get(key) else { return Ok(false) };
        value.clone_from(stored);
        Ok(true)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), rules::Damaged> {
        self.0.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), rules::Damaged> {
        self.0.remove(key);
        Ok(())
    }

    fn first_in(
        &mut self,
        from: &[u8],
        end: &[u8],
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<bool, rules::Damaged> {
        let mut entries = self.0.iter().skip_while(|(k, _)| k.as_slice() < from);
        let Some((k, v)) = entries.next().filter(|(k, _)| k.as_slice() < end) else {
            return Ok(false);
        };
        key.clone_from(k);
        value.clone_from(v);
        Ok(true)
    }
}

/// What is decided, copied and then written, in the order it is told.
struct Copied {
    partition: u32,
    outputs: Vec<Written>,
    decisions: Vec<Decision>,
    violations: Vec<String>,
    scratch: Scratch,
}

impl Decided for Copied {
    fn decision(&mut self, decision: &DecisionView<'_>) {
        let decision = decision.to_decision();
        let value = encode(&decision);
        self.decisions.push(decision);
        self.outputs.push((Topic::Decisions, self.partition, Vec::new(), value));
    }

    fn availability(&mut self, it: &Availability) {
        self.outputs.push((Topic::Availability, 0, it.scope.key().into_bytes(), encode(it)));
    }

    fn violated(&mut self, violation: &Violation<'_>) {
        self.violations.push(format!("{violation:?}"));
    }

    fn scratch(&mut self) -> &mut Scratch {
        &mut self.scratch
    }
}

pub struct Replay {
    partition: u32,
    store: Plain,
    clock: UnixMillis,
    version: u64,
    out: Copied,
    audit: Audit,
}

impl Replay {
    /// Decides a partition's whole past again; every commit must have said the same.
    pub fn of(partition: u32, past: &Past, input: &[StoredRecord]) -> Result<Self, Broken> {
        let mut replay = Self {
            partition,
            store: Plain::default(),
            clock: UnixMillis(0),
            version: 0,
            out: Copied {
                partition,
                outputs: Vec::new(),
                decisions: Vec::new(),
                violations: Vec::new(),
                scratch: Scratch::default(),
            },
            audit: Audit::default(),
        };
        let mut done = 0;
        for (number, taken) in past.taken.iter().enumerate() {
            if taken.from != done {
                let detail = format!(
                    "partition {partition}: commit {number} begins at {}, the one before ended at {done}",
                    taken.from
                );
                return Err(Broken::new("commits follow on one another", detail));
            }
            let (from, end) = (taken.from as usize, taken.next as usize);
            let records = input.get(from..end).ok_or_else(|| {
                Broken::new("commits follow on one another", format!("{from}..{end} is no range"))
            })?;
            if taken.catalog.version < replay.version {
                let detail = format!("{} after {}", taken.catalog.version, replay.version);
                return Err(Broken::new("a partition's configuration never goes back", detail));
            }
            replay.commit(taken, records).map_err(|damaged| {
                Broken::new("the rules can read their own state", damaged.to_string())
            })?;
            replay.compare(number, taken)?;
            done = taken.next;
        }
        match input.len() as u64 {
            end if end == done => Ok(replay),
            end => {
                let detail = format!("partition {partition}: {done} of {end} records");
                Err(Broken::new("every record is decided", detail))
            }
        }
    }

    fn commit(&mut self, taken: &Taken, records: &[StoredRecord]) -> Result<(), rules::Damaged> {
        if self.version != taken.catalog.version {
            self.version = taken.catalog.version;
            let Self { partition, store, clock, out, .. } = self;
            let owns = |root: &OfferId| partition_of(root, PARTITIONS) == *partition;
            rules::configuration_changed(store, &taken.catalog, owns, *clock, out)?;
        }
        for stored in records {
            let Ok(input) = Input::decode(&stored.record.value) else {
                let nothing = (Topic::DeadLetters, 0, Vec::new(), Vec::new());
                self.out.outputs.push(nothing);
                continue;
            };
            // The greatest time read, never above the wall clock.
            self.clock = self.clock.max(input.received_at().min(taken.wall));
            self.fire(taken, self.clock.plus_ms(-1))?;
            self.step(taken, &input)?;
        }
        if taken.batch_done {
            if taken.batch_at_end {
                let allowance_ms = ProcessorConfig::default().clock_allowance_ms;
                self.clock = self.clock.max(taken.asked_at.plus_ms(-allowance_ms));
            }
            self.fire(taken, self.clock)?;
        }
        Ok(())
    }

    fn fire(&mut self, taken: &Taken, clock: UnixMillis) -> Result<(), rules::Damaged> {
        let all = usize::MAX;
        let more = rules::fire_due(&mut self.store, &taken.catalog, clock, all, &mut self.out)?;
        debug_assert_eq!(more, MoreDue::No);
        Ok(())
    }

    fn step(&mut self, taken: &Taken, input: &Input) -> Result<(), rules::Damaged> {
        let token = |of: &Postback| of.parameter("gk_click_id").unwrap_or_default().to_owned();
        let tokens: Vec<String> = match input {
            Input::Postback(postback) => vec![token(postback)],
            Input::Command(command) => vec![command.click_id.clone()],
            Input::ClickDetails(_) => vec![String::new()],
            Input::Redecide(command) => command.postbacks.iter().map(token).collect(),
        };
        let opened: Vec<Option<ResolvedClick>> =
            tokens.iter().map(|token| KEYRING.open(token).ok()).collect();
        for click in opened.iter().flatten() {
            debug_assert_eq!(partition_of(&click.root_offer, PARTITIONS), self.partition);
        }
        let clicks: Vec<ClickReference<'_>> = opened
            .iter()
            .zip(&tokens)
            .map(|(opened, token)| match (opened, token.as_str()) {
                (Some(click), _) => ClickReference::Resolved(click),
                (None, "") => ClickReference::Missing,
                (None, _) => ClickReference::Invalid,
            })
            .collect();
        let click = clicks[0];
        let step_input = match input {
            Input::Postback(postback) => StepInput::Postback { postback, click },
            Input::Command(command) => StepInput::Command { command, click },
            Input::Redecide(command) => StepInput::Redecide { command, clicks: &clicks },
            Input::ClickDetails(details) => StepInput::ClickDetails(details),
        };
        rules::step(&mut self.store, &taken.catalog, step_input, self.clock, &mut self.out)
            .map(drop)
    }

    fn compare(&mut self, number: usize, taken: &Taken) -> Result<(), Broken> {
        if let Some(violation) = self.out.violations.first() {
            return Err(Broken::new("the rules keep the named invariants", violation.clone()));
        }
        for decision in std::mem::take(&mut self.out.decisions) {
            self.audit
                .observe(&decision, &taken.catalog)
                .map_err(|broken| Broken::new(broken.statement(), format!("{decision:#?}")))?;
        }
        let expected = std::mem::take(&mut self.out.outputs);
        let mut real = taken.outputs.clone();
        for (topic, .., value) in &mut real {
            // Where it stood and why is tested elsewhere; here it counts that there is one.
            if *topic == Topic::DeadLetters {
                value.clear();
            }
        }
        if real == expected {
            return Ok(());
        }
        let shown = |outputs: &[Written]| {
            let line = |(topic, _, _, value): &Written| {
                format!("  {topic}: {}\n", String::from_utf8_lossy(value))
            };
            outputs.iter().map(line).collect::<String>()
        };
        let detail = format!(
            "partition {}, commit {number}, records {}..{}, should have written\n{}but wrote\n{}",
            self.partition,
            taken.from,
            taken.next,
            shown(&expected),
            shown(&real)
        );
        Err(Broken::new("a commit writes what one undisturbed process would", detail))
    }

    /// Whether the budget that is kept of each root offer is what its rows add up to.
    pub fn adds_up(&mut self) -> Result<(), Broken> {
        for root in ROOTS.map(|root| OfferId::new(root).expect("a slug")) {
            let totals = self.audit.check_totals(&mut self.store, &root);
            if !matches!(totals, Ok(Ok(()))) {
                let law = Invariant::TotalsNetOut.statement();
                return Err(Broken::new(law, format!("{root}: {totals:?}")));
            }
        }
        Ok(())
    }

    /// Whether a disk holds the same state in the end.
    pub fn ends_in(&self, state: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<(), Broken> {
        if *state == self.store.0 {
            return Ok(());
        }
        let differs = |key: &&Vec<u8>| state.get(*key) != self.store.0.get(*key);
        let key = self.store.0.keys().chain(state.keys()).find(differs);
        let detail = format!("partition {}: they differ at {key:?}", self.partition);
        Err(Broken::new("the state is what one undisturbed process would have", detail))
    }
}
