//! What is too much ends with one clear message and harms nothing else: a report beyond its memory
//! or its time, exports beyond their places, a reader that takes nothing.

use anyhow::{Context, Result, ensure};
use hyper::StatusCode;
use std::time::{Duration, Instant};
use tests::http::Answer;
use tests::stack::Stack;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Each a user of its own.
const ROWS: u64 = 300_000;
/// A list for each user and every delay kept: memory and time for the whole table.
const LARGE: &str =
    "report/funnel?offer=pet-the-dogs-ios&times=true&by=sub1,sub2,country,publisher";
/// All rows, too, but nothing to be held for each.
const INVOICE: &str = "report/invoice?advertiser=brain-games&month=2026-10&tz=UTC";
const SMALL: &str = "report/on-hold?offer=first-trade";
const EXPORT: &str = "export/conversions?offer=pet-the-dogs-ios&format=csv";
const PATIENCE: Duration = Duration::from_secs(90);

async fn fill(stack: &Stack) -> Result<()> {
    stack
        .execute(&format!(
            "INSERT INTO conversions (conversion_id, revision, click_id, clicked_at, tenant, \
             advertiser_id, offer_id, root_offer_id, share_id, publisher_id, event_id, event_name, \
             sequence, status, received_at, decided_at, revenue, payout, currency, sub1, sub2) \
             SELECT concat('pet-the-dogs-ios.', leftPad(toString(number), 26, '0')), 1, \
             hex(sipHash128(number)), toDateTime64('2026-10-01 00:00:00', 3, 'UTC') + number AS at, \
             'brownboots', 'brain-games', 'pet-the-dogs-ios', 'pet-the-dogs-ios', 'ptd-acme', \
             'acme-rewards', 'Install', 'Install', 1, 'Success', at + 60, at + 60, \
             0.5, 0.4, 'USD', concat('user-', toString(number)), toString(number % 97) \
             FROM numbers({ROWS}) SETTINGS min_insert_block_size_rows = 50000, max_block_size = 8192"
        ))
        .await
}

/// What a message has to be: one line, and something to do about it.
fn check_refusal(answer: &Answer, status: StatusCode, told: &str) -> Result<()> {
    let message = answer.json()?["error"]["message"].as_str().unwrap_or_default().to_owned();
    ensure!(answer.status == status && message.contains(told), "{answer:?}");
    ensure!(!message.contains("SELECT") && !message.contains('\n'), "{message}");
    Ok(())
}

/// Wherever they lie: within a day of the last row, further back, or anywhere.
async fn lists_begin_with_the_newest(stack: &Stack) -> Result<()> {
    let id = |number: u64| format!("pet-the-dogs-ios.{number:026}");
    let day = 86_400;
    for (limit, more, last, count) in [
        (100, "", ROWS - 1, 100),
        (100_000, "", ROWS - 1, 100_000),
        (10, "&to=2026-10-02T00:00:00Z", day - 61, 10),
        (10, "&from=2026-10-01T00:00:00Z&to=2026-10-01T00:01:03Z", 2, 3),
    ] {
        let list = format!("report/conversions?format=csv&limit={limit}{more}");
        let list = stack.ask(&list).await?;
        let ids = list.body.lines().skip(1).map(|line| line.split(',').nth(1).unwrap_or_default());
        let expected = (0..count).map(|back| id(last - back));
        let first: Vec<_> = list.body.lines().take(3).collect();
        ensure!(ids.eq(expected), "{limit}{more}: {first:?}");
    }
    Ok(())
}

