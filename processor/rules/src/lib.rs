//! The decisions, pure: (state, configuration, input, now) → what became of it. No clock, no I/O,
//! no logging, no randomness, no order that depends on hashes; integer arithmetic only. The same
//! history gives the same decisions, byte for byte, on any machine.
//!
//! Begin with [`step`]: it reads top to bottom like the table of decision rules. From there:
//! `read` (what a postback says) → `convert` (rules 6 to 13) or `reversal` → `uniqueness`,
//! `sequence`, `limits` (one rule each) → `settle`, the one place where a conversion changes.
//! `keys` shows how the state is laid out.

// Whatever comes in, the partition goes on: no panic, and no arithmetic that rounds.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::float_arithmetic)
)]

mod availability;
mod by_hand;
mod case;
mod click_state;
mod context;
mod convert;
mod counters;
mod details;
mod expiry;
mod flags;
mod identity;
pub mod invariants;
mod keys;
mod kind;
mod laws;
mod limits;
mod macros;
mod output;
mod periods;
mod read;
mod record;
mod redecide;
pub mod rekey;
mod reversal;
mod revisions;
mod seen;
mod sender_time;
mod sequence;
mod settle;
mod step;
mod store;
mod text;
mod timer_keys;
mod timers;
mod trial;
mod uniqueness;
mod view;
mod wire;

pub use availability::configuration_changed;
pub use keys::ASCENDING;
pub use output::{Decided, Output, Scratch};
pub use seen::REMEMBERED_MS;
pub use sender_time::{AHEAD_MAX_MS, BEHIND_MAX_MS};
pub use step::{ClickReference, StepInput, Stepped, step};
pub use store::{Damaged, Store};
pub use timers::{MoreDue, fire_due, next_due};
pub use uniqueness::{RETRY_TIMED_MS, RETRY_UNTIMED_MS};
pub use view::DecisionView;
