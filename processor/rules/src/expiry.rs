//! Lifetimes: what can no longer matter goes. What comes for it later meets the window and the
//! deadline, and never pays.

use crate::click_state::ClickState;
use crate::keys::{self, ClickSlot};
use crate::output::Scratch;
use crate::store::Store;
use crate::timer_keys::{self, Timer};
use crate::uniqueness::read_retry;
use schemas::time::{DAY_MS, HOUR_MS};
use schemas::{ClickKey, UnixMillis};

/// A click's timer: its state goes, or, if it changed since, gets the timer for its later time.
pub fn click<S: Store>(
    store: &mut S,
    scratch: &mut Scratch,
    slot: ClickSlot,
    due: UnixMillis,
) -> Result<(), S::Error> {
    let mut state = ClickState::load(store, scratch, slot)?;
    let later = state.expires.time();
    if later > due || state.pending > 0 {
        let next = if later > due { later } else { due.plus_ms(DAY_MS) };
        state.recycle(scratch);
        return timer_keys::arm(store, &mut scratch.key, next, Timer::Click(slot));
    }
    state.load_repeatables(store, scratch)?;
    for record in &state.records {
        match record.unique {
            Some(unique) => {
                keys::transaction(&mut scratch.key, unique);
                delete_pointer(store, scratch, slot)?;
                keys::repeatable(&mut scratch.key, slot, record.event, unique);
                store.delete(&scratch.key)?;
            }
            None => {
                if let Some(member) = state.member {
                    keys::member(&mut scratch.key, member, record.event);
                    delete_pointer(store, scratch, slot)?;
                }
            }
        }
    }
    state.recycle(scratch);
    keys::click(&mut scratch.key, slot);
    store.delete(&scratch.key)
}

/// Deletes the pointer whose key is in the buffer, if it still points here.
fn delete_pointer<S: Store>(
    store: &mut S,
    scratch: &mut Scratch,
    slot: ClickSlot,
) -> Result<(), S::Error> {
    if store.get(&scratch.key, &mut scratch.value)? && scratch.value == slot.0 {
        store.delete(&scratch.key)?;
    }
    Ok(())
}

/// A click's sub-ids go with its state, or when no state came of it in time.
pub fn details<S: Store>(
    store: &mut S,
    scratch: &mut Scratch,
    click: ClickKey,
    due: UnixMillis,
) -> Result<(), S::Error> {
    let mut latest = None;
    for test in [false, true] {
        let state = ClickState::load(store, scratch, ClickSlot::new(click, test))?;
        if state.stored {
            latest = latest.max(Some(state.expires.time()));
        }
        state.recycle(scratch);
    }
    match latest {
        Some(expires) => {
            let next = expires.max(due.plus_ms(HOUR_MS));
            timer_keys::arm(store, &mut scratch.key, next, Timer::Details(click))
        }
        None => {
            keys::details(&mut scratch.key, click);
            store.delete(&scratch.key)
        }
    }
}

/// The retries of a postback without a transaction are over, unless it came anew since.
pub fn retry<S: Store>(
    store: &mut S,
    scratch: &mut Scratch,
    hash: [u8; 16],
    due: UnixMillis,
) -> Result<(), S::Error> {
    keys::retry(&mut scratch.key, hash);
    if store.get(&scratch.key, &mut scratch.value)? && read_retry(&scratch.value)?.0 < due {
        store.delete(&scratch.key)?;
    }
    Ok(())
}
