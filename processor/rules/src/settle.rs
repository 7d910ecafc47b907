//! The one place where a conversion changes: its timer, its part of caps and budget, its revision
//! and its row move together, in the same step.

use crate::case::{Case, EventOf};
use crate::keys;
use crate::kind::Kind;
use crate::revisions::Row;
use crate::store::Store;
use crate::timer_keys::{self, Timer};
use schemas::{Amounts, Terms, UnixMillis};
use std::sync::Arc;

impl<S: Store> Case<'_, '_, S> {
    /// Makes the next revision of a conversion. `due`: when a pending one's timer fires. Whoever
    /// moves it to a kind that counts has reserved its place before.
    pub fn settle(
        &mut self,
        index: usize,
        kind: Kind,
        due: Option<UnixMillis>,
    ) -> Result<(), S::Error> {
        let before = self.state.records[index].kind;
        self.set_timer(index, due)?;
        if before.reserves() && !kind.reserves() {
            self.give_back(index)?;
        }
        if before.meets_level() && !kind.meets_level() {
            let level = self.event_at(index).and_then(|it| it.event().sequence);
            self.lost_levels.extend(level);
        }
        let now = self.now;
        let record = &mut self.state.records[index];
        record.kind = kind;
        record.succeeded_at = kind.succeeded().then(|| record.succeeded_at.unwrap_or(now));
        record.over_limit &= kind.reserves();
        self.revise(index)
    }

    /// Makes the next revision of a conversion that stands where it stood (its flags changed).
    pub fn revise(&mut self, index: usize) -> Result<(), S::Error> {
        let record = &mut self.state.records[index];
        record.revision = record.revision.saturating_add(1);
        record.changed = true;
        self.state.changed = true;
        self.state.converted = true;
        self.load_subs()?;
        let Some(row) = self.row(index) else { return Ok(()) };
        self.hold_to_laws(index, &row);
        self.rows.push(row);
        Ok(())
    }

    /// Cancels the timer of a record, and sets its next one.
    fn set_timer(&mut self, index: usize, due: Option<UnixMillis>) -> Result<(), S::Error> {
        let due = due.map(keys::representable);
        let record = &mut self.state.records[index];
        let slot = self.state.slot;
        let timer = Timer::Conversion { slot, event: record.event, unique: record.unique };
        let key = &mut self.scratch.key;
        if let Some(before) = record.due_at.take() {
            timer_keys::cancel(self.store, key, before, timer)?;
            self.state.pending = self.state.pending.saturating_sub(1);
        }
        if let Some(due) = due {
            timer_keys::arm(self.store, key, due, timer)?;
            self.state.pending += 1;
        }
        record.due_at = due;
        Ok(())
    }

    /// What a conversion of an event pays, and the event as it was promised. The configuration
    /// keeps every version that a click can refer to.
    pub fn amounts(&self, index: usize) -> Option<(EventOf, Amounts)> {
        let record = &self.state.records[index];
        let version = record.terms_version.unwrap_or(self.click.config_version);
        let offer = self.catalog.offer_at(self.offer.id.as_str(), version)?;
        let share = self.catalog.share_at(self.share.id.as_str(), version)?;
        let terms = Terms {
            offer: Arc::clone(&self.offer),
            share: Arc::clone(&self.share),
            paying_offer: Arc::clone(offer),
            paying_share: Arc::clone(share),
        };
        let event = EventOf::find(&self.offer, record.event)
            .or_else(|| EventOf::find(offer, record.event))?;
        let amounts = terms.amounts(event.event());
        Some((event, amounts))
    }

    /// The row of a conversion's present revision. None only where the configuration has lost the
    /// event altogether; every caller has looked for it before.
    fn row(&self, index: usize) -> Option<Row> {
        let (event, amounts) = self.amounts(index)?;
        let record = &self.state.records[index];
        Some(Row {
            identity: self.identity_of(record, &event.event().id),
            event,
            amounts,
            kind: record.kind,
            revision: record.revision,
            received_at: record.received_at,
            due_at: record.due_at,
            sale: record.sale,
            transaction: record.transaction.clone(),
            flags: record.flags,
            is_noted: self.is_noting,
        })
    }
}
