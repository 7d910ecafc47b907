//! The invariants of rows as they are told: what the tests, the models and the simulation see.

use super::{Invariant, Standing, check_next, check_standing};
use schemas::{Conversion, ConversionStatus, Decision, Outcome};

impl From<&Conversion> for Standing {
    fn from(row: &Conversion) -> Self {
        Self { revision: row.revision, status: row.status, reason: row.reason, due_at: row.due_at }
    }
}

/// Whether one revision makes sense by itself.
///
/// # Errors
/// The first invariant that it breaks.
pub fn check_row(row: &Conversion) -> Result<(), Invariant> {
    check_standing(row.into(), row.decided_at)
}

/// Whether a revision may follow the one before, or begin a conversion.
///
/// # Errors
/// The first invariant that it breaks.
pub fn check_revision(before: Option<&Conversion>, row: &Conversion) -> Result<(), Invariant> {
    check_next(before.map(Into::into), row.into(), row.decided_at)?;
    let Some(before) = before else { return Ok(()) };
    let same_subject = row.conversion_id == before.conversion_id
        && row.click_id == before.click_id
        && row.event_id == before.event_id
        && row.offer_id == before.offer_id
        && row.share_id == before.share_id
        && row.received_at == before.received_at
        && row.test == before.test;
    if !same_subject {
        return Err(Invariant::SubjectStays);
    }
    if row.decided_at < before.decided_at {
        return Err(Invariant::TimeGoesOn);
    }
    let stands = before.status != ConversionStatus::Rejected;
    if stands
        && (row.revenue, row.payout, row.reward) != (before.revenue, before.payout, before.reward)
    {
        return Err(Invariant::AmountsStay);
    }
    Ok(())
}

/// Whether a decision makes sense by itself.
///
/// # Errors
/// The first invariant that it breaks.
pub fn check_decision(decision: &Decision) -> Result<(), Invariant> {
    for row in &decision.conversions {
        check_row(row)?;
    }
    let changed_nothing =
        |outcome: Outcome| matches!(outcome, Outcome::Duplicate | Outcome::Ignored);
    let breaks = decision.postback.as_ref().is_some_and(|postback| {
        changed_nothing(postback.outcome)
            && decision.conversions.iter().any(|row| {
                Some(&row.conversion_id) == postback.conversion_id.as_ref()
                    && row.status != ConversionStatus::Rejected
            })
    });
    if breaks { Err(Invariant::OutcomeFitsConversions) } else { Ok(()) }
}
