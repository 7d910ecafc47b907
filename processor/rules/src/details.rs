//! Click details: the sub-ids of a click whose token had no room for them.

use crate::context;
use crate::keys;
use crate::output::Scratch;
use crate::store::Store;
use crate::timer_keys::{self, Timer};
use schemas::offer::ATTRIBUTION_WINDOW_MS_DEFAULT;
use schemas::time::DAY_MS;
use schemas::{Catalog, ClickDetails, UnixMillis};

/// What senders' times may differ from ours, and some.
const MARGIN_MS: i64 = 2 * DAY_MS;

/// Keeps a click's sub-ids for as long as a first conversion can come; then for as long as the
/// click's state lives.
pub fn keep<S: Store>(
    store: &mut S,
    scratch: &mut Scratch,
    catalog: &Catalog,
    details: &ClickDetails,
    now: UnixMillis,
) -> Result<(), S::Error> {
    keys::details(&mut scratch.key, details.click);
    if store.get(&scratch.key, &mut scratch.value)? {
        return Ok(());
    }
    scratch.value.clear();
    context::encode_subs(&mut scratch.value, &details.subs);
    store.put(&scratch.key, &scratch.value)?;
    // The share is not known here, so: the longest window below this root offer.
    let window_ms = catalog
        .offers()
        .filter(|offer| offer.root == details.root_offer)
        .map(|offer| offer.attribution_window_ms)
        .fold(ATTRIBUTION_WINDOW_MS_DEFAULT, i64::max);
    let due = details.clicked_at.plus_ms(window_ms).plus_ms(MARGIN_MS).max(now);
    timer_keys::arm(store, &mut scratch.key, due, Timer::Details(details.click))
}
