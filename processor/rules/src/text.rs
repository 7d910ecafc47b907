//! A sender's transaction id: bounded, and kept in place while it is short.

use crate::keys;
use std::fmt::Write;
use std::sync::Arc;

/// Bytes of a transaction id that are kept and shown whole. Senders' ids have a few dozen; what
/// comes over HTTP can have as many as a body, and stays in the state for months.
pub const TRANSACTION_BYTES_MAX: usize = 128;
/// Bytes kept of the beginning of a longer one.
const BEGINNING_BYTES: usize = 96;
/// Stands between beginning and hash, and where the beginning ends within a character.
const CUT: char = '~';

/// Longer texts than this are allocated; a UUID has 36 bytes, a store's order number fewer.
const IN_PLACE_BYTES_MAX: usize = 38;

/// A text that lies in place as long as it is short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(Form);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    InPlace { bytes: u8, text: [u8; IN_PLACE_BYTES_MAX] },
    Shared(Arc<str>),
}

const _: () = assert!(IN_PLACE_BYTES_MAX <= u8::MAX as usize);

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        let mut place = [0; IN_PLACE_BYTES_MAX];
        match place.get_mut(..text.len()) {
            Some(start) => {
                start.copy_from_slice(text.as_bytes());
                Self(Form::InPlace { bytes: text.len() as u8, text: place })
            }
            None => Self(Form::Shared(text.into())),
        }
    }
}

/// A longer id's form is longer than any that is kept whole: no id is the form of another.
const _: () = assert!(BEGINNING_BYTES + 1 + 32 > TRANSACTION_BYTES_MAX);

impl Text {
    /// A transaction id as it is kept, compared and shown: one of more than
    /// [`TRANSACTION_BYTES_MAX`] bytes is its beginning and 128 bits of its hash.
    pub fn transaction(id: &str) -> Self {
        if id.len() <= TRANSACTION_BYTES_MAX {
            return Self::from(id);
        }
        let end = (0..=BEGINNING_BYTES).rev().find(|end| id.is_char_boundary(*end)).unwrap_or(0);
        let mut form = id[..end].to_owned();
        form.extend(std::iter::repeat_n(CUT, BEGINNING_BYTES + 1 - end));
        let hash: [u8; 16] = keys::hash("a long transaction", &[id.as_bytes()]);
        let _ = write!(form, "{:032x}", u128::from_be_bytes(hash));
        Self::from(form.as_str())
    }

    pub fn as_str(&self) -> &str {
        match &self.0 {
            // It was a text when it was put here, and is cut nowhere.
            Form::InPlace { bytes, text } => {
                std::str::from_utf8(&text[..usize::from(*bytes)]).unwrap_or_default()
            }
            Form::Shared(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_transactions_are_cut_and_stay_apart() {
        let whole = ["T-1".to_owned(), "x".repeat(TRANSACTION_BYTES_MAX)];
        for id in &whole {
            assert_eq!(Text::transaction(id).as_str(), id);
        }
        let long = ["x".repeat(129), "x".repeat(130), "ü".repeat(65), "x".repeat(1 << 20)];
        let forms: Vec<Text> = long.iter().map(|id| Text::transaction(id)).collect();
        for (at, form) in forms.iter().enumerate() {
            assert_eq!(form.as_str().len(), BEGINNING_BYTES + 1 + 32, "{form:?}");
            assert_eq!(*form, Text::transaction(&long[at]));
            assert!(!forms[..at].contains(form), "{form:?}");
            // Whoever sends the form itself means another transaction.
            assert_ne!(*form, Text::transaction(form.as_str()));
        }
    }

    #[test]
    fn texts_of_any_length_come_back() {
        for text in ["", "T-1", "ü", &"x".repeat(38), &"x".repeat(39), &"ü".repeat(500)] {
            assert_eq!(Text::from(text).as_str(), text);
            assert_eq!(Text::from(text), Text::from(text.to_owned().as_str()));
            assert_ne!(Text::from(text), Text::from(format!("{text}x").as_str()));
        }
    }
}
