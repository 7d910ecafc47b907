//! The pieces of a postback's way, each alone and again and again, so that what one costs can be
//! counted: the product's own functions, fed as the product feeds them.

use crate::postbacks::{EVENTS, Maker, OFFERS, Offers};
use admin::apply::{Source, check};
use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use eventlog::{Batch, PartitionState, ReadError, StoredRecord};
use processor::ProcessorConfig;
use processor::pipeline::{Asked, Context, decide};
use schemas::{Catalog, Input, Topic, codec};
use service::Clock;
use sink::plan::Source as Place;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use tests::stack::examples;
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
    /// Everything from the record to its decision: reading, opening, rules, state, invariants,
    /// and the decision's own record.
    Decide,
    /// The decision's record as rows for ClickHouse.
    Rows,
}

impl Piece {
    pub const ALL: [Self; 6] =
        [Self::Parse, Self::Open, Self::Encode, Self::Decode, Self::Decide, Self::Rows];
}

#[derive(Debug, Args)]
pub struct Arguments {
    piece: Piece,
    count: u64,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let count = arguments.count;
    let maker = Maker::new(1, OFFERS)?;
    let token = maker.token(1)?;
    match arguments.piece {
        Piece::Parse => {
            let path = "/api/v1/2f8a0c/91be44/d0c7aa/";
            let query = format!(
                "signature=c2lnbmF0dXJl&gk_click_id={token}&cnv_event_id=s2s_level%20200&gaid=38400000-8cf0"
            );
            for _ in 0..count {
                black_box(ingest::route(black_box(path)));
                black_box(ingest::Parameters::from_query(black_box(&query)));
            }
        }
        Piece::Open => {
            for _ in 0..count {
                black_box(maker.keyring.open(black_box(&token)))?;
            }
        }
        Piece::Encode => {
            let postback = maker.postback(&token, EVENTS[0]);
            for _ in 0..count {
                black_box(codec::encode(black_box(&postback)));
            }
        }
        Piece::Decode => {
            let record = maker.record(&token, EVENTS[0]);
            for _ in 0..count {
                black_box(Input::decode(black_box(&record.value)))?;
            }
        }
        Piece::Decide => {
            decisions(maker, count)?;
        }
        Piece::Rows => {
            let decided = decisions(maker, 1)?;
            let source: Place = (Topic::Decisions, 0);
            let record = decided.into_iter().next().context("no decision")?;
            let at = record.at;
            let records = vec![StoredRecord { offset: 0, record }];
            let batch = Batch { records, next_offset: 1, at_end: true };
            for _ in 0..count {
                black_box(sink::decode::decode(source, 0, black_box(&batch), at))?;
            }
        }
    }
    Ok(())
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

/// Decides the first event of so many clicks, in batches, and gives the last batch's records.
fn decisions(maker: Maker, count: u64) -> Result<Vec<eventlog::Record>> {
    let mut state = Memory::default();
    let catalog = Arc::new(catalog(&maker)?);
    let (_keep, catalog) = watch::channel(catalog);
    let (now, config) = (maker.now, ProcessorConfig::default());
    let tokens = (0..count).map(|it| maker.token(it * OFFERS)).collect::<Result<Vec<_>>>()?;
    let records: Vec<_> = tokens.iter().map(|token| maker.record(token, EVENTS[0])).collect();
    let keyring = Arc::new(maker.keyring);
    let context = Context { keyring, catalog, clock: Clock::manual(now.0), config, partitions: 1 };
    let mut written = Vec::new();
    let mut offset = 0;
    for portion in records.chunks(BATCH as usize) {
        let stored = (offset..).zip(portion);
        let records: Vec<StoredRecord> = stored
            .map(|(offset, record)| StoredRecord { offset, record: record.clone() })
            .collect();
        offset += records.len() as u64;
        let batch = Batch { records, next_offset: offset, at_end: false };
        let asked = Asked { batch: &batch, asked_at: now };
        let step = decide(&context, &state, 0, asked, 0)?;
        ensure!(step.records_done == portion.len(), "a batch was not decided at once");
        let commit = step.commit.context("nothing was decided")?;
        for (key, value) in commit.state_changes {
            match value {
                Some(value) => state.0.insert(key, value.into()),
                None => state.0.remove(&key),
            };
        }
        let of = |(topic, _, record)| (topic == Topic::Decisions).then_some(record);
        written = commit.outputs.into_iter().filter_map(of).collect();
    }
    let last = written.last().context("no decision")?;
    ensure!(
        String::from_utf8_lossy(&last.value).contains("\"Success\""),
        "the postbacks were not taken: {}",
        String::from_utf8_lossy(&last.value)
    );
    Ok(written)
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
