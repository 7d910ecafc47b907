//! Our own repeats: an ingester whose write was not confirmed may write it again. A postback or
//! command that was decided a short while ago is dropped without a word.

use crate::keys;
use crate::output::Scratch;
use crate::store::Store;
use schemas::UnixMillis;
use schemas::time::MINUTE_MS;

/// How long an id is remembered. Repeats are seconds apart; one that comes later is judged by the
/// rules, which find it a duplicate.
pub const REMEMBERED_MS: i64 = 10 * MINUTE_MS;
/// Old ids forgotten with every new one: more than one, so that they never pile up.
const FORGOTTEN_EACH: usize = 2;

/// Whether something is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Novelty {
    New,
    Repeat,
}

/// Remembers an id, and tells whether it was there.
pub fn note<S: Store>(
    store: &mut S,
    scratch: &mut Scratch,
    received_at: UnixMillis,
    id: &[u8; 16],
    now: UnixMillis,
) -> Result<Novelty, S::Error> {
    let horizon = now.plus_ms(-REMEMBERED_MS);
    if received_at < horizon {
        return Ok(Novelty::New);
    }
    keys::seen(&mut scratch.key, received_at, id);
    if store.get(&scratch.key, &mut scratch.value)? {
        return Ok(Novelty::Repeat);
    }
    store.put(&scratch.key, &[])?;
    forget(store, scratch, horizon)?;
    Ok(Novelty::New)
}

fn forget<S: Store>(
    store: &mut S,
    scratch: &mut Scratch,
    horizon: UnixMillis,
) -> Result<(), S::Error> {
    let end = keys::tagged_time(keys::SEEN, horizon);
    for _ in 0..FORGOTTEN_EACH {
        if !store.first_in(&[keys::SEEN], &end, &mut scratch.key, &mut scratch.value)? {
            break;
        }
        store.delete(&scratch.key)?;
    }
    Ok(())
}
