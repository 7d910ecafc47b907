//! The events of an offer, and what a share changes of them.

use super::Checker;
use crate::apply::document::{CapsDocument, EventDocument, OverrideDocument, TargetingDocument};
use crate::apply::fields::At;
use crate::apply::set::Placed;
use crate::apply::value::{Amount, Count, Duration, Flag};
use schemas::offer::{DEADLINE_MS_DEFAULT, EVENTS_MAX};
use schemas::{Caps, Event, EventOverride, Micros, Offer, Targeting};
use std::collections::BTreeMap;

/// The one event ID whose spelling the senders fix (the seeds: "must always be `Install`").
const INSTALL: &str = "Install";
/// Other spellings that one event is known by.
const ALIASES_MAX: usize = 20;

pub(super) fn flag(at: Option<&At<Flag>>) -> bool {
    at.is_some_and(|at| at.value.0)
}

pub(super) fn duration_ms(at: Option<&At<Duration>>, default_ms: i64) -> i64 {
    at.map_or(default_ms, |at| at.value.0)
}

fn micros(at: Option<&At<Amount>>) -> Option<Micros> {
    at.map(|at| at.value.0)
}

pub(super) fn caps(document: Option<&CapsDocument>) -> Caps {
    let count = |at: &Option<At<Count>>| at.as_ref().map(|at| at.value.0);
    document.map_or_else(Caps::default, |it| Caps {
        daily: count(&it.daily),
        weekly: count(&it.weekly),
        monthly: count(&it.monthly),
        total: count(&it.total),
    })
}

pub(super) fn targeting(document: Option<&TargetingDocument>) -> Targeting {
    let Some(document) = document else { return Targeting::default() };
    let mut countries: Vec<String> =
        document.countries.iter().flatten().map(|at| at.value.0.clone()).collect();
    countries.sort();
    countries.dedup();
    let mut platforms: Vec<_> = document.platforms.iter().flatten().map(|at| at.value.0).collect();
    platforms.sort();
    platforms.dedup();
    Targeting {
        countries,
        platforms,
        gender: document.gender.as_ref().map_or_else(String::new, |at| at.value.0.clone()),
        age: document.age.as_ref().map_or_else(String::new, |at| at.value.0.clone()),
    }
}

