//! Rule 11: caps at the root offer, at a clone and at the share, and the root offer's budget. What
//! is held or counts has its place; what is rejected gives it back, in the period it came from.

use crate::availability::{self, ScopeState};
use crate::case::Case;
use crate::counters;
use crate::invariants::Invariant;
use crate::keys::EventHash;
use crate::kind::Kind;
use crate::output::Decided;
use crate::periods;
use crate::record::DayShift;
use crate::store::Store;
use jiff::tz::TimeZone;
use schemas::{AvailabilityScope, Caps, EventId, Micros};

/// Whether one more conversion fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    Free,
    CapReached,
    BudgetExhausted,
}

impl Room {
    /// What a conversion becomes for want of room.
    pub fn refusal(self) -> Option<Kind> {
        match self {
            Self::Free => None,
            Self::CapReached => Some(Kind::CapReached),
            Self::BudgetExhausted => Some(Kind::BudgetExhausted),
        }
    }
}

/// A place where a conversion counts.
struct Place {
    scope: AvailabilityScope,
    caps: Caps,
    at_root: bool,
}

impl<S: Store> Case<'_, '_, S> {
    /// Where conversions of an event count. Caps of the root offer hold over all its clones and
    /// shares; those of a clone and of the share come on top.
    fn places(&self, event: &EventId) -> impl Iterator<Item = Place> + use<S> {
        let caps_in = |offer: &schemas::Offer| {
            offer.events.iter().find(|it| it.id == *event).map_or(Caps::default(), |it| it.caps)
        };
        let root_id = &self.click.root_offer;
        let is_clone = self.offer.id != *root_id;
        let root_caps = match self.catalog.offer(root_id.as_str()) {
            Some(root) => caps_in(root),
            None => Caps::default(),
        };
        let root = Place {
            scope: AvailabilityScope::RootOffer(root_id.clone()),
            caps: root_caps,
            at_root: true,
        };
        let clone = is_clone.then(|| Place {
            scope: AvailabilityScope::Offer(self.offer.id.clone()),
            caps: caps_in(&self.offer),
            at_root: false,
        });
        let share = Place {
            scope: AvailabilityScope::Share(self.share.id.clone()),
            caps: self.share.event(event).map_or(Caps::default(), |changed| changed.caps),
            at_root: false,
        };
        [Some(root), clone, Some(share)].into_iter().flatten()
    }

    /// The zones of the root offer and of the click's offer.
    fn zones(&self) -> (TimeZone, TimeZone) {
        let offer = periods::zone(&self.offer.time_zone);
        let root = match self.catalog.offer(self.click.root_offer.as_str()) {
            Some(root) if root.time_zone != self.offer.time_zone => periods::zone(&root.time_zone),
            _ => offer.clone(),
        };
        (root, offer)
    }

    /// What a record takes of the budget: nothing where the currency is not the root offer's,
    /// which the configuration does not allow.
    fn cost(&self, index: usize) -> Micros {
        let root = self.catalog.offer(self.click.root_offer.as_str());
        match (self.amounts(index), root) {
            (Some((_, amounts)), Some(root)) if amounts.currency == root.currency => {
                amounts.revenue
            }
            _ => Micros::ZERO,
        }
    }

    /// Whether there is room for a record, in the periods of its `counted_at`. For a test always.
    pub fn room(&mut self, index: usize, event: &EventId) -> Result<Room, S::Error> {
        if self.state.slot.is_test() {
            return Ok(Room::Free);
        }
        let counted_at = self.state.records[index].counted_at;
        let hash = EventHash::of(event);
        for place in self.places(event).filter(|place| !place.caps.is_unlimited()) {
            let (root_zone, offer_zone) = self.zones();
            let zone = if place.at_root { &root_zone } else { &offer_zone };
            let day = periods::day_of(counted_at, zone);
            let scratch = &mut *self.scratch;
            let used = counters::used(self.store, scratch, &place.scope, hash, day, &place.caps)?;
            if counters::is_reached(&place.caps, &used) {
                // It may have been lowered to what was used already.
                self.limits_touched = true;
                return Ok(Room::CapReached);
            }
        }
        if !self.is_paid_for(self.cost(index).0)? {
            self.limits_touched = true;
            return Ok(Room::BudgetExhausted);
        }
        Ok(Room::Free)
    }

    /// Whether the root offer's budget has so much more. Without a budget, only what would make the
    /// sum larger than its number is refused: it must come out right when it is given back.
    fn is_paid_for(&mut self, cost_micros: i64) -> Result<bool, S::Error> {
        if cost_micros <= 0 {
            return Ok(true);
        }
        let root = self.catalog.offer(self.click.root_offer.as_str());
        let budget = root.and_then(|root| root.budget).unwrap_or(Micros(i64::MAX));
        let scope = AvailabilityScope::RootOffer(self.click.root_offer.clone());
        let state = ScopeState::load(self.store, self.scratch, &scope)?;
        Ok(availability::fits(state.reserved_micros, cost_micros, budget))
    }

