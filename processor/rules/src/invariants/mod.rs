//! What always holds, by name: production, the naive model, the simulation and the tests hold
//! decisions against the same list. [`check_next`] is what all of them ask of a revision.

mod audit;
mod rows;

pub use audit::Audit;
pub use rows::{check_decision, check_revision, check_row};

use schemas::{ConversionIdView, ConversionStatus, PostbackId, Reason, UnixMillis};

/// Something that must always hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// An event of a click, and of a transaction where the event is repeatable, is paid once.
    OneLiveConversion,
    /// A later revision has the greater number, one by one from 1: tables keep the greatest.
    RevisionsGrow,
    /// What counts is never more than a cap or the budget, but for what was approved past them,
    /// which counts apart.
    WithinLimits,
    /// A pending time is waited for, to the millisecond.
    NotBeforeDue,
    /// What a revision takes back is what the one before it gave: counters and budget agree with
    /// the rows.
    TotalsNetOut,
    /// Every postback is decided once and says why.
    OneOutcome,
    /// A pending conversion has a timer, and no other has.
    PendingHasDueTime,
    /// A timer is never set into the past of its decision.
    DueAfterDecision,
    /// Status and reason tell the same story.
    ReasonFitsStatus,
    /// Click, event, offer, share and time of arrival of a conversion stay.
    SubjectStays,
    /// A later revision was decided later.
    TimeGoesOn,
    /// What the advertiser or a person rejected does not come back by itself.
    OnlyAPersonBringsBack,
    /// Nobody's reward changes while the conversion stands.
    AmountsStay,
    /// A duplicate or ignored postback changes nothing.
    OutcomeFitsConversions,
}

impl Invariant {
    pub const ALL: [Self; 14] = [
        Self::OneLiveConversion,
        Self::RevisionsGrow,
        Self::WithinLimits,
        Self::NotBeforeDue,
        Self::TotalsNetOut,
        Self::OneOutcome,
        Self::PendingHasDueTime,
        Self::DueAfterDecision,
        Self::ReasonFitsStatus,
        Self::SubjectStays,
        Self::TimeGoesOn,
        Self::OnlyAPersonBringsBack,
        Self::AmountsStay,
        Self::OutcomeFitsConversions,
    ];

    /// The name in metrics and logs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::OneLiveConversion => "one_live_conversion",
            Self::RevisionsGrow => "revisions_grow",
            Self::WithinLimits => "within_limits",
            Self::NotBeforeDue => "not_before_due",
            Self::TotalsNetOut => "totals_net_out",
            Self::OneOutcome => "one_outcome",
            Self::PendingHasDueTime => "pending_has_due_time",
            Self::DueAfterDecision => "due_after_decision",
            Self::ReasonFitsStatus => "reason_fits_status",
            Self::SubjectStays => "subject_stays",
            Self::TimeGoesOn => "time_goes_on",
            Self::OnlyAPersonBringsBack => "only_a_person_brings_back",
            Self::AmountsStay => "amounts_stay",
            Self::OutcomeFitsConversions => "outcome_fits_conversions",
        }
    }

    /// What holds, for people.
    #[must_use]
    pub fn statement(self) -> &'static str {
        match self {
            Self::OneLiveConversion => {
                "at most one conversion of a click, event and transaction is live"
            }
            Self::RevisionsGrow => "revisions count from 1, one by one",
            Self::WithinLimits => "what counts never exceeds a cap or the budget",
            Self::NotBeforeDue => "nothing succeeds before it is due",
            Self::TotalsNetOut => "totals of revisions net out",
            Self::OneOutcome => "every postback has exactly one outcome",
            Self::PendingHasDueTime => "a Pending conversion has a due time, and no other has",
            Self::DueAfterDecision => "a due time is not before its decision",
            Self::ReasonFitsStatus => "the reason fits the status",
            Self::SubjectStays => "what a conversion is of never changes",
            Self::TimeGoesOn => "decisions of a conversion do not go back in time",
            Self::OnlyAPersonBringsBack => "what was taken back comes back by hand only",
            Self::AmountsStay => "a conversion that stands keeps its amounts",
            Self::OutcomeFitsConversions => {
                "a duplicate or ignored postback makes no conversion stand"
            }
        }
    }

    /// The part of the domain's rules that it comes from.
    #[must_use]
    pub fn source(self) -> &'static str {
        match self {
            Self::OneLiveConversion | Self::OutcomeFitsConversions => "Duplicates (rule 8)",
            Self::RevisionsGrow | Self::SubjectStays => "conversion: one id through all changes",
            Self::WithinLimits | Self::TotalsNetOut => "Caps and budget (rule 11)",
            Self::NotBeforeDue | Self::PendingHasDueTime | Self::DueAfterDecision => {
                "Pending time (rule 12)"
            }
            Self::OneOutcome | Self::ReasonFitsStatus => "Decision rules",
            Self::TimeGoesOn => "Timers and time",
            Self::OnlyAPersonBringsBack => "Reversal and verification",
            Self::AmountsStay => "Amounts",
        }
    }
}

