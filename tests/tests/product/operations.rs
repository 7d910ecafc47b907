//! What operators live through: a restart, a dead engine, a full disk, decisions by hand; and
//! what they read in between agrees with itself.

use anyhow::{Context, Result, ensure};
use hyper::StatusCode;
use serde_json::Value;
use tests::http;
use tests::stack::{Stack, TENANT_HOST};

const OFFER: &str = "pet-the-dogs-ios";
const PUBLISHER: &str = "acme-rewards";
const ADVERTISER: &str = "brain-games";

/// Waits until a click's only conversion has a status, and gives its id.
async fn conversion(stack: &Stack, click: &str, status: &str) -> Result<String> {
    stack
        .eventually(&format!("a conversion in {status}"), || async {
            let conversions = stack.conversions(click).await?;
            let found = conversions.into_iter().find(|found| found.status == status);
            Ok(found.map(|found| found.conversion_id))
        })
        .await
}

/// The process id of the embedded engine: the child of `gokart up`.
fn engine_pid(stack: &mut Stack) -> Result<i32> {
    let parent = format!("PPid:\t{}\n", stack.process("up")?.pid());
    let processes = std::fs::read_dir("/proc")?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_child = |pid: &i32| {
        std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|s| s.contains(&parent))
    };
    pids.find(is_child).context("the engine is not running")
}

