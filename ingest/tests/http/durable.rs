//! On the log that one machine uses: what was answered with 200 is there after a restart.

use crate::support::*;
use eventlog::local::{LocalConfig, LocalLog};
use eventlog::{EventLog, ReadLimit};
use schemas::*;
use std::sync::Arc;
use std::time::Duration;

const PARTITIONS: u32 = 2;

async fn ids_in(log: &dyn EventLog) -> Vec<String> {
    let limit = ReadLimit { records: 100, bytes: 1 << 20, wait: Duration::ZERO };
    let mut ids = Vec::new();
    for partition in 0..PARTITIONS {
        let first = log.bounds(Topic::Postbacks, partition).await.unwrap().first;
        let mut reader = log.read_from(Topic::Postbacks, partition, first).await.unwrap();
        for stored in reader.read(limit).await.unwrap().records {
            let postback: Postback = codec::decode(&stored.record.value).unwrap();
            ids.push(postback.postback_id.to_string());
        }
    }
    ids.sort();
    ids
}

#[tokio::test]
async fn accepted_postbacks_are_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let config =
            LocalConfig { min_free_disk_bytes: 0, ..LocalConfig::new(dir.path(), PARTITIONS) };
        LocalLog::open(config).unwrap()
    };
    let log = open();
    apply(&*log, 1, documents()).await;
    let running = start_on(config(), Arc::clone(&log)).await;
    let mut accepted = Vec::new();
    for _ in 0..20 {
        let answer = running.get(&running.postback_url()).await;
        let id = answer.body.split('"').nth(7).unwrap_or_else(|| panic!("{answer:?}"));
        accepted.push(id.to_owned());
    }
    accepted.sort();
    running.shutdown.trigger();
    running.ended.await.unwrap().unwrap();
    log.close().await;
    drop((log, running.log));
    assert_eq!(ids_in(&*open()).await, accepted);
}
