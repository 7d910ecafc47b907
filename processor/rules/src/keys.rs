//! The keys of the partition's state. The first byte tells what an entry is; a zero byte there
//! belongs to the runtime and the log.
//!
//! | key | value |
//! | --- | --- |
//! | `c`/`C` click | the click's state with its one-time conversions ([`crate::click_state`]) |
//! | `c`/`C` click 0 | the opened click and its id, while one of its conversions is pending |
//! | `c`/`C` click 1 event unique | one conversion of a repeatable event |
//! | `d` click | sub-ids that did not fit into the token |
//! | `k` scope event month | conversions counted on each day of a month; month 0: in total |
//! | `m` member event | the click at which a member converted |
//! | `p` time id | a postback or command that was decided a short while ago |
//! | `q` hash | a repeatable postback without a transaction, to know its retries |
//! | `r` unique | the click at which a transaction was seen |
//! | `s` scope | budget used, and what availability was last published |
//! | `t` due kind … | a timer; the value is empty |

use schemas::{ClickKey, EventId, UnixMillis};
use sha2::{Digest, Sha256};

pub const CLICK_LIVE: u8 = b'c';
pub const CLICK_TEST: u8 = b'C';
pub const DETAILS: u8 = b'd';
pub const COUNTER: u8 = b'k';
pub const MEMBER: u8 = b'm';
pub const SEEN: u8 = b'p';
pub const RETRY: u8 = b'q';
pub const TRANSACTION: u8 = b'r';
pub const SCOPE: u8 = b's';
pub const TIMER: u8 = b't';

/// First bytes of the keys that begin with the time at which an input was received: new ones mostly
/// come behind all others.
pub const ASCENDING: [u8; 1] = [SEEN];

const CONTEXT_SUFFIX: u8 = 0;
const REPEATABLE_SUFFIX: u8 = 1;

/// Bytes of a point in time in a key: milliseconds in 48 bits, which lasts to the year 10889.
const TIME_BYTES: usize = 6;
const TIME_MAX: i64 = (1 << 48) - 1;

/// A click in one of two lanes: what tests do never meets what counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClickSlot(pub [u8; 15]);

impl ClickSlot {
    pub fn new(click: ClickKey, test: bool) -> Self {
        let mut bytes = [0; 15];
        bytes[0] = if test { CLICK_TEST } else { CLICK_LIVE };
        bytes[1..].copy_from_slice(&click.0);
        Self(bytes)
    }

    pub fn click(self) -> ClickKey {
        let mut key = [0; 14];
        key.copy_from_slice(&self.0[1..]);
        ClickKey(key)
    }

    pub fn is_test(self) -> bool {
        self.0[0] == CLICK_TEST
    }
}

/// An event within an offer: 48 bits of its ID. Two of the at most 200 events of an offer share
/// them once in 10^10 offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventHash(pub [u8; 6]);

impl EventHash {
    pub fn of(event: &EventId) -> Self {
        // FNV-1a: fixed for ever, and cheap enough to compute for every event of a level.
        const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0000_0100_0000_01b3;
        let hash = event
            .as_str()
            .bytes()
            .fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
        let folded = (hash ^ (hash >> 48)).to_be_bytes();
        let mut bytes = [0; 6];
        bytes.copy_from_slice(&folded[2..]);
        Self(bytes)
    }
}

/// What tells one conversion of a repeatable event from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unique(pub [u8; 16]);

/// A publisher's member below a root offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberHash(pub [u8; 10]);

/// SHA-256 over parts with their lengths, so that no two lists of parts look alike; cut to `N`.
pub fn hash<const N: usize>(label: &str, parts: &[&[u8]]) -> [u8; N] {
    hash_parts(label, parts.iter().copied())
}

