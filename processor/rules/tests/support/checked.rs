//! Everything decided, held against the promise that its views are the same JSON.

use rules::invariants::Violation;
use rules::{Decided, DecisionView, Output, Scratch};
use schemas::codec::{encode, encode_as};
use schemas::{Availability, Decision};
use std::ops::{Deref, DerefMut};

/// As [`Output`]; fails where a view and its copy would be different records in the log.
#[derive(Debug, Default)]
pub struct Checked {
    output: Output,
    bytes: Vec<u8>,
}

impl Decided for Checked {
    fn decision(&mut self, decision: &DecisionView<'_>) {
        self.bytes.clear();
        encode_as::<Decision>(decision, &mut self.bytes);
        let copy = encode(&decision.to_decision());
        let text = String::from_utf8_lossy;
        assert!(self.bytes == copy, "{}\n{}", text(&self.bytes), text(&copy));
        self.output.decision(decision);
    }

    fn availability(&mut self, availability: &Availability) {
        self.output.availability(availability);
    }

    fn violated(&mut self, violation: &Violation<'_>) {
        panic!("{}: {violation:?}", violation.invariant);
    }

    fn scratch(&mut self) -> &mut Scratch {
        self.output.scratch()
    }
}

impl Deref for Checked {
    type Target = Output;

    fn deref(&self) -> &Output {
        &self.output
    }
}

impl DerefMut for Checked {
    fn deref_mut(&mut self) -> &mut Output {
        &mut self.output
    }
}
