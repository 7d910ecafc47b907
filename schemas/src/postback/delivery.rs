//! What became of telling a publisher.

use super::destination::Destination;
use super::message::PublisherMessage;
use crate::codec::Message;
use crate::decision::ConversionStatus;
use crate::ids::{ConversionId, EventId, OfferId, PublisherId, ShareId, TenantId};
use crate::reason::coded;
use crate::time::UnixMillis;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

coded! {
    /// Where a delivery stands after an attempt.
    DeliveryOutcome {
        Waiting = "waiting", "it waits for its first attempt";
        Delivered = "delivered", "the publisher answered 2xx";
        Retrying = "retrying", "the attempt failed and will be repeated";
        Failed = "failed", "the publisher refused it, or repeating it cannot help";
        Expired = "expired", "it could not be delivered within the time for retries";
        Disabled = "disabled", "the publisher answered 410 Gone, so nothing more is sent there";
        Cancelled = "cancelled", "the postback is not configured any more";
    }
}

coded! {
    /// Why an attempt had no 2xx.
    DeliveryProblem {
        Status = "status", "the publisher answered with another status than 2xx";
        Address = "address", "the host is not a public address";
        Resolve = "resolve", "the host's name could not be resolved";
        Connect = "connect", "no connection could be made";
        Tls = "tls", "the TLS connection could not be made; is the certificate valid?";
        Timeout = "timeout", "no whole answer came in time";
        Broken = "broken", "the connection broke before an answer came";
        Garbage = "garbage", "what came is no HTTP answer";
        Url = "url", "the filled URL is no usable URL";
        Key = "key", "the header's value cannot be opened; is the master key that sealed it still there?";
    }
}

coded! {
    /// Why a delivery was asked for.
    DeliveryKind {
        Conversion = "conversion", "a conversion was decided";
        Resend = "resend", "it was sent again by hand";
        Sample = "sample", "an invented conversion to try the postback with";
    }
}

/// One attempt to tell one destination of one revision: a row of the table `deliveries`. Holds no
/// sub-id and no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryAttempt {
    /// The same for every attempt; the `webhook-id` that the publisher sees.
    pub delivery_id: Arc<str>,
    /// 0: it was put into the queue; attempts count from 1.
    pub attempt: u32,
    pub kind: DeliveryKind,
    pub created_at: UnixMillis,
    pub attempted_at: UnixMillis,
    pub tenant: TenantId,
    pub publisher_id: PublisherId,
    pub share_id: ShareId,
    pub offer_id: OfferId,
    pub event_id: EventId,
    pub click_id: Arc<str>,
    pub conversion_id: ConversionId,
    pub revision: u32,
    pub status: ConversionStatus,
    pub destination: Destination,
    /// `GET` or `POST`; empty when there was no attempt.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// The template, without what may be a key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
    pub outcome: DeliveryOutcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<DeliveryProblem>,
    /// 0 when there was no answer.
    #[serde(default)]
    pub http_status: u16,
    #[serde(default)]
    pub latency_ms: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<UnixMillis>,
    pub test: bool,
}

impl Message for DeliveryAttempt {
    const KIND: &'static str = "delivery-attempt";
}

/// A delivery that people ask for, in the topic `decisions` beside those that decisions lead to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryOrder {
    pub delivery_id: Arc<str>,
    pub kind: DeliveryKind,
    pub destination: Destination,
    /// Attempts there have been; they are counted on.
    pub attempts: u32,
    pub asked_at: UnixMillis,
    /// Of people's orders, the configuration that they were made with: whoever carries them out
    /// knows it first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub config_version: u64,
    pub message: PublisherMessage,
}

// By reference, as serde asks.
#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_zero(version: &u64) -> bool {
    *version == 0
}
