//! Telling the ingesters which offers and shares are used up: clicks stop when the budget cannot
//! pay the cheapest event any more, or when a cap on an event of the lowest level is reached.

use crate::counters;
use crate::keys::{self, EventHash};
use crate::output::{Decided, Scratch};
use crate::periods;
use crate::store::{Damaged, Store};
use crate::timer_keys::{self, Timer};
use crate::wire::{Reader, put_zigzag};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use schemas::{
    Availability, AvailabilityScope, Caps, Catalog, Event, Micros, Offer, OfferId, Reason, Share,
    UnixMillis,
};

const WHAT: &str = "a budget";
const AVAILABLE: u8 = 0;
const CAP: u8 = 1;
const BUDGET: u8 = 2;
/// The bits in which one of them stands.
const PUBLISHED: u8 = 3;
const MARK_UNTIL: u8 = 1 << 2;
const MARK_AHEAD: u8 = 1 << 3;

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
    /// The last day in which something was counted before it had begun, until it begins: an
    /// ingester's clock can be ahead of the partition's across midnight.
    ahead: Option<Date>,
}

impl ScopeState {
    fn decode(value: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(value, WHAT);
        let reserved_micros = reader.zigzag()?;
        let marks = reader.byte()?;
        let has = |mark: u8| marks & mark != 0;
        let until = if has(MARK_UNTIL) { Some(UnixMillis(reader.zigzag()?)) } else { None };
        let published = match marks & PUBLISHED {
            AVAILABLE => None,
            CAP => Some((Reason::CapReached, until)),
            BUDGET => Some((Reason::BudgetExhausted, until)),
            _ => return Err(reader.damaged()),
        };
        let ahead = if has(MARK_AHEAD) {
            let [year_high, year_low, month, day] = reader.array()?;
            let year = i16::from_be_bytes([year_high, year_low]);
            let date = Date::new(year, month.cast_signed(), day.cast_signed());
            Some(date.map_err(|_| reader.damaged())?)
        } else {
            None
        };
        Ok(Self { reserved_micros, published, ahead })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        put_zigzag(out, self.reserved_micros);
        let mut marks = match self.published {
            None => AVAILABLE,
            Some((Reason::CapReached, _)) => CAP,
            Some(_) => BUDGET,
        };
        let until = self.published.and_then(|(_, until)| until);
        for (set, mark) in [(until.is_some(), MARK_UNTIL), (self.ahead.is_some(), MARK_AHEAD)] {
            if set {
                marks |= mark;
            }
        }
        out.push(marks);
        if let Some(until) = until {
            put_zigzag(out, until.0);
        }
        if let Some(day) = self.ahead {
            out.extend_from_slice(&day.year().to_be_bytes());
            out.extend([day.month().cast_unsigned(), day.day().cast_unsigned()]);
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

/// Whether a budget can pay so much more. What is too large a sum for its number is never paid.
pub fn fits(reserved_micros: i64, more_micros: i64, budget: Micros) -> bool {
    reserved_micros.checked_add(more_micros).is_some_and(|sum| sum <= budget.0)
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
    if let Some(day) = state.ahead {
        let zone = periods::zone(&offer.time_zone);
        if day <= periods::day_of(now, &zone) {
            state.ahead = None;
            state.save(store, scratch, scope)?;
        } else {
            // Its zone may have been configured anew since.
            look_again(store, scratch, scope, day, &zone)?;
        }
    }
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

/// Something was counted at a scope in a day that has not begun: nothing may change there until it
/// begins, so a timer looks then.
pub fn count_ahead<S: Store>(
    store: &mut S,
    scratch: &mut Scratch,
    scope: &AvailabilityScope,
    day: Date,
    zone: &TimeZone,
) -> Result<(), S::Error> {
    let mut state = ScopeState::load(store, scratch, scope)?;
    if state.ahead.is_none_or(|known| known < day) {
        state.ahead = Some(day);
        state.save(store, scratch, scope)?;
    }
    look_again(store, scratch, scope, day, zone)
}

fn look_again<S: Store>(
    store: &mut S,
    scratch: &mut Scratch,
    scope: &AvailabilityScope,
    day: Date,
    zone: &TimeZone,
) -> Result<(), S::Error> {
    put_key(&mut scratch.key, scope);
    let due = periods::day_start(day, zone);
    timer_keys::arm(store, &mut scratch.value, due, Timer::DayBegins(&scratch.key))
}

/// The timer of [`count_ahead`]: the day begins, perhaps used up already. `key`: the scope's.
pub fn day_begins<S: Store>(
    store: &mut S,
    scratch: &mut Scratch,
    catalog: &Catalog,
    key: &[u8],
    now: UnixMillis,
    out: &mut impl Decided,
) -> Result<(), S::Error> {
    let mut reader = Reader::new(key, WHAT);
    if reader.byte()? != keys::SCOPE {
        return Err(reader.damaged().into());
    }
    let scope = counters::read_scope(&mut reader)?;
    refresh(store, scratch, catalog, &scope, now, out)
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
        if !fits(state.reserved_micros, needed, budget) {
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
