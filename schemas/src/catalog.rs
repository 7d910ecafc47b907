//! The configuration as a whole: every document at a version, with old versions of offers and
//! shares, because clicks refer to them.
//!
//! In the topic `config` each document is a record with its own key per version, and an apply ends
//! in a [`ConfigRecord::Marker`]. Readers change over at a marker, so they only ever see whole
//! versions; documents without a marker (an apply that died) are never seen. Keys carry the version
//! and the apply, so that compaction can never replace a committed document by one that was not.
//!
//! A marker names the version that its apply was checked against. When another one has come into
//! force since, readers pass it over, all of them alike: of two applies at the same moment one is in
//! force and the other is not, whatever the order of their records.

use crate::click::ResolvedClick;
use crate::codec::{self, DecodeError, Message};
use crate::ids::{AdvertiserId, OfferId, PublisherId, ShareId, TenantId};
use crate::money::{Currency, Micros};
use crate::offer::{Advertiser, AmountsAt, Event, Offer, Publisher, Share, Tenant};
use crate::time::UnixMillis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// One configured thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Document {
    Tenant(Arc<Tenant>),
    Advertiser(Arc<Advertiser>),
    Publisher(Arc<Publisher>),
    Offer(Arc<Offer>),
    Share(Arc<Share>),
}

impl Document {
    /// `offer/pet-the-dogs-ios` and the like.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Tenant(it) => format!("tenant/{}", it.id),
            Self::Advertiser(it) => format!("advertiser/{}", it.id),
            Self::Publisher(it) => format!("publisher/{}", it.id),
            Self::Offer(it) => format!("offer/{}", it.id),
            Self::Share(it) => format!("share/{}", it.id),
        }
    }

    /// The same document as it is stored with a configuration version.
    #[must_use]
    pub fn at_version(self, version: u64) -> Self {
        match self {
            Self::Offer(offer) => {
                Self::Offer(Arc::new(Offer { version, ..Arc::unwrap_or_clone(offer) }))
            }
            Self::Share(share) => {
                Self::Share(Arc::new(Share { version, ..Arc::unwrap_or_clone(share) }))
            }
            other => other,
        }
    }
}

/// A document of an apply that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigDocument {
    pub version: u64,
    /// Which apply it belongs to; several may try the same version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apply: Option<Uuid>,
    pub document: Document,
}

impl Message for ConfigDocument {
    const KIND: &'static str = "config-document";
}

/// The end of an apply: version `version` is whole, with `documents` changed documents in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigMarker {
    pub version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apply: Option<Uuid>,
    /// The version that the documents were checked against; in force only right after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<u64>,
    pub documents: u32,
    pub applied_at: UnixMillis,
}

impl Message for ConfigMarker {
    const KIND: &'static str = "config-marker";
}

/// One record of the topic `config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigRecord {
    Document(ConfigDocument),
    Marker(ConfigMarker),
}

impl ConfigRecord {
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (version, kind, body) = codec::split(bytes)?;
        match kind {
            ConfigDocument::KIND => codec::parse_body(version, body).map(Self::Document),
            ConfigMarker::KIND => codec::parse_body(version, body).map(Self::Marker),
            _ => Err(codec::unknown_kind(kind, version)),
        }
    }

    /// The record's key and value.
    #[must_use]
    pub fn encode(&self) -> (String, Vec<u8>) {
        match self {
            Self::Document(it) => {
                (key(&it.document.key(), it.version, it.apply), codec::encode(it))
            }
            Self::Marker(it) => (key("marker", it.version, it.apply), codec::encode(it)),
        }
    }
}

fn key(what: &str, version: u64, apply: Option<Uuid>) -> String {
    match apply {
        Some(apply) => format!("{what}@{version}/{}", apply.simple()),
        None => format!("{what}@{version}"),
    }
}

/// Every version of something, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Versions<T>(Vec<(u64, Arc<T>)>);

impl<T> Default for Versions<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Versions<T> {
    fn latest(&self) -> Option<&Arc<T>> {
        self.0.last().map(|(_, it)| it)
    }

    /// The one in force at a configuration version; the oldest for a version before it.
    fn at(&self, version: u64) -> Option<&Arc<T>> {
        let after = self.0.partition_point(|(v, _)| *v <= version);
        self.0.get(after.saturating_sub(1)).map(|(_, it)| it)
    }
}

/// The configuration at one version. Cheap to clone: documents are shared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Catalog {
    /// 0: nothing has been applied yet.
    pub version: u64,
    tenants: BTreeMap<TenantId, Arc<Tenant>>,
    advertisers: BTreeMap<AdvertiserId, Arc<Advertiser>>,
    publishers: BTreeMap<PublisherId, Arc<Publisher>>,
    offers: BTreeMap<OfferId, Versions<Offer>>,
    shares: BTreeMap<ShareId, Versions<Share>>,
}

