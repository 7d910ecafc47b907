//! Records of the topic `processor-state`. A key is a tag and the state key, so that no state key
//! can be taken for the position; a value has a byte in front, so that an empty value is no
//! tombstone.

use crate::{Offset, Record};
use bytes::Bytes;
use schemas::UnixMillis;

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

pub fn state_record(key: &[u8], value: Option<&[u8]>, at: UnixMillis) -> Record {
    let tagged = |tag: u8, bytes: &[u8]| Bytes::from([&[tag], bytes].concat());
    let value = value.map(|value| tagged(PRESENT, value)).unwrap_or_default();
    Record { key: tagged(STATE, key), value, at }
}

pub fn position_record(next_offset: Offset, at: UnixMillis) -> Record {
    let value = Bytes::copy_from_slice(&next_offset.to_be_bytes());
    Record { key: Bytes::from_static(&[POSITION]), value, at }
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

    fn check(key: &'static [u8], value: Option<&'static [u8]>) {
        let entry = parse(&state_record(key, value, UnixMillis(1)));
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
        let position = parse(&position_record(77, UnixMillis(1)));
        assert_eq!(position, Some(Entry::Position(77)));
        let strange = Record { key: "?".into(), value: "".into(), at: UnixMillis(0) };
        assert_eq!(parse(&strange), None);
    }
}
