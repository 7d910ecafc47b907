//! Records of the log as rows, with the place each came from.

use crate::error::Error;
use crate::plan::{OffsetRange, Source};
use eventlog::{Batch, Offset, StoredRecord};
use schemas::decision::CommandOutcome;
use schemas::{
    Click, Conversion, DeadLetter, Decision, DecodeError, DeliveryAttempt, Erasure,
    PostbackOutcome, Redecision, Refusal, Topic, UnixMillis, codec,
};

/// The topics that end up in ClickHouse.
pub const TOPICS: [Topic; 6] = [
    Topic::Clicks,
    Topic::Decisions,
    Topic::Refused,
    Topic::DeadLetters,
    Topic::Deliveries,
    Topic::Erasures,
];
/// Bytes of a record that a dead letter keeps; twice as many digits.
const DEAD_LETTER_BYTES_MAX: usize = 64 * 1024;

/// Where in the log a row came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub source: Source,
    pub offset: Offset,
}

/// A row and where it came from.
#[derive(Debug)]
pub struct Placed<M> {
    pub place: Place,
    pub message: M,
}

/// Rows for every table, in the order of the log.
#[derive(Debug, Default)]
pub struct Rows {
    pub clicks: Vec<Placed<Click>>,
    pub postbacks: Vec<Placed<PostbackOutcome>>,
    pub conversions: Vec<Placed<Conversion>>,
    pub commands: Vec<Placed<CommandOutcome>>,
    pub redecisions: Vec<Placed<Redecision>>,
    pub refused: Vec<Placed<Refusal>>,
    pub dead_letters: Vec<Placed<DeadLetter>>,
    pub deliveries: Vec<Placed<DeliveryAttempt>>,
    /// To be carried out once the rows are in.
    pub erasures: Vec<Erasure>,
    /// Records that could not be read: to be written to the topic `dead-letters`.
    pub broken: Vec<DeadLetter>,
}

impl Rows {
    /// Rows of all tables.
    #[must_use]
    pub fn len(&self) -> usize {
        self.clicks.len()
            + self.postbacks.len()
            + self.conversions.len()
            + self.commands.len()
            + self.redecisions.len()
            + self.refused.len()
            + self.dead_letters.len()
            + self.deliveries.len()
    }

    /// Nothing to insert and nothing to report.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.broken.is_empty() && self.erasures.is_empty()
    }

    /// Adds the rows that follow.
    pub fn append(&mut self, mut other: Self) {
        self.clicks.append(&mut other.clicks);
        self.postbacks.append(&mut other.postbacks);
        self.conversions.append(&mut other.conversions);
        self.commands.append(&mut other.commands);
        self.redecisions.append(&mut other.redecisions);
        self.refused.append(&mut other.refused);
        self.dead_letters.append(&mut other.dead_letters);
        self.deliveries.append(&mut other.deliveries);
        self.erasures.append(&mut other.erasures);
        self.broken.append(&mut other.broken);
    }
}

/// What one read of a partition brought.
#[derive(Debug)]
pub struct Chunk {
    pub source: Source,
    pub range: OffsetRange,
    pub rows: Rows,
    /// Of the records as they stand in the log.
    pub bytes: usize,
}

/// Turns a batch that was read from `from` on into rows. A broken record becomes a dead letter
/// found at `now`; a record of a newer writer is an error, because to go past it would lose it.
pub fn decode(
    source: Source,
    from: Offset,
    batch: &Batch,
    now: UnixMillis,
) -> Result<Chunk, Error> {
    let mut rows = Rows::default();
    let mut bytes = 0;
    for stored in &batch.records {
        bytes += stored.record.value.len();
        let place = Place { source, offset: stored.offset };
        match push(&mut rows, place, &stored.record.value) {
            Ok(()) => {}
            Err(DecodeError::Malformed(error)) => {
                rows.broken.push(dead_letter(place, stored, error, now));
            }
            Err(source @ DecodeError::UnknownVersion { .. }) => {
                let Place { source: (topic, partition), offset } = place;
                return Err(Error::UnknownRecord { topic, partition, offset, source });
            }
        }
    }
    Ok(Chunk { source, range: OffsetRange { from, end: batch.next_offset }, rows, bytes })
}

