//! Applying configuration documents. The way of a document: text → `tree` (with lines) → `fields`
//! → `document` (as written) → `validate` (checked, against what is in force) → `publish` (one
//! version in the log).

pub mod document;
mod fields;
mod link;
pub mod postback_document;
mod problem;
pub mod publish;
pub mod schema;
mod set;
mod tree;
mod validate;
mod value;

pub use problem::{PROBLEMS_MAX, Problem, Problems};
pub use set::Source;

use schemas::{Catalog, Document, UnixMillis};

/// Checks documents against what is in force. Gives those that differ from it, in the order in
/// which they are stored, or everything that is wrong.
pub fn check(
    sources: &[Source],
    current: &Catalog,
    now: UnixMillis,
) -> Result<Vec<Document>, Vec<Problem>> {
    check_sealing(sources, current, now, &|_, value| Ok(value.to_owned()))
}

/// Seals a secret that belongs to a place (whose it is, and what it is there); or says why not.
pub type Seal<'a> = dyn Fn([&str; 2], &str) -> Result<String, String> + 'a;

/// The same with secrets sealed.
pub fn check_sealing(
    sources: &[Source],
    current: &Catalog,
    now: UnixMillis,
    seal: &Seal<'_>,
) -> Result<Vec<Document>, Vec<Problem>> {
    let problems = Problems::default();
    let set = set::read(sources, &problems);
    let documents = validate::check(&set, current, now, seal, &problems);
    let problems = problems.into_sorted();
    if problems.is_empty() { Ok(documents) } else { Err(problems) }
}
