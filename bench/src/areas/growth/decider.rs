//! A processor on the topics of a site: started, given postbacks, and looked at while it decides.

use super::site::{Portions, Site};
use crate::process::{cpu_seconds, resident_bytes};
use ::tests::http;
use ::tests::process::{Process, free_address};
use anyhow::{Result, bail, ensure};
use rustix::process::Signal;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(20);
/// For anything that must happen.
const PATIENCE: Duration = Duration::from_secs(300);
/// Longest time for it to be suspended: the group gives its partitions away after 10 s.
const SUSPENDED_MAX: Duration = Duration::from_secs(7);
const IDLE: Duration = Duration::from_secs(2);
/// CPU seconds a second below which a processor has nothing left to do of its start, such as writing
/// tables of what stood in the journals of its state; and the longest wait for that.
const QUIET: f64 = 0.3;
const LOOK: Duration = Duration::from_millis(500);
const QUIET_WITHIN: Duration = Duration::from_secs(120);

pub struct Decider {
    process: Process,
    metrics: SocketAddr,
    /// From its start until it had every partition, in seconds.
    pub started_s: f64,
}

/// What deciding took.
#[derive(Debug, Clone, Copy)]
pub struct Took {
    pub postbacks: u64,
    pub seconds: f64,
    pub cpu_seconds: f64,
    /// Afterwards.
    pub resident_bytes: u64,
}

impl Took {
    pub fn per_cpu_second(self) -> f64 {
        self.postbacks as f64 / self.cpu_seconds
    }

    pub fn per_second(self) -> f64 {
        self.postbacks as f64 / self.seconds
    }
}

/// Of `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    decided: u64,
    accepted: u64,
    partitions: u64,
    rebalances: u64,
}

impl Decider {
    /// Starts the real binary and waits until it has every partition and has nothing more to do.
    ///
    /// # Errors
    /// When it ends, or is not so far in time.
    pub async fn start(site: &Site) -> Result<Self> {
        let metrics = free_address()?;
        let mut arguments = site.arguments.clone();
        arguments.extend(["--metrics-listen".to_owned(), metrics.to_string()]);
        let began = Instant::now();
        let process = Process::start("processor", &site.directory, &arguments)?;
        let mut decider = Self { process, metrics, started_s: 0.0 };
        let all = u64::from(site.size.partitions);
        // Nothing listens in the beginning.
        while decider.counts().await.is_none_or(|it| it.partitions < all) {
            decider.may_wait(began)?;
            tokio::time::sleep(POLL).await;
        }
        decider.started_s = began.elapsed().as_secs_f64();
        decider.becomes_quiet().await?;
        Ok(decider)
    }

    /// Waits until it has nothing left to do of what came before.
    pub async fn becomes_quiet(&self) -> Result<()> {
        let began = Instant::now();
        while self.idle_for(LOOK).await? > QUIET {
            ensure!(
                began.elapsed() < QUIET_WITHIN,
                "a processor with nothing to do is still busy after {QUIET_WITHIN:?}"
            );
        }
        Ok(())
    }

    fn may_wait(&mut self, began: Instant) -> Result<()> {
        self.process.check_alive()?;
        ensure!(began.elapsed() < PATIENCE, "the processor is not so far within {PATIENCE:?}");
        Ok(())
    }

    async fn counts(&self) -> Option<Counts> {
        let answer = http::get(self.metrics, "localhost", "/metrics").await.ok()?;
        Some(counts(&answer.body))
    }

    /// CPU seconds for each second of having nothing to do.
    pub async fn idle(&self) -> Result<f64> {
        self.idle_for(IDLE).await
    }

    async fn idle_for(&self, time: Duration) -> Result<f64> {
        let (began, before) = (Instant::now(), cpu_seconds(self.process.pid())?);
        tokio::time::sleep(time).await;
        Ok((cpu_seconds(self.process.pid())? - before) / began.elapsed().as_secs_f64())
    }

    /// Gives it postbacks while it is suspended, lets it decide them all, and says what that took.
    ///
    /// # Errors
    /// When one of them is not accepted, or the group took a partition away meanwhile.
    pub async fn decide(&mut self, site: &Site, portions: Portions) -> Result<Took> {
        let postbacks = portions.iter().map(|it| it.len() as u64).sum::<u64>();
        let Some(before) = self.counts().await else { bail!("the processor says nothing") };
        let suspended = Instant::now();
        self.process.signal(Signal::STOP)?;
        let appended = site.append(portions).await;
        let (began, cpu_before) = (Instant::now(), cpu_seconds(self.process.pid())?);
        self.process.signal(Signal::CONT)?;
        appended?;
        let suspended = began - suspended;
        ensure!(suspended < SUSPENDED_MAX, "Kafka took the postbacks in {suspended:?}");
        let after = loop {
            match self.counts().await {
                Some(now) if now.decided >= before.decided + postbacks => break now,
                _ => self.may_wait(began)?,
            }
            tokio::time::sleep(POLL).await;
        };
        let seconds = began.elapsed().as_secs_f64();
        let cpu_seconds = cpu_seconds(self.process.pid())? - cpu_before;
        let accepted = after.accepted - before.accepted;
        ensure!(accepted == postbacks, "{accepted} of {postbacks} postbacks were accepted");
        ensure!(after.rebalances == before.rebalances, "partitions were moved meanwhile");
        let resident_bytes = resident_bytes(self.process.pid())?;
        Ok(Took { postbacks, seconds, cpu_seconds, resident_bytes })
    }

    /// Ends it in order, so that the next one has its partitions at once.
    pub fn stop(mut self) -> Result<()> {
        let status = self.process.stop()?;
        ensure!(status.success(), "the processor ended with {status}: {}", self.process.output());
        Ok(())
    }
}

fn counts(metrics: &str) -> Counts {
    let sum = |name: &str, label: &str| {
        let lines = metrics.lines().filter(|it| it.starts_with(name) && it.contains(label));
        lines.filter_map(|it| it.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
    };
    Counts {
        decided: sum("gokart_postbacks_decided_total", ""),
        accepted: sum("gokart_postbacks_decided_total", "outcome=\"accepted\""),
        partitions: sum("gokart_processor_partitions ", ""),
        rebalances: sum("gokart_log_rebalances_total", "group="),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read() {
        let text = "# HELP gokart_processor_partitions x\n\
            gokart_processor_partitions 4\n\
            gokart_processor_partitions_more 9\n\
            gokart_postbacks_decided_total{outcome=\"accepted\",reason=\"\"} 5\n\
            gokart_postbacks_decided_total{outcome=\"accepted\",reason=\"HOLD\"} 2\n\
            gokart_postbacks_decided_total{outcome=\"waiting\",reason=\"WAITING_SEQUENCE\"} 1\n\
            gokart_log_rebalances_total{group=\"processors\",change=\"assigned\"} 3\n";
        let expected = Counts { decided: 8, accepted: 7, partitions: 4, rebalances: 3 };
        assert_eq!(counts(text), expected);
    }
}
