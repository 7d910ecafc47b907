//! Appending and reading.

use crate::support::{LIMIT, World, read_all, record, values};
use bytes::Bytes;
use eventlog::limits::RECORD_BYTES_MAX;
use eventlog::{AppendError, ReadError, ReadLimit, Record};
use schemas::{Topic, UnixMillis};

pub async fn records_come_back_in_order(world: &World) {
    let process = world.start("a").await;
    let log = &process.log;
    let mut written = Vec::new();
    for n in 0..20 {
        let batch: Vec<Record> = (0..n % 4 + 1)
            .map(|m| Record {
                key: if m == 0 { Bytes::new() } else { Bytes::from(format!("key {n}")) },
                value: Bytes::from(format!("value {n}.{m}")),
                at: UnixMillis(1_700_000_000_000 + n),
            })
            .collect();
        let first = log.append(Topic::Postbacks, 1, batch.clone()).await.unwrap();
        written.extend((first..).zip(batch));
    }
    let read = read_all(&**log, Topic::Postbacks, 1, 0).await;
    let read: Vec<_> = read.into_iter().map(|stored| (stored.offset, stored.record)).collect();
    assert_eq!(read, written);
    assert!(read_all(&**log, Topic::Postbacks, 0, 0).await.is_empty(), "partitions are apart");
    assert!(read_all(&**log, Topic::Clicks, 1, 0).await.is_empty(), "topics are apart");
    let (tail, from) = (&written[7..], written[7].0);
    let read = read_all(&**log, Topic::Postbacks, 1, from).await;
    assert_eq!(read.len(), tail.len());
    assert_eq!(read[0].record, tail[0].1);
}

pub async fn pipelined_appends_keep_their_order(world: &World) {
    let process = world.start("a").await;
    let append = |n: u32| process.log.append(Topic::Clicks, 0, vec![record("", &n.to_string())]);
    let appends: Vec<_> = (0..500).map(append).collect();
    let offsets = futures_util::future::try_join_all(appends).await.unwrap();
    assert!(offsets.is_sorted_by(|a, b| a < b));
    let read = read_all(&*process.log, Topic::Clicks, 0, 0).await;
    assert_eq!(values(&read), (0..500).map(|n| n.to_string()).collect::<Vec<_>>());
}

pub async fn an_acknowledged_record_is_visible_and_stays(world: &World) {
    let mut process = world.start("a").await;
    for n in 0..3 {
        let mut reader = {
            let end = process.log.bounds(Topic::Postbacks, 0).await.unwrap().end;
            process.log.read_from(Topic::Postbacks, 0, end).await.unwrap()
        };
        let text = format!("round {n}");
        let offset =
            process.log.append(Topic::Postbacks, 0, vec![record("", &text)]).await.unwrap();
        let mut seen = Vec::new();
        for _ in 0..50 {
            seen.extend(reader.read(LIMIT).await.unwrap().records);
            if !seen.is_empty() {
                break;
            }
        }
        assert_eq!((values(&seen), seen[0].offset), (vec![text], offset));
        drop(reader);
        process = world.restart(process, "a").await;
    }
    let read = read_all(&*process.log, Topic::Postbacks, 0, 0).await;
    assert_eq!(values(&read), ["round 0", "round 1", "round 2"]);
}

pub async fn bounds_follow_the_records(world: &World) {
    let process = world.start("a").await;
    let log = &process.log;
    assert_eq!(log.partitions(Topic::Postbacks), crate::support::PARTITIONS);
    assert_eq!(log.partitions(Topic::Config), 1);
    let bounds = log.bounds(Topic::Decisions, 0).await.unwrap();
    assert_eq!((bounds.first, bounds.end), (0, 0));
    let records = vec![record("", "a"), record("", "b")];
    let first = log.append(Topic::Decisions, 0, records).await.unwrap();
    let bounds = log.bounds(Topic::Decisions, 0).await.unwrap();
    assert_eq!((bounds.first, bounds.end), (first, first + 2));
    let mut reader = log.read_from(Topic::Decisions, 0, bounds.end).await.unwrap();
    let batch = reader.read(LIMIT).await.unwrap();
    assert_eq!((batch.records.len(), batch.next_offset, batch.at_end), (0, bounds.end, true));
}

pub async fn reading_past_the_end_is_out_of_range(world: &World) {
    let process = world.start("a").await;
    process.log.append(Topic::Postbacks, 0, vec![record("", "a")]).await.unwrap();
    let error = match process.log.read_from(Topic::Postbacks, 0, 99).await {
        Err(error) => error,
        Ok(mut reader) => {
            let mut rounds = 0;
            loop {
                match reader.read(LIMIT).await {
                    Err(error) => break error,
                    Ok(batch) => assert_eq!(batch.records, [], "never skipped or invented"),
                }
                rounds += 1;
                assert!(rounds < 100, "no error came");
            }
        }
    };
    let ReadError::OutOfRange { topic, partition, asked, first, end } = error else {
        panic!("{error:?}");
    };
    assert_eq!((topic, partition, asked, first, end), (Topic::Postbacks, 0, 99, 0, 1));
}

pub async fn what_no_log_can_take_is_refused(world: &World) {
    let process = world.start("a").await;
    let refused = [
        (Topic::Postbacks, 2, record("", "no such partition")),
        (Topic::Config, 1, record("k", "no such partition")),
        (Topic::Config, 0, record("", "no key")),
        (Topic::Clicks, 0, record("", &"x".repeat(RECORD_BYTES_MAX + 1))),
    ];
    for (topic, partition, record) in refused {
        let result = process.log.append(topic, partition, vec![record]).await;
        assert!(matches!(result, Err(AppendError::Refused(_))), "{topic}/{partition}: {result:?}");
    }
    assert_eq!(process.log.bounds(Topic::Clicks, 0).await.unwrap().end, 0);
}

pub async fn records_of_all_sizes(world: &World) {
    let process = world.start("a").await;
    let sizes = [1, 100, 4_096, 65_537, 900_000, RECORD_BYTES_MAX, 2];
    for size in sizes {
        // Not compressible, so that it is as large on the way as it says.
        let mut random = eventlog::simulated::Random::new(size as u64);
        let value: Vec<u8> = (0..size).map(|_| random.next_u64() as u8).collect();
        let record = Record { key: Bytes::new(), value: value.into(), at: UnixMillis(1) };
        process.log.append(Topic::Clicks, 1, vec![record]).await.unwrap();
    }
    let read = read_all(&*process.log, Topic::Clicks, 1, 0).await;
    assert_eq!(read.iter().map(|stored| stored.record.value.len()).collect::<Vec<_>>(), sizes);
    // The first record comes, however small the limit is, and nothing is lost between two reads.
    let mut reader = process.log.read_from(Topic::Clicks, 1, 0).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..100 {
        let batch = reader.read(ReadLimit { bytes: 1, ..LIMIT }).await.unwrap();
        assert!(batch.records.len() <= 1);
        seen.extend(batch.records.iter().map(|stored| stored.record.value.len()));
        if seen.len() == sizes.len() {
            break;
        }
    }
    assert_eq!(seen, sizes);
}

pub async fn an_empty_append_writes_nothing(world: &World) {
    let process = world.start("a").await;
    assert_eq!(process.log.append(Topic::Clicks, 0, Vec::new()).await, Ok(0));
    process.log.append(Topic::Clicks, 0, vec![record("", "a")]).await.unwrap();
    assert_eq!(process.log.append(Topic::Clicks, 0, Vec::new()).await, Ok(1));
    assert_eq!(values(&read_all(&*process.log, Topic::Clicks, 0, 0).await), ["a"]);
}
