//! The local log: everything is killed again and again while conversions come in and publishers
//! answer, do not answer, or refuse.

use super::support::{
    ADVERTISER, ALLOW, HELD_MS, OFFER, PUBLISHER, check_always, configure, send_all, until_seen,
    until_settled, until_told,
};
use anyhow::{Result, ensure};
use tests::receiver::{Mood, Receiver};
use tests::stack::Stack;

const CLICKS: usize = 30;
/// Past the first wait before an attempt is repeated, and past a breaker that opened.
const AGAIN_MS: i64 = 60_000;

#[tokio::test(flavor = "multi_thread")]
async fn killed_under_load_each_success_is_told_once_in_effect() -> Result<()> {
    let Some(mut stack) = Stack::local_telling(ALLOW).await? else { return Ok(()) };
    let receiver = Receiver::start().await?;
    configure(&stack, &receiver, "[1]")?;
    let path = stack.postback_path(ADVERTISER)?;
    let clicks = stack.clicks(OFFER, PUBLISHER, CLICKS).await?;

    // Killed while requests wait for their answers, after refusals, and in the middle of it all.
    let moods = [Mood::Silent, Mood::Status(503), Mood::Status(200)];
    for (mood, clicks) in moods.into_iter().zip(clicks.chunks(CLICKS / 3)) {
        let before = receiver.seen("/live").len();
        receiver.answer("/live", mood);
        let sender = tokio::spawn(send_all(stack.ingest, path.clone(), clicks.to_vec()));
        until_seen(&stack, &receiver, before + 1, |_| true).await?;
        stack.process("up")?.kill()?;
        receiver.answer("/live", Mood::Status(200));
        stack.start_role("up").await?;
        sender.await?;
        stack.advance_ms(AGAIN_MS)?;
    }
    until_told(&stack, &receiver, "Now", &["Success"], CLICKS).await?;
    until_told(&stack, &receiver, "Held", &["Pending"], CLICKS).await?;
    until_settled(&stack, 2 * CLICKS).await?;

    // Nothing is told before it is due, though the deliverer was killed in between.
    stack.advance_ms(HELD_MS - 4 * AGAIN_MS)?;
    stack.process("up")?.kill()?;
    stack.start_role("up").await?;
    check_always(&receiver.seen("/live"))?;
    let held = receiver.seen("/live");
    ensure!(
        !held.iter().any(|it| it.parameter("e") == "Held" && it.parameter("s") == "Success"),
        "told too soon"
    );
    let is_held =
        |it: &tests::receiver::Seen| it.parameter("e") == "Held" && it.parameter("s") == "Success";
    receiver.answer("/live", Mood::Silent);
    stack.advance_ms(5 * AGAIN_MS)?;
    until_seen(&stack, &receiver, 1, is_held).await?;
    stack.process("up")?.kill()?;
    receiver.answer("/live", Mood::Status(200));
    stack.start_role("up").await?;
    stack.advance_ms(AGAIN_MS)?;
    until_told(&stack, &receiver, "Held", &["Pending", "Success"], CLICKS).await?;

    let seen = receiver.seen("/live");
    check_always(&seen)?;
    ensure!(seen.len() < 2 * 3 * CLICKS, "{} requests for {} deliveries", seen.len(), 3 * CLICKS);
    println!("{} requests for {} deliveries over 5 kills", seen.len(), 3 * CLICKS);
    stack.stop()
}
