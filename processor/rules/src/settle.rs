//! The one place where a conversion changes: its timer, its part of caps and budget, its revision
//! and its row move together, in the same step.

use crate::case::{Case, EventOf};
use crate::keys;
use crate::kind::Kind;
use crate::store::Store;
use crate::timer_keys::{self, Timer};
use schemas::{Amounts, Conversion, Terms, UnixMillis};
use std::sync::Arc;

impl<S: Store> Case<'_, S> {
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
        let row = self.row(index);
        self.rows.extend(row);
        Ok(())
    }

    /// Cancels the timer of a record, and sets its next one.
    fn set_timer(&mut self, index: usize, due: Option<UnixMillis>) -> Result<(), S::Error> {
        let due = due.map(keys::representable);
        let record = &mut self.state.records[index];
        let slot = self.state.slot;
        let timer = Timer::Conversion { slot, event: record.event, unique: record.unique };
        let key = &mut self.out.scratch.key;
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
    fn row(&mut self, index: usize) -> Option<Conversion> {
        let (event_of, amounts) = self.amounts(index)?;
        let event = event_of.event();
        let record = &self.state.records[index];
        let shared = self.share.event(&event.id);
        let conversion_id = self.conversion_id(record, &event.id);
        let click_id = self.shared_click_id.get_or_insert_with(|| self.click_id.into());
        Some(Conversion {
            conversion_id,
            revision: record.revision,
            click_id: Arc::clone(click_id),
            clicked_at: self.click.clicked_at(),
            tenant: self.offer.tenant.clone(),
            advertiser_id: self.offer.advertiser.clone(),
            offer_id: self.offer.id.clone(),
            root_offer_id: self.click.root_offer.clone(),
            share_id: self.share.id.clone(),
            publisher_id: self.share.publisher.clone(),
            event_id: event.id.clone(),
            event_name: shared
                .and_then(|changed| changed.name.clone())
                .unwrap_or_else(|| Arc::clone(&event.name)),
            sequence: event.sequence,
            status: record.kind.status(),
            reason: record.kind.reason(),
            note: self.note.to_owned(),
            received_at: record.received_at,
            due_at: record.due_at,
            decided_at: self.now,
            revenue: amounts.revenue,
            payout: amounts.payout,
            currency: amounts.currency,
            reward: amounts.reward,
            reward_unit: Arc::clone(&event_of.offer.reward_unit),
            sale_amount: record.sale.map(|sale| sale.micros),
            sale_currency: record.sale.map(|sale| sale.currency),
            transaction_id: record.transaction.clone(),
            offer_version: amounts.offer_version,
            country: self.click.country().map(str::to_owned),
            platform: self.click.platform,
            subs: self.subs.clone().unwrap_or_default(),
            test: self.state.slot.is_test(),
            flags: record.flags.iter().collect(),
            postback_id: self.postback_id,
        })
    }
}
