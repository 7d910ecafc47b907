//! Stored postbacks that are put back for decision, at the time they were received.
//!
//! Each is tried first. Only what makes it count, wait or be ignored takes effect; what would be
//! refused again, or has been counted, changes nothing. So putting a postback back twice is as
//! good as once.

use crate::case::{LIFETIME_MARGIN_MS, longest_period_ms};
use crate::convert::Verdict;
use crate::invariants::Violation;
use crate::output::{Decided, Scratch};
use crate::revisions::Revisions;
use crate::step::{ClickReference, Hearing, judge};
use crate::store::Store;
use crate::trial::Trial;
use crate::view::DecisionView;
use schemas::time::HOUR_MS;
use schemas::{
    Availability, Catalog, Conversion, ConversionChange, Outcome, Postback, Redecide, Redecision,
    RedecisionEffect, UnixMillis,
};

/// By how much less than a click's state surely lives its postbacks can be put back: what clocks
/// may differ.
const CLOCKS_DIFFER_MS: i64 = HOUR_MS;

/// Changed conversions that one redecision lists: a rejection of a whole click can change any number,
/// and the log bounds a record.
const CHANGES_TOLD_MAX: usize = 200;

/// Decides each of the postbacks anew, or tells what would become of them one after the other.
pub fn apply<S: Store>(
    store: &mut S,
    scratch: &mut Scratch,
    catalog: &Catalog,
    command: &Redecide,
    clicks: &[ClickReference<'_>],
    now: UnixMillis,
    out: &mut impl Decided,
) -> Result<(), S::Error> {
    let again = Again { catalog, command, now };
    if command.preview {
        let mut trial = Trial::new(store);
        return again.each(&mut trial, scratch, clicks, out);
    }
    again.each(store, scratch, clicks, out)
}

struct Again<'a> {
    catalog: &'a Catalog,
    command: &'a Redecide,
    now: UnixMillis,
}

impl<'a> Again<'a> {
    fn each<S: Store>(
        &self,
        store: &mut S,
        scratch: &mut Scratch,
        clicks: &[ClickReference<'a>],
        out: &mut impl Decided,
    ) -> Result<(), S::Error> {
        for (postback, click) in self.command.postbacks.iter().zip(clicks) {
            self.one(store, scratch, postback, *click, out)?;
        }
        Ok(())
    }

    fn open(&self, postback: &'a Postback, click: ClickReference<'a>) -> Hearing<'a> {
        Hearing::open(postback, click, self.catalog, Some(&self.command.reason))
    }

    fn one<S: Store>(
        &self,
        store: &mut S,
        scratch: &mut Scratch,
        postback: &'a Postback,
        click: ClickReference<'a>,
        out: &mut impl Decided,
    ) -> Result<(), S::Error> {
        let mut tried = self.open(postback, click);
        if self.is_too_old(&tried) {
            let verdict = Verdict { outcome: Outcome::Rejected, reason: None, conversion: None };
            self.tell(RedecisionEffect::TooOld, &tried, verdict, out);
            return Ok(());
        }
        let mut trial = Trial::new(store);
        let verdict =
            judge(&mut tried, &mut trial, scratch, self.catalog, self.now, &mut Quiet::default())?;
        let effect = effect(verdict, !trial.changes.is_empty());
        if let Some(revisions) = tried.revisions.take() {
            revisions.recycle(scratch);
        }
        if effect != RedecisionEffect::Applied {
            self.tell(effect, &tried, verdict, out);
            return Ok(());
        }
        let mut heard = self.open(postback, click);
        let verdict = match self.command.preview {
            true => {
                judge(&mut heard, store, scratch, self.catalog, self.now, &mut Quiet::default())?
            }
            false => judge(&mut heard, store, scratch, self.catalog, self.now, out)?,
        };
        self.tell(effect, &heard, verdict, out);
        if let Some(revisions) = heard.revisions {
            revisions.recycle(scratch);
        }
        Ok(())
    }

    /// Whether the state of its click may have expired since, so that nobody could tell a first
    /// conversion from a second one.
    fn is_too_old(&self, hearing: &Hearing<'_>) -> bool {
        hearing.opened.as_ref().is_some_and(|(click, terms)| {
            let kept_ms = longest_period_ms(&terms.offer) + LIFETIME_MARGIN_MS - CLOCKS_DIFFER_MS;
            self.now.since(click.clicked_at()) > kept_ms
        })
    }

    fn tell(
        &self,
        effect: RedecisionEffect,
        hearing: &Hearing<'_>,
        verdict: Verdict,
        out: &mut impl Decided,
    ) {
        let revisions = hearing.revisions.as_ref();
        let redecision = Redecision {
            run_id: self.command.run_id,
            preview: self.command.preview,
            effect,
            operator: self.command.operator.clone(),
            note: self.command.reason.clone(),
            decided_at: self.now,
            outcome: hearing.outcome(verdict, self.catalog).into(),
            changes: revisions
                .into_iter()
                .flat_map(Revisions::views)
                .take(CHANGES_TOLD_MAX)
                .map(change)
                .collect(),
        };
        out.decision(&DecisionView {
            postback: None,
            command: None,
            redecision: Some(&redecision),
            revisions: revisions.filter(|_| !self.command.preview),
        });
    }
}

fn effect(verdict: Verdict, changes_anything: bool) -> RedecisionEffect {
    match verdict.outcome {
        Outcome::Waiting | Outcome::Ignored => RedecisionEffect::Applied,
        Outcome::Accepted if changes_anything => RedecisionEffect::Applied,
        Outcome::Accepted | Outcome::Duplicate => RedecisionEffect::AlreadyCounted,
        Outcome::Rejected => RedecisionEffect::Refused,
    }
}

fn change(row: schemas::ConversionView<'_>) -> ConversionChange {
    let row = Conversion::from(row);
    ConversionChange {
        conversion_id: row.conversion_id,
        event_id: row.event_id,
        status: row.status,
        reason: row.reason,
        revenue: row.revenue,
        payout: row.payout,
        currency: row.currency,
    }
}

/// Tells nobody what was only tried.
#[derive(Default)]
struct Quiet(Scratch);

impl Decided for Quiet {
    fn decision(&mut self, _: &DecisionView<'_>) {}

    fn availability(&mut self, _: &Availability) {}

    fn violated(&mut self, _: &Violation<'_>) {}

    fn scratch(&mut self) -> &mut Scratch {
        &mut self.0
    }
}
