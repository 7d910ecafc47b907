//! Applies configuration, hands out credentials and links, answers reports, takes decisions by
//! hand: everything an operator asks for, over one HTTP API on loopback.

pub mod apply;
