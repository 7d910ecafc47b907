//! The deliverer's state: a sorted map of bytes per partition. Numbers are big-endian, so that
//! keys sort as their numbers do; ids hold no zero byte, so one ends them.
//!
//! | key | value |
//! | --- | --- |
//! | `c` conversion | last status (1 byte), revision u32, time i64: what publishers know of it |
//! | `x` time i64, conversion | empty: when that may be forgotten |
//! | `m` destination 0 conversion 0 revision u32 | a [`super::queue::Waiting`] as JSON |
//! | `t` destination 0 due i64, conversion 0 revision u32 | empty: the timer of a lane's first |
//! | `o` created i64, destination 0 conversion 0 revision u32 | empty: the oldest come first |
//! | `d` destination | the fingerprint of the postback that answered 410 |
//!
//! The deliveries of one conversion to one destination are a lane: they go out in the order of
//! revisions, so only the first of a lane has a timer.

use schemas::{ConversionId, Destination, OfferId, UnixMillis};

const END: u8 = 0;

/// Which delivery: it has one place in the state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub destination: Destination,
    pub conversion: String,
    pub revision: u32,
}

fn key(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = vec![tag];
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

/// The first key after all that begin with this one.
#[must_use]
pub fn after(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}

fn time(at: UnixMillis) -> [u8; 8] {
    at.0.max(0).to_be_bytes()
}

#[must_use]
pub fn told(conversion: &str) -> Vec<u8> {
    key(b'c', &[conversion.as_bytes()])
}

#[must_use]
pub fn told_expiry(at: UnixMillis, conversion: &str) -> Vec<u8> {
    key(b'x', &[&time(at), conversion.as_bytes()])
}

/// All expiries before a time.
#[must_use]
pub fn told_expiries(before: UnixMillis) -> (Vec<u8>, Vec<u8>) {
    (vec![b'x'], key(b'x', &[&time(before)]))
}

/// The conversion of an expiry.
#[must_use]
pub fn conversion_of_expiry(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.get(9..)?).ok()
}

impl Place {
    fn tail(&self) -> Vec<u8> {
        let mut tail = self.conversion.as_bytes().to_vec();
        tail.push(END);
        tail.extend_from_slice(&self.revision.to_be_bytes());
        tail
    }

    fn destination(&self) -> Vec<u8> {
        destination_bytes(&self.destination)
    }

    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        key(b'm', &[&self.destination(), &self.tail()])
    }

    /// Everything of the lane.
    #[must_use]
    pub fn lane(&self) -> (Vec<u8>, Vec<u8>) {
        let from = key(b'm', &[&self.destination(), self.conversion.as_bytes(), &[END]]);
        let end = after(&from);
        (from, end)
    }

    #[must_use]
    pub fn timer(&self, due: UnixMillis) -> Vec<u8> {
        key(b't', &[&self.destination(), &time(due), &self.tail()])
    }

    #[must_use]
    pub fn age(&self, created: UnixMillis) -> Vec<u8> {
        key(b'o', &[&time(created), &self.destination(), &self.tail()])
    }

    fn parse(destination: &[u8], tail: &[u8]) -> Option<Self> {
        let (conversion, revision) = tail.split_at_checked(tail.len().checked_sub(5)?)?;
        Some(Self {
            destination: std::str::from_utf8(destination).ok()?.parse().ok()?,
            conversion: std::str::from_utf8(conversion).ok()?.to_owned(),
            revision: u32::from_be_bytes(revision.get(1..)?.try_into().ok()?),
        })
    }

    /// The place and the due time of a timer.
    #[must_use]
    pub fn of_timer(key: &[u8]) -> Option<(Self, UnixMillis)> {
        let rest = key.get(1..)?;
        let ends = rest.iter().position(|byte| *byte == END)?;
        let (destination, rest) = (rest.get(..ends)?, rest.get(ends + 1..)?);
        let due = i64::from_be_bytes(rest.get(..8)?.try_into().ok()?);
        Some((Self::parse(destination, rest.get(8..)?)?, UnixMillis(due)))
    }

    /// The place and the time of creation of an age.
    #[must_use]
    pub fn of_age(key: &[u8]) -> Option<(Self, UnixMillis)> {
        let created = i64::from_be_bytes(key.get(1..9)?.try_into().ok()?);
        let rest = key.get(9..)?;
        let ends = rest.iter().position(|byte| *byte == END)?;
        Some((Self::parse(rest.get(..ends)?, rest.get(ends + 1..)?)?, UnixMillis(created)))
    }
}

fn destination_bytes(destination: &Destination) -> Vec<u8> {
    let mut bytes = destination.to_string().into_bytes();
    bytes.push(END);
    bytes
}

