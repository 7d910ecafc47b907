//! Keys and credentials from a master key: HMAC-SHA256 over length-prefixed parts, so that no two
//! lists of parts are the same message.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

pub const KEY_BYTES: usize = 32;

/// A secret that is wiped when it is dropped.
pub type Key = Zeroizing<[u8; KEY_BYTES]>;

/// The HMAC of `parts` under `key`.
pub fn derive(key: &[u8; KEY_BYTES], parts: &[&[u8]]) -> Key {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    Zeroizing::new(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        let key = [7; KEY_BYTES];
        let lists: [&[&[u8]]; 6] =
            [&[], &[b""], &[b"ab"], &[b"a", b"b"], &[b"", b"ab"], &[b"ab", b""]];
        let derived: std::collections::BTreeSet<_> =
            lists.iter().map(|parts| *derive(&key, parts)).collect();
        assert_eq!(derived.len(), lists.len());
    }

    /// Computed independently: Python's hmac over the length-prefixed parts.
    #[test]
    fn never_changes() {
        let derived = derive(&[1; KEY_BYTES], &[b"tenant", b"advertiser", &[0, 0, 0, 1], b"label"]);
        assert_eq!(
            crate::base64url::encode(&*derived),
            "DukYu6hNcss4dilm8cYsrl3SqG_J71_7vfupUk3LSLc"
        );
    }
}
