//! Rule R: the advertiser takes conversions back, by a rejection or by a refund.

use crate::case::Case;
use crate::convert::Verdict;
use crate::flags::FlagSet;
use crate::keys::EventHash;
use crate::kind::Kind;
use crate::read::Facts;
use crate::record::Record;
use crate::store::Store;
use crate::text::Text;
use crate::uniqueness::Spot;
use schemas::{Event, Flag, Outcome, Postback, Reason};

/// What became of one conversion that was to be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reversal {
    Reversed,
    AlreadyTakenBack,
    /// A person decided it before, or it succeeded too long ago: a person decides.
    NeedsReview,
}

fn recorded(reason: Reason, conversion: Option<[u8; 16]>) -> Verdict {
    Verdict { outcome: Outcome::Accepted, reason: Some(reason), conversion }
}

fn review(conversion: Option<[u8; 16]>) -> Verdict {
    Verdict { outcome: Outcome::Waiting, reason: Some(Reason::ReversalReview), conversion }
}

impl<S: Store> Case<'_, '_, S> {
    /// A rejection of one event, or of the whole click.
    pub fn reverse(
        &mut self,
        postback: &Postback,
        facts: &mut Facts<'_>,
        event: Option<&Event>,
    ) -> Result<Verdict, S::Error> {
        self.load_sequence()?;
        let Some(event) = event else { return self.reverse_all(postback) };
        if !event.repeatable {
            let index = self.state.position(EventHash::of(&event.id), None);
            return self.reverse_or_keep(postback, event, index, None, None);
        }
        // Which of several, only the transaction tells.
        if facts.transaction.is_none() {
            return Ok(review(None));
        }
        match self.find_spot(postback, facts, event)? {
            // Its click is not at hand here, so it cannot be revised from here.
            Spot::Elsewhere(id) => Ok(review(Some(id))),
            Spot::Here(index) => self.reverse_or_keep(postback, event, Some(index), None, None),
            Spot::New { unique, identity } => {
                self.reverse_or_keep(postback, event, None, unique, identity)
            }
        }
    }

    /// Takes a conversion back; one that has not come yet will be rejected when it does.
    fn reverse_or_keep(
        &mut self,
        postback: &Postback,
        event: &Event,
        index: Option<usize>,
        unique: Option<crate::keys::Unique>,
        identity: Option<[u8; 16]>,
    ) -> Result<Verdict, S::Error> {
        let Some(index) = index else {
            let hash = EventHash::of(&event.id);
            self.add_record(Record::begin(hash, unique, identity, postback.received_at));
            self.state.changed = true;
            return Ok(recorded(Reason::ReversalRecorded, None));
        };
        let record = &self.state.records[index];
        if !record.kind.is_conversion() {
            return Ok(Verdict::duplicate(None));
        }
        let id = Some(self.identity_of(record, &event.id));
        let reversal = self.take_back(postback, index, Kind::AdvertiserRejected)?;
        self.ripple()?;
        Ok(match reversal {
            Reversal::Reversed => recorded(Reason::ReversalRecorded, id),
            Reversal::AlreadyTakenBack => Verdict::duplicate(id),
            Reversal::NeedsReview => review(id),
        })
    }

    /// A rejection that names no event: every conversion of the click. Before there is any, the
    /// click itself is rejected.
    fn reverse_all(&mut self, postback: &Postback) -> Result<Verdict, S::Error> {
        if !self.state.converted {
            if self.state.reject_all {
                return Ok(Verdict::duplicate(None));
            }
            self.state.reject_all = true;
            self.state.changed = true;
            return Ok(recorded(Reason::ReversalRecorded, None));
        }
        self.state.load_repeatables(self.store, self.scratch)?;
        let (mut reversed, mut in_review) = (false, false);
        let order = self.in_order();
        for index in order.iter().copied() {
            let known = self.event_at(index).is_some();
            if !known || !self.state.records[index].kind.is_conversion() {
                continue;
            }
            match self.take_back(postback, index, Kind::AdvertiserRejected)? {
                Reversal::Reversed => reversed = true,
                Reversal::AlreadyTakenBack => {}
                Reversal::NeedsReview => in_review = true,
            }
        }
        self.scratch.order = order;
        self.ripple()?;
        let only = match self.rows.as_slice() {
            [row] => Some(row.identity),
            _ => None,
        };
        Ok(match (reversed, in_review) {
            (false, false) => Verdict::duplicate(None),
            (true, false) => recorded(Reason::ReversalRecorded, only),
            (true, true) => recorded(Reason::ReversalReview, only),
            (false, true) => review(only),
        })
    }