fn kill_9(pid: i32) -> Result<()> {
    let pid = rustix::process::Pid::from_raw(pid).context("not a process id")?;
    Ok(rustix::process::kill_process(pid, rustix::process::Signal::KILL)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_start_finds_everything_again() -> Result<()> {
    let Some(mut stack) = Stack::local().await? else { return Ok(()) };
    let path = stack.postback_path(ADVERTISER)?;
    let click = stack.click(OFFER, PUBLISHER, "").await?;
    stack.accepted(&path, &click, "Install").await?;
    conversion(&stack, &click, "Success").await?;
    stack.stop()?;

    stack.start_role("up").await?;
    ensure!(stack.postback_path(ADVERTISER)? == path, "the postback URL changed");
    ensure!(!stack.conversions(&click).await?.is_empty(), "the conversion is gone");
    // The click of before still counts, and what was counted still does.
    stack.accepted(&path, &click, "Install").await?;
    stack.accepted(&path, &click, "s2s_level+200").await?;
    let rows = stack.decided(&click, 3).await?;
    // The clock stands still, so the order of the ids says nothing.
    let mut outcomes: Vec<&str> = rows.iter().map(|row| row.outcome.as_str()).collect();
    outcomes.sort_unstable();
    ensure!(outcomes == ["accepted", "accepted", "duplicate"], "{rows:?}");
    // The example configuration was applied again and changed nothing.
    let version = stack.gokart_json(&["apply", &tests::stack::examples()])?;
    ensure!(version["changed"].as_array().is_none_or(Vec::is_empty), "{version}");
    ensure!(version["version"] == 1, "{version}");
    stack.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_engine_takes_nothing_down() -> Result<()> {
    let Some(mut stack) = Stack::local().await? else { return Ok(()) };
    let path = stack.postback_path(ADVERTISER)?;
    let click = stack.click(OFFER, PUBLISHER, "").await?;
    let first = engine_pid(&mut stack)?;
    kill_9(first)?;
    // Postbacks are taken and decided all the same; the rows wait in the log.
    stack.accepted(&path, &click, "Install").await?;
    conversion_when_back(&stack, &click).await?;
    ensure!(engine_pid(&mut stack)? != first);
    stack.process("up")?.check_alive()?;

    // Told to stop while the engine is away, it stops.
    let second = engine_pid(&mut stack)?;
    kill_9(second)?;
    stack.stop()
}

/// As [`conversion`], while ClickHouse may not answer.
async fn conversion_when_back(stack: &Stack, click: &str) -> Result<()> {
    stack
        .eventually("the conversion once ClickHouse is back", || async {
            let conversions = stack.conversions(click).await.unwrap_or_default();
            Ok(conversions.iter().any(|found| found.status == "Success").then_some(()))
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_answers_503_and_still_redirects() -> Result<()> {
    let Some(mut stack) = Stack::local().await? else { return Ok(()) };
    let path = stack.postback_path(ADVERTISER)?;
    let click = stack.click(OFFER, PUBLISHER, "").await?;
    stack.stop()?;
    // As full as can be, without filling anything: more must stay free than there is.
    stack.extra("up", &["--min-free-disk", "1000TB"]);
    stack.start_role("up").await?;
    let target = format!("{path}&cnv_event_id=Install&gk_click_id={click}");
    let answer = http::get(stack.ingest, TENANT_HOST, &target).await?;
    ensure!(answer.status == StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    ensure!(!answer.header("retry-after").is_empty(), "{answer:?}");
    let link = http::get(stack.ingest, TENANT_HOST, "/c/ptd-acme").await?;
    ensure!(link.status == StatusCode::FOUND, "{link:?}");
    stack.stop()?;

    // With room again, sending again is all it takes.
    stack.extra("up", &[]);
    stack.start_role("up").await?;
    stack.accepted(&path, &click, "Install").await?;
    conversion(&stack, &click, "Success").await?;
    stack.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_agree_and_hands_decide() -> Result<()> {
    let Some(mut stack) = Stack::local().await? else { return Ok(()) };
    let path = stack.postback_path(ADVERTISER)?;
    let mut clicks = Vec::new();
    for n in 0..6 {
        let publisher = if n % 2 == 0 { PUBLISHER } else { "sunny-surveys" };
        clicks.push(stack.click(OFFER, publisher, "?sub1=web").await?);
    }
    for click in &clicks[..4] {
        stack.accepted(&path, click, "Install").await?;
    }
    for click in &clicks[..2] {
        stack.accepted(&path, click, "s2s_level+200").await?;
    }
    // A test click shows only when asked for.
    let test = stack.test_click(OFFER, PUBLISHER).await?;
    stack.accepted(&path, &test, "Install").await?;
    for (click, count) in clicks.iter().zip([2, 2, 1, 1]).chain([(&test, 1)]) {
        stack.decided(click, count).await?;
    }
    let funnel = ["report", "funnel", "--offer", OFFER];
    let whole = stack
        .eventually("the funnel", || async {
            let funnel = stack.gokart_json(&funnel)?;
            let is_there = reached(&funnel, 0) == [4, 2, 0] && funnel["groups"][0]["clicks"] == 6;
            Ok(is_there.then_some(funnel))
        })
        .await?;
    ensure!(whole["groups"][0]["steps"][0]["amounts"][0]["revenue"] == "2.00", "{whole}");
    ensure!(whole["groups"][0]["steps"][1]["step_percent"] == 50.0, "{whole}");
    let by = stack.gokart_json(&[&funnel[..], &["--by", "publisher"]].concat())?;
    let sum: i64 = (0..2).map(|group| reached(&by, group)[0]).sum();
    ensure!(sum == 4, "the groups do not add up: {by}");
    let tests = stack.gokart_json(&[&funnel[..], &["--include-test"]].concat())?;
    ensure!(reached(&tests, 0)[0] == 5, "{tests}");

    // The export has the same rows that the report counts.
    let export = stack.gokart_json(&["report", "conversions", "--offer", OFFER])?;
    ensure!(export["rows"].as_array().map(Vec::len) == Some(6), "{export}");
    let csv = stack.gokart(&["report", "conversions", "--offer", OFFER, "--format", "csv"])?;
    ensure!(csv.lines().count() == 7, "{csv}");
    let postbacks = stack.gokart_json(&["report", "postbacks", "--advertiser", ADVERTISER])?;
    ensure!(postbacks["rows"].as_array().map(Vec::len) == Some(6), "{postbacks}");

    // Rejected and approved again by hand: one conversion through all of it.
    let id = conversion(&stack, &clicks[2], "Success").await?;
    stack.gokart(&["reject", &id, "--reason", "looks like fraud"])?;
    conversion(&stack, &clicks[2], "Rejected").await?;
    stack.gokart(&["approve", &id, "--reason", "it was not"])?;
    ensure!(conversion(&stack, &clicks[2], "Success").await? == id);
    let story = stack.gokart(&["explain", &id])?;
    for words in ["looks like fraud", "it was not", "revision 3", "by hand"] {
        ensure!(story.contains(words), "{words:?} is not told: {story}");
    }
    let unknown = stack.gokart(&["approve", &id.replace(char::is_numeric, "0"), "--reason", "x"]);
    ensure!(unknown.is_err(), "an unknown conversion was approved");
    let nobody = stack.gokart(&["explain", "nothing-like-an-id"]);
    ensure!(!format!("{nobody:?}").contains("panicked"));
    stack.stop()
}

/// Users who reached each event, in a group of a funnel.
fn reached(funnel: &Value, group: usize) -> Vec<i64> {
    let steps = funnel["groups"][group]["steps"].as_array();
    steps.into_iter().flatten().map(|step| step["reached"].as_i64().unwrap_or_default()).collect()
}
