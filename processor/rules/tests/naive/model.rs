//! Rules 6 to 13, caps, budget, timers and lifetimes, by looking through lists.

use super::history::Report;
use schemas::time::{DAY_MS, HOUR_MS, MINUTE_MS};
use schemas::*;
use std::sync::Arc;

/// A click in its lane: tests apart.
pub type Slot = (ClickKey, bool);

/// What is compared with the real rules.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Line {
    Postback {
        outcome: Outcome,
        reason: Option<Reason>,
        conversion: Option<String>,
    },
    Command(CommandEffect),
    Redecision(RedecisionEffect, Outcome, Option<Reason>),
    Row {
        decided_at: UnixMillis,
        conversion: String,
        revision: u32,
        event: String,
        status: ConversionStatus,
        reason: Option<Reason>,
        received_at: UnixMillis,
        due_at: Option<UnixMillis>,
        revenue: i64,
        offer_version: u64,
        sale: Option<i64>,
        transaction: Option<String>,
        flags: Vec<Flag>,
    },
}

#[derive(Debug, Clone)]
pub struct Conv {
    pub click: ResolvedClick,
    pub slot: Slot,
    pub event: EventId,
    /// The transaction or first postback of a repeatable one.
    pub occurrence: Option<String>,
    pub revision: u32,
    pub status: ConversionStatus,
    pub reason: Option<Reason>,
    pub received_at: UnixMillis,
    pub counted_at: UnixMillis,
    pub happened_at: UnixMillis,
    pub succeeded_at: Option<UnixMillis>,
    pub due_at: Option<UnixMillis>,
    pub revenue: Micros,
    pub offer_version: u64,
    pub sale: Option<i64>,
    pub transaction: Option<String>,
    pub flags: Vec<Flag>,
    pub over_limit: bool,
    /// Its click's state has expired.
    pub gone: bool,
}

impl Conv {
    pub fn key(&self) -> String {
        format!("{:?} {} {:?}", self.slot, self.event, self.occurrence)
    }

    pub fn reserves(&self) -> bool {
        self.status == ConversionStatus::Success || self.reason == Some(Reason::Hold)
    }

    pub fn meets(&self) -> bool {
        self.reserves() || matches!(self.reason, Some(Reason::CapReached | Reason::BudgetExhausted))
    }

    pub fn taken_back(&self) -> bool {
        matches!(
            self.reason,
            Some(Reason::AdvertiserRejected | Reason::ManuallyRejected | Reason::RefundRecorded)
        )
    }

    pub fn blocks(&self) -> bool {
        self.status != ConversionStatus::Rejected || self.taken_back()
    }
}

/// A postback as the model takes it.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub report: Report,
    pub id: String,
    pub received_at: UnixMillis,
    pub happened_at: UnixMillis,
    /// The sender's time is there, whether believed or not.
    pub timed: bool,
    pub flags: Vec<Flag>,
    /// What makes two postbacks look alike.
    pub parameters: String,
}

#[derive(Clone, Default)]
pub struct Model {
    pub catalog: Catalog,
    pub now: UnixMillis,
    pub convs: Vec<Conv>,
    /// Rejections that came before their conversions.
    pub kept: Vec<(Slot, EventId, Option<String>)>,
    pub rejected_clicks: Vec<Slot>,
    expires: Vec<(Slot, UnixMillis)>,
    seen: Vec<(UnixMillis, String)>,
    /// Slot, parameters, until when a retry, when forgotten, occurrence, of one that was put back.
    retries: Vec<(Slot, String, UnixMillis, UnixMillis, String, bool)>,
    /// Member scope and event → conversion; the last one holds.
    members: Vec<(String, EventId, usize)>,
    transactions: Vec<(String, usize)>,
    pub lost: Vec<u32>,
    pub touched: bool,
    /// What is being judged was put back for decision.
    pub redecided: bool,
    pub lines: Vec<Line>,
}

pub type Verdict = (Outcome, Option<Reason>, Option<String>);

pub fn refuse(reason: Reason) -> Verdict {
    (Outcome::Rejected, Some(reason), None)
}

impl Model {
    pub fn offer_of(&self, click: &ResolvedClick) -> Arc<Offer> {
        let share = self.catalog.share(click.share.as_str()).unwrap();
        Arc::clone(self.catalog.offer(share.offer.as_str()).unwrap())
    }

