//! What must hold between what senders were told, what Kafka holds, what was decided and what
//! ClickHouse shows. Pure: a list of differences, empty when all is well.

use super::evidence::{ConversionRow, Evidence, PostbackRow};
use super::naive::Naive;
use super::offers::CAP;
use keyring::Keyring;
use schemas::{Conversion, ConversionStatus, Decision, Input, Reason, UnixMillis};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use uuid::Uuid;

/// Differences of one kind that are told.
const SHOWN_MAX: usize = 3;

/// The first differences of each kind; none when everything is as it must be.
#[must_use]
pub fn differences(evidence: &Evidence, keyring: &Arc<Keyring>) -> Vec<String> {
    let mut found = Vec::new();
    if evidence.dead_letters > 0 {
        found.push(format!("{} records became dead letters", evidence.dead_letters));
    }
    found.extend(decided_once(evidence));
    found.extend(shown_once(evidence));
    found.extend(held_fired_once(evidence));
    found.extend(caps_hold(evidence));
    for (partition, inputs) in evidence.inputs.iter().enumerate() {
        let decisions = &evidence.decisions[partition];
        if let Err(detail) = as_the_naive(evidence, inputs, decisions, keyring) {
            found.push(format!("partition {partition} is not what the naive rules say: {detail}"));
        }
    }
    found
}

fn decisions(evidence: &Evidence) -> impl Iterator<Item = &Decision> {
    evidence.decisions.iter().flatten()
}

fn revisions(evidence: &Evidence) -> impl Iterator<Item = &Conversion> {
    decisions(evidence).flat_map(|decision| &decision.conversions)
}

/// Conversions that still wait for something.
#[must_use]
pub fn pending(evidence: &Evidence) -> usize {
    let last: BTreeMap<_, _> =
        revisions(evidence).map(|it| (&it.conversion_id, it.status)).collect();
    last.values().filter(|status| **status == ConversionStatus::Pending).count()
}

/// The identity of an input that is decided.
fn identity(input: &Input) -> Option<Uuid> {
    match input {
        Input::Postback(it) => Some(it.postback_id.0),
        Input::Command(it) => Some(it.command_id),
        // The story puts nothing back; what is has no outcome of its own.
        Input::ClickDetails(_) | Input::Redecide(_) => None,
    }
}

/// The identity of the input that a decision is about; none for a timer.
fn decided(decision: &Decision) -> Option<Uuid> {
    let postback = decision.postback.as_ref().map(|it| it.postback_id.0);
    postback.or(decision.command.as_ref().map(|it| it.command_id))
}

/// How many records the log has more than once: a producer whose acknowledgement was lost has
/// written them again. They have the same identity and are decided once.
#[must_use]
pub fn repeated_inputs(evidence: &Evidence) -> usize {
    let all = evidence.inputs.iter().flatten().filter_map(identity);
    let distinct: BTreeSet<Uuid> = all.clone().collect();
    all.count() - distinct.len()
}

fn decided_once(evidence: &Evidence) -> Vec<String> {
    let ids: BTreeSet<Uuid> = evidence.inputs.iter().flatten().filter_map(identity).collect();
    let decided = decisions(evidence).filter_map(decided);
    let mut found =
        compare("an input and its decision", ids.into_iter().collect(), decided.collect());
    let named = revisions(evidence).map(|it| (it.conversion_id.to_string(), it.revision));
    let named: Vec<_> = named.collect();
    let distinct: BTreeSet<_> = named.iter().cloned().collect();
    found.extend(compare("a revision, decided once", distinct.into_iter().collect(), named));
    found
}

fn shown_once(evidence: &Evidence) -> Vec<String> {
    let postbacks = decisions(evidence).filter_map(|decision| decision.postback.as_ref());
    let postbacks = postbacks.map(|it| PostbackRow {
        postback_id: it.postback_id.to_string(),
        outcome: it.outcome.to_string(),
        reason: it.reason.map(|reason| reason.to_string()).unwrap_or_default(),
        conversion_id: it.conversion_id.as_ref().map(ToString::to_string).unwrap_or_default(),
    });
    let mut found =
        compare("a postback in ClickHouse", postbacks.collect(), evidence.postbacks.clone());
    let rows: Vec<ConversionRow> = revisions(evidence).map(row).collect();
    let mut last: BTreeMap<String, ConversionRow> = BTreeMap::new();
    for row in &rows {
        last.insert(row.conversion_id.clone(), row.clone());
    }
    found.extend(compare("a revision in ClickHouse", rows, evidence.conversions.clone()));
    let last = last.into_values().collect();
    found.extend(compare("a conversion in ClickHouse", last, evidence.current.clone()));
    found
}

fn row(it: &Conversion) -> ConversionRow {
    ConversionRow {
        conversion_id: it.conversion_id.to_string(),
        revision: it.revision,
        status: it.status.to_string(),
        reason: it.reason.map(|reason| reason.to_string()).unwrap_or_default(),
        decided_at_ms: it.decided_at.0,
        due_at_ms: it.due_at.map(|due| due.0),
        revenue_micros: it.revenue.0,
    }
}

