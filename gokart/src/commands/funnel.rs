//! `report funnel`: bars on a terminal.

use super::list::period;
use super::{Failure, output};
use crate::cli::asking::{Format, Funnel};
use crate::client::{Client, Target};
use admin::report::funnel::{Group, Step};
use serde_json::Value;

/// Characters of a whole bar.
const BAR_CHARS: usize = 16;

pub async fn run(ask: &Funnel) -> Result<(), Failure> {
    let target = Target::new(&["report", "funnel"])
        .with("offer", Some(&ask.offer))
        .with("by", ask.by.as_deref())
        .with("publisher", ask.publisher.as_deref())
        .flag("clones", ask.clones)
        .flag("include_test", ask.include_test)
        .with("from", ask.period.from.as_deref())
        .with("to", ask.period.to.as_deref())
        .with("tz", ask.period.tz.as_deref());
    let answer = Client::connect(&ask.connection)?.get(target).await?;
    output::print(&text(&answer, ask.output.format)?)
}

fn text(answer: &Value, format: Format) -> Result<String, Failure> {
    let groups: Vec<Group> = serde_json::from_value(answer["groups"].clone())
        .map_err(|error| Failure::failed(format!("the answer cannot be read: {error}")))?;
    match format {
        Format::Json => Ok(output::json(answer)),
        Format::Csv => csv(&groups, answer["by"].as_str().unwrap_or("all")),
        Format::Table => Ok(drawn(answer, &groups)),
    }
}

fn percent(rate: Option<f64>) -> String {
    rate.map_or_else(|| "–".to_owned(), |rate| format!("{rate:.1} %"))
}

/// A bar for a share of the clicks; anything above nothing shows.
fn bar(rate: Option<f64>) -> String {
    let Some(rate) = rate else { return String::new() };
    let eighths = (rate.clamp(0.0, 100.0) / 100.0 * (BAR_CHARS * 8) as f64).round() as usize;
    let eighths = if rate > 0.0 { eighths.max(1) } else { eighths };
    let mut bar = "█".repeat(eighths / 8);
    if let Some(part) = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"].get(eighths % 8) {
        bar.push_str(part);
    }
    bar
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
    let by = answer["by"].as_str().unwrap_or("all");
    let mut text =
        format!("{} ({})\n", output::cell(&answer["offer_name"]), output::cell(&answer["offer"]));
    for group in groups {
        if by != "all" {
            let value = match group.value.as_str() {
                "" => "not known".to_owned(),
                value => output::cell(&Value::from(value)),
            };
            text.push_str(&format!("\n{by}: {value}\n"));
        }
        let clicks = vec![
            String::new(),
            "Clicks".to_owned(),
            group.clicks.to_string(),
            String::new(),
            bar((group.clicks > 0).then_some(100.0)),
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
        bar(step.overall_percent),
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
        "Reached: users with a Success or a held conversion. Step: of the level below. Money: of \
         what is in Success.\n",
    );
    let mut notes = Vec::new();
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

fn csv(groups: &[Group], by: &str) -> Result<String, Failure> {
    let heading = [
        by,
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
    ];
    let mut rows = Vec::new();
    for group in groups {
        for step in &group.steps {
            let rate = |rate: Option<f64>| rate.map_or_else(String::new, |it| it.to_string());
            let money = |of: fn(&admin::report::funnel::Amount) -> &str| {
                step.amounts.iter().map(of).collect::<Vec<_>>().join(" ")
            };
            rows.push(vec![
                group.value.clone(),
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
            ]);
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
            })
        };
        json!({
            "offer": "pet-the-dogs-ios", "offer_name": "Pet the Dogs iOS", "by": "publisher",
            "clones_included": false, "tests_included": true, "more": false,
            "period": {"from": null, "to": null, "time_zone": "America/New_York"},
            "groups": [{
                "value": "acme-rewards", "clicks": 200,
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

    #[test]
    fn bars() {
        let check = |rate: Option<f64>, expected: &str| assert_eq!(bar(rate), expected);
        check(None, "");
        check(Some(0.0), "");
        check(Some(0.01), "▏");
        check(Some(50.0), &"█".repeat(BAR_CHARS / 2));
        check(Some(140.0), &"█".repeat(BAR_CHARS));
    }
}
