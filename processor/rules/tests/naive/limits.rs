//! Caps and budget, by counting all that stand.

use super::model::{Conv, Model};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use schemas::*;

impl Model {
    /// What counts at a scope.
    fn standing(&self, scope: &AvailabilityScope) -> Vec<&Conv> {
        let inside = |conv: &&Conv| match scope {
            AvailabilityScope::RootOffer(id) => conv.click.root_offer == *id,
            AvailabilityScope::Offer(id) => self.offer_of(&conv.click).id == *id,
            AvailabilityScope::Share(id) => conv.click.share == *id,
        };
        let counts = |it: &&Conv| it.reserves() && !it.over_limit && !it.slot.1;
        self.convs.iter().filter(counts).filter(inside).collect()
    }

    /// Whether a cap on an event leaves no room at a scope, in the periods of a time.
    fn is_capped(&self, scope: &AvailabilityScope, event: &EventId, at: UnixMillis) -> bool {
        let (offer, caps) = match scope {
            AvailabilityScope::RootOffer(id) | AvailabilityScope::Offer(id) => {
                let offer = self.catalog.offer(id.as_str()).unwrap();
                let event = offer.events.iter().find(|it| it.id == *event);
                (offer, event.map(|it| it.caps))
            }
            AvailabilityScope::Share(id) => {
                let share = self.catalog.share(id.as_str()).unwrap();
                let offer = self.catalog.offer(share.offer.as_str()).unwrap();
                (offer, share.event(event).map(|it| it.caps))
            }
        };
        let mut standing = self.standing(scope);
        standing.retain(|it| it.event == *event);
        is_full(&caps.unwrap_or_default(), &standing, at, &offer.time_zone)
    }

    fn leaves_budget(&self, cost: Micros) -> bool {
        let Some(root) = self.catalog.offers().find(|it| it.id == it.root) else { return true };
        let scope = AvailabilityScope::RootOffer(root.id.clone());
        let spent: i64 = self.standing(&scope).iter().map(|it| it.revenue.0).sum();
        root.budget.is_none_or(|budget| spent + cost.0 <= budget.0)
    }

    /// Why one more does not fit.
    pub fn no_room(&self, index: usize) -> Option<Reason> {
        let conv = &self.convs[index];
        if conv.slot.1 {
            return None;
        }
        let offer = self.offer_of(&conv.click);
        let mut scopes = vec![
            AvailabilityScope::RootOffer(conv.click.root_offer.clone()),
            AvailabilityScope::Share(conv.click.share.clone()),
        ];
        if offer.id != offer.root {
            scopes.push(AvailabilityScope::Offer(offer.id.clone()));
        }
        if scopes.iter().any(|scope| self.is_capped(scope, &conv.event, conv.counted_at)) {
            return Some(Reason::CapReached);
        }
        let affordable = conv.revenue.0 <= 0 || self.leaves_budget(conv.revenue);
        (!affordable).then_some(Reason::BudgetExhausted)
    }

    /// Every scope there is, with whether clicks are welcome now.
    pub fn availability(&self) -> Vec<(AvailabilityScope, bool)> {
        let offers = self.catalog.offers().map(|offer| {
            let root = offer.id == offer.root;
            let id = offer.id.clone();
            let scope =
                if root { AvailabilityScope::RootOffer(id) } else { AvailabilityScope::Offer(id) };
            (scope, offer.clone())
        });
        let shares = self.catalog.shares().map(|share| {
            let offer = self.catalog.offer(share.offer.as_str()).unwrap();
            (AvailabilityScope::Share(share.id.clone()), offer.clone())
        });
        let available = |(scope, offer): (AvailabilityScope, std::sync::Arc<Offer>)| {
            let first = offer.events.iter().filter(|it| it.sequence == Some(1));
            let capped = first.clone().any(|it| self.is_capped(&scope, &it.id, self.now));
            let costs = offer.events.iter().map(|it| it.revenue).filter(|it| it.0 > 0);
            let is_root = matches!(scope, AvailabilityScope::RootOffer(_));
            let paid = !is_root || self.leaves_budget(costs.min().unwrap_or(Micros(1)));
            (scope, !capped && paid)
        };
        offers.chain(shares).map(available).collect()
    }
}

fn date(time: UnixMillis, zone: &str) -> Date {
    let zone = TimeZone::get(zone).unwrap();
    Timestamp::from_millisecond(time.0).unwrap().to_zoned(zone).date()
}

fn is_full(caps: &Caps, standing: &[&Conv], at: UnixMillis, zone: &str) -> bool {
    let own = date(at, zone);
    let count = |same: &dyn Fn(Date) -> bool| {
        standing.iter().filter(|it| same(date(it.counted_at, zone))).count() as u64
    };
    let week = |day: Date| (day.iso_week_date().year(), day.iso_week_date().week());
    caps.daily.is_some_and(|cap| count(&|day| day == own) >= cap)
        || caps.weekly.is_some_and(|cap| count(&|day| week(day) == week(own)) >= cap)
        || caps.monthly.is_some_and(|cap| {
            count(&|day| (day.year(), day.month()) == (own.year(), own.month())) >= cap
        })
        || caps.total.is_some_and(|cap| standing.len() as u64 >= cap)
}
