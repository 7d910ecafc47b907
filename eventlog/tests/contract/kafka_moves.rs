//! Members come and go while records come in: partitions move, and state follows. Each owner checks
//! that the state it is handed is that of the record before the next one.

use crate::support::{LIMIT, Owner, PARTITIONS, Process, ROUND, World, read_all, record, values};
use eventlog::{Commit, CommitError, OwnedPartition, ReadLimit};
use schemas::Topic;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long guests stay at least.
const STAY: Duration = Duration::from_secs(3);
const FEED_PAUSE: Duration = Duration::from_millis(20);
/// Until everything has been decided after the last record.
const PATIENCE: Duration = Duration::from_secs(90);

/// What the state says the next record is: records are numbered within their partition.
fn expected(owned: &dyn OwnedPartition) -> u64 {
    let next = owned.state().get(b"next").unwrap();
    next.map_or(0, |next| String::from_utf8_lossy(&next).parse().unwrap())
}

async fn work(owned: &mut dyn OwnedPartition) -> Result<(), CommitError> {
    let limit = ReadLimit { records: 50, wait: ROUND / 20, ..LIMIT };
    let batch = match owned.read(limit).await {
        Ok(batch) => batch,
        Err(error) => return Err(CommitError::Unavailable(error.to_string())),
    };
    if batch.records.is_empty() {
        return Ok(());
    }
    let mut next = expected(owned);
    let mut outputs = Vec::new();
    for stored in batch.records {
        let (partition, number) = (owned.partition(), next);
        let text = String::from_utf8_lossy(&stored.record.value).into_owned();
        assert_eq!(text, format!("{partition}/{number}"), "the state is not of the record before");
        outputs.push((Topic::Decisions, partition, stored.record));
        next += 1;
    }
    let state_changes = vec![(b"next".to_vec(), Some(next.to_string().into_bytes()))];
    owned.commit(Commit { outputs, state_changes, next_offset: batch.next_offset }).await
}

/// Takes part until told to stop, and counts the partitions that it is given.
async fn member(process: Process, given: Arc<AtomicU64>, stop: impl Fn() -> bool) {
    let mut owner = Owner::join(&process).await;
    while !stop() {
        let before = owner.owned.len();
        owner.step(ROUND / 20).await;
        given.fetch_add(owner.owned.len().saturating_sub(before) as u64, Ordering::AcqRel);
        let mut lost = Vec::new();
        for (partition, owned) in &mut owner.owned {
            match work(&mut **owned).await {
                Ok(()) => {}
                Err(CommitError::Fenced(_)) => lost.push((*partition, false)),
                Err(_) => lost.push((*partition, true)),
            }
        }
        for (partition, reopen) in lost {
            owner.owned.remove(&partition);
            if reopen {
                owner.member.reopen(partition).await.unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_move_under_load_and_their_state_follows() {
    let Some(world) = World::kafka() else { return };
    let feeder = world.start("feeder").await;
    let fed: Arc<Vec<AtomicU64>> = Arc::new((0..PARTITIONS).map(|_| AtomicU64::new(0)).collect());
    let is_over = Arc::new(AtomicBool::new(false));
    let stays = world.start("stays").await;
    let over = Arc::clone(&is_over);
    let stays = member(stays, Arc::default(), move || over.load(Ordering::Acquire));
    let stays = tokio::spawn(stays);
    let is_fed = Arc::new(AtomicBool::new(false));
    let fed_enough = Arc::clone(&is_fed);
    let (log, count) = (Arc::clone(&feeder.log), Arc::clone(&fed));
    let feeding = tokio::spawn(async move {
        while !fed_enough.load(Ordering::Acquire) {
            for partition in 0..PARTITIONS {
                let from = count[partition as usize].load(Ordering::Acquire);
                let records = (from..from + 5).map(|n| record("", &format!("{partition}/{n}")));
                log.append(Topic::Postbacks, partition, records.collect()).await.unwrap();
                count[partition as usize].store(from + 5, Ordering::Release);
            }
            tokio::time::sleep(FEED_PAUSE).await;
        }
    });
    // Two others come and go, one of them with a directory that has a copy from before. They stay
    // until at least one of them was given something.
    for round in 0..3u32 {
        let (given, began) = (Arc::new(AtomicU64::new(0)), Instant::now());
        let guests = [world.start("guest").await, world.start(&format!("new-{round}")).await];
        let guests = guests.map(|process| {
            let counted = Arc::clone(&given);
            let stop = move || {
                let has_moved = counted.load(Ordering::Acquire) > 0;
                (has_moved && began.elapsed() > STAY) || began.elapsed() > PATIENCE
            };
            tokio::spawn(member(process, Arc::clone(&given), stop))
        });
        for guest in guests {
            guest.await.unwrap();
        }
        assert!(given.load(Ordering::Acquire) > 0, "no partition moved in round {round}");
    }
    is_fed.store(true, Ordering::Release);
    feeding.await.unwrap();
    let total: u64 = fed.iter().map(|count| count.load(Ordering::Acquire)).sum();
    let began = Instant::now();
    let mut ends = BTreeMap::new();
    while ends.values().sum::<u64>() < total {
        assert!(began.elapsed() < PATIENCE, "decided {ends:?} of {total}");
        for partition in 0..PARTITIONS {
            let found = read_all(&*feeder.log, Topic::Decisions, partition, 0).await;
            ends.insert(partition, found.len() as u64);
        }
        tokio::time::sleep(ROUND).await;
    }
    is_over.store(true, Ordering::Release);
    stays.await.unwrap();
    for partition in 0..PARTITIONS {
        let decided = values(&read_all(&*feeder.log, Topic::Decisions, partition, 0).await);
        let count = fed[partition as usize].load(Ordering::Acquire);
        let expected: Vec<String> = (0..count).map(|n| format!("{partition}/{n}")).collect();
        assert_eq!(decided, expected, "each once, in order");
    }
}
