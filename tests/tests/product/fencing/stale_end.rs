//! The end of a partition is known as of now or not at all: a processor whose connection hangs must
//! not go on by the wall clock, for its timers would overtake what arrives meanwhile.

use super::support::{Owner, PATIENCE, PAUSE, World};
use anyhow::{Result, ensure};
use bytes::Bytes;
use eventlog::{EventLog, ReadLimit, Record};
use schemas::{Topic, UnixMillis};
use std::time::Instant;
use tests::kafka_proxy::{Fate, LIST_OFFSETS};

const LIMIT: ReadLimit = ReadLimit { records: 100, bytes: 1 << 20, wait: PAUSE };

async fn until_end(owner: &mut Owner) -> Result<()> {
    let began = Instant::now();
    while !owner.partition.read(LIMIT).await?.at_end {
        ensure!(began.elapsed() < PATIENCE, "the end is not met");
    }
    Ok(())
}

const QUESTIONS: usize = 5;

pub async fn check(world: &World) -> Result<()> {
    let log = world.log(&world.proxied, "stale-", "stale").await?;
    let mut owner = Owner::join(&*log).await?;
    until_end(&mut owner).await?;
    // The broker is not heard of. Somebody else's question may be held instead; then once more.
    let mut was_unknown = false;
    for _ in 0..QUESTIONS {
        world.proxy.next(LIST_OFFSETS, Fate::Hold);
        was_unknown = !owner.partition.read(LIMIT).await?.at_end;
        world.proxy.held().await?.release();
        if was_unknown {
            break;
        }
    }
    ensure!(was_unknown, "an end that nobody confirmed");
    // What has come meanwhile is there before the end is.
    let record = Record { key: Bytes::new(), value: "late".into(), at: UnixMillis(1) };
    log.append(Topic::Postbacks, 0, vec![record]).await?;
    let began = Instant::now();
    loop {
        let batch = owner.partition.read(LIMIT).await?;
        if !batch.records.is_empty() {
            break;
        }
        ensure!(!batch.at_end, "the end came before what was there");
        ensure!(began.elapsed() < PATIENCE, "the record is not read");
    }
    until_end(&mut owner).await
}
