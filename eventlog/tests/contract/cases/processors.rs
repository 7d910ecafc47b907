//! Owned partitions: outputs, state and position as one.

use crate::support::{
    LIMIT, Owner, PARTITIONS, PATIENT, Process, ROUND, World, read_all, record, values,
};
use eventlog::{Commit, CommitError, OwnedPartition, Stage};
use schemas::Topic;
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::task::Poll;

fn commit(output: &str, state: &[(&str, Option<&str>)], next_offset: u64) -> Commit {
    let bytes = |text: &str| text.as_bytes().to_vec();
    Commit {
        outputs: vec![
            (Topic::Decisions, 0, record("", output)),
            (Topic::Availability, 0, record("offer/a", output)),
        ],
        state_changes: state.iter().map(|(k, v)| (bytes(k), v.map(bytes))).collect(),
        next_offset,
    }
}

fn get(partition: &dyn OwnedPartition, key: &str) -> Option<String> {
    let value = partition.state().get(key.as_bytes()).unwrap();
    value.map(|value| String::from_utf8_lossy(&value).into_owned())
}

async fn decisions(process: &Process) -> Vec<String> {
    values(&read_all(&*process.log, Topic::Decisions, 0, 0).await)
}

async fn fill(process: &Process, partition: u32, count: usize) {
    let records = (0..count).map(|n| record("", &format!("{partition}/{n}"))).collect();
    process.log.append(Topic::Postbacks, partition, records).await.unwrap();
}

pub async fn a_commit_holds_everything(world: &World) {
    let mut process = world.start("a").await;
    fill(&process, 0, 10).await;
    for round in 0..3u64 {
        let mut owner = Owner::joined_with_all(&process).await;
        let owned = owner.owned.get_mut(&0).unwrap();
        assert_eq!(owned.next_offset(), round * 2);
        let batch = owned.read(PATIENT).await.unwrap();
        assert_eq!(batch.records[0].offset, round * 2);
        for step in 1..=2 {
            let next = round * 2 + step;
            let text = next.to_string();
            let state = [("last", Some(text.as_str())), (&format!("seen {next}"), Some(""))];
            owned.commit(commit(&text, &state, next)).await.unwrap();
            assert_eq!(get(&**owned, "last"), Some(text));
            assert_eq!(owned.next_offset(), next);
        }
        drop(owner);
        process = world.restart(process, "a").await;
    }
    let owner = Owner::joined_with_all(&process).await;
    let owned = &owner.owned[&0];
    assert_eq!((owned.next_offset(), get(&**owned, "last")), (6, Some("6".to_string())));
    assert!((1..=6).all(|n| get(&**owned, &format!("seen {n}")) == Some(String::new())));
    assert_eq!(get(&*owner.owned[&1], "last"), None, "the state of partitions is apart");
    assert_eq!(decisions(&process).await, ["1", "2", "3", "4", "5", "6"]);
    let availability = read_all(&*process.log, Topic::Availability, 0, 0).await;
    assert_eq!(values(&availability).last().unwrap(), "6");
}

pub async fn a_commit_that_is_cut_short_is_whole_or_nothing(world: &World) {
    let mut process = world.start("a").await;
    fill(&process, 0, 100).await;
    let mut certain = 0;
    for round in 0..4 {
        let mut owner = Owner::joined_with_all(&process).await;
        let owned = owner.owned.get_mut(&0).unwrap();
        let text = owned.next_offset().to_string();
        assert_eq!(get(&**owned, "last").unwrap_or("0".to_string()), text, "state and position");
        assert_eq!(decisions(&process).await.len(), owned.next_offset() as usize, "and outputs");
        assert!(owned.next_offset() >= certain, "what was acknowledged stays");
        let next = owned.next_offset() + 1;
        let text = next.to_string();
        let state = [("last", Some(text.as_str()))];
        if round % 2 == 0 {
            // Begun, and then the process ends.
            let mut begun = Box::pin(owned.commit(commit(&text, &state, next)));
            poll_fn(|context| {
                let _ = begun.as_mut().poll(context);
                Poll::Ready(())
            })
            .await;
            tokio::task::yield_now().await;
        } else {
            owned.commit(commit(&text, &state, next)).await.unwrap();
            certain = next;
        }
        drop(owner);
        process = world.restart(process, "a").await;
    }
    let owner = Owner::joined_with_all(&process).await;
    let next = owner.owned[&0].next_offset();
    assert!((certain..=4).contains(&next), "{next}");
    assert_eq!(decisions(&process).await.len(), next as usize);
}