    fn take_back(
        &mut self,
        postback: &Postback,
        index: usize,
        kind: Kind,
    ) -> Result<Reversal, S::Error> {
        let record = &self.state.records[index];
        if record.kind.is_taken_back() {
            return Ok(Reversal::AlreadyTakenBack);
        }
        let window_ms = self.offer.reversal_window_ms;
        let too_old =
            record.succeeded_at.is_some_and(|at| postback.received_at.since(at) > window_ms);
        if record.kind == Kind::ManuallyApproved || too_old {
            return Ok(Reversal::NeedsReview);
        }
        self.settle(index, kind, None)?;
        Ok(Reversal::Reversed)
    }

    /// A negative amount: the refund of a transaction that this click reported. The event it
    /// comes under matters only where several share the transaction.
    pub fn refund(
        &mut self,
        postback: &Postback,
        facts: &mut Facts<'_>,
        event: &Event,
    ) -> Result<Verdict, S::Error> {
        let Some(transaction) = facts.transaction.map(Text::transaction) else {
            return Ok(Verdict::rejected(Reason::RefundUnmatched));
        };
        self.state.load_repeatables(self.store, self.scratch)?;
        let named = EventHash::of(&event.id);
        let mut matching = self.in_order();
        matching.retain(|index| {
            let record = &self.state.records[*index];
            record.kind.is_conversion()
                && record.transaction.as_ref() == Some(&transaction)
                && self.event_at(*index).is_some()
        });
        let first =
            matching.iter().copied().min_by_key(|index| self.state.records[*index].event != named);
        self.scratch.order = matching;
        let Some(index) = first else { return self.refund_elsewhere(postback, facts, event) };
        let Some(event_of) = self.event_at(index) else {
            return Ok(Verdict::rejected(Reason::RefundUnmatched));
        };
        let record = &self.state.records[index];
        let id = Some(self.identity_of(record, &event_of.event().id));
        let reversal = if is_full(facts, record) {
            self.take_back(postback, index, Kind::Refunded)?
        } else if record.kind.is_taken_back() {
            Reversal::AlreadyTakenBack
        } else {
            self.note_partial_refund(index)?;
            Reversal::Reversed
        };
        self.ripple()?;
        Ok(match reversal {
            Reversal::Reversed => recorded(Reason::RefundRecorded, id),
            Reversal::AlreadyTakenBack => Verdict::duplicate(id),
            Reversal::NeedsReview => review(id),
        })
    }

    /// The refund of a sale that this click did not report. One that another click did is known,
    /// but cannot be revised from here; sales of one-time events are found at their click only.
    fn refund_elsewhere(
        &mut self,
        postback: &Postback,
        facts: &mut Facts<'_>,
        event: &Event,
    ) -> Result<Verdict, S::Error> {
        if event.repeatable
            && let Spot::Elsewhere(id) = self.find_spot(postback, facts, event)?
        {
            return Ok(review(Some(id)));
        }
        Ok(Verdict::rejected(Reason::RefundUnmatched))
    }

    fn note_partial_refund(&mut self, index: usize) -> Result<(), S::Error> {
        if self.state.records[index].flags.has(Flag::PartialRefund) {
            return Ok(());
        }
        let mut flags = FlagSet::default();
        flags.add(Flag::PartialRefund);
        self.add_flags(index, flags);
        self.revise(index)
    }
}

/// Whether a refund is of the whole sale. One that cannot be compared is a part of it: it must not
/// take anything from anybody by guess.
fn is_full(facts: &Facts<'_>, record: &Record) -> bool {
    match (facts.sale, record.sale) {
        (Some(refund), Some(sale)) => {
            refund.currency == sale.currency && refund.micros.0.saturating_neg() >= sale.micros.0
        }
        _ => false,
    }
}
