//! Offers and clones.

use super::event::{duration_ms, flag, targeting};
use super::{Checker, Found};
use crate::apply::document::{AmountDocument, MarkerDocument, OfferDocument, ProfileDocument};
use crate::apply::fields::At;
use crate::apply::link;
use crate::apply::set::Placed;
use crate::apply::value::Name;
use jiff::tz::TimeZone;
use schemas::offer::{
    ATTRIBUTION_WINDOW_MS_DEFAULT, DURATION_MS_MAX, HONOUR_MS_DEFAULT, REVERSAL_WINDOW_MS_DEFAULT,
    SEQUENCE_GRACE_MS_DEFAULT,
};
use schemas::profile::{AmountParameter, Marker};
use schemas::time::DAY_MS;
use schemas::{
    Advertiser, AmountsAt, Integration, Offer, OfferId, Profile, SequenceRule, Tenant, UnixMillis,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// An amount parameter has at most as many decimals as micros have.
const DECIMALS_MAX: u64 = 6;

impl Checker<'_> {
    pub(super) fn check_offers(&mut self) {
        for placed in &self.set.offers {
            let offer = self.check_offer(placed);
            if let Some(id) = &placed.document.id {
                self.offers.insert(id.value.0.clone(), offer.map(Arc::new));
            }
        }
        // Roots are checked once all offers are there: a clone may stand before its original.
        for placed in &self.set.offers {
            self.check_clone(placed);
        }
    }

    fn check_offer(&self, placed: &Placed<'_, OfferDocument>) -> Option<Offer> {
        let (file, document) = (placed.file, &placed.document);
        let before = document.id.as_ref().and_then(|id| self.current.offer(&id.value.0));
        // Each of these reports what is wrong with it; only then is looked whether all is there.
        let parties = self.parties(placed, before.map(AsRef::as_ref));
        let root = self.root(placed, before.map(AsRef::as_ref));
        let profile = self.profile(placed);
        let link = self.offer_link(placed, profile.as_ref());
        let events = self.check_events(placed, document.events.as_deref());
        let windows = self.windows(placed);
        let currency = self.currency(placed, before.map(AsRef::as_ref));
        let (advertiser, tenant) = parties?;
        let zone = TimeZone::get(&tenant.time_zone).ok()?;
        let state = self.live_state(
            file,
            document.state.as_ref(),
            document.closed_at.as_ref(),
            &zone,
            before.map(|it| it.state),
        );
        let launch_at = match &document.launch {
            Some(at) => self.time(file, at, &zone),
            None => Some(UnixMillis(0)),
        };
        let text =
            |at: &Option<At<Name>>| at.as_ref().map_or_else(String::new, |at| at.value.0.clone());
        Some(Offer {
            id: OfferId::new(&document.id.as_ref()?.value.0).ok()?,
            version: 0,
            tenant: tenant.id.clone(),
            advertiser: advertiser.id.clone(),
            root: root?,
            name: document.name.as_ref()?.value.0.clone(),
            campaign: text(&document.campaign),
            headline: text(&document.headline),
            description: document
                .description
                .as_ref()
                .map_or_else(String::new, |at| at.value.0.clone()),
            categories: document.categories.iter().flatten().map(|at| at.value.0.clone()).collect(),
            creative: document.creative.as_ref().map_or_else(String::new, |at| at.value.0.clone()),
            integration: document.integration.as_ref()?.value.0,
            custom_profile: profile?,
            convert_ignored: flag(document.convert_ignored.as_ref()),
            link: link?,
            state: state?,
            launch_at: launch_at?,
            currency: currency?,
            budget: document.budget.as_ref().map(|at| at.value.0),
            epc: document.epc.as_ref().map(|at| at.value.0),
            reward_unit: text(&document.reward_unit).into(),
            targeting: targeting(document.targeting.as_ref()),
            events: events?,
            sequence_rule: document
                .sequence_rule
                .as_ref()
                .map_or(SequenceRule::Any, |at| at.value.0),
            sequence_grace_ms: duration_ms(
                document.sequence_grace.as_ref(),
                SEQUENCE_GRACE_MS_DEFAULT,
            ),
            attribution_window_ms: windows?.0,
            honour_ms: windows?.1,
            reversal_window_ms: duration_ms(
                document.reversal_window.as_ref(),
                REVERSAL_WINDOW_MS_DEFAULT,
            ),
            amounts_at: document.amounts_at.as_ref().map_or(AmountsAt::Click, |at| at.value.0),
            time_zone: document
                .time_zone
                .as_ref()
                .map_or_else(|| tenant.time_zone.clone(), |at| at.value.0.clone()),
        })
    }

    /// The advertiser, which never changes, and its tenant.
    fn parties(
        &self,
        placed: &Placed<'_, OfferDocument>,
        before: Option<&Offer>,
    ) -> Option<(Arc<Advertiser>, Arc<Tenant>)> {
        let at = placed.document.advertiser.as_ref()?;
        let id = &at.value.0;
        if let Some(before) = before.filter(|before| before.advertiser.as_str() != id) {
            let message =
                format!("was {}; an offer cannot move to another advertiser", before.advertiser);
            self.report(placed.file, at, message);
            return None;
        }
        match self.advertiser(id) {
            Found::Known(advertiser) => match self.tenant(advertiser.tenant.as_str()) {
                Found::Known(tenant) => Some((advertiser, tenant)),
                Found::Broken | Found::Missing => None,
            },
            Found::Broken => None,
            Found::Missing => {
                self.report(placed.file, at, format!("there is no advertiser {id:?}"));
                None
            }
        }
    }

    /// Where budget, caps and uniqueness count: itself, or the root of what it is a clone of.
    fn root(&self, placed: &Placed<'_, OfferDocument>, before: Option<&Offer>) -> Option<OfferId> {
        let document = &placed.document;
        let id = document.id.as_ref()?;
        if let (Some(at), None) = (&document.detached, &document.clone_of) {
            self.report(placed.file, at, "only belongs to a clone (clone_of)");
            return None;
        }
        let root = self.follow(placed)?;
        if let Some(before) = before.filter(|before| before.root.as_str() != root) {
            let at = document.clone_of.as_ref().unwrap_or(id);
            let message = format!(
                "budget, caps and uniqueness of {} count at {}; that cannot change to {root} any \
                 more (make a new offer)",
                before.id, before.root
            );
            self.report(placed.file, at, message);
            return None;
        }
        OfferId::new(&root).ok()
    }

    /// Follows `clone_of` to the root's id.
    fn follow(&self, placed: &Placed<'_, OfferDocument>) -> Option<String> {
        let mut id = placed.document.id.as_ref()?.value.0.clone();
        let mut seen = BTreeSet::new();
        let first = placed.document.clone_of.as_ref();
        loop {
            let raw = self
                .set
                .offers
                .iter()
                .find(|it| it.document.id.as_ref().is_some_and(|it| it.value.0 == id));
            let original = match raw {
                Some(raw) if flag(raw.document.detached.as_ref()) => None,
                Some(raw) => raw.document.clone_of.as_ref().map(|at| at.value.0.clone()),
                None => match self.current.offer(&id) {
                    Some(offer) => return Some(offer.root.to_string()),
                    None => {
                        if let Some(at) = first {
                            self.report(placed.file, at, format!("there is no offer {id:?}"));
                        }
                        return None;
                    }
                },
            };
            let Some(original) = original else { return Some(id) };
            if !seen.insert(id) {
                if let Some(at) = first {
                    self.report(placed.file, at, "the offers are clones of each other");
                }
                return None;
            }
            id = original;
        }
    }

    /// What a clone has in common with its root, because they are counted together.
    fn check_clone(&self, placed: &Placed<'_, OfferDocument>) {
        let document = &placed.document;
        let (Some(id), Some(original)) = (&document.id, &document.clone_of) else { return };
        let Found::Known(clone) = self.offer(&id.value.0) else { return };
        if clone.root == clone.id {
            // Detached. The original must still be there.
            if matches!(self.offer(&original.value.0), Found::Missing) {
                let message = format!("there is no offer {:?}", original.value.0);
                self.report(placed.file, original, message);
            }
            return;
        }
        let Found::Known(root) = self.offer(clone.root.as_str()) else { return };
        if root.advertiser != clone.advertiser {
            let message = format!(
                "its root {} is of the advertiser {}; a clone for another one is `detached: true`",
                root.id, root.advertiser
            );
            self.report(placed.file, original, message);
        }
        if root.currency != clone.currency {
            let message = format!(
                "its root {} is in {}, and one budget has one currency; a clone in another is \
                 `detached: true`",
                root.id,
                root.currency.code()
            );
            self.report(placed.file, original, message);
        }
        if let Some(at) = &document.budget {
            let message = format!("the budget counts at the root {}; set it there", root.id);
            self.report(placed.file, at, message);
        }
    }

    fn currency(
        &self,
        placed: &Placed<'_, OfferDocument>,
        before: Option<&Offer>,
    ) -> Option<schemas::Currency> {
        let at = placed.document.currency.as_ref()?;
        match before.filter(|before| before.currency != at.value.0) {
            None => Some(at.value.0),
            Some(before) => {
                let message = format!(
                    "was {}; what has been counted in it cannot be counted on in another (make a \
                     detached clone)",
                    before.currency.code()
                );
                self.report(placed.file, at, message);
                None
            }
        }
    }

    /// The custom profile, if there is one. The outer `None`: something about it is wrong.
    fn profile(&self, placed: &Placed<'_, OfferDocument>) -> Option<Option<Profile>> {
        let Some(document) = &placed.document.profile else { return Some(None) };
        let integration = placed.document.integration.as_ref()?;
        if integration.value.0 != Integration::Custom {
            let message = format!(
                "the profile of {} is built in; only `integration: custom` has one of its own",
                integration.value.0.text()
            );
            self.problems.add(placed.file, document.line, "profile", message);
            return None;
        }
        let contract = Profile::contract();
        Some(Some(Profile {
            click_parameter: contract.click_parameter,
            amounts: match &document.amounts {
                Some(list) => self.amounts(placed.file, list)?,
                None => contract.amounts,
            },
            currencies: names(document.currencies.as_deref(), contract.currencies),
            transactions: names(document.transactions.as_deref(), contract.transactions),
            times: names(document.times.as_deref(), contract.times),
            converts: self.markers(placed.file, document.converts.as_deref(), contract.converts)?,
            rejects: self.markers(placed.file, document.rejects.as_deref(), contract.rejects)?,
            ignores: self.markers(placed.file, document.ignores.as_deref(), contract.ignores)?,
            sandbox: self.markers(placed.file, document.sandbox.as_deref(), contract.sandbox)?,
        }))
        .filter(|profile| self.check_classes(placed.file, document, profile.as_ref()))
    }

    fn amounts(&self, file: &str, list: &[AmountDocument]) -> Option<Vec<AmountParameter>> {
        list.iter()
            .map(|document| {
                let decimals = document.decimals.as_ref().map_or(0, |at| at.value.0);
                if let Some(at) = document.decimals.as_ref().filter(|_| decimals > DECIMALS_MAX) {
                    self.report(file, at, format!("is more than {DECIMALS_MAX}"));
                    return None;
                }
                let name = document.name.as_ref()?.value.0.clone();
                Some(AmountParameter { name, decimals: u32::try_from(decimals).ok()? })
            })
            .collect()
    }

    fn markers(
        &self,
        file: &str,
        list: Option<&[MarkerDocument]>,
        contract: Vec<Marker>,
    ) -> Option<Vec<Marker>> {
        let Some(list) = list else { return Some(contract) };
        list.iter()
            .map(|document| {
                let parameter = document.parameter.as_ref()?;
                let values: Vec<String> =
                    document.values.iter().flatten().map(|at| at.value.0.clone()).collect();
                if values.is_empty() {
                    self.report(file, parameter, "names no values");
                    return None;
                }
                Some(Marker { parameter: parameter.value.0.clone(), values })
            })
            .collect()
    }

    /// A value of a parameter means one thing only.
    fn check_classes(
        &self,
        file: &str,
        document: &ProfileDocument,
        profile: Option<&Profile>,
    ) -> bool {
        let Some(profile) = profile else { return true };
        let mut seen = BTreeSet::new();
        for marker in profile.converts.iter().chain(&profile.rejects).chain(&profile.ignores) {
            for value in &marker.values {
                let folded = value.to_ascii_lowercase();
                if !seen.insert((marker.parameter.as_str(), folded)) {
                    let message = format!(
                        "{}={value} is listed twice among converts, rejects and ignores",
                        marker.parameter
                    );
                    self.problems.add(file, document.line, "profile", message);
                    return false;
                }
            }
        }
        true
    }

    fn offer_link(
        &self,
        placed: &Placed<'_, OfferDocument>,
        profile: Option<&Option<Profile>>,
    ) -> Option<String> {
        let at = placed.document.link.as_ref()?;
        let integration = placed.document.integration.as_ref()?.value.0;
        let builtin = Profile::builtin(integration);
        let profile = profile.and_then(Option::as_ref).unwrap_or(builtin);
        match link::offer_link(&at.value.0, integration, profile) {
            Ok(link) => Some(link),
            Err(message) => {
                self.report(placed.file, at, message);
                None
            }
        }
    }

    /// Attribution window and honour time, in milliseconds.
    fn windows(&self, placed: &Placed<'_, OfferDocument>) -> Option<(i64, i64)> {
        let document = &placed.document;
        if let Some(at) = document.attribution_window.as_ref().filter(|at| at.value.0 == 0) {
            self.report(placed.file, at, "a window of 0 would refuse every conversion");
            return None;
        }
        let window =
            duration_ms(document.attribution_window.as_ref(), ATTRIBUTION_WINDOW_MS_DEFAULT);
        let honour = match &document.honour_days {
            None => HONOUR_MS_DEFAULT,
            Some(at) => {
                let ms = i64::try_from(at.value.0).ok().and_then(|days| days.checked_mul(DAY_MS));
                match ms.filter(|ms| *ms <= DURATION_MS_MAX) {
                    Some(ms) => ms,
                    None => {
                        let most = DURATION_MS_MAX / DAY_MS;
                        self.report(placed.file, at, format!("is more than {most} days"));
                        return None;
                    }
                }
            }
        };
        Some((window, honour))
    }
}

fn names(list: Option<&[At<Name>]>, contract: Vec<String>) -> Vec<String> {
    list.map_or(contract, |list| list.iter().map(|at| at.value.0.clone()).collect())
}
