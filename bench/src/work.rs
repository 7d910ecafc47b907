//! The pieces of a postback's way, each alone and again and again, so that what one costs can be
//! counted: the product's own functions, fed as the product feeds them.

mod columns;
mod deciding;

use crate::postbacks::{EVENTS, Maker, OFFERS};
use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, ValueEnum};
use columns::Columns;
use deciding::Decider;
use eventlog::{Batch, Record, StoredRecord};
use ingest::{Checked, CredentialTable, Presented};
use schemas::{Input, Postback, ResolvedClick, TenantId, Topic, codec};
use sink::decode::Rows;
use sink::plan::Source as Place;
use std::hint::black_box;

/// Postbacks decided, or made columns of, at once.
const BATCH: u64 = 500;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Piece {
    /// Path, host and parameters of a request.
    Parse,
    /// Whether its segments and signature are an advertiser's.
    Verify,
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
    /// Making the postbacks that `step` decides.
    PrepareStep,
    /// Of that, the rules and the changes of state alone.
    Step,
    /// The decision's record as rows for ClickHouse.
    Rows,
    /// Such rows (one of postbacks, one of conversions) as the columns that are sent.
    Columns,
}

impl Piece {
    /// All that is the product's.
    pub const ALL: [Self; 9] = [
        Self::Parse,
        Self::Verify,
        Self::Open,
        Self::Encode,
        Self::Decode,
        Self::Decide,
        Self::Step,
        Self::Rows,
        Self::Columns,
    ];

    /// What a run of it does beside it.
    #[must_use]
    pub const fn overhead(self) -> Option<Self> {
        match self {
            Self::Decide => Some(Self::Prepare),
            Self::Step => Some(Self::PrepareStep),
            _ => None,
        }
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
        done += work.run(&prepared)?;
    }
    Ok(())
}

/// A piece, ready to be done again and again.
pub struct Work {
    piece: Piece,
    maker: Maker,
    token: String,
    postback: Postback,
    record: Record,
    sender: Sender,
    decider: Decider,
    decided: Batch,
    rows: Rows,
    columns: Columns,
}

/// What one go of a piece works on.
pub enum Prepared {
    /// What is there already.
    Nothing,
    Records(Batch),
    /// With the clicks that their ids seal.
    Opened(Vec<(Postback, ResolvedClick)>),
}

impl Work {
    /// # Errors
    /// When the benchmarks' own offers do not decide as they should.
    pub fn new(piece: Piece) -> Result<Self> {
        let maker = Maker::new(1, OFFERS)?;
        let token = maker.token(1)?;
        let mut decider = Decider::new(1)?;
        let first = decider.batch(1)?;
        let record = decider.decide(&first)?.into_iter().next().context("no decision")?;
        let decided = Batch {
            records: vec![StoredRecord { offset: 0, record }],
            next_offset: 1,
            at_end: true,
        };
        let postback = maker.postback(&token, EVENTS[0]);
        let record = maker.record(&token, EVENTS[0]);
        let sender = Sender::new(&maker, &decider)?;
        let rows = rows(&maker, &many(BATCH)?)?;
        let columns = Columns::new()?;
        Ok(Self { piece, maker, token, postback, record, sender, decider, decided, rows, columns })
    }

    /// Makes what the next [`Self::run`] works on.
    pub fn prepare(&mut self) -> Result<Prepared> {
        Ok(match self.piece {
            Piece::Prepare | Piece::Decide => Prepared::Records(self.decider.batch(BATCH)?),
            Piece::PrepareStep | Piece::Step => Prepared::Opened(self.decider.opened(BATCH)?),
            _ => Prepared::Nothing,
        })
    }

    /// Does the piece once, for as many postbacks as it returns.
    pub fn run(&mut self, prepared: &Prepared) -> Result<u64> {
        match (self.piece, prepared) {
            (Piece::Parse, _) => {
                let query = format!(
                    "signature=c2lnbmF0dXJl&gk_click_id={}&cnv_event_id=s2s_level%20200&gaid=38400000-8cf0",
                    self.token
                );
                black_box(ingest::route(black_box("/api/v1/2f8a0c/91be44/d0c7aa/")));
                black_box(ingest::Parameters::from_query(black_box(&query)));
            }
            (Piece::Verify, _) => {
                let checked = self.sender.check();
                ensure!(matches!(checked, Checked::Authentic(_)), "the sender is not known");
            }
            (Piece::Open, _) => drop(black_box(self.maker.keyring.open(black_box(&self.token)))?),
            (Piece::Encode, _) => drop(black_box(codec::encode(black_box(&self.postback)))),
            (Piece::Decode, _) => drop(black_box(Input::decode(black_box(&self.record.value)))?),
            (Piece::Prepare | Piece::PrepareStep, prepared) => {
                black_box(prepared);
            }
            (Piece::Decide, Prepared::Records(batch)) => {
                black_box(self.decider.decide(batch)?);
            }
            (Piece::Step, Prepared::Opened(opened)) => self.decider.step(opened)?,
            (Piece::Decide | Piece::Step, _) => bail!("nothing was prepared"),
            (Piece::Rows, _) => drop(black_box(rows(&self.maker, black_box(&self.decided))?)),
            (Piece::Columns, _) => return self.columns.fill(&self.rows),
        }
        Ok(match self.piece {
            Piece::Prepare | Piece::PrepareStep | Piece::Decide | Piece::Step | Piece::Columns => {
                BATCH
            }
            _ => 1,
        })
    }
}

/// The records of so many decisions, over all offers.
fn many(count: u64) -> Result<Batch> {
    let mut decider = Decider::new(OFFERS)?;
    let batch = decider.batch(count)?;
    let stored = |(record, offset)| StoredRecord { offset, record };
    let records: Vec<_> = decider.decide(&batch)?.into_iter().zip(0..).map(stored).collect();
    ensure!(records.len() as u64 == count, "{} decisions of {count}", records.len());
    Ok(Batch { records, next_offset: count, at_end: true })
}

fn rows(maker: &Maker, decided: &Batch) -> Result<Rows> {
    let source: Place = (Topic::Decisions, 0);
    Ok(sink::decode::decode(source, 0, decided, maker.now)?.rows)
}

/// An advertiser, as it shows itself to an ingester.
struct Sender {
    table: CredentialTable,
    tenant: TenantId,
    path: Vec<String>,
    signature: String,
}

impl Sender {
    fn new(maker: &Maker, decider: &Decider) -> Result<Self> {
        let catalog = decider.catalog();
        let table = CredentialTable::new(&catalog, &maker.keyring);
        let advertiser = catalog.advertisers().next().context("no advertiser")?;
        let version = *advertiser.credential_versions.first().context("no credentials")?;
        let tenant = advertiser.tenant.clone();
        let all = maker.keyring.credentials(&tenant, &advertiser.id, version);
        let credentials = all.first().context("no credentials")?;
        let path = credentials.segments().map(str::to_owned).to_vec();
        Ok(Self { table, tenant, path, signature: credentials.signature().to_owned() })
    }

    fn check(&self) -> Checked<'_> {
        let presented = Presented {
            tenant: Some(&self.tenant),
            path: black_box(&self.path),
            signature: black_box(Some(&self.signature)),
        };
        self.table.check(&presented)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_can_be_done_again_and_again() {
        for piece in Piece::value_variants() {
            let mut work = Work::new(*piece).unwrap();
            for _ in 0..2 {
                let prepared = work.prepare().unwrap();
                assert!(work.run(&prepared).unwrap() > 0, "{piece:?}");
            }
        }
    }
}
