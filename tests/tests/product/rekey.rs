//! An installation on Apache Kafka moves into topics with twice as many partitions: what was begun
//! goes on, what was held fires once, and caps count on where they were.

use anyhow::{Context, Result, ensure};
use std::fmt::Write as _;
use tests::kafka::Kafka;
use tests::process;
use tests::stack::{PARTITIONS, Stack, examples};

const PUBLISHER: &str = "acme-rewards";
const ADVERTISER: &str = "brain-games";
const OFFERS: usize = 6;
/// Of each offer's install, over all time.
const CAP: usize = 3;
/// Telling publishers has a state of its own, which moves as well.
const TELLING: &[&str] = &["--publisher-timeout", "5s"];
const HOUR_MS: i64 = 3_600_000;

fn offer(number: usize) -> String {
    format!("moved-{number}")
}

/// Offers over all partitions, whose install is held for two hours and capped.
fn documents() -> String {
    let mut text = String::new();
    for number in 0..OFFERS {
        let id = offer(number);
        let _ = write!(
            text,
            "---\nkind: Offer\nid: {id}\nadvertiser: {ADVERTISER}\nname: {id}\n\
             integration: adjust\nlink: https://app.adjust.com/abc123?campaign={id}\n\
             launch: 2025-11-01\ncurrency: USD\nreward_unit: coins\nevents:\n  \
             - {{id: Install, name: Install, sequence: 1, revenue: 0.50, reward: 1, pending_time: 2h, caps: {{total: {CAP}}}}}\n  \
             - {{id: level, name: Level, sequence: 2, revenue: 2.00, reward: 1}}\n\
             ---\nkind: Share\nid: {id}-acme\noffer: {id}\npublisher: {PUBLISHER}\n"
        );
    }
    text
}

fn rekey(stack: &Stack, prefix: &str, partitions: u32) -> Result<(Option<i32>, String)> {
    let (log, from) = stack.kafka().context("not on Kafka")?;
    let data = stack.directory_of("rekey").display().to_string();
    let (old, new) = (PARTITIONS.to_string(), partitions.to_string());
    let output = process::run(&[
        "rekey",
        "--log",
        log,
        "--topic-prefix",
        from,
        "--partitions",
        &old,
        "--replication",
        "1",
        "--to-topic-prefix",
        prefix,
        "--to-partitions",
        &new,
        "--data",
        &data,
    ])?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8_lossy(&said).into_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_story_begun_before_goes_on_after() -> Result<()> {
    let Some(kafka) = Kafka::start()? else { return Ok(()) };
    let Some(mut stack) = Stack::on_kafka_telling(&kafka, TELLING).await? else { return Ok(()) };
    let file = stack.data().join("moved.yaml");
    std::fs::write(&file, documents())?;
    stack.gokart(&["apply", &file.display().to_string()])?;
    let path = stack.postback_path(ADVERTISER)?;
    let mut clicks = Vec::new();
    for number in 0..OFFERS {
        // Two places of three are taken; one of the users has sub-ids that the click id cannot hold.
        for query in ["", &format!("?sub1={}", "long-sub-id-".repeat(12))] {
            let click = stack.click(&offer(number), PUBLISHER, query).await?;
            stack.accepted(&path, &click, "Install").await?;
            stack.decided(&click, 1).await?;
            clicks.push(click);
        }
    }
    let wide = format!("{}wide-", stack.kafka().context("not on Kafka")?.1);
    let odd = rekey(&stack, &wide, PARTITIONS + 1)?;
    ensure!(odd.0 == Some(78) && odd.1.contains("multiple"), "{odd:?}");

    // What is accepted while nobody decides is not left behind.
    stack.process("processor")?.stop()?;
    stack.accepted(&path, &clicks[0], "nonsense").await?;
    for role in ["ingest", "sink", "admin"] {
        stack.process(role)?.stop()?;
    }
    let early = rekey(&stack, &wide, 2 * PARTITIONS)?;
    ensure!(early.0 == Some(1) && early.1.contains("postbacks/"), "{early:?}");
    for role in ["sink", "processor"] {
        stack.start_role(role).await?;
    }
    stack.decided(&clicks[0], 2).await?;
    for role in ["processor", "sink"] {
        stack.process(role)?.stop()?;
    }
    let moved = rekey(&stack, &wide, 2 * PARTITIONS)?;
    ensure!(moved.0 == Some(0) && moved.1.contains("--partitions 8"), "{moved:?}");
    ensure!(!stack.directory_of("rekey").join("rekey").exists(), "it left its copies behind");
    let again = rekey(&stack, &wide, 2 * PARTITIONS)?;
    ensure!(again.0 == Some(78) && again.1.contains("--to-topic-prefix"), "{again:?}");

    stack.move_to(&wide, 2 * PARTITIONS);
    for role in ["admin", "sink", "processor", "ingest"] {
        stack.start_role(role).await?;
    }
    // The same configuration in force: applied again, nothing changes.
    let version = stack.gokart_json(&["apply", &examples(), &file.display().to_string()])?;
    ensure!(version["changed"].as_array().is_none_or(Vec::is_empty), "{version}");
    for number in 0..OFFERS {
        let mut outcomes = Vec::new();
        // Both before the first counts: a used-up offer gets no clicks.
        let first = stack.click(&offer(number), PUBLISHER, "").await?;
        let second = stack.click(&offer(number), PUBLISHER, "").await?;
        for click in [first, second] {
            stack.accepted(&path, &click, "Install").await?;
            let rows = stack.decided(&click, 1).await?;
            outcomes.push(rows[0].reason.clone());
        }
        ensure!(outcomes == ["HOLD", "CAP_REACHED"], "{}: {outcomes:?}", offer(number));
    }
    for click in &clicks {
        stack.accepted(&path, click, "level").await?;
        stack.accepted(&path, click, "Install").await?;
    }
    stack.advance_ms(3 * HOUR_MS)?;
    for click in &clicks {
        stack
            .eventually("both conversions", || async {
                let found = stack.conversions(click).await?;
                let done = found.len() == 2 && found.iter().all(|it| it.status == "Success");
                Ok(done.then_some(()))
            })
            .await?;
    }
    // Once each: written twice, a revision would stand here twice.
    let sql = "SELECT toUInt32(count()) AS rows, toUInt32(uniqExact(conversion_id, revision)) AS revisions, \
        toUInt32(countIf(event_id = 'Install' AND status = 'Success')) AS installs FROM conversions \
        WHERE startsWith(offer_id, 'moved-')";
    let counted = stack
        .eventually("every hold to end", || async {
            let rows = stack.sql(sql, &[]).await?;
            Ok(rows.into_iter().next().filter(|row| row["installs"] == OFFERS * CAP))
        })
        .await?;
    ensure!(counted["rows"] == counted["revisions"], "{counted}");
    let sql = "SELECT toUInt32(count()) AS n FROM postbacks_unique WHERE outcome = 'duplicate'";
    ensure!(stack.sql(sql, &[]).await?[0]["n"] == clicks.len(), "an install was not known again");
    let long =
        "SELECT sub1 FROM conversions_current WHERE click_id = {c:String} AND event_id = 'level'";
    let rows = stack.sql(long, &[("c", &clicks[1])]).await?;
    ensure!(rows[0]["sub1"].as_str().is_some_and(|it| it.starts_with("long-sub-id-")), "{rows:?}");
    let dead = "SELECT toUInt32(count()) AS n FROM dead_letters";
    ensure!(stack.sql(dead, &[]).await?[0]["n"] == 0);
    stack.stop()
}
