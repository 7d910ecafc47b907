//! Whose an entry of a partition's state is, for moving state to another number of partitions.

use crate::context;
use crate::counters::read_scope;
use crate::keys::{self, ClickSlot};
use crate::output::Scratch;
use crate::store::{Damaged, Store};
use crate::timer_keys::Timer;
use crate::wire::Reader;
use schemas::{AvailabilityScope, Catalog, OfferId};

/// The root offer that an entry belongs to. None where the entry does not say: settled clicks, their
/// details, and what is remembered against repeats. Those do nothing by themselves but expire, so
/// every partition that may meet them can have a copy. Whatever acts by itself says whose it is:
/// pending conversions by their click's context, and limits by their scope.
///
/// # Errors
/// The store's, and damaged entries.
pub fn owner<S: Store>(
    store: &mut S,
    scratch: &mut Scratch,
    catalog: &Catalog,
    key: &[u8],
) -> Result<Option<OfferId>, S::Error> {
    match key.first() {
        Some(&(keys::CLICK_LIVE | keys::CLICK_TEST)) => match key.first_chunk() {
            Some(slot) => of_click(store, scratch, ClickSlot(*slot)),
            None => Err(Damaged { what: "a click's key" }.into()),
        },
        Some(&(keys::COUNTER | keys::SCOPE)) => Ok(of_scope(catalog, key)?),
        Some(&keys::TIMER) => {
            match Timer::read(key).ok_or(Damaged { what: "a timer" }).map(|(_, timer)| timer)? {
                Timer::Conversion { slot, .. } | Timer::Click(slot) => {
                    of_click(store, scratch, slot)
                }
                Timer::Counter(of) | Timer::DayBegins(of) => Ok(of_scope(catalog, of)?),
                Timer::Details(_) | Timer::Retry(_) => Ok(None),
            }
        }
        _ => Ok(None),
    }
}

fn of_click<S: Store>(
    store: &mut S,
    scratch: &mut Scratch,
    slot: ClickSlot,
) -> Result<Option<OfferId>, S::Error> {
    Ok(context::get(store, scratch, slot)?.map(|(click, _)| click.root_offer))
}

/// `key`: a tag and a scope, and perhaps more.
fn of_scope(catalog: &Catalog, key: &[u8]) -> Result<Option<OfferId>, Damaged> {
    const WHAT: &str = "the key of a limit";
    let rest = key.get(1..).ok_or(Damaged { what: WHAT })?;
    let root_of = |offer: &str| catalog.offer(offer).map(|offer| offer.root.clone());
    Ok(match read_scope(&mut Reader::new(rest, WHAT))? {
        AvailabilityScope::RootOffer(id) => Some(id),
        AvailabilityScope::Offer(id) => root_of(id.as_str()),
        AvailabilityScope::Share(id) => {
            catalog.share(id.as_str()).and_then(|share| root_of(share.offer.as_str()))
        }
    })
}
