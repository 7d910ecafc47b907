//! The processor's settings.

use std::time::Duration;

/// Largest batch in records: bounds memory, the time of one step and what is done again after a
/// crash.
pub const BATCH_RECORDS_MAX: usize = 500;
/// Largest batch in bytes.
pub const BATCH_BYTES_MAX: usize = 4 << 20;
/// Timers fired in one commit.
pub const TIMERS_PER_COMMIT_MAX: usize = 1_000;
/// State changes after which a commit takes no further record.
pub const CHANGES_PER_COMMIT_MAX: usize = 20_000;
/// How often timers are looked at while nothing arrives.
pub const IDLE_TICK: Duration = Duration::from_millis(100);

#[derive(Debug, Clone)]
pub struct ProcessorConfig {
    /// How far behind wall clock an idle partition's clock stays, so that a postback that an
    /// ingester has received but not yet written is not overtaken by a timer. At least the
    /// ingesters' answer deadline.
    pub clock_allowance_ms: i64,
}

impl Default for ProcessorConfig {
    fn default() -> Self {
        Self { clock_allowance_ms: 2_000 }
    }
}
