//! What always holds, by name: production, the naive model and the tests hold decisions against
//! the same list.

use schemas::{Conversion, ConversionStatus, Decision, Reason};

/// Something that must never be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invariant {
    #[error("a Pending conversion has a due time, and no other has")]
    PendingHasDueTime,
    #[error("a due time is not before its decision")]
    DueAfterDecision,
    #[error("the reason fits the status")]
    ReasonFitsStatus,
    #[error("revisions count from 1, one by one")]
    RevisionsCount,
    #[error("what a conversion is of never changes")]
    SubjectStays,
    #[error("decisions of a conversion do not go back in time")]
    TimeGoesOn,
    #[error("what was taken back comes back by hand only")]
    OnlyAPersonBringsBack,
    #[error("a conversion that stands keeps its amounts")]
    AmountsStay,
    #[error("a duplicate or ignored postback makes no conversion stand")]
    OutcomeFitsConversions,
}

/// Whether one revision makes sense by itself.
///
/// # Errors
/// The first invariant that it breaks.
pub fn check_row(row: &Conversion) -> Result<(), Invariant> {
    let pending = row.status == ConversionStatus::Pending;
    if pending != row.due_at.is_some() {
        return Err(Invariant::PendingHasDueTime);
    }
    if row.due_at.is_some_and(|due| due < row.decided_at) {
        return Err(Invariant::DueAfterDecision);
    }
    let fits = match row.reason {
        None | Some(Reason::ManuallyApproved) => row.status == ConversionStatus::Success,
        Some(Reason::Hold | Reason::WaitingSequence) => pending,
        Some(_) => row.status == ConversionStatus::Rejected,
    };
    if !fits {
        return Err(Invariant::ReasonFitsStatus);
    }
    if row.revision == 0 {
        return Err(Invariant::RevisionsCount);
    }
    Ok(())
}

/// Whether a revision may follow the one before, or begin a conversion.
///
/// # Errors
/// The first invariant that it breaks.
pub fn check_revision(before: Option<&Conversion>, row: &Conversion) -> Result<(), Invariant> {
    check_row(row)?;
    let Some(before) = before else {
        return if row.revision == 1 { Ok(()) } else { Err(Invariant::RevisionsCount) };
    };
    if row.revision != before.revision + 1 {
        return Err(Invariant::RevisionsCount);
    }
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
    if is_taken_back(before)
        && row.status != ConversionStatus::Rejected
        && row.reason != Some(Reason::ManuallyApproved)
    {
        return Err(Invariant::OnlyAPersonBringsBack);
    }
    let stands = before.status != ConversionStatus::Rejected;
    if stands
        && (row.revenue, row.payout, row.reward) != (before.revenue, before.payout, before.reward)
    {
        return Err(Invariant::AmountsStay);
    }
    Ok(())
}

fn is_taken_back(row: &Conversion) -> bool {
    matches!(
        row.reason,
        Some(Reason::AdvertiserRejected | Reason::ManuallyRejected | Reason::RefundRecorded)
    )
}

/// Whether a decision makes sense by itself: cheap enough to ask of every one.
///
/// # Errors
/// The first invariant that it breaks.
pub fn check_decision(decision: &Decision) -> Result<(), Invariant> {
    for row in &decision.conversions {
        check_row(row)?;
    }
    let changed_nothing = |outcome: schemas::Outcome| {
        matches!(outcome, schemas::Outcome::Duplicate | schemas::Outcome::Ignored)
    };
    let breaks = decision.postback.as_ref().is_some_and(|postback| {
        changed_nothing(postback.outcome)
            && decision.conversions.iter().any(|row| {
                Some(&row.conversion_id) == postback.conversion_id.as_ref()
                    && row.status != ConversionStatus::Rejected
            })
    });
    if breaks { Err(Invariant::OutcomeFitsConversions) } else { Ok(()) }
}
