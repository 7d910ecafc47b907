//! What the rules say, written out as the records of a commit while it is still borrowed.

use crate::tally::Tally;
use bytes::Bytes;
use eventlog::Record;
use rules::invariants::{Invariant, Violation};
use rules::{Decided, DecisionView, Scratch};
use schemas::codec::{encode, encode_as};
use schemas::{Availability, Decision, Topic, UnixMillis};

/// A decision of more bytes is told in several records; well below what the log takes.
const RECORD_BYTES_SPLIT: usize = 512 * 1024;
const _: () = assert!(RECORD_BYTES_SPLIT < eventlog::limits::RECORD_BYTES_MAX);

/// Log lines about violations in one commit: wrong state shows at every postback it meets.
const VIOLATIONS_LOGGED_MAX: usize = 10;

/// The records of one commit, and the buffers they are made in.
pub(crate) struct Outputs {
    partition: u32,
    /// The time of the records that come next.
    pub(crate) at: UnixMillis,
    pub(crate) records: Vec<(Topic, u32, Record)>,
    /// Postbacks (put back ones too) and commands whose outcome has been told.
    pub(crate) outcomes: usize,
    /// Violations that were logged in this commit; all of them are counted.
    logged: usize,
    /// To be counted when all is decided.
    pub(crate) tally: Tally,
    buffer: Vec<u8>,
    scratch: Scratch,
}

impl Outputs {
    pub(crate) fn new(partition: u32) -> Self {
        Self {
            partition,
            at: UnixMillis(0),
            records: Vec::new(),
            outcomes: 0,
            logged: 0,
            tally: Tally::default(),
            buffer: Vec::new(),
            scratch: Scratch::default(),
        }
    }
}

impl Outputs {
    fn push(&mut self, value: Bytes) {
        let record = Record { key: Bytes::new(), value, at: self.at };
        self.records.push((Topic::Decisions, self.partition, record));
    }

    /// Counts and logs what must never be seen. The decision stands: its partition is other
    /// people's, too, and would meet the same input again after a restart.
    pub(crate) fn report(&mut self, violation: &Violation<'_>) {
        let Violation { invariant, conversion_id, postback_id } = violation;
        metrics::counter!("gokart_processor_invariant_violations_total", "invariant" => invariant.code())
            .increment(1);
        if self.logged == VIOLATIONS_LOGGED_MAX {
            return;
        }
        self.logged += 1;
        let conversion_id = conversion_id.map(|id| id.to_string()).unwrap_or_default();
        let postback_id = postback_id.map(|id| id.to_string()).unwrap_or_default();
        tracing::error!(
            partition = self.partition,
            invariant = invariant.code(),
            %conversion_id,
            %postback_id,
            "an invariant is broken: {invariant}; the decision stands, look at it with `gokart explain`"
        );
    }
}

/// Lets every invariant show in the metrics before the first violation, so that an alert sees it.
pub(crate) fn show_violations() {
    for invariant in Invariant::ALL {
        metrics::counter!("gokart_processor_invariant_violations_total", "invariant" => invariant.code())
            .increment(0);
    }
}

/// One input can touch any number of conversions (a click's rejection with many repeatable ones),
/// and the log bounds a record. What is too large becomes several records, the first with the
/// outcome; the commit holds all of them or none, and their readers take revisions one by one.
fn split(mut decision: Decision) -> Vec<Vec<u8>> {
    let value = encode(&decision);
    let half = decision.conversions.len() / 2;
    if value.len() <= RECORD_BYTES_SPLIT || half == 0 {
        return vec![value];
    }
    let rest =
        Decision { conversions: decision.conversions.split_off(half), ..Decision::default() };
    let mut values = split(decision);
    values.extend(split(rest));
    values
}

impl Decided for Outputs {
    /// Counts it, too: the rules themselves count nothing.
    fn decision(&mut self, decision: &DecisionView<'_>) {
        self.outcomes += usize::from(
            decision.postback.is_some()
                || decision.command.is_some()
                || decision.redecision.is_some(),
        );
        if let Some(postback) = &decision.postback {
            self.tally.postback(postback.outcome.code(), postback.reason);
        }
        if let Some(redecision) = decision.redecision {
            let preview = if redecision.preview { "true" } else { "false" };
            metrics::counter!("gokart_redecisions_total", "effect" => redecision.effect.code(), "preview" => preview).increment(1);
        }
        for conversion in decision.conversions() {
            self.tally.revision(conversion.status, conversion.reason);
        }
        self.buffer.clear();
        encode_as::<Decision>(decision, &mut self.buffer);
        if self.buffer.len() <= RECORD_BYTES_SPLIT {
            self.push(Bytes::copy_from_slice(&self.buffer));
        } else {
            for value in split(decision.to_decision()) {
                self.push(value.into());
            }
        }
    }

    fn availability(&mut self, availability: &Availability) {
        let key = availability.scope.key().into();
        let record = Record { key, value: encode(availability).into(), at: self.at };
        self.records.push((Topic::Availability, 0, record));
    }

    fn violated(&mut self, violation: &Violation<'_>) {
        self.report(violation);
    }

    fn scratch(&mut self) -> &mut Scratch {
        &mut self.scratch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::codec::decode;
    use schemas::{Conversion, PostbackOutcome};

    fn conversion(revision: u32) -> Conversion {
        let mut json = serde_json::json!({
            "conversion_id": "offer.00000000000000000000000000", "revision": revision, "click_id": "c".repeat(1_000),
            "clicked_at": 1, "tenant": "t", "advertiser_id": "a", "offer_id": "offer", "root_offer_id": "offer",
            "share_id": "s", "publisher_id": "p", "event_id": "e", "event_name": "e", "sequence": null,
            "status": "Rejected", "received_at": 1, "decided_at": 1, "revenue": 0, "payout": 0,
            "currency": "USD", "reward": 0, "offer_version": 1, "test": false
        });
        serde_json::from_value(json.take()).unwrap()
    }

    #[test]
    fn a_large_decision_is_told_in_records_that_the_log_takes() {
        let postback: PostbackOutcome = serde_json::from_value(serde_json::json!({
            "postback_id": "01890a5d-ac96-774b-bcce-b302099a8057", "tenant": "t", "advertiser_id": "a",
            "received_at": 1, "click_id": "", "event_id": "", "outcome": "accepted", "parameters": [],
            "test": false, "config_version": 1
        }))
        .unwrap();
        let conversions: Vec<Conversion> = (1..=3_000).map(conversion).collect();
        let whole = Decision { postback: Some(postback), conversions, ..Decision::default() };
        let parts: Vec<Decision> = split(whole.clone())
            .iter()
            .map(|value| {
                assert!(value.len() <= RECORD_BYTES_SPLIT);
                decode(value).unwrap()
            })
            .collect();
        assert!(parts.len() > 1);
        assert_eq!(parts[0].postback, whole.postback);
        assert!(parts[1..].iter().all(|part| part.postback.is_none()));
        let told: Vec<Conversion> = parts.into_iter().flat_map(|part| part.conversions).collect();
        assert_eq!(told, whole.conversions);
        let small = Decision { conversions: vec![conversion(1)], ..Decision::default() };
        assert_eq!(split(small.clone()), [encode(&small)]);
    }
}
