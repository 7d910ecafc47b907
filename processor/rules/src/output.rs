//! Whom the rules tell what they decided.

use crate::invariants::{Invariant, Violation};
use crate::record::Record;
use crate::revisions::Row;
use crate::view::DecisionView;
use schemas::{Availability, Decision};

/// Takes what steps and timers lead to, in order, while it is still borrowed from what led to it;
/// whoever needs it later writes it out or copies it.
pub trait Decided {
    /// At most one for each input, one for each timer that changed something.
    fn decision(&mut self, decision: &DecisionView<'_>);

    /// An offer or share became used up, or available again.
    fn availability(&mut self, availability: &Availability);

    /// Something was seen that must never be: what was decided stands, and somebody must look.
    fn violated(&mut self, violation: &Violation<'_>);

    /// The buffers that the rules work in. Whoever gives the same ones to every step lets an
    /// ordinary postback be decided without a single allocation.
    fn scratch(&mut self) -> &mut Scratch;
}

/// Keeps everything, for tests and simulations.
#[derive(Debug, Default)]
pub struct Output {
    pub decisions: Vec<Decision>,
    pub availability: Vec<Availability>,
    pub violations: Vec<Invariant>,
    scratch: Scratch,
}

impl Output {
    /// Forgets the results and keeps the buffers.
    pub fn clear(&mut self) {
        self.decisions.clear();
        self.availability.clear();
        self.violations.clear();
    }
}

impl Decided for Output {
    fn decision(&mut self, decision: &DecisionView<'_>) {
        self.decisions.push(decision.to_decision());
    }

    fn availability(&mut self, availability: &Availability) {
        self.availability.push(availability.clone());
    }

    fn violated(&mut self, violation: &Violation<'_>) {
        self.violations.push(violation.invariant);
    }

    fn scratch(&mut self) -> &mut Scratch {
        &mut self.scratch
    }
}

/// Larger lists than this are given back to the machine: one odd click shall not hold memory.
const KEPT_ITEMS_MAX: usize = 64;

/// Memory that is used again and again; holds nothing between steps.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Keys and values on their way from and to the store.
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    /// The key of the timer that fires.
    pub(crate) timer: Vec<u8>,
    /// Where a walk over many keys goes on.
    pub(crate) from: Vec<u8>,
    /// A click's sub-ids out of its details.
    pub(crate) details: Vec<u8>,
    /// Places in a list that is put in order.
    pub(crate) order: Vec<usize>,
    pub(crate) levels: Vec<u32>,
    pub(crate) rows: Vec<Row>,
    /// As many as clicks are looked at at once, which is two.
    records: Vec<Vec<Record>>,
}

impl Scratch {
    /// An empty list for a click's records.
    pub(crate) fn take_records(&mut self) -> Vec<Record> {
        self.records.pop().unwrap_or_default()
    }

    /// Keeps the memory of a list of records, for the next click.
    pub(crate) fn keep_records(&mut self, records: Vec<Record>) {
        self.records.push(emptied(records));
    }

    /// Keeps the memory of a list of levels.
    pub(crate) fn keep_levels(&mut self, levels: Vec<u32>) {
        self.levels = emptied(levels);
    }

    /// Keeps the memory of a list of rows.
    pub(crate) fn keep_rows(&mut self, rows: Vec<Row>) {
        self.rows = emptied(rows);
    }
}

/// A list without its items, and without its memory if that is much.
fn emptied<T>(mut list: Vec<T>) -> Vec<T> {
    list.clear();
    list.shrink_to(KEPT_ITEMS_MAX);
    list
}
