//! Who is owed what for a period: the publisher's statement, the advertiser's invoice, and both
//! sides of it with the margin, for us alone.
//!
//! A conversion counts in the period in which it was decided to be a Success. What is decided later
//! (a reversal, an approval by hand, a changed amount) is an adjustment in the period in which
//! *that* was decided, with the month it corrects beside it; and so is a postback that was refused
//! in an earlier month and put back for decision (`REDECIDED`). So a period that is over never
//! changes: it is made of revisions with their `decided_at` in it, and no revision is ever added to
//! the past. Tests never count.

use super::column::{Column, Kind};
use super::filter::{Filter, Scope, View};
use super::period::Period;
use super::table::Table;
use super::{Asked, Definition, event_name};
use crate::error::Error;
use crate::parameter::Parameter;
use crate::warehouse::Question;
use jiff::civil::Date;
use schemas::time::DAY_MS;
use schemas::{Catalog, Micros, UnixMillis};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Lines of a statement in detail.
const DETAIL_ROWS_MAX: usize = 100_000;
/// Until a period that is over is called closed: a processor that was down decides what arrived
/// then with the time at which it arrived.
const CLOSING_MS: i64 = DAY_MS;
/// In place of a private event's id, which publishers are never told.
const PRIVATE: &str = "(private)";

const MONTH: Parameter = Parameter::text(
    "month",
    "A whole month, e.g. 2026-10; the running one unless a time is given.",
);
const DETAIL: Parameter = Parameter::flag("detail", "A line for each conversion and adjustment.");

const LINE: Column =
    Column::new("line", Kind::Text, "`conversion`, or `adjustment` of an earlier decision.");
const OF_MONTH: Column =
    Column::new("of_month", Kind::Text, "The month in which the conversion first counted.");
const OFFER: Column = Column::new("offer_id", Kind::Id, "The offer.");
const OFFER_NAME: Column = Column::new("offer_name", Kind::Text, "Its name now.").wide();
const EVENT: Column = Column::new("event_id", Kind::Text, "The event.");
const EVENT_NAME: Column = Column::new("event_name", Kind::Text, "Its name now.").wide();
const PUBLISHER: Column = Column::new("publisher_id", Kind::Id, "The publisher.");
const QUANTITY: Column =
    Column::new("quantity", Kind::Count, "Conversions; what an adjustment takes back is negative.");
const CURRENCY: Column = Column::new("currency", Kind::Text, "ISO 4217.");
const REVENUE: Column = Column::new("revenue", Kind::Amount, "What the advertiser owes.");
const PAYOUT: Column = Column::new("payout", Kind::Amount, "What the publisher is owed.");
const MARGIN_OF: Column = Column::new("margin", Kind::Amount, "Revenue less payout.");
const DECIDED: Column = Column::new("decided_at", Kind::Time, "In detail: when it was decided.");
const CONVERSION: Column = Column::new("conversion_id", Kind::Id, "In detail: the conversion.");
const REVISION: Column = Column::new("revision", Kind::Count, "In detail: its revision.").wide();
const REASON: Column = Column::new("reason", Kind::Text, "In detail: why it was decided so.");

pub const STATEMENT: Definition = Definition {
    name: "statement",
    about: "What a publisher is owed for a period, by offer and event, with adjustments.",
    filters: &[Filter::Publisher, Filter::Offer, Filter::Event],
    has_tests: false,
    options: &[MONTH, DETAIL],
    columns: &[
        LINE, OF_MONTH, OFFER, OFFER_NAME, EVENT, EVENT_NAME, QUANTITY, CURRENCY, PAYOUT, DECIDED,
        CONVERSION, REVISION, REASON,
    ],
};

pub const INVOICE: Definition = Definition {
    name: "invoice",
    about: "What an advertiser owes for a period, by offer and event, with adjustments.",
    filters: &[Filter::Advertiser, Filter::Offer, Filter::Event],
    has_tests: false,
    options: &[MONTH, DETAIL],
    columns: &[
        LINE, OF_MONTH, OFFER, OFFER_NAME, EVENT, EVENT_NAME, QUANTITY, CURRENCY, REVENUE, DECIDED,
        CONVERSION, REVISION, REASON,
    ],
};

