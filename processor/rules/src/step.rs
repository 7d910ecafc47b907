//! One input, one decision. Read [`judge`] beside the table of decision rules: same order.

use crate::by_hand;
use crate::case::{Case, Opening};
use crate::convert::Verdict;
use crate::details;
use crate::flags::FlagSet;
use crate::macros::holds_macro;
use crate::output::{Decided, Scratch};
use crate::read::{self, Class};
use crate::redecide;
use crate::revisions::Revisions;
use crate::seen::{self, Novelty};
use crate::store::Store;
use crate::view::DecisionView;
use schemas::{
    Catalog, ClickDetails, Command, CommandEffect, CommandOutcome, ConversionIdView, Flag,
    Postback, PostbackOutcomeView, Reason, Redecide, ResolvedClick, Terms, UnixMillis,
};
use std::sync::Arc;

/// An input whose click id the edge has opened already: the rules never see keys.
#[derive(Debug, Clone, Copy)]
pub enum StepInput<'a> {
    Postback {
        postback: &'a Postback,
        click: ClickReference<'a>,
    },
    ClickDetails(&'a ClickDetails),
    Command {
        command: &'a Command,
        click: ClickReference<'a>,
    },
    /// One click for each of its postbacks.
    Redecide {
        command: &'a Redecide,
        clicks: &'a [ClickReference<'a>],
    },
}

/// What a click id led to.
#[derive(Debug, Clone, Copy)]
pub enum ClickReference<'a> {
    /// `gk_click_id` is missing or empty.
    Missing,
    /// It is not a token that we gave out.
    Invalid,
    Resolved(&'a ResolvedClick),
}

/// What became of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stepped {
    /// It has its decision.
    Decided,
    /// Each of so many postbacks that were put back has its own.
    Redecided(usize),
    /// Click details, which are kept and lead to no decision.
    Kept,
    /// An exact repeat of our own, which has had its decision.
    Repeated,
}

/// Decides one input at `now`: the partition's clock, which is the greatest `received_at` read.
/// Tells `out`: one decision for each postback (put back ones too) and command, none for click
/// details, none for an exact repeat of our own. The caller has fired the timers that are due
/// before, and waits with an input until `catalog` is at least of the version of its click.
///
/// # Errors
/// Only the store's. The step may then be half done: throw the batch away.
pub fn step<S: Store>(
    store: &mut S,
    catalog: &Catalog,
    input: StepInput<'_>,
    now: UnixMillis,
    out: &mut impl Decided,
) -> Result<Stepped, S::Error> {
    let mut scratch = std::mem::take(out.scratch());
    let stepped = step_with(store, &mut scratch, catalog, input, now, out)?;
    *out.scratch() = scratch;
    Ok(stepped)
}

fn step_with<S: Store>(
    store: &mut S,
    scratch: &mut Scratch,
    catalog: &Catalog,
    input: StepInput<'_>,
    now: UnixMillis,
    out: &mut impl Decided,
) -> Result<Stepped, S::Error> {
    match input {
        StepInput::Postback { postback, click } => {
            let id = postback.postback_id.0.as_bytes();
            match seen::note(store, scratch, postback.received_at, id, now)? {
                Novelty::Repeat => Ok(Stepped::Repeated),
                Novelty::New => {
                    step_postback(store, scratch, catalog, postback, click, now, out)?;
                    Ok(Stepped::Decided)
                }
            }
        }
        StepInput::ClickDetails(it) => {
            details::keep(store, scratch, catalog, it, now)?;
            Ok(Stepped::Kept)
        }
        StepInput::Command { command, click } => {
            let id = command.command_id.as_bytes();
            match seen::note(store, scratch, command.issued_at, id, now)? {
                Novelty::Repeat => Ok(Stepped::Repeated),
                Novelty::New => {
                    step_command(store, scratch, catalog, command, click, now, out)?;
                    Ok(Stepped::Decided)
                }
            }
        }
        StepInput::Redecide { command, clicks } => {
            let id = command.command_id.as_bytes();
            match seen::note(store, scratch, command.issued_at, id, now)? {
                Novelty::Repeat => Ok(Stepped::Repeated),
                Novelty::New => {
                    redecide::apply(store, scratch, catalog, command, clicks, now, out)?;
                    Ok(Stepped::Redecided(command.postbacks.len()))
                }
            }
        }
    }
}

