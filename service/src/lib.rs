//! What every role has: a clock, a way to be told to stop, listening sockets with limits, health,
//! metrics and logs. Nothing of the product is in here.

pub mod clock;
mod first_bytes;
pub mod health;
pub mod http;
mod http2;
mod linger;
pub mod logging;
pub mod metrics_catalog;
mod metrics_endpoint;
pub mod shutdown;
pub mod tls;

pub use clock::Clock;
pub use health::{Readiness, ReadyFlag};
pub use http::{HttpLimits, Protocols, Reply, bind, serve, serve_protocols};
pub use metrics_endpoint::{Metrics, install_metrics};
pub use shutdown::Shutdown;
pub use tls::{Tls, TlsFiles};

/// Why a role could not start or go on, sorted by who can mend it; the message is one line that
/// says what happened, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// A setting is wrong: exit code 78.
    #[error("{0}")]
    Configuration(String),
    /// The surroundings are: exit code 1.
    #[error("{0}")]
    Failed(String),
}

impl ServiceError {
    /// The process's exit code: 78 for bad configuration, 1 for everything else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) => 78,
            Self::Failed(_) => 1,
        }
    }
}
