//! What the simulated postbacks are about: a few offers with everything that has a memory (levels,
//! holds, grace, caps, budget, members, repeatable events), and clicks of them.

use eventlog::simulated::Random;
use keyring::{Keyring, TOKEN_CHARS_DEFAULT};
use schemas::money::Currency;
use schemas::offer::*;
use schemas::time::{DAY_MS, MINUTE_MS};
use schemas::{
    AdvertiserId, ClickKey, Document, EventId, Micros, OfferId, PublisherId, ResolvedClick,
    ShareId, SubIds, TenantId, UnixMillis,
};
use std::sync::{Arc, LazyLock};

pub const PARTITIONS: u32 = 3;
/// Monday, 2026-01-05T12:00:00Z.
pub const START: UnixMillis = UnixMillis(1_767_614_400_000);
pub const TENANT: &str = "brownboots";
pub const ADVERTISER: &str = "brain-games";
pub const CLICKS: usize = 16;
/// As senders name them: the last two are no events of any offer.
pub const EVENT_NAMES: [&str; EVENTS] =
    ["Install", "s2s_level 200", "s2s_level 400", "purchase", "Install", "install", ""];
pub const EVENTS: usize = 7;
/// What a postback may name and report, in cents.
pub const TRANSACTIONS: [&str; 3] = ["T-1", "T-2", "T-3"];
pub const AMOUNTS: [&str; 4] = ["150", "250", "350", "-150"];
/// Offers of the first configuration, each with its own root; the last one comes later.
pub const ROOTS: [&str; 4] = ["pet-the-dogs-ios", "first-trade", "a", "late-comer"];
/// The configuration that brings the last offer.
pub const LATE_VERSION: u64 = 2;

pub struct Click {
    pub resolved: ResolvedClick,
    pub token: String,
}

pub static KEYRING: LazyLock<Arc<Keyring>> = LazyLock::new(|| {
    let line = "1 MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY";
    Arc::new(Keyring::parse(line).expect("a well-formed line of keys"))
});

/// Sealed once: the same in every simulation.
pub static CLICK_POOL: LazyLock<Vec<Click>> = LazyLock::new(|| (0..CLICKS).map(click).collect());

fn click(number: usize) -> Click {
    let root = ROOTS[number % ROOTS.len()];
    let share = ["one", "two"][number / 4 % 2];
    let clicked_at = START.plus_ms(-(number as i64) * 7 * MINUTE_MS);
    let mut subs = SubIds::default();
    subs.0[0] = Some(format!("campaign {number}").into());
    if number == 9 || number == 12 {
        // More than fits into a token.
        subs.0[1] = Some("x".repeat(200).into());
    }
    let mut resolved = ResolvedClick {
        key: ClickKey::new(clicked_at, (number as u64 + 1).to_be_bytes()),
        root_offer: OfferId::new(root).expect("a slug"),
        share: ShareId::new(&format!("{root}-{share}")).expect("a slug"),
        config_version: if root == ROOTS[3] { LATE_VERSION } else { 1 },
        country: Some(*b"US"),
        platform: None,
        // The same member at two clicks of one share.
        member: matches!(number, 2 | 10).then_some([7; 8]),
        test: number == 13,
        subs,
        details: false,
    };
    let sealed = KEYRING.seal(&resolved, START, TOKEN_CHARS_DEFAULT).expect("it fits");
    resolved.details = sealed.details;
    Click { resolved, token: sealed.token }
}

fn event(id: &str, sequence: Option<u32>, units: i64) -> Event {
    Event {
        id: EventId::new(id).expect("an event ID"),
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

fn offer(root: &str) -> Offer {
    let id = OfferId::new(root).expect("a slug");
    Offer {
        id: id.clone(),
        version: 0,
        tenant: TenantId::new(TENANT).expect("a slug"),
        advertiser: AdvertiserId::new(ADVERTISER).expect("a slug"),
        root: id,
        name: root.to_owned(),
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
            Event { pending_ms: 7 * DAY_MS, ..event("s2s_level 400", Some(3), 5) },
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

fn shares(root: &str) -> impl Iterator<Item = Document> {
    let share = move |name: &str| Share {
        id: ShareId::new(&format!("{root}-{name}")).expect("a slug"),
        version: 0,
        tenant: TenantId::new(TENANT).expect("a slug"),
        offer: OfferId::new(root).expect("a slug"),
        publisher: PublisherId::new(&format!("publisher-{name}")).expect("a slug"),
        name: None,
        link: None,
        fallback_link: None,
        postbacks: Vec::new(),
        state: LiveState::Live,
        events: Vec::new(),
    };
    let documents = ["one", "two"].map(|name| Document::Share(Arc::new(share(name))));
    documents.into_iter()
}

/// The changes of one apply. The first two bring the offers; later ones turn their screws.
pub fn documents(version: u64, random: &mut Random) -> Vec<Document> {
    if version == LATE_VERSION {
        let mut documents = vec![Document::Offer(Arc::new(offer(ROOTS[3])))];
        documents.extend(shares(ROOTS[3]));
        return documents;
    }
    if version == 1 {
        let offers = ROOTS[..3].iter().map(|root| Document::Offer(Arc::new(screwed(root, 1, 1))));
        return offers.chain(ROOTS[..3].iter().flat_map(|root| shares(root))).collect();
    }
    let root = ROOTS[random.below(3) as usize];
    let (hold_days, limit) = (random.below(8) as i64, 1 + random.below(3));
    vec![Document::Offer(Arc::new(screwed(root, hold_days, limit)))]
}

fn screwed(root: &str, hold_days: i64, limit: u64) -> Offer {
    let mut offer = offer(root);
    if hold_days % 2 == 0 {
        // What was refused under that name until now may be put back.
        offer.events[0].aliases = vec![EventId::new("install").expect("an event ID")];
    }
    match root {
        "pet-the-dogs-ios" => {
            offer.events[1].caps.total = Some(limit);
            offer.events[2].pending_ms = hold_days * DAY_MS;
        }
        "first-trade" => {
            offer.budget = Some(Micros(12_000_000 * limit as i64));
            offer.events[0].pending_ms = hold_days * DAY_MS;
            offer.sequence_rule = SequenceRule::All;
        }
        _ => {
            offer.events[0].caps.daily = Some(limit);
            offer.events[1].minimum_ms = hold_days * MINUTE_MS;
            offer.events[1].deadline_ms = 2 * DAY_MS;
        }
    }
    offer
}
