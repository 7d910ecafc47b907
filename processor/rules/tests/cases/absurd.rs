//! What no sane sender or operator would give: decided with a reason, without a panic, and without
//! making the state large.

use crate::support::offers::{ROOT, event};
use crate::support::world::{World, token};
use rules::ClickReference;
use schemas::money::MICROS_PER_UNIT;
use schemas::offer::EVENTS_MAX;
use schemas::time::DAY_MS;
use schemas::*;

const MEGABYTE: usize = 1 << 20;
/// A click, its context while it is held, counters and ids: nothing of what was sent is kept whole.
const STATE_BYTES_MAX: usize = 2_000;

fn state_bytes(world: &World) -> usize {
    world.store.0.iter().map(|(key, value)| key.len() + value.len()).sum()
}

fn check(
    parameters: &[(&str, &str)],
    event: &str,
    outcome: Outcome,
    reason: Option<Reason>,
    flags: &[Flag],
) {
    let mut world = World::new();
    let click = world.click();
    let found = world.send_with(&click, event, parameters);
    let shown: String = format!("{event} {parameters:?}").chars().take(120).collect();
    let expected = (outcome, reason, flags);
    assert_eq!((found.outcome, found.reason, found.flags.as_slice()), expected, "{shown}");
    assert!(state_bytes(&world) < STATE_BYTES_MAX, "{} bytes: {shown}", state_bytes(&world));
}

#[test]
fn a_megabyte_as_an_event_id() {
    use Outcome::Rejected;
    let long = "x".repeat(MEGABYTE);
    check(&[], &long, Rejected, Some(Reason::UnknownEvent), &[]);
    check(&[], &format!("Install{long}"), Rejected, Some(Reason::UnknownEvent), &[]);
    check(&[], &format!("{{{long}}}"), Rejected, Some(Reason::MacroNotReplaced), &[]);
}

#[test]
fn a_megabyte_as_a_transaction() {
    let mut world = World::new();
    let (click, long) = (world.click(), "x".repeat(MEGABYTE));
    let send = |world: &mut World, id: &str, amount: &str| {
        let parameters = [("transaction_id", id), ("revenue_float", amount), ("currency", "USD")];
        world.send_with(&click, "purchase", &parameters)
    };
    assert_eq!(send(&mut world, &long, "5").outcome, Outcome::Accepted);
    assert_eq!(send(&mut world, &long, "5").outcome, Outcome::Duplicate);
    assert_eq!(send(&mut world, &long[1..], "5").outcome, Outcome::Accepted);
    assert!(state_bytes(&world) < STATE_BYTES_MAX, "{} bytes", state_bytes(&world));
    // Rows show its beginning and its hash, each revision the same.
    let shown = world.row(&click, "purchase").unwrap().transaction_id.clone().unwrap();
    assert!(shown.len() <= 129 && shown.starts_with("xxxx"), "{shown}");
    // The whole one finds its sale again.
    let refunded = send(&mut world, &long[1..], "-5");
    assert_eq!(refunded.reason, Some(Reason::RefundRecorded));
    assert_eq!(world.row(&click, "purchase").unwrap().transaction_id, Some(shown));
    assert_eq!(send(&mut world, &long[2..], "-5").reason, Some(Reason::RefundUnmatched));
    world.wait(400 * DAY_MS);
    assert!(world.left_of_clicks().is_empty());
}

#[test]
fn money_that_is_none() {
    let (digits, invalid) = ("9".repeat(400), &[Flag::InvalidRevenue][..]);
    for amount in [
        "NaN",
        "-NaN",
        "inf",
        "-inf",
        "Infinity",
        "-Infinity",
        "1e309",
        "1e-400",
        "-1e18",
        "1,00",
        "$1",
        "0x10",
        "--1",
        "9223372036854775807",
        "-9223372036854775808",
        &digits,
    ] {
        let parameters = [("revenue_float", amount), ("currency", "USD")];
        check(&parameters, "Install", Outcome::Accepted, None, invalid);
    }
    for currency in ["DOGE", "$", "dollars"] {
        let parameters = [("revenue_float", "1"), ("currency", currency)];
        check(&parameters, "Install", Outcome::Accepted, None, invalid);
    }
    for amount in ["-1", "-0.000001", "-9223372036854.775807"] {
        let parameters = [("revenue_float", amount), ("currency", "USD")];
        let unmatched = Some(Reason::RefundUnmatched);
        check(&parameters, "Install", Outcome::Rejected, unmatched, &[]);
    }
}

/// Every parameter in which some sender's profile gives its time.
fn with_each_time_parameter(mut check: impl FnMut(&mut World, &ResolvedClick, &str)) {
    let all = [
        Integration::Adjust,
        Integration::Appsflyer,
        Integration::Branch,
        Integration::Singular,
        Integration::Kochava,
    ];
    for integration in all {
        let mut world = World::with(|offer| offer.integration = integration);
        let offer = world.catalog.offer(ROOT).unwrap();
        let names = offer.profile().times.clone();
        for name in names {
            let click = world.click();
            check(&mut world, &click, &name);
        }
    }
}

