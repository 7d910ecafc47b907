//! A weekend of a renamed event, repaired over HTTP by the real binary: shown first, then put back,
//! and put back again. The same on the local log and on Apache Kafka.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::kafka::Kafka;
use tests::stack::{Stack, examples};

const OFFER: &str = "pet-the-dogs-ios";
const PUBLISHER: &str = "acme-rewards";
const ADVERTISER: &str = "brain-games";
/// What the partner calls its install since Friday.
const RENAMED: &str = "first_open";
const HOUR_MS: i64 = 3_600_000;
const USERS: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn on_the_local_log() -> Result<()> {
    match Stack::local().await? {
        Some(stack) => repair_a_weekend(stack).await,
        None => Ok(()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_apache_kafka() -> Result<()> {
    let Some(kafka) = Kafka::start()? else { return Ok(()) };
    match Stack::on_kafka(&kafka).await? {
        Some(stack) => repair_a_weekend(stack).await,
        None => Ok(()),
    }
}

/// What `gokart redecide` says, as JSON.
fn redecide(stack: &Stack, more: &[&str]) -> Result<Value> {
    let choice = ["redecide", "--refusal", "UNKNOWN_EVENT", "--offer", OFFER];
    stack.gokart_json(&[&choice, more].concat())
}

async fn outcomes(stack: &Stack) -> Result<Vec<Value>> {
    let sql = "SELECT toString(event_id) AS event, toString(outcome) AS outcome, \
        toString(reason) AS reason, toUInt32(count()) AS n FROM postbacks_unique \
        GROUP BY event, outcome, reason ORDER BY event, outcome, reason";
    stack.sql(sql, &[]).await
}

async fn repair_a_weekend(mut stack: Stack) -> Result<()> {
    let path = stack.postback_path(ADVERTISER)?;
    let began = stack.now();
    let mut clicks = Vec::new();
    for _ in 0..USERS {
        let click = stack.click(OFFER, PUBLISHER, "").await?;
        // One that waits for its install, the install under its new name, and something unknown.
        stack.accepted(&path, &click, "s2s_level+200").await?;
        stack.accepted(&path, &click, RENAMED).await?;
        stack.accepted(&path, &click, "nonsense").await?;
        stack.decided(&click, 3).await?;
        clicks.push(click);
        stack.advance_ms(HOUR_MS)?;
    }
    // Still Pending within the grace of the sequence; the weekend is over for the operator.
    stack.advance_ms(12 * HOUR_MS)?;

    let nothing = redecide(&stack, &[])?;
    ensure!(nothing["effects"]["refused"] == 2 * USERS, "without the alias: {nothing}");

    apply_alias(&stack)?;
    let before = outcomes(&stack).await?;
    let preview = redecide(&stack, &[])?;
    ensure!(preview["applied"] == false && preview["effects"]["applied"] == USERS, "{preview}");
    ensure!(preview["effects"]["refused"] == USERS, "{preview}");
    let total = &preview["totals"][0];
    ensure!(total["currency"] == "USD", "{preview}");
    ensure!(outcomes(&stack).await? == before, "a preview changed something");
    for click in &clicks {
        let conversions = stack.conversions(click).await?;
        ensure!(conversions.len() == 1 && conversions[0].status == "Pending", "{conversions:?}");
    }
    let shown = stack.gokart(&["redecide", "--refusal", "UNKNOWN_EVENT", "--offer", OFFER])?;
    ensure!(shown.contains("Nothing was changed") && shown.contains(RENAMED), "{shown}");

    let words = ["--apply", "--reason", "renamed on Friday", "--operator", "sam"];
    let applied = redecide(&stack, &words)?;
    ensure!(applied["effects"]["applied"] == USERS, "{applied}");
    ensure!(applied["totals"] == preview["totals"], "the preview said {preview}, not {applied}");
    for (nth, click) in clicks.iter().enumerate() {
        let both = stack
            .eventually("both conversions", || async {
                let found = stack.conversions(click).await?;
                let done = found.len() == 2 && found.iter().all(|it| it.status == "Success");
                Ok(done.then_some(found))
            })
            .await?;
        // As of when it was received, not of now.
        let expected = began + nth as i64 * HOUR_MS;
        ensure!(both[0].event_id == "Install" && both[0].received_at_ms == expected, "{both:?}");
        ensure!(both[0].decided_at_ms > expected + 12 * HOUR_MS, "{both:?}");
    }
    let after = outcomes(&stack).await?;
    let count = |event: &str, outcome: &str| {
        let row = after.iter().find(|row| row["event"] == event && row["outcome"] == outcome);
        row.and_then(|row| row["n"].as_u64()).unwrap_or_default()
    };
    ensure!(count(RENAMED, "accepted") == USERS as u64, "{after:?}");
    ensure!(count(RENAMED, "rejected") == 0 && count("nonsense", "rejected") == USERS as u64);
    let funnel = stack.gokart(&["report", "funnel", "--offer", OFFER, "--format", "csv"])?;
    let install = funnel.lines().find(|line| line.contains("Install")).context("no Install")?;
    ensure!(install.contains(&format!(",{USERS},")), "{funnel}");
    let story = stack.gokart(&["explain", &clicks[0]])?;
    ensure!(story.contains("renamed on Friday") && story.contains("sam"), "{story}");
    ensure!(story.contains("UNKNOWN_EVENT"), "what was decided first is not told: {story}");

    // Again, in two ways: nothing changes.
    let revisions = "SELECT toUInt32(count()) AS n FROM conversions_revisions";
    let before = stack.sql(revisions, &[]).await?;
    let again = redecide(&stack, &words)?;
    ensure!(again["effects"]["applied"] == 0, "{again}");
    let ids = "SELECT toString(postback_id) AS id FROM postbacks WHERE event_id = {e:String}";
    let ids = stack.sql(ids, &[("e", RENAMED)]).await?;
    let id = ids[0]["id"].as_str().context("no id")?;
    let named = stack.gokart_json(&[&["redecide", "--postback", id], &words[..]].concat())?;
    ensure!(named["postbacks"] == 0, "an accepted one is no choice: {named}");
    ensure!(stack.sql(revisions, &[]).await? == before, "it was counted twice");
    ensure!(outcomes(&stack).await? == after);
    stack.stop()
}

/// The example's offer, whose install has another name now.
fn apply_alias(stack: &Stack) -> Result<()> {
    let mut changed = false;
    for entry in std::fs::read_dir(examples())? {
        let path = entry?.path();
        let text = std::fs::read_to_string(&path)?;
        if !text.contains(&format!("id: {OFFER}\n")) {
            continue;
        }
        let line = "- id: Install\n";
        let at = text.find(line).context("no Install in the example")?;
        let indent = at - text[..at].rfind('\n').map_or(0, |end| end + 1) + 2;
        let alias = format!("{line}{}aliases: [{RENAMED}]\n", " ".repeat(indent));
        let file = stack.data().join("renamed.yaml");
        std::fs::write(&file, text.replacen(line, &alias, 1))?;
        stack.gokart(&["apply", &file.display().to_string()])?;
        changed = true;
    }
    ensure!(changed, "the offer is not among the examples");
    Ok(())
}
