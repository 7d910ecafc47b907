//! What the topic `postbacks` carries: everything a partition's decisions depend on, in order.

use crate::click::{ClickKey, SubIds};
use crate::codec::{self, DecodeError, Message};
use crate::ids::{AdvertiserId, ConversionId, OfferId, PostbackId, TenantId};
use crate::reason::Flag;
use crate::time::UnixMillis;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Parameters kept of one postback; the rest is dropped and flagged.
pub const PARAMETERS_MAX: usize = 256;

/// One authenticated postback, as it came: decoded, but not judged. Holds neither path nor
/// signature, so that no credential reaches the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Postback {
    pub postback_id: PostbackId,
    pub tenant: TenantId,
    pub advertiser: AdvertiserId,
    pub received_at: UnixMillis,
    /// In the order they came, query before body, repeats kept; the first of a name counts.
    pub parameters: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<Flag>,
}

impl Postback {
    /// The first value of a parameter, exactly as it came.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

impl Message for Postback {
    const KIND: &'static str = "postback";
}

/// The sub-ids of a click whose token had no room for them; written to the click's own partition
/// before the redirect, so it precedes any postback of the click.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClickDetails {
    pub click: ClickKey,
    pub root_offer: OfferId,
    pub clicked_at: UnixMillis,
    pub subs: SubIds,
}

impl Message for ClickDetails {
    const KIND: &'static str = "click-details";
}

/// A decision by hand about one conversion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    pub command_id: Uuid,
    pub issued_at: UnixMillis,
    pub conversion_id: ConversionId,
    /// The conversion's click id, as it stands in its row. The processor opens it as it opens a
    /// postback's, so that its state holds neither click ids nor an index of conversions.
    pub click_id: String,
    pub kind: CommandKind,
    /// The operator's own words, kept with the revision.
    pub reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommandKind {
    /// Make it a Success; `over_limit` allows it past a cap or the budget.
    Approve { over_limit: bool },
    /// Make it Rejected.
    Reject,
}

impl Message for Command {
    const KIND: &'static str = "command";
}

/// Postbacks in one [`Redecide`].
pub const REDECIDE_POSTBACKS_MAX: usize = 200;
/// Bytes of postbacks in one [`Redecide`], as JSON; the first always comes, however large it is.
pub const REDECIDE_BYTES_MAX: usize = 256 * 1024;

/// Stored postbacks, put back for decision at the time they were received, under the configuration
/// that holds when this is read. Each counts once, however often it is put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redecide {
    pub command_id: Uuid,
    /// What was asked for in one go: one or many of these records.
    pub run_id: Uuid,
    pub issued_at: UnixMillis,
    /// The version in force for whoever asks: decided by nothing older.
    pub config_version: u64,
    /// Only tell what would become of them, one after the other; nothing changes.
    pub preview: bool,
    /// Who asks for it; empty when they did not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub operator: String,
    /// The operator's own words, kept with what comes of it.
    pub reason: String,
    /// All of one partition, in the order in which they are to be decided.
    pub postbacks: Vec<Postback>,
}

impl Message for Redecide {
    const KIND: &'static str = "redecide";
}

/// One record of the topic `postbacks`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    Postback(Postback),
    ClickDetails(ClickDetails),
    Command(Command),
    Redecide(Redecide),
}

impl Input {
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (version, kind, body) = codec::split(bytes)?;
        match kind {
            Postback::KIND => codec::parse_body(version, body).map(Self::Postback),
            ClickDetails::KIND => codec::parse_body(version, body).map(Self::ClickDetails),
            Command::KIND => codec::parse_body(version, body).map(Self::Command),
            Redecide::KIND => codec::parse_body(version, body).map(Self::Redecide),
            _ => Err(codec::unknown_kind(kind, version)),
        }
    }

    /// When it reached us; drives the partition's clock.
    #[must_use]
    pub fn received_at(&self) -> UnixMillis {
        match self {
            Self::Postback(postback) => postback.received_at,
            Self::ClickDetails(details) => details.clicked_at,
            Self::Command(command) => command.issued_at,
            Self::Redecide(command) => command.issued_at,
        }
    }
}