    pub fn event_of(&self, index: usize) -> Event {
        let conv = &self.convs[index];
        self.offer_of(&conv.click).events.iter().find(|it| it.id == conv.event).unwrap().clone()
    }

    pub fn find(&self, slot: Slot, event: &EventId, occurrence: Option<&str>) -> Option<usize> {
        self.convs.iter().position(|it| {
            !it.gone
                && it.slot == slot
                && it.event == *event
                && it.occurrence.as_deref() == occurrence
        })
    }

    /// Seen a short while ago.
    pub fn is_repeat(&mut self, received_at: UnixMillis, id: &str) -> bool {
        if received_at < self.now.plus_ms(-10 * MINUTE_MS) {
            return false;
        }
        let it = (received_at, id.to_owned());
        let repeat = self.seen.contains(&it);
        self.seen.push(it);
        repeat
    }

    pub fn convert(&mut self, click: &ResolvedClick, slot: Slot, arrival: &Arrival) -> Verdict {
        let offer = self.offer_of(click);
        let event = offer.event(arrival.report.event).unwrap().clone();
        // Nothing is older than a day and half an hour, by the partition's clock.
        let happened_at = match self.redecided {
            true => arrival.happened_at.0,
            false => arrival.happened_at.0.max(self.now.0 - DAY_MS - 30 * MINUTE_MS),
        };
        let age = (happened_at - click.clicked_at().0).max(0);
        let any = self.convs.iter().any(|it| it.slot == slot && !it.gone);
        if !any && age > offer.attribution_window_ms {
            return refuse(Reason::ClickWindowExpired);
        }
        if age > event.deadline_ms {
            return refuse(Reason::DeadlineExceeded);
        }
        if let LiveState::Closed { at } = offer.state
            && happened_at - at.0 > offer.honour_ms
        {
            return refuse(Reason::OfferClosed);
        }
        let (occurrence, flags) = match self.spot(click, slot, arrival, &event) {
            Ok(found) => found,
            Err(elsewhere) => {
                return (Outcome::Duplicate, Some(Reason::Duplicate), Some(elsewhere));
            }
        };
        let kept = self.is_kept(slot, &event.id, occurrence.as_deref());
        let index = match self.find(slot, &event.id, occurrence.as_deref()) {
            Some(index) if self.convs[index].blocks() => {
                let key = self.convs[index].key();
                return (Outcome::Duplicate, Some(Reason::Duplicate), Some(key));
            }
            Some(index) => index,
            None => {
                self.convs.push(Conv {
                    click: click.clone(),
                    slot,
                    event: event.id.clone(),
                    occurrence: occurrence.clone(),
                    revision: 0,
                    status: ConversionStatus::Rejected,
                    reason: None,
                    received_at: arrival.received_at,
                    counted_at: arrival.received_at,
                    happened_at: arrival.happened_at,
                    succeeded_at: None,
                    due_at: None,
                    revenue: Micros::ZERO,
                    offer_version: 0,
                    sale: None,
                    transaction: None,
                    flags: Vec::new(),
                    over_limit: false,
                    gone: false,
                });
                self.convs.len() - 1
            }
        };
        let amounts = self.catalog.terms(click).unwrap().amounts(&event);
        let conv = &mut self.convs[index];
        conv.counted_at = arrival.received_at;
        conv.happened_at = arrival.happened_at;
        conv.revenue = amounts.revenue;
        conv.offer_version = amounts.offer_version;
        conv.sale = arrival.report.amount.and_then(|it| it.parse::<i64>().ok()).map(|c| c * 10_000);
        conv.transaction = arrival.report.transaction.filter(|it| *it != "null").map(str::to_owned);
        conv.flags = flags;
        if event.repeatable && conv.transaction.is_some() {
            let name = format!("{} {:?} {}", event.id, conv.transaction, slot.1);
            self.transactions.push((name, index));
        }
        if kept || self.rejected_clicks.contains(&slot) {
            self.revise(index, ConversionStatus::Rejected, Some(Reason::AdvertiserRejected), None);
        } else if !self.sequence_met(slot, &event) {
            let since = if self.redecided { self.now } else { arrival.received_at };
            let due = since.plus_ms(offer.sequence_grace_ms).max(self.now);
            let waiting = Some(Reason::WaitingSequence);
            self.revise(index, ConversionStatus::Pending, waiting, Some(due));
        } else {
            self.decide(index);
        }
        self.ripple(slot);
        let conv = &self.convs[index];
        let outcome = match (conv.status, conv.reason) {
            (_, Some(Reason::WaitingSequence)) => Outcome::Waiting,
            (_, Some(Reason::Duplicate)) => Outcome::Duplicate,
            (ConversionStatus::Rejected, _) => Outcome::Rejected,
            _ => Outcome::Accepted,
        };
        (outcome, conv.reason, Some(conv.key()))
    }

