//! The changes of a decision that is only tried, laid over the state.

use crate::store::Store;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Changed keys; `None` is a deleted one.
#[derive(Debug, Default)]
pub struct Changes(BTreeMap<Vec<u8>, Option<Vec<u8>>>);

fn fill(buffer: &mut Vec<u8>, bytes: &[u8]) {
    buffer.clear();
    buffer.extend_from_slice(bytes);
}

impl Changes {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.0.insert(key.to_vec(), Some(value.to_vec()));
    }

    pub fn delete(&mut self, key: &[u8]) {
        self.0.insert(key.to_vec(), None);
    }

    /// Fills `value` from the changes and says whether the key is there; none when only the state
    /// below knows.
    pub fn get(&self, key: &[u8], value: &mut Vec<u8>) -> Option<bool> {
        match self.0.get(key)? {
            Some(changed) => {
                fill(value, changed);
                Some(true)
            }
            None => Some(false),
        }
    }

    /// As [`Store::first_in`], over a state below that answers the same question from a given key
    /// on.
    pub fn first_in<E>(
        &self,
        from: &[u8],
        end: &[u8],
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
        mut below: impl FnMut(&[u8], &mut Vec<u8>, &mut Vec<u8>) -> Result<bool, E>,
    ) -> Result<bool, E> {
        if from >= end {
            return Ok(false);
        }
        let range = (Bound::Included(from), Bound::Excluded(end));
        let changed = self
            .0
            .range::<[u8], _>(range)
            .find_map(|(k, v)| v.as_ref().map(|v| (k.as_slice(), v.as_slice())));
        let mut start = from.to_vec();
        while below(&start, key, value)? {
            if changed.is_some_and(|(changed_key, _)| changed_key <= key.as_slice()) {
                break;
            }
            if !self.0.contains_key(key.as_slice()) {
                return Ok(true);
            }
            // Deleted up here (a change would have been found above): look behind it.
            fill(&mut start, key);
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

/// A state on which something is tried: what changes is forgotten with it.
pub struct Trial<'t, S> {
    below: &'t mut S,
    pub changes: Changes,
}

impl<'t, S: Store> Trial<'t, S> {
    pub fn new(below: &'t mut S) -> Self {
        Self { below, changes: Changes::default() }
    }
}

impl<S: Store> Store for Trial<'_, S> {
    type Error = S::Error;

    fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, S::Error> {
        match self.changes.get(key, value) {
            Some(found) => Ok(found),
            None => self.below.get(key, value),
        }
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), S::Error> {
        self.changes.put(key, value);
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), S::Error> {
        self.changes.delete(key);
        Ok(())
    }

    fn first_in(
        &mut self,
        from: &[u8],
        end: &[u8],
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<bool, S::Error> {
        let Self { below, changes } = self;
        changes.first_in(from, end, key, value, |start, key, value| {
            below.first_in(start, end, key, value)
        })
    }
}
