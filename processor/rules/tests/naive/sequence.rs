//! Levels, and what ripples through them.

use super::model::{Model, Slot};
use schemas::*;

/// The order among what arrived in the same millisecond is arbitrary; the rules take this one.
fn tie(event: &EventId) -> u64 {
    let hash = event.as_str().bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash ^ (hash >> 48)) & 0xffff_ffff_ffff
}

impl Model {
    pub fn level_below(&self, click: &ResolvedClick, event: &Event) -> Option<u32> {
        let own = event.sequence?;
        let offer = self.offer_of(click);
        offer.events.iter().filter_map(|it| it.sequence).filter(|it| *it < own).max()
    }

    /// When a level was met.
    pub fn met_at(&self, slot: Slot, click: &ResolvedClick, level: u32) -> Option<UnixMillis> {
        let offer = self.offer_of(click);
        let times: Vec<Option<UnixMillis>> = offer
            .events
            .iter()
            .filter(|it| it.sequence == Some(level))
            .map(|event| {
                self.convs
                    .iter()
                    .filter(|it| !it.gone && it.slot == slot && it.event == event.id)
                    .filter(|it| it.revision > 0 && it.meets())
                    .map(|it| it.happened_at)
                    .min()
            })
            .collect();
        match offer.sequence_rule {
            SequenceRule::Any => times.into_iter().flatten().min(),
            SequenceRule::All if times.iter().all(Option::is_some) => {
                times.into_iter().flatten().max()
            }
            SequenceRule::All => None,
        }
    }

    pub fn sequence_met(&self, slot: Slot, event: &Event) -> bool {
        let click = ResolvedClick::clone(self.click_of(slot));
        self.level_below(&click, event)
            .is_none_or(|level| self.met_at(slot, &click, level).is_some())
    }

    fn click_of(&self, slot: Slot) -> &ResolvedClick {
        &self.convs.iter().find(|it| it.slot == slot).unwrap().click
    }

    /// The conversions of a click: lower levels first, then as they arrived.
    pub fn in_order(&self, slot: Slot) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.convs.len())
            .filter(|index| self.convs[*index].slot == slot && !self.convs[*index].gone)
            .collect();
        all.sort_by_key(|index| {
            let conv = &self.convs[*index];
            (self.event_of(*index).sequence, conv.received_at, tie(&conv.event))
        });
        all
    }

    pub fn ripple(&mut self, slot: Slot) {
        loop {
            if let Some(level) = self.lost.pop() {
                let click = self.click_of(slot).clone();
                if self.met_at(slot, &click, level).is_none() {
                    self.reject_dependents(slot, level);
                }
                continue;
            }
            let released = self.in_order(slot).into_iter().find(|index| {
                self.convs[*index].reason == Some(Reason::WaitingSequence)
                    && self.sequence_met(slot, &self.event_of(*index))
            });
            match released {
                Some(index) => self.decide(index),
                None => return,
            }
        }
    }

    fn reject_dependents(&mut self, slot: Slot, lost: u32) {
        for index in self.in_order(slot) {
            let click = self.convs[index].click.clone();
            if self.level_below(&click, &self.event_of(index)) != Some(lost) {
                continue;
            }
            let conv = &mut self.convs[index];
            let (status, reason) = (conv.status, conv.reason);
            if reason == Some(Reason::Hold) {
                let reason = Some(Reason::PrerequisiteRejected);
                self.revise(index, ConversionStatus::Rejected, reason, None);
            } else if status == ConversionStatus::Success
                && !conv.flags.contains(&Flag::PrerequisiteRejectedLater)
            {
                conv.flags.push(Flag::PrerequisiteRejectedLater);
                conv.flags.sort_by_key(|flag| *flag as usize);
                self.revise(index, status, reason, None);
            }
        }
    }
}
