//! What was turned away, for the people who must find out why.

use crate::codec::Message;
use crate::ids::TenantId;
use crate::reason::coded;
use crate::time::UnixMillis;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

coded! {
    /// Which part of the credentials did not match. Told to the tenant's operator, never to the
    /// caller.
    Mismatch {
        UnknownHost = "unknown_host", "the host names no tenant";
        Segments = "segments", "the path segments are no advertiser's of this tenant";
        MissingSignature = "missing_signature", "the signature parameter is missing";
        Signature = "signature", "the signature is not that of the advertiser whose segments these are";
        OtherTenant = "other_tenant", "the segments belong to an advertiser of another tenant";
    }
}

/// A request whose credentials did not match, redacted: it holds neither the segments nor the
/// signature nor any value that could be one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub refusal_id: Uuid,
    pub refused_at: UnixMillis,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// The caller's address without its port.
    pub address: String,
    /// The host that was asked for, cut to 255 bytes.
    pub host: String,
    pub mismatch: Mismatch,
    /// The query without the signature, as name and value.
    pub parameters: Vec<(String, String)>,
}

impl Message for Refusal {
    const KIND: &'static str = "refusal";
}

/// A record that could not be read or must not be decided, with its position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    pub topic: String,
    pub partition: u32,
    pub offset: u64,
    pub found_at: UnixMillis,
    pub error: String,
    /// The record's value in hexadecimal, cut to 64 KiB of it.
    pub value_hex: String,
}

impl Message for DeadLetter {
    const KIND: &'static str = "dead-letter";
}