/// What holds for a click: the offer and share of its time and today's.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Today's offer: rules, events, state.
    pub offer: Arc<Offer>,
    pub share: Arc<Share>,
    /// The offer and share whose amounts a conversion gets (`amounts_at`).
    pub paying_offer: Arc<Offer>,
    pub paying_share: Arc<Share>,
}

/// What one event pays under some terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amounts {
    pub revenue: Micros,
    pub payout: Micros,
    pub reward: Micros,
    pub currency: Currency,
    pub offer_version: u64,
}

impl Terms {
    /// The amounts of an event. An event that the paying version did not have yet pays what
    /// today's says: the alternative would be to pay nothing for it.
    #[must_use]
    pub fn amounts(&self, event: &Event) -> Amounts {
        let (offer, share, event) = match self.paying_offer.events.iter().find(|e| e.id == event.id)
        {
            Some(then) => (&self.paying_offer, &self.paying_share, then),
            None => (&self.offer, &self.share, event),
        };
        let changed = share.event(&event.id);
        Amounts {
            revenue: changed.and_then(|c| c.revenue).unwrap_or(event.revenue),
            payout: changed.and_then(|c| c.payout).unwrap_or(event.payout),
            reward: changed.and_then(|c| c.reward).unwrap_or(event.reward),
            currency: offer.currency,
            offer_version: offer.version,
        }
    }
}

impl Catalog {
    #[must_use]
    pub fn tenant(&self, id: &str) -> Option<&Arc<Tenant>> {
        self.tenants.get(id)
    }

    #[must_use]
    pub fn advertiser(&self, id: &str) -> Option<&Arc<Advertiser>> {
        self.advertisers.get(id)
    }

    #[must_use]
    pub fn publisher(&self, id: &str) -> Option<&Arc<Publisher>> {
        self.publishers.get(id)
    }

    /// Today's version of an offer.
    #[must_use]
    pub fn offer(&self, id: &str) -> Option<&Arc<Offer>> {
        self.offers.get(id)?.latest()
    }

    /// Today's version of a share.
    #[must_use]
    pub fn share(&self, id: &str) -> Option<&Arc<Share>> {
        self.shares.get(id)?.latest()
    }

    /// The offer as it was at a configuration version.
    #[must_use]
    pub fn offer_at(&self, id: &str, version: u64) -> Option<&Arc<Offer>> {
        self.offers.get(id)?.at(version)
    }

    /// The share as it was at a configuration version.
    #[must_use]
    pub fn share_at(&self, id: &str, version: u64) -> Option<&Arc<Share>> {
        self.shares.get(id)?.at(version)
    }

    pub fn tenants(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.tenants.values()
    }

    pub fn advertisers(&self) -> impl Iterator<Item = &Arc<Advertiser>> {
        self.advertisers.values()
    }

    pub fn publishers(&self) -> impl Iterator<Item = &Arc<Publisher>> {
        self.publishers.values()
    }

    pub fn offers(&self) -> impl Iterator<Item = &Arc<Offer>> {
        self.offers.values().filter_map(Versions::latest)
    }

    pub fn shares(&self) -> impl Iterator<Item = &Arc<Share>> {
        self.shares.values().filter_map(Versions::latest)
    }

    /// Every document of today, in the order of an apply.
    pub fn documents(&self) -> impl Iterator<Item = Document> + '_ {
        let tenants = self.tenants().cloned().map(Document::Tenant);
        let advertisers = self.advertisers().cloned().map(Document::Advertiser);
        let publishers = self.publishers().cloned().map(Document::Publisher);
        let offers = self.offers().cloned().map(Document::Offer);
        let shares = self.shares().cloned().map(Document::Share);
        tenants.chain(advertisers).chain(publishers).chain(offers).chain(shares)
    }

    /// What holds for a click; none when its share or offer is not configured (any more).
    #[must_use]
    pub fn terms(&self, click: &ResolvedClick) -> Option<Terms> {
        let share = self.share(click.share.as_str())?;
        let offer = self.offer(share.offer.as_str())?;
        let version = match offer.amounts_at {
            AmountsAt::Click => click.config_version,
            AmountsAt::Postback => self.version,
        };
        Some(Terms {
            offer: Arc::clone(offer),
            share: Arc::clone(share),
            paying_offer: Arc::clone(self.offer_at(share.offer.as_str(), version)?),
            paying_share: Arc::clone(self.share_at(share.id.as_str(), version)?),
        })
    }

    /// Puts documents in force as `version`. Offers and shares keep their older versions.
    pub fn apply(&mut self, version: u64, documents: impl IntoIterator<Item = Document>) {
        for document in documents {
            match document.at_version(version) {
                Document::Tenant(it) => {
                    self.tenants.insert(it.id.clone(), it);
                }
                Document::Advertiser(it) => {
                    self.advertisers.insert(it.id.clone(), it);
                }
                Document::Publisher(it) => {
                    self.publishers.insert(it.id.clone(), it);
                }
                Document::Offer(it) => {
                    self.offers.entry(it.id.clone()).or_default().0.push((version, it));
                }
                Document::Share(it) => {
                    self.shares.entry(it.id.clone()).or_default().0.push((version, it));
                }
            }
        }
        self.version = version;
    }
}

