//! From documents as written to the configuration as it is put in force: every rule of the domain
//! about it, over the documents of the apply together with what is in force already.

mod event;
mod offer;
mod party;
mod postback;
mod share;
#[cfg(test)]
mod tests;

use super::Seal;
use super::fields::At;
use super::problem::Problems;
use super::set::Set;
use super::value::{State, When};
use jiff::tz::TimeZone;
use schemas::{
    Advertiser, Catalog, Document, LiveState, Offer, Publisher, Share, Tenant, UnixMillis,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What an id leads to.
enum Found<T> {
    Known(T),
    /// It is among the documents, but something about it is wrong: that is reported there, and
    /// does not make what refers to it wrong too.
    Broken,
    Missing,
}

/// The things that this apply brings, on top of what is in force.
struct Checker<'a> {
    problems: &'a Problems,
    current: &'a Catalog,
    set: &'a Set<'a>,
    now: UnixMillis,
    seal: &'a Seal<'a>,
    tenants: BTreeMap<String, Option<Arc<Tenant>>>,
    advertisers: BTreeMap<String, Option<Arc<Advertiser>>>,
    publishers: BTreeMap<String, Option<Arc<Publisher>>>,
    offers: BTreeMap<String, Option<Arc<Offer>>>,
    shares: BTreeMap<String, Option<Arc<Share>>>,
}

/// Checks a set of documents; gives those that differ from what is in force. Problems are added
/// to `problems`, and when there are any the result means nothing.
#[must_use]
pub fn check(
    set: &Set<'_>,
    current: &Catalog,
    now: UnixMillis,
    seal: &Seal<'_>,
    problems: &Problems,
) -> Vec<Document> {
    let mut checker = Checker {
        problems,
        current,
        set,
        now,
        seal,
        tenants: BTreeMap::new(),
        advertisers: BTreeMap::new(),
        publishers: BTreeMap::new(),
        offers: BTreeMap::new(),
        shares: BTreeMap::new(),
    };
    // In this order: each kind refers to those before it only (clones are followed by id).
    checker.check_tenants();
    checker.check_advertisers();
    checker.check_publishers();
    checker.check_offers();
    checker.check_shares();
    checker.changed()
}

fn find<T: Clone>(new: &BTreeMap<String, Option<T>>, current: Option<&T>, id: &str) -> Found<T> {
    match (new.get(id), current) {
        (Some(Some(known)), _) => Found::Known(known.clone()),
        (Some(None), _) => Found::Broken,
        (None, Some(known)) => Found::Known(known.clone()),
        (None, None) => Found::Missing,
    }
}

impl Checker<'_> {
    fn report<T>(&self, file: &str, at: &At<T>, message: impl Into<String>) {
        self.problems.add(file, at.line, &at.field, message);
    }

    fn tenant(&self, id: &str) -> Found<Arc<Tenant>> {
        find(&self.tenants, self.current.tenant(id), id)
    }

    fn advertiser(&self, id: &str) -> Found<Arc<Advertiser>> {
        find(&self.advertisers, self.current.advertiser(id), id)
    }

    fn publisher(&self, id: &str) -> Found<Arc<Publisher>> {
        find(&self.publishers, self.current.publisher(id), id)
    }

    fn offer(&self, id: &str) -> Found<Arc<Offer>> {
        find(&self.offers, self.current.offer(id), id)
    }

    /// What differs from what is in force, in the order of an apply.
    fn changed(self) -> Vec<Document> {
        let current = self.current;
        let new = |document: &Document| {
            let before = match document {
                Document::Tenant(it) => {
                    current.tenant(it.id.as_str()).cloned().map(Document::Tenant)
                }
                Document::Advertiser(it) => {
                    current.advertiser(it.id.as_str()).cloned().map(Document::Advertiser)
                }
                Document::Publisher(it) => {
                    current.publisher(it.id.as_str()).cloned().map(Document::Publisher)
                }
                Document::Offer(it) => current.offer(it.id.as_str()).cloned().map(Document::Offer),
                Document::Share(it) => current.share(it.id.as_str()).cloned().map(Document::Share),
            };
            // Versions are given when it is stored; they make no difference here.
            before.map(|it| it.at_version(0)).as_ref() != Some(document)
        };
        let tenants = self.tenants.into_values().flatten().map(Document::Tenant);
        let advertisers = self.advertisers.into_values().flatten().map(Document::Advertiser);
        let publishers = self.publishers.into_values().flatten().map(Document::Publisher);
        let offers = self.offers.into_values().flatten().map(Document::Offer);
        let shares = self.shares.into_values().flatten().map(Document::Share);
        let all = tenants.chain(advertisers).chain(publishers).chain(offers).chain(shares);
        all.filter(new).collect()
    }

    /// The live state as written. Closing without a time closes now; what is closed already keeps
    /// its time, so that applying the same documents again changes nothing.
    fn live_state(
        &self,
        file: &str,
        state: Option<&At<State>>,
        closed_at: Option<&At<When>>,
        zone: &TimeZone,
        before: Option<LiveState>,
    ) -> Option<LiveState> {
        let closed = state.is_some_and(|state| state.value == State::Closed);
        if let (Some(at), false) = (closed_at, closed) {
            self.report(file, at, "only belongs to `state: closed`");
            return None;
        }
        Some(match state.map_or(State::Live, |state| state.value) {
            State::Live => LiveState::Live,
            State::Paused => LiveState::Paused,
            State::Closed => {
                let at = match (closed_at, before) {
                    (Some(at), _) => self.time(file, at, zone)?,
                    (None, Some(LiveState::Closed { at })) => at,
                    (None, _) => self.now,
                };
                LiveState::Closed { at }
            }
        })
    }

    fn time(&self, file: &str, at: &At<When>, zone: &TimeZone) -> Option<UnixMillis> {
        let time = at.value.in_zone(zone);
        if time.is_none() {
            self.report(file, at, "is outside of the calendar");
        }
        time
    }
}