pub async fn state_is_sorted_and_changes(world: &World) {
    let process = world.start("a").await;
    fill(&process, 0, 10).await;
    let mut owner = Owner::joined_with_all(&process).await;
    let owned = owner.owned.get_mut(&0).unwrap();
    let state = [("t/3", Some("c")), ("t/1", Some("a")), ("t/2", Some("b")), ("u", Some("x"))];
    owned.commit(commit("1", &state, 1)).await.unwrap();
    let first = |owned: &dyn OwnedPartition, from: &str, end: &str| {
        let found = owned.state().first_in(from.as_bytes(), end.as_bytes()).unwrap();
        found.map(|(key, _)| String::from_utf8_lossy(&key).into_owned())
    };
    let key = |text: &str| Some(text.to_string());
    assert_eq!(first(&**owned, "t/", "t0"), key("t/1"));
    assert_eq!(first(&**owned, "t/1", "t/1"), None);
    assert_eq!(first(&**owned, "t/11", "t0"), key("t/2"));
    assert_eq!(first(&**owned, "t/4", "t0"), None);
    assert_eq!(first(&**owned, "z", "a"), None);
    assert_eq!(first(&*owner.owned[&1], "", "~"), None);
    let owned = owner.owned.get_mut(&0).unwrap();
    // Deleted, changed, and both in one commit: the last of a key counts.
    let state =
        [("t/1", None), ("t/2", Some("B")), ("t/2", None), ("t/3", None), ("t/3", Some("C"))];
    owned.commit(commit("2", &state, 2)).await.unwrap();
    assert_eq!(first(&**owned, "t/", "t0"), key("t/3"));
    drop(owner);
    let process = world.restart(process, "a").await;
    let owner = Owner::joined_with_all(&process).await;
    let owned = &*owner.owned[&0];
    assert_eq!((get(owned, "t/1"), get(owned, "t/2")), (None, None));
    assert_eq!((get(owned, "t/3"), get(owned, "u")), (key("C"), key("x")));
}

pub async fn reopening_gives_what_was_committed(world: &World) {
    let process = world.start("a").await;
    fill(&process, 1, 10).await;
    let mut owner = Owner::joined_with_all(&process).await;
    let mut old = owner.owned.remove(&1).unwrap();
    old.read(LIMIT).await.unwrap();
    old.commit(commit("1", &[("k", Some("1"))], 4)).await.unwrap();
    owner.member.reopen(1).await.unwrap();
    owner.until(|owner| owner.owned.contains_key(&1)).await;
    let new = owner.owned.get_mut(&1).unwrap();
    assert_eq!((new.next_offset(), get(&**new, "k")), (4, Some("1".to_string())));
    let late = old.commit(commit("late", &[("k", Some("late"))], 5)).await;
    assert!(matches!(late, Err(CommitError::Fenced(_))), "{late:?}");
    assert_eq!(new.read(PATIENT).await.unwrap().records[0].offset, 4);
    new.commit(commit("2", &[("k", Some("2"))], 5)).await.unwrap();
    assert_eq!(decisions(&process).await, ["1", "2"]);
}

pub async fn whoever_lost_a_partition_cannot_commit(world: &World) {
    let process = world.start("a").await;
    fill(&process, 0, 10).await;
    fill(&process, 1, 10).await;
    let mut first = Owner::joined_with_all(&process).await;
    for owned in first.owned.values_mut() {
        owned.commit(commit("first", &[("k", Some("first"))], 1)).await.unwrap();
    }
    let another = world.start_another(&process, "b").await;
    let mut second = Owner::join(&another).await;
    for _ in 0..300 {
        first.step(ROUND / 10).await;
        second.step(ROUND).await;
        if !second.owned.is_empty() && !first.lost.is_empty() {
            break;
        }
    }
    let (partition, lost) = first.lost.iter_mut().next().expect("a partition moved");
    let late = lost.commit(commit("late", &[("k", Some("late"))], 2)).await;
    assert!(matches!(late, Err(CommitError::Fenced(_))), "{late:?}");
    let partition = *partition;
    second.until(|second| second.owned.contains_key(&partition)).await;
    let owned = second.owned.get_mut(&partition).unwrap();
    assert_eq!((owned.next_offset(), get(&**owned, "k")), (1, Some("first".to_string())));
    owned.commit(commit("second", &[("k", Some("second"))], 2)).await.unwrap();
    let decisions = decisions(&another).await;
    assert!(!decisions.contains(&"late".to_string()), "{decisions:?}");
}

