//! An ingester over real connections on loopback, with an event log in memory.

mod contract;
mod support;
