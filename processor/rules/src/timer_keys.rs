//! The keys of timers: ordered by due time, then by what they are for, so that timers fire in one
//! order on every machine.

use crate::keys::{self, ClickSlot, EventHash, Unique};
use crate::store::Store;
use schemas::{ClickKey, UnixMillis};

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer<'a> {
    /// A held conversion succeeds, or a waiting one gives up.
    Conversion { slot: ClickSlot, event: EventHash, unique: Option<Unique> },
    /// A click's state may go.
    Click(ClickSlot),
    /// A click's sub-ids may go.
    Details(ClickKey),
    /// A repeatable postback's retries are over.
    Retry([u8; 16]),
    /// A month's counts may go; the counter's key.
    Counter(&'a [u8]),
    /// A day begins in which a scope has been counted already; the scope's key.
    DayBegins(&'a [u8]),
}

const CONVERSION: u8 = 0;
const CLICK: u8 = 1;
const DETAILS: u8 = 2;
const RETRY: u8 = 3;
const COUNTER: u8 = 4;
const DAY_BEGINS: u8 = 5;

impl<'a> Timer<'a> {
    pub fn put_key(self, key: &mut Vec<u8>, due: UnixMillis) {
        key.clear();
        key.push(keys::TIMER);
        keys::put_time(key, due);
        match self {
            Self::Conversion { slot, event, unique } => {
                key.push(CONVERSION);
                key.extend_from_slice(&slot.0);
                key.extend_from_slice(&event.0);
                key.extend(unique.iter().flat_map(|unique| unique.0));
            }
            Self::Click(slot) => {
                key.push(CLICK);
                key.extend_from_slice(&slot.0);
            }
            Self::Details(click) => {
                key.push(DETAILS);
                key.extend_from_slice(&click.0);
            }
            Self::Retry(hash) => {
                key.push(RETRY);
                key.extend_from_slice(&hash);
            }
            Self::Counter(counter) => {
                key.push(COUNTER);
                key.extend_from_slice(counter);
            }
            Self::DayBegins(scope) => {
                key.push(DAY_BEGINS);
                key.extend_from_slice(scope);
            }
        }
    }

    /// When a timer is due and what for.
    pub fn read(key: &'a [u8]) -> Option<(UnixMillis, Self)> {
        let (due, rest) = keys::split_time(key.strip_prefix(&[keys::TIMER])?)?;
        let (kind, rest) = rest.split_first()?;
        let timer = match *kind {
            CONVERSION => {
                let (slot, rest) = rest.split_first_chunk()?;
                let (event, rest) = rest.split_first_chunk()?;
                let unique =
                    if rest.is_empty() { None } else { Some(Unique(rest.try_into().ok()?)) };
                Self::Conversion { slot: ClickSlot(*slot), event: EventHash(*event), unique }
            }
            CLICK => Self::Click(ClickSlot(rest.try_into().ok()?)),
            DETAILS => Self::Details(ClickKey(rest.try_into().ok()?)),
            RETRY => Self::Retry(rest.try_into().ok()?),
            COUNTER => Self::Counter(rest),
            DAY_BEGINS => Self::DayBegins(rest),
            _ => return None,
        };
        Some((due, timer))
    }
}

/// Sets a timer; `key` is a buffer.
pub fn arm<S: Store>(
    store: &mut S,
    key: &mut Vec<u8>,
    due: UnixMillis,
    timer: Timer<'_>,
) -> Result<(), S::Error> {
    timer.put_key(key, due);
    store.put(key, &[])
}

/// Takes a timer away; `key` is a buffer.
pub fn cancel<S: Store>(
    store: &mut S,
    key: &mut Vec<u8>,
    due: UnixMillis,
    timer: Timer<'_>,
) -> Result<(), S::Error> {
    timer.put_key(key, due);
    store.delete(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_back_in_order() {
        let slot = ClickSlot::new(ClickKey::new(UnixMillis(9), [4; 8]), false);
        let event = EventHash([5; 6]);
        let timers = [
            Timer::Conversion { slot, event, unique: None },
            Timer::Conversion { slot, event, unique: Some(Unique([6; 16])) },
            Timer::Click(slot),
            Timer::Details(slot.click()),
            Timer::Retry([7; 16]),
            Timer::Counter(b"k123"),
            Timer::DayBegins(b"s\x01\x01x"),
        ];
        let mut last = Vec::new();
        for due in [UnixMillis(3), UnixMillis(256)] {
            for timer in timers {
                let mut key = Vec::new();
                timer.put_key(&mut key, due);
                assert!(last < key, "{timer:?}");
                assert_eq!(Timer::read(&key), Some((due, timer)));
                last = key;
            }
        }
        for broken in [&b""[..], b"t", b"t123456", b"t123456\x09", b"t123456\x01short"] {
            assert_eq!(Timer::read(broken), None, "{broken:?}");
        }
    }
}
