//! A caller that never allocates: state in memory that is there from the start, and decisions
//! written as records into one buffer.

use rules::invariants::Violation;
use rules::{Damaged, Decided, DecisionView, Scratch, Store};
use schemas::codec::encode_as;
use schemas::{Availability, Decision, PostbackOutcomeView};
use std::cmp::Ordering;

const ENTRIES_MAX: usize = 512;
const KEY_BYTES_MAX: usize = 64;
const VALUE_BYTES_MAX: usize = 512;

struct Entry {
    key: [u8; KEY_BYTES_MAX],
    key_bytes: usize,
    value: [u8; VALUE_BYTES_MAX],
    value_bytes: usize,
}

impl Entry {
    fn key(&self) -> &[u8] {
        &self.key[..self.key_bytes]
    }

    fn value(&self) -> &[u8] {
        &self.value[..self.value_bytes]
    }
}

/// Sorted by key.
pub struct Fixed(Vec<Entry>);

impl Fixed {
    pub fn new() -> Self {
        Self(Vec::with_capacity(ENTRIES_MAX))
    }

    fn find(&self, key: &[u8]) -> Result<usize, usize> {
        self.0.binary_search_by(|entry| entry.key().cmp(key))
    }
}

fn fill(buffer: &mut Vec<u8>, bytes: &[u8]) {
    buffer.clear();
    buffer.extend_from_slice(bytes);
}

impl Store for Fixed {
    type Error = Damaged;

    fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, Damaged> {
        let Ok(at) = self.find(key) else { return Ok(false) };
        fill(value, self.0[at].value());
        Ok(true)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Damaged> {
        let mut entry = Entry {
            key: [0; KEY_BYTES_MAX],
            key_bytes: key.len(),
            value: [0; VALUE_BYTES_MAX],
            value_bytes: value.len(),
        };
        entry.key[..key.len()].copy_from_slice(key);
        entry.value[..value.len()].copy_from_slice(value);
        match self.find(key) {
            Ok(at) => self.0[at] = entry,
            Err(at) => {
                assert!(self.0.len() < ENTRIES_MAX, "the test's state has no room for more");
                self.0.insert(at, entry);
            }
        }
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Damaged> {
        if let Ok(at) = self.find(key) {
            self.0.remove(at);
        }
        Ok(())
    }

    fn first_in(
        &mut self,
        from: &[u8],
        end: &[u8],
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<bool, Damaged> {
        let (Ok(at) | Err(at)) = self.find(from);
        match self.0.get(at) {
            Some(entry) if entry.key().cmp(end) == Ordering::Less => {
                fill(key, entry.key());
                fill(value, entry.value());
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

/// Writes what it is told into one buffer, as the processor does, and remembers it shortly.
pub struct Written {
    pub bytes: Vec<u8>,
    pub outcome: &'static str,
    pub reason: &'static str,
    pub conversions: usize,
    pub availability: usize,
    scratch: Scratch,
}

impl Written {
    pub fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(64 * 1024),
            outcome: "",
            reason: "",
            conversions: 0,
            availability: 0,
            scratch: Scratch::default(),
        }
    }

    /// Forgets what it was told, and keeps the buffers.
    pub fn clear(&mut self) {
        self.bytes.clear();
        (self.outcome, self.reason) = ("", "");
        (self.conversions, self.availability) = (0, 0);
    }
}

impl Decided for Written {
    fn decision(&mut self, decision: &DecisionView<'_>) {
        encode_as::<Decision>(decision, &mut self.bytes);
        self.conversions += decision.conversions().count();
        if let Some(PostbackOutcomeView { outcome, reason, .. }) = &decision.postback {
            self.outcome = outcome.code();
            self.reason = reason.map_or("", schemas::Reason::code);
        }
    }

    fn availability(&mut self, availability: &Availability) {
        encode_as::<Availability>(availability, &mut self.bytes);
        self.availability += 1;
    }

    fn violated(&mut self, violation: &Violation<'_>) {
        panic!("{}: {violation:?}", violation.invariant);
    }

    fn scratch(&mut self) -> &mut Scratch {
        &mut self.scratch
    }
}
