//! What caps count: the conversions of an event on each day of a month, and in total, at one
//! scope. Every conversion counts, capped or not, so that a cap set at noon knows the morning.

use crate::keys::{self, EventHash};
use crate::output::Scratch;
use crate::periods;
use crate::store::{Damaged, Store};
use crate::timer_keys::{self, Timer};
use crate::wire::{Reader, put_text, put_varint};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use schemas::offer::DURATION_MS_MAX;
use schemas::time::DAY_MS;
use schemas::{AvailabilityScope, Caps, OfferId, ShareId, UnixMillis};

const DAYS_MAX: usize = 31;
/// In the place of the month: the count over all time.
const TOTAL: u32 = 0;
/// How long a month's counts outlive it: a conversion of it can be decided by hand, and count in
/// it, for as long as its click's state lives. A few dozen bytes for an event and share.
const KEPT_MS: i64 = DURATION_MS_MAX + 2 * DAY_MS;

/// How many conversions stand in the periods around a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used {
    pub day: u64,
    pub week: u64,
    pub month: u64,
    pub total: u64,
}

/// Appends the bytes by which keys name a scope.
pub fn put_scope(key: &mut Vec<u8>, scope: &AvailabilityScope) {
    let (tag, id) = match scope {
        AvailabilityScope::RootOffer(id) => (0, id.as_str()),
        AvailabilityScope::Offer(id) => (1, id.as_str()),
        AvailabilityScope::Share(id) => (2, id.as_str()),
    };
    key.push(tag);
    put_text(key, id);
}

/// Reads what [`put_scope`] wrote.
pub fn read_scope(reader: &mut Reader<'_>) -> Result<AvailabilityScope, Damaged> {
    let tag = reader.byte()?;
    let id = reader.text()?;
    let damaged = |_| reader.damaged();
    Ok(match tag {
        0 => AvailabilityScope::RootOffer(OfferId::new(id).map_err(damaged)?),
        1 => AvailabilityScope::Offer(OfferId::new(id).map_err(damaged)?),
        2 => AvailabilityScope::Share(ShareId::new(id).map_err(damaged)?),
        _ => return Err(reader.damaged()),
    })
}

fn put_key(key: &mut Vec<u8>, scope: &AvailabilityScope, event: EventHash, month: u32) {
    key.clear();
    key.push(keys::COUNTER);
    put_scope(key, scope);
    key.extend_from_slice(&event.0);
    key.extend_from_slice(&month.to_be_bytes());
}

/// The counts of a month; none when nothing was counted in it.
fn read<S: Store>(
    store: &mut S,
    scratch: &mut Scratch,
    scope: &AvailabilityScope,
    event: EventHash,
    month: u32,
) -> Result<Option<[u64; DAYS_MAX]>, S::Error> {
    put_key(&mut scratch.key, scope, event, month);
    if !store.get(&scratch.key, &mut scratch.value)? {
        return Ok(None);
    }
    let mut reader = Reader::new(&scratch.value, "a cap's counter");
    let mut counts = [0; DAYS_MAX];
    for count in &mut counts {
        if reader.is_empty() {
            break;
        }
        *count = reader.varint()?;
    }
    if !reader.is_empty() {
        return Err(Damaged { what: "a cap's counter" }.into());
    }
    Ok(Some(counts))
}

fn write<S: Store>(
    store: &mut S,
    scratch: &mut Scratch,
    scope: &AvailabilityScope,
    event: EventHash,
    month: u32,
    counts: &[u64],
) -> Result<(), S::Error> {
    put_key(&mut scratch.key, scope, event, month);
    scratch.value.clear();
    let used = counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
    for count in &counts[..used] {
        put_varint(&mut scratch.value, *count);
    }
    store.put(&scratch.key, &scratch.value)
}

fn place(day: Date) -> usize {
    usize::from(day.day().unsigned_abs()).saturating_sub(1).min(DAYS_MAX - 1)
}