/// A postback on its way through the rules.
pub struct Hearing<'a> {
    pub postback: &'a Postback,
    click: ClickReference<'a>,
    /// The click and what holds for it, when both are known.
    pub opened: Option<(&'a ResolvedClick, Terms)>,
    event_id: &'a str,
    click_id: &'a str,
    flags: FlagSet,
    test: bool,
    /// It is put back for decision, with these words.
    redecided: Option<&'a str>,
    /// What was made of its click, if the rules came that far.
    pub revisions: Option<Revisions<'a>>,
}

fn step_postback<S: Store>(
    store: &mut S,
    scratch: &mut Scratch,
    catalog: &Catalog,
    postback: &Postback,
    click: ClickReference<'_>,
    now: UnixMillis,
    out: &mut impl Decided,
) -> Result<(), S::Error> {
    let mut hearing = Hearing::open(postback, click, catalog, None);
    let verdict = judge(&mut hearing, store, scratch, catalog, now, out)?;
    out.decision(&DecisionView {
        postback: Some(hearing.outcome(verdict, catalog)),
        command: None,
        redecision: None,
        revisions: hearing.revisions.as_ref(),
    });
    if let Some(revisions) = hearing.revisions {
        revisions.recycle(scratch);
    }
    Ok(())
}

/// The rules, in their order.
pub fn judge<'a, S: Store>(
    hearing: &mut Hearing<'a>,
    store: &mut S,
    scratch: &mut Scratch,
    catalog: &'a Catalog,
    now: UnixMillis,
    out: &mut impl Decided,
) -> Result<Verdict, S::Error> {
    let postback = hearing.postback;
    // 1. A rejection may mean the whole click, and what is ignored need not name anything.
    if hearing.event_id.is_empty() && !matches!(hearing.class(), Class::Reject | Class::Ignore) {
        return Ok(Verdict::rejected(Reason::MissingEvent));
    }
    // 2
    if hearing.holds_macro(catalog) {
        return Ok(Verdict::rejected(Reason::MacroNotReplaced));
    }
    // 3
    match hearing.click {
        ClickReference::Missing => return Ok(Verdict::rejected(Reason::MissingClickId)),
        ClickReference::Invalid => return Ok(Verdict::rejected(Reason::InvalidClickId)),
        ClickReference::Resolved(_) => {}
    }
    let Some((click, terms)) = &hearing.opened else {
        return Ok(Verdict::rejected(Reason::UnknownOffer));
    };
    // 4
    if !belongs_to_sender(terms, postback) {
        return Ok(Verdict::rejected(Reason::AdvertiserMismatch));
    }
    let offer = Arc::clone(&terms.offer);
    let mut facts = read::facts(postback, &offer, click.clicked_at());
    hearing.test = click.test || facts.sandbox;
    if hearing.redecided.is_some() {
        facts.flags.add(Flag::Redecided);
    }
    hearing.flags = facts.flags;
    if facts.class == Class::Ignore {
        return Ok(Verdict::ignored());
    }
    // 5
    let event = offer.event(hearing.event_id);
    if event.is_none() && !hearing.event_id.is_empty() {
        return Ok(Verdict::rejected(Reason::UnknownEvent));
    }
    if facts.class == Class::Unknown {
        return Ok(Verdict::rejected(Reason::UnknownStatus));
    }
    // R, and 6 to 13
    let mut case = Case::open(
        store,
        scratch,
        Opening {
            catalog,
            now,
            click,
            click_id: hearing.click_id,
            offer: Arc::clone(&offer),
            share: Arc::clone(&terms.share),
            test: hearing.test,
        },
    )?;
    case.postback_id = Some(postback.postback_id);
    if let Some(words) = hearing.redecided {
        (case.redecided, case.note, case.is_noting) = (true, words, true);
    }
    let verdict = match event {
        _ if facts.class == Class::Reject => case.reverse(postback, &mut facts, event)?,
        None => Verdict::rejected(Reason::MissingEvent),
        Some(event) if facts.amount.is_some_and(|amount| amount.0 < 0) => {
            case.refund(postback, &mut facts, event)?
        }
        Some(event) => case.convert(postback, &mut facts, event)?,
    };
    hearing.flags = facts.flags;
    hearing.revisions = Some(case.close(out)?);
    Ok(verdict)
}

