//! Our count beside the advertiser's own: what only they have, what only we have, and where amount
//! or status differ, each with the reason from our side.
//!
//! Their file is CSV with a heading. A line is matched by transaction id where it has one that we
//! know, else by click and event. Lines are taken in order: of several with the same key the first
//! matches, the others are repeats. What counts for them is every line but those whose status says
//! that it was rejected; what counts for us is in Success.

mod theirs;

use super::column::{Column, Kind};
use super::filter::{Filter, View};
use super::table::{ROWS_MAX, Table};
use super::{Asked, Definition};
use crate::error::Error;
use crate::warehouse::Question;
use schemas::{Micros, Reason};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
pub use theirs::BODY_BYTES_MAX;
use theirs::Line;

/// Ids in one question.
const IDS_AT_ONCE: usize = 200;
/// Our conversions of a period that are compared at once.
const OURS_MAX: usize = 500_000;

pub const DEFINITION: Definition = Definition {
    name: "reconciliation",
    about: "The advertiser's own count, as CSV, beside ours: what differs and why.",
    filters: &[Filter::Advertiser, Filter::Offer, Filter::Event],
    has_tests: false,
    options: &[],
    columns: &[
        Column::new(
            "difference",
            Kind::Text,
            "`only there`, `only here`, `amount`, `status`, `repeated` or `unreadable`.",
        ),
        Column::new("line", Kind::Count, "The line of their file."),
        Column::new("event_id", Kind::Text, "The event."),
        Column::new("click_id", Kind::Id, "The gk_click_id.").wide(),
        Column::new("transaction_id", Kind::Id, "The transaction, where there is one."),
        Column::new("theirs", Kind::Text, "Their status and amount."),
        Column::new("ours", Kind::Text, "Our status and revenue."),
        Column::new("why", Kind::Text, "What is known on our side."),
        Column::new("id", Kind::Id, "Our conversion or postback, for `explain`."),
    ],
};

/// One conversion of ours.
#[derive(Debug, Clone, Deserialize)]
struct Ours {
    id: String,
    click: String,
    event: String,
    transaction: String,
    status: String,
    reason: String,
    owed: String,
    money: String,
    received_ms: i64,
}

/// What a postback of ours says about a line of theirs.
#[derive(Debug, Clone, Deserialize)]
struct Heard {
    id: String,
    click: String,
    event: String,
    outcome: String,
    reason: String,
}

/// Lines and sums of each side, by currency.
#[derive(Debug, Default)]
struct Sums {
    counts: BTreeMap<String, (u64, i128)>,
}

impl Sums {
    fn add(&mut self, currency: &str, amount: Option<Micros>) {
        let entry = self.counts.entry(currency.to_owned()).or_default();
        entry.0 += 1;
        entry.1 += amount.map_or(0, |it| i128::from(it.0));
    }

    fn text(&self) -> String {
        let each = self.counts.iter().map(|(currency, (count, sum))| {
            let sum = i64::try_from(*sum)
                .map_or_else(|_| "more than fits".into(), |it| Micros(it).to_string());
            format!("{count} for {sum} {currency}").trim().to_owned()
        });
        let text = each.collect::<Vec<_>>().join(", ");
        if text.is_empty() { "none".to_owned() } else { text }
    }
}

/// Compares; `body` is their file.
pub async fn run(asked: &Asked<'_>, body: &[u8]) -> Result<Table, Error> {
    let advertiser = asked.query.required("advertiser")?;
    let (lines, unreadable) = theirs::read(body)?;
    let ours = ours(asked).await?;
    let compared = compare(asked, &lines, &ours);
    let mut rows: Vec<Vec<Value>> = unreadable
        .iter()
        .map(|(line, why)| row("unreadable", Some(*line), None, "", "", why, ""))
        .collect();
    rows.extend(compared.rows);
    rows.extend(explain(asked, &compared.only_there).await?);
    rows.sort_by_key(|row| (row[1].as_u64().is_none(), row[1].as_u64()));
    let counts = compared.counts.into_iter().map(|(name, count)| format!("{name}: {count}"));
    let counts: Vec<String> = counts.collect();
    let more = rows.len() > ROWS_MAX;
    let mut table = asked.table(rows);
    table.more = more;
    table.notes = vec![
        format!("Advertiser {advertiser}. {}.", counts.join("; ")),
        format!("They count {}; we count {}.", compared.theirs.text(), compared.ours.text()),
        "Ours: postbacks received in the period. A difference of a day can be one of time zones."
            .to_owned(),
    ];
    Ok(table)
}

