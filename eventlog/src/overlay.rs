//! State changes that are not committed yet, laid over the committed state until they are.

use crate::{PartitionState, ReadError};
use std::collections::BTreeMap;
use std::ops::Bound;

/// The state as it will be after the commit that is being made.
pub struct Overlay<'a> {
    committed: &'a dyn PartitionState,
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl<'a> Overlay<'a> {
    #[must_use]
    pub fn new(committed: &'a dyn PartitionState) -> Self {
        Self { committed, changes: BTreeMap::new() }
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
        let mut start = from.to_vec();
        while let Some((stored_key, stored_value)) = self.committed.first_in(&start, end)? {
            if changed.is_some_and(|(changed_key, _)| changed_key <= &stored_key[..]) {
                break;
            }
            if !self.changes.contains_key(&stored_key[..]) {
                fill(key, &stored_key);
                fill(value, &stored_value);
                return Ok(true);
            }
            // Deleted in this batch (a change would have been found above): look behind it.
            fill(&mut start, &stored_key);
            start.push(0);
        }
        if let Some((changed_key, changed_value)) = changed {
            fill(key, changed_key);
            fill(value, changed_value);
            return Ok(true);
        }
        Ok(false)
    }
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
