//! Each rule from outside, in the order of the rules.

use crate::support::offers::{ROOT, event, share};
use crate::support::world::{START, World};
use rules::ClickReference;
use schemas::offer::EventOverride;
use schemas::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};
use schemas::*;
use std::sync::Arc;

/// Sends one postback to a click reference and gives its outcome.
fn judged(
    world: &mut World,
    parameters: &[(&str, &str)],
    click: ClickReference<'_>,
) -> PostbackOutcome {
    let postback = world.postback(parameters);
    world.deliver(&postback, click).unwrap().postback.unwrap()
}

#[test]
fn rules_1_to_5() {
    use ClickReference::{Invalid, Missing, Resolved};
    let mut world = World::with(|offer| offer.events[3] = event("Level (5)", None, 1));
    let click = world.click();
    let lost = ResolvedClick { share: ShareId::new("nowhere").unwrap(), ..click.clone() };
    let id = ("gk_click_id", "token");
    for (parameters, reference, expected) in [
        (vec![id], Resolved(&click), Reason::MissingEvent),
        (vec![], Missing, Reason::MissingEvent),
        (vec![("cnv_event_id", ""), id], Resolved(&click), Reason::MissingEvent),
        (vec![("cnv_event_id", "{event_name}"), id], Resolved(&click), Reason::MacroNotReplaced),
        (vec![("cnv_event_id", "%7Bevent%7D")], Missing, Reason::MacroNotReplaced),
        (
            vec![("cnv_event_id", "Install"), ("gk_click_id", "[cgid]")],
            Invalid,
            Reason::MacroNotReplaced,
        ),
        (vec![("cnv_event_id", "Level (5)")], Missing, Reason::MissingClickId),
        (vec![("cnv_event_id", "Install")], Missing, Reason::MissingClickId),
        (vec![("cnv_event_id", "Install"), ("gk_click_id", "x")], Invalid, Reason::InvalidClickId),
        (vec![("cnv_event_id", "Install"), id], Resolved(&lost), Reason::UnknownOffer),
        (vec![("cnv_event_id", " Install"), id], Resolved(&click), Reason::UnknownEvent),
        (vec![("cnv_event_id", "install"), id], Resolved(&click), Reason::UnknownEvent),
        (
            vec![("cnv_event_id", "install"), id, ("activity_kind", "uninstall")],
            Resolved(&click),
            Reason::Ignored,
        ),
        (vec![id, ("activity_kind", "uninstall")], Resolved(&click), Reason::Ignored),
        (
            vec![("cnv_event_id", "Install"), id, ("status", "perhaps")],
            Resolved(&click),
            Reason::UnknownStatus,
        ),
    ] {
        let outcome = judged(&mut world, &parameters, reference);
        assert_eq!(outcome.reason, Some(expected), "{parameters:?}");
        assert_eq!(outcome.parameters.len(), parameters.len());
        assert!(world.rows.is_empty());
    }
    let accepted = judged(&mut world, &[("cnv_event_id", "Level (5)"), id], Resolved(&click));
    assert_eq!(accepted.outcome, Outcome::Accepted);
}

#[test]
fn rule_4_says_nothing_of_other_tenants() {
    let mut world = World::new();
    let click = world.click();
    for (tenant, offer_known) in [("brownboots", true), ("another", false)] {
        let mut postback = world.postback(&[("cnv_event_id", "Install"), ("gk_click_id", "token")]);
        postback.tenant = TenantId::new(tenant).unwrap();
        postback.advertiser = AdvertiserId::new("somebody-else").unwrap();
        let decision = world.deliver(&postback, ClickReference::Resolved(&click)).unwrap();
        let outcome = decision.postback.unwrap();
        assert_eq!(outcome.reason, Some(Reason::AdvertiserMismatch));
        assert_eq!(outcome.offer_id.is_some(), offer_known, "{tenant}");
    }
}

