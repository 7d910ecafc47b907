//! Takes tracking links and postbacks over HTTP and writes them to the event log. It decides
//! nothing about conversions: a postback that is authentic is kept as it came.
//!
//! Read [`handler`] from the top: it is the way of one request.

mod address;
mod click;
mod config;
mod credentials;
mod handler;
mod json;
mod late_clicks;
mod limits;
mod link;
mod liveness;
mod meters;
mod parameters;
mod platform;
mod random;
mod redact;
mod refusals;
mod reply;
mod route;
mod server;
mod skew;
mod submit;
mod world;

// For the fuzz targets, which feed these what strangers send, and the benchmarks of single pieces.
// No service uses them from outside.
#[doc(hidden)]
pub use credentials::{Checked, CredentialTable, KnownAdvertiser, Presented};
#[doc(hidden)]
pub use parameters::Parameters;
#[doc(hidden)]
pub use route::{Route, host, route, tenant_label};

pub use config::{BODY_BYTES_MAX, HEADER_BYTES_MAX, IngestConfig, Rate, URL_BYTES_MAX};
pub use server::{Server, run};
