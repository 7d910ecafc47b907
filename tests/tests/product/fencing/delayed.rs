//! Requests of a transaction that arrive only when the next one has begun. librdkafka repeats a
//! request when its connection breaks; the first may still be on its way, and its number, epoch and
//! transactional id fit the next transaction of the same producer as well.

use super::support::{Owner, World, committed};
use anyhow::{Context, Result, ensure};
use eventlog::{Commit, EventLog, Record};
use schemas::{Topic, UnixMillis};
use tests::kafka_proxy::{ADD_OFFSETS_TO_TXN, END_TXN, Fate, TXN_OFFSET_COMMIT};

const AT: UnixMillis = UnixMillis(1_700_000_000_000);

fn record(value: &str) -> Record {
    Record { key: bytes::Bytes::new(), value: value.to_owned().into(), at: AT }
}

/// Outputs, state and position of one input.
fn commit(next: u64) -> Commit {
    let text = next.to_string();
    let state = |key: String| (key.into_bytes(), Some(text.clone().into_bytes()));
    Commit {
        outputs: (0..3).map(|n| (Topic::Decisions, 0, record(&format!("{text}.{n}")))).collect(),
        state_changes: vec![state("last".to_owned()), state(format!("seen {text}"))],
        next_offset: next,
    }
}

/// The outputs of the commits up to `last`, each once and in order.
fn outputs(last: u64) -> Vec<Vec<u8>> {
    (1..=last).flat_map(|at| (0..3).map(move |n| format!("{at}.{n}").into_bytes())).collect()
}

/// In the second commit the request `delayed` is held back and repeated by the client. In the
/// middle of the third, where `middle` is on its way, the first copy arrives.
async fn check(world: &World, prefix: &str, delayed: i16, middle: i16) -> Result<()> {
    let log = world.log(&world.proxied, prefix, &format!("{prefix}one")).await?;
    let watcher = world.log(&world.direct, prefix, "watcher").await?;
    let inputs = (0..10).map(|n| record(&n.to_string())).collect();
    log.append(Topic::Postbacks, 0, inputs).await?;
    let Owner { member, mut partition } = Owner::join(&*log).await?;
    partition.commit(commit(1)).await?;

    world.proxy.next(delayed, Fate::HoldAndCut);
    let (second, late) = tokio::join!(partition.commit(commit(2)), world.proxy.held());
    second.context("the client repeats the request")?;
    let late = late?;

    world.proxy.next(middle, Fate::Hold);
    let third = tokio::spawn(async move {
        let outcome = partition.commit(commit(3)).await;
        (partition, outcome)
    });
    let in_the_middle = world.proxy.held().await?;
    let answer = late.release_and_hear().await?;
    // Everything of the third is written but its end: none of it may show.
    let shown = committed(&*watcher, Topic::Decisions, None).await?;
    ensure!(shown == outputs(2), "half a transaction shows after {answer:?}: {shown:?}");
    let state = committed(&*watcher, Topic::ProcessorState, None).await?;
    ensure!(state.len() == 6, "half a transaction is in the state: {state:?}");
    in_the_middle.release();

    let (partition, outcome) = third.await?;
    outcome.context("the third commit")?;
    ensure!(partition.next_offset() == 3);
    drop((partition, member));
    log.close().await;
    drop(log);
    // Somebody else finds all of it, once, and goes on.
    let log = world.log(&world.direct, prefix, &format!("{prefix}two")).await?;
    let Owner { member: _member, mut partition } = Owner::join(&*log).await?;
    ensure!(partition.next_offset() == 3, "goes on at {}", partition.next_offset());
    let last = partition.state().get(b"last")?;
    ensure!(last.as_deref() == Some(b"3"), "{last:?}");
    partition.commit(commit(4)).await?;
    let shown = committed(&*watcher, Topic::Decisions, Some(outputs(4).len())).await?;
    ensure!(shown == outputs(4), "{shown:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_arrives_late_is_too_late() -> Result<()> {
    let Some(world) = World::start().await? else { return Ok(()) };
    check(&world, "end-", END_TXN, TXN_OFFSET_COMMIT).await?;
    check(&world, "end-at-end-", END_TXN, END_TXN).await?;
    check(&world, "commit-", TXN_OFFSET_COMMIT, END_TXN).await?;
    check(&world, "offsets-", ADD_OFFSETS_TO_TXN, TXN_OFFSET_COMMIT).await?;
    super::stale_end::check(&world).await
}
