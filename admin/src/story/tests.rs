//! Stories from fixed facts, as snapshots: the wording is the product.

use super::facts::{
    Asked, ClickRow, Facts, PostbackRow, RedecisionRow, RevisionRow, Token, TokenClick,
};
use super::tell;
use crate::apply::{Source, check};
use schemas::{Catalog, UnixMillis};

/// 2026-11-20T13:00:00Z.
const START: i64 = 1_795_179_600_000;
const CLICK_ID: &str =
    "AQEaXdOcnr7vaLrpsRv1J2v1dwV5wFimx2OFk_wwTtwY_UKcj9b6rSQ9mdwsMZn9UNaMrgpmKdlzq-LCvrQn";

fn facts() -> Facts {
    let text = include_str!("../../../examples/brownboots.yaml").to_owned();
    let source = Source { name: "brownboots.yaml".to_owned(), text };
    let mut catalog = Catalog::default();
    let documents = check(&[source], &catalog, UnixMillis(0)).unwrap();
    catalog.apply(1, documents);
    Facts {
        id: CLICK_ID.to_owned(),
        asked: Asked::Click,
        click_id: CLICK_ID.to_owned(),
        token: Token::Valid(TokenClick {
            clicked_at_ms: START,
            root_offer_id: "pet-the-dogs-ios".to_owned(),
            share_id: "ptd-acme".to_owned(),
            country: Some("US".to_owned()),
            platform: Some("iOS".to_owned()),
            test: false,
            config_version: 1,
        }),
        click: Some(ClickRow {
            clicked_at_ms: START,
            offer_id: "pet-the-dogs-ios".to_owned(),
            share_id: "ptd-acme".to_owned(),
            publisher_id: "acme-rewards".to_owned(),
            country: "US".to_owned(),
            platform: "ios".to_owned(),
            subs: vec!["demo".to_owned(), String::new(), "a\u{1b}[31m".to_owned()],
            test: false,
            flags: Vec::new(),
        }),
        postbacks: Vec::new(),
        more_postbacks: false,
        revisions: Vec::new(),
        more_revisions: false,
        offer: catalog.offer("pet-the-dogs-ios").cloned(),
        publisher_name: Some("Acme Rewards".to_owned()),
        advertiser_name: Some("Brain Games".to_owned()),
        time_zone: "America/New_York".to_owned(),
        now_ms: START,
    }
}

fn postback(number: u8, event: &str, outcome: &str, reason: &str) -> PostbackRow {
    PostbackRow {
        postback_id: format!("01890a5d-ac96-774b-bcce-b302099a80{number:02}"),
        tenant: "brownboots".to_owned(),
        advertiser_id: "brain-games".to_owned(),
        received_at_ms: START + i64::from(number) * 60_000,
        click_id: CLICK_ID.to_owned(),
        event_id: event.to_owned(),
        outcome: outcome.to_owned(),
        reason: reason.to_owned(),
        conversion_id: String::new(),
        parameters: vec![
            ("cnv_event_id".to_owned(), event.to_owned()),
            ("gk_click_id".to_owned(), CLICK_ID.to_owned()),
        ],
        flags: Vec::new(),
        test: false,
        redecisions: Vec::new(),
    }
}

fn revision(event: &str, level: u32, revision: u32, status: &str, reason: &str) -> RevisionRow {
    RevisionRow {
        conversion_id: format!("pet-the-dogs-ios.0000000000000000000000000{level}"),
        revision,
        tenant: "brownboots".to_owned(),
        click_id: CLICK_ID.to_owned(),
        offer_id: "pet-the-dogs-ios".to_owned(),
        event_id: event.to_owned(),
        event_name: event.to_owned(),
        sequence: Some(level),
        status: status.to_owned(),
        reason: reason.to_owned(),
        note: String::new(),
        received_at_ms: START + 60_000,
        due_at_ms: (status == "Pending").then_some(START + 7 * 86_400_000),
        decided_at_ms: START + i64::from(revision) * 60_000,
        revenue: "7.50".to_owned(),
        payout: "6.00".to_owned(),
        currency: "USD".to_owned(),
        reward: "1500.00".to_owned(),
        reward_unit: "coins".to_owned(),
        sale_amount: None,
        sale_currency: String::new(),
        transaction_id: String::new(),
        flags: Vec::new(),
        test: false,
    }
}

