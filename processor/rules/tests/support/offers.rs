//! "Pet the Dogs iOS" of the worked cases: Install 1/0, `s2s_level 200` 2/0, `s2s_level 400` 3/7 days.

use schemas::money::Currency;
use schemas::offer::*;
use schemas::time::DAY_MS;
use schemas::{
    AdvertiserId, Document, EventId, Micros, OfferId, PublisherId, ShareId, TenantId, UnixMillis,
};
use std::sync::Arc;

pub const ROOT: &str = "pet-the-dogs-ios";

pub fn event(id: &str, sequence: Option<u32>, units: i64) -> Event {
    Event {
        id: EventId::new(id).unwrap(),
        aliases: Vec::new(),
        name: id.into(),
        sequence,
        pending_ms: 0,
        deadline_ms: DEADLINE_MS_DEFAULT,
        minimum_ms: 0,
        revenue: Micros(units * 1_000_000),
        payout: Micros(units * 800_000),
        reward: Micros(units * 100_000_000),
        repeatable: false,
        private: false,
        caps: Caps::default(),
    }
}

pub fn pet_the_dogs() -> Offer {
    let mut last = event("s2s_level 400", Some(3), 5);
    last.pending_ms = 7 * DAY_MS;
    Offer {
        id: OfferId::new(ROOT).unwrap(),
        version: 0,
        tenant: TenantId::new("brownboots").unwrap(),
        advertiser: AdvertiserId::new("brain-games").unwrap(),
        root: OfferId::new(ROOT).unwrap(),
        name: "Pet the Dogs iOS".to_owned(),
        campaign: String::new(),
        headline: String::new(),
        description: String::new(),
        categories: Vec::new(),
        creative: String::new(),
        integration: Integration::Adjust,
        custom_profile: None,
        convert_ignored: false,
        link: "https://app.example/?c={gk_click_id}".to_owned(),
        state: LiveState::Live,
        launch_at: UnixMillis(0),
        currency: Currency::USD,
        budget: None,
        epc: None,
        reward_unit: "points".into(),
        targeting: Targeting::default(),
        events: vec![
            event("Install", Some(1), 1),
            event("s2s_level 200", Some(2), 2),
            last,
            Event { repeatable: true, ..event("purchase", None, 3) },
        ],
        sequence_rule: SequenceRule::Any,
        sequence_grace_ms: SEQUENCE_GRACE_MS_DEFAULT,
        attribution_window_ms: ATTRIBUTION_WINDOW_MS_DEFAULT,
        honour_ms: HONOUR_MS_DEFAULT,
        reversal_window_ms: REVERSAL_WINDOW_MS_DEFAULT,
        amounts_at: AmountsAt::Click,
        time_zone: "UTC".to_owned(),
    }
}

pub fn share(id: &str, offer: &str, publisher: &str) -> Share {
    Share {
        id: ShareId::new(id).unwrap(),
        version: 0,
        tenant: TenantId::new("brownboots").unwrap(),
        offer: OfferId::new(offer).unwrap(),
        publisher: PublisherId::new(publisher).unwrap(),
        name: None,
        link: None,
        fallback_link: None,
        postbacks: Vec::new(),
        state: LiveState::Live,
        events: Vec::new(),
    }
}

/// The offer, a clone of it at another publisher, and two shares of the offer.
pub fn documents() -> Vec<Document> {
    let offer = pet_the_dogs();
    let clone = Offer { id: OfferId::new("clone").unwrap(), ..offer.clone() };
    vec![
        Document::Offer(Arc::new(offer)),
        Document::Offer(Arc::new(clone)),
        Document::Share(Arc::new(share("share-a", ROOT, "publisher-a"))),
        Document::Share(Arc::new(share("share-b", ROOT, "publisher-b"))),
        Document::Share(Arc::new(share("share-c", "clone", "publisher-a"))),
    ]
}
