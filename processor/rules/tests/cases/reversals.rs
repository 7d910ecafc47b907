//! Reversals, refunds, decisions by hand, amounts and sub-ids.

use crate::support::world::{World, token};
use schemas::time::{DAY_MS, HOUR_MS, MINUTE_MS};
use schemas::*;

#[test]
fn a_rejection_before_its_conversion() {
    let rejected = [("status", "rejected")];
    for named in ["Install", ""] {
        let mut world = World::new();
        let click = world.click();
        let kept = world.send_with(&click, named, &rejected);
        assert_eq!(
            (kept.outcome, kept.reason),
            (Outcome::Accepted, Some(Reason::ReversalRecorded))
        );
        assert_eq!(world.send_with(&click, named, &rejected).outcome, Outcome::Duplicate);
        let outcome = world.send(&click, "Install");
        assert_eq!(outcome.reason, Some(Reason::AdvertiserRejected), "{named:?}");
        assert_eq!(world.stands(&click, "Install"), ("Rejected", "ADVERTISER_REJECTED"));
        assert_eq!(world.send(&click, "Install").outcome, Outcome::Duplicate);
    }
}

#[test]
fn a_rejection_of_the_whole_click() {
    let mut world = World::new();
    let click = world.click();
    for event in ["Install", "s2s_level 200", "s2s_level 400"] {
        world.send(&click, event);
    }
    world.send_with(&click, "", &[("activity_kind", "rejected_install")]);
    for event in ["Install", "s2s_level 200", "s2s_level 400"] {
        assert_eq!(world.stands(&click, event), ("Rejected", "ADVERTISER_REJECTED"));
    }
    assert!(world.wait(30 * DAY_MS).is_empty());
}

#[test]
fn reversals_that_need_a_person() {
    let rejected = [("status", "rejected")];
    let review = Some(Reason::ReversalReview);
    for (after, expected) in
        [(60 * DAY_MS, Some(Reason::ReversalRecorded)), (60 * DAY_MS + 1, review)]
    {
        let mut world = World::new();
        let click = world.click();
        world.send(&click, "Install");
        world.wait(after);
        assert_eq!(world.send_with(&click, "Install", &rejected).reason, expected, "{after}");
    }
    let mut world = World::new();
    let click = world.click();
    world.send(&click, "purchase");
    assert_eq!(world.send_with(&click, "purchase", &rejected).reason, review);
    // What a person approved, the advertiser does not undo.
    world.send(&click, "s2s_level 400");
    let waiting = world.row(&click, "s2s_level 400").unwrap().clone();
    let approve = CommandKind::Approve { over_limit: false };
    assert_eq!(world.command(&waiting, approve, &click), CommandEffect::Applied);
    assert_eq!(world.command(&waiting, approve, &click), CommandEffect::AlreadySo);
    assert_eq!(world.send_with(&click, "s2s_level 400", &rejected).reason, review);
    assert_eq!(world.stands(&click, "s2s_level 400"), ("Success", "MANUALLY_APPROVED"));
}

#[test]
fn approving_past_a_limit() {
    let mut world = World::with(|offer| offer.events[0].caps.total = Some(1));
    let clicks: Vec<_> = (0..3).map(|_| world.click()).collect();
    world.send(&clicks[0], "Install");
    world.send(&clicks[1], "Install");
    let refused = world.row(&clicks[1], "Install").unwrap().clone();
    let approve = |over_limit| CommandKind::Approve { over_limit };
    assert_eq!(world.command(&refused, approve(false), &clicks[1]), CommandEffect::OverLimit);
    assert_eq!(world.stands(&clicks[1], "Install"), ("Rejected", "CAP_REACHED"));
    assert_eq!(world.command(&refused, approve(true), &clicks[1]), CommandEffect::Applied);
    assert_eq!(world.row(&clicks[1], "Install").unwrap().flags, [Flag::OverLimit]);
    // It is counted apart: rejecting it frees nothing.
    assert_eq!(world.command(&refused, CommandKind::Reject, &clicks[1]), CommandEffect::Applied);
    assert_eq!(world.send(&clicks[2], "Install").reason, Some(Reason::CapReached));
    let unknown = world.command(&refused, CommandKind::Reject, &clicks[2]);
    assert_eq!(unknown, CommandEffect::UnknownConversion);
}

#[test]
fn refunds() {
    let sale = [("revenue", "500"), ("currency", "USD"), ("transaction_id", "T")];
    for (amount, currency, transaction, expected, status) in [
        ("-500", "USD", "T", Reason::RefundRecorded, "Rejected"),
        ("-200", "USD", "T", Reason::RefundRecorded, "Success"),
        ("-500", "EUR", "T", Reason::RefundRecorded, "Success"),
        ("-500", "USD", "other", Reason::RefundUnmatched, "Success"),
        ("-500", "USD", "", Reason::RefundUnmatched, "Success"),
    ] {
        let mut world = World::new();
        let click = world.click();
        world.send_with(&click, "purchase", &sale);
        let refund = [("revenue", amount), ("currency", currency), ("transaction_id", transaction)];
        let outcome = world.send_with(&click, "purchase", &refund);
        assert_eq!(outcome.reason, Some(expected), "{refund:?}");
        assert_eq!(world.stands(&click, "purchase").0, status, "{refund:?}");
        let partial = world.row(&click, "purchase").unwrap().flags.contains(&Flag::PartialRefund);
        assert_eq!(partial, expected == Reason::RefundRecorded && status == "Success");
    }
}

