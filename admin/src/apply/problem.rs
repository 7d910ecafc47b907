//! What is wrong with a set of documents, said so that it can be found and mended.

use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::fmt;

/// Problems that are kept of one set of files; a file of the wrong kind could make thousands.
pub const PROBLEMS_MAX: usize = 200;
/// Characters of a message, and of the way to a field: both repeat what was written, which may be
/// of any length.
const TEXT_CHARS_MAX: usize = 600;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// As the sender named it.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// The way to the field, e.g. `events[1].revenue`; empty for the file as a whole.
    pub field: String,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

/// Collects problems while documents are read and checked, so that all are told at once.
#[derive(Debug, Default)]
pub struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    pub fn add(&self, file: &str, line: u32, field: &str, message: impl Into<String>) {
        let mut list = self.0.borrow_mut();
        if list.len() < PROBLEMS_MAX {
            list.push(Problem {
                file: file.to_owned(),
                line,
                field: shortened(field.to_owned()),
                message: shortened(message.into()),
            });
        }
    }

    /// All of them, by file and line.
    #[must_use]
    pub fn into_sorted(self) -> Vec<Problem> {
        let mut list = self.0.into_inner();
        list.sort();
        list.dedup();
        list
    }
}

/// Without its middle when it is too long: what was written begins it, what is wrong ends it.
fn shortened(text: String) -> String {
    // No text has more characters than bytes.
    if text.len() <= TEXT_CHARS_MAX || text.chars().count() <= TEXT_CHARS_MAX {
        return text;
    }
    let half = TEXT_CHARS_MAX / 2;
    let start: String = text.chars().take(half).collect();
    let end = text.char_indices().rev().nth(half - 1).map_or(0, |(at, _)| at);
    format!("{start} … {}", &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_lose_their_middle() {
        for short in ["".to_owned(), "é".repeat(TEXT_CHARS_MAX)] {
            assert_eq!(shortened(short.clone()), short);
        }
        let long = shortened(format!("begin{}end", "é".repeat(1 << 20)));
        assert_eq!(long.chars().count(), TEXT_CHARS_MAX + " … ".chars().count());
        assert!(long.starts_with("begin") && long.ends_with("end"), "{long}");
    }
}
