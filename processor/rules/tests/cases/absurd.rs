//! What no sane sender or operator would give: decided with a reason, without a panic, and without
//! making the state large.

use crate::support::offers::event;
use crate::support::world::World;
use schemas::money::MICROS_PER_UNIT;
use schemas::offer::EVENTS_MAX;
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
    let send = |world: &mut World, id: &str| {
        world.send_with(&click, "purchase", &[("transaction_id", id)]).outcome
    };
    assert_eq!(send(&mut world, &long), Outcome::Accepted);
    assert_eq!(send(&mut world, &long), Outcome::Duplicate);
    assert_eq!(send(&mut world, &long[1..]), Outcome::Accepted);
    // It is in each row of its conversion, so it is kept as long as that may change.
    world.wait(400 * schemas::time::DAY_MS);
    assert!(world.left_of_clicks().is_empty());
    assert!(state_bytes(&world) < STATE_BYTES_MAX);
}

#[test]
fn money_that_is_none() {
    let (digits, invalid) = ("9".repeat(400), &[Flag::InvalidRevenue][..]);
    for amount in ["NaN", "-NaN", "inf", "1e309", "1,00", "$1", "0x10", "--1", &digits] {
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

#[test]
fn times_that_are_none() {
    let implausible = &[Flag::ImplausibleEventTime][..];
    for time in ["1", "253402300799", "253402300799999", "9999-12-31T23:59:59Z", "1900-01-01"] {
        check(&[("event_time", time)], "Install", Outcome::Accepted, None, implausible);
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
