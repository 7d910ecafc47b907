//! What can keep the warehouse from starting or running.

use std::path::PathBuf;

/// Each message is one line: what happened, where, what to do.
#[derive(Debug, thiserror::Error)]
pub enum WarehouseError {
    /// A setting is wrong; the process ends with exit code 78.
    #[error("{0}")]
    Configuration(String),
    /// `libchdb.so` is missing or is not what this program needs.
    #[error("the engine library {} cannot be used: {reason}; fetch it with `make engine`", path.display())]
    Library { path: PathBuf, reason: String },
    /// The engine refused to start; its own reason is on standard error.
    #[error("the engine did not open {}: {reason}", data_dir.display())]
    Engine { data_dir: PathBuf, reason: String },
    /// The surroundings failed: a port is taken, a directory cannot be written.
    #[error("{0}")]
    Failed(String),
}

impl WarehouseError {
    /// The process's exit code: 78 for bad configuration, 1 for everything else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) => 78,
            Self::Library { .. } | Self::Engine { .. } | Self::Failed(_) => 1,
        }
    }
}

impl From<service::ServiceError> for WarehouseError {
    fn from(error: service::ServiceError) -> Self {
        match error {
            service::ServiceError::Configuration(reason) => Self::Configuration(reason),
            service::ServiceError::Failed(reason) => Self::Failed(reason),
        }
    }
}
