//! Telling the ingesters which offers and shares are used up: clicks stop when the budget cannot
//! pay the cheapest event any more, or when a cap on an event of the lowest level is reached.

use crate::counters;
use crate::keys::{self, EventHash};
use crate::output::{Decided, Scratch};
use crate::periods;
use crate::store::{Damaged, Store};
use crate::wire::{Reader, put_zigzag};
use schemas::{
    Availability, AvailabilityScope, Caps, Catalog, Event, Offer, OfferId, Reason, Share,
    UnixMillis,
};

const WHAT: &str = "a budget";
const AVAILABLE: u8 = 0;
const CAP: u8 = 1;
const BUDGET: u8 = 2;

/// Why clicks are not welcome, and until when if that ends by itself.
type Exhausted = (Reason, Option<UnixMillis>);

/// What is kept of a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScopeState {
    /// Revenue of the conversions that hold a part of the budget, in micros of the root offer's
    /// currency. Only at root offers.
    pub reserved_micros: i64,
    /// What was last published.
    published: Option<Exhausted>,
}

impl ScopeState {
    fn decode(value: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(value, WHAT);
        let reserved_micros = reader.zigzag()?;
        let published = match reader.byte()? {
            AVAILABLE => None,
            code @ (CAP | BUDGET) => {
                let reason = if code == CAP { Reason::CapReached } else { Reason::BudgetExhausted };
                let until = if reader.is_empty() { None } else { Some(reader.zigzag()?) };
                Some((reason, until.map(UnixMillis)))
            }
            _ => return Err(reader.damaged()),
        };
        Ok(Self { reserved_micros, published })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        put_zigzag(out, self.reserved_micros);
        match self.published {
            None => out.push(AVAILABLE),
            Some((reason, until)) => {
                out.push(if reason == Reason::CapReached { CAP } else { BUDGET });
                if let Some(until) = until {
                    put_zigzag(out, until.0);
                }
            }
        }
    }

    pub fn load<S: Store>(
        store: &mut S,
        scratch: &mut Scratch,
        scope: &AvailabilityScope,
    ) -> Result<Self, S::Error> {
        put_key(&mut scratch.key, scope);
        if store.get(&scratch.key, &mut scratch.value)? {
            Ok(Self::decode(&scratch.value)?)
        } else {
            Ok(Self::default())
        }
    }

    pub fn save<S: Store>(
        &self,
        store: &mut S,
        scratch: &mut Scratch,
        scope: &AvailabilityScope,
    ) -> Result<(), S::Error> {
        put_key(&mut scratch.key, scope);
        self.encode(&mut scratch.value);
        store.put(&scratch.key, &scratch.value)
    }
}

fn put_key(key: &mut Vec<u8>, scope: &AvailabilityScope) {
    key.clear();
    key.push(keys::SCOPE);
    counters::put_scope(key, scope);
}

/// The events that begin an offer: those of its lowest level, or all when none has a level.
fn lowest_level(offer: &Offer) -> impl Iterator<Item = &Event> {
    let lowest = offer.events.iter().filter_map(|event| event.sequence).min();
    offer.events.iter().filter(move |event| event.sequence == lowest)
}

/// The least that one more conversion can cost; none when nothing costs anything.
fn cheapest_micros(offer: &Offer) -> Option<i64> {
    offer.events.iter().map(|event| event.revenue.0).filter(|micros| *micros > 0).min()
}

/// Whether anything at this scope can be used up.
fn is_limited(scope: &AvailabilityScope, offer: &Offer, share: Option<&Share>) -> bool {
    let budgeted = matches!(scope, AvailabilityScope::RootOffer(_)) && offer.budget.is_some();
    budgeted || lowest_level(offer).any(|event| !caps_of(event, share).is_unlimited())
}

fn caps_of(event: &Event, share: Option<&Share>) -> Caps {
    match share {
        Some(share) => share.event(&event.id).map_or(Caps::default(), |changed| changed.caps),
        None => event.caps,
    }
}

/// A scope's offer, and its share if it is one.
fn configured<'a>(
    catalog: &'a Catalog,
    scope: &AvailabilityScope,
) -> Option<(&'a Offer, Option<&'a Share>)> {
    match scope {
        AvailabilityScope::RootOffer(id) | AvailabilityScope::Offer(id) => {
            Some((catalog.offer(id.as_str())?, None))
        }
        AvailabilityScope::Share(id) => {
            let share = catalog.share(id.as_str())?;
            Some((catalog.offer(share.offer.as_str())?, Some(share)))
        }
    }
}

