//! Timers: state ordered by due time.

use crate::output::Output;
use crate::store::Store;
use schemas::{Catalog, UnixMillis};

/// Whether timers are still due after [`fire_due`] fired as many as it might.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoreDue {
    Yes,
    No,
}

/// When the next timer is due, if there is one.
pub fn next_due<S: Store>(_store: &mut S) -> Result<Option<UnixMillis>, S::Error> {
    Ok(None)
}

/// Fires the timers due at or before `clock`, earliest first, at most `limit` of them. What a
/// timer decides is decided at its due time.
pub fn fire_due<S: Store>(
    _store: &mut S,
    _catalog: &Catalog,
    _clock: UnixMillis,
    _limit: usize,
    _out: &mut Output,
) -> Result<MoreDue, S::Error> {
    Ok(MoreDue::No)
}
