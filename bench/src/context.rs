//! What every area gets: how often to run, where to write, and how to say how far it is.

use crate::results::Series;
use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::Path;
use tempfile::TempDir;

/// One area's measurement.
pub struct Context {
    area: &'static str,
    runs: usize,
    scale: u64,
    scratch: TempDir,
}

impl Context {
    /// A context with an empty directory that is removed in the end.
    pub fn new(area: &'static str, runs: usize, scale: u64) -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix("gokart-bench-").tempdir()?;
        Ok(Self { area, runs: runs.max(1), scale: scale.max(1), scratch })
    }

    /// An empty directory of this area.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// A number of things, divided by the scale of this run, and at least one.
    pub fn sized(&self, full: u64) -> u64 {
        (full / self.scale).max(1)
    }

    /// How often to run what `interleave` does not.
    pub fn runs(&self) -> usize {
        self.runs
    }

    /// Measures the named sides in turn, A B A B …, and gives one series each.
    ///
    /// `measure` gets the side's index and the run, and gives one value in the line's unit.
    pub async fn interleave<const N: usize>(
        &self,
        what: &str,
        sides: [&str; N],
        measure: impl AsyncFnMut(usize, usize) -> Result<f64>,
    ) -> Result<[Series; N]> {
        let series = self.interleave_all(what, &sides, measure).await?;
        Ok(series.try_into().unwrap_or_else(|_| unreachable!("a series for each side")))
    }

    /// The same of as many sides as there are.
    pub async fn interleave_all(
        &self,
        what: &str,
        sides: &[&str],
        mut measure: impl AsyncFnMut(usize, usize) -> Result<f64>,
    ) -> Result<Vec<Series>> {
        let new = |name: &&str| Series { name: (*name).to_owned(), values: Vec::new() };
        let mut series: Vec<Series> = sides.iter().map(new).collect();
        let progress = self.progress(what, (self.runs * sides.len()) as u64);
        for run in 0..self.runs {
            for (side, series) in series.iter_mut().enumerate() {
                progress.set_message(format!("{} (run {} of {})", series.name, run + 1, self.runs));
                series.values.push(measure(side, run).await?);
                progress.inc(1);
            }
        }
        progress.finish_and_clear();
        for it in &series {
            eprintln!("{}: {what}: {}: {:?}", self.area, it.name, it.values);
        }
        Ok(series)
    }

    /// A bar on the terminal; nothing elsewhere.
    pub fn progress(&self, what: &str, steps: u64) -> ProgressBar {
        let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} {elapsed} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(steps).with_style(style).with_prefix(format!("{}: {what}", self.area))
    }
}
