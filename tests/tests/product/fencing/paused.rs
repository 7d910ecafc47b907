//! Real processors, one of which is stopped in the middle of a transaction for longer than its
//! session lasts, and goes on when another one has its partitions.

use super::support::{PATIENCE, World, committed, utf8};
use anyhow::{Result, ensure};
use bytes::Bytes;
use eventlog::{EventLog, Record};
use rustix::process::Signal;
use schemas::{AdvertiserId, Decision, Postback, PostbackId, TenantId, Topic, UnixMillis, codec};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tests::kafka_proxy::{ADD_OFFSETS_TO_TXN, END_TXN, Fate, TXN_OFFSET_COMMIT};
use tests::process::{Process, free_address};

/// Shorter than usual, so that a pause is; brokers take no less.
const SESSION: &str = "session.timeout.ms=6000";
/// Longer than a member's session.
const PAUSED: Duration = Duration::from_secs(9);
const AT: UnixMillis = UnixMillis(1_700_000_000_000);

fn postbacks(ids: std::ops::Range<u128>) -> Vec<Record> {
    let postback = |id| Postback {
        postback_id: PostbackId(uuid::Uuid::from_u128(id)),
        tenant: TenantId::new("t").unwrap(),
        advertiser: AdvertiserId::new("a").unwrap(),
        received_at: AT,
        parameters: vec![("cnv_event_id".to_owned(), "Install".to_owned())],
        flags: Vec::new(),
    };
    ids.map(|id| Record { key: Bytes::new(), value: codec::encode(&postback(id)).into(), at: AT })
        .collect()
}

fn processor(world: &World, brokers: &str, prefix: &str, name: &str) -> Result<Process> {
    let keys = world.dir.path().join("keys");
    std::fs::write(&keys, "1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n")?;
    let data = world.dir.path().join(format!("{prefix}{name}"));
    let arguments = [
        ("--log", format!("kafka://{brokers}")),
        ("--topic-prefix", prefix.to_owned()),
        ("--partitions", "1".to_owned()),
        ("--replication", "1".to_owned()),
        ("--retention-age", "1d".to_owned()),
        ("--kafka-property", SESSION.to_owned()),
        ("--data", utf8(&data)?),
        ("--master-key-file", utf8(&keys)?),
        ("--metrics-listen", free_address()?.to_string()),
    ];
    let arguments = arguments.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
    let arguments: Vec<String> = std::iter::once("processor".to_owned()).chain(arguments).collect();
    Process::start(&format!("{prefix}{name}"), world.dir.path(), &arguments)
}

async fn until_said(process: &mut Process, words: &str) -> Result<()> {
    let began = Instant::now();
    while !process.output().contains(words) {
        process.check_alive()?;
        ensure!(began.elapsed() < PATIENCE, "it did not say {words:?}: {}", process.output());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// The first processor is stopped where its request `middle` is on its way, which arrives before
/// or after another one has taken over.
async fn check(world: &World, prefix: &str, middle: i16, arrives_late: bool) -> Result<()> {
    let log = world.log(&world.direct, prefix, "sender").await?;
    let mut first = processor(world, &world.proxied, prefix, "first")?;
    until_said(&mut first, "deciding a partition").await?;
    log.append(Topic::Postbacks, 0, postbacks(0..50)).await?;
    committed(&*log, Topic::Decisions, Some(50)).await?;

    world.proxy.next(middle, Fate::Hold);
    log.append(Topic::Postbacks, 0, postbacks(50..100)).await?;
    let held = world.proxy.held().await?;
    first.signal(Signal::STOP)?;
    let held = if arrives_late {
        Some(held)
    } else {
        held.release();
        None
    };
    let mut second = processor(world, &world.direct, prefix, "second")?;
    tokio::time::sleep(PAUSED).await;
    until_said(&mut second, "deciding a partition").await?;
    log.append(Topic::Postbacks, 0, postbacks(100..150)).await?;
    committed(&*log, Topic::Decisions, Some(150)).await?;
    // The first one goes on as if nothing had happened, and so does its request.
    first.signal(Signal::CONT)?;
    if let Some(held) = held {
        held.release();
    }
    log.append(Topic::Postbacks, 0, postbacks(150..200)).await?;
    committed(&*log, Topic::Decisions, Some(200)).await?;
    // It may still try; and it takes part again when the second one goes.
    second.stop()?;
    log.append(Topic::Postbacks, 0, postbacks(200..250)).await?;
    let decisions = committed(&*log, Topic::Decisions, Some(250)).await?;
    first.check_alive()?;
    ensure!(first.stop()?.success(), "{}", first.output());

    let mut seen: BTreeMap<u128, usize> = BTreeMap::new();
    for value in &decisions {
        let decision: Decision = codec::decode(value)?;
        let Some(postback) = decision.postback else { continue };
        *seen.entry(postback.postback_id.0.as_u128()).or_default() += 1;
    }
    ensure!(seen.len() == 250 && seen.values().all(|count| *count == 1), "{prefix}: {seen:?}");
    let after = committed(&*log, Topic::Decisions, None).await?;
    ensure!(after.len() == 250, "{prefix}: {} decisions", after.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_processor_that_was_paused_commits_nothing_of_what_it_lost() -> Result<()> {
    let Some(world) = World::start().await? else { return Ok(()) };
    check(&world, "before-offsets-", ADD_OFFSETS_TO_TXN, true).await?;
    check(&world, "before-commit-", TXN_OFFSET_COMMIT, true).await?;
    check(&world, "before-end-", END_TXN, true).await?;
    check(&world, "end-arrives-", END_TXN, false).await
}
