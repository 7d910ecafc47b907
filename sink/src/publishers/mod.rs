//! From the log to publishers: who hears of a conversion, and how it gets there.
//!
//! A consumer of its own beside the one that feeds ClickHouse, so that a slow publisher cannot
//! stall storage. What happens to a decision, in the order of the files: [`plan`] says which
//! destinations hear of it; [`queue`] keeps each delivery in the partition's durable state, with a
//! timer, until it is done, so that any number can wait; [`gates`] says which destinations may be
//! called now ([`breaker`], window, rate); [`client`] makes the request ([`request`] fills and
//! signs it, [`connect`] and [`address`] keep it out of private networks); [`schedule`] judges the
//! answer. Attempts are outputs of the same commit, to the topic `deliveries`, and become rows of
//! the table of that name. [`desk`] puts one turn of a partition together, [`run`] runs them.

pub mod address;
pub mod breaker;
pub mod client;
pub mod config;
pub mod connect;
pub mod desk;
pub mod gates;
pub mod keys;
pub mod measure;
pub mod plan;
pub mod queue;
pub mod request;
pub mod run;
pub mod schedule;

pub use config::DelivererConfig;
pub use run::run;
