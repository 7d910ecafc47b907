//! Rows as ClickHouse keeps them: column by column, in its format `Native`. The rows come as the
//! structs of [`crate::rows`]; each field goes into the buffer of its column, and a buffer already holds
//! what is sent, so ClickHouse has nothing to transpose, and the sender nothing to copy.
//!
//! A block, as HTTP has it (`<https://clickhouse.com/docs/interfaces/formats/Native>`; tried against what the
//! engine writes itself): how many columns and rows, then of each column its name, its type and its values.
//! Numbers of things are LEB128, texts have their length before them, all else is little-endian:
//!
//! | type | values |
//! | --- | --- |
//! | `String` | the texts |
//! | `Bool`, `UInt…`, `DateTime64`, `Decimal` | one after the other |
//! | `UUID` | two `UInt64` each, the high one first |
//! | `Nullable(T)` | a byte each, 1 for null; then a value of `T` each, null or not |
//! | `Array(T)` | a `UInt64` each: where its items end; then the items of all |
//! | `Tuple(A, B)` | all of `A`, then all of `B` |
//! | `LowCardinality(String)` | before everything else of its column, the version; then [`words`] |
//!
//! [`layout`] says what columns a table has, [`values`] fills one, [`block`] puts them together.

pub mod block;
pub mod layout;
mod refuse;
mod values;
mod words;

pub use block::Block;
pub use layout::{Layout, Tables};

/// Why rows do not fit a table, for whoever can mend that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Mismatch(Box<str>);

impl Mismatch {
    fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }
}

impl serde::ser::Error for Mismatch {
    fn custom<T: std::fmt::Display>(text: T) -> Self {
        Self::new(text.to_string())
    }
}

impl From<Mismatch> for clickhouse::error::Error {
    fn from(mismatch: Mismatch) -> Self {
        Self::SchemaMismatch(mismatch.to_string())
    }
}

/// Appends a number as LEB128.
#[inline]
fn push_number(buffer: &mut Vec<u8>, number: usize) {
    if number < 0x80 {
        buffer.push(number as u8);
    } else {
        push_large_number(buffer, number);
    }
}

fn push_large_number(buffer: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        buffer.push(number as u8 | 0x80);
        number >>= 7;
    }
    buffer.push(number as u8);
}

/// Appends a text with its length before it.
#[inline]
fn push_text(buffer: &mut Vec<u8>, text: &[u8]) {
    push_number(buffer, text.len());
    if !text.is_empty() {
        buffer.extend_from_slice(text);
    }
}