#[test]
fn times_that_are_none() {
    let (most, least) = (i64::MAX.to_string(), i64::MIN.to_string());
    let digits = "9".repeat(400);
    let times = [
        "1",
        "-1",
        "0",
        &most,
        &least,
        &digits,
        "253402300799",
        "253402300799999",
        "0000-01-01",
        "0000-01-01T00:00:00Z",
        "-9999-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "9999-12-31 23:59:59.999999999",
        "99999-01-01T00:00:00Z",
        "1900-01-01",
        "2026-13-45 25:61:61",
        "NaN",
        "1e18",
    ];
    let mut tried = 0;
    with_each_time_parameter(|world, click, name| {
        for time in times {
            let click = ResolvedClick { key: world.click().key, ..click.clone() };
            let found = world.send_with(&click, "Install", &[(name, time)]);
            let flagged = found.flags.contains(&Flag::ImplausibleEventTime);
            assert_eq!((found.outcome, flagged), (Outcome::Accepted, true), "{name}={time}");
            tried += 1;
        }
    });
    assert!(tried >= 5 * times.len(), "{tried}");
}

#[test]
fn arrivals_at_the_end_of_time() {
    for received_at in [i64::MIN, -62_135_596_800_000, 0, 253_402_300_799_999, i64::MAX] {
        let mut world = World::with(|offer| {
            offer.events[0].caps =
                Caps { daily: Some(5), weekly: Some(5), monthly: Some(5), total: Some(5) };
            offer.events[0].pending_ms = i64::MAX;
        });
        let click = world.click();
        let token = token(&click);
        let mut postback =
            world.postback(&[("cnv_event_id", "Install"), ("gk_click_id", token.as_str())]);
        postback.received_at = UnixMillis(received_at);
        let decided = world.deliver(&postback, ClickReference::Resolved(&click)).unwrap();
        let outcome = decided.postback.unwrap();
        assert!(
            matches!(outcome.reason, None | Some(Reason::Hold | Reason::ClickWindowExpired)),
            "{received_at}: {outcome:?}"
        );
        // Whatever it counted in, the next days come and go.
        world.wait(3 * DAY_MS);
    }
}

/// A budget as large as its number: the sum that does not fit any more is refused, not forgotten.
#[test]
fn sums_that_do_not_fit_are_refused() {
    for budget in [None, Some(Micros(i64::MAX)), Some(Micros(i64::MAX - 1))] {
        let most = Micros(i64::MAX - 1);
        let mut world = World::with(|offer| {
            offer.budget = budget;
            offer.events[0].revenue = most;
        });
        let clicks = [world.click(), world.click()];
        assert_eq!(world.send(&clicks[0], "Install").outcome, Outcome::Accepted);
        let refused = world.send(&clicks[1], "Install");
        assert_eq!(refused.reason, Some(Reason::BudgetExhausted), "{budget:?}");
        let root = AvailabilityScope::RootOffer(OfferId::new(ROOT).unwrap());
        assert_eq!(world.takes_clicks(&root), budget.is_none(), "{budget:?}");
        // Given back, it is there again, to the last micro.
        let row = world.row(&clicks[0], "Install").unwrap().clone();
        assert_eq!(world.command(&row, CommandKind::Reject, &clicks[0]), CommandEffect::Applied);
        assert_eq!(world.send(&clicks[1], "Install").outcome, Outcome::Accepted);
    }
}

#[test]
fn ten_thousand_events_in_an_offer() {
    // More than an apply takes: who writes to the log otherwise must not bring a partition down.
    const EVENTS: usize = 10_000;
    const _: () = assert!(EVENTS > EVENTS_MAX);
    let mut world = World::with(|offer| {
        offer.events = (0..EVENTS).map(|n| event(&format!("e{n}"), None, 1)).collect();
    });
    let click = world.click();
    for name in ["e0", "e9999"] {
        assert_eq!(world.send(&click, name).outcome, Outcome::Accepted);
        assert_eq!(world.send(&click, name).outcome, Outcome::Duplicate);
    }
    assert_eq!(world.send(&click, "e10000").reason, Some(Reason::UnknownEvent));
}

#[test]
fn amounts_at_the_end_of_what_an_apply_takes() {
    let most = Micros(1_000_000_000_000 * MICROS_PER_UNIT);
    let mut world = World::with(|offer| {
        offer.budget = Some(most);
        offer.events[0].revenue = most;
    });
    let clicks = [world.click(), world.click()];
    assert_eq!(world.send(&clicks[0], "Install").outcome, Outcome::Accepted);
    let exhausted = Some(Reason::BudgetExhausted);
    assert_eq!(world.send(&clicks[1], "Install").reason, exhausted);
    // Given back in full, it is there for the other.
    let row = world.row(&clicks[0], "Install").unwrap().clone();
    assert_eq!(world.command(&row, CommandKind::Reject, &clicks[0]), CommandEffect::Applied);
    assert_eq!(world.send(&clicks[1], "Install").outcome, Outcome::Accepted);
}

#[test]
fn numbers_at_their_end() {
    let mut world = World::with(|offer| {
        offer.attribution_window_ms = i64::MAX;
        offer.sequence_grace_ms = i64::MAX;
        offer.reversal_window_ms = i64::MAX;
        offer.honour_ms = i64::MAX;
        for event in &mut offer.events {
            (event.revenue, event.payout) = (Micros(i64::MAX), Micros(i64::MAX));
            (event.deadline_ms, event.pending_ms) = (i64::MAX, i64::MAX);
            let most = Some(u64::MAX);
            event.caps = Caps { daily: most, weekly: most, monthly: most, total: most };
        }
    });
    for _ in 0..3 {
        let click = world.click();
        assert_eq!(world.send(&click, "Install").reason, Some(Reason::Hold));
        let row = world.row(&click, "Install").unwrap().clone();
        assert_eq!(world.command(&row, CommandKind::Reject, &click), CommandEffect::Applied);
    }
}
