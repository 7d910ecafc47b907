//! Timers: state ordered by due time, so that millions of them cost nothing while they wait.

use crate::availability;
use crate::case::{Case, Opening};
use crate::click_state::ClickState;
use crate::context;
use crate::expiry;
use crate::invariants::{Invariant, Violation};
use crate::keys::{self, ClickSlot, EventHash, Unique};
use crate::kind::Kind;
use crate::output::{Decided, Scratch};
use crate::store::{Damaged, Store};
use crate::timer_keys::{self, Timer};
use crate::view::DecisionView;
use schemas::time::HOUR_MS;
use schemas::{Catalog, UnixMillis};
use std::sync::Arc;

/// A pending conversion whose offer is not in the configuration stays pending, and is looked at
/// again after this long. Nothing is deleted from a configuration, so this is a repair under way.
const DEFERRED_MS: i64 = HOUR_MS;

/// Whether timers are still due after [`fire_due`] fired as many as it might.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoreDue {
    Yes,
    No,
}

/// When the next timer is due, if there is one.
///
/// # Errors
/// Only the store's.
pub fn next_due<S: Store>(store: &mut S) -> Result<Option<UnixMillis>, S::Error> {
    let mut scratch = Scratch::default();
    let end = [keys::TIMER + 1];
    if !store.first_in(&[keys::TIMER], &end, &mut scratch.key, &mut scratch.value)? {
        return Ok(None);
    }
    Ok(Some(read(&scratch.key)?.0))
}

fn read(key: &[u8]) -> Result<(UnixMillis, Timer<'_>), Damaged> {
    Timer::read(key).ok_or(Damaged { what: "a timer" })
}

/// Fires the timers due at or before `clock`, earliest first, at most `limit` of them. What a
/// timer decides is decided at its due time, and told to `out`.
///
/// # Errors
/// Only the store's. Timers may then be half fired: throw the batch away.
pub fn fire_due<S: Store>(
    store: &mut S,
    catalog: &Catalog,
    clock: UnixMillis,
    limit: usize,
    out: &mut impl Decided,
) -> Result<MoreDue, S::Error> {
    let mut scratch = std::mem::take(out.scratch());
    let more = fire_with(store, &mut scratch, catalog, clock, limit, out)?;
    *out.scratch() = scratch;
    Ok(more)
}

fn fire_with<S: Store>(
    store: &mut S,
    scratch: &mut Scratch,
    catalog: &Catalog,
    clock: UnixMillis,
    limit: usize,
    out: &mut impl Decided,
) -> Result<MoreDue, S::Error> {
    let mut key = std::mem::take(&mut scratch.timer);
    let end = keys::tagged_time(keys::TIMER, clock.plus_ms(1));
    let mut fired = 0;
    while store.first_in(&[keys::TIMER], &end, &mut key, &mut scratch.value)? {
        if fired == limit {
            scratch.timer = key;
            return Ok(MoreDue::Yes);
        }
        fired += 1;
        store.delete(&key)?;
        let (due, timer) = read(&key)?;
        if due > keys::representable(clock) {
            // The store gave more than it was asked for.
            let invariant = Invariant::NotBeforeDue;
            out.violated(&Violation { invariant, conversion_id: None, postback_id: None });
        }
        match timer {
            Timer::Conversion { slot, event, unique } => {
                let firing = Firing { slot, event, unique, due };
                fire_conversion(store, scratch, catalog, firing, out)?;
            }
            Timer::Click(slot) => expiry::click(store, scratch, slot, due)?,
            Timer::Details(click) => expiry::details(store, scratch, click, due)?,
            Timer::Retry(hash) => expiry::retry(store, scratch, hash, due)?,
            Timer::Counter(counter) => store.delete(counter)?,
            Timer::DayBegins(scope) => {
                availability::day_begins(store, scratch, catalog, scope, due, out)?;
            }
        }
    }
    scratch.timer = key;
    Ok(MoreDue::No)
}

#[derive(Clone, Copy)]
struct Firing {
    slot: ClickSlot,
    event: EventHash,
    unique: Option<Unique>,
    due: UnixMillis,
}

/// A held conversion succeeds, a waiting one gives up.
fn fire_conversion<S: Store>(
    store: &mut S,
    scratch: &mut Scratch,
    catalog: &Catalog,
    firing: Firing,
    out: &mut impl Decided,
) -> Result<(), S::Error> {
    let Firing { slot, event, due, .. } = firing;
    let Some((click, click_id)) = context::get(store, scratch, slot)? else {
        return Err(Damaged { what: "the click of a pending conversion" }.into());
    };
    let Some(terms) = catalog.terms(&click) else { return defer(store, scratch, firing) };
    let opening = Opening {
        catalog,
        now: due,
        click: &click,
        click_id: &click_id,
        offer: Arc::clone(&terms.offer),
        share: Arc::clone(&terms.share),
        test: slot.is_test(),
    };
    let mut case = Case::open(store, scratch, opening)?;
    case.load_sequence()?;
    let Some(index) = find(case.store, case.scratch, &mut case.state, firing)? else {
        return Err(Damaged { what: "a pending conversion" }.into());
    };
    if case.event_of(event, case.state.records[index].terms_version).is_none() {
        return defer(store, scratch, firing);
    }
    let kind = match case.state.records[index].kind {
        Kind::Hold => Kind::Success,
        _ => Kind::SequenceNotMet,
    };
    case.settle(index, kind, None)?;
    case.ripple()?;
    let revisions = case.close(out)?;
    out.decision(&DecisionView {
        postback: None,
        command: None,
        redecision: None,
        revisions: Some(&revisions),
    });
    revisions.recycle(scratch);
    Ok(())
}

/// The conversion that a timer is for; none when it has no such timer.
fn find<S: Store>(
    store: &mut S,
    scratch: &mut Scratch,
    state: &mut ClickState,
    firing: Firing,
) -> Result<Option<usize>, S::Error> {
    let index = match firing.unique {
        None => state.position(firing.event, None),
        Some(unique) => state.load_repeatable(store, scratch, firing.event, unique)?,
    };
    Ok(index.filter(|index| state.records[*index].due_at == Some(firing.due)))
}

/// Puts a timer off; the conversion stays as it is.
fn defer<S: Store>(store: &mut S, scratch: &mut Scratch, firing: Firing) -> Result<(), S::Error> {
    let mut state = ClickState::load(store, scratch, firing.slot)?;
    let Some(index) = find(store, scratch, &mut state, firing)? else {
        return Err(Damaged { what: "a pending conversion" }.into());
    };
    let due = firing.due.plus_ms(DEFERRED_MS);
    let record = &mut state.records[index];
    record.due_at = Some(due);
    record.changed = true;
    let timer = Timer::Conversion { slot: firing.slot, event: firing.event, unique: firing.unique };
    timer_keys::arm(store, &mut scratch.key, due, timer)?;
    state.save(store, scratch)
}
