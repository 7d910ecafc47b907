//! The configuration as a whole: every document at a version, with old versions of offers and
//! shares, because clicks refer to them.
//!
//! In the topic `config` each document is a record with its own key per version, and an apply ends
//! in a [`ConfigRecord::Marker`]. Readers change over at a marker, so they only ever see whole
//! versions; documents without a marker (an apply that died) are never seen. Keys carry the
//! version, so that compaction can never replace a committed document by one that was not.

use crate::click::ResolvedClick;
use crate::codec::{self, DecodeError, Message};
use crate::ids::{AdvertiserId, OfferId, PublisherId, ShareId, TenantId};
use crate::money::{Currency, Micros};
use crate::offer::{Advertiser, AmountsAt, Event, Offer, Publisher, Share, Tenant};
use crate::time::UnixMillis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

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
    pub document: Document,
}

impl Message for ConfigDocument {
    const KIND: &'static str = "config-document";
}

/// The end of an apply: version `version` is whole, with `documents` changed documents in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigMarker {
    pub version: u64,
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
                (format!("{}@{}", it.document.key(), it.version), codec::encode(it))
            }
            Self::Marker(it) => (format!("marker@{}", it.version), codec::encode(it)),
        }
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
    /// Documents of the version that has no marker yet.
    open: Vec<Document>,
    open_version: u64,
}

impl CatalogReader {
    /// Takes the next record; gives the new catalog when a version became whole.
    pub fn read(&mut self, record: ConfigRecord) -> Option<&Catalog> {
        match record {
            ConfigRecord::Document(ConfigDocument { version, document }) => {
                if version != self.open_version {
                    // The one before never got its marker: whoever applied it died.
                    self.open.clear();
                    self.open_version = version;
                }
                self.open.push(document);
                None
            }
            ConfigRecord::Marker(marker) => {
                let documents = std::mem::take(&mut self.open);
                // A repeated append of the same apply, or a leftover: never go back.
                let whole = marker.version == self.open_version
                    && documents.len() as u64 == u64::from(marker.documents);
                if marker.version <= self.current.version || !whole {
                    return None;
                }
                self.current.apply(marker.version, documents);
                Some(&self.current)
            }
        }
    }

    #[must_use]
    pub fn current(&self) -> &Catalog {
        &self.current
    }
}
