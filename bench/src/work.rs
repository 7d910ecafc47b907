//! The pieces of a postback's way, each alone and again and again, so that what one costs can be
//! counted: the product's own functions, fed as the product feeds them.

use crate::postbacks::{EVENTS, Maker, OFFERS, Offers};
use admin::apply::{Source, check};
use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use eventlog::{Batch, PartitionState, ReadError, Record, StoredRecord};
use keyring::Keyring;
use processor::ProcessorConfig;
use processor::pipeline::{Asked, Context, decide};
use schemas::{Catalog, Input, Topic, codec};
use service::Clock;
use sink::plan::Source as Place;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use tests::stack::{MASTER_KEYS, examples};
use tokio::sync::watch;

/// Postbacks decided in one batch.
const BATCH: u64 = 500;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Piece {
    /// Path, host and parameters of a request.
    Parse,
    /// The sealed click id.
    Open,
    /// The record of a postback.
    Encode,
    /// The same, read again.
    Decode,
    /// Making the records that `decide` decides.
    Prepare,
    /// Everything from the record to its decision: reading, opening, rules, state, invariants,
    /// and the decision's own record.
    Decide,
    /// The decision's record as rows for ClickHouse.
    Rows,
}

impl Piece {
    /// All that is the product's.
    pub const ALL: [Self; 6] =
        [Self::Parse, Self::Open, Self::Encode, Self::Decode, Self::Decide, Self::Rows];

    /// What a run of it does beside it.
    #[must_use]
    pub const fn overhead(self) -> Option<Self> {
        if matches!(self, Self::Decide) { Some(Self::Prepare) } else { None }
    }
}

#[derive(Debug, Args)]
pub struct Arguments {
    piece: Piece,
    count: u64,
}

/// Does a piece for so many postbacks.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut work = Work::new(arguments.piece)?;
    let mut done = 0;
    while done < arguments.count {
        let prepared = work.prepare()?;
        done += work.run(prepared)?;
    }
    Ok(())
}

/// A piece, ready to be done again and again.
pub struct Work {
    piece: Piece,
    maker: Maker,
    token: String,
    postback: schemas::Postback,
    record: Record,
    decider: Decider,
    decided: Batch,
}

/// What one go of a piece works on.
pub struct Prepared(Option<Batch>);

impl Work {
    /// # Errors
    /// When the benchmarks' own offers do not decide as they should.
    pub fn new(piece: Piece) -> Result<Self> {
        let maker = Maker::new(1, OFFERS)?;
        let token = maker.token(1)?;
        let mut decider = Decider::new()?;
        let first = decider.batch(1)?;
        let record = decider.decide(&first)?.into_iter().next().context("no decision")?;
        let decided = Batch {
            records: vec![StoredRecord { offset: 0, record }],
            next_offset: 1,
            at_end: true,
        };
        let postback = maker.postback(&token, EVENTS[0]);
        let record = maker.record(&token, EVENTS[0]);
        Ok(Self { piece, maker, token, postback, record, decider, decided })
    }

    /// Makes what the next [`Self::run`] works on.
    pub fn prepare(&mut self) -> Result<Prepared> {
        let wants_batch = matches!(self.piece, Piece::Prepare | Piece::Decide);
        Ok(Prepared(wants_batch.then(|| self.decider.batch(BATCH)).transpose()?))
    }

    /// Does the piece once, for as many postbacks as it returns.
    pub fn run(&mut self, Prepared(batch): Prepared) -> Result<u64> {
        match self.piece {
            Piece::Parse => {
                let query = format!(
                    "signature=c2lnbmF0dXJl&gk_click_id={}&cnv_event_id=s2s_level%20200&gaid=38400000-8cf0",
                    self.token
                );
                black_box(ingest::route(black_box("/api/v1/2f8a0c/91be44/d0c7aa/")));
                black_box(ingest::Parameters::from_query(black_box(&query)));
            }
            Piece::Open => drop(black_box(self.maker.keyring.open(black_box(&self.token)))?),
            Piece::Encode => drop(black_box(codec::encode(black_box(&self.postback)))),
            Piece::Decode => drop(black_box(Input::decode(black_box(&self.record.value)))?),
            Piece::Prepare => drop(black_box(batch)),
            Piece::Decide => {
                black_box(self.decider.decide(&batch.context("nothing was prepared")?)?);
            }
            Piece::Rows => {
                let (source, at): (Place, _) = ((Topic::Decisions, 0), self.maker.now);
                black_box(sink::decode::decode(source, 0, black_box(&self.decided), at))?;
            }
        }
        Ok(if matches!(self.piece, Piece::Prepare | Piece::Decide) { BATCH } else { 1 })
    }
}

/// State in memory, as sorted as the real one.
#[derive(Default)]
struct Memory(BTreeMap<Vec<u8>, Bytes>);

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
struct Decider {
    maker: Maker,
    context: Context,
    state: Memory,
    clicks: u64,
    offset: u64,
    _catalog: watch::Sender<Arc<Catalog>>,
}

impl Decider {
    fn new() -> Result<Self> {
        let maker = Maker::new(1, OFFERS)?;
        let (keep, catalog) = watch::channel(Arc::new(catalog(&maker)?));
        let context = Context {
            keyring: Arc::new(Keyring::parse(MASTER_KEYS)?),
            catalog,
            clock: Clock::manual(maker.now.0),
            config: ProcessorConfig::default(),
            partitions: 1,
        };
        let state = Memory::default();
        Ok(Self { maker, context, state, clicks: 0, offset: 0, _catalog: keep })
    }

    /// So many records to be decided.
    fn batch(&mut self, count: u64) -> Result<Batch> {
        let mut records = Vec::new();
        for _ in 0..count {
            let token = self.maker.token(self.clicks * OFFERS)?;
            let record = self.maker.record(&token, EVENTS[0]);
            records.push(StoredRecord { offset: self.offset, record });
            self.clicks += 1;
            self.offset += 1;
        }
        Ok(Batch { records, next_offset: self.offset, at_end: false })
    }

    /// Decides them, and gives the decisions' records.
    fn decide(&mut self, batch: &Batch) -> Result<Vec<Record>> {
        let asked = Asked { batch, asked_at: self.maker.now };
        let step = decide(&self.context, &self.state, 0, asked, 0)?;
        ensure!(step.records_done == batch.records.len(), "a batch was not decided at once");
        let commit = step.commit.context("nothing was decided")?;
        for (key, value) in commit.state_changes {
            match value {
                Some(value) => self.state.0.insert(key, value.into()),
                None => self.state.0.remove(&key),
            };
        }
        let of = |(topic, _, record)| (topic == Topic::Decisions).then_some(record);
        let written: Vec<Record> = commit.outputs.into_iter().filter_map(of).collect();
        let last = String::from_utf8_lossy(&written.last().context("no decision")?.value);
        ensure!(last.contains("\"Success\""), "the postbacks were not taken: {last}");
        Ok(written)
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