    fn is_kept(&self, slot: Slot, event: &EventId, occurrence: Option<&str>) -> bool {
        // Once it has rejected something, it is spent.
        self.find(slot, event, occurrence).is_none()
            && self
                .kept
                .iter()
                .any(|it| it.0 == slot && it.1 == *event && it.2.as_deref() == occurrence)
    }

    /// The occurrence a postback is of, and its flags; or the conversion elsewhere.
    pub fn spot(
        &mut self,
        click: &ResolvedClick,
        slot: Slot,
        arrival: &Arrival,
        event: &Event,
    ) -> Result<(Option<String>, Vec<Flag>), String> {
        let mut flags = arrival.flags.clone();
        if !event.repeatable {
            return match self.member_elsewhere(click, slot, &event.id) {
                Some(elsewhere) => Err(elsewhere),
                None => Ok((None, flags)),
            };
        }
        if let Some(text) = arrival.report.transaction.filter(|it| *it != "null") {
            let name = format!("{} {:?} {}", event.id, Some(text), slot.1);
            let last = self.transactions.iter().rev().find(|it| it.0 == name);
            if let Some((_, index)) = last {
                let conv = &self.convs[*index];
                if conv.slot != slot && !conv.gone && conv.blocks() {
                    return Err(conv.key());
                }
            }
            return Ok((Some(format!("transaction {text}")), flags));
        }
        flags.push(Flag::NoTransactionId);
        flags.sort_by_key(|flag| *flag as usize);
        let span = if arrival.timed { 25 * HOUR_MS } else { HOUR_MS };
        let kinds = if self.redecided { &[false, true][..] } else { &[false] };
        for of_redecided in kinds {
            let alike = self
                .retries
                .iter()
                .rev()
                .find(|it| it.0 == slot && it.1 == arrival.parameters && it.5 == *of_redecided)
                .filter(|it| arrival.received_at <= it.2 && self.now < it.3);
            if let Some((.., occurrence, _)) = alike
                && self.find(slot, &event.id, Some(occurrence.as_str())).is_some()
            {
                return Ok((Some(occurrence.clone()), flags));
            }
        }
        if self.redecided
            && let Some(near) = self.convs.iter().find(|it| {
                !it.gone
                    && it.slot == slot
                    && it.event == event.id
                    && it.occurrence.as_deref().is_some_and(|text| text.starts_with("postback"))
                    && it.blocks()
                    && !it.flags.contains(&Flag::Redecided)
                    && (it.counted_at.0 - arrival.received_at.0).abs() <= span
            })
        {
            return Ok((near.occurrence.clone(), flags));
        }
        let occurrence = format!("postback {}", arrival.id);
        if self.find(slot, &event.id, Some(occurrence.as_str())).is_some() {
            return Ok((Some(occurrence), flags));
        }
        let until = arrival.received_at.plus_ms(span);
        let forgotten = until.plus_ms(1).max(self.now);
        let mut remember = |forgotten, of_redecided| {
            let parameters = arrival.parameters.clone();
            let retry = (slot, parameters, until, forgotten, occurrence.clone(), of_redecided);
            self.retries.push(retry);
        };
        if !self.redecided || until >= self.now {
            remember(forgotten, false);
        }
        if self.redecided {
            // As long as anything of the click can be put back.
            remember(UnixMillis(i64::MAX), true);
        }
        Ok((Some(occurrence), flags))
    }

