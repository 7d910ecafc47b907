//! From the log to ClickHouse, each row exactly once as its readers see it.
//!
//! What happens to a record, in the order of the files: [`readers`] read every owned partition and
//! [`decode`] makes rows of the records; [`plan`] decides which ranges go together and when;
//! [`flush`] writes the plan down, has [`store`] bring the rows ([`rows`], sent as [`columns`]) into their
//! tables under the plan's token ([`insert`]), and commits the offsets; after a crash [`recovery`] finds the
//! plan, and [`bring`] looks ([`kept`]) for what is not there and brings it. The
//! tables come from [`migrate`]. A request for erasure is carried out by [`erase`], and [`erased`] keeps
//! what it was about from coming back. [`ask`] is
//! for tools beside the sink.

pub mod ask;
pub mod backoff;
pub mod bring;
pub mod client;
pub mod columns;
pub mod config;
pub mod ddl;
pub mod decode;
pub mod erase;
pub mod erased;
pub mod error;
pub mod flush;
pub mod insert;
pub mod kept;
pub mod meaning;
pub mod measure;
pub mod membership;
pub mod migrate;
pub mod plan;
pub mod publishers;
pub mod readers;
pub mod recovery;
pub mod retention;
pub mod rows;
pub mod run;
pub mod store;

pub use ask::{ask, tell};
pub use config::{ClickHouseConfig, FlushLimits, SinkConfig};
pub use error::Error;
pub use migrate::{MigrationReport, migrate};
pub use publishers::DelivererConfig;
pub use retention::TableRetention;
pub use run::{GROUP, run};