pub const MARGIN: Definition = Definition {
    name: "margin",
    about: "Both sides of a period for ourselves: revenue, payout and what is left between them.",
    filters: &[Filter::Tenant, Filter::Advertiser, Filter::Publisher, Filter::Offer, Filter::Event],
    has_tests: false,
    options: &[MONTH, DETAIL],
    columns: &[
        LINE, OF_MONTH, OFFER, OFFER_NAME, EVENT, EVENT_NAME, PUBLISHER, QUANTITY, CURRENCY,
        REVENUE, PAYOUT, MARGIN_OF, DECIDED, CONVERSION, REVISION, REASON,
    ],
};

/// Lines of one kind together, or one of them in detail.
#[derive(Debug, Clone, Deserialize)]
struct Row {
    line: String,
    of_month: String,
    offer: String,
    event: String,
    publisher: String,
    currency: String,
    quantity: i64,
    revenue: String,
    payout: String,
    #[serde(default)]
    decided_ms: Option<i64>,
    #[serde(default)]
    conversion: Option<String>,
    #[serde(default)]
    revision: Option<u32>,
    #[serde(default)]
    why: Option<String>,
}

pub async fn run(asked: &Asked<'_>) -> Result<Table, Error> {
    let asked = &Asked { scope: with_month(asked)?, ..*asked };
    let (from, to) = match (asked.scope.period.from_ms, asked.scope.period.to_ms) {
        (Some(from), Some(to)) => (from, to),
        _ => {
            return Err(Error::bad_request("from, to: a statement needs both, or a month")
                .with_hint("write e.g. month=2026-10"));
        }
    };
    let by_publisher = asked.definition.columns.contains(&PUBLISHER);
    let ask = |detail: bool| {
        let question = Question::new(sql(&asked.scope, by_publisher, detail));
        let question = question.bind("tz", &asked.scope.period.zone_name);
        asked.warehouse.rows::<Row>(asked.scope.bind(question, asked.catalog))
    };
    let detail = async {
        match asked.query.flag(DETAIL.name) {
            true => Ok(Some(ask(true).await?)),
            false => Ok(None),
        }
    };
    let (sums, detail) = tokio::try_join!(ask(false), detail)?;
    let totals = totals(&sums)?;
    let rows = detail.unwrap_or(sums);
    let more = rows.len() > DETAIL_ROWS_MAX;
    let cells = |row: &Row| cells(asked, row);
    let mut table = asked.table(Vec::new());
    table.rows = rows.iter().take(DETAIL_ROWS_MAX).map(cells).collect();
    table.totals = totals.iter().map(cells).collect();
    table.more = more;
    table.notes.push(state(asked.now.0, from, to).to_owned());
    if let Some(name) = party(asked) {
        table.notes.insert(0, name);
    }
    Ok(table)
}

/// The scope with the month that was asked for, or the running one.
fn with_month(asked: &Asked<'_>) -> Result<Scope, Error> {
    let mut scope = asked.scope.clone();
    let is_bounded = scope.period.from_ms.is_some() || scope.period.to_ms.is_some();
    let month = match asked.query.text(MONTH.name) {
        Some(_) if is_bounded => {
            return Err(Error::bad_request("month: stands alone, without from and to"));
        }
        Some(text) => Some(
            format!("{text}-01")
                .parse::<Date>()
                .ok()
                .filter(|_| text.len() == "2026-10".len())
                .ok_or_else(|| {
                    let shown: String = text.chars().take(20).collect();
                    Error::bad_request(format!("month: {shown:?} is not a month"))
                        .with_hint("write e.g. 2026-10")
                })?,
        ),
        None if is_bounded => None,
        None => scope.period.day_of(asked.now),
    };
    if let Some(day) = month {
        let (first, last) = (day.first_of_month().to_string(), day.last_of_month().to_string());
        scope.period = Period::parse(Some(&first), Some(&last), &scope.period.zone_name)?;
    }
    Ok(scope)
}

