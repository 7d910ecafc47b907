//! Rule 8: what has converted already. Once for each click; once for each member of a publisher;
//! a repeatable event once for each transaction, or once for each set of parameters for a while.

use crate::case::{Case, LIFETIME_MARGIN_MS, longest_period_ms};
use crate::click_state::ClickState;
use crate::identity::{self, Occurrence};
use crate::keys::{self, ClickSlot, EventHash, Unique};
use crate::read::Facts;
use crate::store::{Damaged, Store};
use crate::timer_keys::{self, Timer};
use schemas::time::HOUR_MS;
use schemas::{Event, EventId, Flag, Postback, UnixMillis};

/// How long identical parameters are a retry when they carry the sender's time: two real events
/// would differ in it, so this is as long as senders retry, and an hour.
pub const RETRY_TIMED_MS: i64 = 25 * HOUR_MS;
/// And when they do not: two purchases of the same price may look alike.
pub const RETRY_UNTIMED_MS: i64 = HOUR_MS;

/// Where an event belongs.
pub enum Spot {
    /// No conversion of it yet.
    New { unique: Option<Unique>, identity: Option<[u8; 16]> },
    /// This record of the click.
    Here(usize),
    /// It has converted at another click; the hash in its id.
    Elsewhere([u8; 16]),
}

impl<S: Store> Case<'_, '_, S> {
    /// Finds the conversion that a postback reports, or where a new one goes.
    pub fn find_spot(
        &mut self,
        postback: &Postback,
        facts: &mut Facts<'_>,
        event: &Event,
    ) -> Result<Spot, S::Error> {
        if !event.repeatable {
            return self.find_one_time(&event.id);
        }
        match facts.transaction {
            Some(transaction) => self.find_transaction(&event.id, transaction),
            None => {
                facts.flags.add(Flag::NoTransactionId);
                self.find_retry(postback, facts, &event.id)
            }
        }
    }

    fn find_one_time(&mut self, event: &EventId) -> Result<Spot, S::Error> {
        if let Some(elsewhere) = self.member_elsewhere(event)? {
            return Ok(Spot::Elsewhere(elsewhere));
        }
        Ok(match self.state.position(EventHash::of(event), None) {
            Some(index) => Spot::Here(index),
            None => Spot::New { unique: None, identity: None },
        })
    }

    /// The conversion of the same member at another click, if it stands in the way.
    pub fn member_elsewhere(&mut self, event: &EventId) -> Result<Option<[u8; 16]>, S::Error> {
        let Some(member) = self.click.member else { return Ok(None) };
        let (root, slot) = (&self.click.root_offer, self.state.slot);
        let member = identity::member(root, &self.share.publisher, member, slot);
        let hash = EventHash::of(event);
        keys::member(&mut self.scratch.key, member, hash);
        let Some(owner) = self.read_pointer()? else { return Ok(None) };
        if owner == slot {
            return Ok(None);
        }
        let state = ClickState::load(self.store, self.scratch, owner)?;
        let blocked = state
            .position(hash, None)
            .is_some_and(|index| state.records[index].kind.blocks_member());
        state.recycle(self.scratch);
        let subject = identity::Subject { slot: owner, ..self.subject(event) };
        Ok(blocked.then(|| identity::conversion(subject, Occurrence::Once)))
    }

    /// This click's conversion is now the one of its member.
    pub fn claim_member(&mut self, index: usize) -> Result<(), S::Error> {
        let record = &self.state.records[index];
        let Some(member) = self.click.member.filter(|_| record.unique.is_none()) else {
            return Ok(());
        };
        let slot = self.state.slot;
        let member = identity::member(&self.click.root_offer, &self.share.publisher, member, slot);
        self.state.member = Some(member);
        keys::member(&mut self.scratch.key, member, record.event);
        self.store.put(&self.scratch.key, &slot.0)
    }

    fn find_transaction(&mut self, event: &EventId, text: &str) -> Result<Spot, S::Error> {
        let occurrence = Occurrence::Transaction(text);
        let unique = identity::unique(self.subject(event), occurrence)
            .ok_or(Damaged { what: "a transaction" })?;
        let hash = EventHash::of(event);
        keys::transaction(&mut self.scratch.key, unique);
        if let Some(owner) = self.read_pointer()?.filter(|owner| *owner != self.state.slot) {
            let scratch = &mut *self.scratch;
            let mut state = ClickState::load(self.store, scratch, owner)?;
            let index = state.load_repeatable(self.store, scratch, hash, unique)?;
            let record = index.map(|index| &state.records[index]);
            let blocking = record.filter(|it| it.kind.blocks()).and_then(|it| it.identity);
            state.recycle(scratch);
            if let Some(identity) = blocking {
                return Ok(Spot::Elsewhere(identity));
            }
        }
        let identity = identity::conversion(self.subject(event), occurrence);
        self.spot_of(hash, unique, identity)
    }

    fn spot_of(
        &mut self,
        event: EventHash,
        unique: Unique,
        identity: [u8; 16],
    ) -> Result<Spot, S::Error> {
        let here = self.state.load_repeatable(self.store, self.scratch, event, unique)?;
        Ok(match here {
            Some(index) => Spot::Here(index),
            None => Spot::New { unique: Some(unique), identity: Some(identity) },
        })
    }