/// Sends Install so long after its click, with a sender's time so long before that.
fn check_age(after_ms: i64, sent_before_ms: i64, converted: bool, expected: Option<Reason>) {
    let mut world = World::with(|offer| {
        offer.events[1].sequence = None;
        offer.events[1].deadline_ms = 180 * DAY_MS;
        offer.events[0].deadline_ms = 40 * DAY_MS;
    });
    let click = world.click();
    if converted {
        world.send(&click, "s2s_level 200");
    }
    world.wait(after_ms);
    let sent = ((world.now.0 - sent_before_ms) / SECOND_MS).to_string();
    let outcome = world.send_with(&click, "Install", &[("event_time", &sent)]);
    assert_eq!(outcome.reason, expected, "{after_ms} {sent_before_ms} {converted}");
}

#[test]
fn rules_6_and_7_at_their_boundaries() {
    let (window, deadline) = (30 * DAY_MS, 40 * DAY_MS);
    check_age(window, 0, false, None);
    check_age(window + SECOND_MS, 0, false, Some(Reason::ClickWindowExpired));
    check_age(window + HOUR_MS, HOUR_MS, false, None);
    check_age(window + 25 * HOUR_MS, 25 * HOUR_MS, false, Some(Reason::ClickWindowExpired));
    check_age(window + SECOND_MS, 0, true, None);
    check_age(deadline, 0, true, None);
    check_age(deadline + SECOND_MS, 0, true, Some(Reason::DeadlineExceeded));
    check_age(deadline + DAY_MS, DAY_MS, true, None);
}

#[test]
fn rule_7_closed_offers() {
    for (days, expected) in [(60, None), (61, Some(Reason::OfferClosed))] {
        let mut world = World::with(|offer| offer.attribution_window_ms = 100 * DAY_MS);
        let click = world.click();
        world.configure(|offer| offer.state = LiveState::Closed { at: START });
        world.wait(days * DAY_MS);
        assert_eq!(world.send(&click, "Install").reason, expected, "{days}");
    }
    let mut world = World::new();
    let click = world.click();
    world.configure(|offer| offer.state = LiveState::Paused);
    assert_eq!(world.send(&click, "Install").outcome, Outcome::Accepted);
}

#[test]
fn rule_8_members() {
    let mut world = World::new();
    let mut clicks = [world.click(), world.click(), world.click_at("share-b")];
    for click in &mut clicks {
        click.member = Some([3; 8]);
    }
    world.send(&clicks[0], "Install");
    let again = world.send(&clicks[1], "Install");
    assert_eq!(again.outcome, Outcome::Duplicate);
    assert_eq!(
        again.conversion_id,
        world.row(&clicks[0], "Install").map(|r| r.conversion_id.clone())
    );
    // Another publisher's member only looks the same.
    assert_eq!(world.send(&clicks[2], "Install").outcome, Outcome::Accepted);
}

#[test]
fn rule_8_member_converts_elsewhere_while_one_waits() {
    let mut world = World::with(|offer| offer.events[1].sequence = Some(1));
    world.configure(|offer| offer.events[0].sequence = Some(2));
    let mut clicks = [world.click(), world.click()];
    for click in &mut clicks {
        click.member = Some([3; 8]);
    }
    world.send(&clicks[0], "Install");
    assert_eq!(world.stands(&clicks[0], "Install"), ("Pending", "WAITING_SEQUENCE"));
    world.configure(|offer| offer.events[0].sequence = None);
    world.send(&clicks[1], "Install");
    assert_eq!(world.stands(&clicks[1], "Install"), ("Success", ""));
    world.send(&clicks[0], "s2s_level 200");
    assert_eq!(world.stands(&clicks[0], "Install"), ("Rejected", "DUPLICATE"));
}

/// What only waits holds nothing against a click of the member whose own sequence is met.
#[test]
fn rule_8_a_waiting_conversion_does_not_hold_its_member() {
    let mut world = World::with(|offer| {
        offer.events.push(event("Open", Some(1), 0));
        offer.events[1].pending_ms = DAY_MS;
    });
    let mut clicks = [world.click(), world.click()];
    for click in &mut clicks {
        click.member = Some([3; 8]);
    }
    world.send(&clicks[0], "Install");
    world.send(&clicks[1], "Open");
    world.send(&clicks[0], "s2s_level 200");
    assert_eq!(world.send(&clicks[1], "s2s_level 200").outcome, Outcome::Duplicate);
    world.send_with(&clicks[0], "Install", &[("status", "rejected")]);
    assert_eq!(world.stands(&clicks[0], "s2s_level 200"), ("Rejected", "PREREQUISITE_REJECTED"));
    world.send(&clicks[0], "s2s_level 200");
    assert_eq!(world.stands(&clicks[0], "s2s_level 200"), ("Pending", "WAITING_SEQUENCE"));
    world.send(&clicks[1], "s2s_level 200");
    assert_eq!(world.stands(&clicks[1], "s2s_level 200"), ("Pending", "HOLD"));
}

