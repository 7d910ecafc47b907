//! State changes that are not committed yet, laid over the committed state until they are.

use crate::{PartitionState, ReadError};
use bytes::Bytes;
use foldhash::fast::RandomState;
use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;

type Changes = HashMap<Vec<u8>, Option<Vec<u8>>, RandomState>;

/// The state as it will be after the commit that is being made.
pub struct Overlay<'a> {
    committed: &'a dyn PartitionState,
    /// Not in order: a key is looked at many times for each time that somebody asks for a range.
    changes: Changes,
    /// Where ranges have been asked for.
    lanes: Vec<Lane>,
    /// Where new keys mostly come behind all others.
    ascending: Vec<Ascending>,
}

/// All keys of one first byte, the only ranges that are asked for.
struct Lane {
    first: u8,
    /// The changed keys that have a value.
    changed: BTreeSet<Vec<u8>>,
    known: Option<Known>,
}

/// Looking for the first entry of a range is what costs most in the committed state, and the rules
/// do so at every record, mostly to find the same or nothing. The committed state does not change
/// while it is overlaid, so what was found holds on.
struct Known {
    /// Every committed key from here …
    from: Vec<u8>,
    /// … to before this entry has changed. None: all to the end of the lane have.
    next: Option<(Bytes, Bytes)>,
}

/// A lane of which it is mostly asked whether it has a key that is greater than all it has.
struct Ascending {
    first: u8,
    /// How often it was not known from `beyond`.
    asked: usize,
    /// No committed key of the lane is this or greater.
    beyond: Option<Vec<u8>>,
}

impl<'a> Overlay<'a> {
    #[must_use]
    pub fn new(committed: &'a dyn PartitionState) -> Self {
        let (changes, lanes, ascending) = (Changes::default(), Vec::new(), Vec::new());
        Self { committed, changes, lanes, ascending }
    }

    /// The same, where new keys that begin with one of these bytes mostly come behind all others:
    /// that such a key is not there is then known without looking for each.
    #[must_use]
    pub fn with_ascending(committed: &'a dyn PartitionState, lanes: &[u8]) -> Self {
        debug_assert!(!lanes.contains(&u8::MAX), "no key begins with the greatest byte of all");
        let ascending = |first: &u8| Ascending { first: *first, asked: 0, beyond: None };
        Self { ascending: lanes.iter().map(ascending).collect(), ..Self::new(committed) }
    }

    /// How many keys have changed.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.changes.len()
    }

    /// What has changed, by key.
    #[must_use]
    pub fn into_changes(self) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let mut changes: Vec<_> = self.changes.into_iter().collect();
        changes.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        changes
    }

    /// Fills `value` with what a key has; false when it has nothing.
    pub fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, ReadError> {
        let found = match self.changes.get(key) {
            Some(Some(changed)) => {
                fill(value, changed);
                true
            }
            Some(None) => false,
            None => match self.committed(key)? {
                Some(stored) => {
                    fill(value, &stored);
                    true
                }
                None => false,
            },
        };
        Ok(found)
    }

    fn committed(&mut self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        let lane = self.ascending.iter_mut().find(|lane| key.first() == Some(&lane.first));
        let Some(lane) = lane else { return self.committed.get(key) };
        if lane.beyond.as_ref().is_some_and(|beyond| beyond.as_slice() <= key) {
            return Ok(None);
        }
        // A range is dearer than a key: the first time it may be the only one, and where keys do
        // not come in order it is tried ever less.
        lane.asked += 1;
        if lane.asked == 1 || !lane.asked.is_power_of_two() {
            return self.committed.get(key);
        }
        let next = self.committed.first_in(key, &lane_end(lane.first))?;
        if next.is_none() {
            lane.beyond = Some(key.to_vec());
        }
        Ok(next.filter(|(found, _)| *found == key).map(|(_, value)| value))
    }

    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        if let Some(lane) = self.scanned(key).filter(|lane| !lane.changed.contains(key)) {
            lane.changed.insert(key.to_vec());
        }
        // Counters and clicks change many times.
        match self.changes.get_mut(key) {
            Some(Some(changed)) => fill(changed, value),
            Some(deleted) => *deleted = Some(value.to_vec()),
            None => {
                self.changes.insert(key.to_vec(), Some(value.to_vec()));
            }
        }
    }

    pub fn delete(&mut self, key: &[u8]) {
        if let Some(lane) = self.scanned(key) {
            lane.changed.remove(key);
        }
        self.changes.insert(key.to_vec(), None);
    }

    /// The lane of a key, if ranges of it were asked for.
    fn scanned(&mut self, key: &[u8]) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|lane| key.first() == Some(&lane.first))
    }

    /// Fills `key` and `value` with the first entry of `from <= key < end`; false when there is
    /// none.
    ///
    /// # Panics
    ///
    /// When the range could have keys of more than one first byte.
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
        let first = from.first().copied().filter(|first| *end <= lane_end(*first)[..]);
        let first = first.expect("a range of keys has one first byte");
        let at = match self.lanes.iter().position(|lane| lane.first == first) {
            Some(at) => at,
            None => {
                self.lanes.push(Lane::of(first, &self.changes));
                self.lanes.len() - 1
            }
        };
        let Lane { changed, known, .. } = &mut self.lanes[at];
        let range = (Bound::Included(from), Bound::Excluded(end));
        let changed = changed.range::<[u8], _>(range).next();
        let stored = unchanged(self.committed, &self.changes, known, from, end)?;
        match (changed, stored) {
            (Some(changed), stored)
                if stored.as_ref().is_none_or(|(stored, _)| changed[..] < stored[..]) =>
            {
                let Some(Some(found)) = self.changes.get(changed) else {
                    unreachable!("a lane has only changed keys with a value")
                };
                fill(key, changed);
                fill(value, found);
                Ok(true)
            }
            (_, Some((stored, found))) => {
                fill(key, &stored);
                fill(value, &found);
                Ok(true)
            }
            (_, None) => Ok(false),
        }
    }
}

