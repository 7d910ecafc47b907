//! What the rules say, written out as the records of a commit while it is still borrowed.

use bytes::Bytes;
use eventlog::Record;
use rules::{Decided, DecisionView, Scratch};
use schemas::codec::{encode, encode_as};
use schemas::{Availability, Decision, Reason, Topic, UnixMillis};

/// The records of one commit, and the buffers they are made in.
pub(crate) struct Outputs {
    partition: u32,
    /// The time of the records that come next.
    pub(crate) at: UnixMillis,
    pub(crate) records: Vec<(Topic, u32, Record)>,
    buffer: Vec<u8>,
    scratch: Scratch,
}

impl Outputs {
    pub(crate) fn new(partition: u32) -> Self {
        Self {
            partition,
            at: UnixMillis(0),
            records: Vec::new(),
            buffer: Vec::new(),
            scratch: Scratch::default(),
        }
    }
}

impl Decided for Outputs {
    /// Counts it, too: the rules themselves count nothing.
    fn decision(&mut self, decision: &DecisionView<'_>) {
        if let Some(postback) = &decision.postback {
            let reason = postback.reason.map_or("", Reason::code);
            metrics::counter!("gokart_postbacks_decided_total", "outcome" => postback.outcome.code(), "reason" => reason).increment(1);
        }
        for conversion in decision.conversions() {
            let reason = conversion.reason.map_or("", Reason::code);
            metrics::counter!("gokart_conversion_revisions_total", "status" => conversion.status.code(), "reason" => reason).increment(1);
        }
        self.buffer.clear();
        encode_as::<Decision>(decision, &mut self.buffer);
        let value = Bytes::copy_from_slice(&self.buffer);
        let record = Record { key: Bytes::new(), value, at: self.at };
        self.records.push((Topic::Decisions, self.partition, record));
    }

    fn availability(&mut self, availability: &Availability) {
        let key = availability.scope.key().into();
        let record = Record { key, value: encode(availability).into(), at: self.at };
        self.records.push((Topic::Availability, 0, record));
    }

    fn scratch(&mut self) -> &mut Scratch {
        &mut self.scratch
    }
}
