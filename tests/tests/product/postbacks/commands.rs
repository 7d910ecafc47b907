//! What people ask: who was told, send it again, try a postback, tell the story.

use super::support::{ADVERTISER, ALLOW, OFFER, PUBLISHER, configure, until_told};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::receiver::{Mood, Receiver};
use tests::stack::Stack;

fn rows(answer: &Value) -> Vec<Value> {
    answer["rows"].as_array().cloned().unwrap_or_default()
}

async fn until_listed(stack: &Stack, arguments: &[&str], count: usize) -> Result<Vec<Value>> {
    let all = [&["deliveries", "--publisher", PUBLISHER], arguments].concat();
    stack
        .eventually(&format!("{count} rows of {all:?}"), || async {
            let found = rows(&stack.gokart_json(&all)?);
            Ok((found.len() == count).then_some(found))
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_listed_resent_tried_and_explained() -> Result<()> {
    let Some(mut stack) = Stack::local_telling(ALLOW).await? else { return Ok(()) };
    let receiver = Receiver::start().await?;
    configure(&stack, &receiver, "[1]")?;
    let path = stack.postback_path(ADVERTISER)?;
    let clicks = stack.clicks(OFFER, PUBLISHER, 3).await?;
    let send = async |click: &str| -> Result<()> {
        let answer =
            stack.postback(&path, &format!("cnv_event_id=Now&gk_click_id={click}")).await?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(())
    };
    send(&clicks[0]).await?;
    send(&clicks[1]).await?;
    until_told(&stack, &receiver, "Now", &["Success"], 2).await?;
    receiver.answer("/live", Mood::Status(404));
    send(&clicks[2]).await?;

    let failed = until_listed(&stack, &["--outcome", "failed"], 1).await?;
    let delivered = until_listed(&stack, &["--outcome", "delivered"], 2).await?;
    ensure!(failed[0]["http_status"] == 404 && failed[0]["attempt"] == 1, "{failed:?}");
    let of_click = until_listed(&stack, &["--click", &clicks[0]], 1).await?;
    ensure!(of_click[0]["destination"] == "publisher/told/default", "{of_click:?}");
    let table = stack.gokart(&["deliveries", "--publisher", PUBLISHER])?;
    let id = failed[0]["delivery_id"].as_str().context("an id")?.to_owned();
    ensure!(table.contains(&id) && table.contains("failed"), "{table}");

    // One again, with its id, and then all that were delivered.
    receiver.answer("/live", Mood::Status(200));
    let resend = ["deliveries", "--delivery", &id, "--resend"];
    let answer = stack.gokart_json(&resend)?;
    ensure!(answer["resent"] == 1, "{answer}");
    until_listed(&stack, &["--outcome", "delivered"], 3).await?;
    let requests = receiver.seen("/live");
    ensure!(requests.iter().filter(|it| it.id() == id).count() == 2, "{requests:?}");
    let many = ["deliveries", "--publisher", PUBLISHER, "--outcome", "delivered", "--resend"];
    let answer = stack.gokart_json(&many)?;
    ensure!(answer["resent"] == 3, "{answer}");
    stack
        .eventually("all of them again", || async {
            let seen = receiver.seen("/live");
            let again = |row: &Value| {
                let id = row["delivery_id"].as_str().unwrap_or_default();
                seen.iter().filter(|it| it.id() == id).count() >= 2
            };
            Ok(delivered.iter().all(again).then_some(()))
        })
        .await?;

    // The whole story, attempt by attempt.
    stack
        .eventually("the attempts in the story", || async {
            let story = stack.gokart(&["explain", &clicks[2]])?;
            let told = story.contains("What the publisher was told:")
                && story.contains("(HTTP 404)")
                && story.contains("the publisher answered 2xx")
                && story.contains(&id);
            Ok(told.then_some(()))
        })
        .await?;

    // Samples and test conversions go to test URLs, and nowhere else.
    let live = receiver.seen("/live").len();
    let tried = stack.gokart_json(&["publisher-postback", "--publisher", PUBLISHER, "--test"])?;
    let sample = tried["sample"].as_array().context("what came of it")?;
    ensure!(sample.len() == 3, "{tried}");
    for outcome in sample {
        ensure!(outcome["outcome"] == "delivered" && outcome["http_status"] == 200, "{tried}");
        let request = outcome["request"].as_str().context("what was sent")?;
        ensure!(request.contains(&receiver.url("/test/")), "{request}");
    }
    ensure!(receiver.seen("/test").len() == 3);
    let test = stack.test_click(OFFER, PUBLISHER).await?;
    send(&test).await?;
    stack
        .eventually("the test conversion at the test URL", || async {
            let seen = receiver.seen("/test/get");
            Ok((seen.len() == 2).then_some(()))
        })
        .await?;
    ensure!(receiver.seen("/live").len() == live, "a live URL was called with a test");

    let refused = stack.gokart(&["publisher-postback", "--publisher", "untried", "--test"]);
    let said = format!("{:?}", refused.err().context("a publisher without a test URL was tried")?);
    ensure!(said.contains("no test URL") && said.contains("add `test_url"), "{said}");
    ensure!(receiver.seen("/live-untried").is_empty());
    // A test URL that refuses is told as such.
    receiver.answer("/test/json", Mood::Status(500));
    let refused = stack.gokart(&["publisher-postback", "--publisher", PUBLISHER, "--test"]);
    let said = format!("{:?}", refused.err().context("a refused sample went unnoticed")?);
    ensure!(said.contains("did not take the sample"), "{said}");
    stack.stop()
}