async fn ours(asked: &Asked<'_>) -> Result<Vec<Ours>, Error> {
    let sql = format!(
        "SELECT conversion_id AS id, v.click_id AS click, toString(v.event_id) AS event, \
         v.transaction_id AS transaction, toString(v.status) AS status, \
         toString(v.reason) AS reason, toString(v.revenue) AS owed, toString(v.currency) AS money, \
         toUnixTimestamp64Milli(received_at) AS received_ms FROM {} AS v WHERE {} \
         ORDER BY received_ms, id LIMIT {}",
        View::Conversions.name(),
        asked.scope.conditions(View::Conversions, View::Conversions.time()),
        OURS_MAX + 1
    );
    let rows: Vec<Ours> =
        asked.warehouse.rows(asked.scope.bind(Question::new(sql), asked.catalog)).await?;
    if rows.len() > OURS_MAX {
        return Err(Error::TooMuch(format!(
            "there are more than {OURS_MAX} conversions of ours in it; compare a shorter time or \
             one offer"
        )));
    }
    Ok(rows)
}

struct Compared<'a> {
    rows: Vec<Vec<Value>>,
    only_there: Vec<&'a Line>,
    counts: BTreeMap<&'static str, u64>,
    theirs: Sums,
    ours: Sums,
}

fn compare<'a>(asked: &Asked<'_>, lines: &'a [Line], ours: &[Ours]) -> Compared<'a> {
    let event_of = |line: &Line| canonical(asked, &line.event);
    let mut by_transaction: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
    let mut by_click: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
    for (index, row) in ours.iter().enumerate().rev() {
        if !row.transaction.is_empty() {
            by_transaction.entry((&row.transaction, &row.event)).or_default().push(index);
        }
        by_click.entry((&row.click, &row.event)).or_default().push(index);
    }
    let mut matched = vec![false; ours.len()];
    let mut found = Compared {
        rows: Vec::new(),
        only_there: Vec::new(),
        counts: BTreeMap::new(),
        theirs: Sums::default(),
        ours: Sums::default(),
    };
    for line in lines {
        if line.counts {
            found.theirs.add(&line.currency, line.amount);
        }
        let event = event_of(line);
        let candidates = by_transaction
            .get(&(line.transaction.as_str(), event.as_str()))
            .filter(|_| !line.transaction.is_empty())
            .or_else(|| by_click.get(&(line.click.as_str(), event.as_str())));
        let Some(candidates) = candidates else {
            if line.counts {
                found.only_there.push(line);
                *found.counts.entry("only there").or_default() += 1;
            } else {
                *found.counts.entry("agreed").or_default() += 1;
            }
            continue;
        };
        let Some(index) = candidates.iter().copied().rfind(|index| !matched[*index]) else {
            *found.counts.entry("repeated").or_default() += 1;
            let first = &ours[candidates[candidates.len() - 1]];
            let why = "the file has this conversion before; we count it once";
            found.rows.push(row(
                "repeated",
                Some(line.number),
                Some(line),
                &line.text(),
                &first.text(),
                why,
                &first.id,
            ));
            continue;
        };
        matched[index] = true;
        let row_of = &ours[index];
        let difference = difference(line, row_of);
        *found.counts.entry(difference.unwrap_or("agreed")).or_default() += 1;
        if let Some(difference) = difference {
            let why = row_of.why(asked);
            found.rows.push(row(
                difference,
                Some(line.number),
                Some(line),
                &line.text(),
                &row_of.text(),
                &why,
                &row_of.id,
            ));
        }
    }
    for (index, row_of) in ours.iter().enumerate() {
        if row_of.status == "Success" {
            found.ours.add(&row_of.money, Micros::parse(&row_of.owed).ok());
            if !matched[index] {
                *found.counts.entry("only here").or_default() += 1;
                let why = row_of.why(asked);
                let line = Line::of(&row_of.click, &row_of.event, &row_of.transaction);
                found.rows.push(row(
                    "only here",
                    None,
                    Some(&line),
                    "",
                    &row_of.text(),
                    &why,
                    &row_of.id,
                ));
            }
        }
    }
    found
}

/// The id of an event that their file may call by an alias.
fn canonical(asked: &Asked<'_>, event: &str) -> String {
    let mut offers = asked.catalog.offers().filter(|it| asked.scope.covers(it, asked.catalog));
    let found = offers.find_map(|offer| offer.event(event).map(|it| it.id.to_string()));
    found.unwrap_or_else(|| event.to_owned())
}

