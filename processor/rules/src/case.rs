//! One click, opened, with everything a decision about it needs; what every rule works on.

use crate::click_state::{ClickState, ExpiryHour};
use crate::context;
use crate::flags::FlagSet;
use crate::identity::{self, Occurrence, Subject};
use crate::keys::{self, ClickSlot, EventHash};
use crate::laws::{Breach, Ledger};
use crate::output::{Decided, Scratch};
use crate::record::Record;
use crate::revisions::{Revisions, Row, Subs};
use crate::store::Store;
use crate::timer_keys::{self, Timer};
use crate::wire::Reader;
use schemas::time::HOUR_MS;
use schemas::{Catalog, Event, EventId, Offer, PostbackId, ResolvedClick, Share, UnixMillis};
use std::sync::Arc;

/// A click's state outlives by this much the last moment at which something about it can still be
/// decided otherwise than by its age.
pub const LIFETIME_MARGIN_MS: i64 = 25 * HOUR_MS;
const _: () = assert!(LIFETIME_MARGIN_MS > crate::convert::STRAGGLER_MAX_MS);

/// The longest of all periods that matter to a click of an offer.
pub fn longest_period_ms(offer: &Offer) -> i64 {
    let of_events = offer.events.iter().map(|event| event.deadline_ms.max(event.pending_ms));
    let others = [offer.attribution_window_ms, offer.reversal_window_ms, offer.sequence_grace_ms];
    of_events.chain(others).max().unwrap_or(0)
}

/// `'a`: what came in, which the revisions borrow.
pub struct Case<'w, 'a, S: Store> {
    pub store: &'w mut S,
    pub catalog: &'a Catalog,
    pub scratch: &'w mut Scratch,
    /// The partition's clock.
    pub now: UnixMillis,
    pub click: &'a ResolvedClick,
    pub click_id: &'a str,
    /// Today's.
    pub offer: Arc<Offer>,
    pub share: Arc<Share>,
    pub state: ClickState,
    /// The revisions made so far, in order.
    pub rows: Vec<Row>,
    /// The postback that leads to them, if one does.
    pub postback_id: Option<PostbackId>,
    /// An operator's words, if it is a decision by hand.
    pub note: &'a str,
    /// They are about what is being settled.
    pub is_noting: bool,
    /// The postback is put back for decision: it is judged by the time it was received, however
    /// long ago that is.
    pub redecided: bool,
    /// Levels that lost a conversion that met them.
    pub lost_levels: Vec<u32>,
    /// Caps or budget have changed.
    pub limits_touched: bool,
    /// Where the click's sub-ids are, once a row needed them.
    pub subs: Option<Subs>,
    /// What was counted and spent, to be held against the rows.
    pub ledger: Ledger,
    /// Laws that were broken; empty, unless this code or the state is wrong.
    pub broken: Vec<Breach>,
}

/// An offer's version and an event of it.
#[derive(Debug, Clone)]
pub struct EventOf {
    pub offer: Arc<Offer>,
    index: usize,
}

impl EventOf {
    /// The event with a hash, if the offer has it.
    pub fn find(offer: &Arc<Offer>, hash: EventHash) -> Option<Self> {
        let index = offer.events.iter().position(|event| EventHash::of(&event.id) == hash)?;
        Some(Self { offer: Arc::clone(offer), index })
    }

    pub fn event(&self) -> &Event {
        &self.offer.events[self.index]
    }
}

/// What the caller of a case knows already.
pub struct Opening<'a> {
    pub catalog: &'a Catalog,
    pub now: UnixMillis,
    pub click: &'a ResolvedClick,
    pub click_id: &'a str,
    pub offer: Arc<Offer>,
    pub share: Arc<Share>,
    pub test: bool,
}

impl<'w, 'a, S: Store> Case<'w, 'a, S> {
    /// Loads the click's state.
    pub fn open(
        store: &'w mut S,
        scratch: &'w mut Scratch,
        opening: Opening<'a>,
    ) -> Result<Self, S::Error> {
        let Opening { catalog, now, click, click_id, offer, share, test } = opening;
        let slot = ClickSlot::new(click.key, test);
        let state = ClickState::load(store, scratch, slot)?;
        let rows = std::mem::take(&mut scratch.rows);
        let lost_levels = std::mem::take(&mut scratch.levels);
        Ok(Self {
            store,
            catalog,
            scratch,
            now,
            click,
            click_id,
            offer,
            share,
            state,
            rows,
            postback_id: None,
            note: "",
            is_noting: false,
            redecided: false,
            lost_levels,
            limits_touched: false,
            subs: None,
            ledger: Ledger::default(),
            broken: Vec::new(),
        })
    }