    /// Says that a transaction is at this click now.
    pub fn claim_transaction(&mut self, index: usize) -> Result<(), S::Error> {
        let record = &self.state.records[index];
        let Some(unique) = record.unique.filter(|_| record.transaction.is_some()) else {
            return Ok(());
        };
        keys::transaction(&mut self.scratch.key, unique);
        self.store.put(&self.scratch.key, &self.state.slot.0)
    }

    /// Without a transaction: the same parameters again are a retry, for a while.
    fn find_retry(
        &mut self,
        postback: &Postback,
        facts: &Facts<'_>,
        event: &EventId,
    ) -> Result<Spot, S::Error> {
        let order = &mut self.scratch.order;
        let parameters = identity::parameters(self.state.slot, postback, order);
        let hash = EventHash::of(event);
        if let Some(index) = self.retried(parameters, postback, hash)? {
            return Ok(Spot::Here(index));
        }
        let span = if facts.carries_time { RETRY_TIMED_MS } else { RETRY_UNTIMED_MS };
        if self.redecided {
            if let Some(index) = self.retried(identity::redecided(parameters), postback, hash)? {
                return Ok(Spot::Here(index));
            }
            if let Some(index) = self.perhaps_retried(postback, hash, span)? {
                return Ok(Spot::Here(index));
            }
        }
        let occurrence = Occurrence::FirstPostback(postback);
        let identity = identity::conversion(self.subject(event), occurrence);
        let unique = Unique(identity);
        // Our own repeat, after its retries were over.
        let spot = self.spot_of(hash, unique, identity)?;
        if matches!(spot, Spot::Here(_)) {
            return Ok(spot);
        }
        let until = postback.received_at.plus_ms(span);
        // Fires when the last moment is over, and never before what it reads with.
        let over = until.plus_ms(1).max(self.now);
        if self.redecided {
            // Its retries may be put back for as long as anything of this click can be.
            let longest = longest_period_ms(&self.offer) + LIFETIME_MARGIN_MS;
            let last = self.click.clicked_at().plus_ms(longest).max(over);
            self.keep_retry(identity::redecided(parameters), until, unique, last)?;
        }
        if !self.redecided || until >= self.now {
            self.keep_retry(parameters, until, unique, over)?;
        }
        Ok(spot)
    }

    fn keep_retry(
        &mut self,
        parameters: [u8; 16],
        until: UnixMillis,
        unique: Unique,
        due: UnixMillis,
    ) -> Result<(), S::Error> {
        let scratch = &mut *self.scratch;
        keys::retry(&mut scratch.key, parameters);
        scratch.value.clear();
        keys::put_time(&mut scratch.value, until);
        scratch.value.extend_from_slice(&unique.0);
        self.store.put(&scratch.key, &scratch.value)?;
        timer_keys::arm(self.store, &mut scratch.key, due, Timer::Retry(parameters))
    }

    /// The conversion of which a postback with these parameters is a retry.
    fn retried(
        &mut self,
        parameters: [u8; 16],
        postback: &Postback,
        event: EventHash,
    ) -> Result<Option<usize>, S::Error> {
        let scratch = &mut *self.scratch;
        keys::retry(&mut scratch.key, parameters);
        if !self.store.get(&scratch.key, &mut scratch.value)? {
            return Ok(None);
        }
        let (until, unique) = read_retry(&scratch.value)?;
        if postback.received_at > until {
            return Ok(None);
        }
        self.state.load_repeatable(self.store, scratch, event, unique)
    }

    /// For one that is put back: what its sender's retries are known by is forgotten after a
    /// while. A conversion that was counted at the time may be of the same postback, and nobody can
    /// tell; it is not paid twice.
    fn perhaps_retried(
        &mut self,
        postback: &Postback,
        event: EventHash,
        span_ms: i64,
    ) -> Result<Option<usize>, S::Error> {
        self.state.load_repeatables(self.store, self.scratch)?;
        Ok(self.state.records.iter().position(|record| {
            let apart_ms = record.counted_at.0.saturating_sub(postback.received_at.0);
            record.event == event
                && record.unique.is_some()
                && record.transaction.is_none()
                && record.kind.blocks()
                && !record.flags.has(Flag::Redecided)
                && apart_ms.saturating_abs() <= span_ms
        }))
    }

    /// The click that the key in the scratch buffer points to.
    fn read_pointer(&mut self) -> Result<Option<ClickSlot>, S::Error> {
        let scratch = &mut *self.scratch;
        if !self.store.get(&scratch.key, &mut scratch.value)? {
            return Ok(None);
        }
        let slot = scratch.value.as_slice().try_into();
        Ok(Some(ClickSlot(slot.map_err(|_| Damaged { what: "a member or transaction" })?)))
    }
}

/// Until when a retry entry holds, and which conversion its first postback made.
pub fn read_retry(value: &[u8]) -> Result<(UnixMillis, Unique), Damaged> {
    let damaged = Damaged { what: "a postback without a transaction" };
    let (until, unique) = keys::split_time(value).ok_or(damaged)?;
    Ok((until, Unique(unique.try_into().map_err(|_| damaged)?)))
}