/// [`hash`] of parts that come one by one.
pub fn hash_parts<'a, const N: usize>(
    label: &'a str,
    parts: impl Iterator<Item = &'a [u8]>,
) -> [u8; N] {
    const { assert!(N <= 32) };
    let mut digest = Sha256::new();
    for part in std::iter::once(label.as_bytes()).chain(parts) {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let full: [u8; 32] = digest.finalize().into();
    let mut cut = [0; N];
    cut.copy_from_slice(&full[..N]);
    cut
}

/// The nearest time that a key can hold.
pub fn representable(time: UnixMillis) -> UnixMillis {
    UnixMillis(time.0.clamp(0, TIME_MAX))
}

pub fn put_time(key: &mut Vec<u8>, time: UnixMillis) {
    let bytes = representable(time).0.to_be_bytes();
    key.extend_from_slice(&bytes[8 - TIME_BYTES..]);
}

/// A tag and a time: where the keys of a kind that begin with a time go on from.
pub fn tagged_time(tag: u8, time: UnixMillis) -> [u8; 1 + TIME_BYTES] {
    let bytes = representable(time).0.to_be_bytes();
    let mut key = [tag; 1 + TIME_BYTES];
    key[1..].copy_from_slice(&bytes[8 - TIME_BYTES..]);
    key
}

/// The time at the start of `bytes`, and what follows it.
pub fn split_time(bytes: &[u8]) -> Option<(UnixMillis, &[u8])> {
    let (time, rest) = bytes.split_first_chunk::<TIME_BYTES>()?;
    let mut wide = [0; 8];
    wide[8 - TIME_BYTES..].copy_from_slice(time);
    Some((UnixMillis(i64::from_be_bytes(wide)), rest))
}

/// Starts a key in a buffer that is used again and again.
fn start(key: &mut Vec<u8>, tag: u8) -> &mut Vec<u8> {
    key.clear();
    key.push(tag);
    key
}

pub fn click(key: &mut Vec<u8>, slot: ClickSlot) {
    key.clear();
    key.extend_from_slice(&slot.0);
}

pub fn context(key: &mut Vec<u8>, slot: ClickSlot) {
    click(key, slot);
    key.push(CONTEXT_SUFFIX);
}

pub fn repeatable(key: &mut Vec<u8>, slot: ClickSlot, event: EventHash, unique: Unique) {
    repeatables(key, slot);
    key.extend_from_slice(&event.0);
    key.extend_from_slice(&unique.0);
}

/// What the keys of all repeatable conversions of a click begin with.
pub fn repeatables(key: &mut Vec<u8>, slot: ClickSlot) {
    click(key, slot);
    key.push(REPEATABLE_SUFFIX);
}

/// The first key behind all of them.
pub fn repeatables_end(slot: ClickSlot) -> [u8; 16] {
    let mut end = [REPEATABLE_SUFFIX + 1; 16];
    end[..15].copy_from_slice(&slot.0);
    end
}

/// Takes a [`repeatable`] key apart.
pub fn split_repeatable(key: &[u8]) -> Option<(EventHash, Unique)> {
    let (event, unique) = key.get(16..)?.split_first_chunk::<6>()?;
    Some((EventHash(*event), Unique(unique.try_into().ok()?)))
}

pub fn details(key: &mut Vec<u8>, click: ClickKey) {
    start(key, DETAILS).extend_from_slice(&click.0);
}

pub fn member(key: &mut Vec<u8>, member: MemberHash, event: EventHash) {
    start(key, MEMBER).extend_from_slice(&member.0);
    key.extend_from_slice(&event.0);
}

pub fn seen(key: &mut Vec<u8>, received_at: UnixMillis, id: &[u8; 16]) {
    put_time(start(key, SEEN), received_at);
    // The first 48 bits of a UUIDv7 are its time again.
    key.extend_from_slice(&id[6..]);
}

pub fn retry(key: &mut Vec<u8>, hash: [u8; 16]) {
    start(key, RETRY).extend_from_slice(&hash);
}

pub fn transaction(key: &mut Vec<u8>, unique: Unique) {
    start(key, TRANSACTION).extend_from_slice(&unique.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_sort_and_come_back() {
        let mut last = Vec::new();
        for time in [0, 1, 255, 256, 1_700_000_000_000, TIME_MAX] {
            let mut key = Vec::new();
            put_time(&mut key, UnixMillis(time));
            assert!(last < key);
            assert_eq!(split_time(&key), Some((UnixMillis(time), &[][..])));
            last = key;
        }
        let mut beyond = Vec::new();
        put_time(&mut beyond, UnixMillis(i64::MAX));
        assert_eq!(beyond, last);
    }

    #[test]
    fn event_hashes_never_change() {
        let of = |id: &str| EventHash::of(&EventId::new(id).unwrap()).0;
        assert_ne!(of("Install"), of("install"));
        assert_eq!(of("Install"), EXPECTED_INSTALL);
    }

    /// In every stored state: a change of it would orphan them.
    const EXPECTED_INSTALL: [u8; 6] = [21, 60, 75, 12, 127, 54];

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(hash::<16>("x", &[b"ab", b"c"]), hash::<16>("x", &[b"a", b"bc"]));
        assert_ne!(hash::<16>("x", &[b"a"]), hash::<16>("xa", &[]));
    }

    #[test]
    fn repeatable_keys_come_apart() {
        let slot = ClickSlot::new(ClickKey::new(UnixMillis(5), [7; 8]), true);
        let (event, unique) = (EventHash([1; 6]), Unique([2; 16]));
        let mut key = Vec::new();
        repeatable(&mut key, slot, event, unique);
        assert_eq!(split_repeatable(&key), Some((event, unique)));
        assert_eq!(split_repeatable(&key[1..]), None);
        assert!(slot.is_test());
        assert_eq!(slot.click().clicked_at(), UnixMillis(5));
    }
}
