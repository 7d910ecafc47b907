//! Applies configuration, hands out credentials and links, answers reports, takes decisions by
//! hand: everything an operator asks for, over one HTTP API on loopback.

mod access;
pub mod api;
pub mod apply;
pub mod by_hand;
pub mod config;
pub mod deliveries;
pub mod erase;
mod error;
mod feed;
pub mod links;
pub mod parameter;
mod query;
pub mod redecide;
pub mod report;
mod run;
pub mod story;
mod warehouse;

pub use config::{AdminConfig, ClickHouse, QueryLimits};
pub use error::Error;
pub use run::{run, serve_on};
