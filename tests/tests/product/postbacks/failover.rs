//! Apache Kafka: two sinks, of which one is paused in the middle of attempts and one is killed.

use super::support::{
    ADVERTISER, ALLOW, HELD_MS, OFFER, PUBLISHER, check_always, configure, send_all, told,
    until_seen, until_settled, until_told,
};
use anyhow::{Result, ensure};
use rustix::process::Signal;
use std::time::Duration;
use tests::kafka::Kafka;
use tests::receiver::{Mood, Receiver};
use tests::stack::{SECOND_SINK, Stack};

const CLICKS: usize = 24;
/// How many requests wait for their answers, in `/metrics`.
const IN_FLIGHT: &str = "gokart_delivery_in_flight ";
/// Attempts that are not answered wait until their sink is killed.
const PATIENT: &[&str] = &["--publisher-timeout", "120s"];
/// Long enough for whoever was paused to do what it must not.
const AFTER_PAUSE: Duration = Duration::from_secs(3);
/// Past the first waits before an attempt is repeated, and past a breaker that opened.
const AGAIN_MS: i64 = 60_000;

#[tokio::test(flavor = "multi_thread")]
async fn another_sink_takes_over_from_one_that_was_paused_or_killed() -> Result<()> {
    let Some(kafka) = Kafka::start()? else { return Ok(()) };
    let Some(mut stack) = Stack::on_kafka_telling(&kafka, &[ALLOW, PATIENT].concat()).await? else {
        return Ok(());
    };
    let receiver = Receiver::start().await?;
    configure(&stack, &receiver, "[1]")?;
    let path = stack.postback_path(ADVERTISER)?;
    let clicks = stack.clicks(OFFER, PUBLISHER, CLICKS).await?;
    receiver.answer("/live", Mood::Silent);
    let sender = tokio::spawn(send_all(stack.ingest, path, clicks));
    until_seen(&stack, &receiver, 1, |_| true).await?;
    // All attempts so far are this one's, and it waits for their answers.
    stack.process("sink")?.signal(Signal::STOP)?;
    receiver.answer("/live", Mood::Status(200));
    stack.add_sink().await?;
    sender.await?;
    stack.advance_ms(AGAIN_MS)?;
    until_told(&stack, &receiver, "Now", &["Success"], CLICKS).await?;
    until_told(&stack, &receiver, "Held", &["Pending"], CLICKS).await?;
    until_settled(&stack, 2 * CLICKS).await?;

    // The paused one wakes with what it knew then, and has nothing to say any more.
    let before = receiver.seen("/live").len();
    stack.process("sink")?.signal(Signal::CONT)?;
    tokio::time::sleep(AFTER_PAUSE).await;
    let after = receiver.seen("/live");
    check_always(&after)?;
    ensure!(after.len() == before, "{} told again after the pause", after.len() - before);

    // Held conversions fall due while the second one is killed in the middle of attempts.
    receiver.answer("/live", Mood::Silent);
    stack.advance_ms(HELD_MS)?;
    let is_success =
        |it: &tests::receiver::Seen| it.parameter("e") == "Held" && it.parameter("s") == "Success";
    until_seen(&stack, &receiver, 1, is_success).await?;
    let victim = stack
        .eventually("a sink that waits for an answer", || async {
            for sink in ["sink", SECOND_SINK] {
                let metrics = stack.metrics(sink).await?;
                let in_flight = metrics.lines().find_map(|it| it.strip_prefix(IN_FLIGHT));
                if in_flight.is_some_and(|count| count.trim() != "0") {
                    return Ok(Some(sink));
                }
            }
            Ok(None)
        })
        .await?;
    stack.process(victim)?.kill()?;
    receiver.answer("/live", Mood::Status(200));
    stack.advance_ms(10 * AGAIN_MS)?;
    until_told(&stack, &receiver, "Held", &["Pending", "Success"], CLICKS).await?;
    let seen = receiver.seen("/live");
    check_always(&seen)?;
    ensure!(told(&seen, "Now", &["Success"])? == CLICKS);
    ensure!(seen.len() >= 3 * CLICKS + 2, "nobody was in the middle of an attempt");
    println!("{} requests for {} deliveries", seen.len(), 3 * CLICKS);
    stack.start_role(victim).await?;
    stack.stop()
}
