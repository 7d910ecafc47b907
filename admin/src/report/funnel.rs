//! How many users reached each event of an offer, when, and what that cost. Clicks count in the
//! period in which they happened, conversions in the one in which their postback was received,
//! exactly as in `report conversions`; or, with `basis=clicked`, conversions of the clicks of the
//! period, whenever they came. The levels are stored with the conversions, so it is one scan.

mod steps;

use super::dimension::{self, By, values_sql};
use super::filter::{Filter, Scope, View};
use super::period::StatedPeriod;
use super::{Definition, REACHED};
use crate::error::Error;
use crate::parameter::Parameter;
use crate::query::Query;
use crate::warehouse::{Question, Warehouse};
use schemas::Catalog;
use serde::{Deserialize, Serialize};
use steps::assemble;

/// Values of the dimensions that are shown; the busiest ones.
pub const GROUPS_MAX: usize = 1_000;

const BY: Parameter = Parameter::text(
    "by",
    "One funnel for each value of this: publisher, offer, day, country, platform, campaign, sub1 \
     to sub15; several are separated by commas.",
);
const TIMES: Parameter =
    Parameter::flag("times", "Median and p90 of the time from the click and from the last step.");
const BASIS: Parameter = Parameter::choice(
    "basis",
    "Which conversions: `received` in the period, or of the clicks that were `clicked` in it.",
    &["received", "clicked"],
);

/// Its answer is nested, unlike a table's; its parameters are like any report's.
pub const DEFINITION: Definition = Definition {
    name: "funnel",
    about: "How many users reached each event of an offer, how fast, and what it cost.",
    filters: &[Filter::Offer, Filter::Publisher, Filter::Country, Filter::Platform, Filter::Clones],
    has_tests: true,
    options: &[BY, BASIS, TIMES],
    columns: &[],
};

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub offer: String,
    pub by: Vec<By>,
    /// Conversions of the period's clicks, instead of those received in the period.
    pub by_click: bool,
    pub times: bool,
    pub scope: Scope,
}

impl Wanted {
    pub fn read(query: &Query, catalog: &Catalog) -> Result<Self, Error> {
        Ok(Self {
            offer: query.required("offer")?.to_owned(),
            by: By::parse_list(query.text(BY.name).unwrap_or_default())?,
            by_click: query.text(BASIS.name) == Some("clicked"),
            times: query.flag(TIMES.name),
            scope: Scope::read(query, DEFINITION.filters, catalog)?,
        })
    }
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

/// What users bought, as the postbacks reported it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sale {
    pub currency: String,
    pub amount: String,
}

/// How long it took those who got there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    pub from_click_median_seconds: i64,
    pub from_click_p90_seconds: i64,
    /// From the nearest level below that the user reached; none for the first level.
    pub from_previous_median_seconds: Option<i64>,
    pub from_previous_p90_seconds: Option<i64>,
}

/// One event of a funnel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub event_id: String,
    pub name: String,
    pub sequence: Option<u32>,
    /// Users with a conversion of it that counts, is held, or met a cap or the budget.
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
    pub sales: Vec<Sale>,
    /// When they were asked for and somebody got there.
    pub times: Option<Times>,
}

/// The funnel of one value of each dimension.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// One for each dimension; an empty one is not known.
    pub values: Vec<String>,
    pub clicks: u64,
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Funnel {
    pub offer: String,
    pub offer_name: String,
    pub by: Vec<String>,
    pub basis: &'static str,
    pub clones_included: bool,
    pub tests_included: bool,
    pub period: StatedPeriod,
    pub groups: Vec<Group>,
    /// There are more values than are shown.
    pub more: bool,
}

