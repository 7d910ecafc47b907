//! Every named invariant can fail, and is caught by its name: by what production asks of a step
//! whose state lies, and by what tables, models and simulations ask of rows.

use crate::support::memory::Memory;
use crate::support::offers::ROOT;
use crate::support::world::{START, World, token};
use rules::invariants::{
    Audit, Invariant, Standing, check_decision, check_next, check_outcomes, check_standing,
};
use rules::{ClickReference, Damaged, Output, StepInput, Stepped, Store, fire_due, step};
use schemas::time::DAY_MS;
use schemas::*;

/// A state that forgets, keeps or makes up what a test wants it to.
struct Lying<F> {
    memory: Memory,
    lie: F,
}

impl<F: FnMut(&[u8], &mut Vec<u8>)> Store for Lying<F> {
    type Error = Damaged;

    fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, Damaged> {
        let found = self.memory.get(key, value)?;
        if found {
            (self.lie)(key, value);
        }
        Ok(found)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Damaged> {
        self.memory.put(key, value)
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Damaged> {
        self.memory.delete(key)
    }

    fn first_in(
        &mut self,
        from: &[u8],
        _end: &[u8],
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<bool, Damaged> {
        // Ignores where it should end: timers come before their time.
        self.memory.first_in(from, &[from[0] + 1], key, value)
    }
}

/// Sends one event at a state that lies; what production would count.
fn violations(
    world: &mut World,
    click: &ResolvedClick,
    query: &[(&str, &str)],
    lie: impl FnMut(&[u8], &mut Vec<u8>),
) -> Vec<Invariant> {
    let token = token(click);
    let mut parameters = vec![("gk_click_id", token.as_str())];
    parameters.extend(query);
    let postback = world.postback(&parameters);
    let mut store = Lying { memory: world.store.clone(), lie };
    let mut out = Output::default();
    let click = ClickReference::Resolved(click);
    let input = StepInput::Postback { postback: &postback, click };
    step(&mut store, &world.catalog, input, world.now, &mut out).unwrap();
    assert_eq!(out.decisions.len(), 1, "what is decided stands");
    out.violations
}

const INSTALL: (&str, &str) = ("cnv_event_id", "Install");
const REJECTED: (&str, &str) = ("status", "rejected");

#[test]
fn a_state_that_says_the_truth_breaks_nothing() {
    let mut world = World::new();
    let click = world.click();
    world.send(&click, "Install");
    for query in [&[INSTALL][..], &[INSTALL, REJECTED], &[("cnv_event_id", "s2s_level 200")]] {
        assert_eq!(violations(&mut world, &click, query, |_, _| {}), []);
    }
}

#[test]
fn one_live_conversion() {
    let mut world = World::new();
    let click = world.click();
    world.send(&click, "s2s_level 200");
    // The click's entry with its waiting conversion twice: both are released.
    let twice = |key: &[u8], value: &mut Vec<u8>| {
        if key[0] == b'c' && key.len() == 15 {
            // Format, marks, expiry, the number of pending ones.
            let records = value[6..].to_vec();
            value.extend(records);
        }
    };
    let found = violations(&mut world, &click, &[INSTALL], twice);
    assert!(found.contains(&Invariant::OneLiveConversion), "{found:?}");
}

#[test]
fn revisions_grow() {
    let mut world = World::new();
    let click = world.click();
    world.send(&click, "Install");
    // Its revision is the greatest there can be: the next one would not be greater.
    let last = |key: &[u8], value: &mut Vec<u8>| {
        if key[0] == b'c' && key.len() == 15 {
            // Format, marks, expiry; event, kind, marks, present; then the revision.
            let revision = 5 + 6 + 3;
            assert_eq!(value[revision], 1);
            value.splice(revision..=revision, [0xff, 0xff, 0xff, 0xff, 0x0f]);
        }
    };
    let found = violations(&mut world, &click, &[INSTALL, REJECTED], last);
    assert_eq!(found, [Invariant::RevisionsGrow]);
}

/// The counter or budget is read too small once, as after a lost write, and right the next time.
fn forgets_once(tag: u8) -> impl FnMut(&[u8], &mut Vec<u8>) {
    let mut told = false;
    move |key, value| {
        if key[0] == tag && !std::mem::replace(&mut told, true) {
            *value = if tag == b'k' { Vec::new() } else { vec![0, 0] };
        }
    }
}

#[test]
fn within_limits() {
    let caps = Caps { total: Some(1), ..Caps::default() };
    let budget = Some(Micros(1_000_000));
    for (tag, caps, budget) in [(b'k', caps, None), (b's', Caps::default(), budget)] {
        let mut world = World::with(|offer| {
            offer.events[0].revenue = Micros(1_000_000);
            (offer.events[0].caps, offer.budget) = (caps, budget);
        });
        let clicks = [world.click(), world.click()];
        assert_eq!(world.send(&clicks[0], "Install").outcome, Outcome::Accepted);
        let found = violations(&mut world, &clicks[1], &[INSTALL], forgets_once(tag));
        assert_eq!(found, [Invariant::WithinLimits]);
    }
}

#[test]
fn not_before_due() {
    let mut world = World::with(|offer| offer.events[0].pending_ms = 7 * DAY_MS);
    let click = world.click();
    world.send(&click, "Install");
    let mut store = Lying { memory: world.store.clone(), lie: |_: &[u8], _: &mut Vec<u8>| {} };
    let mut out = Output::default();
    // The state gives a timer that is not due.
    fire_due(&mut store, &world.catalog, world.now, 1, &mut out).unwrap();
    assert_eq!(out.decisions[0].conversions[0].status, ConversionStatus::Success);
    assert_eq!(out.violations, [Invariant::NotBeforeDue]);
}

#[test]
fn totals_net_out() {
    let mut world = World::with(|offer| offer.events[0].revenue = Micros(1_000_000));
    let click = world.click();
    world.send(&click, "Install");
    // What is to be given back was never counted, or never spent.
    for tag in [b'k', b's'] {
        let none = |key: &[u8], value: &mut Vec<u8>| {
            if key[0] == tag {
                *value = if tag == b'k' { Vec::new() } else { vec![0, 0] };
            }
        };
        let found = violations(&mut world, &click, &[INSTALL, REJECTED], none);
        assert!(!found.is_empty(), "{tag}");
        assert!(found.iter().all(|it| *it == Invariant::TotalsNetOut), "{found:?}");
    }
}

#[test]
fn one_outcome() {
    for (stepped, told, holds) in [
        (Stepped::Decided, 1, true),
        (Stepped::Decided, 0, false),
        (Stepped::Decided, 2, false),
        (Stepped::Redecided(2), 2, true),
        (Stepped::Redecided(2), 1, false),
        (Stepped::Repeated, 0, true),
        (Stepped::Repeated, 1, false),
        (Stepped::Kept, 0, true),
        (Stepped::Kept, 1, false),
    ] {
        let expected = if holds { Ok(()) } else { Err(Invariant::OneOutcome) };
        assert_eq!(check_outcomes(stepped, told), expected, "{stepped:?} {told}");
    }
}

fn standing(
    revision: u32,
    status: ConversionStatus,
    reason: Option<Reason>,
    due_ms: Option<i64>,
) -> Standing {
    Standing { revision, status, reason, due_at: due_ms.map(UnixMillis) }
}

#[test]
fn revisions_that_make_no_sense() {
    use ConversionStatus::{Pending, Rejected, Success};
    let hold = |due| standing(1, Pending, Some(Reason::Hold), due);
    for (it, broken) in [
        (hold(None), Invariant::PendingHasDueTime),
        (standing(1, Success, None, Some(9)), Invariant::PendingHasDueTime),
        (hold(Some(4)), Invariant::DueAfterDecision),
        (standing(1, Success, Some(Reason::TooSoon), None), Invariant::ReasonFitsStatus),
        (standing(1, Rejected, None, None), Invariant::ReasonFitsStatus),
        (standing(0, Success, None, None), Invariant::RevisionsGrow),
    ] {
        assert_eq!(check_standing(it, UnixMillis(5)), Err(broken), "{it:?}");
    }
    let success = |revision| standing(revision, Success, None, None);
    let taken_back = standing(1, Rejected, Some(Reason::AdvertiserRejected), None);
    for (before, after, broken) in [
        (None, success(2), Some(Invariant::RevisionsGrow)),
        (Some(success(1)), success(1), Some(Invariant::RevisionsGrow)),
        (Some(success(1)), success(3), Some(Invariant::RevisionsGrow)),
        (Some(taken_back), success(2), Some(Invariant::OnlyAPersonBringsBack)),
        (Some(hold(Some(6))), success(2), Some(Invariant::NotBeforeDue)),
        (Some(hold(Some(5))), success(2), None),
        (None, success(1), None),
    ] {
        let expected = broken.map_or(Ok(()), Err);
        assert_eq!(check_next(before, after, UnixMillis(5)), expected, "{before:?} {after:?}");
    }
}

/// One row of a history of the given caps and budget, and what to change in it.
fn rows() -> (World, Conversion) {
    let mut world = World::with(|offer| {
        offer.events[0].revenue = Micros(1_000_000);
        offer.events[0].caps.total = Some(1);
    });
    let click = world.click();
    world.send(&click, "Install");
    let row = world.row(&click, "Install").unwrap().clone();
    (world, row)
}

#[test]
fn histories_that_make_no_sense() {
    type Change = fn(&mut Conversion);
    let another = |row: &mut Conversion| {
        let root = OfferId::new(ROOT).unwrap();
        row.conversion_id = ConversionId::from_hash(&root, [7; 16]);
    };
    let cases: [(Change, Invariant); 6] = [
        (another, Invariant::OneLiveConversion),
        (
            |row| {
                let root = OfferId::new(ROOT).unwrap();
                row.conversion_id = ConversionId::from_hash(&root, [7; 16]);
                row.click_id = "another".into();
            },
            Invariant::WithinLimits,
        ),
        (|_| {}, Invariant::RevisionsGrow),
        (
            |row| {
                row.revision = 2;
                row.received_at = START.plus_ms(-1);
            },
            Invariant::SubjectStays,
        ),
        (
            |row| {
                row.revision = 2;
                row.decided_at = START.plus_ms(-1);
            },
            Invariant::TimeGoesOn,
        ),
        (
            |row| {
                row.revision = 2;
                row.revenue = Micros(2_000_000);
            },
            Invariant::AmountsStay,
        ),
    ];
    for (change, broken) in cases {
        let (world, row) = rows();
        let mut audit = Audit::default();
        let decision = |row: Conversion| Decision { conversions: vec![row], ..Decision::default() };
        assert_eq!(audit.observe(&decision(row.clone()), &world.catalog), Ok(()));
        let mut next = row;
        change(&mut next);
        assert_eq!(audit.observe(&decision(next), &world.catalog), Err(broken));
    }
}

#[test]
fn totals_that_differ_from_the_rows() {
    let (mut world, _) = rows();
    let root = OfferId::new(ROOT).unwrap();
    assert_eq!(world.audit.check_totals(&mut world.store, &root), Ok(Ok(())));
    assert_eq!(
        Audit::default().check_totals(&mut world.store, &root),
        Ok(Err(Invariant::TotalsNetOut))
    );
}

#[test]
fn a_duplicate_that_converts() {
    let (mut world, row) = rows();
    let click = world.click();
    let mut outcome = world.send(&click, "install");
    outcome.outcome = Outcome::Duplicate;
    outcome.conversion_id = Some(row.conversion_id.clone());
    let decision =
        Decision { postback: Some(outcome), conversions: vec![row], ..Decision::default() };
    assert_eq!(check_decision(&decision), Err(Invariant::OutcomeFitsConversions));
}

#[test]
fn every_invariant_has_a_name_of_its_own() {
    let codes: std::collections::BTreeSet<_> = Invariant::ALL.iter().map(|it| it.code()).collect();
    assert_eq!(codes.len(), Invariant::ALL.len());
    for invariant in Invariant::ALL {
        assert!(!invariant.statement().is_empty() && !invariant.source().is_empty());
    }
}
