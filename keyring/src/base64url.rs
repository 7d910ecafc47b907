//! base64url without padding. Decoding takes the one canonical form only, so that no second text
//! stands for the same bytes.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Characters that `bytes` bytes take.
pub const fn chars_of(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

/// Bytes that fit into `chars` characters.
pub const fn bytes_in(chars: usize) -> usize {
    chars * 3 / 4
}

pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// None for padding, other alphabets, white space, and bits set after the last byte.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_form_is_read() {
        assert_eq!(decode(&encode(b"\xff\xfe\xfd\xfc")).unwrap(), b"\xff\xfe\xfd\xfc");
        for wrong in ["AA==", "A+/A", " AAAA", "AAAA\n", "AB", "A", "AAAAA"] {
            assert!(decode(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn lengths_agree_with_the_encoder() {
        for bytes in 0..200 {
            let chars = encode(&vec![0; bytes]).len();
            assert_eq!(chars_of(bytes), chars);
            assert_eq!(bytes_in(chars), bytes);
        }
    }
}