#[test]
fn amounts_are_those_of_click_time() {
    for (amounts_at, expected) in [(AmountsAt::Click, 1_000_000), (AmountsAt::Postback, 4_000_000)]
    {
        let mut world = World::with(|offer| offer.amounts_at = amounts_at);
        let click = world.click();
        world.configure(|offer| offer.events[0].revenue = Micros(4_000_000));
        world.send(&click, "Install");
        world.configure(|offer| offer.events[0].revenue = Micros(9_000_000));
        world.send_with(&click, "Install", &[("status", "rejected")]);
        let revenues: Vec<_> = world.rows.iter().map(|row| row.revenue.0).collect();
        assert_eq!(revenues, [expected, expected], "{amounts_at}");
    }
}

#[test]
fn an_unreadable_sale_amount_is_flagged_and_the_conversion_stands() {
    let mut world = World::new();
    let click = world.click();
    let outcome = world.send_with(&click, "Install", &[("revenue", "12"), ("currency", "XXZ")]);
    assert_eq!(
        (outcome.outcome, &outcome.flags[..]),
        (Outcome::Accepted, &[Flag::InvalidRevenue][..])
    );
    assert_eq!(world.row(&click, "Install").unwrap().sale_amount, None);
}

#[test]
fn sub_ids_that_did_not_fit_come_back_byte_for_byte() {
    let mut world = World::new();
    let mut click = world.click();
    click.details = true;
    let mut subs = SubIds::default();
    subs.0[0] = Some("a b%20".into());
    subs.0[14] = Some("é".repeat(200).into());
    let details = ClickDetails {
        click: click.key,
        root_offer: click.root_offer.clone(),
        clicked_at: world.now,
        subs: subs.clone(),
    };
    assert!(world.run(rules::StepInput::ClickDetails(&details)).is_none());
    world.send(&click, "Install");
    world.send(&click, "s2s_level 200");
    world.send(&click, "s2s_level 400");
    world.wait(7 * DAY_MS);
    assert_eq!(world.rows.len(), 4);
    for row in &world.rows {
        assert_eq!(row.subs, subs);
        assert_eq!(*row.click_id, *token(&click));
        assert_eq!((row.country.as_deref(), row.platform), (Some("US"), Some(Platform::Ios)));
    }
    world.wait(400 * DAY_MS);
    assert!(world.left_of_clicks().is_empty());
}

/// The configuration never loses an offer; if it does, the pending stay so until it is repaired.
#[test]
fn a_lost_offer_defers_its_timers() {
    let mut world = World::new();
    let click = world.click();
    for event in ["Install", "s2s_level 200", "s2s_level 400"] {
        world.send(&click, event);
    }
    let catalog = std::mem::take(&mut world.catalog);
    assert!(world.wait(7 * DAY_MS + MINUTE_MS).is_empty());
    world.catalog = catalog;
    assert!(world.wait(HOUR_MS - 2 * MINUTE_MS).is_empty());
    assert_eq!(world.wait(2 * MINUTE_MS).len(), 1);
    assert_eq!(world.stands(&click, "s2s_level 400"), ("Success", ""));
}

#[test]
fn a_refund_of_another_clicks_sale_is_listed() {
    let mut world = World::new();
    let clicks = [world.click(), world.click()];
    let sale = [("transaction_id", "T-1"), ("revenue", "500")];
    let refund = [("transaction_id", "T-1"), ("revenue", "-500")];
    assert_eq!(world.send_with(&clicks[0], "purchase", &sale).outcome, Outcome::Accepted);
    let sold = world.row(&clicks[0], "purchase").unwrap().conversion_id.clone();
    let found = world.send_with(&clicks[1], "purchase", &refund);
    assert_eq!((found.outcome, found.reason), (Outcome::Waiting, Some(Reason::ReversalReview)));
    assert_eq!(found.conversion_id, Some(sold));
    assert_eq!(world.stands(&clicks[0], "purchase"), ("Success", ""));
    // Of a one-time event, or of nobody's sale, there is nothing to look at.
    let unmatched = Some(Reason::RefundUnmatched);
    assert_eq!(world.send_with(&clicks[1], "Install", &refund).reason, unmatched);
    let unknown = [("transaction_id", "T-2"), ("revenue", "-500")];
    assert_eq!(world.send_with(&clicks[1], "purchase", &unknown).reason, unmatched);
}