/// What stands in the periods that `caps` limit; the others are left at 0.
pub fn used<S: Store>(
    store: &mut S,
    scratch: &mut Scratch,
    scope: &AvailabilityScope,
    event: EventHash,
    day: Date,
    caps: &Caps,
) -> Result<Used, S::Error> {
    let mut used = Used::default();
    if caps.daily.is_some() || caps.weekly.is_some() || caps.monthly.is_some() {
        let month = periods::month_number(day);
        let counts = read(store, scratch, scope, event, month)?.unwrap_or_default();
        used.day = counts[place(day)];
        used.month = counts.iter().sum();
        if caps.weekly.is_some() {
            // A week can lie in two months.
            let mut other = (month, counts);
            for day in periods::week_of(day) {
                let month = periods::month_number(day);
                if month != other.0 {
                    let counts = read(store, scratch, scope, event, month)?;
                    other = (month, counts.unwrap_or_default());
                }
                used.week += other.1[place(day)];
            }
        }
    }
    if caps.total.is_some() {
        used.total = read(store, scratch, scope, event, TOTAL)?.unwrap_or_default()[0];
    }
    Ok(used)
}

/// Counts one more on a day.
pub fn add<S: Store>(
    store: &mut S,
    scratch: &mut Scratch,
    scope: &AvailabilityScope,
    event: EventHash,
    day: Date,
) -> Result<(), S::Error> {
    let month = periods::month_number(day);
    let counts = read(store, scratch, scope, event, month)?;
    if counts.is_none() {
        let expires = periods::month_end(day, &TimeZone::UTC).plus_ms(KEPT_MS);
        put_key(&mut scratch.key, scope, event, month);
        timer_keys::arm(store, &mut scratch.value, expires, Timer::Counter(&scratch.key))?;
    }
    let mut counts = counts.unwrap_or_default();
    counts[place(day)] += 1;
    write(store, scratch, scope, event, month, &counts)?;
    let total = read(store, scratch, scope, event, TOTAL)?.unwrap_or_default()[0];
    write(store, scratch, scope, event, TOTAL, &[total + 1])
}

/// Gives back one that was counted on a day. Of a period that is long over, only the total. False
/// when the total knows of none that could be given back.
pub fn subtract<S: Store>(
    store: &mut S,
    scratch: &mut Scratch,
    scope: &AvailabilityScope,
    event: EventHash,
    day: Date,
) -> Result<bool, S::Error> {
    let month = periods::month_number(day);
    if let Some(mut counts) = read(store, scratch, scope, event, month)? {
        let count = &mut counts[place(day)];
        *count = count.saturating_sub(1);
        write(store, scratch, scope, event, month, &counts)?;
    }
    let total = read(store, scratch, scope, event, TOTAL)?.unwrap_or_default()[0];
    write(store, scratch, scope, event, TOTAL, &[total.saturating_sub(1)])?;
    Ok(total > 0)
}

/// Whether one more would be too many.
pub fn is_reached(caps: &Caps, used: &Used) -> bool {
    let full = |cap: Option<u64>, used: u64| cap.is_some_and(|cap| used >= cap);
    full(caps.daily, used.day)
        || full(caps.weekly, used.week)
        || full(caps.monthly, used.month)
        || full(caps.total, used.total)
}

/// Whether there are more than there may be: never so after one was counted for which there was
/// room.
pub fn is_exceeded(caps: &Caps, used: &Used) -> bool {
    let over = |cap: Option<u64>, used: u64| cap.is_some_and(|cap| used > cap);
    over(caps.daily, used.day)
        || over(caps.weekly, used.week)
        || over(caps.monthly, used.month)
        || over(caps.total, used.total)
}

/// When there is room again by itself: never, when the total is used up or a cap is 0.
pub fn reached_until(caps: &Caps, used: &Used, day: Date, zone: &TimeZone) -> Option<UnixMillis> {
    let full = |cap: Option<u64>, used: u64| cap.is_some_and(|cap| used >= cap);
    let never = [caps.daily, caps.weekly, caps.monthly].contains(&Some(0));
    if never || full(caps.total, used.total) {
        return None;
    }
    [
        full(caps.daily, used.day).then(|| periods::day_end(day, zone)),
        full(caps.weekly, used.week).then(|| periods::week_end(day, zone)),
        full(caps.monthly, used.month).then(|| periods::month_end(day, zone)),
    ]
    .into_iter()
    .flatten()
    .max()
}
