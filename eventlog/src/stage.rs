//! Who owns partitions with a state: each stage has its own input, changelog and group, so that
//! one never waits for the other.

use schemas::Topic;

/// A consumer whose outputs, state and position are one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Decides about postbacks.
    Processor,
    /// Tells publishers what was decided.
    Deliverer,
}

impl Stage {
    pub const ALL: [Self; 2] = [Self::Processor, Self::Deliverer];

    /// The topic whose partitions are owned.
    #[must_use]
    pub const fn input(self) -> Topic {
        match self {
            Self::Processor => Topic::Postbacks,
            Self::Deliverer => Topic::Decisions,
        }
    }

    /// Where the changes of its state stand (Kafka).
    #[must_use]
    pub const fn changelog(self) -> Topic {
        match self {
            Self::Processor => Topic::ProcessorState,
            Self::Deliverer => Topic::DeliveryState,
        }
    }

    /// The group of its members, whose positions are its own.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::Processor => "processors",
            Self::Deliverer => "deliverers",
        }
    }

    /// The one of a group, before its instance id.
    #[must_use]
    pub const fn member(self) -> &'static str {
        match self {
            Self::Processor => "processor",
            Self::Deliverer => "deliverer",
        }
    }

    /// Where its state stands: a keyspace of the local log, a directory on Kafka.
    #[must_use]
    pub const fn state_name(self) -> &'static str {
        match self {
            Self::Processor => "state",
            Self::Deliverer => "delivery-copy",
        }
    }
}
