//! What every log refuses alike, so that a record that one of them takes is taken by all.

use crate::{AppendError, CommitError, NOTE_BYTES_MAX, Record};
use schemas::Topic;
use schemas::topic::Kind;

/// Largest key and value of one record together. Kafka's default for a batch of records is
/// 1,048,588 bytes with its headers; this leaves room for them.
pub const RECORD_BYTES_MAX: usize = 1_000_000;

/// What a record costs in queues beside its key and value.
pub const RECORD_OVERHEAD_BYTES: usize = 64;

const _: () = assert!(RECORD_BYTES_MAX + RECORD_OVERHEAD_BYTES < 1 << 20);

/// The bytes that a record counts for in queues and quotas.
#[must_use]
pub fn record_bytes(record: &Record) -> usize {
    record.key.len() + record.value.len() + RECORD_OVERHEAD_BYTES
}

/// Whether these records can ever stand in this partition; how many bytes they count for.
pub fn check_records(
    topic: Topic,
    partition: u32,
    partitions: u32,
    records: &[Record],
) -> Result<usize, AppendError> {
    if partition >= partitions {
        return Err(AppendError::Refused(format!(
            "{topic} has {partitions} partitions, there is no partition {partition}"
        )));
    }
    let mut bytes = 0;
    for record in records {
        let size = record.key.len() + record.value.len();
        if size > RECORD_BYTES_MAX {
            return Err(AppendError::Refused(format!(
                "{size} bytes in one record of {topic}, at most {RECORD_BYTES_MAX} are allowed"
            )));
        }
        if topic.kind() == Kind::Compacted && record.key.is_empty() {
            return Err(AppendError::Refused(format!(
                "{topic} keeps the last record of each key, and this record has no key"
            )));
        }
        bytes += record_bytes(record);
    }
    Ok(bytes)
}

/// Whether a position's note fits.
pub fn check_note(note: &str) -> Result<(), CommitError> {
    if note.len() > NOTE_BYTES_MAX {
        let bytes = note.len();
        return Err(CommitError::Unavailable(format!(
            "{bytes} bytes in the note of a position, at most {NOTE_BYTES_MAX} are allowed"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use schemas::UnixMillis;

    fn check(topic: Topic, partition: u32, key: usize, value: usize, taken: bool) {
        let record = Record {
            key: Bytes::from(vec![b'k'; key]),
            value: Bytes::from(vec![b'v'; value]),
            at: UnixMillis(0),
        };
        let result = check_records(topic, partition, 2, &[record]);
        assert_eq!(result.is_ok(), taken, "{topic}/{partition} {key}+{value}: {result:?}");
    }

    #[test]
    fn refuses_what_no_log_can_take() {
        check(Topic::Postbacks, 0, 0, 1, true);
        check(Topic::Postbacks, 1, 10, RECORD_BYTES_MAX - 10, true);
        check(Topic::Postbacks, 1, 10, RECORD_BYTES_MAX - 9, false);
        check(Topic::Postbacks, 2, 0, 1, false);
        check(Topic::Config, 0, 0, 1, false);
        check(Topic::Config, 0, 1, 0, true);
    }
}