    /// Writes the click's state if it changed, and publishes what became used up or free. Gives
    /// the revisions, to be told and then recycled.
    pub fn close(mut self, out: &mut impl Decided) -> Result<Revisions<'a>, S::Error> {
        self.tell_breaches(out);
        if self.limits_touched {
            self.refresh_availability(out)?;
        }
        if self.state.changed {
            self.prolong()?;
            self.keep_context()?;
            self.state.save(self.store, self.scratch)?;
        }
        self.scratch.keep_levels(self.lost_levels);
        let test = self.state.slot.is_test();
        self.state.recycle(self.scratch);
        Ok(Revisions {
            rows: self.rows,
            decided_at: self.now,
            click: self.click,
            click_id: self.click_id,
            offer: self.offer,
            share: self.share,
            subs: self.subs.unwrap_or(Subs::Token),
            test,
            note: self.note,
            postback_id: self.postback_id,
        })
    }

    /// A click's state lives for the longest of all periods that matter to it after its last
    /// change. An earlier timer that is set already finds the later time when it fires.
    fn prolong(&mut self) -> Result<(), S::Error> {
        let until = self.now.plus_ms(longest_period_ms(&self.offer)).plus_ms(LIFETIME_MARGIN_MS);
        self.state.expires = self.state.expires.max(ExpiryHour::not_before(until));
        if !self.state.stored {
            let due = self.state.expires.time();
            let timer = Timer::Click(self.state.slot);
            timer_keys::arm(self.store, &mut self.scratch.key, due, timer)?;
            self.state.stored = true;
        }
        Ok(())
    }

    /// The context is there exactly while a conversion is pending.
    fn keep_context(&mut self) -> Result<(), S::Error> {
        let (before, now) = (self.state.pending_before > 0, self.state.pending > 0);
        let slot = self.state.slot;
        if now && !before {
            context::put(self.store, self.scratch, slot, self.click, self.click_id)?;
        } else if before && !now {
            keys::context(&mut self.scratch.key, slot);
            self.store.delete(&self.scratch.key)?;
        }
        Ok(())
    }

    /// Today's event of a record, or the one it was made under when today's offer has it no more.
    pub fn event_of(&self, event: EventHash, terms_version: Option<u64>) -> Option<EventOf> {
        EventOf::find(&self.offer, event).or_else(|| {
            let version = terms_version.unwrap_or(self.click.config_version);
            EventOf::find(self.catalog.offer_at(self.offer.id.as_str(), version)?, event)
        })
    }

    /// [`Self::event_of`] the record at `index`.
    pub fn event_at(&self, index: usize) -> Option<EventOf> {
        let record = &self.state.records[index];
        self.event_of(record.event, record.terms_version)
    }

    pub fn subject<'b>(&'b self, event: &'b EventId) -> Subject<'b> {
        Subject {
            tenant: &self.offer.tenant,
            root_offer: &self.click.root_offer,
            slot: self.state.slot,
            event,
        }
    }

    /// The hash in a conversion's id, which is one below the click's root offer.
    pub fn identity_of(&self, record: &Record, event: &EventId) -> [u8; 16] {
        record
            .identity
            .unwrap_or_else(|| identity::conversion(self.subject(event), Occurrence::Once))
    }

    /// Finds the click's sub-ids, byte for byte: in its token, or all of them in its details.
    pub fn load_subs(&mut self) -> Result<(), S::Error> {
        if self.subs.is_some() {
            return Ok(());
        }
        let mut subs = Subs::Token;
        if self.click.details {
            let mut bytes = std::mem::take(&mut self.scratch.details);
            keys::details(&mut self.scratch.key, self.click.key);
            if self.store.get(&self.scratch.key, &mut bytes)? {
                context::read_subs(&mut Reader::new(&bytes, context::SUBS))?;
                subs = Subs::Details(bytes);
            }
        }
        self.subs = Some(subs);
        Ok(())
    }

    /// Adds a record that is not a conversion yet; its place.
    pub fn add_record(&mut self, record: Record) -> usize {
        self.state.has_repeatables |= record.unique.is_some();
        self.state.records.push(record);
        self.state.records.len() - 1
    }

    pub fn add_flags(&mut self, index: usize, flags: FlagSet) {
        let record = &mut self.state.records[index];
        record.flags = record.flags.union(flags);
    }
}