/// Each change of what counts is up to two halves: what counted before is taken back, what counts
/// now is added. So a change of currency or amounts is right too, and money never mixes.
///
/// What counted before has to be looked for only where something may have: a month may hold more
/// revisions than a query may have memory for. A Success that is a conversion's first revision, or
/// the second after a Pending one, is a line by itself. Conversions with any other change in the
/// period are remembered by short hashes, and their revisions are read in the order in which they
/// lie, so that nothing is sorted. One too many, because its hash is like another's, is told there
/// as well.
fn sql(scope: &Scope, by_publisher: bool, detail: bool) -> String {
    // On an invoice it would split lines by what does not stand on it.
    let publisher = if by_publisher { "toString(publisher_id)" } else { "''" };
    let (view, table) = (View::Revisions.name(), View::Revisions.table());
    let all_time = scope.within(Period::default());
    let rows = all_time.conditions(View::Revisions, "decided_at");
    let decided = scope.conditions(View::Revisions, "decided_at");
    let received = format!(
        "received_at < fromUnixTimestamp64Milli({{to:Int64}}, 'UTC') \
         AND received_at >= (SELECT min(received_at) FROM {table} WHERE {decided})"
    );
    let hash = "cityHash64(conversion_id)";
    let again = format!(
        "SELECT {hash} FROM {table} WHERE {decided} AND revision > 2 UNION ALL \
         SELECT {hash} FROM {table} WHERE {rows} AND revision = 1 AND status != 'Pending' \
         AND {hash} IN (SELECT {hash} FROM {table} WHERE {decided} AND revision = 2)"
    );
    let own = format!(
        "conversion_id, revision, toString(offer_id) AS offer, toString(event_id) AS event, \
         {publisher} AS publisher, decided_at, toString(reason) AS why, received_at, \
         toInt64(status = 'Success') AS counts, toString(r.currency) AS money, \
         r.revenue AS owed, r.payout AS paid"
    );
    let changes = format!(
        "SELECT {own}, toInt64(0) AS counted, '' AS money_before, \
         toDecimal64(0, 6) AS owed_before, toDecimal64(0, 6) AS paid_before, \
         revision AS first_revision, decided_at AS first_at, has(flags, 'REDECIDED') AS repaired \
         FROM {view} AS r WHERE {decided} AND {received} AND status = 'Success' \
         AND {hash} NOT IN ({again}) \
         UNION ALL \
         SELECT {own}, lagInFrame(toInt64(status = 'Success'), 1, toInt64(0)) OVER whole AS counted, \
         lagInFrame(toString(r.currency)) OVER whole AS money_before, \
         lagInFrame(r.revenue) OVER whole AS owed_before, \
         lagInFrame(r.payout) OVER whole AS paid_before, \
         minIf(revision, status = 'Success') OVER whole AS first_revision, \
         minIf(decided_at, status = 'Success') OVER whole AS first_at, \
         argMinIf(has(flags, 'REDECIDED'), revision, status = 'Success') OVER whole AS repaired \
         FROM {view} AS r WHERE {rows} AND {received} AND {hash} IN ({again}) \
         WINDOW whole AS (\
         PARTITION BY toDate(received_at), tenant, offer_id, conversion_id ORDER BY revision \
         ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)"
    );
    let lines = format!(
        "SELECT formatDateTime(first_at, '%Y-%m', {{tz:String}}) AS counted_in, \
         formatDateTime(received_at, '%Y-%m', {{tz:String}}) AS received_in, \
         if(repaired, least(received_in, counted_in), counted_in) AS of_month, \
         if(revision = first_revision AND of_month = counted_in, 'conversion', 'adjustment') \
         AS line, offer, event, publisher, \
         decided_at, conversion_id, revision, why, \
         arrayJoin(arrayFilter(half -> half.1 != 0, \
         [(-counted, money_before, -owed_before, -paid_before), (counts, money, owed, paid)])) \
         AS half FROM ({changes}) \
         WHERE decided_at >= fromUnixTimestamp64Milli({{from:Int64}}, 'UTC') \
         AND decided_at < fromUnixTimestamp64Milli({{to:Int64}}, 'UTC') \
         AND (counted, money_before, owed_before, paid_before) != (counts, money, owed, paid)"
    );
    let sums_or_detail = match detail {
        false => format!(
            "SELECT line, of_month, offer, event, publisher, half.2 AS currency, \
             sum(half.1) AS quantity, toString(sum(half.3)) AS revenue, \
             toString(sum(half.4)) AS payout FROM ({lines}) \
             GROUP BY line, of_month, offer, event, publisher, currency \
             ORDER BY line DESC, of_month, offer, event, publisher, currency LIMIT {}",
            DETAIL_ROWS_MAX + 1
        ),
        true => format!(
            "SELECT line, of_month, offer, event, publisher, half.2 AS currency, \
             half.1 AS quantity, toString(half.3) AS revenue, toString(half.4) AS payout, \
             toUnixTimestamp64Milli(decided_at) AS decided_ms, conversion_id AS conversion, \
             revision, why FROM ({lines}) ORDER BY decided_ms, conversion, revision, quantity \
             LIMIT {}",
            DETAIL_ROWS_MAX + 1
        ),
    };
    format!("{sums_or_detail} SETTINGS optimize_read_in_window_order = 1")
}