#[test]
fn a_click_that_went_well_and_on_hold() {
    let mut facts = facts();
    let mut install = postback(1, "Install", "accepted", "");
    install.conversion_id = "pet-the-dogs-ios.00000000000000000000000001".to_owned();
    facts.postbacks = vec![install, postback(2, "Install", "duplicate", "DUPLICATE")];
    let mut sold = revision("Install", 1, 1, "Success", "");
    sold.sale_amount = Some("1.99".to_owned());
    sold.sale_currency = "USD".to_owned();
    sold.transaction_id = "T-1".to_owned();
    sold.flags = vec!["PLACEHOLDER_TRANSACTION".to_owned()];
    facts.revisions = vec![
        sold,
        revision("s2s_level 400", 3, 1, "Pending", "WAITING_SEQUENCE"),
        revision("s2s_level 400", 3, 2, "Pending", "HOLD"),
    ];
    insta::assert_snapshot!(tell(&facts).text());
}

#[test]
fn refusals_say_what_to_do() {
    let mut facts = facts();
    let mut left = postback(4, "{event_name}", "rejected", "MACRO_NOT_REPLACED");
    left.flags = vec!["REPEATED_PARAMETER".to_owned()];
    facts.postbacks = vec![
        postback(1, "install", "rejected", "UNKNOWN_EVENT"),
        postback(2, "s2s_level  200", "rejected", "UNKNOWN_EVENT"),
        postback(3, "purchase", "rejected", "UNKNOWN_EVENT"),
        left,
        postback(5, "", "rejected", "MISSING_EVENT"),
        postback(6, "Install", "rejected", "ADVERTISER_MISMATCH"),
        postback(7, "Install", "rejected", "CLICK_WINDOW_EXPIRED"),
    ];
    insta::assert_snapshot!(tell(&facts).text());
}

#[test]
fn conversions_that_wait_or_were_rejected() {
    let mut facts = facts();
    facts.asked = Asked::Conversion;
    facts.id = "pet-the-dogs-ios.00000000000000000000000003".to_owned();
    let mut by_hand = revision("Install", 1, 2, "Rejected", "MANUALLY_REJECTED");
    by_hand.note = "fraud, ticket 17".to_owned();
    facts.revisions = vec![
        revision("Install", 1, 1, "Success", ""),
        by_hand,
        revision("s2s_level 200", 2, 1, "Pending", "WAITING_SEQUENCE"),
        revision("s2s_level 400", 3, 1, "Rejected", "CAP_REACHED"),
    ];
    insta::assert_snapshot!(tell(&facts).text());
}

#[test]
fn an_id_that_is_not_ours() {
    let mut facts = facts();
    facts.asked = Asked::Postback;
    let mut unknown = postback(1, "Install", "rejected", "INVALID_CLICK_ID");
    unknown.click_id = "nonsense".to_owned();
    unknown.parameters = vec![("gk_click_id".to_owned(), "nonsense".to_owned())];
    facts.id = unknown.postback_id.clone();
    facts.click_id = "nonsense".to_owned();
    facts.token = Token::Invalid("it is too short".to_owned());
    facts.click = None;
    facts.offer = None;
    facts.postbacks = vec![unknown];
    insta::assert_snapshot!(tell(&facts).text());
}

#[test]
fn a_click_without_anything() {
    let mut facts = facts();
    facts.click = None;
    insta::assert_snapshot!(tell(&facts).text());
}

#[test]
fn one_that_was_put_back_tells_both_decisions() {
    let mut facts = facts();
    let mut again = postback(1, "first_open", "accepted", "");
    let attempt = |minutes: i64, effect: &str, outcome: &str, reason: &str| RedecisionRow {
        decided_at_ms: START + minutes * 60_000,
        effect: effect.to_owned(),
        outcome: outcome.to_owned(),
        reason: reason.to_owned(),
        operator: "sam".to_owned(),
        note: "renamed on Friday".to_owned(),
        first_outcome: "rejected".to_owned(),
        first_reason: "UNKNOWN_EVENT".to_owned(),
    };
    again.redecisions = vec![
        attempt(60, "refused", "rejected", "UNKNOWN_EVENT"),
        attempt(90, "applied", "accepted", ""),
    ];
    facts.postbacks = vec![again];
    insta::assert_snapshot!(tell(&facts).text());
}

/// Every reason of a refused postback is told with its text, and none of it is code.
#[test]
fn every_reason_has_words() {
    for reason in schemas::Reason::ALL {
        let mut facts = facts();
        facts.postbacks = vec![postback(1, "Install", "rejected", reason.code())];
        let text = tell(&facts).text();
        assert!(text.contains(reason.text()), "{reason}: {text}");
        assert!(!text.contains("Some("), "{reason}: {text}");
    }
}
