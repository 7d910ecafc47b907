//! When the dust has settled: what must hold between what was acknowledged, what the log holds,
//! what was decided and what the tables show.

use super::Broken;
use super::cluster::{Cluster, Ending, decision};
use super::history::{Past, lock};
use super::naive;
use super::offers::{CLICK_POOL, PARTITIONS};
use super::replay::Replay;
use super::table::{Identity, Row};
use eventlog::{EventLog, ReadLimit, StoredRecord};
use rules::invariants::Invariant;
use schemas::{Conversion, ConversionStatus, Decision, Input, Reason, Topic};
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::time::Duration;

/// Holds everything against everything; the first law that is broken.
pub async fn judge(cluster: &Cluster) -> Result<Ending, Broken> {
    let mut inputs = BTreeMap::new();
    let mut decisions = BTreeMap::new();
    for partition in 0..PARTITIONS {
        inputs.insert(partition, whole(cluster, Topic::Postbacks, partition).await?);
        decisions.insert(partition, whole(cluster, Topic::Decisions, partition).await?);
    }
    acknowledged_are_there(cluster, &inputs)?;
    let mut commits = 0;
    for partition in 0..PARTITIONS {
        let mut history = lock(&cluster.history);
        let past = history.past(partition);
        commits += past.taken.len();
        let mut replay = Replay::of(partition, past, &inputs[&partition])?;
        replay.adds_up()?;
        naive::agrees(partition, past, &inputs[&partition])?;
        log_holds_what_was_committed(past, &decisions[&partition])?;
        drop(history);
        for state in cluster.final_states(partition) {
            replay.ends_in(&state)?;
        }
    }
    let decided: Vec<Decision> =
        decisions.values().flatten().map(|stored| decision(&stored.record.value)).collect();
    every_input_has_one_outcome(&inputs, &decided)?;
    decisions_make_sense(&decided)?;
    let view = tables_show_what_was_decided(cluster, &decided)?;
    let raw = lock(&cluster.tables).rows.len();
    let postbacks = view.keys().filter(|it| matches!(it, Identity::Postback(_))).count();
    Ok(Ending {
        digest: digest(cluster, &decisions),
        postbacks,
        revisions: view.keys().filter(|it| matches!(it, Identity::Conversion(..))).count(),
        commits,
        repeated_rows: raw - view.len(),
        reached: decided.iter().flat_map(words).collect(),
    })
}

/// What a decision says, in codes.
fn words(decision: &Decision) -> impl Iterator<Item = &'static str> {
    let postback = decision.postback.iter().filter_map(|it| it.reason).map(Reason::code);
    let rows = decision.conversions.iter().filter_map(|it| it.reason).map(Reason::code);
    let command = decision.command.iter().map(|it| it.effect.code());
    let again = decision.redecision.iter().map(|it| it.effect.code());
    postback.chain(rows).chain(command).chain(again)
}

/// A whole partition of a topic.
async fn whole(
    cluster: &Cluster,
    topic: Topic,
    partition: u32,
) -> Result<Vec<StoredRecord>, Broken> {
    let lost = |error: eventlog::ReadError| Broken::new("the log answers", error.to_string());
    let mut reader = cluster.log.read_from(topic, partition, 0).await.map_err(lost)?;
    let limit = ReadLimit { records: usize::MAX, bytes: usize::MAX, wait: Duration::ZERO };
    Ok(reader.read(limit).await.map_err(lost)?.records)
}

fn acknowledged_are_there(
    cluster: &Cluster,
    inputs: &BTreeMap<u32, Vec<StoredRecord>>,
) -> Result<(), Broken> {
    let there: BTreeSet<(u32, &[u8])> = inputs
        .iter()
        .flat_map(|(partition, records)| records.iter().map(|it| (*partition, &*it.record.value)))
        .collect();
    let outside = lock(&cluster.outside);
    match outside.acknowledged.iter().find(|it| !there.contains(&(it.partition, &*it.value))) {
        None => Ok(()),
        Some(missing) => {
            let text = String::from_utf8_lossy(&missing.value).into_owned();
            Err(Broken::new("what was acknowledged is in the log", text))
        }
    }
}

fn log_holds_what_was_committed(past: &Past, decisions: &[StoredRecord]) -> Result<(), Broken> {
    let law = "the log holds each committed decision once, in order";
    let committed = past.taken.iter().flat_map(|taken| &taken.outputs);
    let mut committed = committed.filter(|(topic, ..)| *topic == Topic::Decisions);
    for stored in decisions {
        match committed.next() {
            Some((.., value)) if **value == *stored.record.value => {}
            other => return Err(Broken::new(law, format!("{stored:?} but {other:?}"))),
        }
    }
    match committed.next() {
        None => Ok(()),
        Some(missing) => Err(Broken::new(law, format!("missing {missing:?}"))),
    }
}

