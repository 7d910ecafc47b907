//! How often the rules allocate, with a caller that does not: never, but for what is named here.

use crate::support::allocations;
use crate::support::fixed::{Fixed, Written};
use crate::support::offers::ROOT;
use crate::support::world::{START, World};
use rules::{ClickReference, MoreDue, StepInput, fire_due, step};
use schemas::time::{DAY_MS, HOUR_MS};
use schemas::*;
use std::sync::Arc;

/// A transaction id that is too long to lie in place.
const LONG_TRANSACTION: &str = "0123456789012345678901234567890123456789";
/// It is allocated once when it is read from the postback, and its revision shares it.
const LONG_TRANSACTION_ALLOCATIONS: u64 = 1;
/// A time that cannot be read: the parser's own error, which says why.
const UNREADABLE_TIME_ALLOCATIONS: u64 = 4;
/// A timer brings no click with it: opened click, its id and sub-ids are read from the state.
const TIMER_ALLOCATIONS: u64 = 4;

/// One partition, counted.
struct Counted {
    world: World,
    store: Fixed,
    out: Written,
    /// What was measured: a name, how it was decided, the allocations and how many are allowed.
    lines: Vec<(String, String, u64, u64)>,
}

/// A click of the world with a name for its postbacks.
struct Sender<'a> {
    click: ClickReference<'a>,
    token: &'static str,
}

impl Counted {
    fn new(change: impl FnOnce(&mut Offer)) -> Self {
        let world = World::with(change);
        let out = Written::new();
        Self { world, store: Fixed::new(), out, lines: Vec::new() }
    }

    /// Timers are for another test.
    fn let_timers_fire(&mut self) {
        let Self { world, store, out, .. } = self;
        while fire_due(store, &world.catalog, world.now, 100, out).unwrap() == MoreDue::Yes {}
    }

    /// Runs one postback, and the timers before it, as the processor does.
    fn send(&mut self, name: &str, sender: &Sender<'_>, query: &[(&str, &str)], allowed: u64) {
        let mut parameters = vec![("gk_click_id", sender.token), ("padding", "what nobody reads")];
        parameters.extend(query);
        let postback = self.world.postback(&parameters);
        self.deliver(name, &postback, sender.click, allowed);
    }

    fn deliver(
        &mut self,
        name: &str,
        postback: &Postback,
        click: ClickReference<'_>,
        allowed: u64,
    ) {
        self.world.now = self.world.now.plus_ms(1);
        let (store, out, now) = (&mut self.store, &mut self.out, self.world.now);
        let catalog = &self.world.catalog;
        out.clear();
        let input = StepInput::Postback { postback, click };
        let (count, result) = allocations::during(|| {
            fire_due(store, catalog, now.plus_ms(-1), 100, out)?;
            step(store, catalog, input, now, out)
        });
        result.unwrap();
        let decided = format!("{} {} {}", out.outcome, out.reason, out.conversions);
        self.lines.push((name.to_owned(), decided, count, allowed));
    }
}

fn at<'a>(click: &'a ResolvedClick) -> Sender<'a> {
    Sender { click: ClickReference::Resolved(click), token: "token" }
}

/// Everything once, with clicks of its own.
fn play(counted: &mut Counted, round: u8) {
    let start = START.plus_ms(i64::from(round) * 200 * DAY_MS);
    counted.world.now = start;
    counted.let_timers_fire();
    let click = counted.world.click();
    let sender = at(&click);
    let install = [("cnv_event_id", "Install")];
    counted.send("accepted", &sender, &install, 0);
    counted.send("duplicate", &sender, &install, 0);
    counted.send("second level", &sender, &[("cnv_event_id", "s2s_level 200")], 0);
    counted.send("held", &sender, &[("cnv_event_id", "s2s_level 400")], 0);
    counted.send("taken back", &sender, &[("status", "rejected"), install[0]], 0);
    counted.send("the whole click taken back", &sender, &[("status", "rejected")], 0);
    let rejected: [(&str, &[(&str, &str)]); 4] = [
        ("unknown event", &[("cnv_event_id", "install")]),
        ("no event", &[("cnv_event_id", "")]),
        ("macro", &[("cnv_event_id", "{event_name}")]),
        ("unknown status", &[install[0], ("status", "perhaps")]),
    ];
    for (name, query) in rejected {
        counted.send(name, &sender, query, 0);
    }
    counted.send("ignored", &sender, &[install[0], ("activity_kind", "uninstall")], 0);
    let missing = Sender { click: ClickReference::Missing, token: "" };
    counted.send("no click", &missing, &install, 0);
    let invalid = Sender { click: ClickReference::Invalid, token: "made up" };
    counted.send("invalid click", &invalid, &install, 0);

    let full = [
        install[0],
        ("revenue_float", "4.99"),
        ("currency", "usd"),
        ("created_at", "1767614400"),
        ("transaction_id", "123e4567-e89b-12d3-a456-426614174000"),
        ("environment", "production"),
        ("activity_kind", "install"),
    ];
    let mut click = counted.world.click();
    (click.member, click.subs.0[3]) = (Some([round; 8]), Some("a sub-id".into()));
    counted.send("member, sub-ids, amount, transaction", &at(&click), &full, 0);
    let other = ResolvedClick { member: click.member, ..counted.world.click() };
    counted.send("member elsewhere", &at(&other), &install, 0);

    for (name, time, allowed) in [
        ("civil time", "2026-01-05 12:00:00.5", 0),
        ("time with an offset", "2026-01-05T13:00:00+01:00", 0),
        ("unreadable time", "{created_at}", UNREADABLE_TIME_ALLOCATIONS),
    ] {
        let click = counted.world.click();
        counted.send(name, &at(&click), &[install[0], ("event_time", time)], allowed);
    }

    let click = counted.world.click();
    let sender = at(&click);
    let purchase = ("cnv_event_id", "purchase");
    let transaction = ["T-1", "T-2"][usize::from(round)];
    counted.send("repeatable", &sender, &[purchase, ("transaction_id", transaction)], 0);
    counted.send("repeated", &sender, &[purchase, ("transaction_id", transaction)], 0);
    counted.send("without a transaction", &sender, &[purchase], 0);
    counted.send("its retry", &sender, &[purchase], 0);
    let long = format!("{LONG_TRANSACTION}{round}");
    let long = [purchase, ("transaction_id", long.as_str())];
    counted.send("long transaction", &sender, &long, LONG_TRANSACTION_ALLOCATIONS);

    let click = counted.world.click();
    let sender = at(&click);
    counted.send("waiting", &sender, &[("cnv_event_id", "s2s_level 200")], 0);
    counted.send("waiting too", &sender, &[("cnv_event_id", "s2s_level 400")], 0);
    counted.send("both released", &sender, &install, 0);

    let mut click = counted.world.click_at("share-c");
    click.details = true;
    let mut subs = SubIds::default();
    subs.0[0] = Some("x".repeat(300).into());
    let clicked_at = click.clicked_at();
    let details =
        ClickDetails { click: click.key, root_offer: click.root_offer.clone(), clicked_at, subs };
    let (store, out, catalog) = (&mut counted.store, &mut counted.out, &counted.world.catalog);
    step(store, catalog, StepInput::ClickDetails(&details), counted.world.now, out).unwrap();
    counted.send("a clone, with click details", &at(&click), &install, 0);

    let postback = counted.world.postback(&[install[0], ("gk_click_id", "token")]);
    let click = counted.world.click();
    let click = ClickReference::Resolved(&click);
    counted.deliver("first of two copies", &postback, click, 0);
    counted.deliver("our own repeat", &postback, click, 0);

    let click = counted.world.click();
    counted.world.now = start.plus_ms(60 * DAY_MS);
    counted.let_timers_fire();
    counted.send("after the window", &at(&click), &install, 0);
}

