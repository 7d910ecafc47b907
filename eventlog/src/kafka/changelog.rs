//! Records of the topic `processor-state`. A key is a tag and the state key, so that no state key
//! can be taken for the position; a value has a byte in front, so that an empty value is no
//! tombstone.

use crate::{Offset, Record};
use bytes::Bytes;

const STATE: u8 = b's';
const POSITION: u8 = b'p';
const PRESENT: u8 = 1;

/// What a record of the changelog says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    State {
        key: Bytes,
        value: Option<Bytes>,
    },
    /// The last record of every transaction: input up to here is in the state before it.
    Position(Offset),
}

/// Records in the making; the buffers serve one after the other.
#[derive(Default)]
pub struct Writer {
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Writer {
    /// Key and value of a change of state.
    pub fn state(&mut self, key: &[u8], value: Option<&[u8]>) -> (&[u8], &[u8]) {
        self.key.clear();
        self.key.push(STATE);
        self.key.extend_from_slice(key);
        self.value.clear();
        if let Some(value) = value {
            self.value.push(PRESENT);
            self.value.extend_from_slice(value);
        }
        (&self.key, &self.value)
    }

    /// Key and value of a position.
    pub fn position(&mut self, next_offset: Offset) -> (&[u8], &[u8]) {
        self.value.clear();
        self.value.extend_from_slice(&next_offset.to_be_bytes());
        (&[POSITION], &self.value)
    }
}

/// `None` when the record is no entry of a changelog.
pub fn parse(record: &Record) -> Option<Entry> {
    match record.key.split_first()? {
        (&STATE, _) => {
            let value = match record.value.split_first() {
                None => None,
                Some((&PRESENT, _)) => Some(record.value.slice(1..)),
                Some(_) => return None,
            };
            Some(Entry::State { key: record.key.slice(1..), value })
        }
        (&POSITION, []) => {
            Some(Entry::Position(u64::from_be_bytes(record.value[..].try_into().ok()?)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::UnixMillis;

    fn record((key, value): (&[u8], &[u8])) -> Record {
        let copy = Bytes::copy_from_slice;
        Record { key: copy(key), value: copy(value), at: UnixMillis(1) }
    }

    fn check(key: &'static [u8], value: Option<&'static [u8]>) {
        let entry = parse(&record(Writer::default().state(key, value)));
        let (key, value) = (Bytes::from_static(key), value.map(Bytes::from_static));
        assert_eq!(entry, Some(Entry::State { key, value }));
    }

    #[test]
    fn entries_read_back() {
        check(b"key", Some(b"value"));
        check(b"key", Some(b""));
        check(b"key", None);
        check(b"", Some(b"x"));
        check(b"p", Some(b"x"));
        let position = parse(&record(Writer::default().position(77)));
        assert_eq!(position, Some(Entry::Position(77)));
        let strange = Record { key: "?".into(), value: "".into(), at: UnixMillis(0) };
        assert_eq!(parse(&strange), None);
    }
}