fn every_input_has_one_outcome(
    inputs: &BTreeMap<u32, Vec<StoredRecord>>,
    decided: &[Decision],
) -> Result<(), Broken> {
    let law = Invariant::OneOutcome.statement();
    let mut expected = BTreeSet::new();
    for stored in inputs.values().flatten() {
        match Input::decode(&stored.record.value) {
            Ok(Input::Postback(it)) => drop(expected.insert(it.postback_id.0)),
            Ok(Input::Command(it)) => drop(expected.insert(it.command_id)),
            Ok(Input::Redecide(it)) => {
                let each = it.postbacks.iter();
                expected.extend(each.map(|postback| both(it.run_id, postback.postback_id.0)));
            }
            Ok(Input::ClickDetails(_)) | Err(_) => {}
        }
    }
    let mut seen = BTreeSet::new();
    for decision in decided {
        let postback = decision.postback.iter().map(|it| it.postback_id.0);
        let again = decision.redecision.iter();
        let again = again.map(|it| both(it.run_id, it.outcome.postback_id.0));
        let command = decision.command.iter().map(|it| it.command_id);
        for id in postback.chain(command).chain(again) {
            if !seen.insert(id) {
                return Err(Broken::new(law, format!("{id} has two")));
            }
        }
    }
    match expected.symmetric_difference(&seen).next() {
        None => Ok(()),
        Some(id) => Err(Broken::new(law, format!("{id} has none"))),
    }
}

/// What stands for a postback in a run.
fn both(run: uuid::Uuid, postback: uuid::Uuid) -> uuid::Uuid {
    uuid::Uuid::from_u128(run.as_u128().rotate_left(64) ^ postback.as_u128())
}

/// Laws of single decisions and of a conversion's revisions, in log order.
fn decisions_make_sense(decided: &[Decision]) -> Result<(), Broken> {
    let mut present: BTreeMap<&str, &Conversion> = BTreeMap::new();
    for decision in decided {
        let named = |broken: Invariant| Broken::new(broken.statement(), format!("{decision:#?}"));
        rules::invariants::check_decision(decision).map_err(named)?;
        for row in &decision.conversions {
            let before = present.insert(row.conversion_id.as_str(), row);
            rules::invariants::check_revision(before, row).map_err(named)?;
            succeeds_not_before_it_is_due(before, row)?;
        }
        knows_the_configuration_of_its_click(decision)?;
    }
    Ok(())
}

fn succeeds_not_before_it_is_due(
    before: Option<&Conversion>,
    row: &Conversion,
) -> Result<(), Broken> {
    let Some(before) = before else { return Ok(()) };
    let held = before.reason == Some(Reason::Hold);
    let by_timer = row.status == ConversionStatus::Success && row.reason.is_none();
    if held && by_timer && before.due_at != Some(row.decided_at) {
        let detail = format!("{before:#?}\n{row:#?}");
        return Err(Broken::new("a held conversion succeeds when it is due", detail));
    }
    Ok(())
}

/// The click's offer was configured before the click: whoever decides must know it.
fn knows_the_configuration_of_its_click(decision: &Decision) -> Result<(), Broken> {
    let Some(postback) = &decision.postback else { return Ok(()) };
    let click = CLICK_POOL.iter().find(|click| click.token == postback.click_id);
    match click {
        Some(click) if click.resolved.config_version > postback.config_version => Err(Broken::new(
            "a postback is decided with a configuration that its click knows",
            format!("{postback:#?}"),
        )),
        _ => Ok(()),
    }
}

fn tables_show_what_was_decided(
    cluster: &Cluster,
    decided: &[Decision],
) -> Result<BTreeMap<Identity, Row>, Broken> {
    let law = "the tables show every decision once and nothing else";
    let view = lock(&cluster.tables).collapsed()?;
    let mut expected = BTreeMap::new();
    for row in decided.iter().flat_map(Row::of) {
        let identity = row.identity();
        if expected.insert(identity.clone(), row).is_some() {
            return Err(Broken::new(law, format!("{identity:?} was decided twice")));
        }
    }
    for (identity, row) in &expected {
        if view.get(identity) != Some(row) {
            let there = view.get(identity);
            return Err(Broken::new(law, format!("{row:#?} was decided, but there is {there:#?}")));
        }
    }
    match view.iter().find(|(identity, _)| !expected.contains_key(identity)) {
        None => Ok(view),
        Some((identity, _)) => Err(Broken::new(law, format!("{identity:?} was never decided"))),
    }
}

fn digest(cluster: &Cluster, decisions: &BTreeMap<u32, Vec<StoredRecord>>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for stored in decisions.values().flatten() {
        (stored.offset, &stored.record.value).hash(&mut hasher);
    }
    for row in &lock(&cluster.tables).rows {
        row.identity().hash(&mut hasher);
    }
    hasher.finish()
}
