//! What the processor tells the ingesters: which offers and shares have used up what they may.

use crate::codec::Message;
use crate::ids::{OfferId, ShareId};
use crate::reason::Reason;
use crate::time::UnixMillis;
use serde::{Deserialize, Serialize};

/// What is, or is no longer, used up.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AvailabilityScope {
    /// A root offer with all its clones and shares (budget).
    RootOffer(OfferId),
    /// One offer or clone, over all its shares.
    Offer(OfferId),
    Share(ShareId),
}

impl AvailabilityScope {
    /// The key in the compacted topic.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::RootOffer(id) => format!("root-offer/{id}"),
            Self::Offer(id) => format!("offer/{id}"),
            Self::Share(id) => format!("share/{id}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Availability {
    pub scope: AvailabilityScope,
    /// `None`: clicks are welcome. `Some`: `CAP_REACHED` or `BUDGET_EXHAUSTED`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exhausted: Option<Reason>,
    /// When it ends by itself: the end of the cap's period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UnixMillis>,
    pub at: UnixMillis,
}

impl Availability {
    /// Whether clicks are welcome at `now`.
    #[must_use]
    pub fn is_available(&self, now: UnixMillis) -> bool {
        self.exhausted.is_none() || self.until.is_some_and(|until| now >= until)
    }
}

impl Message for Availability {
    const KIND: &'static str = "availability";
}