    /// Takes a record's place. Tests have none.
    pub fn take(&mut self, index: usize, event: &EventId) -> Result<(), S::Error> {
        if self.state.slot.is_test() {
            return Ok(());
        }
        let counted_at = self.state.records[index].counted_at;
        let (root_zone, offer_zone) = self.zones();
        let root_day = periods::day_of(counted_at, &root_zone);
        let offer_day = periods::day_of(counted_at, &offer_zone);
        let record = &mut self.state.records[index];
        record.root_day = periods::shift_of(counted_at, root_day);
        record.offer_day = periods::shift_of(counted_at, offer_day);
        let hash = EventHash::of(event);
        let is_ahead = counted_at > self.now;
        for place in self.places(event) {
            let (day, zone) =
                if place.at_root { (root_day, &root_zone) } else { (offer_day, &offer_zone) };
            let (store, scratch) = (&mut *self.store, &mut *self.scratch);
            counters::add(store, scratch, &place.scope, hash, day)?;
            if is_ahead && day > periods::day_of(self.now, zone) {
                availability::count_ahead(store, scratch, &place.scope, day, zone)?;
            }
            if !place.caps.is_unlimited() {
                let used = counters::used(store, scratch, &place.scope, hash, day, &place.caps)?;
                if counters::is_exceeded(&place.caps, &used) {
                    self.breaks(index, Invariant::WithinLimits);
                }
            }
        }
        let cost = self.cost(index);
        self.spend(index, 1, cost.0)?;
        let root = self.catalog.offer(self.click.root_offer.as_str());
        if let Some(budget) = root.and_then(|root| root.budget).filter(|_| cost.0 > 0) {
            let scope = AvailabilityScope::RootOffer(self.click.root_offer.clone());
            let state = ScopeState::load(self.store, self.scratch, &scope)?;
            if state.reserved_micros > budget.0 {
                self.breaks(index, Invariant::WithinLimits);
            }
        }
        Ok(())
    }

    /// Gives a record's place back, if it has one.
    pub fn give_back(&mut self, index: usize) -> Result<(), S::Error> {
        let record = &self.state.records[index];
        if self.state.slot.is_test() || record.over_limit {
            return Ok(());
        }
        let day = |shift: DayShift| periods::shifted_day(record.counted_at, shift);
        let (root_day, offer_day) = (day(record.root_day), day(record.offer_day));
        let Some(event_of) = self.event_at(index) else { return Ok(()) };
        let event = &event_of.event().id;
        let hash = EventHash::of(event);
        for place in self.places(event) {
            let day = if place.at_root { root_day } else { offer_day };
            if !counters::subtract(self.store, self.scratch, &place.scope, hash, day)? {
                self.breaks(index, Invariant::TotalsNetOut);
            }
        }
        let cost = self.cost(index);
        self.spend(index, -1, cost.0.saturating_neg())
    }

    /// `places`: how many more are counted. A part of the budget goes with them.
    fn spend(&mut self, index: usize, places: i64, micros: i64) -> Result<(), S::Error> {
        self.limits_touched = true;
        self.ledger.book(places, micros);
        if micros == 0 {
            return Ok(());
        }
        let scope = AvailabilityScope::RootOffer(self.click.root_offer.clone());
        let mut state = ScopeState::load(self.store, self.scratch, &scope)?;
        match state.reserved_micros.checked_add(micros).filter(|sum| *sum >= 0) {
            Some(sum) => state.reserved_micros = sum,
            None => {
                state.reserved_micros = state.reserved_micros.saturating_add(micros).max(0);
                self.breaks(index, Invariant::TotalsNetOut);
            }
        }
        state.save(self.store, self.scratch, &scope)
    }

    /// Publishes what changed at the places this click counts at.
    pub fn refresh_availability(&mut self, out: &mut impl Decided) -> Result<(), S::Error> {
        let clone = (self.offer.id != self.click.root_offer)
            .then(|| AvailabilityScope::Offer(self.offer.id.clone()));
        let scopes = [
            Some(AvailabilityScope::RootOffer(self.click.root_offer.clone())),
            clone,
            Some(AvailabilityScope::Share(self.share.id.clone())),
        ];
        for scope in scopes.into_iter().flatten() {
            let (store, scratch) = (&mut *self.store, &mut *self.scratch);
            availability::refresh_limited(store, scratch, self.catalog, &scope, self.now, out)?;
        }
        Ok(())
    }
}