impl std::fmt::Display for Invariant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.statement())
    }
}

impl std::error::Error for Invariant {}

/// A breach as it is told: nothing in it is a secret.
#[derive(Debug, Clone, Copy)]
pub struct Violation<'a> {
    pub invariant: Invariant,
    pub conversion_id: Option<ConversionIdView<'a>>,
    /// The postback that was being decided, if it was one.
    pub postback_id: Option<PostbackId>,
}

/// Where a revision leaves a conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub revision: u32,
    pub status: ConversionStatus,
    pub reason: Option<Reason>,
    pub due_at: Option<UnixMillis>,
}

impl Standing {
    fn is_taken_back(&self) -> bool {
        matches!(
            self.reason,
            Some(Reason::AdvertiserRejected | Reason::ManuallyRejected | Reason::RefundRecorded)
        )
    }
}

/// Whether a revision made at `decided_at` makes sense by itself.
///
/// # Errors
/// The first invariant that it breaks.
pub fn check_standing(it: Standing, decided_at: UnixMillis) -> Result<(), Invariant> {
    let pending = it.status == ConversionStatus::Pending;
    if pending != it.due_at.is_some() {
        return Err(Invariant::PendingHasDueTime);
    }
    // Beyond what a timer can hold, it is at the end of that.
    let decided_at = crate::keys::representable(decided_at);
    if it.due_at.is_some_and(|due| due < decided_at) {
        return Err(Invariant::DueAfterDecision);
    }
    let fits = match it.reason {
        None | Some(Reason::ManuallyApproved) => it.status == ConversionStatus::Success,
        Some(Reason::Hold | Reason::WaitingSequence) => pending,
        Some(_) => it.status == ConversionStatus::Rejected,
    };
    if !fits {
        return Err(Invariant::ReasonFitsStatus);
    }
    if it.revision == 0 {
        return Err(Invariant::RevisionsGrow);
    }
    Ok(())
}

/// Whether a revision made at `decided_at` may follow the one before, or begin a conversion.
///
/// # Errors
/// The first invariant that it breaks.
pub fn check_next(
    before: Option<Standing>,
    after: Standing,
    decided_at: UnixMillis,
) -> Result<(), Invariant> {
    check_standing(after, decided_at)?;
    let Some(before) = before else {
        return if after.revision == 1 { Ok(()) } else { Err(Invariant::RevisionsGrow) };
    };
    if before.revision.checked_add(1) != Some(after.revision) {
        return Err(Invariant::RevisionsGrow);
    }
    let by_hand = after.reason == Some(Reason::ManuallyApproved);
    if before.is_taken_back() && after.status != ConversionStatus::Rejected && !by_hand {
        return Err(Invariant::OnlyAPersonBringsBack);
    }
    // Waiting has a due time, too, but that is when it gives up.
    let held_until = before.due_at.filter(|_| before.reason == Some(Reason::Hold));
    if after.status == ConversionStatus::Success
        && !by_hand
        && held_until.is_some_and(|due| decided_at < due)
    {
        return Err(Invariant::NotBeforeDue);
    }
    Ok(())
}

/// Whether an input that was decided has one outcome, and one that repeats another has none.
///
/// # Errors
/// [`Invariant::OneOutcome`].
pub fn check_outcomes(stepped: crate::Stepped, told: usize) -> Result<(), Invariant> {
    let expected = match stepped {
        crate::Stepped::Decided => 1,
        crate::Stepped::Redecided(postbacks) => postbacks,
        crate::Stepped::Kept | crate::Stepped::Repeated => 0,
    };
    if told == expected { Ok(()) } else { Err(Invariant::OneOutcome) }
}
