//! Compacted topics and consumer groups.

use crate::support::{PARTITIONS, Process, ROUND, World, read_all, record};
use eventlog::follow::Follower;
use eventlog::{CommitError, GroupEvent, GroupMember, NOTE_BYTES_MAX, Position};
use schemas::Topic;
use std::collections::BTreeMap;

pub async fn a_compacted_topic_gives_the_last_of_each_key(world: &World) {
    let process = world.start("a").await;
    let mut last = 0;
    for (key, value) in [("a", "1"), ("b", "1"), ("a", "2"), ("c", "1"), ("b", ""), ("a", "3")] {
        let records = vec![record(key, value)];
        let offset = process.log.append(Topic::Config, 0, records).await.unwrap();
        assert!(offset >= last, "offsets grow");
        last = offset + 1;
    }
    // Two of one key in one batch.
    let records = vec![record("d", "1"), record("d", "2")];
    process.log.append(Topic::Config, 0, records).await.unwrap();
    let process = world.restart(process, "a").await;
    let records = vec![record("e", "1")];
    let offset = process.log.append(Topic::Config, 0, records).await.unwrap();
    assert!(offset > last);
    let mut latest = BTreeMap::new();
    for stored in read_all(&*process.log, Topic::Config, 0, 0).await {
        latest.insert(stored.record.key, stored.record.value);
    }
    let text = |(k, v): (&str, &str)| (k.to_string().into(), v.to_string().into());
    let expected = [("a", "3"), ("b", ""), ("c", "1"), ("d", "2"), ("e", "1")].map(text);
    assert_eq!(latest, BTreeMap::from(expected));
}

pub async fn a_follower_catches_up(world: &World) {
    let process = world.start("a").await;
    let mut follower = Follower::start(&*process.log, Topic::Config).await.unwrap();
    assert!(follower.is_caught_up(), "an empty topic is read");
    for n in 0..3 {
        let records = vec![record(&format!("key {n}"), &format!("value {n}"))];
        process.log.append(Topic::Config, 0, records).await.unwrap();
    }
    let mut late = Follower::start(&*process.log, Topic::Config).await.unwrap();
    assert!(!late.is_caught_up());
    for follower in [&mut follower, &mut late] {
        let mut seen = Vec::new();
        for _ in 0..50 {
            seen.extend(follower.next().await.unwrap());
            if seen.len() == 3 && follower.is_caught_up() {
                break;
            }
        }
        assert_eq!(seen, ["value 0", "value 1", "value 2"]);
        assert!(follower.is_caught_up());
    }
}

const TOPICS: [Topic; 2] = [Topic::Clicks, Topic::Decisions];
const PLACES: usize = TOPICS.len() * PARTITIONS as usize;

async fn join(process: &Process) -> (Box<dyn GroupMember>, BTreeMap<(Topic, u32), (u64, String)>) {
    let mut member = process.log.join("sink", &TOPICS).await.unwrap();
    let mut positions = BTreeMap::new();
    for _ in 0..300 {
        if let Some(GroupEvent::Assigned(assigned)) = member.next_event(ROUND).await.unwrap() {
            let place = |p: Position| ((p.topic, p.partition), (p.next_offset, p.note));
            positions.extend(assigned.into_iter().map(place));
        }
        if positions.len() == PLACES {
            return (member, positions);
        }
    }
    panic!("not assigned: {positions:?}");
}

fn position(topic: Topic, partition: u32, next_offset: u64, note: &str) -> Position {
    Position { topic, partition, next_offset, note: note.to_string() }
}

pub async fn positions_and_notes_survive(world: &World) {
    let mut process = world.start("a").await;
    for topic in TOPICS {
        let records = (0..9).map(|n| record("", &n.to_string())).collect();
        process.log.append(topic, 0, records).await.unwrap();
    }
    let (mut member, positions) = join(&process).await;
    assert!(positions.values().all(|position| *position == (0, String::new())), "{positions:?}");
    let long = "é".repeat(NOTE_BYTES_MAX / 2);
    let first =
        vec![position(Topic::Clicks, 0, 5, "plan 0-5"), position(Topic::Decisions, 0, 3, &long)];
    member.commit(first).await.unwrap();
    member.commit(vec![position(Topic::Clicks, 0, 7, "")]).await.unwrap();
    let too_long = vec![position(Topic::Clicks, 0, 8, &"x".repeat(NOTE_BYTES_MAX + 1))];
    assert!(matches!(member.commit(too_long).await, Err(CommitError::Unavailable(_))));
    for _ in 0..2 {
        drop(member);
        process = world.restart(process, "a").await;
        let positions;
        (member, positions) = join(&process).await;
        assert_eq!(positions[&(Topic::Clicks, 0)], (7, String::new()));
        assert_eq!(positions[&(Topic::Decisions, 0)], (3, long.clone()));
        assert_eq!(positions[&(Topic::Decisions, 1)], (0, String::new()));
    }
}

pub async fn only_the_owner_commits_positions(world: &World) {
    let process = world.start("a").await;
    let (mut member, _) = join(&process).await;
    let strange = vec![position(Topic::Postbacks, 0, 1, "")];
    assert!(matches!(member.commit(strange).await, Err(CommitError::Fenced(_))));
    let another = world.start_another(&process, "b").await;
    let mut second = another.log.join("sink", &TOPICS).await.unwrap();
    let mut lost = None;
    for _ in 0..300 {
        if let Some(GroupEvent::Revoked(places)) = member.next_event(ROUND).await.unwrap() {
            lost = places.first().copied();
            break;
        }
        second.next_event(ROUND / 10).await.unwrap();
    }
    let (topic, partition) = lost.expect("a partition moved");
    let result = member.commit(vec![position(topic, partition, 1, "")]).await;
    assert!(matches!(result, Err(CommitError::Fenced(_))), "{result:?}");
}