#[test]
fn rule_8_transactions() {
    let mut world = World::new();
    let (click, other) = (world.click(), world.click());
    let tx = |id| [("transaction_id", id)];
    assert_eq!(world.send_with(&click, "purchase", &tx("A")).outcome, Outcome::Accepted);
    assert_eq!(world.send_with(&click, "purchase", &tx("A")).outcome, Outcome::Duplicate);
    assert_eq!(world.send_with(&other, "purchase", &tx("A")).outcome, Outcome::Duplicate);
    assert_eq!(world.send_with(&click, "purchase", &tx("B")).outcome, Outcome::Accepted);
    assert_eq!(world.successes("purchase"), 2);
}

/// Sends the same purchase twice, so far apart; with the sender's time or without.
fn check_retry(apart_ms: i64, timed: bool, expected: Outcome) {
    let mut world = World::new();
    let click = world.click();
    let sent = (world.now.0 / SECOND_MS).to_string();
    let more = if timed { vec![("created_at", sent.as_str())] } else { vec![("x", "y")] };
    let first = world.send_with(&click, "purchase", &more);
    assert!(first.flags.contains(&Flag::NoTransactionId));
    world.wait(apart_ms);
    assert_eq!(world.send_with(&click, "purchase", &more).outcome, expected, "{apart_ms} {timed}");
    let different = world.send_with(&click, "purchase", &[("x", "z")]);
    assert_eq!(different.outcome, Outcome::Accepted);
}

#[test]
fn rule_8_retries_without_a_transaction() {
    check_retry(0, false, Outcome::Duplicate);
    check_retry(HOUR_MS, false, Outcome::Duplicate);
    check_retry(HOUR_MS + 1, false, Outcome::Accepted);
    check_retry(25 * HOUR_MS, true, Outcome::Duplicate);
    check_retry(25 * HOUR_MS + 1, true, Outcome::Accepted);
}

#[test]
fn rule_9_every_event_of_a_level() {
    for (rule, expected) in
        [(SequenceRule::Any, ("Success", "")), (SequenceRule::All, ("Pending", "WAITING_SEQUENCE"))]
    {
        let mut world = World::with(|offer| {
            offer.sequence_rule = rule;
            offer.events.push(event("FTUE", Some(1), 0));
        });
        let click = world.click();
        world.send(&click, "Install");
        world.send(&click, "s2s_level 200");
        assert_eq!(world.stands(&click, "s2s_level 200"), expected, "{rule}");
        world.send(&click, "FTUE");
        assert_eq!(world.stands(&click, "s2s_level 200"), ("Success", ""), "{rule}");
    }
}

#[test]
fn rule_9_releases_in_cascade_with_the_first_time_of_arrival() {
    let mut world = World::new();
    let click = world.click();
    world.send(&click, "s2s_level 400");
    let arrived = world.now;
    world.wait(HOUR_MS);
    world.send(&click, "s2s_level 200");
    world.wait(HOUR_MS);
    let install = world.send(&click, "Install");
    assert_eq!(install.outcome, Outcome::Accepted);
    let held = world.row(&click, "s2s_level 400").unwrap();
    assert_eq!(held.reason, Some(Reason::Hold));
    assert_eq!((held.received_at, held.due_at), (arrived, Some(arrived.plus_ms(7 * DAY_MS))));
    assert_eq!(held.postback_id, Some(install.postback_id));
}

