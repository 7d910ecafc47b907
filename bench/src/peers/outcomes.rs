//! Whether a side has really decided everything once: its decisions, read and counted.

use crate::topics::{Written, read};
use anyhow::{Context as _, Result, bail, ensure};
use schemas::{Decision, Outcome};
use serde::Deserialize;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A record of ours or of a peer's; the order of its fields does not matter here.
#[derive(Deserialize)]
struct Record {
    decision: Decision,
}

/// What stands in the decisions of one run.
#[derive(Debug, Default)]
pub struct Outcomes {
    accepted: u64,
    duplicates: u64,
    /// Hashes of click and event of what was accepted.
    distinct: HashSet<u64>,
}

impl Outcomes {
    /// Reads what was committed to a topic from these offsets on.
    pub fn of(brokers: &str, topic: &str, from: &[i64]) -> Result<(Self, Written)> {
        let mut outcomes = Self::default();
        let written = read(brokers, topic, from, |value| outcomes.take(value))?;
        Ok((outcomes, written))
    }

    fn take(&mut self, value: &[u8]) -> Result<()> {
        let unreadable = || format!("not a decision: {}", String::from_utf8_lossy(value));
        let record: Record = serde_json::from_slice(value).with_context(unreadable)?;
        let Some(postback) = record.decision.postback else { return Ok(()) };
        match postback.outcome {
            Outcome::Accepted => {
                ensure!(!record.decision.conversions.is_empty(), "no conversion in a decision");
                self.accepted += 1;
                let mut hash = DefaultHasher::new();
                (&postback.click_id, &postback.event_id).hash(&mut hash);
                self.distinct.insert(hash.finish());
            }
            Outcome::Duplicate => self.duplicates += 1,
            other => bail!("a postback was decided {other:?}"),
        }
        Ok(())
    }

    /// Each of so many different inputs was accepted once, and so many told as repeats.
    pub fn check(&self, distinct: u64, told: u64) -> Result<()> {
        let found = (self.accepted, self.distinct.len() as u64, self.duplicates);
        ensure!(
            found == (distinct, distinct, told),
            "{} were accepted, {} of them different, and {} told as repeats; it had to be \
             {distinct} and {told}",
            found.0,
            found.1,
            found.2
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(click: &str, outcome: &str) -> Vec<u8> {
        let mut postback = serde_json::json!({
            "postback_id": "01890a5d-ac96-774b-bcce-b302099a8057", "tenant": "t", "advertiser_id": "a",
            "received_at": 1, "click_id": click, "event_id": "e", "outcome": outcome, "parameters": [],
            "test": false, "config_version": 1
        });
        let conversion = serde_json::json!({
            "conversion_id": "offer.00000000000000000000000000", "revision": 1, "click_id": click,
            "clicked_at": 1, "tenant": "t", "advertiser_id": "a", "offer_id": "offer", "root_offer_id": "offer",
            "share_id": "s", "publisher_id": "p", "event_id": "e", "event_name": "e", "sequence": null,
            "status": "Success", "received_at": 1, "decided_at": 1, "revenue": 0, "payout": 0,
            "currency": "USD", "reward": 0, "offer_version": 1, "test": false
        });
        let decision =
            serde_json::json!({"postback": postback.take(), "conversions": [conversion]});
        serde_json::json!({"decision": decision, "v": 1}).to_string().into_bytes()
    }

    #[test]
    fn repeats_that_were_let_through_are_found() {
        let mut outcomes = Outcomes::default();
        for (click, outcome) in [("a", "accepted"), ("b", "accepted"), ("a", "duplicate")] {
            outcomes.take(&record(click, outcome)).unwrap();
        }
        outcomes.check(2, 1).unwrap();
        assert!(outcomes.check(3, 0).is_err());
        outcomes.take(&record("a", "accepted")).unwrap();
        assert!(outcomes.check(3, 1).is_err());
        assert!(outcomes.take(&record("a", "waiting")).is_err());
    }
}
