//! Rule 9: levels. An event needs the nearest populated level below its own; what changes on one
//! level ripples up through those above it, in the same step.

use crate::case::Case;
use crate::flags::FlagSet;
use crate::keys::EventHash;
use crate::kind::Kind;
use crate::store::Store;
use schemas::{Event, Flag, SequenceRule, UnixMillis};

impl<S: Store> Case<'_, '_, S> {
    /// The level that an event needs, if it needs one.
    pub fn level_below(&self, event: &Event) -> Option<u32> {
        let own = event.sequence?;
        self.offer.events.iter().filter_map(|it| it.sequence).filter(|level| *level < own).max()
    }

    /// When a level was met, if it is: at the first event of it that was, or the last where every
    /// one is asked for.
    pub fn level_met_at(&self, level: u32) -> Option<UnixMillis> {
        let mut events =
            self.offer.events.iter().filter(|it| it.sequence == Some(level)).map(|event| {
                let hash = EventHash::of(&event.id);
                let met = |record: &&crate::record::Record| {
                    record.event == hash && record.kind.meets_level()
                };
                self.state.records.iter().filter(met).map(|record| record.happened_at).min()
            });
        match self.offer.sequence_rule {
            SequenceRule::Any => events.flatten().min(),
            SequenceRule::All => {
                events.try_fold(None, |last, at| at.map(|at| Some(at).max(last))).flatten()
            }
        }
    }

    /// Whether everything that an event needs is there.
    pub fn sequence_met(&self, event: &Event) -> bool {
        self.level_below(event).is_none_or(|level| self.level_met_at(level).is_some())
    }

    /// Repeatable conversions are only looked at one by one, unless some are part of the sequence.
    pub fn load_sequence(&mut self) -> Result<(), S::Error> {
        if self.offer.events.iter().any(|event| event.repeatable && event.sequence.is_some()) {
            self.state.load_repeatables(self.store, self.scratch)?;
        }
        Ok(())
    }

    /// After any revision: dependents of what was lost, then whatever waits and need not any more.
    /// An operator's words are about what was decided before, not about what follows from it.
    pub fn ripple(&mut self) -> Result<(), S::Error> {
        self.is_noting = false;
        loop {
            if let Some(level) = self.lost_levels.pop() {
                if self.level_met_at(level).is_none() {
                    self.reject_dependents(level)?;
                }
            } else if let Some(index) = self.next_released() {
                self.decide(index)?;
            } else {
                return Ok(());
            }
        }
    }

    /// What was held on the strength of a level goes with it; what has succeeded stays, flagged.
    fn reject_dependents(&mut self, lost: u32) -> Result<(), S::Error> {
        let order = self.in_order();
        for index in order.iter().copied() {
            let Some(event_of) = self.event_at(index) else { continue };
            if self.level_below(event_of.event()) != Some(lost) {
                continue;
            }
            let record = &self.state.records[index];
            if record.kind == Kind::Hold {
                self.settle(index, Kind::PrerequisiteRejected, None)?;
            } else if record.kind.succeeded() && !record.flags.has(Flag::PrerequisiteRejectedLater)
            {
                let mut flags = FlagSet::default();
                flags.add(Flag::PrerequisiteRejectedLater);
                self.add_flags(index, flags);
                self.revise(index)?;
            }
        }
        self.scratch.order = order;
        Ok(())
    }

    /// The first waiting conversion whose sequence is met.
    fn next_released(&self) -> Option<usize> {
        // Almost always nothing waits, and nothing needs to be put in order.
        if !self.state.records.iter().any(|record| record.kind == Kind::Waiting) {
            return None;
        }
        (0..self.state.records.len())
            .filter(|index| {
                self.state.records[*index].kind == Kind::Waiting
                    && self.event_at(*index).is_some_and(|it| self.sequence_met(it.event()))
            })
            .min_by_key(|index| self.place(*index))
    }

    /// The loaded records: lower levels first, then as they arrived. In a buffer of
    /// [`crate::Scratch`], for the caller to put back.
    pub fn in_order(&mut self) -> Vec<usize> {
        let mut order = std::mem::take(&mut self.scratch.order);
        order.clear();
        order.extend(0..self.state.records.len());
        order.sort_unstable_by_key(|index| (self.place(*index), *index));
        order
    }

    /// What a record's place among the others goes by.
    fn place(&self, index: usize) -> impl Ord + use<S> {
        let record = &self.state.records[index];
        let level = self.event_at(index).and_then(|it| it.event().sequence);
        (level, record.received_at, record.event, record.unique)
    }
}
