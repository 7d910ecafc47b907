//! `redecide`: page by page, then one table of what came, or would come, of it.

use super::{Failure, output};
use crate::cli::asking::{Format, Redecide};
use crate::client::{Client, Target};
use admin::redecide::{RedecidePage, RedecideRequest, Redecided};
use indicatif::{ProgressBar, ProgressStyle};
use schemas::{ConversionChange, ConversionStatus, Micros, RedecisionEffect};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const HEADING: [&str; 12] = [
    "refusal",
    "offer",
    "event",
    "effect",
    "outcome",
    "reason",
    "postbacks",
    "currency",
    "success_revenue",
    "success_payout",
    "pending_revenue",
    "pending_payout",
];
/// Columns of [`HEADING`] that are numbers.
const NUMBERS: [usize; 5] = [6, 8, 9, 10, 11];
/// What a preview knows and what not: it must not promise more than it can.
const TAKEN_INTO_ACCOUNT: &str = "\
Nothing was changed. This is what the processor would decide now, with what it knows of each click:
earlier events, duplicates, members and transactions, caps and budget as they stand, and the
configuration in force. Postbacks of one click are judged one after the other. Those of different
clicks share caps and budget only within a batch of 200, so where a limit is near fewer may count.
";

pub async fn run(ask: &Redecide) -> Result<(), Failure> {
    let client = Client::connect(&ask.connection)?;
    let progress = bar();
    let mut summary = Summary::default();
    let mut after = None;
    loop {
        let request = RedecideRequest {
            apply: ask.apply,
            reason: ask.reason.clone().unwrap_or_default(),
            operator: ask.operator.clone().unwrap_or_default(),
            after,
        };
        let answer = client.post(target(ask), &json!(request)).await.inspect_err(|_| {
            progress.finish_and_clear();
            if ask.apply && summary.postbacks > 0 {
                eprintln!(
                    "{} postbacks were put back before this; run the same again for the others",
                    summary.postbacks
                );
            }
        })?;
        let page: RedecidePage = serde_json::from_value(answer)
            .map_err(|error| Failure::failed(format!("the answer cannot be read: {error}")))?;
        progress.set_length(summary.postbacks + page.remaining);
        for it in page.postbacks {
            summary.add(it);
        }
        progress.set_position(summary.postbacks);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    progress.finish_and_clear();
    output::print(&show(&summary, ask)?)
}

fn target(ask: &Redecide) -> Target {
    let joined = |all: &[String]| (!all.is_empty()).then(|| all.join(","));
    Target::new(&["redecide"])
        .with("tenant", ask.tenant.as_deref())
        .with("advertiser", ask.advertiser.as_deref())
        .with("offer", ask.offer.as_deref())
        .with("event", ask.event.as_deref())
        .with("refusal", joined(&ask.refusals).as_deref())
        .with("postback", joined(&ask.postbacks).as_deref())
        .with("from", ask.period.from.as_deref())
        .with("to", ask.period.to.as_deref())
        .with("tz", ask.period.tz.as_deref())
        .flag("include_test", ask.include_test)
}

/// On a terminal only.
fn bar() -> ProgressBar {
    let bar = ProgressBar::no_length();
    let template = "{bar:40} {pos} of {len} postbacks, {elapsed}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// What postbacks of one kind lead to.
type Group = (String, String, String, String, String, String);

/// Money by currency: revenue and payout of what counts and of what is held.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Sums {
    success: [i64; 2],
    pending: [i64; 2],
}

#[derive(Debug, Default)]
struct Summary {
    postbacks: u64,
    groups: BTreeMap<Group, u64>,
    /// How each conversion that changed stands in the end, and the group that brought it there.
    conversions: BTreeMap<String, (Group, ConversionChange)>,
}

impl Summary {
    fn add(&mut self, it: Redecided) {
        let group = (it.refusal, it.offer_id, it.event_id, it.effect, it.outcome, it.reason);
        self.postbacks += 1;
        *self.groups.entry(group.clone()).or_default() += 1;
        for change in it.changes {
            self.conversions.insert(change.conversion_id.to_string(), (group.clone(), change));
        }
    }

    fn sums(&self, of: Option<&Group>) -> BTreeMap<&'static str, Sums> {
        let mut sums: BTreeMap<&'static str, Sums> = BTreeMap::new();
        let own = self.conversions.values().filter(|(group, _)| of.is_none_or(|it| it == group));
        for (_, change) in own {
            let sum = sums.entry(change.currency.code()).or_default();
            let side = match change.status {
                ConversionStatus::Success => &mut sum.success,
                ConversionStatus::Pending => &mut sum.pending,
                ConversionStatus::Rejected => continue,
            };
            side[0] = side[0].saturating_add(change.revenue.0);
            side[1] = side[1].saturating_add(change.payout.0);
        }
        sums
    }

    /// A line for each group and currency.
    fn lines(&self) -> Vec<Vec<String>> {
        let mut lines = Vec::new();
        for (group, count) in &self.groups {
            let (refusal, offer, event, effect, outcome, reason) = group.clone();
            let start = vec![refusal, offer, event, effect, outcome, reason, count.to_string()];
            let sums = self.sums(Some(group));
            if sums.is_empty() {
                lines.push([start.clone(), vec![String::new(); 5]].concat());
            }
            for (place, (currency, sum)) in sums.into_iter().enumerate() {
                let mut line = start.clone();
                if place > 0 {
                    // The same postbacks, in another currency.
                    line[6] = String::new();
                }
                line.push(currency.to_owned());
                line.extend(
                    sum.success.iter().chain(&sum.pending).map(|it| Micros(*it).to_string()),
                );
                lines.push(line);
            }
        }
        lines
    }

    fn count(&self, effect: RedecisionEffect) -> u64 {
        let of = self.groups.iter().filter(|(group, _)| group.3 == effect.code());
        of.map(|(_, count)| count).sum()
    }
}

