//! Three characters of `a-z0-9-_` and a separator in two bytes, so that two ids of 32 characters
//! and everything else fit into a token.

const ALPHABET: &[u8; 40] = b"\0abcdefghijklmnopqrstuvwxyz0123456789-_.";
const BASE: u16 = ALPHABET.len() as u16;
const CHARS_PER_WORD: usize = 3;
const _: () = assert!((BASE as u32).pow(CHARS_PER_WORD as u32) <= 1 << 16);

/// Bytes for `chars` characters.
pub const fn packed_bytes(chars: usize) -> usize {
    chars.div_ceil(CHARS_PER_WORD) * 2
}

/// Appends the packed text; none when a character has no code. NUL pads the last word.
pub fn pack(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    for chunk in text.chunks(CHARS_PER_WORD) {
        let mut word = 0;
        for index in 0..CHARS_PER_WORD {
            let code = match chunk.get(index) {
                Some(byte) => code_of(*byte)?,
                None => 0,
            };
            word = word * BASE + code;
        }
        out.extend_from_slice(&word.to_be_bytes());
    }
    Some(())
}

/// The text of whole words, without its padding; none when a word is out of range.
pub fn unpack(packed: &[u8]) -> Option<String> {
    let (words, rest) = packed.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let mut text = String::with_capacity(words.len() * CHARS_PER_WORD);
    for word in words {
        let mut word = u16::from_be_bytes(*word);
        let mut chars = [0; CHARS_PER_WORD];
        for char in chars.iter_mut().rev() {
            *char = ALPHABET[usize::from(word % BASE)];
            word /= BASE;
        }
        if word != 0 {
            return None;
        }
        text.extend(chars.iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)));
    }
    Some(text)
}

fn code_of(byte: u8) -> Option<u16> {
    let code = match byte {
        b'a'..=b'z' => byte - b'a' + 1,
        b'0'..=b'9' => byte - b'0' + 27,
        b'-' => 37,
        b'_' => 38,
        b'.' => 39,
        _ => return None,
    };
    Some(u16::from(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        for text in ["", "a", "ab", "abc", "pet-the-dogs-ios.s_1", "___", "z9-._0"] {
            let mut packed = Vec::new();
            pack(text.as_bytes(), &mut packed).unwrap();
            assert_eq!(packed.len(), packed_bytes(text.len()));
            assert_eq!(unpack(&packed).unwrap(), text);
        }
        for (code, byte) in ALPHABET.iter().enumerate().skip(1) {
            assert_eq!(code_of(*byte), Some(code as u16));
        }
    }

    #[test]
    fn what_has_no_code_is_refused() {
        for text in ["A", "a b", "é", "\0"] {
            assert!(pack(text.as_bytes(), &mut Vec::new()).is_none(), "{text:?}");
        }
        assert!(unpack(&[0xff, 0xff]).is_none());
        assert!(unpack(&[0]).is_none());
    }
}