    fn member_name(&self, click: &ResolvedClick, test: bool) -> Option<String> {
        let publisher = &self.catalog.share(click.share.as_str()).unwrap().publisher;
        click.member.map(|member| format!("{publisher} {member:?} {test}"))
    }

    pub fn member_elsewhere(
        &self,
        click: &ResolvedClick,
        slot: Slot,
        event: &EventId,
    ) -> Option<String> {
        let name = self.member_name(click, slot.1)?;
        let (.., index) = self.members.iter().rev().find(|it| it.0 == name && it.1 == *event)?;
        let conv = &self.convs[*index];
        let blocks = conv.slot != slot
            && !conv.gone
            && conv.blocks()
            && conv.reason != Some(Reason::WaitingSequence);
        blocks.then(|| conv.key())
    }

    pub fn claim_member(&mut self, index: usize) {
        let conv = &self.convs[index];
        if conv.occurrence.is_none()
            && let Some(name) = self.member_name(&conv.click, conv.slot.1)
        {
            self.members.push((name, conv.event.clone(), index));
        }
    }

    /// Rules 10 to 13.
    pub fn decide(&mut self, index: usize) {
        let event = self.event_of(index);
        let conv = self.convs[index].clone();
        let rejected = ConversionStatus::Rejected;
        if let Some(reached) = self
            .level_below(&conv.click, &event)
            .and_then(|level| self.met_at(conv.slot, &conv.click, level))
            && event.minimum_ms > 0
            && (conv.happened_at.0 - reached.0).max(0) < event.minimum_ms
        {
            return self.revise(index, rejected, Some(Reason::TooSoon), None);
        }
        if conv.occurrence.is_none()
            && self.member_elsewhere(&conv.click, conv.slot, &conv.event).is_some()
        {
            return self.revise(index, rejected, Some(Reason::Duplicate), None);
        }
        if let Some(reason) = self.no_room(index) {
            return self.revise(index, rejected, Some(reason), None);
        }
        self.claim_member(index);
        let due = conv.counted_at.plus_ms(event.pending_ms);
        if event.pending_ms > 0 && due > self.now {
            self.revise(index, ConversionStatus::Pending, Some(Reason::Hold), Some(due));
        } else {
            self.revise(index, ConversionStatus::Success, None, None);
        }
    }

    /// A postback that is put back for decision; `judge` is told to judge it as one.
    pub fn redecide(&mut self, click: &ResolvedClick, judge: impl Fn(&mut Self) -> Verdict) {
        if self.now.0 - click.clicked_at().0 > self.longest(click) + 24 * HOUR_MS {
            let line = Line::Redecision(RedecisionEffect::TooOld, Outcome::Rejected, None);
            return self.lines.push(line);
        }
        let mut tried = self.clone();
        tried.redecided = true;
        let (outcome, reason, _) = judge(&mut tried);
        let known = |it: &Self| (it.lines.len(), it.kept.len(), it.rejected_clicks.len());
        let effect = match outcome {
            Outcome::Waiting | Outcome::Ignored => RedecisionEffect::Applied,
            Outcome::Accepted if known(&tried) != known(self) => RedecisionEffect::Applied,
            Outcome::Accepted | Outcome::Duplicate => RedecisionEffect::AlreadyCounted,
            Outcome::Rejected => RedecisionEffect::Refused,
        };
        if effect == RedecisionEffect::Applied {
            tried.redecided = false;
            *self = tried;
        }
        self.lines.push(Line::Redecision(effect, outcome, reason));
    }

    fn longest(&self, click: &ResolvedClick) -> i64 {
        let offer = self.offer_of(click);
        let of_offer =
            offer.attribution_window_ms.max(offer.reversal_window_ms).max(offer.sequence_grace_ms);
        let of_events = offer.events.iter().map(|event| event.deadline_ms.max(event.pending_ms));
        of_events.fold(of_offer, i64::max)
    }

