//! What only the simulation has: faults and crashes at will.

use crate::support::{LIMIT, NOW, read_all, values};
use eventlog::simulated::{Faults, Random, SimulatedLog};
use eventlog::{
    AppendError, Commit, CommitError, EventLog, OwnedPartition, ProcessorEvent, ProcessorMember,
    Record, Stage,
};
use schemas::Topic;
use std::collections::BTreeSet;
use std::time::Duration;

fn record(value: String) -> Record {
    Record { key: "".into(), value: value.into(), at: NOW }
}

/// Appends with faults and crashes; gives the history.
async fn appends(seed: u64) -> Vec<String> {
    let mut log = SimulatedLog::new(1, seed);
    log.set_faults(Faults {
        append_unavailable: 100,
        append_ack_lost: 100,
        append_lost: 100,
        append_ack_delayed: 100,
        ..Faults::default()
    });
    let mut random = Random::new(seed);
    let (mut certain, mut possible) = (BTreeSet::new(), BTreeSet::new());
    for n in 0..200u32 {
        let text = n.to_string();
        let append = log.append(Topic::Clicks, 0, vec![record(text.clone())]);
        if random.below(20) == 0 {
            // Under way when the process ends.
            log = log.crash();
        }
        match append.await {
            Ok(_) => drop(certain.insert(text)),
            Err(AppendError::Unknown(_)) => drop(possible.insert(text)),
            Err(AppendError::Unavailable(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let found = values(&read_all(&*log, Topic::Clicks, 0, 0).await);
    let set: BTreeSet<String> = found.iter().cloned().collect();
    assert_eq!(set.len(), found.len(), "nothing twice");
    assert!(certain.is_subset(&set), "acknowledged records stay");
    assert!(set.iter().all(|text| certain.contains(text) || possible.contains(text)));
    assert!(possible.iter().any(|it| set.contains(it)) && !possible.is_subset(&set), "both ways");
    found
}

#[tokio::test]
async fn a_seed_repeats_its_history() {
    for seed in 0..20 {
        assert_eq!(appends(seed).await, appends(seed).await);
    }
    assert_ne!(appends(1).await, appends(2).await);
}

#[tokio::test]
async fn an_unknown_commit_is_found_out_by_reopening() {
    for seed in 0..20 {
        let log = SimulatedLog::new(1, seed);
        let mut member = log.join_stage(Stage::Processor).await.unwrap();
        log.append(Topic::Postbacks, 0, (0..100).map(|n| record(n.to_string())).collect())
            .await
            .unwrap();
        log.set_faults(Faults {
            commit_unavailable: 100,
            commit_ack_lost: 200,
            commit_lost: 200,
            ..Faults::default()
        });
        let mut owned = None;
        loop {
            if owned.is_none() {
                let event = member.next_event(Duration::from_secs(1)).await.unwrap();
                let Some(ProcessorEvent::Assigned(assigned)) = event else {
                    panic!("not assigned")
                };
                let next = assigned.next_offset();
                let state = assigned.state().get(b"next").unwrap().unwrap_or_else(|| "0".into());
                assert_eq!(state, next.to_string(), "exactly what was committed");
                owned = Some(assigned);
            }
            let Some(partition) = &mut owned else { continue };
            let next_offset = partition.next_offset() + 1;
            if next_offset > 100 {
                break;
            }
            let commit = Commit {
                outputs: vec![(Topic::Decisions, 0, record(next_offset.to_string()))],
                state_changes: vec![(b"next".to_vec(), Some(next_offset.to_string().into()))],
                next_offset,
            };
            match partition.commit(commit).await {
                Ok(()) | Err(CommitError::Unavailable(_)) => {}
                Err(CommitError::Unknown(_)) => {
                    owned = None;
                    member.reopen(0).await.unwrap();
                }
                Err(CommitError::Fenced(why)) => panic!("{why}"),
            }
        }
        let decisions = values(&read_all(&*log, Topic::Decisions, 0, 0).await);
        assert_eq!(decisions, (1..=100).map(|n| n.to_string()).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn time_passes_when_everybody_waits() {
    let log = SimulatedLog::new(1, 1);
    let mut reader = log.read_from(Topic::Clicks, 0, 0).await.unwrap();
    let hour = Duration::from_secs(3_600);
    let batch = reader.read(eventlog::ReadLimit { wait: hour, ..LIMIT }).await.unwrap();
    assert!(batch.records.is_empty() && batch.at_end);
    assert_eq!(log.now().0, 3_600_000);
}

#[tokio::test]
async fn moved_partitions_and_crashes_fence() {
    let log = SimulatedLog::new(2, 1);
    let mut member = log.join_stage(Stage::Processor).await.unwrap();
    let mut second = log.join_stage(Stage::Processor).await.unwrap();
    let Some(ProcessorEvent::Assigned(_)) = second.next_event(LIMIT.wait).await.unwrap() else {
        panic!("not assigned");
    };
    log.move_partition(1, 0);
    let mut owned = None;
    while let Some(event) = member.next_event(LIMIT.wait).await.unwrap() {
        if let ProcessorEvent::Assigned(assigned) = event
            && assigned.partition() == 1
        {
            owned = Some(assigned);
        }
    }
    let mut owned = owned.expect("moved to the first");
    owned.commit(Commit::default()).await.unwrap();
    let restarted = log.crash();
    assert!(matches!(owned.commit(Commit::default()).await, Err(CommitError::Fenced(_))));
    assert!(log.bounds(Topic::Clicks, 0).await.is_err());
    assert!(restarted.bounds(Topic::Clicks, 0).await.is_ok());
}

/// The next partition that a member is given.
async fn assigned(member: &mut dyn ProcessorMember) -> Box<dyn OwnedPartition> {
    loop {
        match member.next_event(Duration::ZERO).await.unwrap() {
            Some(ProcessorEvent::Assigned(owned)) => return owned,
            Some(ProcessorEvent::Revoked(_)) => {}
            None => panic!("not assigned"),
        }
    }
}

/// A member may take notice of a partition when somebody else has it already, or has had it: what
/// it gets is the partition as it was given, not as it is now.
#[tokio::test]
async fn an_assignment_noticed_too_late_cannot_commit() {
    let log = SimulatedLog::new(1, 1);
    log.append(Topic::Postbacks, 0, vec![record("a".to_string())]).await.unwrap();
    let mut first = log.join_stage(Stage::Processor).await.unwrap();
    let mut second = log.join_stage(Stage::Processor).await.unwrap();
    log.move_partition(0, 1);
    log.move_partition(0, 0);
    log.move_partition(0, 1);
    let stale =
        [assigned(&mut *first).await, assigned(&mut *first).await, assigned(&mut *second).await];
    for mut owned in stale {
        let commit = Commit { next_offset: 1, ..Commit::default() };
        let answer = owned.commit(commit).await;
        assert!(matches!(answer, Err(CommitError::Fenced(_))), "{answer:?}");
    }
    let commit = Commit { next_offset: 1, ..Commit::default() };
    assert_eq!(assigned(&mut *second).await.commit(commit).await, Ok(()));
}
