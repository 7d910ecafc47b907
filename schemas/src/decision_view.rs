//! The parts of a [`Decision`](crate::Decision) as they are borrowed from what led to it, so that
//! deciding copies nothing. Each stands for the struct of the same name in [`crate::decision`],
//! with its fields in their order, and is the same JSON byte for byte: whoever reads sees one form.

use crate::click::{Platform, SUB_ID_COUNT, SubIds};
use crate::decision::{Conversion, ConversionStatus, PostbackOutcome};
use crate::ids::{
    AdvertiserId, ConversionId, ConversionIdView, EventId, OfferId, PostbackId, PublisherId,
    ShareId, TenantId,
};
use crate::money::{Currency, Micros};
use crate::reason::{Flag, Outcome, Reason};
use crate::time::UnixMillis;
use serde::{Serialize, Serializer};
use std::sync::Arc;

/// [`SubIds`], borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct SubIdsView<'a>(pub [Option<&'a str>; SUB_ID_COUNT]);

impl SubIdsView<'_> {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    #[must_use]
    pub fn to_sub_ids(&self) -> SubIds {
        SubIds(self.0.map(|sub| sub.map(Arc::from)))
    }
}

impl<'a> From<&'a SubIds> for SubIdsView<'a> {
    fn from(subs: &'a SubIds) -> Self {
        Self(subs.0.each_ref().map(Option::as_deref))
    }
}

/// Flags: those that came with an input, in their order, and what was added to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlagsView<'a> {
    pub received: &'a [Flag],
    /// The bit of a flag is its place in [`Flag::ALL`].
    pub added: u64,
}

const _: () = assert!(Flag::ALL.len() <= u64::BITS as usize);

impl<'a> FlagsView<'a> {
    /// Each flag once, unless it was received more than once.
    pub fn iter(self) -> impl Iterator<Item = Flag> + use<'a> {
        let is_added = move |flag: &Flag| {
            self.added & (1 << *flag as u64) != 0 && !self.received.contains(flag)
        };
        self.received.iter().copied().chain(Flag::ALL.iter().copied().filter(is_added))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl Serialize for FlagsView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// [`PostbackOutcome`], borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PostbackOutcomeView<'a> {
    pub postback_id: PostbackId,
    pub tenant: &'a TenantId,
    pub advertiser_id: &'a AdvertiserId,
    pub received_at: UnixMillis,
    pub click_id: &'a str,
    pub event_id: &'a str,
    pub outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversion_id: Option<ConversionIdView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offer_id: Option<&'a OfferId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publisher_id: Option<&'a PublisherId>,
    pub parameters: &'a [(String, String)],
    #[serde(skip_serializing_if = "FlagsView::is_empty")]
    pub flags: FlagsView<'a>,
    pub test: bool,
    pub config_version: u64,
}

impl From<PostbackOutcomeView<'_>> for PostbackOutcome {
    fn from(view: PostbackOutcomeView<'_>) -> Self {
        Self {
            postback_id: view.postback_id,
            tenant: view.tenant.clone(),
            advertiser_id: view.advertiser_id.clone(),
            received_at: view.received_at,
            click_id: view.click_id.to_owned(),
            event_id: view.event_id.to_owned(),
            outcome: view.outcome,
            reason: view.reason,
            conversion_id: view.conversion_id.map(ConversionId::from),
            offer_id: view.offer_id.cloned(),
            publisher_id: view.publisher_id.cloned(),
            parameters: view.parameters.to_vec(),
            flags: view.flags.iter().collect(),
            test: view.test,
            config_version: view.config_version,
        }
    }
}

/// [`Conversion`], borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ConversionView<'a> {
    pub conversion_id: ConversionIdView<'a>,
    pub revision: u32,
    pub click_id: &'a str,
    pub clicked_at: UnixMillis,
    pub tenant: &'a TenantId,
    pub advertiser_id: &'a AdvertiserId,
    pub offer_id: &'a OfferId,
    pub root_offer_id: &'a OfferId,
    pub share_id: &'a ShareId,
    pub publisher_id: &'a PublisherId,
    pub event_id: &'a EventId,
    pub event_name: &'a Arc<str>,
    pub sequence: Option<u32>,
    pub status: ConversionStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub note: &'a str,
    pub received_at: UnixMillis,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_at: Option<UnixMillis>,
    pub decided_at: UnixMillis,
    pub revenue: Micros,
    pub payout: Micros,
    pub currency: Currency,
    pub reward: Micros,
    #[serde(skip_serializing_if = "str_is_empty")]
    pub reward_unit: &'a Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sale_amount: Option<Micros>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sale_currency: Option<Currency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<&'a str>,
    pub offer_version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(skip_serializing_if = "SubIdsView::is_empty")]
    pub subs: SubIdsView<'a>,
    pub test: bool,
    #[serde(skip_serializing_if = "FlagsView::is_empty")]
    pub flags: FlagsView<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postback_id: Option<PostbackId>,
}

fn str_is_empty(text: &str) -> bool {
    text.is_empty()
}

impl From<ConversionView<'_>> for Conversion {
    fn from(view: ConversionView<'_>) -> Self {
        Self {
            conversion_id: view.conversion_id.into(),
            revision: view.revision,
            click_id: view.click_id.into(),
            clicked_at: view.clicked_at,
            tenant: view.tenant.clone(),
            advertiser_id: view.advertiser_id.clone(),
            offer_id: view.offer_id.clone(),
            root_offer_id: view.root_offer_id.clone(),
            share_id: view.share_id.clone(),
            publisher_id: view.publisher_id.clone(),
            event_id: view.event_id.clone(),
            event_name: Arc::clone(view.event_name),
            sequence: view.sequence,
            status: view.status,
            reason: view.reason,
            note: view.note.to_owned(),
            received_at: view.received_at,
            due_at: view.due_at,
            decided_at: view.decided_at,
            revenue: view.revenue,
            payout: view.payout,
            currency: view.currency,
            reward: view.reward,
            reward_unit: Arc::clone(view.reward_unit),
            sale_amount: view.sale_amount,
            sale_currency: view.sale_currency,
            transaction_id: view.transaction_id.map(Into::into),
            offer_version: view.offer_version,
            country: view.country.map(str::to_owned),
            platform: view.platform,
            subs: view.subs.to_sub_ids(),
            test: view.test,
            flags: view.flags.iter().collect(),
            postback_id: view.postback_id,
        }
    }
}

#[cfg(test)]
mod tests;
