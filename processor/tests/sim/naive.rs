//! The naive implementation of the rules as the judge of the pipeline, with the clock that each
//! commit had. What every commit wrote must be what the models say.

use super::Broken;
use super::cluster::decision;
use super::history::{Past, Taken};
use super::offers::KEYRING;
use crate::naive::Naive;
use eventlog::StoredRecord;
use processor::ProcessorConfig;
use schemas::{Availability, Input, Topic};
use std::collections::BTreeMap;
use std::sync::Arc;

const LAW: &str = "every commit writes what the naive implementation says";

/// Whether the naive implementation would have written what the commits of a partition wrote.
pub fn agrees(partition: u32, past: &Past, input: &[StoredRecord]) -> Result<(), Broken> {
    let mut judge = Judge { naive: Naive::new(Arc::clone(&KEYRING)), published: BTreeMap::new() };
    for (number, taken) in past.taken.iter().enumerate() {
        let records = input.get(taken.from as usize..taken.next as usize).unwrap_or_default();
        judge.commit(taken, records).map_err(|detail| {
            Broken::new(LAW, format!("partition {partition}, commit {number}: {detail}"))
        })?;
    }
    Ok(())
}

struct Judge {
    naive: Naive,
    /// What the ingesters were told last about each scope.
    published: BTreeMap<String, Availability>,
}

impl Judge {
    fn commit(&mut self, taken: &Taken, records: &[StoredRecord]) -> Result<(), String> {
        self.naive.configure(&taken.catalog);
        let decisions = taken.outputs.iter().filter(|(topic, ..)| *topic == Topic::Decisions);
        self.naive.written.extend(decisions.map(|(.., value)| decision(value)));
        for stored in records {
            let Ok(input) = Input::decode(&stored.record.value) else { continue };
            let clock = self.naive.clock.max(input.received_at().min(taken.wall));
            self.naive.clock = clock;
            self.naive.pass_to(clock.plus_ms(-1));
            self.naive.step(&input)?;
        }
        if taken.batch_done {
            if taken.batch_at_end {
                let allowance_ms = ProcessorConfig::default().clock_allowance_ms;
                self.naive.clock = self.naive.clock.max(taken.asked_at.plus_ms(-allowance_ms));
            }
            self.naive.pass_to(self.naive.clock);
        }
        self.naive.compare_timers()?;
        match self.naive.written.pop_front() {
            Some(extra) => Err(format!("nothing should have led to {extra:#?}")),
            None => self.compare_availability(taken),
        }
    }

    fn compare_availability(&mut self, taken: &Taken) -> Result<(), String> {
        for (topic, _, key, value) in &taken.outputs {
            if *topic == Topic::Availability {
                let key = String::from_utf8_lossy(key).into_owned();
                self.published.insert(key, availability(value));
            }
        }
        for model in self.naive.models.values_mut() {
            model.now = self.naive.clock;
            for (scope, expected) in model.availability() {
                let told = self.published.get(&scope.key());
                let found = told.is_none_or(|it| it.is_available(self.naive.clock));
                if found != expected {
                    return Err(format!("{} takes clicks: {expected}, not {found}", scope.key()));
                }
            }
        }
        Ok(())
    }
}

fn availability(value: &[u8]) -> Availability {
    schemas::codec::split(value)
        .and_then(|(version, _, body)| schemas::codec::parse_body(version, body))
        .expect("the simulation reads only what encode wrote")
}
