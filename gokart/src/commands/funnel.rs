//! `report funnel`: bars on a terminal.

use super::list::period;
use super::{Failure, output, plot};
use crate::cli::asking::{Format, Funnel};
use crate::client::{Client, Target};
use admin::report::funnel::{Group, Step};
use serde_json::Value;

pub async fn run(ask: &Funnel) -> Result<(), Failure> {
    if let Some(path) = &ask.plot {
        plot::check(path)?;
    }
    let target = Target::new(&["report", "funnel"])
        .with("offer", Some(&ask.offer))
        .with("by", ask.by.as_deref())
        .with("basis", Some(&ask.basis))
        .flag("times", ask.times)
        .with("publisher", ask.publisher.as_deref())
        .flag("include_test", ask.include_test);
    let target = ask.period.add(ask.traffic.add(target));
    let answer = Client::connect(&ask.connection)?.get(target).await?;
    if let Some(path) = &ask.plot {
        plot::funnel(&answer, &groups(&answer)?, path)?;
    }
    output::print_drawn(&text(&answer, ask.output.format)?)
}

fn groups(answer: &Value) -> Result<Vec<Group>, Failure> {
    serde_json::from_value(answer["groups"].clone())
        .map_err(|error| Failure::failed(format!("the answer cannot be read: {error}")))
}

fn text(answer: &Value, format: Format) -> Result<String, Failure> {
    let groups = groups(answer)?;
    match format {
        Format::Json => Ok(output::json(answer)),
        Format::Csv => csv(&groups, &dimensions(answer)),
        Format::Table => Ok(drawn(answer, &groups)),
    }
}

fn percent(rate: Option<f64>) -> String {
    rate.map_or_else(|| "–".to_owned(), |rate| format!("{rate:.1} %"))
}

/// What it is by; empty for one funnel of everything.
fn dimensions(answer: &Value) -> Vec<String> {
    let names = answer["by"].as_array().into_iter().flatten();
    names.map(output::cell).collect()
}

fn amounts(step: &Step, of: fn(&admin::report::funnel::Amount) -> &str) -> String {
    let each: Vec<String> =
        step.amounts.iter().map(|amount| format!("{} {}", of(amount), amount.currency)).collect();
    each.join(", ")
}

fn rewards(step: &Step) -> String {
    let each: Vec<String> = step
        .rewards
        .iter()
        .map(|reward| format!("{} {}", reward.reward, reward.unit).trim().to_owned())
        .collect();
    each.join(", ")
}

fn sales(step: &Step) -> String {
    let each: Vec<String> =
        step.sales.iter().map(|sale| format!("{} {}", sale.amount, sale.currency)).collect();
    format!("{} {}", step.event_id, each.join(", "))
}

/// How long each step took; nothing when it was not asked for.
fn times(steps: &[Step]) -> String {
    let seconds = |value: Option<i64>| value.map_or_else(|| "–".to_owned(), output::seconds);
    let row = |step: &Step| {
        let times = step.times.as_ref()?;
        Some(vec![
            output::cell(&Value::from(step.name.as_str())),
            seconds(Some(times.from_click_median_seconds)),
            seconds(Some(times.from_click_p90_seconds)),
            seconds(times.from_previous_median_seconds),
            seconds(times.from_previous_p90_seconds),
        ])
    };
    let rows: Vec<Vec<String>> = steps.iter().filter_map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    let heading = ["time to", "from click: median", "p90", "from the step before: median", "p90"];
    output::chart(&heading, &rows, &[1, 2, 3, 4])
}

const HEADING: [&str; 11] = [
    "level",
    "event",
    "reached",
    "of clicks",
    "",
    "step",
    "pending",
    "success",
    "rejected",
    "revenue",
    "payout",
];
const NUMBERS: [usize; 8] = [2, 3, 5, 6, 7, 8, 9, 10];

fn drawn(answer: &Value, groups: &[Group]) -> String {
    let by = dimensions(answer);
    let mut text =
        format!("{} ({})\n", output::cell(&answer["offer_name"]), output::cell(&answer["offer"]));
    for group in groups {
        let shown = |value: &String| match value.as_str() {
            "" => "not known".to_owned(),
            value => output::cell(&Value::from(value)),
        };
        let named = by.iter().zip(group.values.iter().map(shown));
        let named: Vec<String> = named.map(|(name, value)| format!("{name}: {value}")).collect();
        if !named.is_empty() {
            text.push_str(&format!("\n{}\n", named.join(" · ")));
        }
        let clicks = vec![
            String::new(),
            "Clicks".to_owned(),
            group.clicks.to_string(),
            String::new(),
            output::bar((group.clicks > 0).then_some(100.0)),
        ];
        let mut rows = vec![clicks];
        rows.extend(group.steps.iter().map(row));
        text.push_str(&output::chart(&HEADING, &rows, &NUMBERS));
        let rewards: Vec<String> = group
            .steps
            .iter()
            .filter(|step| step.rewards.iter().any(|reward| reward.reward != "0.00"))
            .map(|step| format!("{} {}", step.event_id, rewards(step)))
            .collect();
        if !rewards.is_empty() {
            text.push_str(&format!("Rewards: {}\n", rewards.join("; ")));
        }
        let sales: Vec<String> =
            group.steps.iter().filter(|step| !step.sales.is_empty()).map(sales).collect();
        if !sales.is_empty() {
            text.push_str(&format!("Sales reported: {}\n", sales.join("; ")));
        }
        text.push_str(&times(&group.steps));
    }
    text.push_str(&footer(answer));
    text
}

