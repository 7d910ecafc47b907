//! What authenticates an advertiser's postbacks: three path segments and a signature, derived and
//! never stored.

use crate::base64url;
use crate::derive::{KEY_BYTES, derive};
use schemas::{AdvertiserId, TenantId};
use std::fmt;
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroize;

/// Characters of the three path segments.
pub const SEGMENT_CHARS: [usize; 3] = [12, 22, 18];
/// Characters of the signature: a whole HMAC-SHA256.
pub const SIGNATURE_CHARS: usize = base64url::chars_of(KEY_BYTES);
const _: () = assert!(SIGNATURE_CHARS == 43);

const SEGMENT_LABELS: [&str; 3] = ["segment-1", "segment-2", "segment-3"];
const SIGNATURE_LABEL: &str = "signature";

/// The postback credentials of one advertiser, of one version, under one master key. Compared in
/// constant time, wiped when dropped; `Debug` shows nothing of them.
#[derive(Clone)]
pub struct Credentials {
    segments: [String; 3],
    signature: String,
}

impl Credentials {
    pub(crate) fn derive(
        master: &[u8; KEY_BYTES],
        tenant: &TenantId,
        advertiser: &AdvertiserId,
        version: u32,
    ) -> Self {
        let labelled = |label: &str, chars: usize| {
            let parts = [
                tenant.as_str().as_bytes(),
                advertiser.as_str().as_bytes(),
                &version.to_be_bytes(),
                label.as_bytes(),
            ];
            let mut text = base64url::encode(&*derive(master, &parts));
            text.truncate(chars);
            text
        };
        Self {
            segments: [0, 1, 2].map(|n| labelled(SEGMENT_LABELS[n], SEGMENT_CHARS[n])),
            signature: labelled(SIGNATURE_LABEL, SIGNATURE_CHARS),
        }
    }

    /// The path segments, in their order.
    #[must_use]
    pub fn segments(&self) -> [&str; 3] {
        [&self.segments[0], &self.segments[1], &self.segments[2]]
    }

    /// The `signature` parameter.
    #[must_use]
    pub fn signature(&self) -> &str {
        &self.signature
    }

    /// Whether all three segments are these. Takes the same time wherever they differ.
    #[must_use]
    pub fn segments_match(&self, given: [&str; 3]) -> bool {
        let pairs = self.segments.iter().zip(given);
        let same = pairs.fold(Choice::from(1), |same, (ours, theirs)| {
            same & ours.as_bytes().ct_eq(theirs.as_bytes())
        });
        same.into()
    }

    /// Whether the signature is this one. Takes the same time wherever it differs.
    #[must_use]
    pub fn signature_matches(&self, given: &str) -> bool {
        self.signature.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(redacted)")
    }
}

impl Drop for Credentials {
    fn drop(&mut self) {
        self.segments.iter_mut().for_each(Zeroize::zeroize);
        self.signature.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(tenant: &str, advertiser: &str, version: u32, master: u8) -> Credentials {
        let (tenant, advertiser) =
            (TenantId::new(tenant).unwrap(), AdvertiserId::new(advertiser).unwrap());
        Credentials::derive(&[master; KEY_BYTES], &tenant, &advertiser, version)
    }

    #[test]
    fn lengths_and_alphabet() {
        let it = of("brownboots", "brain-games", 1, 1);
        assert_eq!(it.segments().map(str::len), SEGMENT_CHARS);
        assert_eq!(it.signature().len(), SIGNATURE_CHARS);
        let all = it.segments().concat() + it.signature();
        assert!(all.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    }

    #[test]
    fn every_input_counts() {
        let all = [
            of("brownboots", "brain-games", 1, 1),
            of("brownboot", "sbrain-games", 1, 1),
            of("brownboots", "brain-games", 2, 1),
            of("brownboots", "brain-games", 1, 2),
        ];
        let mut seen = std::collections::BTreeSet::new();
        for it in &all {
            for text in it.segments().into_iter().chain([it.signature()]) {
                assert!(seen.insert(text.to_owned()));
            }
        }
    }

    #[test]
    fn only_the_whole_thing_matches() {
        let it = of("brownboots", "brain-games", 1, 1);
        assert!(it.segments_match(it.segments()) && it.signature_matches(it.signature()));
        for part in 0..3 {
            let mut segments = it.segments();
            for wrong in ["", &segments[part][1..], &format!("{}A", segments[part])] {
                segments[part] = wrong;
                assert!(!it.segments_match(segments));
            }
        }
        assert!(!it.signature_matches(""));
        assert!(!it.signature_matches(&it.signature()[1..]));
        assert!(!it.signature_matches(&it.signature().to_lowercase()));
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", of("t", "a", 1, 1)), "Credentials(redacted)");
    }
}