fn belongs_to_sender(terms: &Terms, postback: &Postback) -> bool {
    terms.offer.advertiser == postback.advertiser && terms.offer.tenant == postback.tenant
}

impl<'a> Hearing<'a> {
    pub fn open(
        postback: &'a Postback,
        click: ClickReference<'a>,
        catalog: &Catalog,
        redecided: Option<&'a str>,
    ) -> Self {
        let opened = match click {
            ClickReference::Resolved(click) => catalog.terms(click).map(|terms| (click, terms)),
            ClickReference::Missing | ClickReference::Invalid => None,
        };
        Self {
            postback,
            click,
            opened,
            event_id: read::event_id(postback),
            click_id: read::click_id(postback),
            flags: FlagSet::default(),
            test: matches!(click, ClickReference::Resolved(click) if click.test),
            redecided,
            revisions: None,
        }
    }
}

impl Hearing<'_> {
    /// What kind of report it is, as far as its offer is known.
    fn class(&self) -> Class {
        match &self.opened {
            Some((_, terms)) => {
                let offer = &terms.offer;
                read::classify(self.postback, offer.profile(), offer.convert_ignored)
            }
            None => Class::Convert,
        }
    }

    /// Rule 2. An event ID that looks like a macro is one of the click's offer or, where that is
    /// not known, of any of the advertiser's.
    fn holds_macro(&self, catalog: &Catalog) -> bool {
        let is_configured = || match &self.opened {
            Some((_, terms)) => terms.offer.event(self.event_id).is_some(),
            None => catalog
                .offers()
                .filter(|offer| offer.advertiser == self.postback.advertiser)
                .any(|offer| offer.event(self.event_id).is_some()),
        };
        holds_macro(self.event_id) && !is_configured() || holds_macro(self.click_id)
    }

    pub fn outcome(&self, verdict: Verdict, catalog: &Catalog) -> PostbackOutcomeView<'_> {
        let postback = self.postback;
        // What another tenant's click is of is none of this tenant's business.
        let terms = match &self.opened {
            Some((_, terms)) if terms.offer.tenant == postback.tenant => Some(terms),
            _ => None,
        };
        let root_offer = self.opened.as_ref().map(|(click, _)| &click.root_offer);
        let conversion_id = root_offer
            .zip(verdict.conversion)
            .map(|(root_offer, hash)| ConversionIdView { root_offer, hash });
        PostbackOutcomeView {
            postback_id: postback.postback_id,
            tenant: &postback.tenant,
            advertiser_id: &postback.advertiser,
            received_at: postback.received_at,
            click_id: self.click_id,
            event_id: self.event_id,
            outcome: verdict.outcome,
            reason: verdict.reason,
            conversion_id,
            offer_id: terms.map(|terms| &terms.offer.id),
            publisher_id: terms.map(|terms| &terms.share.publisher),
            parameters: &postback.parameters,
            flags: self.flags.view(&postback.flags),
            test: self.test,
            config_version: catalog.version,
        }
    }
}

fn step_command<S: Store>(
    store: &mut S,
    scratch: &mut Scratch,
    catalog: &Catalog,
    command: &Command,
    click: ClickReference<'_>,
    now: UnixMillis,
    out: &mut impl Decided,
) -> Result<(), S::Error> {
    let (effect, revisions) = match click {
        ClickReference::Resolved(click) => {
            by_hand::apply(store, scratch, catalog, command, click, now, out)?
        }
        ClickReference::Missing | ClickReference::Invalid => (CommandEffect::UnknownClick, None),
    };
    let outcome = CommandOutcome {
        command_id: command.command_id,
        conversion_id: command.conversion_id.clone(),
        effect,
        decided_at: now,
    };
    out.decision(&DecisionView {
        postback: None,
        command: Some(&outcome),
        redecision: None,
        revisions: revisions.as_ref(),
    });
    if let Some(revisions) = revisions {
        revisions.recycle(scratch);
    }
    Ok(())
}