impl Lane {
    fn of(first: u8, changes: &Changes) -> Self {
        let has_value = changes.iter().filter(|(_, value)| value.is_some()).map(|(key, _)| key);
        let changed = has_value.filter(|key| key.first() == Some(&first)).cloned().collect();
        Self { first, changed, known: None }
    }
}

/// What is greater than every key of a lane; none has the greatest byte of all.
fn lane_end(first: u8) -> [u8; 1] {
    [first.saturating_add(1)]
}

/// The first committed entry of `from <= key < end` that has not changed.
fn unchanged(
    committed: &dyn PartitionState,
    changes: &Changes,
    known: &mut Option<Known>,
    from: &[u8],
    end: &[u8],
) -> Result<Option<(Bytes, Bytes)>, ReadError> {
    let lane_end = || lane_end(from[0]);
    let holds = |it: &Known| {
        it.from.as_slice() <= from && it.next.as_ref().is_none_or(|(key, _)| &key[..] >= from)
    };
    let known = match known.as_mut().filter(|it| holds(it)) {
        Some(it) => it,
        None => {
            let next = committed.first_in(from, &lane_end())?;
            known.insert(Known { from: from.to_vec(), next })
        }
    };
    let mut start = Vec::new();
    loop {
        let next = known.next.as_ref().filter(|(key, _)| &key[..] < end);
        let Some((key, _)) = next.filter(|(key, _)| changes.contains_key(&key[..])) else {
            return Ok(next.cloned());
        };
        after(key, &mut start);
        known.next = committed.first_in(&start, &lane_end())?;
    }
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
    use std::collections::BTreeMap;

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
            ascending in prop::collection::vec(0u8..4, 0..3),
            ranges in prop::collection::vec((0u8..4, prop::collection::vec(0u8..4, 0..2), prop::option::of(prop::collection::vec(0u8..5, 0..2))), 1..6),
        ) {
            let range = |(lane, from, end): (u8, Vec<u8>, Option<Vec<u8>>)| {
                let end = end.map_or(vec![lane + 1], |end| [&[lane], &end[..]].concat());
                ([&[lane], &from[..]].concat(), end)
            };
            let ranges: Vec<_> = ranges.into_iter().map(range).collect();
            let (base, committed_before) = (Committed(committed.clone()), committed.clone());
            let mut overlay = Overlay::with_ascending(&base, &ascending);
            let mut model = committed;
            let (mut key, mut value) = (Vec::new(), Vec::new());
            let asked = ranges.iter().cycle();
            // One question after each change, and all of them in the end.
            let changes: Vec<_> = changes.into_iter().map(Some).chain(ranges.iter().map(|_| None)).collect();
            for (change, (from, end)) in changes.into_iter().zip(asked) {
                match change {
                    Some((changed, Some(put))) => {
                        overlay.put(&changed, &put);
                        model.insert(changed, put);
                    }
                    Some((changed, None)) => {
                        overlay.delete(&changed);
                        model.remove(&changed);
                    }
                    None => {}
                }
                let found = overlay.first_in(from, end, &mut key, &mut value).unwrap();
                let expected = model.iter().find(|(k, _)| *k >= from && *k < end);
                prop_assert_eq!(found.then_some((&key, &value)), expected);
                for key in [from, end] {
                    let got = overlay.get(key, &mut value).unwrap().then_some(&value);
                    prop_assert_eq!(got, model.get(key));
                }
            }
            // What is committed in the end makes the model of what was there.
            let mut after = committed_before;
            let changes = overlay.into_changes();
            prop_assert!(changes.is_sorted_by(|one, other| one.0 < other.0));
            for (key, value) in changes {
                match value {
                    Some(value) => after.insert(key, value),
                    None => after.remove(&key),
                };
            }
            prop_assert_eq!(after, model);
        }
    }
}
