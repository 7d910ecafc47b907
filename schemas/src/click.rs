//! A click, and what its sealed id carries.

use crate::codec::Message;
use crate::ids::{AdvertiserId, OfferId, PublisherId, ShareId, TenantId};
use crate::reason::{Flag, coded};
use crate::time::UnixMillis;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Sub-ids a tracking link may carry: `sub1` to `sub15`.
pub const SUB_ID_COUNT: usize = 15;
/// Longest sub-id in bytes; a longer one is cut at a character boundary by the ingester.
pub const SUB_ID_BYTES_MAX: usize = 512;

coded! {
    /// The device platform of a click.
    Platform {
        Ios = "ios", "iOS";
        Android = "android", "Android";
        Web = "web", "web";
    }
}

/// The sub-ids of a click, byte for byte as the publisher gave them; index 0 is `sub1`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SubIds(pub [Option<Arc<str>>; SUB_ID_COUNT]);

impl SubIds {
    /// `sub1` is `get(1)`.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<&str> {
        self.0.get(number.checked_sub(1)?)?.as_deref()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }
}

/// What makes a click id unique: its time and 64 random bits. Inside the sealed token, so it
/// cannot be made up. As bytes it sorts by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClickKey(pub [u8; 14]);

impl ClickKey {
    /// `clicked_at` is kept in 48 bits: times before 1970 count as 1970.
    #[must_use]
    pub fn new(clicked_at: UnixMillis, random: [u8; 8]) -> Self {
        let millis = clicked_at.0.clamp(0, (1 << 48) - 1).to_be_bytes();
        let mut key = [0; 14];
        key[..6].copy_from_slice(&millis[2..]);
        key[6..].copy_from_slice(&random);
        Self(key)
    }

    #[must_use]
    pub fn clicked_at(self) -> UnixMillis {
        let mut millis = [0; 8];
        millis[2..].copy_from_slice(&self.0[..6]);
        UnixMillis(i64::from_be_bytes(millis))
    }
}

impl fmt::Debug for ClickKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// What a sealed `gk_click_id` says about its click: all that the rules need of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedClick {
    pub key: ClickKey,
    pub root_offer: OfferId,
    pub share: ShareId,
    /// The configuration version at click time: it fixes the offer's and the share's versions.
    pub config_version: u64,
    /// ISO 3166 alpha-2, upper case; none when the edge did not say.
    pub country: Option<[u8; 2]>,
    pub platform: Option<Platform>,
    /// First 8 bytes of a keyed hash of the publisher's member id, when the link named one.
    pub member: Option<[u8; 8]>,
    /// Minted by a test link: touches no cap, budget, statement or live publisher.
    pub test: bool,
    /// The sub-ids that fitted; when `details` is set the whole set is in a click-details record.
    pub subs: SubIds,
    /// Some sub-ids did not fit and precede any postback in the partition as click details.
    pub details: bool,
}

impl ResolvedClick {
    #[must_use]
    pub fn clicked_at(&self) -> UnixMillis {
        self.key.clicked_at()
    }

    #[must_use]
    pub fn country(&self) -> Option<&str> {
        self.country.as_ref().and_then(|code| std::str::from_utf8(code).ok())
    }
}

/// One click as the analytics see it: a row of the table `clicks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Click {
    pub click_id: String,
    pub tenant: TenantId,
    pub advertiser_id: AdvertiserId,
    pub offer_id: OfferId,
    pub root_offer_id: OfferId,
    pub share_id: ShareId,
    pub publisher_id: PublisherId,
    pub clicked_at: UnixMillis,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "SubIds::is_empty")]
    pub subs: SubIds,
    pub offer_version: u64,
    pub test: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<Flag>,
}

impl Message for Click {
    const KIND: &'static str = "click";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_time_and_keep_it() {
        let early = ClickKey::new(UnixMillis(1), [255; 8]);
        let late = ClickKey::new(UnixMillis(256), [0; 8]);
        assert!(early < late);
        assert_eq!(late.clicked_at(), UnixMillis(256));
        assert_eq!(ClickKey::new(UnixMillis(-5), [0; 8]).clicked_at(), UnixMillis(0));
    }

    #[test]
    fn sub_ids_are_numbered_from_one() {
        let mut subs = SubIds::default();
        subs.0[0] = Some("x".into());
        assert_eq!(
            (subs.get(0), subs.get(1), subs.get(2), subs.get(99)),
            (None, Some("x"), None, None)
        );
    }
}