fn report(counted: &Counted, seen: &[&str]) {
    for (name, decided, count, allowed) in &counted.lines {
        println!("{count:>3} of {allowed}  {name}: {decided}");
    }
    for (name, decided, count, allowed) in &counted.lines {
        assert!(count <= allowed, "{name}: {decided}: {count} allocations");
    }
    for expected in seen {
        let found = counted.lines.iter().any(|(_, decided, ..)| decided.starts_with(expected));
        assert!(found, "{expected} was not seen");
    }
}

/// The first round warms the buffers up; the second is counted.
#[test]
fn a_plain_postback_allocates_nothing() {
    let mut counted = Counted::new(|_| {});
    play(&mut counted, 0);
    counted.lines.clear();
    play(&mut counted, 1);
    report(
        &counted,
        &[
            "accepted  1",
            "accepted HOLD 1",
            "accepted REVERSAL_RECORDED",
            "accepted  3",
            "duplicate DUPLICATE 0",
            "rejected UNKNOWN_EVENT 0",
            "rejected INVALID_CLICK_ID 0",
            "rejected CLICK_WINDOW_EXPIRED 0",
            "waiting WAITING_SEQUENCE 1",
            "ignored IGNORED 0",
        ],
    );
}

/// Caps of every kind in a zone with daylight saving, and a budget; used up in the end, which the
/// ingesters are told.
#[test]
fn caps_and_budget_allocate_nothing() {
    let capped = |total: u64| {
        move |offer: &mut Offer| {
            offer.time_zone = "Europe/Berlin".to_owned();
            offer.budget = Some(Micros(10_000_000_000));
            for event in &mut offer.events {
                event.caps = Caps {
                    daily: Some(total),
                    weekly: Some(1_000),
                    monthly: Some(1_000),
                    total: Some(total),
                };
            }
        }
    };
    let mut counted = Counted::new(capped(6));
    for number in 0..8 {
        if number == 4 {
            counted.lines.clear();
        }
        counted.world.now = counted.world.now.plus_ms(HOUR_MS);
        let click = counted.world.click();
        counted.send("capped", &at(&click), &[("cnv_event_id", "Install")], 0);
        let told = [0, 1][usize::from(number == 5)];
        assert_eq!(counted.out.availability, told, "{number}");
    }
    report(&counted, &["accepted  1", "rejected CAP_REACHED 1"]);
}

/// A held conversion that succeeds, a waiting one that gives up.
#[test]
fn timers_allocate_little() {
    let mut counted = Counted::new(|_| {});
    for round in 0..2 {
        let clicks = [counted.world.click(), counted.world.click()];
        for event in ["Install", "s2s_level 200", "s2s_level 400"] {
            counted.send("held", &at(&clicks[0]), &[("cnv_event_id", event)], 0);
        }
        counted.send("waiting", &at(&clicks[1]), &[("cnv_event_id", "s2s_level 200")], 0);
        counted.world.now = counted.world.now.plus_ms(8 * DAY_MS);
        counted.out.clear();
        let Counted { world, store, out, .. } = &mut counted;
        let (count, more) =
            allocations::during(|| fire_due(store, &world.catalog, world.now, 100, out));
        assert_eq!((more, out.conversions), (Ok(MoreDue::No), 2));
        println!("allocations of two timers: {count}");
        assert!(round == 0 || count <= 2 * TIMER_ALLOCATIONS, "{count}");
    }
    // The buffers hold nothing between steps, not even a part of the configuration.
    assert_eq!(Arc::strong_count(counted.world.catalog.offer(ROOT).unwrap()), 1);
}
