//! Applies configuration, hands out credentials and links, answers reports, takes decisions by
//! hand: everything an operator asks for, over one HTTP API on loopback.

mod access;
pub mod apply;
pub mod config;
pub mod error;
mod feed;
pub mod report;
pub mod story;
mod warehouse;

pub use config::{AdminConfig, ClickHouse};
pub use error::Error;
