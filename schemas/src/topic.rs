//! The topics of the event log and how records find their partition.

use crate::ids::OfferId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Who reads a topic decides what may be forgotten from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Records are kept for a time and a size.
    Retention,
    /// The last record of each key is kept for ever.
    Compacted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    /// Click records for analytics.
    Clicks,
    /// Postbacks, commands and click details: the one ordered input of a partition.
    Postbacks,
    /// What the processor decided, in the partition of its input.
    Decisions,
    /// Configuration documents; an apply ends in a marker.
    Config,
    /// Offers and shares whose caps or budget are used up.
    Availability,
    /// The processor's changelog; on Kafka only.
    ProcessorState,
    /// Requests whose credentials did not match, redacted.
    Refused,
    /// Records that could not be read.
    DeadLetters,
    /// Attempts to tell publishers of conversions, in the partition of the decision.
    Deliveries,
    /// The deliverer's changelog; on Kafka only.
    DeliveryState,
    /// Requests to erase what is personal.
    Erasures,
}

impl Topic {
    pub const ALL: [Self; 11] = [
        Self::Clicks,
        Self::Postbacks,
        Self::Decisions,
        Self::Config,
        Self::Availability,
        Self::ProcessorState,
        Self::Refused,
        Self::DeadLetters,
        Self::Deliveries,
        Self::DeliveryState,
        Self::Erasures,
    ];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clicks => "clicks",
            Self::Postbacks => "postbacks",
            Self::Decisions => "decisions",
            Self::Config => "config",
            Self::Availability => "availability",
            Self::ProcessorState => "processor-state",
            Self::Refused => "refused",
            Self::DeadLetters => "dead-letters",
            Self::Deliveries => "deliveries",
            Self::DeliveryState => "delivery-state",
            Self::Erasures => "erasures",
        }
    }

    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::Config | Self::Availability | Self::ProcessorState | Self::DeliveryState => {
                Kind::Compacted
            }
            Self::Clicks
            | Self::Postbacks
            | Self::Decisions
            | Self::Refused
            | Self::DeadLetters
            | Self::Deliveries
            | Self::Erasures => Kind::Retention,
        }
    }

    /// Partitions of this topic when `postbacks` has `partitions`. `config` and `availability`
    /// have one, because their readers need all of them in order.
    #[must_use]
    pub const fn partitions(self, partitions: u32) -> u32 {
        match self {
            Self::Config
            | Self::Availability
            | Self::Refused
            | Self::DeadLetters
            | Self::Erasures => 1,
            Self::Clicks
            | Self::Postbacks
            | Self::Decisions
            | Self::ProcessorState
            | Self::Deliveries
            | Self::DeliveryState => partitions,
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The partition of a root offer among `partitions`: FNV-1a, 64 bits, of the id. We compute it
/// ourselves, so that every client, library and language puts an offer in the same place, for ever.
#[must_use]
pub fn partition_of(root_offer: &OfferId, partitions: u32) -> u32 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let hash = root_offer
        .as_str()
        .bytes()
        .fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    // The low bits of FNV-1a mix best after folding the high ones in.
    let folded = hash ^ (hash >> 32);
    (folded % u64::from(partitions.max(1))) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_never_change() {
        let at = |id: &str| partition_of(&OfferId::new(id).unwrap(), 12);
        let expected = [("pet-the-dogs-ios", 0), ("first-trade", 11), ("a", 4)];
        assert_eq!(expected.map(|(id, _)| (id, at(id))), expected);
    }

    #[test]
    fn offers_spread() {
        let mut counts = [0u32; 8];
        for n in 0..8000 {
            counts[partition_of(&OfferId::new(&format!("offer-{n}")).unwrap(), 8) as usize] += 1;
        }
        assert!(counts.iter().all(|c| (800..1200).contains(c)), "{counts:?}");
    }
}
