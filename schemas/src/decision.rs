//! What the processor decided: one record for each input or timer that had an effect.

use crate::click::{Platform, SubIds};
use crate::codec::Message;
use crate::ids::{
    AdvertiserId, ConversionId, EventId, OfferId, PostbackId, PublisherId, ShareId, TenantId,
};
use crate::money::{Currency, Micros};
use crate::postback::DeliveryOrder;
use crate::reason::{Flag, Outcome, Reason, coded};
use crate::time::UnixMillis;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;

coded! {
    /// Where a conversion stands.
    ConversionStatus {
        Pending = "Pending", "not decided yet";
        Success = "Success", "it counts and is paid";
        Rejected = "Rejected", "it does not count";
    }
}

/// The decisions that one input, or one timer, led to. `postback` is there when the input was one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Decision {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postback: Option<PostbackOutcome>,
    /// There when the input was a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandOutcome>,
    /// There for each postback that was put back for decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redecision: Option<Redecision>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conversions: Vec<Conversion>,
    /// What publishers are to be told by hand; comes from people, not from the processor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deliveries: Vec<DeliveryOrder>,
}

impl Message for Decision {
    const KIND: &'static str = "decision";
}

coded! {
    /// What a decision by hand did.
    CommandEffect {
        Applied = "applied", "the conversion was changed";
        AlreadySo = "already_so", "the conversion was already as asked; nothing changed";
        OverLimit = "over_limit", "approving it would pass a cap or the budget; approve it with --over-limit if it shall count all the same";
        UnknownConversion = "unknown_conversion", "the click has no such conversion, or its state has expired; nothing changed";
        UnknownClick = "unknown_click", "the click id with the command is not valid or its offer is not configured; nothing changed";
    }
}

/// What became of a command. Every one has exactly one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandOutcome {
    pub command_id: Uuid,
    pub conversion_id: ConversionId,
    pub effect: CommandEffect,
    pub decided_at: UnixMillis,
}

coded! {
    /// What putting a stored postback back for decision did.
    RedecisionEffect {
        Applied = "applied", "it was decided anew, and that is what became of it";
        AlreadyCounted = "already_counted", "what it reports has been counted already; nothing changed";
        Refused = "refused", "it would be refused again; nothing changed";
        TooOld = "too_old", "its click is too old for anybody to know what has been counted of it; nothing changed";
    }
}

/// A postback that was put back for decision: a row of the table `redecisions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redecision {
    pub run_id: Uuid,
    /// Nothing was changed: this is what would have become of it.
    pub preview: bool,
    pub effect: RedecisionEffect,
    /// Who asked for it; empty when they did not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub operator: String,
    /// Their own words.
    pub note: String,
    pub decided_at: UnixMillis,
    /// What today's rules say of the postback. With [`RedecisionEffect::Applied`] it takes the
    /// place of what they said before.
    pub outcome: PostbackOutcome,
    /// The conversions it changed or, as a preview, would change: its own, and those that follow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ConversionChange>,
}

/// How a conversion stands after a redecision, shortly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversionChange {
    pub conversion_id: ConversionId,
    pub event_id: EventId,
    pub status: ConversionStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    pub revenue: Micros,
    pub payout: Micros,
    pub currency: Currency,
}

/// A row of the table `postbacks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostbackOutcome {
    pub postback_id: PostbackId,
    pub tenant: TenantId,
    pub advertiser_id: AdvertiserId,
    pub received_at: UnixMillis,
    /// As received; empty when there was none.
    pub click_id: String,
    /// As received; empty when there was none.
    pub event_id: String,
    pub outcome: Outcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversion_id: Option<ConversionId>,
    /// Known when the click id was valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer_id: Option<OfferId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher_id: Option<PublisherId>,
    pub parameters: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<Flag>,
    pub test: bool,
    /// The configuration version that decided.
    pub config_version: u64,
}

/// One revision of a conversion: a row of the table `conversions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversion {
    pub conversion_id: ConversionId,
    /// Counts from 1; the highest is the one that holds.
    pub revision: u32,
    pub click_id: Arc<str>,
    pub clicked_at: UnixMillis,
    pub tenant: TenantId,
    pub advertiser_id: AdvertiserId,
    pub offer_id: OfferId,
    pub root_offer_id: OfferId,
    pub share_id: ShareId,
    pub publisher_id: PublisherId,
    /// The event's configured ID (not the alias it came by).
    pub event_id: EventId,
    /// User-facing name.
    pub event_name: Arc<str>,
    pub sequence: Option<u32>,
    pub status: ConversionStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// An operator's words, when decided by hand.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// When the postback that first made this conversion was received: never changes.
    pub received_at: UnixMillis,
    /// When a held one becomes a Success, or a waiting one gives up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<UnixMillis>,
    /// When this revision was decided, on the partition's clock.
    pub decided_at: UnixMillis,
    pub revenue: Micros,
    pub payout: Micros,
    pub currency: Currency,
    /// In `reward_unit`, not a currency.
    pub reward: Micros,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub reward_unit: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sale_amount: Option<Micros>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sale_currency: Option<Currency>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<Arc<str>>,
    /// The offer version whose amounts it has.
    pub offer_version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "SubIds::is_empty")]
    pub subs: SubIds,
    pub test: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<Flag>,
    /// The postback that led to this revision; none for a timer or a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postback_id: Option<PostbackId>,
}
