//! `explain`: the whole story of a click. `facts` fetches what there is, `tell` puts it into words
//! and knows nothing of where it came from.

mod advice;
pub mod facts;
mod fetch;
mod redecisions;
pub mod tell;
#[cfg(test)]
mod tests;
pub mod told;

pub use facts::Facts;
pub use fetch::{Sources, fetch};
pub use tell::{Story, tell};