/// Builds catalogs from the records of the topic `config`, in order.
#[derive(Debug, Default)]
pub struct CatalogReader {
    current: Catalog,
    /// Documents of applies that have no marker yet. Those of versions that have passed go when the
    /// next one comes into force, so they do not add up.
    open: BTreeMap<(u64, Option<Uuid>), Vec<Document>>,
}

impl CatalogReader {
    /// Takes the next record; gives the new catalog when a version became whole.
    pub fn read(&mut self, record: ConfigRecord) -> Option<&Catalog> {
        match record {
            ConfigRecord::Document(ConfigDocument { version, apply, document }) => {
                if version > self.current.version {
                    self.open.entry((version, apply)).or_default().push(document);
                }
                None
            }
            ConfigRecord::Marker(marker) => {
                let documents = self.open.remove(&(marker.version, marker.apply));
                let documents = documents.unwrap_or_default();
                let is_whole = documents.len() as u64 == u64::from(marker.documents);
                // A repeated append of the same apply, a leftover, or one that was checked against
                // a version that is no longer in force: never go back.
                let is_next = marker.version > self.current.version
                    && marker.base.is_none_or(|base| base == self.current.version);
                if !is_whole || !is_next {
                    return None;
                }
                self.current.apply(marker.version, documents);
                self.open.retain(|(version, _), _| *version > marker.version);
                Some(&self.current)
            }
        }
    }

    #[must_use]
    pub fn current(&self) -> &Catalog {
        &self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TenantId;

    fn tenant(id: &str, apply: u128, version: u64) -> ConfigRecord {
        let tenant = Tenant {
            id: TenantId::new(id).unwrap(),
            name: id.to_owned(),
            time_zone: "UTC".to_owned(),
            fallback_link: None,
        };
        let document = Document::Tenant(Arc::new(tenant));
        let apply = Some(Uuid::from_u128(apply));
        ConfigRecord::Document(ConfigDocument { version, apply, document })
    }

    fn marker(apply: u128, version: u64, base: u64) -> ConfigRecord {
        let (apply, base) = (Some(Uuid::from_u128(apply)), Some(base));
        let applied_at = UnixMillis(0);
        ConfigRecord::Marker(ConfigMarker { version, apply, base, documents: 1, applied_at })
    }

    /// Reads the records in order, and again as compaction may leave them: the last of each key.
    fn check(records: &[ConfigRecord], version: u64, tenants: &[&str]) {
        let keys: Vec<String> = records.iter().map(|record| record.encode().0).collect();
        let is_last = |at: &usize| !keys[at + 1..].contains(&keys[*at]);
        let compacted = (0..records.len()).filter(is_last).map(|at| records[at].clone());
        for records in [records.to_vec(), compacted.collect()] {
            let mut reader = CatalogReader::default();
            for record in records {
                reader.read(record);
            }
            let found: Vec<&str> = reader.current().tenants().map(|it| it.id.as_str()).collect();
            assert_eq!((reader.current().version, found.as_slice()), (version, tenants));
        }
    }

    #[test]
    fn of_two_applies_at_the_same_moment_one_is_in_force() {
        // One after the other, and mixed: the first marker counts.
        check(&[tenant("a", 1, 1), marker(1, 1, 0), tenant("b", 2, 1), marker(2, 1, 0)], 1, &["a"]);
        check(&[tenant("a", 1, 1), tenant("b", 2, 1), marker(2, 1, 0), marker(1, 1, 0)], 1, &["b"]);
        // The second saw the first's documents but not its marker, so it took the next version; it
        // was checked against what was in force before.
        check(&[tenant("a", 1, 1), tenant("b", 2, 2), marker(1, 1, 0), marker(2, 2, 0)], 1, &["a"]);
        check(&[tenant("a", 1, 1), tenant("b", 2, 2), marker(2, 2, 0), marker(1, 1, 0)], 2, &["b"]);
    }

    #[test]
    fn one_after_the_other_both_are_in_force() {
        let records = [tenant("a", 1, 1), marker(1, 1, 0), tenant("b", 2, 2), marker(2, 2, 1)];
        check(&records, 2, &["a", "b"]);
        // An apply that died is passed over, and does not come back.
        let records = [tenant("a", 1, 1), tenant("b", 2, 2), marker(2, 2, 0), marker(1, 1, 0)];
        check(&records, 2, &["b"]);
    }
}
