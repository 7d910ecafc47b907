//! What a publisher may know of a conversion: its own payout and the user's reward, never the
//! revenue billed, sale amounts or anything else of the advertiser's.

use crate::click::{Platform, SubIds};
use crate::decision::{Conversion, ConversionStatus};
use crate::ids::{ConversionId, EventId, OfferId, PublisherId, ShareId, TenantId};
use crate::money::{Currency, Micros};
use crate::reason::Reason;
use crate::time::{SECOND_MS, UnixMillis};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;

/// Names as they stand between braces: `{gk_click_id}`. Times are RFC 3339 in UTC; those ending in
/// `_unix` are whole seconds since 1970.
pub const MACROS: [&str; 43] = [
    "gk_click_id",
    "sub1",
    "sub2",
    "sub3",
    "sub4",
    "sub5",
    "sub6",
    "sub7",
    "sub8",
    "sub9",
    "sub10",
    "sub11",
    "sub12",
    "sub13",
    "sub14",
    "sub15",
    "event_id",
    "event_name",
    "status",
    "reason",
    "payout",
    "currency",
    "reward",
    "reward_unit",
    "conversion_id",
    "revision",
    "transaction_id",
    "offer_id",
    "offer_name",
    "share_id",
    "publisher_id",
    "country",
    "platform",
    "clicked_at",
    "clicked_unix",
    "received_at",
    "received_unix",
    "decided_at",
    "decided_unix",
    "due_at",
    "due_unix",
    "test",
    "tenant",
];

/// Whether a template may hold `{name}`.
#[must_use]
pub fn is_macro(name: &str) -> bool {
    MACROS.contains(&name)
}

/// One revision of a conversion as its publisher sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublisherMessage {
    pub conversion_id: ConversionId,
    pub revision: u32,
    pub click_id: Arc<str>,
    pub clicked_at: UnixMillis,
    pub tenant: TenantId,
    pub publisher_id: PublisherId,
    pub share_id: ShareId,
    pub offer_id: OfferId,
    /// As the publisher's users see it.
    pub offer_name: String,
    pub event_id: EventId,
    pub event_name: Arc<str>,
    pub status: ConversionStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    pub payout: Micros,
    pub currency: Currency,
    pub reward: Micros,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub reward_unit: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<Arc<str>>,
    pub received_at: UnixMillis,
    pub decided_at: UnixMillis,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<UnixMillis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "SubIds::is_empty")]
    pub subs: SubIds,
    pub test: bool,
}

impl PublisherMessage {
    /// Of a decided revision; the rest of it stays here.
    #[must_use]
    pub fn of(conversion: &Conversion, offer_name: &str) -> Self {
        Self {
            conversion_id: conversion.conversion_id.clone(),
            revision: conversion.revision,
            click_id: Arc::clone(&conversion.click_id),
            clicked_at: conversion.clicked_at,
            tenant: conversion.tenant.clone(),
            publisher_id: conversion.publisher_id.clone(),
            share_id: conversion.share_id.clone(),
            offer_id: conversion.offer_id.clone(),
            offer_name: offer_name.to_owned(),
            event_id: conversion.event_id.clone(),
            event_name: Arc::clone(&conversion.event_name),
            status: conversion.status,
            reason: conversion.reason,
            payout: conversion.payout,
            currency: conversion.currency,
            reward: conversion.reward,
            reward_unit: Arc::clone(&conversion.reward_unit),
            transaction_id: conversion.transaction_id.clone(),
            received_at: conversion.received_at,
            decided_at: conversion.decided_at,
            due_at: conversion.due_at,
            country: conversion.country.clone(),
            platform: conversion.platform,
            subs: conversion.subs.clone(),
            test: conversion.test,
        }
    }

    /// What a macro stands for; none for what this conversion does not have.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        let text = |text: &'_ str| Some(Cow::Owned(text.to_owned()));
        let unix = |at: UnixMillis| Some(Cow::Owned(at.0.div_euclid(SECOND_MS).to_string()));
        match name {
            "gk_click_id" => Some(Cow::Borrowed(&self.click_id)),
            "event_id" => Some(Cow::Borrowed(self.event_id.as_str())),
            "event_name" => Some(Cow::Borrowed(&self.event_name)),
            "status" => Some(Cow::Borrowed(self.status.code())),
            "reason" => self.reason.map(|reason| Cow::Borrowed(reason.code())),
            "payout" => Some(self.payout.to_string().into()),
            "currency" => Some(self.currency.code().into()),
            "reward" => Some(self.reward.to_string().into()),
            "reward_unit" => Some(Cow::Borrowed(&self.reward_unit)),
            "conversion_id" => Some(self.conversion_id.to_string().into()),
            "revision" => Some(self.revision.to_string().into()),
            "transaction_id" => self.transaction_id.as_deref().map(Cow::Borrowed),
            "offer_id" => Some(Cow::Borrowed(self.offer_id.as_str())),
            "offer_name" => Some(Cow::Borrowed(&self.offer_name)),
            "share_id" => Some(Cow::Borrowed(self.share_id.as_str())),
            "publisher_id" => Some(Cow::Borrowed(self.publisher_id.as_str())),
            "tenant" => Some(Cow::Borrowed(self.tenant.as_str())),
            "country" => self.country.as_deref().map(Cow::Borrowed),
            "platform" => self.platform.map(|platform| Cow::Borrowed(platform.code())),
            "clicked_at" => text(&self.clicked_at.to_string()),
            "clicked_unix" => unix(self.clicked_at),
            "received_at" => text(&self.received_at.to_string()),
            "received_unix" => unix(self.received_at),
            "decided_at" => text(&self.decided_at.to_string()),
            "decided_unix" => unix(self.decided_at),
            "due_at" => text(&self.due_at?.to_string()),
            "due_unix" => unix(self.due_at?),
            "test" => Some(Cow::Borrowed(if self.test { "1" } else { "0" })),
            sub => self.subs.get(sub.strip_prefix("sub")?.parse().ok()?).map(Cow::Borrowed),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn message() -> PublisherMessage {
        serde_json::from_value(serde_json::json!({
            "conversion_id": "offer.00000000000000000000000000", "revision": 2, "click_id": "AQ",
            "clicked_at": 1000, "tenant": "t", "publisher_id": "p", "share_id": "s",
            "offer_id": "offer", "offer_name": "Offer", "event_id": "e", "event_name": "Event",
            "status": "Success", "payout": 1_250_000, "currency": "USD", "reward": 0,
            "received_at": 2000, "decided_at": 3000, "test": false,
            "subs": ["a b&c=d\r\né", "..", null, null, null, null, null, null, null, null, null,
                     null, null, null, "fifteen"],
        }))
        .unwrap()
    }

    #[test]
    fn every_macro_has_its_value() {
        let full = PublisherMessage {
            reason: Some(Reason::Hold),
            due_at: Some(UnixMillis(9_000)),
            transaction_id: Some("t-1".into()),
            country: Some("US".to_owned()),
            platform: Some(Platform::Ios),
            ..message()
        };
        for name in MACROS {
            let missing = name.starts_with("sub") && !["sub1", "sub2", "sub15"].contains(&name);
            assert_eq!(full.value(name).is_none(), missing, "{name}");
        }
        assert_eq!(full.value("sub15").unwrap(), "fifteen");
        assert_eq!(full.value("due_unix").unwrap(), "9");
        assert_eq!(full.value("decided_at").unwrap(), "1970-01-01T00:00:03.000Z");
        assert_eq!(full.value("revenue"), None);
    }
}
