//! From what ClickHouse counted to the steps of each group.

use super::{Amount, ClickRow, Counted, EventRow, Group, Reward, Sale, Step, Times};
use crate::report::column::percent;
use crate::report::dimension::By;
use schemas::Offer;
use std::collections::BTreeMap;

type Values = Vec<String>;

/// One group a value, the one with the most clicks first.
pub fn assemble(offer: &Offer, by: &[By], counted: Counted) -> Vec<Group> {
    let mut clicks: BTreeMap<Values, u64> = BTreeMap::new();
    for ClickRow { value, clicks: count } in counted.clicks {
        *clicks.entry(value).or_default() += count;
    }
    let mut events: BTreeMap<Values, Vec<EventRow>> = BTreeMap::new();
    for row in counted.events {
        clicks.entry(row.value.clone()).or_default();
        events.entry(row.value.clone()).or_default().push(row);
    }
    let users = counted.users.map(|rows| -> BTreeMap<(Values, String), u64> {
        rows.into_iter().map(|row| ((row.value, row.event), row.reached)).collect()
    });
    let mut times: BTreeMap<(Values, String), Times> = BTreeMap::new();
    for row in counted.times {
        let seconds = |list: &[i64], index: usize| list.get(index).map_or(0, |ms| ms / 1000);
        let previous = |index| (row.followers > 0).then(|| seconds(&row.from_previous, index));
        let all = Times {
            from_click_median_seconds: seconds(&row.from_click, 0),
            from_click_p90_seconds: seconds(&row.from_click, 1),
            from_previous_median_seconds: previous(0),
            from_previous_p90_seconds: previous(1),
        };
        times.insert((row.value, row.event), all);
    }
    if clicks.is_empty() {
        clicks.insert(vec![String::new(); by.len()], 0);
    }
    let mut groups: Vec<Group> = clicks
        .into_iter()
        .map(|(values, clicks)| {
            let rows = events.remove(&values).unwrap_or_default();
            let mut steps = steps(offer, &rows);
            for step in &mut steps {
                let key = (values.clone(), step.event_id.clone());
                if let Some(users) = &users {
                    step.reached = users.get(&key).copied().unwrap_or_default();
                }
                step.times = times.remove(&key);
            }
            rate(&mut steps, clicks);
            Group { values, clicks, steps }
        })
        .collect();
    groups.sort_by(|a, b| b.clicks.cmp(&a.clicks).then_with(|| a.values.cmp(&b.values)));
    groups
}

fn steps(offer: &Offer, rows: &[EventRow]) -> Vec<Step> {
    // In the order of the sequence, then those outside of it; and then events that the offer no
    // longer has, because their money is still money.
    let mut order: Vec<(&str, &str, Option<u32>)> =
        offer.events.iter().map(|e| (e.id.as_str(), &*e.name, e.sequence)).collect();
    order.sort_by_key(|(_, _, sequence)| sequence.unwrap_or(u32::MAX));
    for row in rows {
        if !order.iter().any(|(id, _, _)| *id == row.event) {
            order.push((&row.event, &row.event, None));
        }
    }
    let step = |(id, name, sequence): (&str, &str, Option<u32>)| {
        let rows: Vec<&EventRow> = rows.iter().filter(|row| row.event == id).collect();
        let sum = |of: fn(&EventRow) -> u64| rows.iter().map(|row| of(row)).sum::<u64>();
        Step {
            event_id: id.to_owned(),
            name: name.to_owned(),
            sequence,
            reached: sum(|row| row.reached),
            step_percent: None,
            overall_percent: None,
            pending: sum(|row| row.pending),
            success: sum(|row| row.success),
            rejected: sum(|row| row.rejected),
            amounts: amounts(&rows),
            rewards: rewards(&rows),
            sales: sales(&rows),
            times: None,
        }
    };
    order.into_iter().map(step).collect()
}

fn rate(steps: &mut [Step], clicks: u64) {
    for index in 0..steps.len() {
        let below = steps[index].sequence.and_then(|level| level_below(steps, level));
        let step = &mut steps[index];
        step.step_percent = percent(step.reached, below.unwrap_or(clicks));
        step.overall_percent = percent(step.reached, clicks);
    }
}

/// The users of the nearest level below: of its event that most reached.
fn level_below(steps: &[Step], level: u32) -> Option<u64> {
    let below = steps.iter().filter_map(|step| step.sequence).filter(|s| *s < level).max()?;
    steps.iter().filter(|step| step.sequence == Some(below)).map(|step| step.reached).max()
}

fn add(left: &str, right: &str) -> String {
    let micros = |text: &str| schemas::Micros::parse(text).unwrap_or_default();
    match micros(left).checked_add(micros(right)) {
        Some(sum) => sum.to_string(),
        None => format!("{left} + {right}"),
    }
}

fn amounts(rows: &[&EventRow]) -> Vec<Amount> {
    let mut list: Vec<Amount> = Vec::new();
    for row in rows {
        match list.iter_mut().find(|amount| amount.currency == row.currency) {
            Some(amount) => {
                amount.revenue = add(&amount.revenue, &row.revenue);
                amount.payout = add(&amount.payout, &row.payout);
            }
            None => list.push(Amount {
                currency: row.currency.clone(),
                revenue: add(&row.revenue, "0"),
                payout: add(&row.payout, "0"),
            }),
        }
    }
    list
}