/// Everybody else is served while `stack` is asked for too much.
async fn others_are_served(stack: &Stack) -> Result<()> {
    let small = stack.ask(SMALL).await?;
    ensure!(small.status == StatusCode::OK, "{small:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_for_one_report_ends_with_a_message() -> Result<()> {
    let Some(mut stack) = Stack::local().await? else { return Ok(()) };
    fill(&stack).await?;
    stack.process("up")?.stop()?;
    stack.extra("up", &["--query-memory", "64MiB"]);
    stack.start_role("up").await?;
    for _ in 0..2 {
        let (large, small) = tokio::join!(stack.ask(LARGE), others_are_served(&stack));
        check_refusal(&large?, StatusCode::PAYLOAD_TOO_LARGE, "ask for a shorter time")?;
        small?;
    }
    let invoice = stack.ask(INVOICE).await?;
    ensure!(invoice.status == StatusCode::OK, "{invoice:?}");
    let lines = &invoice.json()?["rows"];
    ensure!(lines[0]["quantity"] == ROWS && lines[1].is_null(), "{lines}");

    // Our own timer is finer than ClickHouse's.
    stack.process("up")?.stop()?;
    stack.extra("up", &["--query-timeout", "150ms"]);
    stack.start_role("up").await?;
    let (large, path) =
        tokio::join!(stack.ask(LARGE), async { stack.postback_path("brain-games") });
    check_refusal(&large?, StatusCode::GATEWAY_TIMEOUT, "--query-timeout")?;

    // Nothing was harmed: lists, reports of all rows, postbacks, and what they lead to.
    stack.process("up")?.stop()?;
    stack.extra("up", &[]);
    stack.start_role("up").await?;
    let all = stack.ask("report/funnel?offer=pet-the-dogs-ios").await?.json()?;
    ensure!(all["groups"][0]["steps"][0]["reached"] == ROWS, "{all}");
    lists_begin_with_the_newest(&stack).await?;
    let click = stack.click("pet-the-dogs-ios", "acme-rewards", "").await?;
    let event = format!("cnv_event_id=Install&gk_click_id={click}");
    ensure!(stack.postback(&path?, &event).await?.status == StatusCode::OK);
    stack.decided(&click, 1).await?;
    stack.stop()
}

/// A reader that has asked for everything and takes nothing.
async fn sleeper(stack: &Stack) -> Result<TcpStream> {
    let request = stack.admin_request(EXPORT)?;
    let token = request.headers()["authorization"].to_str()?;
    let head = format!(
        "GET {} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n\r\n",
        request.uri()
    );
    let mut stream = TcpStream::connect(stack.admin).await?;
    stream.write_all(head.as_bytes()).await?;
    let mut begin = [0; 12];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut begin)).await??;
    ensure!(&begin == b"HTTP/1.1 200", "{}", String::from_utf8_lossy(&begin));
    Ok(stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_sleep_hold_nobody_up() -> Result<()> {
    let Some(mut stack) = Stack::local().await? else { return Ok(()) };
    fill(&stack).await?;
    stack.process("up")?.stop()?;
    stack.extra("up", &["--reader-stall", "3s"]);
    stack.start_role("up").await?;
    let mut sleepers = vec![sleeper(&stack).await?, sleeper(&stack).await?];

    // Both places are taken: nobody waits in a queue, and reports go on.
    let third = stack.ask(EXPORT).await?;
    check_refusal(&third, StatusCode::SERVICE_UNAVAILABLE, "exports are under way")?;
    let seconds: u64 = third.header("retry-after").parse().context("no Retry-After")?;
    ensure!((1..=60).contains(&seconds), "{seconds}");
    others_are_served(&stack).await?;

    // They are cut off, and their places are free again.
    let began = Instant::now();
    let whole = loop {
        let answer = stack.ask(EXPORT).await?;
        if answer.status == StatusCode::OK {
            break answer;
        }
        ensure!(began.elapsed() < PATIENCE, "the places were never given back: {answer:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    ensure!(whole.body.lines().count() as u64 == ROWS + 1, "{}", whole.body.lines().count());
    for sleeper in &mut sleepers {
        let mut rest = Vec::new();
        // A reset connection is an end, too.
        let _ = tokio::time::timeout(PATIENCE, sleeper.read_to_end(&mut rest)).await?;
        ensure!(!rest.ends_with(b"0\r\n\r\n"), "half an export looks whole");
        ensure!((rest.len() as u64) < whole.body.len() as u64, "{} bytes", rest.len());
    }
    stack.stop()
}