impl Checker<'_> {
    /// All events of an offer; none when something about them is wrong.
    pub(super) fn check_events<T>(
        &self,
        placed: &Placed<'_, T>,
        documents: Option<&[EventDocument]>,
    ) -> Option<Vec<Event>> {
        let file = placed.file;
        let report = |message: &str| self.problems.add(file, placed.line, "events", message);
        let documents = documents.unwrap_or_default();
        if documents.is_empty() {
            report("an offer has at least one event");
            return None;
        }
        if documents.len() > EVENTS_MAX {
            report(&format!("an offer has at most {EVENTS_MAX} events"));
            return None;
        }
        let distinct = self.check_event_ids(file, documents);
        let ordered = self.check_levels(file, documents);
        let events: Vec<Option<Event>> =
            documents.iter().map(|document| self.check_event(file, document)).collect();
        (distinct && ordered).then(|| events.into_iter().collect()).flatten()
    }

    /// IDs and aliases are unique, and the install event is spelled as every sender spells it.
    fn check_event_ids(&self, file: &str, documents: &[EventDocument]) -> bool {
        let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
        let mut sound = true;
        for document in documents {
            let aliases = document.aliases.iter().flatten();
            for at in document.id.iter().chain(aliases) {
                let text = at.value.0.as_str();
                if let Some(line) = seen.insert(text, at.line) {
                    let message = format!(
                        "{text:?} is in line {line} already; event IDs and aliases are unique in \
                         an offer"
                    );
                    self.report(file, at, message);
                    sound = false;
                }
            }
            if let Some(id) = &document.id {
                let text = id.value.0.as_str();
                if text != INSTALL && text.trim().eq_ignore_ascii_case(INSTALL) {
                    let message = format!(
                        "{text:?} must be spelled {INSTALL:?}: that is what every integration \
                         sends (other spellings can be aliases)"
                    );
                    self.report(file, id, message);
                    sound = false;
                }
            }
        }
        sound
    }

    fn check_levels(&self, file: &str, documents: &[EventDocument]) -> bool {
        let lowest = documents
            .iter()
            .filter_map(|document| document.sequence.as_ref())
            .filter_map(|at| at.value.0.map(|level| (level, at)))
            .min_by_key(|(level, _)| *level);
        match lowest {
            Some((level, at)) if level != 1 => {
                let message = format!("the sequence starts at 1, but {level} is the lowest here");
                self.report(file, at, message);
                false
            }
            _ => true,
        }
    }

    fn check_event(&self, file: &str, document: &EventDocument) -> Option<Event> {
        let deadline_ms = duration_ms(document.deadline.as_ref(), DEADLINE_MS_DEFAULT);
        if let Some(at) = document.deadline.as_ref().filter(|at| at.value.0 == 0) {
            self.report(file, at, "a deadline of 0 would refuse every conversion");
            return None;
        }
        if let Some(at) = document.minimum_time.as_ref().filter(|at| at.value.0 >= deadline_ms) {
            self.report(file, at, "is not shorter than the event's deadline");
            return None;
        }
        let aliases: Vec<_> =
            document.aliases.iter().flatten().map(|at| at.value.0.clone()).collect();
        if aliases.len() > ALIASES_MAX {
            let message = format!("an event has at most {ALIASES_MAX} aliases");
            self.problems.add(file, document.line, "aliases", message);
            return None;
        }
        let revenue = micros(document.revenue.as_ref()).unwrap_or_default();
        Some(Event {
            id: document.id.as_ref()?.value.0.clone(),
            aliases,
            name: document.name.as_ref()?.value.0.as_str().into(),
            sequence: document.sequence.as_ref()?.value.0,
            pending_ms: duration_ms(document.pending_time.as_ref(), 0),
            deadline_ms,
            minimum_ms: duration_ms(document.minimum_time.as_ref(), 0),
            revenue,
            // The seeds know one amount, "what advertiser pays publisher".
            payout: micros(document.payout.as_ref()).unwrap_or(revenue),
            reward: micros(document.reward.as_ref()).unwrap_or_default(),
            repeatable: flag(document.repeatable.as_ref()),
            private: flag(document.private.as_ref()),
            caps: caps(document.caps.as_ref()),
        })
    }

    /// What a share changes: events that the offer has, each once.
    pub(super) fn check_overrides(
        &self,
        file: &str,
        documents: &[OverrideDocument],
        offer: &Offer,
    ) -> Option<Vec<EventOverride>> {
        let mut overrides: Vec<EventOverride> = Vec::new();
        let mut sound = true;
        for document in documents {
            let Some(at) = &document.event else {
                sound = false;
                continue;
            };
            let event = &at.value.0;
            if !offer.events.iter().any(|it| it.id == *event) {
                let known: Vec<&str> = offer.events.iter().map(|it| it.id.as_str()).collect();
                let message = format!(
                    "the offer {} has no event {:?}; there are {}",
                    offer.id,
                    event.as_str(),
                    known.join(", ")
                );
                self.report(file, at, message);
                sound = false;
            } else if overrides.iter().any(|it| it.event == *event) {
                self.report(file, at, format!("{:?} is there twice", event.as_str()));
                sound = false;
            }
            overrides.push(EventOverride {
                event: event.clone(),
                name: document.name.as_ref().map(|at| at.value.0.as_str().into()),
                revenue: micros(document.revenue.as_ref()),
                payout: micros(document.payout.as_ref()),
                reward: micros(document.reward.as_ref()),
                caps: caps(document.caps.as_ref()),
            });
        }
        sound.then_some(overrides)
    }
}
