//! A sender's short text, such as a transaction id, kept in place.

use std::sync::Arc;

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

impl Text {
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
    fn texts_of_any_length_come_back() {
        for text in ["", "T-1", "ü", &"x".repeat(38), &"x".repeat(39), &"ü".repeat(500)] {
            assert_eq!(Text::from(text).as_str(), text);
            assert_eq!(Text::from(text), Text::from(text.to_owned().as_str()));
            assert_ne!(Text::from(text), Text::from(format!("{text}x").as_str()));
        }
    }
}
