//! The decisions, pure: (state, configuration, input, now) → what became of it. No clock, no I/O,
//! no logging, no randomness, no order that depends on hashes; integer arithmetic only. The same
//! history gives the same decisions, byte for byte, on any machine.
//!
//! Begin with [`step`]: it reads top to bottom like the table of decision rules.

mod macros;
mod output;
mod step;
mod store;
mod timers;

pub use output::Output;
pub use step::{ClickReference, StepInput, step};
pub use store::{Damaged, Store};
pub use timers::{MoreDue, fire_due, next_due};
