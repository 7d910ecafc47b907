//! A click's state: its one-time conversions in one entry, each repeatable one in its own beside it.
//!
//! Entry: `format 1 | marks 1 | expires (hours since 1970) 3 | [pending] | [member 10] | records`.

use crate::keys::{self, ClickSlot, EventHash, MemberHash, Unique};
use crate::output::Scratch;
use crate::record::Record;
use crate::store::{Damaged, Store};
use crate::wire::{Reader, put_varint};
use schemas::UnixMillis;
use schemas::time::HOUR_MS;

const FORMAT: u8 = 1;
const WHAT: &str = "a click";

const MARK_REJECT_ALL: u8 = 1;
const MARK_REPEATABLES: u8 = 1 << 1;
const MARK_PENDING: u8 = 1 << 2;
const MARK_MEMBER: u8 = 1 << 3;
const MARK_CONVERTED: u8 = 1 << 4;

/// When a click's state may go, in whole hours: a few bytes fewer in each of millions of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ExpiryHour(pub u32);

impl ExpiryHour {
    const MAX: i64 = (1 << 24) - 1;

    /// The first whole hour not before a time.
    pub fn not_before(time: UnixMillis) -> Self {
        let hour = time.0.max(0).saturating_add(HOUR_MS - 1) / HOUR_MS;
        Self(hour.min(Self::MAX) as u32)
    }

