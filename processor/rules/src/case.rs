//! One click, opened, with everything a decision about it needs; what every rule works on.

use crate::click_state::{ClickState, ExpiryHour};
use crate::context;
use crate::flags::FlagSet;
use crate::identity::{self, Occurrence, Subject};
use crate::keys::{self, ClickSlot, EventHash};
use crate::output::Output;
use crate::record::Record;
use crate::store::Store;
use crate::timer_keys::{self, Timer};
use crate::wire::Reader;
use schemas::time::HOUR_MS;
use schemas::{
    Catalog, Conversion, ConversionId, Event, EventId, Offer, PostbackId, ResolvedClick, Share,
    SubIds, UnixMillis,
};
use std::sync::Arc;

/// A click's state outlives by this much the last moment at which something about it can still be
/// decided otherwise than by its age.
const LIFETIME_MARGIN_MS: i64 = 25 * HOUR_MS;
const _: () = assert!(LIFETIME_MARGIN_MS > crate::convert::STRAGGLER_MAX_MS);

pub struct Case<'a, S: Store> {
    pub store: &'a mut S,
    pub catalog: &'a Catalog,
    pub out: &'a mut Output,
    /// The partition's clock.
    pub now: UnixMillis,
    pub click: &'a ResolvedClick,
    pub click_id: &'a str,
    /// Today's.
    pub offer: Arc<Offer>,
    pub share: Arc<Share>,
    pub state: ClickState,
    /// The revisions made so far, in order.
    pub rows: Vec<Conversion>,
    /// The postback that leads to them, if one does.
    pub postback_id: Option<PostbackId>,
    /// An operator's words, if it is a decision by hand.
    pub note: &'a str,
    /// Levels that lost a conversion that met them.
    pub lost_levels: Vec<u32>,
    /// Caps or budget have changed.
    pub limits_touched: bool,
    /// The click's sub-ids, once a row needed them.
    pub subs: Option<SubIds>,
    /// The click id as rows share it.
    pub shared_click_id: Option<Arc<str>>,
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

impl<'a, S: Store> Case<'a, S> {
    /// Loads the click's state.
    pub fn open(
        store: &'a mut S,
        out: &'a mut Output,
        opening: Opening<'a>,
    ) -> Result<Self, S::Error> {
        let Opening { catalog, now, click, click_id, offer, share, test } = opening;
        let slot = ClickSlot::new(click.key, test);
        let state = ClickState::load(store, &mut out.scratch, slot)?;
        Ok(Self {
            store,
            catalog,
            out,
            now,
            click,
            click_id,
            offer,
            share,
            state,
            rows: Vec::new(),
            postback_id: None,
            note: "",
            lost_levels: Vec::new(),
            limits_touched: false,
            subs: None,
            shared_click_id: None,
        })
    }

    /// Writes the click's state if it changed, and publishes what became used up or free.
    pub fn close(mut self) -> Result<Vec<Conversion>, S::Error> {
        if self.limits_touched {
            self.refresh_availability()?;
        }
        if self.state.changed {
            self.prolong()?;
            self.keep_context()?;
            self.state.save(self.store, &mut self.out.scratch)?;
        }
        Ok(self.rows)
    }

    /// A click's state lives for the longest of all periods that matter to it after its last
    /// change. An earlier timer that is set already finds the later time when it fires.
    fn prolong(&mut self) -> Result<(), S::Error> {
        let events = &self.offer.events;
        let longest = events
            .iter()
            .map(|event| event.deadline_ms.max(event.pending_ms))
            .chain([
                self.offer.attribution_window_ms,
                self.offer.reversal_window_ms,
                self.offer.sequence_grace_ms,
            ])
            .max()
            .unwrap_or(0);
        let until = self.now.plus_ms(longest).plus_ms(LIFETIME_MARGIN_MS);
        self.state.expires = self.state.expires.max(ExpiryHour::not_before(until));
        if !self.state.stored {
            let due = self.state.expires.time();
            let timer = Timer::Click(self.state.slot);
            timer_keys::arm(self.store, &mut self.out.scratch.key, due, timer)?;
            self.state.stored = true;
        }
        Ok(())
    }

    /// The context is there exactly while a conversion is pending.
    fn keep_context(&mut self) -> Result<(), S::Error> {
        let (before, now) = (self.state.pending_before > 0, self.state.pending > 0);
        let slot = self.state.slot;
        if now && !before {
            context::put(self.store, &mut self.out.scratch, slot, self.click, self.click_id)?;
        } else if before && !now {
            keys::context(&mut self.out.scratch.key, slot);
            self.store.delete(&self.out.scratch.key)?;
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

    pub fn conversion_id(&self, record: &Record, event: &EventId) -> ConversionId {
        let hash = record
            .identity
            .unwrap_or_else(|| identity::conversion(self.subject(event), Occurrence::Once));
        ConversionId::from_hash(&self.click.root_offer, hash)
    }

    /// The click's sub-ids, byte for byte: those in the token, or all of them from its details.
    pub fn load_subs(&mut self) -> Result<(), S::Error> {
        if self.subs.is_some() {
            return Ok(());
        }
        let mut subs = self.click.subs.clone();
        if self.click.details {
            let scratch = &mut self.out.scratch;
            keys::details(&mut scratch.key, self.click.key);
            if self.store.get(&scratch.key, &mut scratch.value)? {
                let mut reader = Reader::new(&scratch.value, "a click's sub-ids");
                subs = context::decode_subs(&mut reader)?;
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
