//! A decision as it is told: borrowed, and the same JSON as [`Decision`].

use crate::revisions::Revisions;
use schemas::{CommandOutcome, ConversionView, Decision, PostbackOutcomeView, Redecision};
use serde::ser::{Serialize, SerializeStruct, Serializer};

/// The decisions that one input, or one timer, led to; see [`Decision`].
#[derive(Debug)]
pub struct DecisionView<'a> {
    pub postback: Option<PostbackOutcomeView<'a>>,
    pub command: Option<&'a CommandOutcome>,
    pub redecision: Option<&'a Redecision>,
    pub(crate) revisions: Option<&'a Revisions<'a>>,
}

impl<'a> DecisionView<'a> {
    /// The revisions, in the order they were made.
    pub fn conversions(&self) -> impl Iterator<Item = ConversionView<'a>> + use<'a> {
        self.revisions.into_iter().flat_map(Revisions::views)
    }

    /// A copy that borrows nothing.
    #[must_use]
    pub fn to_decision(&self) -> Decision {
        Decision {
            postback: self.postback.map(Into::into),
            command: self.command.cloned(),
            redecision: self.redecision.cloned(),
            conversions: self.conversions().map(Into::into).collect(),
            deliveries: Vec::new(),
        }
    }
}

impl Serialize for DecisionView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let revisions = self.revisions.filter(|revisions| !revisions.rows.is_empty());
        let fields = usize::from(self.postback.is_some())
            + usize::from(self.command.is_some())
            + usize::from(self.redecision.is_some())
            + usize::from(revisions.is_some());
        let mut decision = serializer.serialize_struct("Decision", fields)?;
        if let Some(postback) = &self.postback {
            decision.serialize_field("postback", postback)?;
        }
        if let Some(command) = self.command {
            decision.serialize_field("command", command)?;
        }
        if let Some(redecision) = self.redecision {
            decision.serialize_field("redecision", redecision)?;
        }
        if let Some(revisions) = revisions {
            decision.serialize_field("conversions", &Rows(revisions))?;
        }
        decision.end()
    }
}

struct Rows<'a>(&'a Revisions<'a>);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.views())
    }
}