    pub fn time(self) -> UnixMillis {
        UnixMillis(i64::from(self.0) * HOUR_MS)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClickState {
    pub slot: ClickSlot,
    /// There is an entry, and an expiry timer for it.
    pub stored: bool,
    pub expires: ExpiryHour,
    /// The advertiser rejected the whole click before anything of it converted.
    pub reject_all: bool,
    /// There has been a conversion, whatever became of it.
    pub converted: bool,
    pub has_repeatables: bool,
    /// Conversions with a timer, repeatable ones too.
    pub pending: u64,
    /// `pending` as it was read: whether there is a context entry.
    pub pending_before: u64,
    pub member: Option<MemberHash>,
    /// One-time ones, and those repeatable ones that were loaded.
    pub records: Vec<Record>,
    pub repeatables_loaded: bool,
    pub changed: bool,
}

impl ClickState {
    /// `records`: an empty list, for its memory.
    fn empty(slot: ClickSlot, records: Vec<Record>) -> Self {
        Self {
            slot,
            stored: false,
            expires: ExpiryHour::default(),
            reject_all: false,
            converted: false,
            has_repeatables: false,
            pending: 0,
            pending_before: 0,
            member: None,
            records,
            repeatables_loaded: false,
            changed: false,
        }
    }

    pub fn load<S: Store>(
        store: &mut S,
        scratch: &mut Scratch,
        slot: ClickSlot,
    ) -> Result<Self, S::Error> {
        let records = scratch.take_records();
        keys::click(&mut scratch.key, slot);
        if store.get(&scratch.key, &mut scratch.value)? {
            Ok(Self::decode(slot, &scratch.value, records)?)
        } else {
            Ok(Self::empty(slot, records))
        }
    }

    /// Gives the memory back of a state that is done with.
    pub fn recycle(self, scratch: &mut Scratch) {
        scratch.keep_records(self.records);
    }

    fn clicked_at(&self) -> UnixMillis {
        self.slot.click().clicked_at()
    }

    fn decode(slot: ClickSlot, value: &[u8], records: Vec<Record>) -> Result<Self, Damaged> {
        let mut state = Self::empty(slot, records);
        let mut reader = Reader::new(value, WHAT);
        if reader.byte()? != FORMAT {
            return Err(reader.damaged());
        }
        let marks = reader.byte()?;
        let [high, middle, low] = reader.array()?;
        state.expires = ExpiryHour(u32::from_be_bytes([0, high, middle, low]));
        state.stored = true;
        state.reject_all = marks & MARK_REJECT_ALL != 0;
        state.converted = marks & MARK_CONVERTED != 0;
        state.has_repeatables = marks & MARK_REPEATABLES != 0;
        if marks & MARK_PENDING != 0 {
            state.pending = reader.varint()?;
            state.pending_before = state.pending;
        }
        if marks & MARK_MEMBER != 0 {
            state.member = Some(MemberHash(reader.array()?));
        }
        while !reader.is_empty() {
            let record = Record::decode(&mut reader, state.clicked_at())?;
            state.records.push(record);
        }
        Ok(state)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        let mut marks = 0;
        for (set, mark) in [
            (self.reject_all, MARK_REJECT_ALL),
            (self.converted, MARK_CONVERTED),
            (self.has_repeatables, MARK_REPEATABLES),
            (self.pending > 0, MARK_PENDING),
            (self.member.is_some(), MARK_MEMBER),
        ] {
            if set {
                marks |= mark;
            }
        }
        out.extend_from_slice(&[FORMAT, marks]);
        out.extend_from_slice(&self.expires.0.to_be_bytes()[1..]);
        if self.pending > 0 {
            put_varint(out, self.pending);
        }
        if let Some(member) = self.member {
            out.extend_from_slice(&member.0);
        }
        for record in self.records.iter().filter(|record| record.unique.is_none()) {
            record.encode(self.clicked_at(), out);
        }
    }

    /// Writes what changed: the entry, and the repeatable conversions that did.
    pub fn save<S: Store>(&mut self, store: &mut S, scratch: &mut Scratch) -> Result<(), S::Error> {
        for record in self.records.iter().filter(|record| record.changed) {
            if let Some(unique) = record.unique {
                keys::repeatable(&mut scratch.key, self.slot, record.event, unique);
                scratch.value.clear();
                record.encode(self.clicked_at(), &mut scratch.value);
                store.put(&scratch.key, &scratch.value)?;
            }
        }
        keys::click(&mut scratch.key, self.slot);
        self.encode(&mut scratch.value);
        store.put(&scratch.key, &scratch.value)
    }

    /// Where the conversion of an event is, among those loaded.
    pub fn position(&self, event: EventHash, unique: Option<Unique>) -> Option<usize> {
        self.records.iter().position(|record| record.event == event && record.unique == unique)
    }

    /// Loads one repeatable conversion; its place, when there is one.
    pub fn load_repeatable<S: Store>(
        &mut self,
        store: &mut S,
        scratch: &mut Scratch,
        event: EventHash,
        unique: Unique,
    ) -> Result<Option<usize>, S::Error> {
        let loaded = self.position(event, Some(unique));
        if loaded.is_some() || !self.has_repeatables || self.repeatables_loaded {
            return Ok(loaded);
        }
        keys::repeatable(&mut scratch.key, self.slot, event, unique);
        if !store.get(&scratch.key, &mut scratch.value)? {
            return Ok(None);
        }
        self.add_repeatable(unique, &scratch.value)?;
        Ok(Some(self.records.len() - 1))
    }

    fn add_repeatable(&mut self, unique: Unique, value: &[u8]) -> Result<(), Damaged> {
        let mut reader = Reader::new(value, "a repeatable conversion");
        let record = Record::decode(&mut reader, self.clicked_at())?;
        self.records.push(Record { unique: Some(unique), ..record });
        Ok(())
    }

    /// Loads every repeatable conversion of the click.
    pub fn load_repeatables<S: Store>(
        &mut self,
        store: &mut S,
        scratch: &mut Scratch,
    ) -> Result<(), S::Error> {
        if !self.has_repeatables || self.repeatables_loaded {
            return Ok(());
        }
        let mut from = std::mem::take(&mut scratch.from);
        keys::repeatables(&mut from, self.slot);
        let end = keys::repeatables_end(self.slot);
        while store.first_in(&from, &end, &mut scratch.key, &mut scratch.value)? {
            let Some((event, unique)) = keys::split_repeatable(&scratch.key) else {
                return Err(Damaged { what: "the key of a repeatable conversion" }.into());
            };
            if self.position(event, Some(unique)).is_none() {
                self.add_repeatable(unique, &scratch.value)?;
            }
            from.clear();
            from.extend_from_slice(&scratch.key);
            from.push(0);
        }
        scratch.from = from;
        self.repeatables_loaded = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::ClickKey;

    #[test]
    fn hours_round_up() {
        for (time, hour) in [(-1, 0), (0, 0), (1, 1), (HOUR_MS, 1), (HOUR_MS + 1, 2)] {
            assert_eq!(ExpiryHour::not_before(UnixMillis(time)), ExpiryHour(hour), "{time}");
        }
        assert_eq!(ExpiryHour::not_before(UnixMillis(i64::MAX)).0, (1 << 24) - 1);
    }

    #[test]
    fn entries_come_back() {
        let slot = ClickSlot::new(ClickKey::new(UnixMillis(1_000), [1; 8]), false);
        for (pending, member) in [(0, None), (3, Some(MemberHash([9; 10])))] {
            let state = ClickState {
                stored: true,
                expires: ExpiryHour(480_000),
                reject_all: pending > 0,
                converted: pending == 0,
                has_repeatables: pending > 0,
                pending,
                pending_before: pending,
                member,
                ..ClickState::empty(slot, Vec::new())
            };
            let mut bytes = Vec::new();
            state.encode(&mut bytes);
            assert_eq!(ClickState::decode(slot, &bytes, Vec::new()), Ok(state));
        }
        assert!(ClickState::decode(slot, &[], Vec::new()).is_err());
        assert!(ClickState::decode(slot, &[2, 0, 0, 0, 0], Vec::new()).is_err());
    }
}
