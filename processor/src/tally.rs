//! What one commit's decisions came to, added up before it is counted: a metric's handle costs more
//! to look up by its labels than a decision of a known kind costs to decide.

use schemas::{ConversionStatus, Reason};

/// A commit has few kinds of outcomes, so a list is looked through.
struct Kinds<K>(Vec<(K, u64)>);

impl<K> Default for Kinds<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: PartialEq> Kinds<K> {
    fn add(&mut self, kind: K) {
        match self.0.iter_mut().find(|(it, _)| *it == kind) {
            Some((_, count)) => *count += 1,
            None => self.0.push((kind, 1)),
        }
    }

    fn drain(&mut self) -> impl Iterator<Item = (K, u64)> + '_ {
        self.0.drain(..)
    }
}

/// Counts of one commit.
#[derive(Default)]
pub(crate) struct Tally {
    postbacks: Kinds<(&'static str, Option<Reason>)>,
    revisions: Kinds<(ConversionStatus, Option<Reason>)>,
}

fn label(reason: Option<Reason>) -> &'static str {
    reason.map_or("", Reason::code)
}

impl Tally {
    /// A postback's outcome, as metrics name it.
    pub(crate) fn postback(&mut self, outcome: &'static str, reason: Option<Reason>) {
        self.postbacks.add((outcome, reason));
    }

    /// A revision of a conversion.
    pub(crate) fn revision(&mut self, status: ConversionStatus, reason: Option<Reason>) {
        self.revisions.add((status, reason));
    }

    /// Counts it all, and begins anew.
    pub(crate) fn count(&mut self) {
        for ((outcome, reason), count) in self.postbacks.drain() {
            metrics::counter!("gokart_postbacks_decided_total", "outcome" => outcome, "reason" => label(reason)).increment(count);
        }
        for ((status, reason), count) in self.revisions.drain() {
            metrics::counter!("gokart_conversion_revisions_total", "status" => status.code(), "reason" => label(reason)).increment(count);
        }
    }
}
