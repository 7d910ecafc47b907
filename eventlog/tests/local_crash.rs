//! The local log's process is killed outright, again and again: every acknowledged record is there
//! afterwards, in order, and none that nobody wrote.

use eventlog::local::{LocalConfig, LocalLog};
use eventlog::{Commit, EventLog, OwnedPartition, ProcessorEvent, ReadLimit, Record, Stage};
use schemas::{Topic, UnixMillis};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Names the directory to the child, which is this test once more.
const CHILD: &str = "GOKART_TEST_CRASH_DIR";
const ROUNDS: usize = 12;
const LIMIT: ReadLimit =
    ReadLimit { records: 10_000, bytes: 64 << 20, wait: Duration::from_millis(50) };

fn open(dir: &Path) -> std::sync::Arc<LocalLog> {
    let config = LocalConfig { min_free_disk_bytes: 0, ..LocalConfig::new(dir, 1) };
    LocalLog::open(config).expect("the log opens after every crash")
}

async fn own(log: &LocalLog) -> Box<dyn OwnedPartition> {
    let mut member = log.join_stage(Stage::Processor).await.unwrap();
    match member.next_event(LIMIT.wait).await.unwrap() {
        Some(ProcessorEvent::Assigned(owned)) => owned,
        Some(ProcessorEvent::Revoked(_)) | None => panic!("not assigned"),
    }
}

fn record(value: String) -> Record {
    Record { key: "".into(), value: value.into(), at: UnixMillis(1) }
}

/// Appends and commits until it is killed; prints what is acknowledged.
async fn write_until_killed(dir: &Path) {
    let log = open(dir);
    let mut owned = own(&log).await;
    let mut say = std::io::stdout();
    for n in 0u64.. {
        let appends = (0..8).map(|m| {
            let value = format!("{}.{n}.{m} {}", std::process::id(), "x".repeat(300));
            log.append(Topic::Clicks, 0, vec![record(value)])
        });
        let appended = futures_util::future::join_all(appends);
        let input = log.append(Topic::Postbacks, 0, vec![record(n.to_string())]).await.unwrap();
        assert!(input >= owned.next_offset(), "committed past the input");
        let next_offset = owned.next_offset() + 1;
        let commit = Commit {
            outputs: vec![(Topic::Decisions, 0, record(next_offset.to_string()))],
            state_changes: vec![(b"n".to_vec(), Some(next_offset.to_string().into_bytes()))],
            next_offset,
        };
        let (appended, committed) = tokio::join!(appended, owned.commit(commit));
        for (m, offset) in appended.into_iter().enumerate() {
            let offset = offset.unwrap();
            writeln!(say, "append {offset} {}.{n}.{m}", std::process::id()).unwrap();
        }
        committed.unwrap();
        writeln!(say, "commit {next_offset}").unwrap();
    }
}

#[test]
fn every_acknowledged_record_survives_a_kill() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if let Ok(dir) = std::env::var(CHILD) {
        return runtime.block_on(write_until_killed(Path::new(&dir)));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: BTreeMap<u64, String> = BTreeMap::new();
    let mut committed = 0;
    let mut children = Vec::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "every_acknowledged_record_survives_a_kill", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        children.push(child.id().to_string());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // After another number of lines each time, in the middle of whatever it is doing.
        for _ in 0..20 + round * 37 {
            note(&lines.next().unwrap().unwrap(), &mut acknowledged, &mut committed);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had said before it died counts as well; the last line may be cut.
        let said: Vec<String> = lines.map_while(Result::ok).collect();
        for line in said.iter().take(said.len().saturating_sub(1)) {
            note(line, &mut acknowledged, &mut committed);
        }
        runtime.block_on(check(dir.path(), &acknowledged, &mut committed, &children));
    }
    assert!(acknowledged.len() > 1_000, "only {} were written", acknowledged.len());
}

fn note(line: &str, acknowledged: &mut BTreeMap<u64, String>, committed: &mut u64) {
    // The test harness's own lines say nothing.
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        [.., "append", offset, value] => {
            let other = acknowledged.insert(offset.parse().unwrap(), value.to_string());
            assert_eq!(other, None, "an offset was given out twice");
        }
        ["commit", next] => *committed = next.parse().unwrap(),
        _ => {}
    }
}

async fn check(
    dir: &Path,
    acknowledged: &BTreeMap<u64, String>,
    committed: &mut u64,
    children: &[String],
) {
    let log = open(dir);
    let end = log.bounds(Topic::Clicks, 0).await.unwrap().end;
    let mut found = BTreeMap::new();
    let mut reader = log.read_from(Topic::Clicks, 0, 0).await.unwrap();
    let mut next = 0;
    while next < end {
        let batch = reader.read(LIMIT).await.unwrap();
        next = batch.next_offset;
        for stored in batch.records {
            let value = String::from_utf8(stored.record.value.to_vec()).unwrap();
            let value = value.split(' ').next().unwrap_or_default().to_string();
            found.insert(stored.offset, value);
        }
    }
    for (offset, value) in acknowledged {
        assert_eq!(found.get(offset), Some(value), "acknowledged, and not there");
    }
    assert!(found.keys().copied().eq(0..end), "offsets have no holes");
    let mut seen = std::collections::BTreeSet::new();
    for value in found.values() {
        let by = value.split('.').next().unwrap_or_default().to_string();
        assert!(children.contains(&by), "nobody wrote {value}");
        assert!(seen.insert(value), "{value} is there twice");
    }
    // Output, state and position of the same commit, whichever was the last one.
    let owned = own(&log).await;
    let last = owned.next_offset();
    assert!(last >= *committed, "a commit is gone: {last} < {committed}");
    let state = owned.state().get(b"n").unwrap().unwrap_or_else(|| "0".into());
    assert_eq!(state, last.to_string());
    assert_eq!(log.bounds(Topic::Decisions, 0).await.unwrap().end, last);
    *committed = last;
    drop(owned);
    log.close().await;
}
