//! Caps and budgets: what is used, what is reserved by conversions on hold, what is left, and where
//! it goes at the present pace. They are counted as the processor counts them (rule 11): in the
//! period in which the postback was received, in the offer's zone; at the root offer over all its
//! clones and shares, at a clone, and at a share. What was approved past a limit is left out.

use super::column::{Column, Kind};
use super::filter::{Filter, View};
use super::period::Period;
use super::table::Table;
use super::{Asked, Definition};
use crate::error::Error;
use crate::warehouse::Question;
use jiff::ToSpan;
use jiff::civil::Date;
use schemas::time::DAY_MS;
use schemas::{Caps, Micros, Offer, UnixMillis};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The pace of what has no period of its own is that of so long.
const PACE_MS: i64 = 7 * DAY_MS;

pub const DEFINITION: Definition = Definition {
    name: "caps",
    about: "Caps and budgets: used, reserved, left, and where they go at the present pace.",
    filters: &[Filter::Tenant, Filter::Advertiser, Filter::Offer, Filter::Clones],
    has_tests: false,
    options: &[],
    columns: &[
        Column::new("at", Kind::Text, "`root offer`, `clone` or `share`."),
        Column::new("id", Kind::Id, "The offer's or the share's."),
        Column::new("event_id", Kind::Text, "The event; empty for a budget."),
        Column::new("cap", Kind::Text, "`daily`, `weekly`, `monthly`, `total` or `budget`."),
        Column::new("limit", Kind::Measure, "Conversions, or revenue of a budget."),
        Column::new("used", Kind::Measure, "By what is in Success."),
        Column::new("reserved", Kind::Measure, "By what is on hold."),
        Column::new("left", Kind::Measure, "Not below nothing."),
        Column::new("projected", Kind::Measure, "At the end of the period, at its pace so far."),
        Column::new(
            "full_at",
            Kind::Time,
            "When nothing is left at this pace; none: not before its end.",
        ),
        Column::new("currency", Kind::Text, "Of a budget."),
        Column::new("period_from", Kind::Time, "When the period began.").wide(),
        Column::new("period_to", Kind::Time, "When it ends.").wide(),
        Column::new("time_zone", Kind::Text, "The offer's zone, in which the cap's periods are.")
            .wide(),
    ],
};

/// Counts of one event at one share.
#[derive(Debug, Clone, Deserialize)]
struct Row {
    root: String,
    offer: String,
    share: String,
    event: String,
    currency: String,
    status: String,
    day: u64,
    week: u64,
    month: u64,
    total: u64,
    recent: u64,
    revenue: String,
    recent_revenue: String,
}

/// Used and reserved.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    used: i64,
    reserved: i64,
    /// Of the last days, for the pace.
    recent: i64,
}

impl Taken {
    fn all(self) -> i64 {
        self.used + self.reserved
    }
}

/// A cap: its name, its limit, its period, and what counts against it.
type CapKind = (&'static str, Option<u64>, Option<Stretch>, fn(&Row) -> u64);

/// A stretch of time in which a cap counts.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    from: i64,
    to: i64,
}

#[derive(Debug, Clone, Copy)]
struct Periods {
    day: Stretch,
    week: Stretch,
    month: Stretch,
}

pub async fn run(asked: &Asked<'_>) -> Result<Table, Error> {
    if asked.scope.period.from_ms.is_some() || asked.scope.period.to_ms.is_some() {
        return Err(Error::bad_request("from, to: caps are shown as they stand now"));
    }
    let mut zones: BTreeMap<String, Periods> = BTreeMap::new();
    let mut offers: Vec<&Offer> = Vec::new();
    for offer in asked.catalog.offers().filter(|it| asked.scope.covers(it, asked.catalog)) {
        let periods = periods(&offer.time_zone, asked.now)?;
        zones.insert(offer.time_zone.clone(), periods);
        offers.push(offer);
    }
    let mut counted: BTreeMap<&str, Vec<Row>> = BTreeMap::new();
    for (zone, periods) in &zones {
        counted.insert(zone, asked.warehouse.rows(question(asked, periods)).await?);
    }
    let mut rows = Vec::new();
    for offer in offers {
        let (Some(counts), Some(periods)) =
            (counted.get(offer.time_zone.as_str()), zones.get(&offer.time_zone))
        else {
            continue;
        };
        let place = Place { asked, offer, counts, periods };
        place.offer_rows(&mut rows);
        for share in asked.catalog.shares().filter(|share| share.offer == offer.id) {
            for event in &share.events {
                let of = |row: &Row| row.share == share.id.as_str();
                place.cap_rows(
                    &mut rows,
                    "share",
                    share.id.as_str(),
                    event.event.as_str(),
                    &event.caps,
                    of,
                );
            }
        }
    }
    let mut table = asked.table(rows);
    table.notes.push(
        "Days, weeks (from Monday) and months are those of each offer's own zone. Projected: a \
         period's pace so far; full: at that pace, or at the pace of the last 7 days."
            .to_owned(),
    );
    Ok(table)
}

