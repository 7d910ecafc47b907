//! State changes that are not committed yet, laid over the committed state until they are.

use crate::{PartitionState, ReadError};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;

/// The state as it will be after the commit that is being made.
pub struct Overlay<'a> {
    committed: &'a dyn PartitionState,
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// What is known of the committed state, by the first byte of keys.
    known: BTreeMap<u8, Known>,
}

/// Looking for the first entry of a range is what costs most in the committed state, and the rules
/// do so at every record, mostly to find the same or nothing. The committed state does not change
/// while it is overlaid, so what was found holds on.
struct Known {
    /// Every committed key from here …
    from: Vec<u8>,
    /// … to before this entry has changed. None: all to the end of the first byte have.
    next: Option<(Bytes, Bytes)>,
}

impl<'a> Overlay<'a> {
    #[must_use]
    pub fn new(committed: &'a dyn PartitionState) -> Self {
        Self { committed, changes: BTreeMap::new(), known: BTreeMap::new() }
    }

    /// How many keys have changed.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.changes.len()
    }

    #[must_use]
    pub fn into_changes(self) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        self.changes.into_iter().collect()
    }

    /// Fills `value` with what a key has; false when it has nothing.
    pub fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, ReadError> {
        let found = match self.changes.get(key) {
            Some(Some(changed)) => {
                fill(value, changed);
                true
            }
            Some(None) => false,
            None => match self.committed.get(key)? {
                Some(stored) => {
                    fill(value, &stored);
                    true
                }
                None => false,
            },
        };
        Ok(found)
    }

    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.changes.insert(key.to_vec(), Some(value.to_vec()));
    }

    pub fn delete(&mut self, key: &[u8]) {
        self.changes.insert(key.to_vec(), None);
    }

    /// Fills `key` and `value` with the first entry of `from <= key < end`; false when there is
    /// none.
    pub fn first_in(
        &mut self,
        from: &[u8],
        end: &[u8],
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<bool, ReadError> {
        if from >= end {
            return Ok(false);
        }
        let range = (Bound::Included(from), Bound::Excluded(end));
        let changed = self
            .changes
            .range::<[u8], _>(range)
            .find_map(|(k, v)| v.as_ref().map(|v| (k.as_slice(), v.as_slice())));
        if let Some((stored_key, stored_value)) =
            unchanged(self.committed, &self.changes, &mut self.known, from, end)?
            && changed.is_none_or(|(changed_key, _)| changed_key >= &stored_key[..])
        {
            fill(key, &stored_key);
            fill(value, &stored_value);
            return Ok(true);
        }
        if let Some((changed_key, changed_value)) = changed {
            fill(key, changed_key);
            fill(value, changed_value);
            return Ok(true);
        }
        Ok(false)
    }
}

/// The first committed entry of `from <= key < end` that has not changed.
fn unchanged(
    committed: &dyn PartitionState,
    changes: &BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    known: &mut BTreeMap<u8, Known>,
    from: &[u8],
    end: &[u8],
) -> Result<Option<(Bytes, Bytes)>, ReadError> {
    // A range over several first bytes is nothing that is asked for again and again.
    let Some(&lane) = from.first().filter(|lane| end < &[**lane, u8::MAX][..]) else {
        let mut start = from.to_vec();
        while let Some((key, value)) = committed.first_in(&start, end)? {
            if !changes.contains_key(&key[..]) {
                return Ok(Some((key, value)));
            }
            after(&key, &mut start);
        }
        return Ok(None);
    };
    let lane_end = lane.checked_add(1).map_or(vec![lane, u8::MAX], |next| vec![next]);
    let holds = |it: &Known| {
        it.from.as_slice() <= from && it.next.as_ref().is_none_or(|(key, _)| &key[..] >= from)
    };
    let known = match known.get_mut(&lane) {
        Some(it) if holds(it) => it,
        _ => {
            let next = committed.first_in(from, &lane_end)?;
            let it = Known { from: from.to_vec(), next };
            known.insert(lane, it);
            known.get_mut(&lane).expect("it was put there")
        }
    };
    let mut start = Vec::new();
    while let Some((key, _)) = known.next.as_ref().filter(|(key, _)| changes.contains_key(&key[..]))
    {
        after(key, &mut start);
        known.next = committed.first_in(&start, &lane_end)?;
    }
    Ok(known.next.clone().filter(|(key, _)| &key[..] < end))
}

/// Fills `start` with the least key behind `key`.
fn after(key: &[u8], start: &mut Vec<u8>) {
    fill(start, key);
    start.push(0);
}

fn fill(buffer: &mut Vec<u8>, bytes: &[u8]) {
    buffer.clear();
    buffer.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    #[derive(Default)]
    struct Committed(BTreeMap<Vec<u8>, Vec<u8>>);

    impl PartitionState for Committed {
        fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
            Ok(self.0.get(key).cloned().map(Bytes::from))
        }
        fn first_in(&self, from: &[u8], end: &[u8]) -> Result<Option<(Bytes, Bytes)>, ReadError> {
            let range = (Bound::Included(from), Bound::Excluded(end));
            let first = self.0.range::<[u8], _>(range).next();
            Ok(first.map(|(k, v)| (k.clone().into(), v.clone().into())))
        }
    }

    proptest! {
        /// Whatever is put and deleted, the overlay answers like one plain map.
        #[test]
        fn reads_like_one_map(
            committed in prop::collection::btree_map(prop::collection::vec(0u8..4, 1..3), prop::collection::vec(any::<u8>(), 0..3), 0..12),
            changes in prop::collection::vec((prop::collection::vec(0u8..4, 1..3), prop::option::of(prop::collection::vec(any::<u8>(), 0..3))), 0..12),
            from in prop::collection::vec(0u8..4, 0..3),
            end in prop::collection::vec(0u8..5, 0..3),
        ) {
            let base = Committed(committed.clone());
            let mut overlay = Overlay::new(&base);
            let mut model = committed;
            for (key, value) in changes {
                match value {
                    Some(value) => {
                        overlay.put(&key, &value);
                        model.insert(key, value);
                    }
                    None => {
                        overlay.delete(&key);
                        model.remove(&key);
                    }
                }
            }
            let (mut key, mut value) = (Vec::new(), Vec::new());
            let found = overlay.first_in(&from, &end, &mut key, &mut value).unwrap();
            let expected = model.iter().find(|(k, _)| **k >= from && **k < end);
            prop_assert_eq!(found.then_some((&key, &value)), expected);
            let got = overlay.get(&from, &mut value).unwrap().then_some(&value);
            prop_assert_eq!(got, model.get(&from));
        }
    }
}
