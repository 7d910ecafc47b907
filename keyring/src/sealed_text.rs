//! Short secrets of others that are kept in the configuration, such as the value of a header that a
//! publisher wants: sealed with AES-256-SIV under a key of their own, and bound to where they
//! belong, so that moving one elsewhere opens nothing.
//!
//! `sealed:1:<key id>:<base64url of tag and text>`. The same text at the same place under the same
//! key is sealed alike, so applying a document again changes nothing.

use crate::base64url;
use crate::derive::{KEY_BYTES, Key, derive};
use aes_siv::KeyInit;
use aes_siv::siv::Aes256Siv;
use zeroize::Zeroizing;

const PREFIX: &str = "sealed:1:";

/// Whether a text has the form of a sealed one.
#[must_use]
pub fn is_sealed(text: &str) -> bool {
    parts(text).is_some()
}

fn parts(text: &str) -> Option<(u8, &str)> {
    let (id, sealed) = text.strip_prefix(PREFIX)?.split_once(':')?;
    Some((id.parse().ok()?, sealed))
}

/// The key for texts of one master key.
pub struct TextKey {
    key_id: u8,
    halves: [Key; 2],
}

impl TextKey {
    pub fn derive(key_id: u8, master: &[u8; KEY_BYTES]) -> Self {
        let half = |label: &str| derive(master, &[label.as_bytes()]);
        Self { key_id, halves: [half("sealed-text-mac"), half("sealed-text-encryption")] }
    }

    fn cipher(&self) -> Aes256Siv {
        let mut key = Zeroizing::new([0; 2 * KEY_BYTES]);
        key[..KEY_BYTES].copy_from_slice(&*self.halves[0]);
        key[KEY_BYTES..].copy_from_slice(&*self.halves[1]);
        Aes256Siv::new((&*key).into())
    }

    pub fn seal(&self, place: [&str; 2], text: &str) -> String {
        let sealed = self
            .cipher()
            .encrypt(place.map(str::as_bytes), text.as_bytes())
            .expect("two short headers and a short text are within the mode's limits");
        format!("{PREFIX}{}:{}", self.key_id, base64url::encode(&sealed))
    }

    fn open(&self, place: [&str; 2], sealed: &str) -> Option<Zeroizing<String>> {
        let bytes = base64url::decode(sealed)?;
        let text = self.cipher().decrypt(place.map(str::as_bytes), &bytes).ok()?;
        String::from_utf8(text).ok().map(Zeroizing::new)
    }
}

/// Opens a sealed text with the key it names; none when it was altered, belongs elsewhere, or its
/// key is not there.
pub fn open<'k>(
    place: [&str; 2],
    text: &str,
    key: impl FnOnce(u8) -> Option<&'k TextKey>,
) -> Option<Zeroizing<String>> {
    let (id, sealed) = parts(text)?;
    key(id)?.open(place, sealed)
}

#[cfg(test)]
mod tests {
    use crate::{Keyring, is_sealed};
    use schemas::UnixMillis;

    const A: &str = "1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    const B: &str = "2 _wECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8 2026-01-31T12:00:00Z";
    const PLACE: [&str; 2] = ["publisher/acme", "x-key"];

    #[test]
    fn opens_at_its_place_only() {
        let keyring = Keyring::parse(A).unwrap();
        let sealed = keyring.seal_text(PLACE, "canary", UnixMillis(0)).unwrap();
        assert!(is_sealed(&sealed) && !sealed.contains("canary"), "{sealed}");
        assert_eq!(sealed, keyring.seal_text(PLACE, "canary", UnixMillis(0)).unwrap());
        assert_eq!(keyring.open_text(PLACE, &sealed).unwrap().as_str(), "canary");
        for place in [["publisher/acme2", "x-key"], ["publisher/acme", "x-other"], ["", ""]] {
            assert!(keyring.open_text(place, &sealed).is_none(), "{place:?}");
        }
        let last = sealed.len() - 1;
        for altered in [&sealed[..last], "canary", "", "sealed:1:1:", "sealed:1:9:AAAA"] {
            assert!(keyring.open_text(PLACE, altered).is_none(), "{altered}");
        }
        assert!(!is_sealed("canary") && !is_sealed("sealed:1:x:AAAA"));
    }

    #[test]
    fn a_rotation_opens_what_was_sealed_before() {
        let both = Keyring::parse(&format!("{A}\n{B}")).unwrap();
        let old = Keyring::parse(A).unwrap().seal_text(PLACE, "t", UnixMillis(0)).unwrap();
        assert_eq!(both.open_text(PLACE, &old).unwrap().as_str(), "t");
        assert_eq!(both.seal_text(PLACE, "t", UnixMillis(0)).unwrap(), old, "not before mint-from");
        let new = both.seal_text(PLACE, "t", UnixMillis(2_000_000_000_000)).unwrap();
        assert!(new.starts_with("sealed:1:2:"), "{new}");
        assert!(Keyring::parse(A).unwrap().open_text(PLACE, &new).is_none());
    }
}
