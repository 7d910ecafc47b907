//! What must be done before: every record has been decided, stored and told.

use super::{READ, failed};
use eventlog::{EventLog, GroupEvent, OwnedPartition, ProcessorEvent, ProcessorMember, Stage};
use schemas::Topic;
use service::ServiceError;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// A group gives a new member everything within this, unless there are other members; reading a
/// large state back takes longer, and is waited for as long as partitions come.
const ASSIGN_PATIENCE: Duration = Duration::from_secs(60);
const EVENT_WAIT: Duration = Duration::from_millis(500);

fn busy(who: &str, what: &str) -> ServiceError {
    ServiceError::Failed(format!(
        "{who} {what}; stop the ingesters, let the others work until nothing is behind \
         (gokart_…_lag_records is 0), stop all roles, and run this again"
    ))
}

/// All partitions of a stage, none of which has unread input.
pub async fn stage(
    log: &dyn EventLog,
    stage: Stage,
) -> Result<(Box<dyn ProcessorMember>, BTreeMap<u32, Box<dyn OwnedPartition>>), ServiceError> {
    let mut member = log.join_stage(stage).await.map_err(failed)?;
    let mut owned: BTreeMap<u32, Box<dyn OwnedPartition>> = BTreeMap::new();
    let mut last = Instant::now();
    while owned.len() < log.partitions(stage.input()) as usize {
        if last.elapsed() > ASSIGN_PATIENCE {
            return Err(busy("some partitions", &format!("belong to running {}", stage.group())));
        }
        match member.next_event(EVENT_WAIT).await.map_err(failed)? {
            Some(ProcessorEvent::Assigned(partition)) => {
                owned.insert(partition.partition(), partition);
                last = Instant::now();
            }
            Some(ProcessorEvent::Revoked(partition)) => drop(owned.remove(&partition)),
            None => {}
        }
    }
    for (number, partition) in &mut owned {
        let input = stage.input();
        let end = log.bounds(input, *number).await.map_err(failed)?.end;
        let mut at = partition.next_offset();
        while at < end {
            let batch = partition.read(READ).await.map_err(failed)?;
            if !batch.records.is_empty() {
                return Err(busy(
                    &format!("{input}/{number}"),
                    &format!("holds records that the {} have not read", stage.group()),
                ));
            }
            at = batch.next_offset;
        }
    }
    Ok((member, owned))
}

/// Every row is in ClickHouse.
pub async fn sink(log: &dyn EventLog) -> Result<(), ServiceError> {
    let topics = sink::decode::TOPICS;
    let mut member = log.join(sink::GROUP, &topics).await.map_err(failed)?;
    let wanted: u32 = topics.iter().map(|topic| log.partitions(*topic)).sum();
    let mut positions = BTreeMap::new();
    let began = Instant::now();
    while positions.len() < wanted as usize {
        if began.elapsed() > ASSIGN_PATIENCE {
            return Err(busy("some partitions", "belong to running sinks"));
        }
        match member.next_event(EVENT_WAIT).await.map_err(failed)? {
            Some(GroupEvent::Assigned(all)) => {
                let all = all.into_iter();
                positions.extend(all.map(|it| ((it.topic, it.partition), it.next_offset)));
            }
            Some(GroupEvent::Revoked(all)) => {
                for place in all {
                    positions.remove(&place);
                }
            }
            None => {}
        }
    }
    for ((topic, partition), next) in positions {
        unread(log, topic, partition, next).await?;
    }
    Ok(())
}

async fn unread(
    log: &dyn EventLog,
    topic: Topic,
    partition: u32,
    next: u64,
) -> Result<(), ServiceError> {
    let bounds = log.bounds(topic, partition).await.map_err(failed)?;
    let mut at = next.max(bounds.first);
    if at >= bounds.end {
        return Ok(());
    }
    let mut reader = log.read_from(topic, partition, at).await.map_err(failed)?;
    while at < bounds.end {
        let batch = reader.read(READ).await.map_err(failed)?;
        if !batch.records.is_empty() {
            let what = "holds records that are not in ClickHouse yet";
            return Err(busy(&format!("{topic}/{partition}"), what));
        }
        at = batch.next_offset;
    }
    Ok(())
}
