//! The cases of the contract.

mod consumers;
mod processors;
mod records;

pub use consumers::*;
pub use processors::*;
pub use records::*;