fn totals(rows: &[Row]) -> Result<Vec<Row>, Error> {
    let mut totals: BTreeMap<&str, (i64, Micros, Micros)> = BTreeMap::new();
    for row in rows {
        let entry = totals.entry(&row.currency).or_default();
        let add = |sum: Micros, text: &str| {
            let amount = Micros::parse(text).ok();
            amount.and_then(|it| sum.checked_add(it)).ok_or_else(|| {
                Error::Internal("the total is larger than an amount can be".to_owned())
            })
        };
        entry.0 += row.quantity;
        entry.1 = add(entry.1, &row.revenue)?;
        entry.2 = add(entry.2, &row.payout)?;
    }
    let row = |(currency, (quantity, revenue, payout)): (&str, (i64, Micros, Micros))| Row {
        line: String::new(),
        of_month: String::new(),
        offer: String::new(),
        event: String::new(),
        publisher: String::new(),
        currency: currency.to_owned(),
        quantity,
        revenue: revenue.to_string(),
        payout: payout.to_string(),
        decided_ms: None,
        conversion: None,
        revision: None,
        why: None,
    };
    Ok(totals.into_iter().map(row).collect())
}

fn cells(asked: &Asked<'_>, row: &Row) -> Vec<Value> {
    let catalog = asked.catalog;
    let is_hidden =
        asked.definition.name == STATEMENT.name && is_private(catalog, &row.offer, &row.event);
    let event = if is_hidden { PRIVATE } else { &row.event };
    let name =
        if is_hidden { PRIVATE.to_owned() } else { event_name(catalog, &row.offer, &row.event) };
    let micros = |text: &str| Micros::parse(text).unwrap_or_default();
    let (revenue, payout) = (micros(&row.revenue), micros(&row.payout));
    let cell = |column: &Column| match column.name {
        "line" => Value::from(row.line.as_str()),
        "of_month" => row.of_month.as_str().into(),
        "offer_id" => row.offer.as_str().into(),
        "offer_name" => catalog.offer(&row.offer).map(|offer| offer.name.clone()).into(),
        "event_id" => event.into(),
        "event_name" => name.as_str().into(),
        "publisher_id" => row.publisher.as_str().into(),
        "quantity" => row.quantity.into(),
        "currency" => row.currency.as_str().into(),
        "revenue" => revenue.to_string().into(),
        "payout" => payout.to_string().into(),
        "margin" => Micros(revenue.0.saturating_sub(payout.0)).to_string().into(),
        "decided_at" => row.decided_ms.map(|ms| asked.scope.period.show(UnixMillis(ms))).into(),
        "conversion_id" => row.conversion.clone().into(),
        "revision" => row.revision.into(),
        "reason" => row.why.clone().into(),
        _ => Value::Null,
    };
    asked.definition.columns.iter().map(cell).collect()
}

fn is_private(catalog: &Catalog, offer: &str, event: &str) -> bool {
    let offer = catalog.offer(offer);
    offer.is_some_and(|it| it.events.iter().any(|it| it.id.as_str() == event && it.private))
}

/// Whether anything can still be added to it.
fn state(now: i64, from: i64, to: i64) -> &'static str {
    match now {
        now if now < from => "The period has not begun.",
        now if now < to => "The period is open: more is decided every day.",
        now if now < to + CLOSING_MS => {
            "The period is over and is being closed: what arrived in it may still be decided."
        }
        _ => "The period is closed: what is decided later is an adjustment in a later period.",
    }
}

fn party(asked: &Asked<'_>) -> Option<String> {
    let value = |filter| asked.scope.value(filter);
    match asked.definition.name {
        "statement" => {
            let publisher = asked.catalog.publisher(value(Filter::Publisher)?)?;
            Some(format!("Publisher: {} ({}).", publisher.name, publisher.id))
        }
        "invoice" => {
            let advertiser = asked.catalog.advertiser(value(Filter::Advertiser)?)?;
            Some(format!("Advertiser: {} ({}).", advertiser.name, advertiser.id))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_closed_a_day_after_its_end() {
        let day = DAY_MS;
        for (now, word) in
            [(0, "begun"), (day, "open"), (3 * day, "being closed"), (4 * day, "is closed")]
        {
            assert!(state(now, day, 3 * day).contains(word), "{now}");
        }
    }
}
