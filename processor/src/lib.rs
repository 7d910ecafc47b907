//! The processor: reads each partition of `postbacks` in order, decides with [`rules`], and
//! commits decisions, state and the next offset as one act.
//!
//! Read [`pipeline`] first: it is the way of one batch.

mod config;
mod error;
mod outputs;
// For the benchmarks of single pieces.
#[doc(hidden)]
pub mod overlay;
mod partition_clock;
pub mod pipeline;
pub mod rekey;
mod resolve;
mod run;
mod tally;

pub use config::ProcessorConfig;
pub use error::ProcessorError;
pub use run::run;