fn row(step: &Step) -> Vec<String> {
    let level = step.sequence.map_or_else(|| "–".to_owned(), |level| level.to_string());
    let event = match step.name == step.event_id {
        true => step.event_id.clone(),
        false => format!("{} ({})", step.name, step.event_id),
    };
    vec![
        level,
        output::cell(&Value::from(event)),
        step.reached.to_string(),
        percent(step.overall_percent),
        output::bar(step.overall_percent),
        percent(step.step_percent),
        step.pending.to_string(),
        step.success.to_string(),
        step.rejected.to_string(),
        amounts(step, |amount| &amount.revenue),
        amounts(step, |amount| &amount.payout),
    ]
}

fn footer(answer: &Value) -> String {
    let mut text = format!("{}\n", period(&answer["period"]));
    text.push_str(
        "Reached: users whose conversion counts, is held, or met a cap. Step: of the level below. \
         Money: of what is in Success.\n",
    );
    let mut notes = Vec::new();
    if answer["basis"].as_str() == Some("clicked") {
        notes.push("of the clicks of the period, whenever their conversions came");
    }
    if answer["clones_included"].as_bool() == Some(true) {
        notes.push("clones included");
    }
    if answer["tests_included"].as_bool() == Some(true) {
        notes.push("tests included");
    }
    if answer["more"].as_bool() == Some(true) {
        notes.push("only the busiest values are shown");
    }
    if !notes.is_empty() {
        text.push_str(&format!("Note: {}.\n", notes.join("; ")));
    }
    text
}

fn csv(groups: &[Group], by: &[String]) -> Result<String, Failure> {
    let mut heading: Vec<&str> = by.iter().map(String::as_str).collect();
    heading.extend([
        "clicks",
        "sequence",
        "event_id",
        "name",
        "reached",
        "step_percent",
        "overall_percent",
        "pending",
        "success",
        "rejected",
        "currency",
        "revenue",
        "payout",
        "reward",
        "sale_amount",
        "from_click_median_seconds",
        "from_click_p90_seconds",
        "from_previous_median_seconds",
        "from_previous_p90_seconds",
    ]);
    let mut rows = Vec::new();
    for group in groups {
        for step in &group.steps {
            let rate = |rate: Option<f64>| rate.map_or_else(String::new, |it| it.to_string());
            let money = |of: fn(&admin::report::funnel::Amount) -> &str| {
                step.amounts.iter().map(of).collect::<Vec<_>>().join(" ")
            };
            let sold: Vec<String> =
                step.sales.iter().map(|it| format!("{} {}", it.amount, it.currency)).collect();
            let times = step.times.as_ref();
            let seconds = |of: fn(&admin::report::funnel::Times) -> Option<i64>| {
                times.and_then(of).map_or_else(String::new, |it| it.to_string())
            };
            let mut row = group.values.clone();
            row.extend([
                group.clicks.to_string(),
                step.sequence.map_or_else(String::new, |level| level.to_string()),
                step.event_id.clone(),
                step.name.clone(),
                step.reached.to_string(),
                rate(step.step_percent),
                rate(step.overall_percent),
                step.pending.to_string(),
                step.success.to_string(),
                step.rejected.to_string(),
                money(|amount| &amount.currency),
                money(|amount| &amount.revenue),
                money(|amount| &amount.payout),
                rewards(step),
                sold.join(", "),
                seconds(|times| Some(times.from_click_median_seconds)),
                seconds(|times| Some(times.from_click_p90_seconds)),
                seconds(|times| times.from_previous_median_seconds),
                seconds(|times| times.from_previous_p90_seconds),
            ]);
            rows.push(row);
        }
    }
    output::csv(&heading, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer() -> Value {
        let step = |id: &str, level: u32, reached: u64, step: f64, overall: f64| {
            json!({
                "event_id": id, "name": id, "sequence": level, "reached": reached,
                "step_percent": step, "overall_percent": overall,
                "pending": 1, "success": reached - 1, "rejected": 2,
                "amounts": [{"currency": "USD", "revenue": "49.50", "payout": "49.50"}],
                "rewards": [{"unit": "coins", "reward": "4950.00"}],
                "sales": [{"currency": "EUR", "amount": "3.98"}],
                "times": {"from_click_median_seconds": 90, "from_click_p90_seconds": 3_600,
                          "from_previous_median_seconds": null, "from_previous_p90_seconds": null},
            })
        };
        json!({
            "offer": "pet-the-dogs-ios", "offer_name": "Pet the Dogs iOS", "by": ["publisher"], "basis": "received",
            "clones_included": false, "tests_included": true, "more": false,
            "period": {"from": null, "to": null, "time_zone": "America/New_York"},
            "groups": [{
                "values": ["acme-rewards"], "clicks": 200,
                "steps": [
                    step("Install", 1, 100, 50.0, 50.0),
                    step("s2s_level 200", 2, 1, 1.0, 0.5),
                ],
            }],
        })
    }

    #[test]
    fn a_funnel_is_drawn() {
        insta::assert_snapshot!(text(&answer(), Format::Table).unwrap());
    }

    #[test]
    fn a_funnel_as_csv() {
        insta::assert_snapshot!(text(&answer(), Format::Csv).unwrap());
    }
}
