//! What only Kafka has: brokers that are away, topics that somebody else made, and a producer that
//! another one fences.

use crate::support::{
    LIMIT, Owner, PARTITIONS, PATIENT, Process, ROUND, World, read_all, record, values,
};
use eventlog::kafka::{KafkaConfig, KafkaLog};
use eventlog::{Commit, CommitError, EventLog, OpenError, ReadError, Stage};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use schemas::Topic;
use std::time::{Duration, Instant};

fn commit(output: &str, next_offset: u64) -> Commit {
    Commit {
        outputs: vec![(Topic::Decisions, 0, record("", output))],
        state_changes: vec![(b"k".to_vec(), Some(output.as_bytes().to_vec()))],
        next_offset,
    }
}

async fn fill(process: &Process) {
    let records = (0..10).map(|n| record("", &n.to_string())).collect();
    process.log.append(Topic::Postbacks, 0, records).await.unwrap();
}

async fn refused(config: KafkaConfig) -> OpenError {
    let error = KafkaLog::connect(config).await.err().expect("refused");
    assert_eq!(error.to_string().lines().count(), 1, "one line: {error}");
    error
}

#[tokio::test]
async fn an_unreachable_broker_is_one_line_in_bounded_time() {
    let mut config = KafkaConfig::new("127.0.0.1:1", PARTITIONS, "unused");
    config.connect_timeout = Duration::from_secs(1);
    let begun = Instant::now();
    let error = refused(config).await;
    assert!(
        matches!(&error, OpenError::Unavailable(why) if why.contains("127.0.0.1:1")),
        "{error}"
    );
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn wrong_settings_are_the_users() {
    let mut config = KafkaConfig::new("127.0.0.1:1", PARTITIONS, "unused");
    config.properties = vec![("no.such.setting".to_string(), "1".to_string())];
    assert!(matches!(refused(config.clone()).await, OpenError::Configuration(_)));
    config.properties = vec![("acks".to_string(), "0".to_string())];
    assert!(matches!(refused(config).await, OpenError::Configuration(_)));
}

#[tokio::test]
async fn a_place_for_state_that_another_process_has_is_no_reason_to_wait() {
    let Some(world) = World::kafka() else { return };
    let config = world.kafka_config("a");
    let first = KafkaLog::connect(config.clone()).await.unwrap();
    let _member = first.join_stage(Stage::Processor).await.unwrap();
    let second = KafkaLog::connect(config).await.unwrap();
    match second.join_stage(Stage::Processor).await {
        Err(error @ ReadError::Unusable(_)) => {
            assert_eq!(error.to_string().lines().count(), 1, "one line: {error}");
        }
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("two processes with one place"),
    }
}

#[tokio::test]
async fn a_fenced_producer_commits_nothing_and_reopens_with_what_was_committed() {
    let Some(world) = World::kafka() else { return };
    let mut config = world.kafka_config("a");
    config.instance_id = Some("one".to_string());
    let first = Process::on(KafkaLog::connect(config.clone()).await.unwrap());
    fill(&first).await;
    let mut owner = Owner::joined_with_all(&first).await;
    let owned = owner.owned.get_mut(&0).unwrap();
    owned.commit(commit("1", 1)).await.unwrap();
    // A producer of the same instance begins, as after a pause that was taken for the end.
    config.state_dir = world.path("elsewhere");
    let second = Process::on(KafkaLog::connect(config).await.unwrap());
    let same_instance = second.log.join_stage(Stage::Processor).await.unwrap();
    let late = owned.commit(commit("late", 2)).await;
    assert!(late.is_err(), "committed by a fenced producer");
    drop(same_instance);
    owner.owned.remove(&0);
    owner.member.reopen(0).await.unwrap();
    owner.until(|owner| owner.owned.contains_key(&0)).await;
    let mut done = 1;
    // The group may be dealing partitions out once more: whoever owns it tries again.
    for _ in 0..100 {
        let Some(owned) = owner.owned.get_mut(&0) else {
            owner.step(ROUND).await;
            continue;
        };
        assert_eq!(owned.next_offset(), done);
        assert_eq!(owned.state().get(b"k").unwrap().unwrap(), done.to_string());
        match owned.commit(commit(&(done + 1).to_string(), done + 1)).await {
            Ok(()) => done += 1,
            Err(CommitError::Fenced(_)) => drop(owner.owned.remove(&0)),
            Err(CommitError::Unavailable(_)) => {}
            Err(CommitError::Unknown(why)) => panic!("{why}"),
        }
        owner.step(ROUND).await;
        if done == 3 {
            break;
        }
    }
    let decisions = read_all(&*first.log, Topic::Decisions, 0, 0).await;
    assert_eq!(values(&decisions), ["1", "2", "3"]);
}

#[tokio::test]
async fn a_lost_copy_of_the_state_is_built_anew() {
    let Some(world) = World::kafka() else { return };
    let mut process = world.start("a").await;
    fill(&process).await;
    let mut owner = Owner::joined_with_all(&process).await;
    let owned = owner.owned.get_mut(&0).unwrap();
    for n in 1..=5 {
        owned.commit(commit(&n.to_string(), n)).await.unwrap();
    }
    drop(owner);
    // Another directory: nothing of the copy is there.
    process = world.restart(process, "b").await;
    let mut owner = Owner::joined_with_all(&process).await;
    let owned = owner.owned.get_mut(&0).unwrap();
    assert_eq!(owned.next_offset(), 5);
    assert_eq!(owned.state().get(b"k").unwrap().unwrap(), "5");
    owned.commit(commit("6", 6)).await.unwrap();
    drop(owner);
    // And the first directory again: its copy is behind, and is caught up.
    process = world.restart(process, "a").await;
    let mut owner = Owner::joined_with_all(&process).await;
    let owned = owner.owned.get_mut(&0).unwrap();
    assert_eq!(owned.next_offset(), 6);
    assert_eq!(owned.state().get(b"k").unwrap().unwrap(), "6");
    assert_eq!(owned.read(PATIENT).await.unwrap().records[0].offset, 6);
}

#[tokio::test]
async fn an_open_transaction_is_not_there() {
    let Some(world) = World::kafka() else { return };
    let process = world.start("a").await;
    let config = world.kafka_config("a");
    let producer: ThreadedProducer<_> = ClientConfig::new()
        .set("bootstrap.servers", &config.brokers)
        .set("transactional.id", format!("{}open", config.topic_prefix))
        .create()
        .unwrap();
    let within = Duration::from_secs(30);
    let name = format!("{}decisions", config.topic_prefix);
    let send = |text: &'static str| {
        let message = BaseRecord::<(), str>::to(&name).partition(0).payload(text);
        producer.send(message).map_err(|(error, _)| error).unwrap();
        producer.flush(within).unwrap();
    };
    producer.init_transactions(within).unwrap();
    let bounds = || process.log.bounds(Topic::Decisions, 0);
    for (text, end) in [("aborted", 2), ("committed", 4)] {
        let before = bounds().await.unwrap();
        producer.begin_transaction().unwrap();
        send(text);
        assert_eq!(bounds().await.unwrap(), before, "the end is the last stable offset");
        let mut reader = process.log.read_from(Topic::Decisions, 0, before.end).await.unwrap();
        assert_eq!(reader.read(LIMIT).await.unwrap().records, []);
        match text {
            "aborted" => producer.abort_transaction(within).unwrap(),
            _ => producer.commit_transaction(within).unwrap(),
        }
        // The marker, which no reader sees, takes an offset as well.
        for _ in 0..100 {
            if bounds().await.unwrap().end == end {
                break;
            }
        }
        assert_eq!(bounds().await.unwrap().end, end);
    }
    let read = read_all(&*process.log, Topic::Decisions, 0, 0).await;
    assert_eq!((values(&read), read[0].offset), (vec!["committed".to_string()], 2));
}