/// How a line differs from its conversion.
fn difference(line: &Line, ours: &Ours) -> Option<&'static str> {
    if line.counts != (ours.status == "Success") {
        return Some("status");
    }
    let differs = line.amount.is_some_and(|amount| Micros::parse(&ours.owed) != Ok(amount))
        || !line.currency.is_empty() && line.currency != ours.money;
    (line.counts && differs).then_some("amount")
}

impl Ours {
    fn text(&self) -> String {
        let amount = Micros::parse(&self.owed).unwrap_or_default();
        format!("{} {amount} {}", self.status, self.money)
    }

    fn why(&self, asked: &Asked<'_>) -> String {
        let reason = self.reason.parse::<Reason>().ok();
        let received = asked.scope.period.show(schemas::UnixMillis(self.received_ms));
        match reason {
            Some(reason) => format!("{reason}: {}; received {received}", reason.text()),
            None => format!("received {received}"),
        }
    }
}

/// Why lines that only they have are not with us: their postback was refused, it counts on a day
/// outside of the period, or it never came.
async fn explain(asked: &Asked<'_>, lines: &[&Line]) -> Result<Vec<Vec<Value>>, Error> {
    let mut rows = Vec::new();
    for lines in lines.chunks(IDS_AT_ONCE).take(ROWS_MAX.div_ceil(IDS_AT_ONCE)) {
        let clicks: Vec<String> =
            lines.iter().filter(|it| !it.click.is_empty()).map(|it| it.click.clone()).collect();
        let heard = heard(asked, clicks).await?;
        for line in lines {
            let event = canonical(asked, &line.event);
            let of_click =
                || heard.iter().filter(|it| it.click == line.click && !line.click.is_empty());
            let exact = of_click().find(|it| it.event == line.event || it.event == event);
            let (why, id) = match exact.or_else(|| of_click().next()) {
                Some(found) => (said(found, exact.is_some()), found.id.clone()),
                None if line.click.is_empty() => (
                    "the line names no click, and we know no such transaction in the period".into(),
                    String::new(),
                ),
                None => (
                    "no postback of this click has come: it was not sent, or was refused for its \
                     credentials (see `gokart refused`)"
                        .to_owned(),
                    String::new(),
                ),
            };
            rows.push(row(
                "only there",
                Some(line.number),
                Some(line),
                &line.text(),
                "",
                &why,
                &id,
            ));
        }
    }
    Ok(rows)
}

fn said(heard: &Heard, is_same_event: bool) -> String {
    let reason = heard.reason.parse::<Reason>().ok();
    let reason = reason.map_or_else(String::new, |it| format!(" {it}: {}", it.text()));
    match (is_same_event, heard.outcome.as_str()) {
        (false, _) => format!(
            "of this click only other events came, e.g. {:?} ({}){reason}",
            heard.event, heard.outcome
        ),
        (true, "accepted") => {
            "its postback came, but not in the period that was asked for".to_owned()
        }
        (true, outcome) => format!("its postback was {outcome}:{reason}"),
    }
}

/// Their postbacks of any time, tests left out.
async fn heard(asked: &Asked<'_>, clicks: Vec<String>) -> Result<Vec<Heard>, Error> {
    if clicks.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT toString(postback_id) AS id, v.click_id AS click, toString(v.event_id) AS event, \
         toString(v.outcome) AS outcome, toString(v.reason) AS reason FROM {} AS v \
         WHERE v.advertiser_id = {{advertiser:String}} AND NOT test \
         AND v.click_id IN {{clicks:Array(String)}} ORDER BY received_at, id LIMIT 5000",
        View::Postbacks.name()
    );
    let advertiser = asked.query.required("advertiser")?;
    let question = Question::new(sql).bind("advertiser", advertiser).bind_list("clicks", clicks);
    asked.warehouse.rows(question).await
}

fn row(
    difference: &str,
    number: Option<u64>,
    line: Option<&Line>,
    theirs: &str,
    ours: &str,
    why: &str,
    id: &str,
) -> Vec<Value> {
    let of = |pick: fn(&Line) -> &str| Value::from(line.map_or("", pick));
    vec![
        difference.into(),
        number.into(),
        of(|line| &line.event),
        of(|line| &line.click),
        of(|line| &line.transaction),
        theirs.into(),
        ours.into(),
        why.into(),
        id.into(),
    ]
}