/// Reads what there is and puts one output out for every input.
async fn work(owned: &mut dyn OwnedPartition) -> Result<(), CommitError> {
    let batch = owned.read(eventlog::ReadLimit { records: 7, wait: ROUND / 20, ..LIMIT }).await;
    let batch = batch.unwrap();
    if batch.records.is_empty() {
        return Ok(());
    }
    let seen = get(owned, "count").map_or(0, |count| count.parse::<usize>().unwrap());
    let count = seen + batch.records.len();
    let outputs = batch.records.into_iter().map(|it| (Topic::Decisions, 0, it.record)).collect();
    let state_changes = vec![(b"count".to_vec(), Some(count.to_string().into_bytes()))];
    owned.commit(Commit { outputs, state_changes, next_offset: batch.next_offset }).await
}

async fn work_once(owner: &mut Owner) {
    let mut gone = Vec::new();
    for (partition, owned) in &mut owner.owned {
        match work(&mut **owned).await {
            Ok(()) => {}
            Err(CommitError::Fenced(_)) => gone.push((*partition, false)),
            // Read already, so that this handle would go on after it: begin anew.
            Err(CommitError::Unavailable(_) | CommitError::Unknown(_)) => {
                gone.push((*partition, true));
            }
        }
    }
    for (partition, reopen) in gone {
        owner.owned.remove(&partition);
        if reopen {
            owner.member.reopen(partition).await.unwrap();
        }
    }
}

pub async fn two_processors_process_everything_once(world: &World) {
    const INPUTS: usize = 60;
    let process = world.start("a").await;
    let mut expected = BTreeSet::new();
    for partition in 0..PARTITIONS {
        fill(&process, partition, INPUTS).await;
        expected.extend((0..INPUTS).map(|n| format!("{partition}/{n}")));
    }
    let mut first = Owner::joined_with_all(&process).await;
    work_once(&mut first).await;
    // A second one comes while the first is at work, and goes again later.
    let another = world.start_another(&process, "b").await;
    let mut second = Some(Owner::join(&another).await);
    let mut both_worked = false;
    for round in 0..600 {
        if round % 3 == 0 || second.is_some() {
            first.step(ROUND / 20).await;
        }
        work_once(&mut first).await;
        if let Some(owner) = &mut second {
            owner.step(ROUND / 20).await;
            if !owner.owned.is_empty() {
                work_once(owner).await;
                both_worked = true;
            }
        }
        let done = decisions(&process).await.len();
        if both_worked && done >= INPUTS && first.owned.len() < PARTITIONS as usize {
            // On the local log the second has taken over for good.
            let takes_turns = !first.owned.is_empty();
            if takes_turns {
                second = None;
            }
        }
        if done >= expected.len() {
            break;
        }
    }
    assert!(both_worked);
    let decided = decisions(&process).await;
    assert_eq!(decided.len(), expected.len(), "nothing twice, nothing lost");
    assert_eq!(decided.into_iter().collect::<BTreeSet<_>>(), expected);
}

pub async fn stages_follow_each_other_and_share_nothing(world: &World) {
    let mut process = world.start("a").await;
    fill(&process, 0, 4).await;
    for round in 0..2u64 {
        let mut processors = Owner::joined_with_all(&process).await;
        let mut deliverers = Owner::joined_stage_with_all(&process, Stage::Deliverer).await;
        let next = 2 * (round + 1);
        let text = format!("decided {round}");
        let state = [("last", Some(text.as_str()))];
        let deciding = processors.owned.get_mut(&0).unwrap();
        deciding.commit(commit(&text, &state, next)).await.unwrap();

        let delivering = deliverers.owned.get_mut(&0).unwrap();
        let mut batch = delivering.read(LIMIT).await.unwrap();
        while batch.records.is_empty() {
            batch = delivering.read(LIMIT).await.unwrap();
        }
        assert_eq!(values(&batch.records), [text.as_str()], "read on from where it was committed");
        let told = format!("told {round}");
        let before = round.checked_sub(1).map(|round| format!("told {round}"));
        assert_eq!(get(&**delivering, "last"), before);
        let outputs = vec![(Topic::Deliveries, 0, record("", &told))];
        let state_changes = vec![(b"last".to_vec(), Some(told.clone().into_bytes()))];
        let step = Commit { outputs, state_changes, next_offset: batch.next_offset };
        delivering.commit(step).await.unwrap();
        assert_eq!(get(&**delivering, "last"), Some(told));
        assert_eq!(get(&*processors.owned[&0], "last"), Some(text));
        drop((processors, deliverers));
        process = world.restart(process, "a").await;
    }
    let deliveries = read_all(&*process.log, Topic::Deliveries, 0, 0).await;
    assert_eq!(values(&deliveries), ["told 0", "told 1"]);
}
