//! Clicks, conversion rate and earnings per click, by any dimensions. Clicks count in the period in
//! which they happened, conversions in the one in which their postback was received, as in the
//! funnel and in the exports.

use super::column::{Column, Kind, percent};
use super::dimension::{self, By, values_sql};
use super::filter::{Filter, View};
use super::table::Table;
use super::{Asked, Definition};
use crate::error::Error;
use crate::parameter::Parameter;
use crate::warehouse::Question;
use schemas::Micros;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const BY: Parameter = Parameter::text(
    "by",
    "Dimensions, separated by commas: publisher (unless given), offer, day, country, platform, \
     campaign, sub1 to sub15.",
);

pub const DEFINITION: Definition = Definition {
    name: "performance",
    about: "Clicks, conversion rate and earnings per click by publisher or other dimensions.",
    filters: &[
        Filter::Tenant,
        Filter::Advertiser,
        Filter::Offer,
        Filter::Publisher,
        Filter::Country,
        Filter::Platform,
        Filter::Clones,
    ],
    has_tests: true,
    options: &[BY],
    columns: &[
        Column::new("value", Kind::Text, "The dimensions' values, with ` / ` between them."),
        Column::new("clicks", Kind::Count, "Clicks; in each row of the same value the same ones."),
        Column::new("users", Kind::Count, "Clicks with at least one conversion in Success."),
        Column::new("cr_percent", Kind::Percent, "Conversion rate: users of clicks."),
        Column::new("success", Kind::Count, "Conversions in Success."),
        Column::new("pending", Kind::Count, "Conversions that wait."),
        Column::new("rejected", Kind::Count, "Conversions that were rejected."),
        Column::new("currency", Kind::Text, "ISO 4217; empty without conversions."),
        Column::new("revenue", Kind::Amount, "What the advertiser pays for what is in Success."),
        Column::new("payout", Kind::Amount, "What the publisher is paid for it."),
        Column::new("revenue_per_click", Kind::Amount, "EPC: revenue over clicks."),
        Column::new("payout_per_click", Kind::Amount, "The publisher's EPC: payout over clicks."),
    ],
};

#[derive(Debug, Deserialize)]
struct ClickRow {
    value: Vec<String>,
    clicks: u64,
}

#[derive(Debug, Deserialize)]
struct MoneyRow {
    value: Vec<String>,
    currency: String,
    users: u64,
    success: u64,
    pending: u64,
    rejected: u64,
    revenue: String,
    payout: String,
}

pub async fn run(asked: &Asked<'_>) -> Result<Table, Error> {
    let by = match asked.query.text(BY.name) {
        None => vec![By::Publisher],
        Some(text) => By::parse_list(text)?,
    };
    let question = |view: View, select: &str, group: &str| {
        let sql = format!(
            "SELECT {} AS value, {select} FROM {} AS v WHERE {} GROUP BY {group}",
            values_sql(&by, view.time()),
            view.name(),
            asked.scope.conditions(view, view.time()),
        );
        let question = asked.scope.bind(Question::new(sql), asked.catalog);
        let covers = |offer: &schemas::Offer| asked.scope.covers(offer, asked.catalog);
        dimension::bind(question, &by, &asked.scope.period, asked.catalog, covers)
    };
    let clicks = question(View::Clicks, "count() AS clicks", "value")?;
    let money = question(
        View::Conversions,
        "toString(v.currency) AS currency, \
         uniqExactIf(click_id, status = 'Success') AS users, countIf(status = 'Success') AS success, \
         countIf(status = 'Pending') AS pending, countIf(status = 'Rejected') AS rejected, \
         toString(sumIf(v.revenue, status = 'Success')) AS revenue, \
         toString(sumIf(v.payout, status = 'Success')) AS payout",
        "value, currency",
    )?;
    let (clicks, money) = tokio::try_join!(
        asked.warehouse.rows::<ClickRow>(clicks),
        asked.warehouse.rows::<MoneyRow>(money)
    )?;
    let mut table = asked.table(assemble(clicks, money));
    let names: Vec<String> = by.iter().map(|by| by.name()).collect();
    table.notes.push(format!(
        "By {}.",
        if names.is_empty() { "nothing".into() } else { names.join(" / ") }
    ));
    table.notes.push(
        "Clicks of the period over conversions received in it; a value with several currencies \
         has a row for each."
            .to_owned(),
    );
    Ok(table)
}

fn assemble(clicks: Vec<ClickRow>, money: Vec<MoneyRow>) -> Vec<Vec<Value>> {
    let clicks: BTreeMap<Vec<String>, u64> =
        clicks.into_iter().map(|row| (row.value, row.clicks)).collect();
    let paid: BTreeSet<&Vec<String>> = money.iter().map(|row| &row.value).collect();
    let unpaid = clicks.iter().filter(|(value, _)| !paid.contains(value));
    let mut rows: Vec<(u64, Vec<Value>)> = unpaid
        .map(|(value, clicks)| {
            let row = MoneyRow {
                value: value.clone(),
                currency: String::new(),
                users: 0,
                success: 0,
                pending: 0,
                rejected: 0,
                revenue: "0".to_owned(),
                payout: "0".to_owned(),
            };
            (*clicks, cells(&row, *clicks))
        })
        .collect();
    for row in &money {
        let count = clicks.get(&row.value).copied().unwrap_or_default();
        rows.push((count, cells(row, count)));
    }
    rows.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1[0].to_string().cmp(&b.1[0].to_string())));
    rows.into_iter().map(|(_, row)| row).collect()
}

fn cells(row: &MoneyRow, clicks: u64) -> Vec<Value> {
    let amount = |text: &str| Micros::parse(text).unwrap_or_default();
    let per_click = |text: &str| match i64::try_from(clicks) {
        Ok(clicks) if clicks > 0 => Value::from(Micros(amount(text).0 / clicks).to_string()),
        _ => Value::Null,
    };
    let known = |part: &String| if part.is_empty() { "not known".into() } else { part.clone() };
    let value: Vec<String> = row.value.iter().map(known).collect();
    vec![
        Value::from(if value.is_empty() { "all".to_owned() } else { value.join(" / ") }),
        clicks.into(),
        row.users.into(),
        percent(row.users, clicks).into(),
        row.success.into(),
        row.pending.into(),
        row.rejected.into(),
        row.currency.clone().into(),
        amount(&row.revenue).to_string().into(),
        amount(&row.payout).to_string().into(),
        per_click(&row.revenue),
        per_click(&row.payout),
    ]
}
