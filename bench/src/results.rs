//! What was measured, as it is kept: every raw number.

use crate::machine::{Machine, commit};
use crate::measure::{median, quantile};
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// One area: `results/<name>.json`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Area {
    pub name: String,
    pub measured_at: String,
    pub commit: String,
    pub machine: Machine,
    pub lines: Vec<Line>,
    /// What should be among the lines and is not, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_measured: Vec<String>,
}

/// One comparison, or one number that stands alone.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line {
    pub what: String,
    pub unit: String,
    /// The product first, then its baselines.
    pub series: Vec<Series>,
    pub target: Option<Target>,
    /// What one must know to read it: sizes, versions, settings.
    pub notes: Vec<String>,
}

/// The values of one side, a run each.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Series {
    pub name: String,
    pub values: Vec<f64>,
}

/// What the first series is to reach.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// First ÷ second series at least this.
    RatioAtLeast(f64),
    /// First ÷ second series at most this.
    RatioAtMost(f64),
    /// The same of what 95 % of the values do not exceed.
    P95RatioAtMost(f64),
    /// The first series itself, in the line's unit, at most this.
    AtMost(f64),
    /// Every value of the first series exactly this.
    Exactly(f64),
}

impl Line {
    /// Median of the first series by that of the second.
    pub fn ratio(&self) -> Option<f64> {
        let [first, second, ..] = self.series.as_slice() else { return None };
        Some(median(&first.values) / median(&second.values))
    }

    /// What 95 % of the first series do not exceed, by that of the second.
    fn p95_ratio(&self) -> Option<f64> {
        let [first, second, ..] = self.series.as_slice() else { return None };
        Some(quantile(&first.values, 0.95) / quantile(&second.values, 0.95))
    }

    /// Whether the target is reached; nothing without one.
    pub fn reached(&self) -> Option<bool> {
        let first = || self.series.first().map(|it| median(&it.values));
        match self.target? {
            Target::RatioAtLeast(least) => self.ratio().map(|ratio| ratio >= least),
            Target::RatioAtMost(most) => self.ratio().map(|ratio| ratio <= most),
            Target::P95RatioAtMost(most) => self.p95_ratio().map(|ratio| ratio <= most),
            Target::AtMost(most) => first().map(|value| value <= most),
            Target::Exactly(wanted) => {
                let values = &self.series.first()?.values;
                Some(!values.is_empty() && values.iter().all(|it| it.total_cmp(&wanted).is_eq()))
            }
        }
    }
}

impl Area {
    /// The lines, with where and when they were measured.
    pub fn new(name: &str, lines: Vec<Line>, not_measured: Vec<String>) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            measured_at: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
            commit: commit(),
            machine: Machine::this(),
            lines,
            not_measured,
        })
    }
}

/// Replaces an area's results.
pub fn write(directory: &Path, area: &Area) -> Result<()> {
    let path = file(directory, &area.name);
    let text = serde_json::to_string_pretty(area)? + "\n";
    std::fs::create_dir_all(directory.join("results"))?;
    std::fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))
}

/// The results of an area, if it was ever measured.
pub fn read(directory: &Path, name: &str) -> Result<Option<Area>> {
    let path = file(directory, name);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let area = serde_json::from_str(&text);
            area.map(Some).with_context(|| format!("{} is not of this build", path.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

fn file(directory: &Path, name: &str) -> PathBuf {
    directory.join("results").join(format!("{name}.json"))
}
