//! Where a conversion stands, and what that means for everything around it. Every rule about
//! states is one of the functions here.

use schemas::{ConversionStatus, Outcome, Reason};

/// The state of a conversion; the number is the byte in the state, never to be given anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The advertiser rejected it before it came: nothing yet but a word to be kept.
    RejectedInAdvance = 1,
    Waiting = 2,
    Hold = 3,
    Success = 4,
    ManuallyApproved = 5,
    CapReached = 6,
    BudgetExhausted = 7,
    TooSoon = 8,
    SequenceNotMet = 9,
    PrerequisiteRejected = 10,
    /// The member converted at another click while this one waited.
    MemberConvertedElsewhere = 11,
    AdvertiserRejected = 12,
    Refunded = 13,
    ManuallyRejected = 14,
}

impl Kind {
    pub const ALL: [Self; 14] = [
        Self::RejectedInAdvance,
        Self::Waiting,
        Self::Hold,
        Self::Success,
        Self::ManuallyApproved,
        Self::CapReached,
        Self::BudgetExhausted,
        Self::TooSoon,
        Self::SequenceNotMet,
        Self::PrerequisiteRejected,
        Self::MemberConvertedElsewhere,
        Self::AdvertiserRejected,
        Self::Refunded,
        Self::ManuallyRejected,
    ];

    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }

    pub fn status(self) -> ConversionStatus {
        match self {
            Self::Waiting | Self::Hold => ConversionStatus::Pending,
            Self::Success | Self::ManuallyApproved => ConversionStatus::Success,
            _ => ConversionStatus::Rejected,
        }
    }

    pub fn reason(self) -> Option<Reason> {
        Some(match self {
            Self::Success => return None,
            Self::Waiting => Reason::WaitingSequence,
            Self::Hold => Reason::Hold,
            Self::ManuallyApproved => Reason::ManuallyApproved,
            Self::CapReached => Reason::CapReached,
            Self::BudgetExhausted => Reason::BudgetExhausted,
            Self::TooSoon => Reason::TooSoon,
            Self::SequenceNotMet => Reason::SequenceNotMet,
            Self::PrerequisiteRejected => Reason::PrerequisiteRejected,
            Self::MemberConvertedElsewhere => Reason::Duplicate,
            Self::RejectedInAdvance | Self::AdvertiserRejected => Reason::AdvertiserRejected,
            Self::Refunded => Reason::RefundRecorded,
            Self::ManuallyRejected => Reason::ManuallyRejected,
        })
    }

    /// What the postback that led here is told to have become.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Waiting => Outcome::Waiting,
            Self::Hold | Self::Success | Self::ManuallyApproved => Outcome::Accepted,
            Self::MemberConvertedElsewhere => Outcome::Duplicate,
            _ => Outcome::Rejected,
        }
    }

    /// Whether there is a conversion at all.
    pub fn is_conversion(self) -> bool {
        self != Self::RejectedInAdvance
    }

    /// It counts in caps and budget.
    pub fn reserves(self) -> bool {
        matches!(self, Self::Hold | Self::Success | Self::ManuallyApproved)
    }

    pub fn succeeded(self) -> bool {
        matches!(self, Self::Success | Self::ManuallyApproved)
    }

    /// It meets its level. One refused for want of room was still done by the user.
    pub fn meets_level(self) -> bool {
        self.reserves() || matches!(self, Self::CapReached | Self::BudgetExhausted)
    }

    /// The advertiser or a person took it back: only a person brings it back.
    pub fn is_taken_back(self) -> bool {
        matches!(self, Self::AdvertiserRejected | Self::Refunded | Self::ManuallyRejected)
    }

    /// The same event again is a duplicate. One that rules 9 to 11 rejected is decided anew.
    pub fn blocks(self) -> bool {
        self.reserves() || self.is_taken_back() || self == Self::Waiting
    }

    /// The same event of the same member at another click is a duplicate. One that only waits
    /// holds nothing against a click whose own sequence is met.
    pub fn blocks_member(self) -> bool {
        self.blocks() && self != Self::Waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_name_kinds() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_byte(kind as u8), Some(kind));
        }
        assert_eq!(Kind::from_byte(0), None);
    }

    #[test]
    fn what_pays_reserves_and_blocks() {
        for kind in Kind::ALL {
            assert!(!kind.succeeded() || kind.reserves(), "{kind:?}");
            assert!(!kind.reserves() || kind.blocks() && kind.meets_level(), "{kind:?}");
            assert!(!kind.is_taken_back() || !kind.meets_level(), "{kind:?}");
        }
    }
}
