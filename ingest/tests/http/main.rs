//! An ingester over real connections on loopback, with an event log in memory.

mod bounds;
mod canary;
mod clicks;
mod contract;
mod durable;
mod http2;
mod support;
