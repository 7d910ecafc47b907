//! How many users reached each event of an offer, and what that cost. Clicks count in the period
//! in which they happened, conversions in the one in which their postback was received, exactly
//! as in `report conversions`. The levels are stored with the conversions, so it is one scan.

use super::period::{Period, StatedPeriod};
use crate::error::Error;
use crate::warehouse::{Question, Warehouse};
use schemas::{Catalog, Offer, SUB_ID_COUNT};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Values of a dimension that are shown; the busiest ones.
pub const GROUPS_MAX: usize = 1_000;

/// What there can be one funnel each for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    All,
    Publisher,
    Day,
    Country,
    Platform,
    Campaign,
    Sub(usize),
}

impl By {
    pub fn parse(text: &str) -> Result<Self, Error> {
        let sub = text.strip_prefix("sub").and_then(|digits| digits.parse::<usize>().ok());
        match (text, sub) {
            ("publisher", _) => Ok(Self::Publisher),
            ("day", _) => Ok(Self::Day),
            ("country", _) => Ok(Self::Country),
            ("platform", _) => Ok(Self::Platform),
            ("campaign", _) => Ok(Self::Campaign),
            (_, Some(number)) if (1..=SUB_ID_COUNT).contains(&number) => Ok(Self::Sub(number)),
            _ => Err(Error::bad_request(format!("by: {text:?} is no dimension"))
                .with_hint("there are publisher, day, country, platform, campaign, sub1 to sub15")),
        }
    }

    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::All => "all".to_owned(),
            Self::Publisher => "publisher".to_owned(),
            Self::Day => "day".to_owned(),
            Self::Country => "country".to_owned(),
            Self::Platform => "platform".to_owned(),
            Self::Campaign => "campaign".to_owned(),
            Self::Sub(number) => format!("sub{number}"),
        }
    }

    fn sql(self, time: &str) -> String {
        match self {
            Self::All => "''".to_owned(),
            Self::Publisher => "toString(publisher_id)".to_owned(),
            Self::Day => format!("toString(toDate({time}, {{tz:String}}))"),
            Self::Country => "toString(country)".to_owned(),
            Self::Platform => "toString(platform)".to_owned(),
            // The campaign is the offer's; its name is looked up here.
            Self::Campaign => "toString(offer_id)".to_owned(),
            Self::Sub(number) => format!("sub{number}"),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Wanted {
    pub offer: String,
    pub by: By,
    pub publisher: Option<String>,
    /// Everything below the offer's root.
    pub clones: bool,
    pub include_test: bool,
    pub period: Period,
}

/// Money in one currency. Currencies are never added together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    pub currency: String,
    pub revenue: String,
    pub payout: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reward {
    pub unit: String,
    pub reward: String,
}

/// One event of a funnel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub event_id: String,
    pub name: String,
    pub sequence: Option<u32>,
    /// Users with a Success or a held conversion of it.
    pub reached: u64,
    /// Of the users of the level below (of the clicks, at the first level and outside of the
    /// sequence), in percent; none when there were none.
    pub step_percent: Option<f64>,
    /// Of the clicks.
    pub overall_percent: Option<f64>,
    pub pending: u64,
    pub success: u64,
    pub rejected: u64,
    /// Of what is in Success.
    pub amounts: Vec<Amount>,
    pub rewards: Vec<Reward>,
}

/// The funnel of one value of the dimension.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Empty: not known, or the one group of all.
    pub value: String,
    pub clicks: u64,
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Funnel {
    pub offer: String,
    pub offer_name: String,
    pub by: String,
    pub clones_included: bool,
    pub tests_included: bool,
    pub period: StatedPeriod,
    pub groups: Vec<Group>,
    /// There are more values than are shown.
    pub more: bool,
}

#[derive(Debug, Deserialize)]
struct ClickRow {
    value: String,
    clicks: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct EventRow {
    value: String,
    event: String,
    currency: String,
    unit: String,
    reached: u64,
    pending: u64,
    success: u64,
    rejected: u64,
    revenue: String,
    payout: String,
    reward: String,
}

pub async fn funnel(
    warehouse: &Warehouse,
    catalog: &Catalog,
    wanted: &Wanted,
) -> Result<Funnel, Error> {
    let offer = catalog
        .offer(&wanted.offer)
        .ok_or_else(|| Error::not_found(format!("there is no offer {:?}", wanted.offer)))?;
    let repeatable = offer.events.iter().any(|event| event.repeatable);
    let clicks = warehouse.rows::<ClickRow>(clicks_question(wanted));
    let events = warehouse.rows::<EventRow>(events_question(wanted, repeatable));
    let (clicks, events) = tokio::try_join!(clicks, events)?;
    let (clicks, events) = match wanted.by {
        By::Campaign => by_campaign(catalog, clicks, events),
        _ => (clicks, events),
    };
    let mut groups = assemble(offer, clicks, &events);
    let more = groups.len() > GROUPS_MAX;
    groups.truncate(GROUPS_MAX);
    if wanted.by == By::Day {
        groups.sort_by(|a, b| a.value.cmp(&b.value));
    }
    Ok(Funnel {
        offer: offer.id.to_string(),
        offer_name: offer.name.clone(),
        by: wanted.by.name(),
        clones_included: wanted.clones,
        tests_included: wanted.include_test,
        period: wanted.period.stated(),
        groups,
        more,
    })
}

/// The conditions that both questions have.
fn conditions(wanted: &Wanted, time: &str) -> String {
    let mut all = vec![
        if wanted.clones { "root_offer_id = {offer:String}" } else { "offer_id = {offer:String}" }
            .to_owned(),
    ];
    if !wanted.include_test {
        all.push("NOT test".to_owned());
    }
    if wanted.publisher.is_some() {
        all.push("publisher_id = {publisher:String}".to_owned());
    }
    if wanted.period.from_ms.is_some() {
        all.push(format!("{time} >= fromUnixTimestamp64Milli({{from:Int64}}, 'UTC')"));
    }
    if wanted.period.to_ms.is_some() {
        all.push(format!("{time} < fromUnixTimestamp64Milli({{to:Int64}}, 'UTC')"));
    }
    all.join(" AND ")
}

fn bind(question: Question, wanted: &Wanted) -> Question {
    let mut question = question.bind("offer", &wanted.offer);
    if wanted.by == By::Day {
        question = question.bind("tz", &wanted.period.zone_name);
    }
    if let Some(publisher) = &wanted.publisher {
        question = question.bind("publisher", publisher);
    }
    if let Some(ms) = wanted.period.from_ms {
        question = question.bind("from", ms);
    }
    if let Some(ms) = wanted.period.to_ms {
        question = question.bind("to", ms);
    }
    question
}

fn clicks_question(wanted: &Wanted) -> Question {
    let sql = format!(
        "SELECT {} AS value, count() AS clicks FROM clicks_unique WHERE {} GROUP BY value",
        wanted.by.sql("clicked_at"),
        conditions(wanted, "clicked_at"),
    );
    bind(Question::new(sql), wanted)
}

fn events_question(wanted: &Wanted, repeatable: bool) -> Question {
    // A one-time event has one conversion a click, so only repeatable ones need their users told
    // apart, which costs far more than counting.
    let reached = "status = 'Success' OR (status = 'Pending' AND reason = 'HOLD')";
    let users = if repeatable {
        format!("uniqExactIf(click_id, {reached})")
    } else {
        format!("countIf({reached})")
    };
    let sql = format!(
        "SELECT {} AS value, toString(event_id) AS event, toString(currency) AS currency, \
         toString(reward_unit) AS unit, {users} AS reached, \
         countIf(status = 'Pending') AS pending, countIf(status = 'Success') AS success, \
         countIf(status = 'Rejected') AS rejected, \
         toString(sumIf(c.revenue, status = 'Success')) AS revenue, \
         toString(sumIf(c.payout, status = 'Success')) AS payout, \
         toString(sumIf(c.reward, status = 'Success')) AS reward \
         FROM conversions_current AS c WHERE {} GROUP BY value, event, currency, unit",
        wanted.by.sql("received_at"),
        conditions(wanted, "received_at"),
    );
    bind(Question::new(sql), wanted)
}

/// Puts the offers' campaigns in place of the offers.
fn by_campaign(
    catalog: &Catalog,
    clicks: Vec<ClickRow>,
    events: Vec<EventRow>,
) -> (Vec<ClickRow>, Vec<EventRow>) {
    let campaign = |offer: &str| catalog.offer(offer).map_or(String::new(), |o| o.campaign.clone());
    let clicks = clicks.into_iter().map(|row| ClickRow { value: campaign(&row.value), ..row });
    let events = events.into_iter().map(|row| EventRow { value: campaign(&row.value), ..row });
    (clicks.collect(), events.collect())
}

/// One group a value, the one with the most clicks first.
fn assemble(offer: &Offer, clicks: Vec<ClickRow>, events: &[EventRow]) -> Vec<Group> {
    let mut counted: BTreeMap<String, u64> = BTreeMap::new();
    for row in clicks {
        *counted.entry(row.value).or_default() += row.clicks;
    }
    for row in events {
        counted.entry(row.value.clone()).or_default();
    }
    if counted.is_empty() {
        counted.insert(String::new(), 0);
    }
    let mut groups: Vec<Group> = counted
        .into_iter()
        .map(|(value, clicks)| {
            let rows: Vec<&EventRow> = events.iter().filter(|row| row.value == value).collect();
            Group { steps: steps(offer, clicks, &rows), value, clicks }
        })
        .collect();
    groups.sort_by(|a, b| b.clicks.cmp(&a.clicks).then_with(|| a.value.cmp(&b.value)));
    groups
}

fn steps(offer: &Offer, clicks: u64, rows: &[&EventRow]) -> Vec<Step> {
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
    let mut steps: Vec<Step> = Vec::with_capacity(order.len());
    for (id, name, sequence) in order {
        let rows: Vec<&&EventRow> = rows.iter().filter(|row| row.event == id).collect();
        let sum = |of: fn(&EventRow) -> u64| rows.iter().map(|row| of(row)).sum::<u64>();
        let reached = sum(|row| row.reached);
        let below = sequence.and_then(|level| level_below(&steps, level)).unwrap_or(clicks);
        steps.push(Step {
            event_id: id.to_owned(),
            name: name.to_owned(),
            sequence,
            reached,
            step_percent: percent(reached, below),
            overall_percent: percent(reached, clicks),
            pending: sum(|row| row.pending),
            success: sum(|row| row.success),
            rejected: sum(|row| row.rejected),
            amounts: amounts(&rows),
            rewards: rewards(&rows),
        });
    }
    steps
}

/// The users of the nearest level below: of its event that most reached.
fn level_below(steps: &[Step], level: u32) -> Option<u64> {
    let below = steps.iter().filter_map(|step| step.sequence).filter(|s| *s < level).max()?;
    steps.iter().filter(|step| step.sequence == Some(below)).map(|step| step.reached).max()
}

fn percent(part: u64, whole: u64) -> Option<f64> {
    // A rate for people, not an amount: one decimal.
    (whole > 0).then(|| (part as f64 * 1000.0 / whole as f64).round() / 10.0)
}

fn add(left: &str, right: &str) -> String {
    let micros = |text: &str| schemas::Micros::parse(text).unwrap_or_default();
    match micros(left).checked_add(micros(right)) {
        Some(sum) => sum.to_string(),
        None => format!("{left} + {right}"),
    }
}

fn amounts(rows: &[&&EventRow]) -> Vec<Amount> {
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

fn rewards(rows: &[&&EventRow]) -> Vec<Reward> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::{Source, check};
    use schemas::UnixMillis;

    fn catalog() -> Catalog {
        let text = include_str!("../../../examples/brownboots.yaml").to_owned();
        let source = Source { name: "brownboots.yaml".to_owned(), text };
        let mut catalog = Catalog::default();
        let documents = check(&[source], &catalog, UnixMillis(0)).unwrap();
        catalog.apply(1, documents);
        catalog
    }

    fn row(value: &str, event: &str, currency: &str, reached: u64) -> EventRow {
        EventRow {
            value: value.to_owned(),
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
        let clicks = vec![ClickRow { value: "acme".to_owned(), clicks: 200 }];
        let rows = [
            row("acme", "Install", "USD", 100),
            row("acme", "s2s_level 200", "USD", 25),
            row("sunny", "Install", "USD", 1),
        ];
        let groups = assemble(offer, clicks, &rows);
        let shown: Vec<_> = groups
            .iter()
            .flat_map(|group| {
                group.steps.iter().map(|step| {
                    let rates = (step.step_percent, step.overall_percent);
                    (group.value.as_str(), step.event_id.as_str(), step.reached, rates)
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
        let rows =
            [row("", "Install", "USD", 2), row("", "Install", "EUR", 3), row("", "Old", "USD", 1)];
        let groups = assemble(offer, Vec::new(), &rows);
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
        let groups = assemble(offer, Vec::new(), &[]);
        assert_eq!((groups.len(), groups[0].clicks, groups[0].steps.len()), (1, 0, 2));
    }

    #[test]
    fn dimensions() {
        assert_eq!(By::parse("sub15").unwrap(), By::Sub(15));
        for wrong in ["sub16", "sub0", "sub1; DROP TABLE clicks", "offer", ""] {
            assert!(By::parse(wrong).is_err(), "{wrong}");
        }
    }
}