/// Each thing as often on one side as on the other.
fn compare<T: Ord + Debug>(what: &str, expected: Vec<T>, found: Vec<T>) -> Vec<String> {
    let mut counts: BTreeMap<T, (usize, usize)> = BTreeMap::new();
    expected.into_iter().for_each(|it| counts.entry(it).or_default().0 += 1);
    found.into_iter().for_each(|it| counts.entry(it).or_default().1 += 1);
    let differing: Vec<_> =
        counts.iter().filter(|(_, (expected, found))| *expected != 1 || *found != 1).collect();
    let shown = differing.iter().take(SHOWN_MAX).map(|(it, (expected, found))| {
        format!("{what}: expected {expected} times and found {found} times: {it:?}")
    });
    let more = differing.len().saturating_sub(SHOWN_MAX);
    let more = (more > 0).then(|| format!("{what}: {more} more of them"));
    shown.chain(more).collect()
}

/// A held conversion succeeds once, and when it is due.
fn held_fired_once(evidence: &Evidence) -> Vec<String> {
    let mut held: BTreeMap<&str, UnixMillis> = BTreeMap::new();
    let mut found = Vec::new();
    for row in revisions(evidence) {
        let id = row.conversion_id.as_str();
        match (row.status, row.reason, row.due_at) {
            (_, Some(Reason::Hold), Some(due)) => drop(held.insert(id, due)),
            (ConversionStatus::Success, None, _) => {
                if let Some(due) = held.remove(id)
                    && due != row.decided_at
                {
                    found
                        .push(format!("{id} was due at {due:?} and fired at {:?}", row.decided_at));
                }
            }
            _ => drop(held.remove(id)),
        }
    }
    let overdue = held.iter().filter(|(_, due)| **due < evidence.now);
    found.extend(overdue.map(|(id, due)| format!("{id} was due at {due:?} and never fired")));
    found.truncate(SHOWN_MAX);
    found
}

/// What stands never passes the cap; what was refused for it was refused when it was full.
fn caps_hold(evidence: &Evidence) -> Option<String> {
    let (offer, event, cap) = CAP;
    let of_cap = revisions(evidence)
        .filter(|it| it.root_offer_id.as_str() == offer && it.event_id.as_str() == event);
    let last: BTreeMap<_, _> = of_cap.map(|it| (&it.conversion_id, it)).collect();
    let count = |test: &dyn Fn(&Conversion) -> bool| last.values().filter(|it| test(it)).count();
    let standing =
        count(&|it| it.status == ConversionStatus::Success || it.reason == Some(Reason::Hold));
    let refused = count(&|it| it.reason == Some(Reason::CapReached));
    let exact = standing <= cap && (refused == 0 || standing == cap);
    (!exact).then(|| {
        format!("{standing} conversions stand under a cap of {cap}, and {refused} were refused")
    })
}

/// Whether the naive implementation of the rules decides the same, given the committed order. What
/// no record tells, that an idle partition's clock had moved on, is read from the decisions: they
/// may be later than the records ask for, never earlier, and never go back.
fn as_the_naive(
    evidence: &Evidence,
    inputs: &[Input],
    decisions: &[Decision],
    keyring: &Arc<Keyring>,
) -> Result<(), String> {
    let mut naive = Naive::new(Arc::clone(keyring));
    naive.configure(&evidence.catalog);
    naive.written.extend(decisions.iter().cloned());
    for input in inputs {
        if matches!(input, Input::ClickDetails(_)) {
            continue;
        }
        let is_timer = |it: &&Decision| decided(it).is_none();
        let decided_at = |it: &Decision| it.conversions.iter().map(|row| row.decided_at).max();
        let decision = naive.written.iter().find(|it| !is_timer(it));
        // One that repeats another has none of its own, and nothing says what fired before it.
        let own = decision.filter(|it| decided(it) == identity(input));
        let timers = naive.written.iter().take_while(|it| own.is_some() && is_timer(it));
        let fired = timers.filter_map(decided_at).max().unwrap_or(UnixMillis(0));
        let told = own.and_then(decided_at).unwrap_or(UnixMillis(0));
        let least = naive.clock.max(input.received_at()).max(fired);
        if told != UnixMillis(0) && told < least {
            return Err(format!("decided at {told:?}, when it was {least:?} already: {input:?}"));
        }
        naive.clock = least.max(told);
        naive.pass_to(naive.clock.plus_ms(-1).max(fired));
        naive.step(input)?;
    }
    let fired = naive.written.iter().flat_map(|it| &it.conversions).map(|row| row.decided_at);
    let end = fired.max().unwrap_or(UnixMillis(0)).max(evidence.now);
    naive.pass_to(end);
    naive.compare_timers()?;
    match naive.written.pop_front() {
        Some(extra) => Err(format!("nothing should have led to {extra:?}")),
        None => Ok(()),
    }
}
