//! How long a process needs to decide a known number of inputs, and what it uses.

use crate::context::Context;
use crate::postbacks::apply;
use crate::process::{cpu_seconds, peak_resident_bytes};
use anyhow::{Context as _, Result, ensure};
use std::time::{Duration, Instant};
use tests::kafka::Kafka;
use tests::stack::Stack;

/// Each look is a question that the process, or its broker, pays for.
pub const POLL: Duration = Duration::from_millis(50);
pub const PATIENCE: Duration = Duration::from_secs(300);

/// An installation on Kafka with the offers of the benchmark, none of whose roles runs.
pub struct Still {
    pub stack: Stack,
    /// Of the configuration.
    pub version: u64,
    pub brokers: String,
}

impl Still {
    pub async fn on(kafka: &Kafka, context: &Context) -> Result<Self> {
        let mut stack = Stack::on_kafka_in_real_time(kafka).await?.context("there is no engine")?;
        let version = apply(&stack, context.scratch())?;
        for role in ["ingest", "sink", "processor", "warehouse", "admin"] {
            stack.process(role)?.kill()?;
        }
        let brokers = kafka.url.trim_start_matches("kafka://").to_owned();
        Ok(Self { stack, version, brokers })
    }
}

/// What one side of one run took for all its inputs.
#[derive(Debug, Clone, Copy)]
pub struct Took {
    /// As if the pace since the first output had held from the first input on.
    pub seconds: f64,
    /// Of the process, from its start.
    pub cpu_seconds: f64,
    /// Of the process, at its pace since the first output.
    pub warm_cpu_seconds: f64,
    /// Of the process, at its pace in the second half.
    pub late_cpu_seconds: f64,
    /// Greatest.
    pub resident_mb: f64,
}

/// Watches one process decide.
pub struct Watch {
    pid: u32,
    inputs: u64,
    began: Instant,
    first: Option<Mark>,
    half: Option<Mark>,
}

/// What had been used when so many were decided.
#[derive(Clone, Copy)]
struct Mark {
    at: Instant,
    cpu_seconds: f64,
    decided: u64,
}

impl Watch {
    #[must_use]
    pub fn new(pid: u32, inputs: u64) -> Self {
        Self { pid, inputs, began: Instant::now(), first: None, half: None }
    }

    /// Takes how many inputs are decided by now; says what all took once they are.
    ///
    /// # Errors
    ///
    /// When it lasts too long, or the process is gone.
    pub fn see(&mut self, decided: u64) -> Result<Option<Took>> {
        let inputs = self.inputs;
        if decided > 0 {
            let now = Mark { at: Instant::now(), cpu_seconds: cpu_seconds(self.pid)?, decided };
            let first = *self.first.get_or_insert(now);
            let half = if decided >= inputs / 2 { *self.half.get_or_insert(now) } else { first };
            if decided >= inputs {
                // From a mark to the end, as if all had gone like that.
                let whole =
                    |it: Mark| inputs as f64 / inputs.saturating_sub(it.decided).max(1) as f64;
                return Ok(Some(Took {
                    seconds: first.at.elapsed().as_secs_f64() * whole(first),
                    cpu_seconds: now.cpu_seconds,
                    warm_cpu_seconds: (now.cpu_seconds - first.cpu_seconds) * whole(first),
                    late_cpu_seconds: (now.cpu_seconds - half.cpu_seconds) * whole(half),
                    resident_mb: peak_resident_bytes(self.pid)? as f64 / 1e6,
                }));
            }
        }
        let lasts = self.began.elapsed();
        ensure!(lasts < PATIENCE, "{decided} of {inputs} were decided in {PATIENCE:?}");
        Ok(None)
    }
}

/// Starts the processor, waits until it has decided so many, and stops it.
pub async fn decide(stack: &mut Stack, inputs: u64) -> Result<Took> {
    stack.start_role("processor").await?;
    let mut watch = Watch::new(stack.process("processor")?.pid(), inputs);
    let took = loop {
        if let Some(took) = watch.see(decided(&stack.metrics("processor").await?))? {
            break took;
        }
        stack.process("processor")?.check_alive()?;
        tokio::time::sleep(POLL).await;
    };
    stack.process("processor")?.stop()?;
    Ok(took)
}

/// Postbacks that the processor has counted as accepted, or as repeats.
fn decided(metrics: &str) -> u64 {
    let lines = metrics.lines().filter(|line| {
        line.starts_with("gokart_postbacks_decided_total")
            && ["outcome=\"accepted\"", "outcome=\"duplicate\""].iter().any(|it| line.contains(it))
    });
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
}
