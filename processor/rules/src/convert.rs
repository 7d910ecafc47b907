//! Rules 6 to 13: a postback that reports an event of a click.

use crate::case::Case;
use crate::keys::EventHash;
use crate::kind::Kind;
use crate::read::Facts;
use crate::record::Record;
use crate::sender_time::BEHIND_MAX_MS;
use crate::store::Store;
use crate::text::Text;
use crate::uniqueness::Spot;
use schemas::time::MINUTE_MS;
use schemas::{AmountsAt, Event, LiveState, Outcome, Postback, Reason};

/// How far behind the partition's clock an event can lie and still be judged by its own time: as
/// far as a sender's time is believed, and what two ingesters' clocks may differ.
pub const STRAGGLER_MAX_MS: i64 = BEHIND_MAX_MS + 30 * MINUTE_MS;

/// What became of a postback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: Outcome,
    pub reason: Option<Reason>,
    /// The hash in the id of the conversion it is about.
    pub conversion: Option<[u8; 16]>,
}

impl Verdict {
    pub fn rejected(reason: Reason) -> Self {
        Self { outcome: Outcome::Rejected, reason: Some(reason), conversion: None }
    }

    pub fn ignored() -> Self {
        Self { outcome: Outcome::Ignored, reason: Some(Reason::Ignored), conversion: None }
    }

    pub fn duplicate(conversion: Option<[u8; 16]>) -> Self {
        Self { outcome: Outcome::Duplicate, reason: Some(Reason::Duplicate), conversion }
    }
}

impl<S: Store> Case<'_, '_, S> {
    pub fn convert(
        &mut self,
        postback: &Postback,
        facts: &mut Facts<'_>,
        event: &Event,
    ) -> Result<Verdict, S::Error> {
        // 6, 7
        if let Some(reason) = self.too_late(facts, event) {
            return Ok(Verdict::rejected(reason));
        }
        self.load_sequence()?;
        // 8
        let (index, kept_rejection) = match self.find_spot(postback, facts, event)? {
            Spot::Elsewhere(id) => return Ok(Verdict::duplicate(Some(id))),
            Spot::Here(index) => {
                let record = &self.state.records[index];
                if record.kind.blocks() {
                    let id = self.identity_of(record, &event.id);
                    return Ok(Verdict::duplicate(Some(id)));
                }
                (index, !record.kind.is_conversion())
            }
            Spot::New { unique, identity } => {
                let hash = EventHash::of(&event.id);
                (
                    self.add_record(Record::begin(hash, unique, identity, postback.received_at)),
                    false,
                )
            }
        };
        self.begin(index, postback, facts, event);
        self.claim_transaction(index)?;
        if kept_rejection || self.state.reject_all {
            self.settle(index, Kind::AdvertiserRejected, None)?;
        } else if !self.sequence_met(event) {
            // 9
            // One that is put back waits for others that are.
            let since = if self.redecided { self.now } else { postback.received_at };
            let due = since.plus_ms(self.offer.sequence_grace_ms).max(self.now);
            self.settle(index, Kind::Waiting, Some(due))?;
        } else {
            self.decide(index)?;
        }
        self.ripple()?;
        let record = &self.state.records[index];
        Ok(Verdict {
            outcome: record.kind.outcome(),
            reason: record.kind.reason(),
            conversion: Some(self.identity_of(record, &event.id)),
        })
    }

    /// Rules 6 and 7, by the sender's time where it can be believed. A record that comes out of the
    /// log long after its time is as late as it comes: the click's state may have expired since,
    /// and must not be begun anew.
    fn too_late(&self, facts: &Facts<'_>, event: &Event) -> Option<Reason> {
        let happened_at = match self.redecided {
            // Its click's state is known to be there still.
            true => facts.happened_at,
            false => facts.happened_at.max(self.now.plus_ms(-STRAGGLER_MAX_MS)),
        };
        let age_ms = happened_at.since(self.click.clicked_at());
        if !self.state.converted && age_ms > self.offer.attribution_window_ms {
            return Some(Reason::ClickWindowExpired);
        }
        if age_ms > event.deadline_ms {
            return Some(Reason::DeadlineExceeded);
        }
        let closed_too_long = [self.offer.state, self.share.state].into_iter().any(|state| {
            matches!(state, LiveState::Closed { at }
                if happened_at.since(at) > self.offer.honour_ms)
        });
        closed_too_long.then_some(Reason::OfferClosed)
    }

    /// A conversion begins, or begins anew after rules 9 to 11 had rejected it.
    fn begin(&mut self, index: usize, postback: &Postback, facts: &Facts<'_>, event: &Event) {
        let terms_version = self.terms_version(event);
        let record = &mut self.state.records[index];
        if record.revision == 0 {
            record.received_at = postback.received_at;
        }
        record.counted_at = postback.received_at;
        record.happened_at = facts.happened_at;
        record.terms_version = terms_version;
        record.sale = facts.sale;
        record.transaction = facts.transaction.map(Text::transaction);
        record.flags = facts.flags;
    }

    /// The configuration version whose amounts an event gets, unless it is the click's. An event
    /// that the click's version did not have pays what today's says, and goes on paying that.
    fn terms_version(&self, event: &Event) -> Option<u64> {
        let (clicked, today) = (self.click.config_version, self.catalog.version);
        let promised = self.offer.amounts_at == AmountsAt::Click
            && clicked <= today
            && self
                .catalog
                .offer_at(self.offer.id.as_str(), clicked)
                .is_some_and(|offer| offer.events.iter().any(|it| it.id == event.id));
        (!promised).then_some(today)
    }

    /// Rules 10 to 13, for a conversion whose sequence is met.
    pub fn decide(&mut self, index: usize) -> Result<(), S::Error> {
        let Some(event_of) = self.event_at(index) else { return Ok(()) };
        let event = event_of.event();
        // 10
        if self.is_too_soon(index, event) {
            return self.settle(index, Kind::TooSoon, None);
        }
        // 8 again: the member can have converted elsewhere while this one waited.
        if self.state.records[index].unique.is_none() && self.member_elsewhere(&event.id)?.is_some()
        {
            return self.settle(index, Kind::MemberConvertedElsewhere, None);
        }
        // 11
        if let Some(refusal) = self.room(index, &event.id)?.refusal() {
            return self.settle(index, refusal, None);
        }
        self.take(index, &event.id)?;
        self.claim_member(index)?;
        // 12, 13. A pending time that is over already holds nothing.
        let due = self.state.records[index].counted_at.plus_ms(event.pending_ms);
        if event.pending_ms > 0 && due > self.now {
            self.settle(index, Kind::Hold, Some(due))
        } else {
            self.settle(index, Kind::Success, None)
        }
    }

    fn is_too_soon(&self, index: usize, event: &Event) -> bool {
        let reached = self.level_below(event).and_then(|level| self.level_met_at(level));
        let happened_at = self.state.records[index].happened_at;
        event.minimum_ms > 0
            && reached.is_some_and(|reached| happened_at.since(reached) < event.minimum_ms)
    }
}