    /// The next revision, as a line.
    pub fn revise(
        &mut self,
        index: usize,
        status: ConversionStatus,
        reason: Option<Reason>,
        due_at: Option<UnixMillis>,
    ) {
        let met = self.convs[index].revision > 0 && self.convs[index].meets();
        let now = self.now;
        let conv = &mut self.convs[index];
        (conv.status, conv.reason, conv.due_at) = (status, reason, due_at);
        conv.revision += 1;
        conv.over_limit &= conv.reserves();
        conv.succeeded_at =
            (status == ConversionStatus::Success).then(|| conv.succeeded_at.unwrap_or(now));
        if met && !conv.meets() {
            let level = self.event_of(index).sequence;
            self.lost.extend(level);
        }
        self.touched = true;
        let conv = &self.convs[index];
        self.lines.push(Line::Row {
            decided_at: now,
            conversion: conv.key(),
            revision: conv.revision,
            event: conv.event.to_string(),
            status,
            reason,
            received_at: conv.received_at,
            due_at,
            revenue: conv.revenue.0,
            offer_version: conv.offer_version,
            sale: conv.sale,
            transaction: conv.transaction.clone(),
            flags: conv.flags.clone(),
        });
        let (slot, click) = (conv.slot, conv.click.clone());
        self.prolong(slot, &click);
    }

    /// The click's state lives on for the longest of its periods, and a day and an hour.
    pub fn prolong(&mut self, slot: Slot, click: &ResolvedClick) {
        let until = self.now.0 + self.longest(click) + 25 * HOUR_MS;
        let until = UnixMillis((until + HOUR_MS - 1) / HOUR_MS * HOUR_MS);
        match self.expires.iter_mut().find(|it| it.0 == slot) {
            Some(it) => it.1 = it.1.max(until),
            None => self.expires.push((slot, until)),
        }
    }

    /// The next thing that time alone does.
    pub fn next_due(&self) -> Option<UnixMillis> {
        let dues = self.convs.iter().filter_map(|it| it.due_at);
        dues.chain(self.expires.iter().map(|it| it.1)).min()
    }

    /// Everything that is due by `clock`.
    pub fn pass_to(&mut self, clock: UnixMillis) {
        while let Some(due) = self.next_due().filter(|due| *due <= clock) {
            self.now = due;
            if let Some(index) = self.convs.iter().position(|it| it.due_at == Some(due)) {
                let slot = self.convs[index].slot;
                if self.convs[index].reason == Some(Reason::Hold) {
                    self.revise(index, ConversionStatus::Success, None, None);
                } else {
                    let reason = Some(Reason::SequenceNotMet);
                    self.revise(index, ConversionStatus::Rejected, reason, None);
                }
                self.ripple(slot);
            } else {
                let at = self.expires.iter().position(|it| it.1 == due).unwrap();
                let (slot, _) = self.expires.remove(at);
                self.convs.iter_mut().filter(|it| it.slot == slot).for_each(|it| it.gone = true);
                self.kept.retain(|it| it.0 != slot);
                self.rejected_clicks.retain(|it| *it != slot);
            }
        }
        self.now = clock;
    }
}

/// The plausible time of a report: as the domain says it, in one line.
pub fn believed(sent: UnixMillis, clicked: UnixMillis, received: UnixMillis) -> bool {
    clicked <= sent && sent.0 - received.0 <= 5 * MINUTE_MS && received.0 - sent.0 <= DAY_MS
}

/// What a decision of the product says, in the models' words.
pub fn lines(decision: &Decision) -> Vec<Line> {
    let rows = decision.conversions.iter().map(|row| Line::Row {
        decided_at: row.decided_at,
        conversion: row.conversion_id.to_string(),
        revision: row.revision,
        event: row.event_id.to_string(),
        status: row.status,
        reason: row.reason,
        received_at: row.received_at,
        due_at: row.due_at,
        revenue: row.revenue.0,
        offer_version: row.offer_version,
        sale: row.sale_amount.map(|it| it.0),
        transaction: row.transaction_id.as_deref().map(str::to_owned),
        flags: row.flags.clone(),
    });
    let postback = decision.postback.as_ref().map(|it| Line::Postback {
        outcome: it.outcome,
        reason: it.reason,
        conversion: it.conversion_id.as_ref().map(ToString::to_string),
    });
    let command = decision.command.as_ref().map(|it| Line::Command(it.effect));
    let redecision = decision.redecision.as_ref();
    let redecision =
        redecision.map(|it| Line::Redecision(it.effect, it.outcome.outcome, it.outcome.reason));
    rows.chain(postback).chain(command).chain(redecision).collect()
}