#[test]
fn rule_9_a_prerequisite_rejected_later() {
    let mut world = World::new();
    let click = world.click();
    for event in ["Install", "s2s_level 200", "s2s_level 400"] {
        world.send(&click, event);
    }
    world.send_with(&click, "s2s_level 200", &[("status", "rejected")]);
    assert_eq!(world.stands(&click, "s2s_level 400"), ("Rejected", "PREREQUISITE_REJECTED"));
    world.send_with(&click, "Install", &[("status", "rejected")]);
    assert_eq!(world.stands(&click, "s2s_level 200"), ("Rejected", "ADVERTISER_REJECTED"));
    let mut world = World::new();
    let click = world.click();
    world.send(&click, "Install");
    world.send(&click, "s2s_level 200");
    world.send_with(&click, "Install", &[("status", "rejected")]);
    let stays = world.row(&click, "s2s_level 200").unwrap();
    assert_eq!(stays.status, ConversionStatus::Success);
    assert_eq!(stays.flags, [Flag::PrerequisiteRejectedLater]);
}

#[test]
fn rule_9_want_of_room_meets_a_level() {
    let mut world = World::with(|offer| offer.events[0].caps.total = Some(0));
    let click = world.click();
    assert_eq!(world.send(&click, "Install").reason, Some(Reason::CapReached));
    assert_eq!(world.send(&click, "s2s_level 200").outcome, Outcome::Accepted);
}

#[test]
fn rule_10_at_its_boundary() {
    for (after_ms, expected) in
        [(10 * MINUTE_MS - 1, Some(Reason::TooSoon)), (10 * MINUTE_MS, None)]
    {
        let mut world = World::with(|offer| offer.events[1].minimum_ms = 10 * MINUTE_MS);
        let click = world.click();
        world.send(&click, "Install");
        world.wait(after_ms);
        assert_eq!(world.send(&click, "s2s_level 200").reason, expected, "{after_ms}");
        // It does not block: later it is decided anew, as the next revision.
        world.wait(HOUR_MS);
        let again = world.send(&click, "s2s_level 200");
        assert_eq!(again.outcome == Outcome::Accepted, expected.is_some());
    }
}

/// A cap on Install, one conversion, and a second one so much later.
fn check_period(caps: Caps, zone: &str, later_ms: i64, expected: Option<Reason>) {
    let mut world = World::with(|offer| {
        offer.events[0].caps = caps;
        offer.time_zone = zone.to_owned();
    });
    let (first, second) = (world.click(), world.click());
    assert_eq!(world.send(&first, "Install").reason, None);
    world.wait(later_ms);
    assert_eq!(world.send(&second, "Install").reason, expected, "{caps:?} {zone} {later_ms}");
}

#[test]
fn rule_11_periods() {
    let none = Caps::default();
    let full = Some(Reason::CapReached);
    // Histories start on a Monday at noon, UTC.
    let midnight = 12 * HOUR_MS;
    let daily = Caps { daily: Some(1), ..none };
    check_period(daily, "UTC", midnight - 1, full);
    check_period(daily, "UTC", midnight, None);
    check_period(daily, "America/New_York", midnight, full);
    check_period(daily, "America/New_York", midnight + 5 * HOUR_MS - 1, full);
    check_period(daily, "America/New_York", midnight + 5 * HOUR_MS, None);
    let weekly = Caps { weekly: Some(1), ..none };
    check_period(weekly, "UTC", midnight + 6 * DAY_MS - 1, full);
    check_period(weekly, "UTC", midnight + 6 * DAY_MS, None);
    let monthly = Caps { monthly: Some(1), ..none };
    check_period(monthly, "UTC", midnight + 26 * DAY_MS - 1, full);
    check_period(monthly, "UTC", midnight + 26 * DAY_MS, None);
    let total = Caps { total: Some(1), ..none };
    check_period(total, "UTC", 29 * DAY_MS, full);
}

#[test]
fn rule_11_a_rejection_gives_back_in_its_own_period() {
    let mut world = World::with(|offer| offer.events[0].caps.daily = Some(1));
    let clicks: Vec<_> = (0..4).map(|_| world.click()).collect();
    world.send(&clicks[0], "Install");
    world.wait(DAY_MS);
    assert_eq!(world.send(&clicks[1], "Install").reason, None);
    // Yesterday's slot is free again; today's is not.
    world.send_with(&clicks[0], "Install", &[("status", "rejected")]);
    assert_eq!(world.send(&clicks[2], "Install").reason, Some(Reason::CapReached));
    world.send_with(&clicks[1], "Install", &[("status", "rejected")]);
    assert_eq!(world.send(&clicks[3], "Install").reason, None);
}

