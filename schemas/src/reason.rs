//! Why. A reason is the metric label, the column value and the text shown to people.

use serde::{Deserialize, Serialize};

/// Declares an enum whose variants have one stable code, used in JSON, SQL, metrics and text.
macro_rules! coded {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $code:literal, $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $code)] $variant,)* }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable code.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// What it means, in words for the people who ask "why was this not tracked?".
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.code())
            }
        }

        impl std::str::FromStr for $name {
            type Err = ();
            fn from_str(code: &str) -> Result<Self, ()> {
                Self::ALL.iter().copied().find(|c| c.code() == code).ok_or(())
            }
        }
    };
}
pub(crate) use coded;

coded! {
    /// Why a postback or a conversion is what it is (domain rules, in their order).
    Reason {
        MissingEvent = "MISSING_EVENT", "the postback names no event: cnv_event_id is missing or empty";
        MacroNotReplaced = "MACRO_NOT_REPLACED", "the sender's system left a macro in place of a value";
        MissingClickId = "MISSING_CLICK_ID", "the postback names no click: gk_click_id is missing or empty";
        InvalidClickId = "INVALID_CLICK_ID", "gk_click_id is not a click id that this system gave out";
        AdvertiserMismatch = "ADVERTISER_MISMATCH", "the click belongs to an offer of another advertiser";
        UnknownOffer = "UNKNOWN_OFFER", "the click's offer or share is not in the configuration";
        UnknownEvent = "UNKNOWN_EVENT", "the offer has no event with exactly this ID (case and spaces count)";
        UnknownStatus = "UNKNOWN_STATUS", "the sender's status is none that the integration knows";
        ClickWindowExpired = "CLICK_WINDOW_EXPIRED", "the first event came later after the click than the attribution window allows";
        DeadlineExceeded = "DEADLINE_EXCEEDED", "the event came later after the click than its deadline allows";
        OfferClosed = "OFFER_CLOSED", "the offer has been closed for longer than its conversions are honoured";
        Duplicate = "DUPLICATE", "this event has already been counted for this click";
        WaitingSequence = "WAITING_SEQUENCE", "an earlier event of the sequence has not happened yet; it waits for it";
        SequenceNotMet = "SEQUENCE_NOT_MET", "the earlier event of the sequence did not come in time";
        PrerequisiteRejected = "PREREQUISITE_REJECTED", "the earlier event that it needed was rejected";
        TooSoon = "TOO_SOON", "it came sooner after the previous level than the offer allows";
        CapReached = "CAP_REACHED", "the cap on this event was already used up";
        BudgetExhausted = "BUDGET_EXHAUSTED", "the offer's budget would have been exceeded";
        Hold = "HOLD", "it is held for its pending time and counts when that has passed";
        AdvertiserRejected = "ADVERTISER_REJECTED", "the advertiser rejected it";
        ManuallyRejected = "MANUALLY_REJECTED", "it was rejected by hand";
        ManuallyApproved = "MANUALLY_APPROVED", "it was approved by hand";
        ReversalRecorded = "REVERSAL_RECORDED", "a rejection by the advertiser, applied to the conversions it names";
        ReversalReview = "REVERSAL_REVIEW", "a rejection that needs a decision by hand";
        RefundRecorded = "REFUND_RECORDED", "a refund of a known transaction";
        RefundUnmatched = "REFUND_UNMATCHED", "a negative amount for a transaction that is not known";
        Ignored = "IGNORED", "the integration reports this kind of activity, but it converts nothing";
    }
}

coded! {
    /// What became of a postback. Every authenticated one has exactly one.
    Outcome {
        Accepted = "accepted", "it made or changed a conversion";
        Duplicate = "duplicate", "it repeats a conversion there already is";
        Rejected = "rejected", "it was refused";
        Waiting = "waiting", "it waits for an earlier event or for a decision by hand";
        Ignored = "ignored", "it is of a kind that converts nothing";
    }
}

coded! {
    /// Something odd that changed nothing, but that somebody will want to see.
    Flag {
        RepeatedParameter = "REPEATED_PARAMETER", "a parameter was given more than once; the first counted";
        UndecodableValue = "UNDECODABLE_VALUE", "a value could not be decoded and was kept as it came";
        UnreadableBody = "UNREADABLE_BODY", "the body was neither a form nor JSON and was not read";
        InvalidRevenue = "INVALID_REVENUE", "the reported sale amount or its currency could not be read";
        ImplausibleEventTime = "IMPLAUSIBLE_EVENT_TIME", "the sender's event time could not be believed; the time of arrival counted";
        PlaceholderTransaction = "PLACEHOLDER_TRANSACTION", "the transaction id was a placeholder and counted as none";
        NoTransactionId = "NO_TRANSACTION_ID", "a repeatable event came without a transaction id";
        PrerequisiteRejectedLater = "PREREQUISITE_REJECTED_LATER", "an earlier event was rejected after this one had already succeeded";
        OverLimit = "OVER_LIMIT", "it was approved by hand past a cap or the budget";
        PartialRefund = "PARTIAL_REFUND", "a part of the sale amount was refunded";
        UnknownCountry = "UNKNOWN_COUNTRY", "the click's country was not known, so targeting let it pass";
        UnknownPlatform = "UNKNOWN_PLATFORM", "the click's platform was not known, so targeting let it pass";
        ManyParameters = "MANY_PARAMETERS", "there were more parameters than are kept; the first ones were";
        Redecided = "REDECIDED", "it was refused at first, and put back for decision by hand";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip_and_differ() {
        let mut seen = std::collections::BTreeSet::new();
        for reason in Reason::ALL {
            assert!(seen.insert(reason.code()));
            assert_eq!(reason.code().parse(), Ok(*reason));
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.code());
            assert!(!reason.text().is_empty());
        }
        assert_eq!("nothing".parse::<Reason>(), Err(()));
    }
}
