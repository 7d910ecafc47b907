//! What is known about a click, as far as it is known.

use schemas::Offer;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What the caller gave us to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    Click,
    Postback,
    Conversion,
}

/// What the click id itself says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Token {
    /// One of ours.
    Valid(TokenClick),
    /// Not one of ours; in words, why.
    Invalid(String),
    /// There is no click id.
    Absent,
}

/// A click as its sealed id carries it: there even when the row of the click is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenClick {
    pub clicked_at_ms: i64,
    pub root_offer_id: String,
    pub share_id: String,
    pub country: Option<String>,
    pub platform: Option<String>,
    pub test: bool,
    pub config_version: u64,
}

/// The row of the click.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClickRow {
    pub clicked_at_ms: i64,
    pub offer_id: String,
    pub share_id: String,
    pub publisher_id: String,
    pub country: String,
    pub platform: String,
    /// `sub1` to `sub15`; empty ones are not given.
    pub subs: Vec<String>,
    pub test: bool,
    pub flags: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostbackRow {
    pub postback_id: String,
    pub tenant: String,
    pub advertiser_id: String,
    pub received_at_ms: i64,
    pub click_id: String,
    /// As received.
    pub event_id: String,
    pub outcome: String,
    pub reason: String,
    pub conversion_id: String,
    /// Names and values in the order received.
    pub parameters: Vec<(String, String)>,
    pub flags: Vec<String>,
    pub test: bool,
    /// When it was put back for decision, in order.
    pub redecisions: Vec<RedecisionRow>,
}

/// What became of a postback when it was put back for decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedecisionRow {
    pub decided_at_ms: i64,
    /// A code of [`schemas::RedecisionEffect`].
    pub effect: String,
    pub outcome: String,
    pub reason: String,
    /// Who asked for it, and their words.
    pub operator: String,
    pub note: String,
    /// What was decided when it was received.
    pub first_outcome: String,
    pub first_reason: String,
}

/// One revision of a conversion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionRow {
    pub conversion_id: String,
    pub revision: u32,
    pub tenant: String,
    pub click_id: String,
    pub offer_id: String,
    pub event_id: String,
    pub event_name: String,
    pub sequence: Option<u32>,
    pub status: String,
    pub reason: String,
    pub note: String,
    pub received_at_ms: i64,
    pub due_at_ms: Option<i64>,
    pub decided_at_ms: i64,
    pub revenue: String,
    pub payout: String,
    pub currency: String,
    pub reward: String,
    pub reward_unit: String,
    pub sale_amount: Option<String>,
    pub sale_currency: String,
    pub transaction_id: String,
    pub flags: Vec<String>,
    pub test: bool,
}

/// Everything that a story is told from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// The id that was asked for.
    pub id: String,
    pub asked: Asked,
    /// Empty when there is none.
    pub click_id: String,
    pub token: Token,
    pub click: Option<ClickRow>,
    /// In the order received.
    pub postbacks: Vec<PostbackRow>,
    /// There are more postbacks than are told.
    pub more_postbacks: bool,
    /// By conversion, then revision.
    pub revisions: Vec<RevisionRow>,
    /// There are more revisions than are told.
    pub more_revisions: bool,
    /// Today's configuration of the click's offer; it is not part of the answer.
    #[serde(skip)]
    pub offer: Option<Arc<Offer>>,
    #[serde(skip)]
    pub publisher_name: Option<String>,
    #[serde(skip)]
    pub advertiser_name: Option<String>,
    pub time_zone: String,
    /// When it was asked.
    pub now_ms: i64,
}