/// The timers of a destination that are due up to and with a time.
#[must_use]
pub fn timers(destination: &Destination, until: UnixMillis) -> (Vec<u8>, Vec<u8>) {
    let bytes = destination_bytes(destination);
    let end = key(b't', &[&bytes, &time(until.plus_ms(1))]);
    (key(b't', &[&bytes]), end)
}

/// Every timer of a destination.
#[must_use]
pub fn all_timers(destination: &Destination) -> (Vec<u8>, Vec<u8>) {
    let from = key(b't', &[&destination_bytes(destination)]);
    let end = after(&from);
    (from, end)
}

/// The timers of all destinations.
#[must_use]
pub fn every_timer() -> (Vec<u8>, Vec<u8>) {
    (vec![b't'], vec![b't' + 1])
}

/// All deliveries, the oldest first, that were created before a time.
#[must_use]
pub fn ages(before: UnixMillis) -> (Vec<u8>, Vec<u8>) {
    (vec![b'o'], key(b'o', &[&time(before)]))
}

#[must_use]
pub fn disabled(destination: &Destination) -> Vec<u8> {
    key(b'd', &[destination.to_string().as_bytes()])
}

/// Everything that is disabled.
#[must_use]
pub fn every_disabled() -> (Vec<u8>, Vec<u8>) {
    (vec![b'd'], vec![b'd' + 1])
}

/// The destination of a key of [`disabled`].
#[must_use]
pub fn destination_of_disabled(key: &[u8]) -> Option<Destination> {
    std::str::from_utf8(key.get(1..)?).ok()?.parse().ok()
}

/// Whose an entry is, for moving state to another number of partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// Of this root offer.
    Of(OfferId),
    /// True in every partition.
    Everybody,
    Unknown,
}

/// Whose the entry of a key is.
#[must_use]
pub fn whose(key: &[u8]) -> Whose {
    let of = |conversion: Option<&str>| {
        let id = conversion.and_then(|text| ConversionId::new(text).ok());
        id.map_or(Whose::Unknown, |id| Whose::Of(id.root_offer()))
    };
    let of_place = |place: Option<Place>| of(place.as_ref().map(|it| it.conversion.as_str()));
    match key.first() {
        Some(b'c') => of(std::str::from_utf8(&key[1..]).ok()),
        Some(b'x') => of(conversion_of_expiry(key)),
        Some(b'm') => {
            let ends = key.iter().position(|byte| *byte == END);
            of_place(ends.and_then(|ends| Place::parse(&key[1..ends], &key[ends + 1..])))
        }
        Some(b't') => of_place(Place::of_timer(key).map(|(place, _)| place)),
        Some(b'o') => of_place(Place::of_age(key).map(|(place, _)| place)),
        Some(&(b'd' | END)) => Whose::Everybody,
        _ => Whose::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(destination: &str, revision: u32) -> Place {
        let (destination, conversion) = (destination.parse().unwrap(), "offer.0".to_owned());
        Place { destination, conversion, revision }
    }

    #[test]
    fn every_kind_of_key_says_whose_it_is() {
        let conversion = "pets.00000000000000000000000000".to_owned();
        let destination: Destination = "publisher/acme/main".parse().unwrap();
        let at = UnixMillis(1_234);
        let it = Place { destination: destination.clone(), conversion, revision: 7 };
        let id = it.conversion.as_str();
        let own = [it.message(), it.timer(at), it.age(at), told(id), told_expiry(at, id)];
        for key in own {
            assert_eq!(whose(&key), Whose::Of(OfferId::new("pets").unwrap()), "{key:?}");
        }
        assert_eq!(whose(&disabled(&destination)), Whose::Everybody);
        for key in [&b"?"[..], b"", b"c", b"x", b"m", b"t123"] {
            assert_eq!(whose(key), Whose::Unknown, "{key:?}");
        }
    }

    #[test]
    fn keys_read_back_and_sort() {
        let it = place("publisher/acme/main", 7);
        let at = UnixMillis(1_234);
        assert_eq!(Place::of_timer(&it.timer(at)), Some((it.clone(), at)));
        assert_eq!(Place::of_age(&it.age(at)), Some((it.clone(), at)));
        assert!(it.timer(UnixMillis(9)) < it.timer(UnixMillis(1_000)));
        let (from, end) = timers(&it.destination, at);
        assert!(from < it.timer(UnixMillis(0)) && it.timer(at) < end);
        assert!(it.timer(UnixMillis(1_235)) >= end);
        let (from, end) = it.lane();
        assert!(from < it.message() && place("publisher/acme/main", u32::MAX).message() < end);
        let other = place("publisher/acme/main2", 1);
        assert!(!(from..end).contains(&other.message()), "a longer name is another destination");
        assert_eq!(after(b"a\xff\xff"), b"b");
        let key = disabled(&it.destination);
        assert_eq!(destination_of_disabled(&key), Some(it.destination));
    }
}
