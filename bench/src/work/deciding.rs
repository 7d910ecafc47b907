//! The processor's and the rules' part: records, or postbacks whose clicks are open already, are decided
//! batch after batch. The state is a sorted map in memory, whose cost counts with it.

use crate::postbacks::{EVENTS, Maker, OFFERS, Offers};
use admin::apply::{Source, check};
use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use eventlog::{Batch, PartitionState, ReadError, Record, StoredRecord};
use keyring::Keyring;
use processor::ProcessorConfig;
use processor::overlay::Overlay;
use processor::pipeline::{Asked, Context, decide};
use rules::invariants::Violation;
use rules::{ClickReference, Decided, DecisionView, Scratch, StepInput, Stepped};
use schemas::{Availability, Catalog, Postback, ResolvedClick, Topic};
use service::Clock;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use tests::stack::{MASTER_KEYS, examples};
use tokio::sync::watch;

type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// State in memory, as sorted as the real one.
#[derive(Default)]
struct Memory(BTreeMap<Vec<u8>, Bytes>);

impl Memory {
    fn take(&mut self, changes: Changes) {
        for (key, value) in changes {
            match value {
                Some(value) => self.0.insert(key, value.into()),
                None => self.0.remove(&key),
            };
        }
    }
}

impl PartitionState for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        Ok(self.0.get(key).cloned())
    }

    fn first_in(&self, from: &[u8], end: &[u8]) -> Result<Option<(Bytes, Bytes)>, ReadError> {
        let mut entries = self
            .0
            .range::<[u8], _>((std::ops::Bound::Included(from), std::ops::Bound::Excluded(end)));
        Ok(entries.next().map(|(key, value)| (Bytes::copy_from_slice(key), value.clone())))
    }
}

/// A partition that is decided batch after batch: the first event of ever new clicks.
pub struct Decider {
    maker: Maker,
    context: Context,
    state: Memory,
    told: Told,
    /// How many of them the clicks are on, in turn.
    offers: u64,
    clicks: u64,
    offset: u64,
    _catalog: watch::Sender<Arc<Catalog>>,
}

impl Decider {
    pub fn new(offers: u64) -> Result<Self> {
        let maker = Maker::new(1, OFFERS)?;
        let (keep, catalog) = watch::channel(Arc::new(catalog(&maker)?));
        let context = Context {
            keyring: Arc::new(Keyring::parse(MASTER_KEYS)?),
            catalog,
            clock: Clock::manual(maker.now.0),
            config: ProcessorConfig::default(),
            partitions: 1,
        };
        let (state, told) = (Memory::default(), Told::default());
        Ok(Self { maker, context, state, told, offers, clicks: 0, offset: 0, _catalog: keep })
    }

    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.context.catalog.borrow())
    }

    fn token(&mut self) -> Result<String> {
        self.clicks += 1;
        self.maker.token(self.clicks * OFFERS + self.clicks % self.offers)
    }

    /// So many records to be decided.
    pub fn batch(&mut self, count: u64) -> Result<Batch> {
        let mut records = Vec::new();
        for _ in 0..count {
            let token = self.token()?;
            let record = self.maker.record(&token, EVENTS[0]);
            records.push(StoredRecord { offset: self.offset, record });
            self.offset += 1;
        }
        Ok(Batch { records, next_offset: self.offset, at_end: false })
    }

    /// So many postbacks whose clicks are open already.
    pub fn opened(&mut self, count: u64) -> Result<Vec<(Postback, ResolvedClick)>> {
        let one = |_| {
            let token = self.token()?;
            Ok((self.maker.postback(&token, EVENTS[0]), self.maker.keyring.open(&token)?))
        };
        (0..count).map(one).collect()
    }

    /// Decides records, and gives the decisions' records.
    pub fn decide(&mut self, batch: &Batch) -> Result<Vec<Record>> {
        let asked = Asked { batch, asked_at: self.maker.now };
        let step = decide(&self.context, &self.state, 0, asked, 0)?;
        ensure!(step.records_done == batch.records.len(), "a batch was not decided at once");
        let commit = step.commit.context("nothing was decided")?;
        self.state.take(commit.state_changes);
        let of = |(topic, _, record)| (topic == Topic::Decisions).then_some(record);
        let written: Vec<Record> = commit.outputs.into_iter().filter_map(of).collect();
        let last = String::from_utf8_lossy(&written.last().context("no decision")?.value);
        ensure!(last.contains("\"Success\""), "the postbacks were not taken: {last}");
        Ok(written)
    }

    /// The rules alone, over the changes of a batch.
    pub fn step(&mut self, opened: &[(Postback, ResolvedClick)]) -> Result<()> {
        let (catalog, now) = (self.catalog(), self.maker.now);
        let mut store = Overlay::new(&self.state);
        self.told.decisions = 0;
        for (postback, click) in opened {
            let click = ClickReference::Resolved(click);
            let input = StepInput::Postback { postback, click };
            let stepped = rules::step(&mut store, &catalog, input, now, &mut self.told)?;
            ensure!(stepped == Stepped::Decided, "a postback was not decided: {stepped:?}");
        }
        ensure!(self.told.decisions == opened.len(), "postbacks were not decided");
        let changes = store.into_changes();
        self.state.take(changes);
        Ok(())
    }
}

/// Takes what the rules tell, and does nothing with it.
#[derive(Default)]
struct Told {
    decisions: usize,
    scratch: Scratch,
}

impl Decided for Told {
    fn decision(&mut self, decision: &DecisionView<'_>) {
        black_box(decision);
        self.decisions += 1;
    }

    fn availability(&mut self, availability: &Availability) {
        black_box(availability);
    }

    fn violated(&mut self, violation: &Violation<'_>) {
        black_box(violation);
    }

    fn scratch(&mut self) -> &mut Scratch {
        &mut self.scratch
    }
}

/// The example installation with the offers of the benchmarks.
fn catalog(maker: &Maker) -> Result<Catalog> {
    let mut sources = vec![Source { name: "bench".to_owned(), text: Offers::FEW.documents() }];
    for entry in std::fs::read_dir(Path::new(&examples()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "yaml") {
            let text = std::fs::read_to_string(&path)?;
            sources.push(Source { name: path.display().to_string(), text });
        }
    }
    let mut catalog = Catalog::default();
    match check(&sources, &catalog, maker.now) {
        Ok(documents) => catalog.apply(1, documents.into_iter().map(|it| it.at_version(1))),
        Err(problems) => bail!("the benchmarks' offers: {problems:?}"),
    }
    Ok(catalog)
}
