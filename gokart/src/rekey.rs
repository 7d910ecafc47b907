//! `gokart rekey`: moves an installation that stands still into topics with more partitions.
//!
//! The number of partitions decides where each root offer lives, so it is fixed when topics are
//! made. Into a multiple of it, an offer of partition `p` of `n` moves to one of `p`, `p + n`, …
//! Each of those gets the entries of the state that are its own, and a copy of those that do not say
//! whose they are and do nothing but expire. Everything is committed as the roles themselves would.

mod drained;
mod state;

use crate::cli::rekey::Rekey;
use crate::data_dir::DataDir;
use crate::kafka_log::{brokers, connect_once};
use eventlog::follow::catalog::CatalogFeed;
use eventlog::{EventLog, ReadError, ReadLimit, Stage};
use indicatif::{ProgressBar, ProgressStyle};
use schemas::{Catalog, OfferId, Topic, topic::partition_of};
use service::ServiceError;
use std::sync::Arc;
use std::time::Duration;

const READ: ReadLimit =
    ReadLimit { records: 1_000, bytes: 4 << 20, wait: Duration::from_millis(500) };
/// Topics with one partition, which are copied as they are.
const WHOLE: [Topic; 3] = [Topic::Config, Topic::Availability, Topic::Erasures];

/// Does what was asked.
pub async fn run(ask: Rekey) -> Result<(), ServiceError> {
    brokers(&ask.log)?;
    let (from, to) = (ask.log.topics.partitions, ask.to_partitions);
    if to <= from || !to.is_multiple_of(from) {
        return Err(ServiceError::Configuration(format!(
            "--to-partitions {to} is no greater multiple of --partitions {from}; choose {} or {}",
            2 * from,
            3 * from
        )));
    }
    if ask.to_topic_prefix == ask.log.topic_prefix {
        return Err(ServiceError::Configuration(
            "--to-topic-prefix is that of the topics there are; choose another".to_owned(),
        ));
    }
    let mut target = ask.log.clone();
    target.topic_prefix = ask.to_topic_prefix.clone();
    target.topics.partitions = to;
    // Copies of the state that are of no use afterwards.
    let scratch = DataDir::open(&ask.data.data.join("rekey"))?;
    let source = connect_once(&ask.log, &DataDir::open(&scratch.join("from"))?).await?;
    let outcome = async {
        let target = connect_once(&target, &DataDir::open(&scratch.join("to"))?).await?;
        let outcome = rekey(&*source, &*target).await;
        target.close().await;
        outcome
    }
    .await;
    source.close().await;
    drop(source);
    let moved = outcome?;
    std::fs::remove_dir_all(scratch.path()).map_err(|error| {
        ServiceError::Failed(format!("{} cannot be removed: {error}", scratch.path().display()))
    })?;
    println!(
        "{} entries of state became {} in {to} partitions. Now start every role with \
         --topic-prefix {:?} --partitions {to},\nand never again with the old ones.",
        moved.read, moved.written, ask.to_topic_prefix
    );
    Ok(())
}

/// Entries of state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Moved {
    read: u64,
    written: u64,
}

fn failed(error: ReadError) -> ServiceError {
    ServiceError::Failed(format!("the event log: {error}"))
}

async fn rekey(source: &dyn EventLog, target: &dyn EventLog) -> Result<Moved, ServiceError> {
    for topic in Topic::ALL {
        for partition in 0..target.partitions(topic) {
            if target.bounds(topic, partition).await.map_err(failed)?.end > 0 {
                return Err(ServiceError::Configuration(format!(
                    "the new topic {topic} holds records already; choose another \
                     --to-topic-prefix, or delete its topics"
                )));
            }
        }
    }
    drained::sink(source).await?;
    let feed = CatalogFeed::start(source).await.map_err(failed)?;
    let catalog: Arc<Catalog> = Arc::clone(&feed.subscribe().borrow());
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} entries of state, {per_sec}") {
        bar.set_style(style);
    }
    let mut moved = Moved::default();
    for stage in Stage::ALL {
        if is_unused(source, stage).await? {
            continue;
        }
        state::copy(source, target, stage, &catalog, &bar, &mut moved).await?;
    }
    // Last: without configuration nothing of the new topics can be taken for a whole installation.
    for topic in WHOLE {
        copy_topic(source, target, topic).await?;
    }
    bar.finish_and_clear();
    Ok(moved)
}

/// Nobody was ever told anything, where no sink has master keys.
async fn is_unused(log: &dyn EventLog, stage: Stage) -> Result<bool, ServiceError> {
    for partition in 0..log.partitions(stage.changelog()) {
        if log.bounds(stage.changelog(), partition).await.map_err(failed)?.end > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn copy_topic(
    source: &dyn EventLog,
    target: &dyn EventLog,
    topic: Topic,
) -> Result<(), ServiceError> {
    let bounds = source.bounds(topic, 0).await.map_err(failed)?;
    let mut reader = source.read_from(topic, 0, bounds.first).await.map_err(failed)?;
    let mut at = bounds.first;
    while at < bounds.end {
        let batch = reader.read(READ).await.map_err(failed)?;
        at = batch.next_offset;
        let records: Vec<_> = batch.records.into_iter().map(|stored| stored.record).collect();
        if !records.is_empty() {
            let appended = target.append(topic, 0, records).await;
            appended.map_err(|error| ServiceError::Failed(error.to_string()))?;
        }
    }
    Ok(())
}

/// Where an entry of partition `from` of `old` goes to among `new`: to its owner's, or to all that
/// offers of its partition can move to.
fn homes(owner: Option<&OfferId>, from: u32, old: u32, new: u32) -> Vec<u32> {
    match owner {
        Some(root) => vec![partition_of(root, new)],
        None => (from..new).step_by(old as usize).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_moves_only_to_where_copies_of_its_state_go() {
        for n in 0..500 {
            let root = OfferId::new(&format!("offer-{n}")).unwrap();
            let from = partition_of(&root, 6);
            let home = homes(Some(&root), from, 6, 18);
            assert_eq!(home.len(), 1);
            assert!(homes(None, from, 6, 18).contains(&home[0]), "{root}");
        }
        assert_eq!(homes(None, 1, 4, 12), [1, 5, 9]);
    }
}
