//! Years of traffic of every kind: the state follows what is alive, never what has been.

use crate::support::offers::{ROOT, share};
use crate::support::world::{START, World};
use schemas::offer::EventOverride;
use schemas::time::{DAY_MS, HOUR_MS};
use schemas::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const YEARS: i64 = 5;
const DAYS_A_YEAR: i64 = 365;
const CLICKS_A_DAY: usize = 5;
/// The longest that anything of a click lives here: the hold, then the reversal window, and what
/// postbacks may be late. Decisions older than this are not compared with any more.
const LIFETIME_DAYS_MAX: i64 = 120;
/// Counters stay for so long: decisions by hand may still count in their month.
const COUNTER_YEARS: i64 = 3;
/// What a click leaves on a day when it is alive, at most; a day's clicks are alive together.
const STATE_BYTES_A_CLICK_MAX: usize = 1_500;
/// What stays without any traffic: totals and scopes of three shares and two offers.
const ENTRIES_LEFT_MAX: usize = 40;

/// Entries and bytes of the state by their kind, see `rules::keys`.
#[derive(Debug, Clone, Default)]
struct Size(BTreeMap<char, (usize, usize)>);

impl Size {
    fn of(world: &World) -> Self {
        let mut size = Self::default();
        for (key, value) in &world.store.0 {
            let (entries, bytes) = size.0.entry(char::from(key[0])).or_default();
            *entries += 1;
            *bytes += key.len() + value.len();
        }
        size
    }

    /// Each kind's greatest so far.
    fn raise_to(&mut self, other: &Self) {
        for (kind, (entries, bytes)) in &other.0 {
            let greatest = self.0.entry(*kind).or_default();
            *greatest = (greatest.0.max(*entries), greatest.1.max(*bytes));
        }
    }

    fn bytes(&self) -> usize {
        self.0.values().map(|(_, bytes)| bytes).sum()
    }

    fn entries(&self) -> usize {
        self.0.values().map(|(entries, _)| entries).sum()
    }
}

fn offers() -> World {
    let mut world = World::with(|offer| {
        for event in &mut offer.events {
            event.deadline_ms = 45 * DAY_MS;
        }
        let caps = Caps { daily: Some(4), weekly: Some(25), monthly: Some(110), total: None };
        offer.events[0].caps = caps;
        offer.events[3].caps.total = Some(1_000_000);
        offer.budget = Some(Micros(i64::MAX));
    });
    world.apply(Document::Share(Arc::new(Share {
        events: vec![EventOverride {
            event: EventId::new("Install").unwrap(),
            name: None,
            revenue: None,
            payout: None,
            reward: None,
            caps: Caps { daily: Some(3), ..Caps::default() },
        }],
        ..share("share-b", ROOT, "publisher-b")
    })));
    world
}

/// The same every day but for the date: a member's way to the hold and through it, one that waits
/// in vain, repeats, transactions, refunds, reversals early and late, decisions by hand, a test.
fn a_day(world: &mut World, day: i64) {
    let shares = ["share-a", "share-b", "share-c", "share-a", "share-a"];
    let clicks: [ResolvedClick; CLICKS_A_DAY] = std::array::from_fn(|at| {
        let mut click = world.click_at(shares[at]);
        // New members all the time, and one who comes again and again.
        click.member = match at {
            0 => Some(day.to_be_bytes()),
            1 => Some([0xff; 8]),
            _ => None,
        };
        click.test = at == 4;
        click
    });
    world.wait(HOUR_MS);
    let transaction = format!("T{day}");
    for event in ["Install", "s2s_level 200", "s2s_level 400"] {
        world.send(&clicks[0], event);
        world.send(&clicks[0], event);
    }
    world.send(&clicks[1], "Install");
    world.send_with(&clicks[1], "purchase", &[("transaction_id", &transaction)]);
    world.send_with(&clicks[1], "purchase", &[("transaction_id", &transaction), ("revenue", "-3")]);
    world.send(&clicks[2], "s2s_level 200");
    let seconds = (world.now.0 / 1_000).to_string();
    world.send_with(&clicks[2], "purchase", &[("event_time", &seconds)]);
    world.send_with(&clicks[2], "purchase", &[("event_time", &seconds)]);
    world.send_with(&clicks[3], "Install", &[("status", "rejected")]);
    world.send_with(&clicks[3], "s2s_level 400", &[("status", "rejected")]);
    world.send(&clicks[3], "Install");
    for event in ["Install", "s2s_level 200", "s2s_level 400", "purchase"] {
        world.send(&clicks[4], event);
    }
    let kind = match day % 3 {
        0 => CommandKind::Reject,
        1 => CommandKind::Approve { over_limit: true },
        _ => CommandKind::Approve { over_limit: false },
    };
    if let Some(row) = world.row(&clicks[0], "s2s_level 400").cloned() {
        world.command(&row, kind, &clicks[0]);
    }
    world.wait(23 * HOUR_MS);
}

#[test]
fn years_leave_no_more_than_a_season() {
    let mut world = offers();
    let mut first_years = Size::default();
    let mut last_years = Size::default();
    let mut decided = 0;
    for day in 0..YEARS * DAYS_A_YEAR {
        if day % 30 == 0 {
            // Another amount, another version.
            world.configure(|offer| offer.events[1].revenue = Micros(1_000_000 + day));
        }
        a_day(&mut world, day);
        let size = Size::of(&world);
        // By then the oldest counters have gone for the first time.
        let first = day < (COUNTER_YEARS * DAYS_A_YEAR) + 62;
        if first { &mut first_years } else { &mut last_years }.raise_to(&size);
        let before = world.rows.len();
        let oldest = world.now.plus_ms(-LIFETIME_DAYS_MAX * DAY_MS);
        world.rows.retain(|row| row.decided_at > oldest);
        decided += before - world.rows.len();
        world.availability.retain(|it| it.at > oldest);
    }
    decided += world.rows.len();
    println!("{decided} revisions in {YEARS} years; the most of each kind (entries, bytes):");
    println!("  to the end of year {COUNTER_YEARS}: {first_years:?}");
    println!("  after it:             {last_years:?}");
    assert!(decided as i64 > YEARS * DAYS_A_YEAR * 8, "{decided} revisions: it hardly ran");
    for kind in ['c', 'C', 'k', 'm', 'q', 'r', 's', 't', 'p'] {
        assert!(first_years.0.contains_key(&kind), "nothing made an entry {kind:?}");
    }
    for (kind, (entries, bytes)) in &last_years.0 {
        let (entries_before, bytes_before) = first_years.0[kind];
        // Day for day the same traffic; months of 28 and 31 days make the difference.
        assert!(*entries <= entries_before + entries_before / 20 + 2, "{kind:?}: {last_years:?}");
        assert!(*bytes <= bytes_before + bytes_before / 20 + 100, "{kind:?}: {last_years:?}");
    }
    let alive_max = LIFETIME_DAYS_MAX as usize * CLICKS_A_DAY;
    assert!(last_years.bytes() <= alive_max * STATE_BYTES_A_CLICK_MAX, "{}", last_years.bytes());

    world.wait((COUNTER_YEARS * 366 + LIFETIME_DAYS_MAX) * DAY_MS);
    let left = Size::of(&world);
    println!("  without traffic:      {left:?}");
    assert!(world.left_of_clicks().is_empty(), "{left:?}");
    assert!(left.entries() <= ENTRIES_LEFT_MAX, "{left:?}");
    assert!(world.now > START.plus_ms(8 * DAYS_A_YEAR * DAY_MS));
}
