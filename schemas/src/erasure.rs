//! A request to erase what is personal about some clicks.

use crate::click::SUB_ID_COUNT;
use crate::codec::Message;
use crate::time::UnixMillis;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// What names the clicks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ErasureKind {
    /// One click by its id.
    Click,
    /// Every click with a value of `sub1` to `sub15`, by the number.
    Sub(u8),
}

impl fmt::Display for ErasureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Click => f.write_str("click"),
            Self::Sub(number) => write!(f, "sub{number}"),
        }
    }
}

impl FromStr for ErasureKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_prefix("sub").and_then(|number| number.parse::<u8>().ok());
        match number {
            _ if text == "click" => Ok(Self::Click),
            Some(number) if (1..=SUB_ID_COUNT).contains(&usize::from(number)) => {
                Ok(Self::Sub(number))
            }
            _ => Err(format!("{text:?} is not click or sub1 to sub{SUB_ID_COUNT}")),
        }
    }
}

impl TryFrom<String> for ErasureKind {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ErasureKind> for String {
    fn from(kind: ErasureKind) -> Self {
        kind.to_string()
    }
}

/// The request, in the topic `erasures`. It holds the value itself, for as long as the log holds the
/// records that it is about; nothing else does.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    pub erasure_id: Uuid,
    pub requested_at: UnixMillis,
    /// Who asked for it, in the operator's words.
    pub requested_by: String,
    /// Why, in the operator's words.
    pub reason: String,
    pub kind: ErasureKind,
    pub value: String,
    /// A keyed hash of kind and value, which is all that is kept: whoever has the value and the key
    /// can show that it was erased.
    pub value_hash: String,
}

impl fmt::Debug for Erasure {
    /// Without the value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Erasure")
            .field("erasure_id", &self.erasure_id)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl Message for Erasure {
    const KIND: &'static str = "erasure";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        for text in ["click", "sub1", "sub15"] {
            assert_eq!(
                text.parse::<ErasureKind>().map(|kind| kind.to_string()).as_deref(),
                Ok(text)
            );
        }
        for wrong in ["", "sub", "sub0", "sub16", "sub-1", "Click", "member"] {
            assert!(wrong.parse::<ErasureKind>().is_err(), "{wrong}");
        }
    }
}
