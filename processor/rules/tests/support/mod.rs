//! A partition in memory, and an offer to decide about.

pub mod allocations;
pub mod checked;
pub mod fixed;
pub mod memory;
pub mod offers;
pub mod world;
