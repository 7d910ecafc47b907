//! What only the log on the local disk has: a directory, retention and quotas.

use eventlog::local::{LocalConfig, LocalLog, Retention};
use eventlog::{
    AppendError, Commit, EventLog, GroupEvent, OpenError, Position, ProcessorEvent, ReadError,
    Record, Stage,
};
use schemas::{Topic, UnixMillis};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

const WAIT: Duration = Duration::from_millis(100);

fn config(dir: &Path) -> LocalConfig {
    LocalConfig { min_free_disk_bytes: 0, ..LocalConfig::new(dir, 2) }
}

fn record(value: &str, at: i64) -> Record {
    Record { key: "k".into(), value: value.to_string().into(), at: UnixMillis(at) }
}

async fn forget_old(log: &Arc<LocalLog>) -> u64 {
    let log = Arc::clone(log);
    tokio::task::spawn_blocking(move || log.forget_old()).await.unwrap()
}

#[tokio::test]
async fn a_log_that_does_not_fit_is_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(config(dir.path())).unwrap();
    let Err(OpenError::Unavailable(taken)) = LocalLog::open(config(dir.path())) else {
        panic!("opened twice");
    };
    assert!(taken.contains("in use by another process") && taken.lines().count() == 1, "{taken}");
    log.close().await;
    drop(log);
    let other = LocalConfig { partitions: 3, ..config(dir.path()) };
    let Err(OpenError::Configuration(other)) = LocalLog::open(other) else {
        panic!("another partition count");
    };
    assert!(other.contains("2 partitions") && other.lines().count() == 1, "{other}");
    // A file where the directory should be: unwritable for root too.
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let Err(OpenError::Unavailable(no_dir)) = LocalLog::open(config(&file)) else {
        panic!("a file is no directory");
    };
    assert!(no_dir.contains("file") && no_dir.lines().count() == 1, "{no_dir}");
}

#[tokio::test]
async fn nothing_is_taken_after_closing() {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(config(dir.path())).unwrap();
    let taken = log.append(Topic::Clicks, 0, vec![record("a", 0)]);
    log.close().await;
    assert_eq!(taken.await, Ok(0), "what was taken before is written");
    let late = log.append(Topic::Clicks, 0, vec![record("b", 0)]).await;
    assert!(matches!(late, Err(AppendError::Unavailable(_))), "{late:?}");
    log.close().await;
}

#[tokio::test]
async fn retention_goes_by_age_and_waits_for_consumers() {
    let dir = tempfile::tempdir().unwrap();
    let now = Arc::new(AtomicI64::new(1_000));
    let clock = Arc::clone(&now);
    let mut config = config(dir.path());
    config.now = Arc::new(move || UnixMillis(clock.load(Ordering::Relaxed)));
    config.retention.decisions = Retention { age_ms: 500, bytes: 1 << 30 };
    config.retention.postbacks = config.retention.decisions;
    let log = LocalLog::open(config).unwrap();
    let ten = || (0..10).map(|n| record("x", n * 100)).collect::<Vec<_>>();
    for topic in [Topic::Decisions, Topic::Postbacks] {
        log.append(topic, 0, ten()).await.unwrap();
    }
    let first = |topic| {
        let log = Arc::clone(&log);
        async move { log.bounds(topic, 0).await.unwrap().first }
    };
    // Nobody has ever asked for them: by age alone, here 0 to 400.
    assert_eq!((forget_old(&log).await, first(Topic::Decisions).await), (10, 5));
    // A consumer that has just joined is waited for, and one more that has read less.
    let mut fast = log.join("fast", &[Topic::Decisions]).await.unwrap();
    let _slow = log.join("slow", &[Topic::Decisions]).await.unwrap();
    let Some(GroupEvent::Assigned(positions)) = fast.next_event(WAIT).await.unwrap() else {
        panic!("not assigned");
    };
    assert_eq!(positions[0].next_offset, 5);
    let read = Position { next_offset: 9, ..positions[0].clone() };
    fast.commit(vec![read]).await.unwrap();
    let mut processor = log.join_stage(Stage::Processor).await.unwrap();
    let Some(ProcessorEvent::Assigned(mut owned)) = processor.next_event(WAIT).await.unwrap()
    else {
        panic!("not assigned");
    };
    owned.commit(Commit { next_offset: 7, ..Commit::default() }).await.unwrap();
    now.store(1_000_000, Ordering::Relaxed);
    assert_eq!(forget_old(&log).await, 2, "postbacks up to the processor's position");
    assert_eq!((first(Topic::Decisions).await, first(Topic::Postbacks).await), (5, 7));
    let gone = log.read_from(Topic::Postbacks, 0, 6).await.err();
    let (topic, partition) = (Topic::Postbacks, 0);
    let expected = ReadError::OutOfRange { topic, partition, asked: 6, first: 7, end: 10 };
    assert_eq!(gone, Some(expected));
    // Reopened, the bounds are the same, also of a partition that has been emptied.
    owned.commit(Commit { next_offset: 10, ..Commit::default() }).await.unwrap();
    assert_eq!(forget_old(&log).await, 3);
    assert_eq!(log.append(Topic::Postbacks, 0, ten()).await, Ok(10));
}

#[tokio::test]
async fn a_flood_of_clicks_does_not_stop_postbacks() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.now = Arc::new(|| UnixMillis(0));
    config.retention.clicks = Retention { age_ms: i64::MAX, bytes: 20_000 };
    let log = LocalLog::open(config).unwrap();
    let mut sink = log.join("sink", &[Topic::Clicks]).await.unwrap();
    let mut taken = 0;
    let full = loop {
        match log.append(Topic::Clicks, 0, vec![record(&"x".repeat(900), 0)]).await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, AppendError::Full(_)) && (15..25).contains(&taken), "{taken} {full:?}");
    log.append(Topic::Postbacks, 0, vec![record("a", 0)]).await.unwrap();
    assert_eq!(forget_old(&log).await, 0, "not read yet");
    let Some(GroupEvent::Assigned(positions)) = sink.next_event(WAIT).await.unwrap() else {
        panic!("not assigned");
    };
    let end = log.bounds(Topic::Clicks, 0).await.unwrap().end;
    sink.commit(vec![Position { next_offset: end, ..positions[0].clone() }]).await.unwrap();
    let forgotten = forget_old(&log).await;
    assert!((1..taken).contains(&forgotten), "only down to seven eighths, not {forgotten}");
    log.append(Topic::Clicks, 0, vec![record("a", 0)]).await.unwrap();
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_refuses_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let full = LocalConfig { min_free_disk_bytes: u64::MAX, ..config(dir.path()) };
    let log = LocalLog::open(full).unwrap();
    let result = log.append(Topic::Postbacks, 0, vec![record("a", 0)]).await;
    assert!(matches!(result, Err(AppendError::Full(_))), "{result:?}");
}

#[tokio::test]
async fn compacted_topics_keep_one_record_of_a_key() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let log = LocalLog::open(config(dir.path())).unwrap();
        for n in 0..50 {
            let offset = log.append(Topic::Config, 0, vec![record(&n.to_string(), 0)]).await;
            assert_eq!(offset, Ok(round * 50 + n));
        }
        let mut reader = log.read_from(Topic::Config, 0, 0).await.unwrap();
        let limit = eventlog::ReadLimit { records: 100, bytes: 1 << 20, wait: WAIT };
        let batch = reader.read(limit).await.unwrap();
        assert_eq!((batch.records.len(), batch.next_offset), (1, round * 50 + 50));
        log.close().await;
    }
}