#[test]
fn rule_11_counts_over_clones_and_at_shares() {
    let mut world = World::with(|offer| offer.events[0].caps.total = Some(2));
    let mut capped = share("share-a", ROOT, "publisher-a");
    let caps = Caps { total: Some(1), ..Caps::default() };
    let install = EventId::new("Install").unwrap();
    capped.events = vec![EventOverride {
        event: install,
        name: None,
        revenue: None,
        payout: None,
        reward: None,
        caps,
    }];
    world.apply(Document::Share(Arc::new(capped)));
    let clicks = ["share-a", "share-a", "share-c", "share-b"].map(|id| world.click_at(id));
    let reasons = clicks.each_ref().map(|click| world.send(click, "Install").reason);
    let full = Some(Reason::CapReached);
    assert_eq!(reasons, [None, full, None, full]);
}

#[test]
fn rule_11_budget_and_availability() {
    let mut world = World::with(|offer| offer.budget = Some(Micros(2_500_000)));
    let clicks: Vec<_> = (0..4).map(|_| world.click()).collect();
    let root = AvailabilityScope::RootOffer(OfferId::new(ROOT).unwrap());
    world.send(&clicks[0], "Install");
    assert!(world.availability.is_empty());
    world.send(&clicks[1], "Install");
    // Half a unit is left, and nothing costs as little.
    let [used_up] = &world.availability[..] else { panic!("{:?}", world.availability) };
    assert_eq!((&used_up.scope, used_up.exhausted), (&root, Some(Reason::BudgetExhausted)));
    assert_eq!(world.send(&clicks[2], "Install").reason, Some(Reason::BudgetExhausted));
    world.send_with(&clicks[0], "Install", &[("status", "rejected")]);
    assert_eq!(world.availability.last().unwrap().exhausted, None);
    assert_eq!(world.send(&clicks[3], "Install").reason, None);
    assert!(world.availability.last().unwrap().exhausted.is_some());
    world.configure(|offer| offer.budget = Some(Micros(10_000_000)));
    assert_eq!(world.availability.last().unwrap().exhausted, None);
    assert_eq!(world.availability.len(), 4);
}

#[test]
fn availability_of_a_daily_cap_ends_with_the_day() {
    let mut world = World::with(|offer| offer.events[0].caps.daily = Some(1));
    let click = world.click();
    world.send(&click, "Install");
    let used_up = world.availability.last().unwrap();
    assert_eq!(used_up.exhausted, Some(Reason::CapReached));
    assert_eq!(used_up.until, Some(START.plus_ms(12 * HOUR_MS)));
    // A cap lowered to what is used already is published when it is applied.
    let mut world = World::new();
    let click = world.click();
    world.send(&click, "Install");
    world.configure(|offer| offer.events[0].caps.total = Some(1));
    assert_eq!(world.availability.last().unwrap().exhausted, Some(Reason::CapReached));
}

#[test]
fn tests_touch_nothing() {
    let mut world = World::with(|offer| {
        offer.events[0].caps.total = Some(1);
        offer.budget = Some(Micros(1_000_000));
    });
    let mut test_click = world.click();
    test_click.test = true;
    let click = world.click();
    assert!(world.send(&test_click, "Install").test);
    assert!(world.row(&test_click, "Install").unwrap().test);
    // A sandbox at a real click is apart from what really happens to it.
    let sandbox = world.send_with(&click, "Install", &[("environment", "sandbox")]);
    assert!(sandbox.test);
    assert!(world.availability.is_empty());
    let real = world.send(&click, "Install");
    assert_eq!((real.outcome, real.reason, real.test), (Outcome::Accepted, None, false));
    assert_ne!(real.conversion_id, sandbox.conversion_id);
    assert_eq!(world.send(&click, "Install").outcome, Outcome::Duplicate);
}
