//! A small model of the ClickHouse tables: inserts with a deduplication token, rows with an
//! identity that collapses repeats when they are read.

use super::Broken;
use eventlog::simulated::Random;
use schemas::{Conversion, Decision, PostbackOutcome, Redecision};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// A row's identity: it ends the sorting key of its table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    Postback(String),
    Conversion(String, u32),
    Redecision(String, String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    Postback(Box<PostbackOutcome>),
    Conversion(Box<Conversion>),
    Redecision(Box<Redecision>),
}

impl Row {
    pub fn identity(&self) -> Identity {
        match self {
            Self::Postback(row) => Identity::Postback(row.postback_id.to_string()),
            Self::Conversion(row) => {
                Identity::Conversion(row.conversion_id.to_string(), row.revision)
            }
            Self::Redecision(row) => {
                Identity::Redecision(row.run_id.to_string(), row.outcome.postback_id.to_string())
            }
        }
    }

    /// The rows of one decision.
    pub fn of(decision: &Decision) -> impl Iterator<Item = Self> {
        let postback = decision.postback.iter().cloned().map(Box::new).map(Self::Postback);
        let again = decision.redecision.iter().cloned().map(Box::new).map(Self::Redecision);
        let rows = decision.conversions.iter().cloned().map(Box::new).map(Self::Conversion);
        postback.chain(again).chain(rows)
    }
}

pub struct Tables {
    /// As they lie on disk.
    pub rows: Vec<Row>,
    tokens: BTreeSet<String>,
    /// Inserts that go wrong, in a thousand; half of them after the rows are in.
    pub faults: u32,
    pub random: Random,
    pub collapses: bool,
}

pub type SharedTables = Arc<Mutex<Tables>>;

impl Tables {
    pub fn new(seed: u64, collapses: bool) -> Self {
        let random = Random::new(seed ^ 0x7ab1_e000);
        Self { rows: Vec::new(), tokens: BTreeSet::new(), faults: 0, random, collapses }
    }

    /// Inserts rows all or none; true when it answers that they are in. Rows whose token it has
    /// seen are dropped.
    pub fn insert(&mut self, token: &str, rows: &[Row]) -> bool {
        let roll = self.random.below(1_000);
        let faults = u64::from(self.faults);
        if roll < faults / 2 {
            return false;
        }
        let is_new = self.tokens.insert(token.to_owned());
        if is_new || !self.collapses {
            self.rows.extend_from_slice(rows);
        }
        roll >= faults
    }

    /// As the views show them: one row an identity. Repeats must say the same.
    pub fn collapsed(&self) -> Result<BTreeMap<Identity, Row>, Broken> {
        let mut view = BTreeMap::new();
        for row in &self.rows {
            let identity = row.identity();
            match view.get(&identity) {
                None => drop(view.insert(identity, row.clone())),
                Some(before) if before == row && self.collapses => {}
                Some(before) => {
                    let detail = format!("{identity:?} is there twice:\n{before:#?}\n{row:#?}");
                    return Err(Broken::new("a row shows once", detail));
                }
            }
        }
        Ok(view)
    }
}
