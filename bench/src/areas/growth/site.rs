//! Topics of their own for one configuration: so many offers, partitions, and clicks in state.

use super::decider::Decider;
use crate::context::Context;
use crate::postbacks::{EVENTS, Maker, Offers, THIRD};
use crate::state::{self, Copied, Template};
use ::tests::stack::{MASTER_KEYS, Stack, examples};
use anyhow::{Context as _, Result, ensure};
use eventlog::kafka::{KafkaConfig, KafkaLog};
use eventlog::{EventLog, Record};
use schemas::Topic;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::task::JoinSet;

/// The numbers of clicks in state begin at 0, those of the click that is copied and of new ones
/// here.
const TEMPLATE_CLICK: u64 = 1 << 40;
const FIRST_NEW_CLICK: u64 = 1 << 41;
/// Greater than any number of clicks, and prime: its multiples reach each click once. 2^32 by the
/// golden ratio, so that few of them are spread as evenly as many.
const STRIDE: u64 = 2_654_435_761;
/// Documents of one file: what one may hold is bounded.
const OFFERS_A_FILE: u64 = 200;
/// Records handed to the log at once, and such portions on their way.
const PORTION: usize = 2_000;
const IN_FLIGHT: usize = 16;

/// What one configuration has.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub clicks: u64,
    pub offers: u64,
    pub partitions: u32,
}

pub struct Site {
    pub size: Size,
    /// Of the processor that decides here.
    pub directory: PathBuf,
    /// `gokart` with these decides here.
    pub arguments: Vec<String>,
    pub log: Arc<KafkaLog>,
    maker: Maker,
    next_click: u64,
    next_run: u64,
}

/// Records of `postbacks`, by partition.
pub type Portions = Vec<Vec<Record>>;

impl Site {
    /// Moves the installation's `admin` to new topics, puts the offers in force there, and fills
    /// the state.
    ///
    /// # Errors
    /// When anything of it does not happen in time.
    pub async fn make(
        context: &Context,
        stack: &mut Stack,
        name: &str,
        size: Size,
    ) -> Result<Self> {
        let (url, prefix) = stack.kafka().context("not on Kafka")?;
        // Each is named after the first topics, which were named after this process and its time.
        let base = prefix.split("growth.").next().unwrap_or_default();
        let (url, prefix) = (url.to_owned(), format!("{base}growth.{name}."));
        stack.process("admin")?.stop()?;
        stack.move_to(&prefix, size.partitions);
        stack.start_role("admin").await?;
        let directory = context.scratch().join(name);
        std::fs::create_dir_all(&directory)?;
        let keys = directory.join("master-keys");
        std::fs::write(&keys, MASTER_KEYS)?;
        let offers = Offers { count: size.offers, third: true };
        let version = apply(stack, &directory, offers)?;

        let brokers = url.trim_start_matches("kafka://");
        let mut config = KafkaConfig::new(brokers, size.partitions, directory.join("reader"));
        prefix.clone_into(&mut config.topic_prefix);
        let log = KafkaLog::connect(config).await?;
        let arguments = [
            ("--log", url),
            ("--topic-prefix", prefix),
            ("--partitions", size.partitions.to_string()),
            ("--replication", "1".to_owned()),
            ("--data", directory.join("data").display().to_string()),
            ("--master-key-file", keys.display().to_string()),
        ];
        let flags = arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
        let arguments = std::iter::once("processor".to_owned()).chain(flags).collect();
        let maker = Maker::new(version, size.offers)?;
        let (next_click, next_run) = (FIRST_NEW_CLICK, 0);
        let mut site = Self { size, directory, arguments, log, maker, next_click, next_run };
        site.fill(context, name).await?;
        Ok(site)
    }

    /// One click is decided, and copied.
    async fn fill(&mut self, context: &Context, name: &str) -> Result<()> {
        let partition = self.maker.partition(TEMPLATE_CLICK, self.size.partitions);
        let token = self.maker.token(TEMPLATE_CLICK)?;
        let mut portions = self.empty();
        let records = EVENTS.map(|event| self.maker.record(&token, event));
        portions[partition as usize].extend(records);
        let mut decider = Decider::start(self).await?;
        decider.decide(self, portions).await?;
        decider.stop()?;
        let template = Template::of(&self.log, partition).await?;
        let what = format!("clicks into the state of {name}");
        let bar = context.progress(&what, self.size.clicks);
        for partition in 0..self.size.partitions {
            let here =
                |number: &u64| self.maker.partition(*number, self.size.partitions) == partition;
            let copies = (0..self.size.clicks).filter(here).map(|number| Copied {
                earlier_ms: earlier_ms(number),
                random: number.to_be_bytes(),
            });
            state::write(&self.log, partition, &template, copies, &bar).await?;
        }
        bar.finish_and_clear();
        // Now, so that no run takes the state over.
        Decider::start(self).await?.stop()
    }