fn periods(zone: &str, now: UnixMillis) -> Result<Periods, Error> {
    let period = Period::parse(None, None, zone)?;
    let wrong = || Error::Internal("the clock is out of range".to_owned());
    let today = period.day_of(now).ok_or_else(wrong)?;
    let stretch = |first: Date, next: Option<Date>| {
        let from = period.start_of(first).ok_or_else(wrong)?;
        let to = next.and_then(|next| period.start_of(next)).ok_or_else(wrong)?;
        Ok::<_, Error>(Stretch { from, to })
    };
    let since_monday = i64::from(today.weekday().to_monday_zero_offset());
    let monday = today.checked_sub(since_monday.days()).map_err(|_| wrong())?;
    Ok(Periods {
        day: stretch(today, today.tomorrow().ok())?,
        week: stretch(monday, monday.checked_add(7.days()).ok())?,
        month: stretch(today.first_of_month(), today.last_of_month().tomorrow().ok())?,
    })
}

fn question(asked: &Asked<'_>, periods: &Periods) -> Question {
    let since = |name: &str| {
        format!(
            "countIf(received_at >= fromUnixTimestamp64Milli({{{name}:Int64}}, 'UTC')) AS {name}"
        )
    };
    let sql = format!(
        "SELECT toString(root_offer_id) AS root, toString(offer_id) AS offer, \
         toString(share_id) AS share, toString(event_id) AS event, \
         toString(v.currency) AS currency, toString(v.status) AS status, {}, {}, {}, {}, \
         count() AS total, toString(sum(v.revenue)) AS revenue, \
         toString(sumIf(v.revenue, received_at >= fromUnixTimestamp64Milli({{recent:Int64}}, 'UTC'))) \
         AS recent_revenue \
         FROM {} AS v WHERE {} AND NOT has(flags, 'OVER_LIMIT') \
         AND (v.status = 'Success' OR (v.status = 'Pending' AND v.reason = 'HOLD')) \
         GROUP BY root, offer, share, event, currency, status",
        since("day"),
        since("week"),
        since("month"),
        since("recent"),
        View::Conversions.name(),
        // Of the root whatever is below it, so an offer's own filter would count too little.
        asked.scope.without(Filter::Offer).conditions(View::Conversions, "received_at"),
    );
    let scope = asked.scope.without(Filter::Offer);
    scope
        .bind(Question::new(sql), asked.catalog)
        .bind("day", periods.day.from)
        .bind("week", periods.week.from)
        .bind("month", periods.month.from)
        .bind("recent", (asked.now.0 - PACE_MS).max(0))
}

/// An offer with what was counted in its zone.
struct Place<'a> {
    asked: &'a Asked<'a>,
    offer: &'a Offer,
    counts: &'a [Row],
    periods: &'a Periods,
}

