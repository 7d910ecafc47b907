//! Decisions by hand: they win over everybody else's.

use crate::case::{Case, Opening};
use crate::flags::FlagSet;
use crate::kind::Kind;
use crate::limits::Room;
use crate::output::{Decided, Scratch};
use crate::revisions::Revisions;
use crate::store::Store;
use schemas::{
    Catalog, Command, CommandEffect, CommandKind, ConversionId, Flag, ResolvedClick, UnixMillis,
};
use std::sync::Arc;

/// Applies a command to the conversion it names, if the click has it.
pub fn apply<'a, S: Store>(
    store: &mut S,
    scratch: &mut Scratch,
    catalog: &'a Catalog,
    command: &'a Command,
    click: &'a ResolvedClick,
    now: UnixMillis,
    out: &mut impl Decided,
) -> Result<(CommandEffect, Option<Revisions<'a>>), S::Error> {
    let Some(terms) = catalog.terms(click) else {
        return Ok((CommandEffect::UnknownClick, None));
    };
    // Postbacks from a sandbox make tests at a click that is none.
    let lanes = if click.test { &[true][..] } else { &[false, true] };
    for test in lanes {
        let opening = Opening {
            catalog,
            now,
            click,
            click_id: &command.click_id,
            offer: Arc::clone(&terms.offer),
            share: Arc::clone(&terms.share),
            test: *test,
        };
        let mut case = Case::open(store, scratch, opening)?;
        case.note = &command.reason;
        case.is_noting = true;
        if let Some(index) = case.find(&command.conversion_id)? {
            let effect = match command.kind {
                CommandKind::Approve { over_limit } => case.approve(index, over_limit)?,
                CommandKind::Reject => case.reject(index)?,
            };
            return Ok((effect, Some(case.close(out)?)));
        }
    }
    Ok((CommandEffect::UnknownConversion, None))
}

impl<S: Store> Case<'_, '_, S> {
    fn find(&mut self, id: &ConversionId) -> Result<Option<usize>, S::Error> {
        let root = &self.click.root_offer;
        self.state.load_repeatables(self.store, self.scratch)?;
        Ok((0..self.state.records.len()).find(|index| {
            let record = &self.state.records[*index];
            record.kind.is_conversion()
                && self.event_at(*index).is_some_and(|it| {
                    ConversionId::from_hash(root, self.identity_of(record, &it.event().id)) == *id
                })
        }))
    }

    fn approve(&mut self, index: usize, over_limit: bool) -> Result<CommandEffect, S::Error> {
        let kind = self.state.records[index].kind;
        if kind.succeeded() {
            return Ok(CommandEffect::AlreadySo);
        }
        let Some(event_of) = self.event_at(index) else {
            return Ok(CommandEffect::UnknownConversion);
        };
        let event = &event_of.event().id;
        if !kind.reserves() {
            if self.room(index, event)? == Room::Free {
                // It may have been approved past a limit before, and rejected since.
                self.state.records[index].flags.remove(Flag::OverLimit);
                self.take(index, event)?;
            } else if over_limit {
                self.state.records[index].over_limit = true;
                let mut flags = FlagSet::default();
                flags.add(Flag::OverLimit);
                self.add_flags(index, flags);
            } else {
                return Ok(CommandEffect::OverLimit);
            }
            if self.member_elsewhere(event)?.is_none() {
                self.claim_member(index)?;
            }
        }
        self.settle(index, Kind::ManuallyApproved, None)?;
        self.ripple()?;
        Ok(CommandEffect::Applied)
    }

    fn reject(&mut self, index: usize) -> Result<CommandEffect, S::Error> {
        if self.state.records[index].kind.is_taken_back() {
            return Ok(CommandEffect::AlreadySo);
        }
        self.settle(index, Kind::ManuallyRejected, None)?;
        self.ripple()?;
        Ok(CommandEffect::Applied)
    }
}