fn show(summary: &Summary, ask: &Redecide) -> Result<String, Failure> {
    let lines = summary.lines();
    let clean = |text: &String| output::cell(&Value::String(text.clone()));
    Ok(match ask.output.format {
        Format::Csv => output::csv(&HEADING, &lines)?,
        Format::Json => {
            let groups: Vec<Value> = lines
                .iter()
                .map(|line| {
                    HEADING.iter().zip(line).map(|(k, v)| ((*k).to_owned(), json!(v))).collect()
                })
                .collect();
            output::json(&json!({
                "applied": ask.apply,
                "postbacks": summary.postbacks,
                "effects": RedecisionEffect::ALL.iter().map(|it| (it.code().to_owned(), json!(summary.count(*it)))).collect::<serde_json::Map<_, _>>(),
                "groups": groups,
                "totals": summary.sums(None).into_iter().map(|(currency, sum)| json!({
                    "currency": currency,
                    "success_revenue": Micros(sum.success[0]).to_string(),
                    "success_payout": Micros(sum.success[1]).to_string(),
                    "pending_revenue": Micros(sum.pending[0]).to_string(),
                    "pending_payout": Micros(sum.pending[1]).to_string(),
                })).collect::<Vec<_>>(),
            }))
        }
        Format::Table if summary.postbacks == 0 => {
            "No refused postbacks are chosen by that; nothing was done.\n".to_owned()
        }
        Format::Table => {
            let lines: Vec<Vec<String>> =
                lines.iter().map(|line| line.iter().map(clean).collect()).collect();
            let mut text = output::table(&HEADING, &lines, &NUMBERS);
            for effect in RedecisionEffect::ALL {
                let count = summary.count(*effect);
                if count > 0 {
                    text.push_str(&format!("{count:>9} {effect}: {}\n", effect.text()));
                }
            }
            for (currency, sum) in summary.sums(None) {
                let [revenue, payout] = sum.success.map(|it| Micros(it).to_string());
                let [held, held_payout] = sum.pending.map(|it| Micros(it).to_string());
                text.push_str(&format!(
                    "In {currency}: {revenue} of revenue and {payout} of payout count, {held} and \
                     {held_payout} are pending.\n"
                ));
            }
            if !ask.apply {
                text.push_str(TAKEN_INTO_ACCOUNT);
                text.push_str("Put them back with --apply --reason TEXT.\n");
            }
            text
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(id: u8, status: ConversionStatus, revenue: i64) -> ConversionChange {
        serde_json::from_value(json!({
            "conversion_id": format!("offer.000000000000000000000000{id:02}"), "event_id": "e",
            "status": status, "revenue": revenue * 1_000_000, "payout": revenue * 500_000,
            "currency": "USD",
        }))
        .unwrap()
    }

    fn one(effect: &str, changes: Vec<ConversionChange>) -> Redecided {
        serde_json::from_value(json!({
            "postback_id": "01890a5d-ac96-774b-bcce-b302099a8057", "received_at_ms": 1,
            "offer_id": "offer", "event_id": "install", "refusal": "UNKNOWN_EVENT",
            "effect": effect, "outcome": "accepted", "reason": "", "changes": changes,
        }))
        .unwrap()
    }

    #[test]
    fn a_conversion_that_changes_twice_is_counted_once_as_it_ends() {
        let mut summary = Summary::default();
        summary.add(one("applied", vec![change(1, ConversionStatus::Pending, 4)]));
        summary.add(one(
            "applied",
            vec![change(2, ConversionStatus::Success, 2), change(1, ConversionStatus::Success, 4)],
        ));
        summary.add(one("refused", Vec::new()));
        let sums = summary.sums(None)["USD"];
        assert_eq!(sums, Sums { success: [6_000_000, 3_000_000], pending: [0, 0] });
        let lines = summary.lines();
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line.len() == HEADING.len()), "{lines:?}");
        assert_eq!((lines[0][6].as_str(), lines[0][8].as_str()), ("2", "6.00"));
        assert_eq!(summary.count(RedecisionEffect::Refused), 1);
    }
}
