//! Rejections, refunds and decisions by hand.

use super::model::{Arrival, Model, Slot, Verdict, refuse};
use schemas::*;

enum Taken {
    Reversed,
    Already,
    Review,
}

fn told(taken: &Taken, reason: Reason, key: Option<String>) -> Verdict {
    match taken {
        Taken::Reversed => (Outcome::Accepted, Some(reason), key),
        Taken::Already => (Outcome::Duplicate, Some(Reason::Duplicate), key),
        Taken::Review => (Outcome::Waiting, Some(Reason::ReversalReview), key),
    }
}

impl Model {
    fn take_back(&mut self, index: usize, arrival: &Arrival, reason: Reason) -> Taken {
        let conv = &self.convs[index];
        let window = self.offer_of(&conv.click).reversal_window_ms;
        if conv.taken_back() {
            return Taken::Already;
        }
        if conv.reason == Some(Reason::ManuallyApproved)
            || conv.succeeded_at.is_some_and(|at| arrival.received_at.0 - at.0 > window)
        {
            return Taken::Review;
        }
        self.revise(index, ConversionStatus::Rejected, Some(reason), None);
        Taken::Reversed
    }

    pub fn reverse(&mut self, click: &ResolvedClick, slot: Slot, arrival: &Arrival) -> Verdict {
        if arrival.report.event.is_empty() {
            return self.reverse_all(click, slot, arrival);
        }
        let event = self.offer_of(click).event(arrival.report.event).unwrap().clone();
        let mut occurrence = None;
        if event.repeatable {
            if arrival.report.transaction.is_none_or(|it| it == "null") {
                return (Outcome::Waiting, Some(Reason::ReversalReview), None);
            }
            match self.spot(click, slot, arrival, &event) {
                Ok((found, _)) => occurrence = found,
                Err(key) => return (Outcome::Waiting, Some(Reason::ReversalReview), Some(key)),
            }
        }
        let Some(index) = self.find(slot, &event.id, occurrence.as_deref()) else {
            let it = (slot, event.id.clone(), occurrence);
            if self.kept.contains(&it) {
                return (Outcome::Duplicate, Some(Reason::Duplicate), None);
            }
            self.kept.push(it);
            self.prolong(slot, click);
            return (Outcome::Accepted, Some(Reason::ReversalRecorded), None);
        };
        let taken = self.take_back(index, arrival, Reason::AdvertiserRejected);
        self.ripple(slot);
        told(&taken, Reason::ReversalRecorded, Some(self.convs[index].key()))
    }

    fn reverse_all(&mut self, click: &ResolvedClick, slot: Slot, arrival: &Arrival) -> Verdict {
        let all = self.in_order(slot);
        if all.is_empty() {
            if self.rejected_clicks.contains(&slot) {
                return (Outcome::Duplicate, Some(Reason::Duplicate), None);
            }
            self.rejected_clicks.push(slot);
            self.prolong(slot, click);
            return (Outcome::Accepted, Some(Reason::ReversalRecorded), None);
        }
        let before = self.lines.len();
        let (mut reversed, mut review) = (false, false);
        for index in all {
            match self.take_back(index, arrival, Reason::AdvertiserRejected) {
                Taken::Reversed => reversed = true,
                Taken::Review => review = true,
                Taken::Already => {}
            }
        }
        self.ripple(slot);
        let only = match &self.lines[before..] {
            [super::model::Line::Row { conversion, .. }] => Some(conversion.clone()),
            _ => None,
        };
        match (reversed, review) {
            (true, true) => (Outcome::Accepted, Some(Reason::ReversalReview), only),
            (true, false) => (Outcome::Accepted, Some(Reason::ReversalRecorded), only),
            (false, true) => (Outcome::Waiting, Some(Reason::ReversalReview), only),
            (false, false) => (Outcome::Duplicate, Some(Reason::Duplicate), None),
        }
    }

    pub fn refund(&mut self, click: &ResolvedClick, slot: Slot, arrival: &Arrival) -> Verdict {
        let Some(text) = arrival.report.transaction.filter(|it| *it != "null") else {
            return refuse(Reason::RefundUnmatched);
        };
        let mut matching = self.in_order(slot);
        matching.retain(|index| self.convs[*index].transaction.as_deref() == Some(text));
        let named = |index: &usize| self.convs[*index].event.as_str() == arrival.report.event;
        let Some(index) =
            matching.iter().copied().find(|it| named(it)).or(matching.first().copied())
        else {
            let event = self.offer_of(click).event(arrival.report.event).unwrap().clone();
            return match self.spot(click, slot, arrival, &event) {
                Err(key) if event.repeatable => {
                    (Outcome::Waiting, Some(Reason::ReversalReview), Some(key))
                }
                _ => refuse(Reason::RefundUnmatched),
            };
        };
        let refund = -arrival.report.amount.and_then(|it| it.parse::<i64>().ok()).unwrap() * 10_000;
        let conv = &self.convs[index];
        let taken = if conv.sale.is_some_and(|sale| refund >= sale) {
            self.take_back(index, arrival, Reason::RefundRecorded)
        } else if conv.taken_back() {
            Taken::Already
        } else {
            if !conv.flags.contains(&Flag::PartialRefund) {
                let (status, reason, due) = (conv.status, conv.reason, conv.due_at);
                let flags = &mut self.convs[index].flags;
                flags.push(Flag::PartialRefund);
                flags.sort_by_key(|flag| *flag as usize);
                self.revise(index, status, reason, due);
            }
            Taken::Reversed
        };
        self.ripple(slot);
        told(&taken, Reason::RefundRecorded, Some(self.convs[index].key()))
    }

    pub fn approve(&mut self, key: &str, over_limit: bool) -> CommandEffect {
        let Some(index) = self.by_key(key) else { return CommandEffect::UnknownConversion };
        let conv = self.convs[index].clone();
        if conv.status == ConversionStatus::Success {
            return CommandEffect::AlreadySo;
        }
        if !conv.reserves() {
            if self.no_room(index).is_some() {
                if !over_limit {
                    return CommandEffect::OverLimit;
                }
                self.convs[index].over_limit = true;
                let flags = &mut self.convs[index].flags;
                if !flags.contains(&Flag::OverLimit) {
                    flags.push(Flag::OverLimit);
                    flags.sort_by_key(|flag| *flag as usize);
                }
            } else {
                self.convs[index].flags.retain(|flag| *flag != Flag::OverLimit);
            }
            if self.member_elsewhere(&conv.click, conv.slot, &conv.event).is_none() {
                self.claim_member(index);
            }
        }
        let by_hand = Some(Reason::ManuallyApproved);
        self.revise(index, ConversionStatus::Success, by_hand, None);
        self.ripple(conv.slot);
        CommandEffect::Applied
    }

    pub fn reject(&mut self, key: &str) -> CommandEffect {
        let Some(index) = self.by_key(key) else { return CommandEffect::UnknownConversion };
        if self.convs[index].taken_back() {
            return CommandEffect::AlreadySo;
        }
        let slot = self.convs[index].slot;
        let by_hand = Some(Reason::ManuallyRejected);
        self.revise(index, ConversionStatus::Rejected, by_hand, None);
        self.ripple(slot);
        CommandEffect::Applied
    }

    fn by_key(&self, key: &str) -> Option<usize> {
        self.convs.iter().position(|it| !it.gone && it.key() == key)
    }
}