fn rewards(rows: &[&EventRow]) -> Vec<Reward> {
    let mut list: Vec<Reward> = Vec::new();
    for row in rows {
        match list.iter_mut().find(|reward| reward.unit == row.unit) {
            Some(reward) => reward.reward = add(&reward.reward, &row.reward),
            None => {
                list.push(Reward { unit: row.unit.clone(), reward: add(&row.reward, "0") });
            }
        }
    }
    list
}

fn sales(rows: &[&EventRow]) -> Vec<Sale> {
    let mut list: Vec<Sale> = Vec::new();
    for row in rows.iter().filter(|row| row.sales > 0) {
        match list.iter_mut().find(|sale| sale.currency == row.sale_currency) {
            Some(sale) => sale.amount = add(&sale.amount, &row.sale),
            None => {
                list.push(Sale { currency: row.sale_currency.clone(), amount: add(&row.sale, "0") })
            }
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::super::{TimeRow, UserRow};
    use super::*;
    use crate::apply::{Source, check};
    use schemas::{Catalog, UnixMillis};

    fn catalog() -> Catalog {
        let text = include_str!("../../../../examples/brownboots.yaml").to_owned();
        let source = Source { name: "brownboots.yaml".to_owned(), text };
        let mut catalog = Catalog::default();
        let documents = check(&[source], &catalog, UnixMillis(0)).unwrap();
        catalog.apply(1, documents);
        catalog
    }

    fn row(value: &str, event: &str, currency: &str, reached: u64) -> EventRow {
        EventRow {
            value: vec![value.to_owned()],
            event: event.to_owned(),
            currency: currency.to_owned(),
            unit: "coins".to_owned(),
            reached,
            success: reached,
            revenue: format!("{reached}.5"),
            payout: "1".to_owned(),
            reward: "10".to_owned(),
            ..EventRow::default()
        }
    }

    #[test]
    fn rates_go_by_the_level_below() {
        let catalog = catalog();
        let offer = catalog.offer("pet-the-dogs-ios").unwrap();
        let clicks = vec![ClickRow { value: vec!["acme".to_owned()], clicks: 200 }];
        let events = vec![
            row("acme", "Install", "USD", 100),
            row("acme", "s2s_level 200", "USD", 25),
            row("sunny", "Install", "USD", 1),
        ];
        let counted = Counted { clicks, events, ..Counted::default() };
        let groups = assemble(offer, &[By::Publisher], counted);
        let shown: Vec<_> = groups
            .iter()
            .flat_map(|group| {
                group.steps.iter().map(|step| {
                    let rates = (step.step_percent, step.overall_percent);
                    (group.values[0].as_str(), step.event_id.as_str(), step.reached, rates)
                })
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("acme", "Install", 100, (Some(50.0), Some(50.0))),
                ("acme", "s2s_level 200", 25, (Some(25.0), Some(12.5))),
                ("acme", "s2s_level 400", 0, (Some(0.0), Some(0.0))),
                ("sunny", "Install", 1, (None, None)),
                ("sunny", "s2s_level 200", 0, (Some(0.0), None)),
                ("sunny", "s2s_level 400", 0, (None, None)),
            ]
        );
    }

    #[test]
    fn currencies_are_kept_apart_and_old_events_stay() {
        let catalog = catalog();
        let offer = catalog.offer("pet-the-dogs-ios").unwrap();
        let events = vec![
            row("", "Install", "USD", 2),
            row("", "Install", "EUR", 3),
            row("", "Old", "USD", 1),
        ];
        let groups = assemble(offer, &[By::Publisher], Counted { events, ..Counted::default() });
        let steps = &groups[0].steps;
        assert_eq!(steps[0].reached, 5);
        let amounts: Vec<_> =
            steps[0].amounts.iter().map(|a| (a.currency.as_str(), a.revenue.as_str())).collect();
        assert_eq!(amounts, [("USD", "2.50"), ("EUR", "3.50")]);
        assert_eq!(steps[0].rewards[0].reward, "20.00");
        assert_eq!((steps[3].event_id.as_str(), steps[3].sequence), ("Old", None));
    }

    #[test]
    fn nothing_at_all_is_still_a_funnel() {
        let catalog = catalog();
        let offer = catalog.offer("first-trade").unwrap();
        let groups = assemble(offer, &[], Counted::default());
        assert_eq!((groups.len(), groups[0].clicks, groups[0].steps.len()), (1, 0, 2));
    }

    #[test]
    fn users_of_repeatable_events_and_times_find_their_step() {
        let catalog = catalog();
        let offer = catalog.offer("first-trade").unwrap();
        let at = |event: &str| (vec!["x".to_owned()], event.to_owned());
        let ((value, event), sale) = (at("SignUp"), row("x", "SignUp", "USD", 9));
        let sale = EventRow { sales: 2, sale: "7".into(), sale_currency: "EUR".into(), ..sale };
        let counted = Counted {
            events: vec![sale],
            users: Some(vec![UserRow { value: value.clone(), event: event.clone(), reached: 4 }]),
            times: vec![TimeRow {
                value,
                event,
                from_click: vec![1_999, 60_000],
                followers: 0,
                from_previous: vec![0, 0],
            }],
            ..Counted::default()
        };
        let groups = assemble(offer, &[By::Publisher], counted);
        let step = &groups[0].steps[0];
        assert_eq!((step.reached, step.success), (4, 9));
        assert_eq!(step.sales, [Sale { currency: "EUR".into(), amount: "7.00".into() }]);
        let times = step.times.as_ref().unwrap();
        assert_eq!((times.from_click_median_seconds, times.from_click_p90_seconds), (1, 60));
        assert_eq!(times.from_previous_median_seconds, None);
    }
}
