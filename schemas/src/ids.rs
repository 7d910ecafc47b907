//! Identities. Configured ids are short slugs, unique over the installation, because they travel
//! inside click tokens and URLs; event IDs are the advertiser's own words, compared byte for byte.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use uuid::Uuid;

/// Longest configured id in bytes; a root offer and a share must fit into a click token.
pub const ID_BYTES_MAX: usize = 32;
/// Longest event ID in bytes.
pub const EVENT_ID_BYTES_MAX: usize = 255;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error(
        "{0:?} is not an id: use 1 to {ID_BYTES_MAX} of a-z, 0-9, '-' and '_', starting with a letter or digit"
    )]
    NotASlug(String),
    #[error("an event ID has 1 to {EVENT_ID_BYTES_MAX} bytes and no control characters")]
    NotAnEventId,
    #[error("{0:?} is not a conversion id (<root offer>.<26 characters>)")]
    NotAConversionId(String),
    #[error("{0:?} is not a postback id (a UUID)")]
    NotAPostbackId(String),
}

fn is_slug(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=ID_BYTES_MAX).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
}

macro_rules! slug_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "Arc<str>", into = "Arc<str>")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes a slug: 1 to 32 of `a-z`, `0-9`, `-`, `_`, starting with a letter or digit.
            pub fn new(text: &str) -> Result<Self, IdError> {
                if is_slug(text) {
                    Ok(Self(text.into()))
                } else {
                    // Cut, because the text can come from anywhere and ends up in an answer.
                    Err(IdError::NotASlug(text.chars().take(64).collect()))
                }
            }

            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<Arc<str>> for $name {
            type Error = IdError;
            fn try_from(text: Arc<str>) -> Result<Self, IdError> {
                if is_slug(&text) { Ok(Self(text)) } else { Self::new(&text) }
            }
        }

        impl From<$name> for Arc<str> {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

slug_id!(
    /// A customer of the system, with its own subdomain. Lower case; hosts are folded before.
    TenantId
);
slug_id!(AdvertiserId);
slug_id!(PublisherId);
slug_id!(OfferId);
slug_id!(
    /// A share's code, as it stands in the tracking link `/c/<share code>`.
    ShareId
);

/// An event's ID, exactly as the advertiser sends it: case, spaces and all.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Arc<str>", into = "Arc<str>")]
pub struct EventId(Arc<str>);

impl EventId {
    pub fn new(text: &str) -> Result<Self, IdError> {
        if text.is_empty() || text.len() > EVENT_ID_BYTES_MAX || text.chars().any(char::is_control)
        {
            return Err(IdError::NotAnEventId);
        }
        Ok(Self(text.into()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<Arc<str>> for EventId {
    type Error = IdError;
    fn try_from(text: Arc<str>) -> Result<Self, IdError> {
        Self::new(&text)
    }
}

impl From<EventId> for Arc<str> {
    fn from(id: EventId) -> Self {
        id.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A postback's identity everywhere: a UUIDv7 minted by the ingester, so ordered by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PostbackId(pub Uuid);

impl std::str::FromStr for PostbackId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Uuid::parse_str(text)
            .map(Self)
            .map_err(|_| IdError::NotAPostbackId(text.chars().take(64).collect()))
    }
}

impl fmt::Display for PostbackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for PostbackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Characters of the hashed part of a conversion id: 130 bits hold a 128-bit hash.
pub const CONVERSION_HASH_CHARS: usize = 26;
const CONVERSION_ID_BYTES_MAX: usize = ID_BYTES_MAX + 1 + CONVERSION_HASH_CHARS;
const BASE32: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// For each byte whether it is one of [`BASE32`]: looking through them took a tenth of the time of
/// reading a decision.
const IS_BASE32: [bool; 256] = {
    let mut is = [false; 256];
    let mut at = 0;
    while at < BASE32.len() {
        is[BASE32[at] as usize] = true;
        at += 1;
    }
    is
};

/// One conversion through all its revisions: `<root offer>.<hash>`. The root offer is in the
/// clear so that a command about a conversion can be routed to its partition.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Arc<str>", into = "Arc<str>")]
pub struct ConversionId(Arc<str>);

impl ConversionId {
    /// Writes the id of a 128-bit identity hash below a root offer.
    #[must_use]
    pub fn from_hash(root_offer: &OfferId, hash: [u8; 16]) -> Self {
        Self(ConversionIdView { root_offer, hash }.write(&mut [0; CONVERSION_ID_BYTES_MAX]).into())
    }

    pub fn new(text: &str) -> Result<Self, IdError> {
        Self::check(text)?;
        Ok(Self(text.into()))
    }

    fn check(text: &str) -> Result<(), IdError> {
        let valid = text.split_once('.').is_some_and(|(offer, hash)| {
            is_slug(offer)
                && hash.len() == CONVERSION_HASH_CHARS
                && hash.bytes().all(|byte| IS_BASE32[usize::from(byte)])
        });
        if valid {
            return Ok(());
        }
        Err(IdError::NotAConversionId(text.chars().take(64).collect()))
    }

    /// The root offer that the id carries.
    #[must_use]
    pub fn root_offer(&self) -> OfferId {
        let offer = self.0.split_once('.').map_or("", |(offer, _)| offer);
        OfferId(offer.into())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A [`ConversionId`] that is not written out yet: the same text wherever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConversionIdView<'a> {
    pub root_offer: &'a OfferId,
    /// The identity hash.
    pub hash: [u8; 16],
}

impl ConversionIdView<'_> {
    fn write(self, text: &mut [u8; CONVERSION_ID_BYTES_MAX]) -> &str {
        let offer = self.root_offer.as_str().as_bytes();
        let length = offer.len() + 1 + CONVERSION_HASH_CHARS;
        text[..offer.len()].copy_from_slice(offer);
        text[offer.len()] = b'.';
        let mut bits = u128::from_be_bytes(self.hash);
        for digit in text[offer.len() + 1..length].iter_mut().rev() {
            *digit = BASE32[(bits & 31) as usize];
            bits >>= 5;
        }
        // A slug, a dot and digits: ASCII.
        std::str::from_utf8(&text[..length]).unwrap_or_default()
    }
}

impl From<ConversionIdView<'_>> for ConversionId {
    fn from(id: ConversionIdView<'_>) -> Self {
        Self::from_hash(id.root_offer, id.hash)
    }
}

impl fmt::Display for ConversionIdView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.write(&mut [0; CONVERSION_ID_BYTES_MAX]))
    }
}

impl Serialize for ConversionIdView<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.write(&mut [0; CONVERSION_ID_BYTES_MAX]))
    }
}

