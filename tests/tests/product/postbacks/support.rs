//! An offer whose publisher is told of everything, and what must hold of what it was told.

use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;
use tests::http;
use tests::receiver::{Receiver, Seen};
use tests::stack::{Stack, TENANT_HOST};

pub const OFFER: &str = "told-offer";
pub const PUBLISHER: &str = "told";
pub const ADVERTISER: &str = "bull-street";
/// How long the offer's event `Held` is held.
pub const HELD_MS: i64 = 3_600_000;
/// Lets the receivers of these tests be called: they listen on loopback.
pub const ALLOW: &[&str] = &["--publisher-allow-address", "127.0.0.0/8"];
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// Puts publishers, an offer and its shares in force.
pub fn configure(stack: &Stack, receiver: &Receiver, secret_versions: &str) -> Result<()> {
    let live = receiver.url("/live");
    let test = receiver.url("/test");
    let macros = "c={conversion_id}&r={revision}&s={status}&at={received_unix}&e={event_id}";
    let text = format!(
        "kind: Publisher
id: told
tenant: brownboots
name: Told
secret_versions: {secret_versions}
postbacks:
  - url: {live}?{macros}
    test_url: {test}/get?{macros}
    statuses: [Pending, Success, Rejected]
    in_flight: 8
    per_second: 1000
  - name: json
    url: {live}-json
    test_url: {test}/json
    events: [Nothing]
    request: json
  - name: form
    url: {live}-form
    test_url: {test}/form
    events: [Nothing]
    request: form
    fields: [{{name: click, value: '{{gk_click_id}}'}}]
---
kind: Publisher
id: untried
tenant: brownboots
name: Untried
postbacks:
  - url: {live}-untried?{macros}
---
kind: Offer
id: told-offer
advertiser: bull-street
name: Told offer
integration: custom
link: https://www.example.com/x?gk_click_id={{gk_click_id}}
launch: 2025-11-01
currency: USD
events:
  - {{id: Now, name: Now, sequence: none, revenue: 1.00}}
  - {{id: Held, name: Held, sequence: none, pending_time: 1h, revenue: 2.00}}
  - {{id: Nothing, name: Nothing, sequence: none, revenue: 1.00}}
---
kind: Share
id: told-share
offer: told-offer
publisher: told
---
kind: Share
id: untried-share
offer: told-offer
publisher: untried
"
    );
    let path = stack.data().join("told.yaml");
    std::fs::write(&path, text)?;
    let path = path.to_str().context("a path that is no text")?;
    stack.gokart(&["apply", path])?;
    Ok(())
}

/// Sends `Now` and `Held` for every click, each until it is answered 200, whatever dies meanwhile.
pub async fn send_all(address: SocketAddr, path: String, clicks: Vec<String>) {
    for click in clicks {
        for event in ["Now", "Held"] {
            let target = format!("{path}&cnv_event_id={event}&gk_click_id={click}");
            loop {
                match http::get(address, TENANT_HOST, &target).await {
                    Ok(answer) if answer.status == 200 => break,
                    _ => tokio::time::sleep(BETWEEN_TRIES).await,
                }
            }
        }
    }
}

/// One thing that a publisher is to be told: event, status.
type News<'a> = (&'a str, &'a str);

/// A delivery as it first came: revision, what it says, and its id.
type Told<'a> = (u32, News<'a>, &'a str);

/// What each conversion's requests say, by conversion and in the order in which they came.
fn by_conversion(seen: &[Seen]) -> Result<BTreeMap<String, Vec<Told<'_>>>> {
    let mut found: BTreeMap<String, Vec<Told<'_>>> = BTreeMap::new();
    for request in seen {
        let revision: u32 = request.parameter("r").parse().context("a revision")?;
        let news = (request.parameter("e"), request.parameter("s"));
        let told = found.entry(request.parameter("c").to_owned()).or_default();
        if let Some((last, ..)) = told.last() {
            ensure!(*last <= revision, "out of order: {revision} after {last}: {request:?}");
        }
        if !told.iter().any(|(.., id)| *id == request.id()) {
            told.push((revision, news, request.id()));
        }
    }
    Ok(found)
}

/// How many conversions of an event were told exactly this, with repeats left out as a receiver
/// that remembers ids does, and in order.
pub fn told(seen: &[Seen], event: &str, statuses: &[&str]) -> Result<usize> {
    let conversions = by_conversion(seen)?;
    let expected: Vec<News<'_>> = statuses.iter().map(|status| (event, *status)).collect();
    let is_so = |told: &&Vec<Told<'_>>| {
        told.iter().map(|(_, news, _)| *news).collect::<Vec<_>>() == expected
    };
    Ok(conversions.values().filter(is_so).count())
}

/// What holds whatever happened: an id stands for one thing only, nothing goes out before it is
/// due, and all is in order.
pub fn check_always(seen: &[Seen]) -> Result<()> {
    let mut meanings: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for request in seen {
        meanings.entry(request.id()).or_default().insert(&request.query);
        ensure!(request.header("idempotency-key") == request.id(), "{request:?}");
        let is_held = request.parameter("e") == "Held" && request.parameter("s") == "Success";
        if is_held {
            let received: i64 = request.parameter("at").parse().context("when it came")?;
            let due = received + HELD_MS / 1_000;
            let sent: i64 = request.header("webhook-timestamp").parse().context("a time")?;
            ensure!(sent >= due, "told {} s too soon: {request:?}", due - sent);
        }
    }
    let twice: Vec<_> = meanings.iter().filter(|(_, queries)| queries.len() > 1).collect();
    ensure!(twice.is_empty(), "one id for several things: {twice:?}");
    by_conversion(seen)?;
    Ok(())
}

/// Waits until the receiver has so many requests of which `is` holds.
pub async fn until_seen(
    stack: &Stack,
    receiver: &Receiver,
    count: usize,
    is: impl Fn(&Seen) -> bool,
) -> Result<()> {
    stack
        .eventually(&format!("{count} requests"), || async {
            let seen = receiver.seen("/live");
            Ok((seen.iter().filter(|it| is(it)).count() >= count).then_some(()))
        })
        .await
}

/// Waits until so many conversions of an event were told exactly this.
pub async fn until_told(
    stack: &Stack,
    receiver: &Receiver,
    event: &str,
    statuses: &[&str],
    count: usize,
) -> Result<()> {
    stack
        .eventually(&format!("{count} × {event} told as {statuses:?}"), || async {
            let found = told(&receiver.seen("/live"), event, statuses)?;
            Ok((found >= count).then_some(()))
        })
        .await
}

/// Waits until the answers to so many deliveries are kept for good: only those are not asked for
/// again after a crash.
pub async fn until_settled(stack: &Stack, count: usize) -> Result<()> {
    const SETTLED: &str = "SELECT toUInt32(uniqExact(delivery_id)) AS settled FROM deliveries \
                           WHERE outcome = 'delivered'";
    stack
        .eventually(&format!("{count} deliveries settled"), || async {
            let rows = stack.sql(SETTLED, &[]).await?;
            Ok((rows[0]["settled"] == count).then_some(()))
        })
        .await
}
