//! A whole history held against the invariants, from its rows alone: for models, simulations and
//! fuzzing. Production asks the same of one step at a time, with the state at hand. Outcomes are
//! counted where the inputs are known, by [`super::check_outcomes`].

use super::{Invariant, check_decision, check_revision};
use crate::store::{Damaged, Store};
use crate::{availability, output};
use schemas::{
    AvailabilityScope, Catalog, Conversion, ConversionId, ConversionStatus, Decision, EventId,
    Flag, Micros, OfferId, Reason,
};
use std::collections::BTreeMap;

/// What makes a conversion the only one of its kind: click, lane, event and, where the event is
/// repeatable, the transaction.
type Subject = (String, bool, EventId, Option<String>);

/// Everything decided so far; grows with it.
#[derive(Debug, Default)]
pub struct Audit {
    present: BTreeMap<ConversionId, Conversion>,
    live: BTreeMap<Subject, ConversionId>,
    /// Conversions that count, by root offer and event.
    counted: BTreeMap<(OfferId, EventId), u64>,
    /// What they take of the budget, in micros.
    spent: BTreeMap<OfferId, i128>,
}

impl Audit {
    /// Takes the next decision of a partition, made under `catalog`.
    ///
    /// # Errors
    /// The first invariant that it breaks.
    pub fn observe(&mut self, decision: &Decision, catalog: &Catalog) -> Result<(), Invariant> {
        check_decision(decision)?;
        for row in &decision.conversions {
            self.revise(row, catalog)?;
        }
        Ok(())
    }

    fn revise(&mut self, row: &Conversion, catalog: &Catalog) -> Result<(), Invariant> {
        let before = self.present.insert(row.conversion_id.clone(), row.clone());
        check_revision(before.as_ref(), row)?;
        self.keep_live(before.as_ref(), row, catalog)?;
        let counted = before.as_ref().is_some_and(counts);
        let place = (row.root_offer_id.clone(), row.event_id.clone());
        let root = catalog.offer(row.root_offer_id.as_str());
        let budgeted = root.is_some_and(|root| root.currency == row.currency);
        let micros = if budgeted { i128::from(row.revenue.0) } else { 0 };
        let count = self.counted.entry(place).or_default();
        let spent = self.spent.entry(row.root_offer_id.clone()).or_default();
        match (counted, counts(row)) {
            (false, true) => {
                *count += 1;
                *spent += micros;
                let event = root.and_then(|it| it.events.iter().find(|it| it.id == row.event_id));
                let over_cap =
                    event.and_then(|it| it.caps.total).is_some_and(|total| *count > total);
                let budget = root.and_then(|root| root.budget);
                let over_budget =
                    micros > 0 && budget.is_some_and(|Micros(budget)| *spent > budget.into());
                if over_cap || over_budget {
                    return Err(Invariant::WithinLimits);
                }
            }
            (true, false) => {
                *count = count.checked_sub(1).ok_or(Invariant::TotalsNetOut)?;
                *spent -= micros;
                if *spent < 0 {
                    return Err(Invariant::TotalsNetOut);
                }
            }
            (false, false) | (true, true) => {}
        }
        Ok(())
    }

    fn keep_live(
        &mut self,
        before: Option<&Conversion>,
        row: &Conversion,
        catalog: &Catalog,
    ) -> Result<(), Invariant> {
        let offer = catalog.offer(row.offer_id.as_str());
        let repeatable = offer
            .and_then(|offer| offer.events.iter().find(|it| it.id == row.event_id))
            .is_some_and(|event| event.repeatable);
        let transaction = row.transaction_id.as_deref().filter(|_| repeatable);
        // Two without a transaction are told apart by their postbacks.
        if repeatable && transaction.is_none() {
            return Ok(());
        }
        let subject = |row: &Conversion| {
            let transaction = transaction.map(str::to_owned);
            (row.click_id.to_string(), row.test, row.event_id.clone(), transaction)
        };
        if before.is_some_and(is_live) {
            self.live.remove(&subject(row));
        }
        let twin = is_live(row)
            .then(|| self.live.insert(subject(row), row.conversion_id.clone()))
            .flatten();
        if twin.is_some() { Err(Invariant::OneLiveConversion) } else { Ok(()) }
    }

    /// Whether the budget that the rules keep of a root offer is what the rows add up to.
    ///
    /// # Errors
    /// The store's, and [`Invariant::TotalsNetOut`] as the inner result.
    pub fn check_totals<S: Store<Error = Damaged>>(
        &self,
        store: &mut S,
        root_offer: &OfferId,
    ) -> Result<Result<(), Invariant>, Damaged> {
        let scope = AvailabilityScope::RootOffer(root_offer.clone());
        let mut scratch = output::Scratch::default();
        let kept = availability::ScopeState::load(store, &mut scratch, &scope)?.reserved_micros;
        let told = self.spent.get(root_offer).copied().unwrap_or_default();
        Ok(if i128::from(kept) == told { Ok(()) } else { Err(Invariant::TotalsNetOut) })
    }
}

fn is_live(row: &Conversion) -> bool {
    row.status != ConversionStatus::Rejected
}

/// It counts in caps and budget.
fn counts(row: &Conversion) -> bool {
    let reserves = is_live(row) && row.reason != Some(Reason::WaitingSequence);
    reserves && !row.test && !row.flags.contains(&Flag::OverLimit)
}