impl TryFrom<Arc<str>> for ConversionId {
    type Error = IdError;
    fn try_from(text: Arc<str>) -> Result<Self, IdError> {
        Self::check(&text)?;
        Ok(Self(text))
    }
}

impl From<ConversionId> for Arc<str> {
    fn from(id: ConversionId) -> Self {
        id.0
    }
}

impl std::str::FromStr for ConversionId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl fmt::Display for ConversionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ConversionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs() {
        for good in ["a", "brain-games", "0x_y", &"a".repeat(32)] {
            assert!(OfferId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a b", "a.b", "é", &"a".repeat(33)] {
            assert!(OfferId::new(bad).is_err(), "{bad}");
            assert!(serde_json::from_value::<OfferId>(bad.into()).is_err(), "{bad}");
        }
    }

    #[test]
    fn conversion_ids_carry_their_root_offer() {
        let offer = OfferId::new("pet-the-dogs-ios").unwrap();
        for hash in [[0; 16], [255; 16], *b"0123456789abcdef"] {
            let id = ConversionId::from_hash(&offer, hash);
            assert_eq!(ConversionId::new(id.as_str()).unwrap(), id);
            assert_eq!(id.root_offer(), offer);
        }
        for bad in ["", "a", "a.b", "A.00000000000000000000000000", "a.0000000000000000000000000u"]
        {
            assert!(ConversionId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn event_ids_are_kept_exactly() {
        assert_eq!(EventId::new("s2s_level 200").unwrap().as_str(), "s2s_level 200");
        for bad in ["", "a\nb", &"x".repeat(256)] {
            assert!(EventId::new(bad).is_err());
        }
    }
}
