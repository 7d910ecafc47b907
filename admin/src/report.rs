//! Reports from ClickHouse, always through the views in which repeats have collapsed.

pub mod funnel;
pub mod list;
pub mod period;
