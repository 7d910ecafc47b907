//! Shares: an offer handed to one publisher, for good.

use super::{Checker, Found};
use crate::apply::document::ShareDocument;
use crate::apply::link;
use crate::apply::set::Placed;
use jiff::tz::TimeZone;
use schemas::{Offer, Publisher, PublisherId, Share, ShareId};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Checker<'_> {
    pub(super) fn check_shares(&mut self) {
        for placed in &self.set.shares {
            let share = self.check_share(placed);
            if let Some(id) = &placed.document.id {
                self.shares.insert(id.value.0.clone(), share.map(Arc::new));
            }
        }
        self.check_one_share_a_publisher();
    }

    fn check_share(&self, placed: &Placed<'_, ShareDocument>) -> Option<Share> {
        let (file, document) = (placed.file, &placed.document);
        let before = document.id.as_ref().and_then(|id| self.current.share(&id.value.0));
        let unmoved = self.check_unmoved(placed, before.map(AsRef::as_ref));
        let offer = self.shared_offer(placed);
        let publisher = self.shared_publisher(placed);
        let offer = offer?;
        let publisher = publisher?;
        if publisher.tenant != offer.tenant {
            let at = document.publisher.as_ref()?;
            let message = format!(
                "the publisher belongs to the tenant {}, the offer to {}",
                publisher.tenant, offer.tenant
            );
            self.report(file, at, message);
            return None;
        }
        let zone = match self.tenant(offer.tenant.as_str()) {
            Found::Known(tenant) => TimeZone::get(&tenant.time_zone).ok()?,
            Found::Broken | Found::Missing => return None,
        };
        let state = self.live_state(
            file,
            document.state.as_ref(),
            document.closed_at.as_ref(),
            &zone,
            before.map(|it| it.state),
        );
        let links = self.links(placed, &offer);
        let events =
            self.check_overrides(file, document.events.as_deref().unwrap_or_default(), &offer);
        let knows = |event: &schemas::EventId| offer.events.iter().any(|it| it.id == *event);
        let postbacks = document.postbacks.as_deref().unwrap_or_default();
        let owner = format!("share/{}", document.id.as_ref()?.value.0);
        let postbacks = self.check_postbacks(file, &owner, postbacks, knows);
        let (link, fallback_link) = links?;
        if !unmoved {
            return None;
        }
        Some(Share {
            id: ShareId::new(&document.id.as_ref()?.value.0).ok()?,
            version: 0,
            tenant: offer.tenant.clone(),
            offer: offer.id.clone(),
            publisher: publisher.id.clone(),
            name: document.name.as_ref().map(|at| at.value.0.clone()),
            link,
            fallback_link,
            state: state?,
            events: events?,
            postbacks: postbacks?,
        })
    }

    /// Clicks refer to a share for months: it stays what it was made for.
    fn check_unmoved(&self, placed: &Placed<'_, ShareDocument>, before: Option<&Share>) -> bool {
        let Some(before) = before else { return true };
        let mut unmoved = true;
        if let Some(at) = &placed.document.offer
            && at.value.0 != before.offer.as_str()
        {
            let message =
                format!("was {}; a share stays with its offer (make a new share)", before.offer);
            self.report(placed.file, at, message);
            unmoved = false;
        }
        if let Some(at) = &placed.document.publisher
            && at.value.0 != before.publisher.as_str()
        {
            let message = format!(
                "was {}; a share cannot move to another publisher (make a new share)",
                before.publisher
            );
            self.report(placed.file, at, message);
            unmoved = false;
        }
        unmoved
    }

    fn shared_offer(&self, placed: &Placed<'_, ShareDocument>) -> Option<Arc<Offer>> {
        let at = placed.document.offer.as_ref()?;
        let id = &at.value.0;
        match self.offer(id) {
            Found::Known(offer) => Some(offer),
            Found::Broken => None,
            Found::Missing => {
                let in_set = |it: &Placed<'_, ShareDocument>| {
                    it.document.id.as_ref().is_some_and(|it| it.value.0 == *id)
                };
                let is_share =
                    self.current.share(id).is_some() || self.set.shares.iter().any(in_set);
                let message = if is_share {
                    format!(
                        "{id:?} is a share, and a share cannot be shared again: share its offer"
                    )
                } else {
                    format!("there is no offer {id:?}")
                };
                self.report(placed.file, at, message);
                None
            }
        }
    }

    fn shared_publisher(&self, placed: &Placed<'_, ShareDocument>) -> Option<Arc<Publisher>> {
        let at = placed.document.publisher.as_ref()?;
        let id = &at.value.0;
        match self.publisher(id) {
            Found::Known(publisher) => Some(publisher),
            Found::Broken => None,
            Found::Missing => {
                self.report(placed.file, at, format!("there is no publisher {id:?}"));
                None
            }
        }
    }

    /// The share's own link and fallback link; none when one of them is wrong.
    fn links(
        &self,
        placed: &Placed<'_, ShareDocument>,
        offer: &Offer,
    ) -> Option<(Option<String>, Option<String>)> {
        let link = match &placed.document.link {
            None => Some(None),
            Some(at) => match link::offer_link(&at.value.0, offer.integration, offer.profile()) {
                Ok(link) => Some(Some(link)),
                Err(message) => {
                    self.report(placed.file, at, message);
                    None
                }
            },
        };
        let fallback = match &placed.document.fallback_link {
            None => Some(None),
            Some(at) => match link::fallback_link(&at.value.0) {
                Ok(link) => Some(Some(link)),
                Err(message) => {
                    self.report(placed.file, at, message);
                    None
                }
            },
        };
        Some((link?, fallback?))
    }

    /// `tracking-link --offer --publisher` names one share.
    fn check_one_share_a_publisher(&self) {
        let mut owners: BTreeMap<(String, PublisherId), String> = self
            .current
            .shares()
            .map(|it| ((it.offer.to_string(), it.publisher.clone()), it.id.to_string()))
            .collect();
        for placed in &self.set.shares {
            let Some(id) = &placed.document.id else { continue };
            let Some(Some(share)) = self.shares.get(&id.value.0) else { continue };
            let pair = (share.offer.to_string(), share.publisher.clone());
            let owner = owners.entry(pair).or_insert_with(|| share.id.to_string());
            if owner != share.id.as_str() {
                let message = format!(
                    "the offer {} is shared with {} as {owner:?} already",
                    share.offer, share.publisher
                );
                self.report(placed.file, id, message);
            }
        }
    }
}
