//! Two months of traffic as the sink would have written it, made by ClickHouse itself from a seed:
//! the same seed and size give the same rows, whatever the machine.
//!
//! A fifth of the traffic is that of many small offers; the rest belongs to one root offer and its
//! clones, so that one report can be asked about ten million conversions. Clicks come evenly over
//! the time. Of 500 clicks 39 install; each further event is reached by a part of those before. What
//! has a sequence above two is held for three days; one in fifty that succeeded is reversed later; some
//! rows are there twice, as after a rebalance in the middle of an insert.

pub mod documents;
pub mod load;
mod sql;

pub use sql::Filled;

/// Clicks at full size. They bring about 12.5 million conversions, ten of them below one root offer.
pub const CLICKS: u64 = 100_000_000;
/// 2026-09-01T00:00:00Z.
pub const BEGIN_MS: i64 = 1_788_220_800_000;
/// To the end of October.
pub const DAYS: i64 = 61;
pub const DAY_MS: i64 = 86_400_000;
/// 2026-11-01T00:00:00Z.
pub const END_MS: i64 = BEGIN_MS + DAYS * DAY_MS;

pub const TENANT: &str = "bench";
/// The root offer of most of the traffic.
pub const ROOT: &str = "star-miner";
/// The root and its clones.
const FAMILY: usize = 25;
const OTHERS: usize = 39;
pub const PUBLISHERS: usize = 50;
const ADVERTISERS: usize = 8;
/// In the order of the sequence; offers have the first three to five of them.
pub const EVENTS: [&str; 5] = ["Install", "tutorial", "level_20", "level_50", "purchase"];

/// How much of it, and which.
#[derive(Debug, Clone, Copy)]
pub struct History {
    pub seed: u64,
    pub clicks: u64,
}

impl History {
    #[must_use]
    pub fn new(seed: u64, clicks: u64) -> Self {
        // Fewer would leave days without anything.
        Self { seed, clicks: clicks.max(10_000) }
    }

    /// Clicks that went on to install.
    #[must_use]
    pub fn installs(&self) -> u64 {
        self.clicks * 39 / 500
    }
}

/// An offer of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub id: String,
    pub root: String,
    pub advertiser: String,
    pub currency: &'static str,
    pub reward_unit: &'static str,
    pub events: usize,
}

/// All offers, in the order in which the statements count them.
#[must_use]
pub fn offers() -> Vec<Offer> {
    let family = (0..FAMILY).map(|number| Offer {
        id: if number == 0 { ROOT.to_owned() } else { format!("{ROOT}-{number}") },
        root: ROOT.to_owned(),
        advertiser: "adv-0".to_owned(),
        currency: "USD",
        reward_unit: "coins",
        events: 4,
    });
    let others = (0..OTHERS).map(|number| Offer {
        id: format!("app-{number}"),
        root: format!("app-{number}"),
        advertiser: format!("adv-{}", number % ADVERTISERS),
        currency: ["USD", "EUR", "GBP", "BRL"][number % 4],
        reward_unit: if number % 3 == 0 { "coins" } else { "points" },
        events: 3 + number % 3,
    });
    family.chain(others).collect()
}

#[must_use]
pub fn publisher(number: usize) -> String {
    format!("pub-{number}")
}

pub fn advertisers() -> impl Iterator<Item = String> {
    (0..ADVERTISERS).map(|number| format!("adv-{number}"))
}
