//! What the deliverer is told, and its limits.

use super::connect::Names;
use crate::error::Error;
use eventlog::ReadLimit;
use ipnet::IpNet;
use std::path::PathBuf;
use std::time::Duration;

/// Requests under way at once, over all destinations.
pub const IN_FLIGHT_DEFAULT: usize = 1_024;
/// Decisions taken in one turn of a partition; each can make a few dozen state changes.
pub const DECISIONS_PER_TURN: usize = 500;
pub const READ_LIMIT: ReadLimit =
    ReadLimit { records: DECISIONS_PER_TURN, bytes: 4 << 20, wait: Duration::ZERO };
/// Deliveries given up, and conversions forgotten, in one turn.
pub const EXPIRIES_PER_TURN: usize = 500;
/// Requests begun in one turn of a partition.
pub const STARTS_PER_TURN: usize = 512;

/// Everything the deliverer is told.
#[derive(Debug, Clone)]
pub struct DelivererConfig {
    /// Addresses that are called although they are not public: for tests and publishers of one's
    /// own network.
    pub allow: Vec<IpNet>,
    /// Certificates (PEM) that are trusted beside the web's.
    pub ca_file: Option<PathBuf>,
    pub names: Names,
    pub in_flight: usize,
    pub connect_timeout: Duration,
    /// From the connection to the end of the answer.
    pub answer_timeout: Duration,
    /// For requests under way after the signal to stop.
    pub drain_timeout: Duration,
}

impl Default for DelivererConfig {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            ca_file: None,
            names: Names::default(),
            in_flight: IN_FLIGHT_DEFAULT,
            connect_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(5),
        }
    }
}

impl DelivererConfig {
    pub fn validate(&self) -> Result<(), Error> {
        if self.in_flight < 2 {
            return Err(Error::Configuration(
                "--publisher-in-flight must be at least 2: half of it is for destinations that are not known to answer".to_owned(),
            ));
        }
        Ok(())
    }
}