    fn empty(&self) -> Portions {
        vec![Vec::new(); self.size.partitions as usize]
    }

    /// Two events each of clicks that nobody has heard of, together so many postbacks.
    pub fn new_clicks(&mut self, postbacks: u64) -> Result<Portions> {
        let clicks = self.next_click..self.next_click + postbacks / EVENTS.len() as u64;
        self.next_click = clicks.end;
        let tokens = clicks.map(|number| Ok((number, self.maker.token(number)?)));
        let tokens: Vec<(u64, String)> = tokens.collect::<Result<_>>()?;
        let mut portions = self.empty();
        for event in EVENTS {
            for (number, token) in &tokens {
                let partition = self.maker.partition(*number, self.size.partitions);
                portions[partition as usize].push(self.maker.record(token, event));
            }
        }
        Ok(portions)
    }

    /// The third event of so many clicks all over the state, each of them once in all runs: it is
    /// accepted only where the other two are found.
    pub fn old_clicks(&mut self, postbacks: u64) -> Result<Portions> {
        let first = self.next_run * postbacks;
        self.next_run += 1;
        ensure!(first + postbacks <= self.size.clicks, "there are not as many clicks in state");
        let mut portions = self.empty();
        for nth in first..first + postbacks {
            let number = spread(nth, self.size.clicks);
            let token = self.maker.earlier_token(number, earlier_ms(number))?;
            let partition = self.maker.partition(number, self.size.partitions);
            portions[partition as usize].push(self.maker.record(&token, THIRD));
        }
        Ok(portions)
    }

    /// Hands postbacks to the log, all partitions at once.
    pub async fn append(&self, portions: Portions) -> Result<()> {
        let mut appends = JoinSet::new();
        for (partition, records) in (0..).zip(portions) {
            for portion in records.chunks(PORTION) {
                appends.spawn(self.log.append(Topic::Postbacks, partition, portion.to_vec()));
                while appends.len() >= IN_FLIGHT {
                    appends.join_next().await.context("no append")???;
                }
            }
        }
        while let Some(done) = appends.join_next().await {
            done??;
        }
        Ok(())
    }
}

/// How much earlier than the one that is copied a click of the state was made.
fn earlier_ms(number: u64) -> u64 {
    ::tests::random::Random(number).below(state::SPREAD_MS)
}

/// The nth of so many clicks in an order that is all over them.
fn spread(nth: u64, clicks: u64) -> u64 {
    (u128::from(nth) * u128::from(STRIDE) % u128::from(clicks)) as u64
}

/// Puts the examples and the offers in force; the configuration's version.
fn apply(stack: &Stack, directory: &Path, offers: Offers) -> Result<u64> {
    stack.gokart(&["apply", &examples()])?;
    let documents = directory.join("documents");
    std::fs::create_dir_all(&documents)?;
    for first in (0..offers.count).step_by(OFFERS_A_FILE as usize) {
        let numbers = first..(first + OFFERS_A_FILE).min(offers.count);
        let text: String = numbers.map(|number| offers.document(number)).collect();
        std::fs::write(documents.join(format!("from-{first}.yaml")), text)?;
    }
    let applied = stack.gokart_json(&["apply", &documents.display().to_string()])?;
    applied["version"].as_u64().with_context(|| format!("no version in {applied}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn old_clicks_are_each_met_once_and_everywhere() {
        for clicks in [7, 2_000, 33_333, 100_000] {
            let met: BTreeSet<u64> = (0..clicks).map(|nth| spread(nth, clicks)).collect();
            assert_eq!(met.len() as u64, clicks);
        }
        let first: Vec<u64> = (0..4_000).map(|nth| spread(nth, 100_000) / 10_000).collect();
        for tenth in 0..10 {
            let count = first.iter().filter(|it| **it == tenth).count();
            assert!((300..500).contains(&count), "{count} of {tenth}");
        }
    }
}
