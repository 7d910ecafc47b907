//! The named invariants, held against every revision as it is made: with what is at hand, so that
//! production can afford it. What is decided stands; a breach is told beside it.

use crate::case::Case;
use crate::invariants::{self, Invariant, Standing, Violation};
use crate::kind::Kind;
use crate::output::Decided;
use crate::record::{Record, Told};
use crate::revisions::Row;
use crate::store::Store;
use schemas::{ConversionIdView, ConversionStatus};

/// A breach of a law, and the hash in the id of the conversion that it shows at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breach {
    pub invariant: Invariant,
    pub conversion: Option<[u8; 16]>,
}

/// What a step takes of caps and budget, booked twice: as it is counted, and as the rows say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ledger {
    places: i64,
    micros: i128,
    places_told: i64,
    micros_told: i128,
}

impl Ledger {
    /// So many conversions more are counted, and so much is spent.
    pub fn book(&mut self, places: i64, micros: i64) {
        self.places += places;
        self.micros += i128::from(micros);
    }

    /// A revision says so.
    fn tell(&mut self, places: i64, micros: i64) {
        self.places_told += places;
        self.micros_told += i128::from(places) * i128::from(micros);
    }

    fn nets_out(&self) -> bool {
        (self.places, self.micros) == (self.places_told, self.micros_told)
    }
}

impl Told {
    fn of_standing(self) -> Standing {
        Standing {
            revision: self.revision,
            status: self.kind.status(),
            reason: self.kind.reason(),
            due_at: self.due_at,
        }
    }

    fn is_live(self) -> bool {
        is_live(self.kind)
    }
}

fn is_live(kind: Kind) -> bool {
    kind.is_conversion() && kind.status() != ConversionStatus::Rejected
}

impl<S: Store> Case<'_, '_, S> {
    /// Notes that a law is broken.
    pub fn breaks(&mut self, index: usize, invariant: Invariant) {
        let conversion = self
            .event_at(index)
            .map(|event_of| self.identity_of(&self.state.records[index], &event_of.event().id));
        self.broken.push(Breach { invariant, conversion });
    }

    /// Holds a new revision of the record at `index` against the one before it.
    pub fn hold_to_laws(&mut self, index: usize, row: &Row) {
        let record = &self.state.records[index];
        let (before, after) = (record.told, record.standing());
        let mut broken = [
            invariants::check_next(before.map(Told::of_standing), after.of_standing(), self.now)
                .err(),
            before
                .is_some_and(|before| {
                    before.is_live() && before.terms_version != after.terms_version
                })
                .then_some(Invariant::AmountsStay),
            succeeds_too_early(record, before, row, self.now).then_some(Invariant::NotBeforeDue),
            (after.is_live() && self.has_a_live_twin(index))
                .then_some(Invariant::OneLiveConversion),
        ];
        let counted = |told: Option<Told>| i64::from(told.is_some_and(|told| told.counts));
        if !self.state.slot.is_test() {
            let root = self.catalog.offer(self.click.root_offer.as_str());
            let is_paid = root.is_some_and(|root| root.currency == row.amounts.currency);
            let micros = if is_paid { row.amounts.revenue.0 } else { 0 };
            self.ledger.tell(counted(Some(after)) - counted(before), micros);
        }
        self.state.records[index].told = Some(after);
        for invariant in broken.iter_mut().filter_map(Option::take) {
            self.broken.push(Breach { invariant, conversion: Some(row.identity) });
        }
    }

    /// Whether another loaded conversion of the same event and occurrence is live.
    fn has_a_live_twin(&self, index: usize) -> bool {
        let own = &self.state.records[index];
        self.state.records.iter().enumerate().any(|(at, other)| {
            at != index
                && (other.event, other.unique) == (own.event, own.unique)
                && is_live(other.kind)
        })
    }

    /// At the end of a step: tells what was broken in it.
    pub fn tell_breaches(&mut self, out: &mut impl Decided) {
        if !self.ledger.nets_out() {
            let conversion = self.rows.last().map(|row| row.identity);
            self.broken.push(Breach { invariant: Invariant::TotalsNetOut, conversion });
        }
        for Breach { invariant, conversion } in &self.broken {
            let root_offer = &self.click.root_offer;
            out.violated(&Violation {
                invariant: *invariant,
                conversion_id: conversion.map(|hash| ConversionIdView { root_offer, hash }),
                postback_id: self.postback_id,
            });
        }
    }
}

/// Whether a conversion that was not held first succeeds before its pending time is over.
fn succeeds_too_early(
    record: &Record,
    before: Option<Told>,
    row: &Row,
    now: schemas::UnixMillis,
) -> bool {
    // One that is held keeps the due time it has, whatever the event's pending time is today.
    let was_settled = before.is_some_and(|told| told.kind == Kind::Hold || told.kind.succeeded());
    record.kind == Kind::Success
        && !was_settled
        && record.counted_at.plus_ms(row.event.event().pending_ms) > now
        && row.event.event().pending_ms > 0
}