#[derive(Debug, Deserialize)]
struct ClickRow {
    value: Vec<String>,
    clicks: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct EventRow {
    value: Vec<String>,
    event: String,
    currency: String,
    unit: String,
    sale_currency: String,
    /// 0 when users are counted apart.
    reached: u64,
    pending: u64,
    success: u64,
    rejected: u64,
    revenue: String,
    payout: String,
    reward: String,
    sales: u64,
    sale: String,
}

#[derive(Debug, Deserialize)]
struct UserRow {
    value: Vec<String>,
    event: String,
    reached: u64,
}

#[derive(Debug, Deserialize)]
struct TimeRow {
    value: Vec<String>,
    event: String,
    from_click: Vec<i64>,
    followers: u64,
    from_previous: Vec<i64>,
}

/// What ClickHouse counted.
#[derive(Debug, Default)]
struct Counted {
    clicks: Vec<ClickRow>,
    events: Vec<EventRow>,
    /// For offers with repeatable events.
    users: Option<Vec<UserRow>>,
    times: Vec<TimeRow>,
}

pub async fn funnel(
    warehouse: &Warehouse,
    catalog: &Catalog,
    wanted: &Wanted,
) -> Result<Funnel, Error> {
    let offer = catalog
        .offer(&wanted.offer)
        .ok_or_else(|| Error::not_found(format!("there is no offer {:?}", wanted.offer)))?;
    let asking = Asking { catalog, wanted };
    let repeatable = offer.events.iter().any(|event| event.repeatable);
    let users = async {
        match repeatable {
            true => Ok(Some(warehouse.rows::<UserRow>(asking.users()?).await?)),
            false => Ok(None),
        }
    };
    let times = async {
        match wanted.times {
            true => warehouse.rows::<TimeRow>(asking.times()?).await,
            false => Ok(Vec::new()),
        }
    };
    let (clicks, events) = (asking.clicks()?, asking.events(repeatable)?);
    let clicks = warehouse.rows::<ClickRow>(clicks);
    let events = warehouse.rows::<EventRow>(events);
    let (clicks, events, users, times) = tokio::try_join!(clicks, events, users, times)?;
    let mut groups = assemble(offer, &wanted.by, Counted { clicks, events, users, times });
    let more = groups.len() > GROUPS_MAX;
    groups.truncate(GROUPS_MAX);
    if wanted.by.contains(&By::Day) {
        groups.sort_by(|a, b| a.values.cmp(&b.values));
    }
    Ok(Funnel {
        offer: offer.id.to_string(),
        offer_name: offer.name.clone(),
        by: wanted.by.iter().map(|by| by.name()).collect(),
        basis: if wanted.by_click { "clicked" } else { "received" },
        clones_included: wanted.scope.clones(),
        tests_included: wanted.scope.include_test,
        period: wanted.scope.period.stated(),
        groups,
        more,
    })
}

/// What is asked about the conversions that meet `conditions`, with days of the column `time`.
///
/// A one-time event has one conversion a click, so only repeatable ones need their users told
/// apart, which costs far more than counting and is asked for by itself. The rows are grouped by
/// one column that holds all that is told apart (`funnel_key`: status, whether the level is met,
/// currency, currency of the sale, unit, event); its few values are taken apart afterwards.
#[must_use]
pub fn statement(repeatable: bool, by: &[By], time: &str, conditions: &str) -> String {
    let reached = if repeatable { "toUInt64(0)" } else { "sumIf(rows, key[2] = '1')" };
    format!(
        "SELECT value, key[6] AS event, key[3] AS currency, key[5] AS unit, \
         key[4] AS sale_currency, {reached} AS reached, \
         sumIf(rows, key[1] = 'Pending') AS pending, \
         sumIf(rows, key[1] = 'Success') AS success, \
         sumIf(rows, key[1] = 'Rejected') AS rejected, \
         toString(sumIf(g.revenue, key[1] = 'Success')) AS revenue, \
         toString(sumIf(g.payout, key[1] = 'Success')) AS payout, \
         toString(sumIf(g.reward, key[1] = 'Success')) AS reward, \
         sumIf(g.sales, key[1] = 'Success') AS sales, \
         toString(sumIf(g.sale, key[1] = 'Success')) AS sale \
         FROM (SELECT {} AS value, splitByChar('\n', toString(funnel_key), 6) AS key, \
         count() AS rows, sum(c.revenue) AS revenue, sum(c.payout) AS payout, \
         sum(c.reward) AS reward, count(c.sale_amount) AS sales, \
         ifNull(sum(c.sale_amount), 0) AS sale \
         FROM {} AS c WHERE {conditions} GROUP BY value, funnel_key) AS g \
         GROUP BY value, event, currency, unit, sale_currency",
        values_sql(by, time),
        View::Conversions.name(),
    )
}

/// The questions to ClickHouse.
struct Asking<'a> {
    catalog: &'a Catalog,
    wanted: &'a Wanted,
}

impl Asking<'_> {
    fn question(&self, sql: String) -> Result<Question, Error> {
        let (scope, by) = (&self.wanted.scope, &self.wanted.by);
        let question = scope.bind(Question::new(sql), self.catalog);
        let covers = |offer: &schemas::Offer| scope.covers(offer, self.catalog);
        dimension::bind(question, by, &scope.period, self.catalog, covers)
    }

    /// The time by which a conversion is in the period, and is of a day.
    fn time(&self) -> &'static str {
        if self.wanted.by_click { "clicked_at" } else { "received_at" }
    }

    fn conditions(&self) -> String {
        self.wanted.scope.conditions(View::Conversions, self.time())
    }

    fn values(&self) -> String {
        values_sql(&self.wanted.by, self.time())
    }

    fn clicks(&self) -> Result<Question, Error> {
        self.question(format!(
            "SELECT {} AS value, count() AS clicks FROM {} WHERE {} GROUP BY value",
            values_sql(&self.wanted.by, "clicked_at"),
            View::Clicks.name(),
            self.wanted.scope.conditions(View::Clicks, "clicked_at"),
        ))
    }

    fn events(&self, repeatable: bool) -> Result<Question, Error> {
        self.question(statement(repeatable, &self.wanted.by, self.time(), &self.conditions()))
    }

    fn users(&self) -> Result<Question, Error> {
        self.question(format!(
            "SELECT {} AS value, toString(event_id) AS event, uniqExact(click_id) AS reached \
             FROM {} WHERE {} AND {REACHED} GROUP BY value, event",
            self.values(),
            View::Conversions.name(),
            self.conditions(),
        ))
    }

    /// The steps of each click beside each other, so that each can look for the one before it. Of
    /// a repeatable event each time counts. What came before its click or its last step, through
    /// two machines' clocks or because senders repeat themselves, took no time.
    fn times(&self) -> Result<Question, Error> {
        self.question(format!(
            "SELECT step.4 AS value, step.2 AS event, \
             quantilesExact(0.5, 0.9)(greatest(0, step.3 - step.5)) AS from_click, \
             countIf(below > 0) AS followers, \
             quantilesExactIf(0.5, 0.9)(greatest(0, step.3 - arrayMin(s -> s.3, \
             arrayFilter(s -> s.1 = below, steps))), below > 0) AS from_previous \
             FROM (SELECT steps, step, \
             arrayMax(arrayMap(s -> if(s.1 < step.1, s.1, 0), steps)) AS below \
             FROM (SELECT groupArray((ifNull(sequence, 0), toString(event_id), \
             toUnixTimestamp64Milli(received_at), {}, toUnixTimestamp64Milli(clicked_at))) AS steps \
             FROM {} WHERE {} AND {REACHED} GROUP BY click_id) \
             ARRAY JOIN steps AS step) GROUP BY value, event",
            self.values(),
            View::Conversions.name(),
            self.conditions(),
        ))
    }
}
