//! Do the numbers agree? Random small histories go into the real engine, some rows twice; every
//! report is then compared with a plain recomputation from the exported rows, and the exports with
//! what was put in. `GOKART_REPORTS_SEED` replays one run.

use anyhow::{Context, Result, ensure};
use hyper::Request;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use tests::http::{self, Answer};
use tests::stack::Stack;

const SEED: u64 = 20_261_101;
/// Histories in one run; `GOKART_REPORTS_CASES` makes more.
const CASES: usize = 2;
/// Each history has a tenant, an offer and a zone of its own.
const ZONES: [&str; 8] = [
    "America/New_York",
    "Europe/Berlin",
    "Africa/Cairo",
    "Pacific/Apia",
    "Asia/Kathmandu",
    "UTC",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
];
const CLICKS: u64 = 40;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// 25 October 2026, 12:00 UTC: clocks change in Berlin at its beginning, in New York a week later.
const START: i64 = 1_792_929_600_000;
const EVENTS: [&str; 3] = ["Install", "Level 2", "=Level 3"];

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn time(&mut self, from: i64, span: i64) -> i64 {
        from + i64::try_from(self.below(span.unsigned_abs())).unwrap_or(0)
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// What was put in.
struct History {
    offer: String,
    zone: &'static str,
    clicks: Vec<Value>,
    /// Every revision.
    revisions: Vec<Value>,
    reverses: bool,
}

fn history(random: &mut Random, index: usize) -> History {
    let offer = format!("case-{index}");
    let reverses = index % 2 == 1;
    let (mut clicks, mut revisions) = (Vec::new(), Vec::new());
    for number in 0..CLICKS {
        let clicked = random.time(START, 10 * DAY_MS);
        let publisher = format!("{offer}-{}", ["a", "b"][random.below(2) as usize]);
        let country = ["US", "DE", ""][random.below(3) as usize];
        let sub1 = ["x", "it's \\ \"quoted\"", "=1+1"][random.below(3) as usize];
        let dimensions = json!({
            "click_id": format!("{offer}.{number}"), "clicked_at": clicked, "tenant": offer,
            "advertiser_id": format!("{offer}-adv"), "offer_id": offer, "root_offer_id": offer,
            "share_id": format!("{publisher}-share"), "publisher_id": publisher,
            "country": country, "platform": "ios",
            "sub1": sub1,
            "offer_version": 1, "test": random.one_in(10),
        });
        clicks.push(dimensions.clone());
        let mut at = clicked;
        for (level, event) in EVENTS.iter().enumerate() {
            if random.one_in(3) {
                break;
            }
            at = random.time(at, 3 * DAY_MS);
            let id = format!("{offer}.{number}x{level}");
            let (status, reason) = match random.below(7) {
                0 => ("Rejected", "CAP_REACHED"),
                1 => ("Pending", "HOLD"),
                2 => ("Rejected", "TOO_SOON"),
                _ => ("Success", ""),
            };
            let revenue = ["0.5", "2.000001", "7"][level];
            let revision = |number: u32, status: &str, reason: &str, decided: i64, paid: &str| {
                let due = (status == "Pending").then_some(decided + 9 * DAY_MS);
                let mut row = dimensions.clone();
                let more = json!({
                    "conversion_id": id, "revision": number, "event_id": event,
                    "event_name": event, "sequence": level + 1, "status": status,
                    "reason": reason, "note": "", "received_at": at, "due_at": due,
                    "decided_at": decided, "revenue": paid, "payout": paid,
                    "currency": if random_currency(&id) { "USD" } else { "EUR" }, "reward": "10",
                    "reward_unit": "coins", "sale_amount": null, "sale_currency": "",
                    "transaction_id": "",
                });
                if let (Some(row), Some(more)) = (row.as_object_mut(), more.as_object()) {
                    row.extend(more.clone());
                }
                row
            };
            revisions.push(revision(1, status, reason, at, revenue));
            if reverses && status == "Success" {
                let later = random.time(at, 40 * DAY_MS);
                match random.below(5) {
                    0 => revisions.push(revision(
                        2,
                        "Rejected",
                        "ADVERTISER_REJECTED",
                        later,
                        revenue,
                    )),
                    1 => {
                        revisions.push(revision(
                            2,
                            "Rejected",
                            "MANUALLY_REJECTED",
                            later,
                            revenue,
                        ));
                        let again = random.time(later, 20 * DAY_MS);
                        revisions.push(revision(3, "Success", "MANUALLY_APPROVED", again, revenue));
                    }
                    2 => revisions.push(revision(2, "Success", "", later, "1.25")),
                    _ => {}
                }
            }
            // What does not meet its level lets nobody further (domain, "Sequence").
            if reason == "TOO_SOON" {
                break;
            }
        }
    }
    History { offer, zone: ZONES[index % ZONES.len()], clicks, revisions, reverses }
}

fn random_currency(id: &str) -> bool {
    id.bytes().map(u64::from).sum::<u64>() % 4 != 0
}

fn documents(histories: &[History]) -> String {
    let mut text = String::new();
    for History { offer, zone, .. } in histories {
        let _ = write!(
            text,
            "---\nkind: Tenant\nid: {offer}\nname: {offer}\ntime_zone: {zone}\n\
             ---\nkind: Advertiser\nid: {offer}-adv\ntenant: {offer}\nname: A\n\
             ---\nkind: Publisher\nid: {offer}-a\ntenant: {offer}\nname: A\n\
             ---\nkind: Publisher\nid: {offer}-b\ntenant: {offer}\nname: B\n\
             ---\nkind: Offer\nid: {offer}\nadvertiser: {offer}-adv\nname: {offer}\n\
             campaign: \"it's\\\\ a \\\"campaign\\\"\"\n\
             integration: custom\nlink: https://www.example.com/?c={{gk_click_id}}\n\
             launch: 2026-01-01\ncurrency: USD\nevents:\n"
        );
        for (level, event) in EVENTS.iter().enumerate() {
            let _ = write!(
                text,
                "  - id: \"{event}\"\n    name: \"{event}\"\n    sequence: {}\n    revenue: 1\n",
                level + 1
            );
        }
    }
    text
}

/// The installation, asked as people's programs ask it.
struct Asking {
    stack: Stack,
    write_token: String,
}

impl Asking {
    async fn answer(&self, path: &str) -> Result<Answer> {
        self.stack.ask(path).await
    }

    async fn json(&self, path: &str) -> Result<Value> {
        let answer = self.answer(path).await?;
        ensure!(answer.status == 200, "{path}: {answer:?}");
        answer.json()
    }

    /// An export's rows.
    async fn lines(&self, path: &str) -> Result<Vec<Value>> {
        let answer = self.answer(path).await?;
        ensure!(answer.status == 200, "{path}: {answer:?}");
        answer.body.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    async fn insert(&self, table: &str, rows: &[Value]) -> Result<()> {
        let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
        let path =
            format!("/?database=gokart&query=INSERT%20INTO%20{table}%20FORMAT%20JSONEachRow");
        let request = Request::post(path)
            .header("x-clickhouse-key", &self.write_token)
            .body(lines.join("\n"))?;
        let address = self.stack.warehouse;
        let answer = http::send(address, &address.to_string(), request).await?;
        ensure!(answer.status == 200, "{table}: {answer:?}");
        Ok(())
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap_or_default()
}

fn micros(text: &str) -> i64 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let negative = whole.starts_with('-');
    let whole: i64 = whole.trim_start_matches('-').parse().unwrap_or(0);
    let fraction: i64 = format!("{fraction:0<6}").parse().unwrap_or(0);
    let sum = whole * 1_000_000 + fraction;
    if negative { -sum } else { sum }
}

fn ms(row: &Value, name: &str) -> i64 {
    let time: jiff::Timestamp = text(row, name).parse().unwrap_or_default();
    time.as_millisecond()
}

fn day(row: &Value, name: &str, zone: &TimeZone) -> String {
    let time = jiff::Timestamp::from_millisecond(ms(row, name)).unwrap_or_default();
    time.to_zoned(zone.clone()).date().to_string()
}

fn is_reached(row: &Value) -> bool {
    match (text(row, "status"), text(row, "reason")) {
        ("Success", _) | ("Pending", "HOLD") => true,
        ("Rejected", reason) => matches!(reason, "CAP_REACHED" | "BUDGET_EXHAUSTED"),
        _ => false,
    }
}

/// Reached, pending, success, rejected, and the revenue of what is in Success by currency.
type Counts = (u64, u64, u64, u64, BTreeMap<String, i64>);

fn count(counts: &mut Counts, row: &Value) {
    counts.0 += u64::from(is_reached(row));
    match text(row, "status") {
        "Pending" => counts.1 += 1,
        "Rejected" => counts.3 += 1,
        _ => {
            counts.2 += 1;
            *counts.4.entry(text(row, "currency").to_owned()).or_default() +=
                micros(text(row, "revenue"));
        }
    }
}

/// The funnel of a basis, from exported rows, by publisher and day.
async fn funnels(asking: &Asking, history: &History, period: &str) -> Result<()> {
    let zone = TimeZone::get(history.zone)?;
    let offer = &history.offer;
    let clicks = asking.lines(&format!("export/clicks?offer={offer}{period}&format=jsonl")).await?;
    for (basis, time) in [("received", "received_at"), ("clicked", "clicked_at")] {
        let conversions = match basis {
            "received" => {
                let path = format!("export/conversions?offer={offer}{period}&format=jsonl");
                asking.lines(&path).await?
            }
            _ => {
                let all = format!("export/conversions?offer={offer}&format=jsonl");
                let ids: BTreeSet<&str> = clicks.iter().map(|row| text(row, "click_id")).collect();
                let all = asking.lines(&all).await?;
                all.into_iter().filter(|row| ids.contains(text(row, "click_id"))).collect()
            }
        };
        let mut expected: BTreeMap<(String, String, String), Counts> = BTreeMap::new();
        for row in &conversions {
            let key = (text(row, "publisher_id").to_owned(), day(row, time, &zone));
            let key = (key.0, key.1, text(row, "event_id").to_owned());
            count(expected.entry(key).or_default(), row);
        }
        let path =
            format!("report/funnel?offer={offer}{period}&by=publisher,day,campaign&basis={basis}");
        let funnel = asking.json(&path).await?;
        let (mut found, mut clicked) = (BTreeMap::new(), 0);
        for group in funnel["groups"].as_array().into_iter().flatten() {
            clicked += group["clicks"].as_u64().unwrap_or(0);
            let value = |index: usize| group["values"][index].as_str().unwrap_or("?").to_owned();
            ensure!(value(2) == "it's\\ a \"campaign\"" || clicks.is_empty(), "{group}");
            for step in group["steps"].as_array().into_iter().flatten() {
                let number = |name: &str| step[name].as_u64().unwrap_or(u64::MAX);
                let amounts = step["amounts"].as_array().into_iter().flatten();
                let money: BTreeMap<String, i64> = amounts
                    .map(|it| (text(it, "currency").to_owned(), micros(text(it, "revenue"))))
                    .filter(|(_, sum)| *sum != 0)
                    .collect();
                let counts: Counts = (
                    number("reached"),
                    number("pending"),
                    number("success"),
                    number("rejected"),
                    money,
                );
                if counts != Counts::default() {
                    found.insert((value(0), value(1), text(step, "event_id").to_owned()), counts);
                }
            }
        }
        ensure!(found == expected, "{path}\n{found:?}\n{expected:?}");
        ensure!(clicked == clicks.len() as u64, "{path}: {clicked} clicks of {}", clicks.len());
        let whole = asking
            .json(&format!("report/funnel?offer={offer}{period}&basis={basis}&times=true"))
            .await?;
        let steps = whole["groups"][0]["steps"].as_array().context("no steps")?;
        if basis == "clicked" && !history.reverses {
            let mut below = whole["groups"][0]["clicks"].as_u64().unwrap_or(0);
            for step in steps {
                let reached = step["reached"].as_u64().unwrap_or(u64::MAX);
                ensure!(reached <= below, "a step grows: {whole}");
                below = reached;
            }
        }
        for step in steps {
            times(step, &conversions)?;
        }
    }
    Ok(())
}

/// `quantileExact`: of n sorted values the one at ⌊level · n⌋.
fn quantile(values: &mut [i64], tenths: usize) -> Option<i64> {
    values.sort_unstable();
    values.get((values.len() * tenths / 10).min(values.len().saturating_sub(1))).copied()
}

fn times(step: &Value, conversions: &[Value]) -> Result<()> {
    let reached: Vec<&Value> = conversions.iter().filter(|row| is_reached(row)).collect();
    let own = reached.iter().filter(|row| row["event_id"] == step["event_id"]);
    let (mut from_click, mut from_previous) = (Vec::new(), Vec::new());
    for row in own {
        from_click.push((ms(row, "received_at") - ms(row, "clicked_at")).max(0));
        let level = row["sequence"].as_u64().unwrap_or(0);
        let before = reached
            .iter()
            .filter(|it| it["click_id"] == row["click_id"] && it["sequence"].as_u64() < Some(level))
            .max_by_key(|it| it["sequence"].as_u64());
        if let Some(before) = before {
            from_previous.push((ms(row, "received_at") - ms(before, "received_at")).max(0));
        }
    }
    let seconds = |values: &mut Vec<i64>, tenths| quantile(values, tenths).map(|it| it / 1000);
    let expected = json!({
        "from_click_median_seconds": seconds(&mut from_click, 5),
        "from_click_p90_seconds": seconds(&mut from_click, 9),
        "from_previous_median_seconds": seconds(&mut from_previous, 5),
        "from_previous_p90_seconds": seconds(&mut from_previous, 9),
    });
    let found = &step["times"];
    ensure!(
        *found == expected || found.is_null() && from_click.is_empty(),
        "{found} is not {expected} of {}",
        step["event_id"]
    );
    Ok(())
}

/// Reports whose totals must be what the export holds.
async fn tables(asking: &Asking, history: &History, period: &str) -> Result<()> {
    let offer = &history.offer;
    let rows =
        asking.lines(&format!("export/conversions?offer={offer}{period}&format=jsonl")).await?;
    let sum = |report: &Value, column: &str| -> u64 {
        let rows = report["rows"].as_array().into_iter().flatten();
        rows.map(|row| row[column].as_u64().unwrap_or(0)).sum()
    };
    let with = |status: &str| rows.iter().filter(|row| row["status"] == status).count() as u64;

    let performance =
        asking.json(&format!("report/performance?offer={offer}{period}&by=country,sub1")).await?;
    for (column, status) in
        [("success", "Success"), ("pending", "Pending"), ("rejected", "Rejected")]
    {
        ensure!(sum(&performance, column) == with(status), "{column}: {performance}");
    }
    let revenue: i64 = performance["rows"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| micros(text(row, "revenue")))
        .sum();
    let paid = rows.iter().filter(|row| row["status"] == "Success");
    ensure!(revenue == paid.map(|row| micros(text(row, "revenue"))).sum::<i64>(), "{performance}");

    let rejections = asking.json(&format!("report/rejections?offer={offer}{period}")).await?;
    ensure!(sum(&rejections, "count") == with("Rejected"), "{rejections}");

    let delays = asking.json(&format!("report/time-to-convert?offer={offer}{period}")).await?;
    let reached = rows.iter().filter(|row| is_reached(row)).count() as u64;
    ensure!(sum(&delays, "conversions") == reached, "{delays}");

    let csv = asking.answer(&format!("export/conversions?offer={offer}{period}")).await?;
    ensure!(csv.header("gokart-rows") == rows.len().to_string(), "{csv:?}");
    ensure!(!csv.body.lines().any(|line| line.contains(",=")), "a formula: {}", csv.body);
    let list =
        asking.json(&format!("report/conversions?offer={offer}{period}&limit=100000")).await?;
    let key = |row: &Value| (text(row, "conversion_id").to_owned(), row["revision"].as_u64());
    let listed: BTreeSet<_> = list["rows"].as_array().into_iter().flatten().map(key).collect();
    ensure!(listed == rows.iter().map(key).collect(), "the list is not the export");

    cohorts(asking, history).await
}

async fn cohorts(asking: &Asking, history: &History) -> Result<()> {
    let (offer, zone) = (&history.offer, TimeZone::get(history.zone)?);
    let rows = asking.lines(&format!("export/conversions?offer={offer}&format=jsonl")).await?;
    let report = asking.json(&format!("report/cohorts?offer={offer}&days=0,2,90")).await?;
    for found in report["rows"].as_array().into_iter().flatten() {
        let of = |row: &&Value| {
            is_reached(row)
                && row["event_id"] == found["event_id"]
                && day(row, "clicked_at", &zone) == text(found, "cohort")
        };
        let until = |days: i64| {
            let within = |row: &&Value| {
                (ms(row, "received_at") - ms(row, "clicked_at")).max(0) < (days + 1) * DAY_MS
            };
            rows.iter().filter(of).filter(within).count() as u64
        };
        let days = found["day"].as_i64().unwrap_or(0);
        ensure!(found["users_so_far"] == until(10_000), "{found}");
        ensure!(found["users"].is_null() || found["users"] == until(days), "{found}");
    }
    Ok(())
}

/// Statements of single months add up to what holds now; details add up to their sums; and a
/// reversal that is decided later changes no month before it.
async fn statements(asking: &Asking, history: &mut History) -> Result<()> {
    const MONTHS: [&str; 6] = ["2026-10", "2026-11", "2026-12", "2027-01", "2027-02", "2027-03"];
    let offer = history.offer.clone();
    let path = |month: &str, more: &str| {
        format!("report/invoice?advertiser={offer}-adv&offer={offer}&month={month}{more}")
    };
    let zone = TimeZone::get(history.zone)?;
    let sums = |table: &Value, rows: &str| {
        let mut sums: BTreeMap<String, (i64, i64)> = BTreeMap::new();
        for row in table[rows].as_array().into_iter().flatten() {
            let entry = sums.entry(text(row, "currency").to_owned()).or_default();
            entry.0 += row["quantity"].as_i64().unwrap_or(0);
            entry.1 += micros(text(row, "revenue"));
        }
        sums
    };
    let mut all: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for month in MONTHS {
        let table = asking.json(&path(month, "")).await?;
        let detail = asking.json(&path(month, "&detail=true")).await?;
        ensure!(sums(&table, "rows") == sums(&table, "totals"), "{table}");
        ensure!(sums(&table, "rows") == sums(&detail, "rows"), "{month}: {table}\n{detail}");
        let expected = plain_statement(&history.revisions, month, &zone);
        ensure!(sums(&table, "rows") == expected, "{month}: {table}\n{expected:?}");
        for (currency, (quantity, money)) in sums(&table, "rows") {
            let entry = all.entry(currency).or_default();
            *entry = (entry.0 + quantity, entry.1 + money);
        }
    }
    let now = format!("export/conversions?offer={offer}&status=Success&format=jsonl");
    let mut holds: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for row in asking.lines(&now).await? {
        let entry = holds.entry(text(&row, "currency").to_owned()).or_default();
        *entry = (entry.0 + 1, entry.1 + micros(text(&row, "revenue")));
    }
    all.retain(|_, sum| *sum != (0, 0));
    ensure!(all == holds, "the months add up to {all:?}, what holds is {holds:?}");

    // One more reversal, decided in March.
    let success = history.revisions.iter().rev().find(|row| {
        row["status"] == "Success"
            && row["test"] == false
            && !history.revisions.iter().any(|it| {
                it["conversion_id"] == row["conversion_id"]
                    && it["revision"].as_u64() > row["revision"].as_u64()
            })
    });
    let mut reversal = success.context("nothing to reverse")?.clone();
    reversal["revision"] = json!(reversal["revision"].as_u64().unwrap_or(0) + 1);
    reversal["status"] = json!("Rejected");
    reversal["reason"] = json!("ADVERTISER_REJECTED");
    reversal["decided_at"] = json!(START + 140 * DAY_MS);
    // And one that was refused when it came, and put back for decision in March.
    let paid = |row: &&Value| row["status"] == "Success" && row["test"] == false;
    let mut repaired = history.revisions.iter().find(paid).context("nothing is paid")?.clone();
    repaired["conversion_id"] = json!(format!("{}r", text(&repaired, "conversion_id")));
    repaired["revision"] = json!(1);
    repaired["flags"] = json!(["REDECIDED"]);
    repaired["decided_at"] = json!(START + 140 * DAY_MS);
    let mut before = Vec::new();
    for month in &MONTHS[..5] {
        before.push(asking.json(&path(month, "&detail=true")).await?);
    }
    asking.insert("conversions", &[reversal.clone(), repaired.clone()]).await?;
    history.revisions.push(reversal);
    for (month, before) in MONTHS.iter().zip(&before) {
        let after = asking.json(&path(month, "&detail=true")).await?;
        ensure!(after == *before, "{month} changed");
    }
    let march = asking.json(&path("2027-03", "")).await?;
    let taken_back = march["rows"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|row| row["line"] == "adjustment" && row["quantity"].as_i64() < Some(0));
    ensure!(taken_back, "{march}");
    let received =
        jiff::Timestamp::from_millisecond(repaired["received_at"].as_i64().unwrap_or(0))?;
    let month = received.to_zoned(zone).strftime("%Y-%m").to_string();
    let march = asking.json(&path("2027-03", "&detail=true")).await?;
    let line = march["rows"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|row| row["conversion_id"] == repaired["conversion_id"])
        .with_context(|| format!("what was put back is not in {march}"))?;
    ensure!(line["line"] == "adjustment" && line["of_month"] == month, "{line}, not of {month}");
    ensure!(line["quantity"] == 1, "{line}");
    history.revisions.push(repaired);
    Ok(())
}

/// What a month's decisions changed of what counts, from all revisions.
fn plain_statement(
    revisions: &[Value],
    month: &str,
    zone: &TimeZone,
) -> BTreeMap<String, (i64, i64)> {
    let mut sums: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for row in revisions.iter().filter(|row| row["test"] == false) {
        let decided = row["decided_at"].as_i64().unwrap_or(0);
        let time = jiff::Timestamp::from_millisecond(decided).unwrap_or_default();
        if !time.to_zoned(zone.clone()).date().to_string().starts_with(month) {
            continue;
        }
        let before = revisions.iter().find(|it| {
            it["conversion_id"] == row["conversion_id"]
                && it["revision"].as_u64() == row["revision"].as_u64().map(|it| it - 1)
        });
        let counts = |row: &Value| row["status"] == "Success";
        let halves = [(before.filter(|it| counts(it)), -1), (Some(row).filter(|it| counts(it)), 1)];
        for (row, sign) in halves.into_iter().filter_map(|(row, sign)| Some((row?, sign))) {
            let entry = sums.entry(text(row, "currency").to_owned()).or_default();
            *entry = (entry.0 + sign, entry.1 + sign * micros(text(row, "revenue")));
        }
    }
    // A change that nets to nothing still has its line.
    sums
}

/// Every route, parameter and column of the API document is the server's, and the other way round;
/// and no value of a parameter is more than a value.
async fn the_document_is_true(asking: &Asking, offer: &str) -> Result<()> {
    let document = asking.json("openapi").await?;
    let paths = document["paths"].as_object().context("no paths")?;
    ensure!(paths.len() > 25, "{} paths", paths.len());
    let hostile = "x' OR 1=1; DROP TABLE clicks; --\u{1f4a3}{tz:String}?\\";
    for (path, operations) in paths {
        let path = path.trim_start_matches("/api/v1/").replace("{id}", "x");
        let unknown = asking.answer(&format!("{path}?nonsense=1")).await?;
        let Some(get) = operations.get("get") else {
            ensure!(unknown.status == 405, "{path}: {unknown:?}");
            continue;
        };
        ensure!(unknown.status == 400, "{path}: {unknown:?}");
        let parameters: Vec<&Value> = get["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|it| it["in"] == "query")
            .collect();
        for parameter in parameters.iter().filter(|it| it["schema"]["type"] == "string") {
            let name = text(parameter, "name");
            let answer = asking.answer(&format!("{path}?{name}={}", encoded(hostile))).await?;
            ensure!(!answer.body.contains("is no parameter"), "{path} {name}: {answer:?}");
            ensure!([200, 400, 404].contains(&answer.status.as_u16()), "{path} {name}: {answer:?}");
            ensure!(!answer.body.contains("DB::Exception"), "{path} {name}: {answer:?}");
        }
        let schema = &get["responses"]["200"]["content"]["application/json"]["schema"];
        let columns = schema["properties"]["rows"]["items"]["required"].as_array();
        let Some(columns) = columns else { continue };
        let needed = parameters.iter().filter(|it| it["required"] == true);
        let given: Vec<String> = needed
            .map(|it| match text(it, "name") {
                "publisher" => format!("publisher={offer}-a"),
                "advertiser" => format!("advertiser={offer}-adv"),
                name => format!("{name}={offer}"),
            })
            .collect();
        let table = asking.json(&format!("{path}?{}", given.join("&"))).await?;
        ensure!(table["columns"] == json!(columns), "{path}: {table}");
        for row in table["rows"].as_array().into_iter().flatten() {
            let names: BTreeSet<&str> =
                row.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
            let wanted: BTreeSet<&str> = columns.iter().filter_map(Value::as_str).collect();
            ensure!(names == wanted, "{path}: {row}");
        }
    }
    let left = asking.stack.sql("SELECT count() AS n FROM clicks", &[]).await?;
    ensure!(left.len() == 1, "the table is gone");
    Ok(())
}

/// Their file against what holds: the same conversions agree, and every difference has its reason.
async fn reconciliation(asking: &Asking, history: &History) -> Result<()> {
    let offer = &history.offer;
    let path = format!("export/conversions?offer={offer}&status=Success&format=jsonl");
    let ours = asking.lines(&path).await?;
    let mut file = String::from("\u{feff}gk_click_id;event;revenue;currency\r\n");
    for (index, row) in ours.iter().enumerate() {
        let revenue = if index == 1 { "99" } else { text(row, "revenue") };
        if index > 0 {
            let _ = write!(
                file,
                "{};{};{revenue};{}\r\n",
                text(row, "click_id"),
                text(row, "event_id"),
                text(row, "currency")
            );
        }
    }
    let _ = write!(file, "{}.999;Install;1;USD\r\n", offer);
    let last = file.lines().nth(3).context("too few")?.to_owned();
    file.push_str(&format!("{last}\r\n;;;\r\n;x;1;USD\r\n"));
    let path = format!("report/reconciliation?advertiser={offer}-adv&offer={offer}");
    let mut request = asking.stack.admin_request(&path)?.map(|_| file);
    *request.method_mut() = hyper::Method::POST;
    let answer = http::send(asking.stack.admin, "localhost", request).await?;
    ensure!(answer.status == 200, "{answer:?}");
    let table = answer.json()?;
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for row in table["rows"].as_array().into_iter().flatten() {
        *kinds.entry(text(row, "difference")).or_default() += 1;
        ensure!(!text(row, "why").is_empty(), "{row}");
    }
    let expected =
        [("amount", 1), ("only here", 1), ("only there", 1), ("repeated", 1), ("unreadable", 1)];
    ensure!(kinds == BTreeMap::from(expected), "{kinds:?}: {table}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_numbers_agree() -> Result<()> {
    let Some(stack) = Stack::local().await? else { return Ok(()) };
    let seed = std::env::var("GOKART_REPORTS_SEED").ok().and_then(|it| it.parse().ok());
    let seed = seed.unwrap_or(SEED);
    println!("GOKART_REPORTS_SEED={seed}");
    let token = std::fs::read_to_string(stack.data().join("warehouse-write.token"))?;
    let write_token = token.trim().to_owned();
    let mut random = Random(seed);
    let cases = std::env::var("GOKART_REPORTS_CASES").ok().and_then(|it| it.parse().ok());
    let mut histories: Vec<History> =
        (0..cases.unwrap_or(CASES)).map(|index| history(&mut random, index)).collect();
    let file = stack.data().join("cases.yaml");
    std::fs::write(&file, documents(&histories))?;
    stack.gokart(&["apply", &file.display().to_string()])?;
    let mut asking = Asking { stack, write_token };
    for history in &mut histories {
        asking.insert("clicks", &history.clicks).await?;
        asking.insert("conversions", &history.revisions).await?;
        // Repeats, as after a crash of the sink; in one more part.
        asking.insert("clicks", &history.clicks[..5]).await?;
        asking.insert("conversions", &history.revisions[..5]).await?;
    }
    let mut funnelled = 0;
    for history in &mut histories {
        for period in ["&from=2026-10-25&to=2026-10-25", "&from=2026-10-27&to=2026-11-01"] {
            funnels(&asking, history, period).await.context(history.zone)?;
            tables(&asking, history, period).await.context(history.zone)?;
            funnelled += 1;
        }
        reconciliation(&asking, history).await.context(history.zone)?;
        statements(&asking, history).await.context(history.zone)?;
    }
    ensure!(funnelled == 2 * histories.len());
    the_document_is_true(&asking, &histories[0].offer).await?;
    asking.stack.stop()
}
