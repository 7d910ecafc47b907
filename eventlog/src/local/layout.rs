//! Keys and values as they stand on the disk (the module's page has the table). All numbers are
//! big-endian, so that keys sort as their numbers do.

use crate::{Offset, Record};
use bytes::Bytes;
use schemas::{Topic, UnixMillis};

/// The version of everything in this file, recorded in every log.
pub const FORMAT: u32 = 1;

/// A topic on the disk; never change a number.
#[must_use]
pub const fn topic_code(topic: Topic) -> u8 {
    match topic {
        Topic::Clicks => 0,
        Topic::Postbacks => 1,
        Topic::Decisions => 2,
        Topic::Config => 3,
        Topic::Availability => 4,
        Topic::ProcessorState => 5,
        Topic::Refused => 6,
        Topic::DeadLetters => 7,
        Topic::Deliveries => 8,
        Topic::DeliveryState => 9,
        Topic::Erasures => 10,
    }
}

fn topic_of(code: u8) -> Option<Topic> {
    Topic::ALL.into_iter().find(|topic| topic_code(*topic) == code)
}

#[must_use]
pub fn record_key(partition: u32, offset: Offset) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&partition.to_be_bytes());
    key[4..].copy_from_slice(&offset.to_be_bytes());
    key
}

#[must_use]
pub fn offset_of(record_key: &[u8]) -> Option<Offset> {
    Some(u64::from_be_bytes(record_key.get(4..12)?.try_into().ok()?))
}

#[must_use]
pub fn encode_record(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(12 + record.key.len() + record.value.len());
    bytes.extend_from_slice(&record.at.0.to_be_bytes());
    // Keys are at most RECORD_BYTES_MAX long, which fits.
    bytes.extend_from_slice(&(record.key.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&record.key);
    bytes.extend_from_slice(&record.value);
    bytes
}

/// A record's time, key and value; `None` when the bytes are not a record.
#[must_use]
pub fn decode_record(bytes: &[u8]) -> Option<Record> {
    let at = i64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
    let key_len = u32::from_be_bytes(bytes.get(8..12)?.try_into().ok()?) as usize;
    let rest = Bytes::copy_from_slice(bytes.get(12..)?);
    if key_len > rest.len() {
        return None;
    }
    Some(Record { key: rest.slice(..key_len), value: rest.slice(key_len..), at: UnixMillis(at) })
}

/// What is known about a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// The oldest record kept.
    pub first: Offset,
    /// The next record's offset.
    pub next: Offset,
    /// What the kept records count for.
    pub bytes: u64,
}

#[must_use]
pub fn extent_key(topic: Topic, partition: u32) -> [u8; 5] {
    let mut key = [topic_code(topic); 5];
    key[1..].copy_from_slice(&partition.to_be_bytes());
    key
}

#[must_use]
pub fn encode_extent(extent: Extent) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&extent.first.to_be_bytes());
    bytes[8..16].copy_from_slice(&extent.next.to_be_bytes());
    bytes[16..].copy_from_slice(&extent.bytes.to_be_bytes());
    bytes
}

#[must_use]
pub fn decode_extent(bytes: &[u8]) -> Option<Extent> {
    let number = |at: usize| Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    Some(Extent { first: number(0)?, next: number(8)?, bytes: number(16)? })
}

/// A group's place in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PositionKey {
    pub group: String,
    pub topic: Topic,
    pub partition: u32,
}

#[must_use]
pub fn encode_position_key(key: &PositionKey) -> Vec<u8> {
    let mut bytes = key.group.as_bytes().to_vec();
    bytes.extend_from_slice(&extent_key(key.topic, key.partition));
    bytes
}

#[must_use]
pub fn decode_position_key(bytes: &[u8]) -> Option<PositionKey> {
    let (group, place) = bytes.split_at_checked(bytes.len().checked_sub(5)?)?;
    Some(PositionKey {
        group: String::from_utf8(group.to_vec()).ok()?,
        topic: topic_of(place[0])?,
        partition: u32::from_be_bytes(place[1..].try_into().ok()?),
    })
}

#[must_use]
pub fn encode_position(next_offset: Offset, note: &str) -> Vec<u8> {
    let mut bytes = next_offset.to_be_bytes().to_vec();
    bytes.extend_from_slice(note.as_bytes());
    bytes
}

#[must_use]
pub fn decode_position(bytes: &[u8]) -> Option<(Offset, String)> {
    let (offset, note) = bytes.split_at_checked(8)?;
    Some((u64::from_be_bytes(offset.try_into().ok()?), String::from_utf8(note.to_vec()).ok()?))
}

#[must_use]
pub fn state_key(partition: u32, key: &[u8]) -> Vec<u8> {
    let mut bytes = partition.to_be_bytes().to_vec();
    bytes.extend_from_slice(key);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_reads_back() {
        let record = Record {
            key: Bytes::from_static(b"k"),
            value: Bytes::from_static(b"value"),
            at: UnixMillis(-5),
        };
        assert_eq!(decode_record(&encode_record(&record)), Some(record));
        let extent = Extent { first: 3, next: 9, bytes: 77 };
        assert_eq!(decode_extent(&encode_extent(extent)), Some(extent));
        for topic in Topic::ALL {
            let key = PositionKey { group: "sink".into(), topic, partition: 300 };
            assert_eq!(decode_position_key(&encode_position_key(&key)), Some(key));
        }
        assert_eq!(decode_position(&encode_position(5, "né")), Some((5, "né".to_string())));
        assert_eq!(offset_of(&record_key(7, 1 << 40)), Some(1 << 40));
    }

    #[test]
    fn damage_is_noticed() {
        for bytes in [&b""[..], b"short", &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 1]] {
            assert_eq!(decode_record(bytes), None);
            assert_eq!(decode_extent(bytes), None);
        }
        assert_eq!(decode_position_key(b"x"), None);
        assert_eq!(decode_position(b"x"), None);
    }
}