/// After a conversion: as [`refresh`], for what has limits today. What had some until today is for
/// [`configuration_changed`].
pub fn refresh_limited<S: Store>(
    store: &mut S,
    scratch: &mut Scratch,
    catalog: &Catalog,
    scope: &AvailabilityScope,
    now: UnixMillis,
    out: &mut impl Decided,
) -> Result<(), S::Error> {
    match configured(catalog, scope) {
        Some((offer, share)) if is_limited(scope, offer, share) => {
            refresh(store, scratch, catalog, scope, now, out)
        }
        _ => Ok(()),
    }
}

/// Works out a scope's availability and publishes it when it changed.
fn refresh<S: Store>(
    store: &mut S,
    scratch: &mut Scratch,
    catalog: &Catalog,
    scope: &AvailabilityScope,
    now: UnixMillis,
    out: &mut impl Decided,
) -> Result<(), S::Error> {
    let Some((offer, share)) = configured(catalog, scope) else { return Ok(()) };
    let mut state = ScopeState::load(store, scratch, scope)?;
    let exhausted = if is_limited(scope, offer, share) {
        exhausted(store, scratch, scope, offer, share, &state, now)?
    } else {
        None
    };
    if exhausted != state.published {
        state.published = exhausted;
        state.save(store, scratch, scope)?;
        out.availability(&Availability {
            scope: scope.clone(),
            exhausted: exhausted.map(|(reason, _)| reason),
            until: exhausted.and_then(|(_, until)| until),
            at: now,
        });
    }
    Ok(())
}

fn exhausted<S: Store>(
    store: &mut S,
    scratch: &mut Scratch,
    scope: &AvailabilityScope,
    offer: &Offer,
    share: Option<&Share>,
    state: &ScopeState,
    now: UnixMillis,
) -> Result<Option<Exhausted>, S::Error> {
    if let (AvailabilityScope::RootOffer(_), Some(budget)) = (scope, offer.budget) {
        let needed = cheapest_micros(offer).unwrap_or(1);
        if state.reserved_micros.saturating_add(needed) > budget.0 {
            return Ok(Some((Reason::BudgetExhausted, None)));
        }
    }
    let zone = periods::zone(&offer.time_zone);
    let day = periods::day_of(now, &zone);
    let mut worst: Option<Exhausted> = None;
    for event in lowest_level(offer) {
        let caps = caps_of(event, share);
        if caps.is_unlimited() {
            continue;
        }
        let used = counters::used(store, scratch, scope, EventHash::of(&event.id), day, &caps)?;
        if !counters::is_reached(&caps, &used) {
            continue;
        }
        let until = counters::reached_until(&caps, &used, day, &zone);
        // The one that lasts longest counts; none ends later than the one without an end.
        let until = match worst {
            Some((_, before)) => before.zip(until).map(|(before, until)| before.max(until)),
            None => until,
        };
        worst = Some((Reason::CapReached, until));
    }
    Ok(worst)
}

/// Works out the availability of every offer and share, because a new configuration can raise and
/// lower limits. For the runtime to call when it changes over to a configuration version. `owns`:
/// whether a root offer is in this partition.
///
/// # Errors
/// Only the store's.
pub fn configuration_changed<S: Store>(
    store: &mut S,
    catalog: &Catalog,
    owns: impl Fn(&OfferId) -> bool,
    now: UnixMillis,
    out: &mut impl Decided,
) -> Result<(), S::Error> {
    let mut scratch = std::mem::take(out.scratch());
    for offer in catalog.offers().filter(|offer| owns(&offer.root)) {
        let id = offer.id.clone();
        let scope = if offer.id == offer.root {
            AvailabilityScope::RootOffer(id)
        } else {
            AvailabilityScope::Offer(id)
        };
        refresh(store, &mut scratch, catalog, &scope, now, out)?;
    }
    for share in catalog.shares() {
        if catalog.offer(share.offer.as_str()).is_some_and(|offer| owns(&offer.root)) {
            let scope = AvailabilityScope::Share(share.id.clone());
            refresh(store, &mut scratch, catalog, &scope, now, out)?;
        }
    }
    *out.scratch() = scratch;
    Ok(())
}