fn push(rows: &mut Rows, place: Place, value: &[u8]) -> Result<(), DecodeError> {
    match place.source.0 {
        Topic::Clicks => rows.clicks.push(Placed { place, message: codec::decode(value)? }),
        Topic::Refused => rows.refused.push(Placed { place, message: codec::decode(value)? }),
        Topic::Deliveries => rows.deliveries.push(Placed { place, message: codec::decode(value)? }),
        Topic::DeadLetters => {
            rows.dead_letters.push(Placed { place, message: codec::decode(value)? });
        }
        Topic::Erasures => rows.erasures.push(codec::decode(value)?),
        Topic::Decisions => {
            // What is asked of the deliverer is no row until it is tried.
            let Decision { postback, command, redecision, conversions, deliveries: _ } =
                codec::decode(value)?;
            rows.postbacks.extend(postback.map(|message| Placed { place, message }));
            rows.commands.extend(command.map(|message| Placed { place, message }));
            rows.redecisions.extend(redecision.map(|message| Placed { place, message }));
            let placed = conversions.into_iter().map(|message| Placed { place, message });
            rows.conversions.extend(placed);
        }
        // Not read by the sink: see TOPICS.
        Topic::Postbacks
        | Topic::Config
        | Topic::Availability
        | Topic::ProcessorState
        | Topic::DeliveryState => {}
    }
    Ok(())
}

/// A record as a dead letter.
#[must_use]
pub fn dead_letter(
    place: Place,
    stored: &StoredRecord,
    error: String,
    now: UnixMillis,
) -> DeadLetter {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let value = &stored.record.value;
    let kept = &value[..value.len().min(DEAD_LETTER_BYTES_MAX)];
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    DeadLetter {
        topic: place.source.0.name().to_owned(),
        partition: place.source.1,
        offset: place.offset,
        found_at: now,
        error,
        value_hex: kept.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use eventlog::Record;

    const NOW: UnixMillis = UnixMillis(7);

    fn batch(values: &[&[u8]]) -> Batch {
        let stored = |(index, value): (usize, &&[u8])| StoredRecord {
            offset: index as u64 * 2,
            record: Record { key: Bytes::new(), value: Bytes::copy_from_slice(value), at: NOW },
        };
        let records: Vec<_> = values.iter().enumerate().map(stored).collect();
        Batch { next_offset: values.len() as u64 * 2, records, at_end: true }
    }

    fn letter() -> DeadLetter {
        let stored = batch(&[b"\x00\xff"]).records.remove(0);
        dead_letter(Place { source: (Topic::Clicks, 3), offset: 9 }, &stored, "bad".to_owned(), NOW)
    }

    #[test]
    fn a_broken_record_is_reported_and_does_not_hold_up_the_others() {
        let good = codec::encode(&letter());
        let chunk = decode((Topic::DeadLetters, 0), 0, &batch(&[&good, b"{", &good]), NOW).unwrap();
        assert_eq!(chunk.range, OffsetRange { from: 0, end: 6 });
        assert_eq!(chunk.rows.dead_letters.len(), 2);
        assert_eq!(chunk.rows.len(), 2);
        let broken = &chunk.rows.broken[0];
        assert_eq!((broken.topic.as_str(), broken.offset), ("dead-letters", 2));
        assert_eq!(broken.value_hex, "7b");
    }

    #[test]
    fn a_newer_writer_stops_the_sink_with_the_place() {
        let newer = br#"{"v":99,"click":{}}"#;
        let error = decode((Topic::Clicks, 3), 0, &batch(&[newer]), NOW).unwrap_err();
        assert!(matches!(error, Error::UnknownRecord { partition: 3, offset: 0, .. }));
        assert!(error.to_string().starts_with("clicks/3 at 0: "), "{error}");
    }

    #[test]
    fn a_decision_without_effects_only_moves_the_offset() {
        let empty = codec::encode(&Decision::default());
        let chunk = decode((Topic::Decisions, 0), 0, &batch(&[&empty]), NOW).unwrap();
        assert!(chunk.rows.is_empty());
        assert_eq!(chunk.range, OffsetRange { from: 0, end: 2 });
    }

    #[test]
    fn values_are_kept_as_digits() {
        assert_eq!(letter().value_hex, "00ff");
    }
}
