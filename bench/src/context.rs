//! What every area gets: how often to run, where to write, and how to say how far it is.

use crate::results::{Line, Series};
use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

/// Longest time for an area; what it has by then is kept. Making the rows of `reports` alone takes
/// up to twenty-five minutes.
pub const AREA_WITHIN: Duration = Duration::from_secs(60 * 60);
/// How long `correctness` breaks things unless told otherwise.
pub const STORIES_FOR: Duration = Duration::from_secs(10 * 60);

/// One area's measurement.
pub struct Context {
    area: &'static str,
    runs: usize,
    scale: u64,
    stories_for: Duration,
    scratch: TempDir,
    so_far: Mutex<SoFar>,
}

/// What an area has come to, whatever becomes of the rest of it.
#[derive(Debug, Default)]
pub struct SoFar {
    pub lines: Vec<Line>,
    /// What is going on now.
    pub part: String,
    /// What is still to come.
    pub planned: Vec<String>,
    /// What was tried, and why there is no line.
    pub missing: Vec<String>,
}

impl Context {
    /// A context with an empty directory that is removed in the end.
    pub fn new(area: &'static str, runs: usize, scale: u64) -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix("gokart-bench-").tempdir()?;
        let (runs, scale) = (runs.max(1), scale.max(1));
        let (stories_for, so_far) = (STORIES_FOR, Mutex::default());
        Ok(Self { area, runs, scale, stories_for, scratch, so_far })
    }

    /// The same with another time for stories of misfortune.
    pub fn with_stories_for(self, stories_for: Duration) -> Self {
        Self { stories_for, ..self }
    }

    /// How long stories of misfortune are told, divided by the scale of this run.
    pub fn stories_for(&self) -> Duration {
        Duration::from_secs(self.sized(self.stories_for.as_secs()))
    }

    /// How long the area may take.
    pub fn within(&self) -> Duration {
        AREA_WITHIN + self.stories_for.saturating_sub(STORIES_FOR)
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

    fn so_far(&self) -> MutexGuard<'_, SoFar> {
        self.so_far.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a line, even when a later part fails or the time is over; instead of one of that name.
    pub fn keep(&self, line: Line) {
        let mut so_far = self.so_far();
        so_far.planned.retain(|it| *it != line.what);
        so_far.lines.retain(|it| it.what != line.what);
        so_far.lines.push(line);
    }

    /// Names lines that are to come, so that it can be said which did not.
    pub fn plan(&self, lines: impl IntoIterator<Item = impl Into<String>>) {
        self.so_far().planned.extend(lines.into_iter().map(Into::into));
    }

    /// Does a part that the others can do without: a failure is said, and the area goes on.
    pub async fn part(&self, name: &str, part: impl Future<Output = Result<Line>>) {
        match part.await {
            Ok(line) => self.keep(line),
            Err(error) => self.fails(name, &error),
        }
    }

    /// Notes a planned line that cannot be measured.
    pub fn fails(&self, name: &str, error: &anyhow::Error) {
        eprintln!("{}: {name}: NOT MEASURED: {error:#}", self.area);
        let mut so_far = self.so_far();
        so_far.planned.retain(|it| it != name);
        so_far.missing.push(format!("{name}: {error:#}"));
    }

    /// What there is, taken out.
    pub fn take(&self) -> SoFar {
        std::mem::take(&mut *self.so_far())
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
        Ok(each(self.rounds(what, &sides, 0, measure).await?))
    }

    /// The same after one round, run 0, that is not in the series: a broker's JVM compiles what it
    /// does most, and the first round pays for that.
    pub async fn interleave_warm<const N: usize>(
        &self,
        what: &str,
        sides: [&str; N],
        measure: impl AsyncFnMut(usize, usize) -> Result<f64>,
    ) -> Result<[Series; N]> {
        Ok(each(self.rounds(what, &sides, 1, measure).await?))
    }

    /// The same of as many sides as there are.
    pub async fn interleave_all_warm(
        &self,
        what: &str,
        sides: &[&str],
        measure: impl AsyncFnMut(usize, usize) -> Result<f64>,
    ) -> Result<Vec<Series>> {
        self.rounds(what, sides, 1, measure).await
    }

    /// So many rounds first that are not in the series.
    async fn rounds(
        &self,
        what: &str,
        sides: &[&str],
        uncounted: usize,
        mut measure: impl AsyncFnMut(usize, usize) -> Result<f64>,
    ) -> Result<Vec<Series>> {
        let new = |name: &&str| Series { name: (*name).to_owned(), values: Vec::new() };
        let mut series: Vec<Series> = sides.iter().map(new).collect();
        let rounds = uncounted + self.runs;
        let progress = self.progress(what, (rounds * sides.len()) as u64);
        for run in 0..rounds {
            for (side, series) in series.iter_mut().enumerate() {
                progress.set_message(format!("{} (run {} of {})", series.name, run + 1, rounds));
                series.values.push(measure(side, run).await?);
                progress.inc(1);
            }
        }
        progress.finish_and_clear();
        for it in &mut series {
            it.values.drain(..uncounted);
            eprintln!("{}: {what}: {}: {:?}", self.area, it.name, it.values);
        }
        Ok(series)
    }

    /// A bar on the terminal; nothing elsewhere.
    pub fn progress(&self, what: &str, steps: u64) -> ProgressBar {
        what.clone_into(&mut self.so_far().part);
        let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} {elapsed} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(steps).with_style(style).with_prefix(format!("{}: {what}", self.area))
    }
}

fn each<const N: usize>(series: Vec<Series>) -> [Series; N] {
    series.try_into().unwrap_or_else(|_| unreachable!("a series for each side"))
}

impl SoFar {
    /// Everything that is not there, in words; `error` is what ended the area early.
    pub fn not_measured(&self, error: Option<&anyhow::Error>) -> Vec<String> {
        let mut all = self.missing.clone();
        all.extend(error.map(|error| format!("what comes after {:?}: {error:#}", self.part)));
        if !self.planned.is_empty() {
            all.push(self.planned.join(", "));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    fn line(what: &str) -> Line {
        let (what, unit) = (what.to_owned(), String::new());
        Line { what, unit, series: Vec::new(), target: None, notes: Vec::new() }
    }

    #[tokio::test]
    async fn what_there_is_is_kept_and_what_there_is_not_is_said() {
        let context = Context::new("x", 1, 1).unwrap();
        context.plan(["a", "b", "c", "d"]);
        context.part("a", async { Ok(line("a")) }).await;
        context.part("b", async { Err(anyhow!("no luck")) }).await;
        context.progress("the third", 1);
        let so_far = context.take();
        assert_eq!(so_far.lines.len(), 1);
        assert_eq!(so_far.not_measured(None), ["b: no luck", "c, d"]);
        let all = so_far.not_measured(Some(&anyhow!("too late")));
        assert_eq!(all, ["b: no luck", "what comes after \"the third\": too late", "c, d"]);
        assert!(context.take().not_measured(None).is_empty());
    }
}
