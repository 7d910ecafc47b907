//! Messages as the log holds them, made up from a number: for tests that begin at the log.

use schemas::decision::{CommandEffect, CommandOutcome};
use schemas::ids::{
    AdvertiserId, ConversionId, EventId, OfferId, PostbackId, PublisherId, ShareId, TenantId,
};
use schemas::{
    Click, Conversion, ConversionStatus, Currency, Flag, Micros, Mismatch, Outcome, Platform,
    PostbackOutcome, Reason, Refusal, SubIds, UnixMillis,
};
use uuid::Uuid;

/// When everything happened: 2026-01-31T23:59:59.999Z.
pub const RECEIVED_AT: UnixMillis = UnixMillis(1_769_903_999_999);

fn offer(id: &str) -> OfferId {
    OfferId::new(id).expect("an offer id")
}

fn tenant() -> TenantId {
    TenantId::new("brownboots").expect("a tenant id")
}

fn advertiser() -> AdvertiserId {
    AdvertiserId::new("brain-games").expect("an advertiser id")
}

fn publisher() -> PublisherId {
    PublisherId::new("rewards").expect("a publisher id")
}

fn share() -> ShareId {
    ShareId::new("dogs-rewards").expect("a share id")
}

fn subs() -> SubIds {
    let mut subs = SubIds::default();
    subs.0[0] = Some("ä\tb".into());
    subs.0[14] = Some("last".into());
    subs
}

#[must_use]
pub fn click(number: u64, offer_id: &str) -> Click {
    Click {
        click_id: format!("click-{number}"),
        tenant: tenant(),
        advertiser_id: advertiser(),
        offer_id: offer(offer_id),
        root_offer_id: offer(offer_id),
        share_id: share(),
        publisher_id: publisher(),
        clicked_at: RECEIVED_AT,
        country: Some("DE".to_owned()),
        platform: Some(Platform::Ios),
        subs: subs(),
        offer_version: 3,
        test: false,
        flags: vec![Flag::UnknownCountry],
    }
}

fn postback_id(number: u64) -> PostbackId {
    PostbackId(Uuid::from_u64_pair(0x0189_0000_0000_7000, 0x8000_0000_0000_0000 | number))
}

fn conversion_id(offer_id: &str, number: u64) -> ConversionId {
    ConversionId::from_hash(&offer(offer_id), u128::from(number).to_be_bytes())
}

#[must_use]
pub fn postback(number: u64) -> PostbackOutcome {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    PostbackOutcome {
        postback_id: postback_id(number),
        tenant: tenant(),
        advertiser_id: advertiser(),
        received_at: RECEIVED_AT,
        click_id: "click-7".to_owned(),
        event_id: "s2s_level 200".to_owned(),
        outcome: Outcome::Accepted,
        reason: None,
        conversion_id: Some(conversion_id("pet-the-dogs", 0)),
        offer_id: Some(offer("pet-the-dogs")),
        publisher_id: Some(publisher()),
        parameters: vec![pair("a", "1"), pair("a", "2"), pair("b", "x")],
        flags: vec![Flag::RepeatedParameter],
        test: false,
        config_version: 3,
    }
}

/// A revision of the conversion of that number.
#[must_use]
pub fn conversion(number: u64, revision: u32, offer_id: &str) -> Conversion {
    let held = revision == 1;
    Conversion {
        conversion_id: conversion_id(offer_id, number),
        revision,
        click_id: "click-7".into(),
        clicked_at: RECEIVED_AT,
        tenant: tenant(),
        advertiser_id: advertiser(),
        offer_id: offer(offer_id),
        root_offer_id: offer(offer_id),
        share_id: share(),
        publisher_id: publisher(),
        event_id: EventId::new("s2s_level 200").expect("an event id"),
        event_name: "Level 200".into(),
        sequence: None,
        status: if held { ConversionStatus::Pending } else { ConversionStatus::Success },
        reason: held.then_some(Reason::Hold),
        note: String::new(),
        received_at: RECEIVED_AT,
        due_at: held.then(|| RECEIVED_AT.plus_ms(1_000)),
        decided_at: RECEIVED_AT,
        revenue: Micros(1_250_000),
        payout: Micros(-1),
        currency: Currency::USD,
        reward: Micros(50_000_000),
        reward_unit: "coins".into(),
        sale_amount: None,
        sale_currency: None,
        transaction_id: None,
        offer_version: 3,
        country: None,
        platform: None,
        subs: subs(),
        test: false,
        flags: Vec::new(),
        postback_id: Some(postback_id(1)),
    }
}

#[must_use]
pub fn command() -> CommandOutcome {
    CommandOutcome {
        command_id: Uuid::from_u128(1),
        conversion_id: conversion_id("pet-the-dogs", 0),
        effect: CommandEffect::Applied,
        decided_at: RECEIVED_AT,
    }
}

#[must_use]
pub fn refusal() -> Refusal {
    Refusal {
        refusal_id: Uuid::from_u128(2),
        refused_at: RECEIVED_AT,
        tenant: None,
        address: "203.0.113.9".to_owned(),
        host: "api.nobody.example".to_owned(),
        mismatch: Mismatch::Segments,
        parameters: vec![("cnv_event_id".to_owned(), "Install".to_owned())],
    }
}