impl Place<'_> {
    fn offer_rows(&self, rows: &mut Vec<Vec<Value>>) {
        let id = self.offer.id.as_str();
        let is_root = self.offer.root == self.offer.id;
        let at = if is_root { "root offer" } else { "clone" };
        let of = |row: &Row| if is_root { row.root == id } else { row.offer == id };
        for event in &self.offer.events {
            self.cap_rows(rows, at, id, event.id.as_str(), &event.caps, of);
        }
        if let Some(budget) = self.offer.budget.filter(|_| is_root) {
            let currency = self.offer.currency.code();
            let taken = self.taken(
                |row| of(row) && row.currency == currency,
                |row| Micros::parse(&row.revenue).unwrap_or_default().0,
                |row| Micros::parse(&row.recent_revenue).unwrap_or_default().0,
            );
            let amount = |micros: i64| Value::from(Micros(micros).to_string());
            rows.push(self.cells(at, id, "", "budget", budget.0, taken, None, &amount, currency));
        }
    }

    fn cap_rows(
        &self,
        rows: &mut Vec<Vec<Value>>,
        at: &str,
        id: &str,
        event: &str,
        caps: &Caps,
        of: impl Fn(&Row) -> bool,
    ) {
        let kinds: [CapKind; 4] = [
            ("daily", caps.daily, Some(self.periods.day), |row| row.day),
            ("weekly", caps.weekly, Some(self.periods.week), |row| row.week),
            ("monthly", caps.monthly, Some(self.periods.month), |row| row.month),
            ("total", caps.total, None, |row| row.total),
        ];
        let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        for (name, cap, stretch, count) in kinds {
            let Some(cap) = cap else { continue };
            let taken = self.taken(
                |row| of(row) && row.event == event,
                |row| whole(count(row)),
                |row| whole(row.recent),
            );
            let number = |count: i64| Value::from(count);
            rows.push(self.cells(at, id, event, name, whole(cap), taken, stretch, &number, ""));
        }
    }

    fn taken(
        &self,
        of: impl Fn(&Row) -> bool,
        all: impl Fn(&Row) -> i64,
        recent: impl Fn(&Row) -> i64,
    ) -> Taken {
        let mut taken = Taken::default();
        for row in self.counts.iter().filter(|row| of(row)) {
            let place = if row.status == "Success" { &mut taken.used } else { &mut taken.reserved };
            *place = place.saturating_add(all(row));
            taken.recent = taken.recent.saturating_add(recent(row));
        }
        taken
    }

    #[expect(clippy::too_many_arguments, reason = "the columns of a row, in their order")]
    fn cells(
        &self,
        at: &str,
        id: &str,
        event: &str,
        cap: &str,
        limit: i64,
        taken: Taken,
        stretch: Option<Stretch>,
        write: &dyn Fn(i64) -> Value,
        currency: &str,
    ) -> Vec<Value> {
        let now = self.asked.now.0;
        let left = (limit - taken.all()).max(0);
        let ahead = ahead(now, limit, taken, stretch);
        let show = |ms: i64| Value::from(self.asked.scope.period.show(UnixMillis(ms)));
        vec![
            at.into(),
            id.into(),
            event.into(),
            cap.into(),
            write(limit),
            write(taken.used),
            write(taken.reserved),
            write(left),
            ahead.projected.map_or(Value::Null, write),
            ahead.full_at.map_or(Value::Null, show),
            currency.into(),
            stretch.map_or(Value::Null, |it| show(it.from)),
            stretch.map_or(Value::Null, |it| show(it.to)),
            self.offer.time_zone.as_str().into(),
        ]
    }
}

/// Where it goes.
#[derive(Debug, PartialEq, Eq)]
struct Ahead {
    projected: Option<i64>,
    full_at: Option<i64>,
}

fn ahead(now: i64, limit: i64, taken: Taken, stretch: Option<Stretch>) -> Ahead {
    let (count, elapsed) = match stretch {
        Some(it) => (taken.all(), (now - it.from).max(1)),
        None => (taken.recent, PACE_MS),
    };
    let scaled = |count: i64, by: i64, over: i64| {
        let value = i128::from(count) * i128::from(by) / i128::from(over.max(1));
        i64::try_from(value).unwrap_or(i64::MAX)
    };
    let left = limit - taken.all();
    let projected = stretch.map(|it| scaled(count, it.to - it.from, elapsed));
    let full_at = match (left <= 0, count > 0) {
        (true, _) => Some(now),
        (false, false) => None,
        (false, true) => Some(now.saturating_add(scaled(left, elapsed, count))),
    };
    let full_at = full_at.filter(|at| stretch.is_none_or(|it| *at < it.to));
    Ahead { projected, full_at }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_begin_on_monday_and_days_know_daylight_saving() {
        // Sunday, 1 November 2026, 12:00 in New York: a day of 25 hours.
        let now: jiff::Timestamp = "2026-11-01T17:00:00Z".parse().unwrap();
        let found = periods("America/New_York", UnixMillis(now.as_millisecond())).unwrap();
        let hours = |stretch: Stretch| (stretch.to - stretch.from) / 3_600_000;
        assert_eq!((hours(found.day), hours(found.week)), (25, 7 * 24 + 1));
        assert_eq!(hours(found.month), 30 * 24 + 1);
        assert!(found.week.to == found.day.to, "a week ends with its Sunday");
    }

    #[test]
    fn paces() {
        let taken = |used, reserved| Taken { used, reserved, recent: 7 };
        let day = Stretch { from: 0, to: 100 };
        let check = |now, limit, taken, stretch, projected, full_at| {
            assert_eq!(ahead(now, limit, taken, stretch), Ahead { projected, full_at });
        };
        check(50, 100, taken(20, 5), Some(day), Some(50), None);
        check(50, 30, taken(20, 5), Some(day), Some(50), Some(60));
        check(50, 25, taken(20, 5), Some(day), Some(50), Some(50));
        check(50, 100, taken(0, 0), Some(day), Some(0), None);
        // One a day.
        check(0, 10, taken(7, 0), None, None, Some(3 * DAY_MS));
    }
}
