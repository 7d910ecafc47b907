//! Who hears of a revision. Pure: from the conversion, what publishers know of it, and the
//! configuration.

use schemas::{Catalog, Conversion, ConversionStatus, Destination, PublisherPostback};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::sync::Arc;

/// Bytes of a hash that an id is made of.
const ID_BYTES: usize = 16;

/// What publishers know of a conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    pub status: ConversionStatus,
    pub revision: u32,
}

/// The destinations that hear of this revision: those that want its event and its new status. A
/// revision that leaves the status as it was (a flag was added) tells nobody anything new, one
/// that is not newer than what is known is a repeat, and private events are never told.
#[must_use]
pub fn destinations(
    catalog: &Catalog,
    conversion: &Conversion,
    told: Option<Told>,
) -> Vec<Destination> {
    let is_news = told
        .is_none_or(|told| told.revision < conversion.revision && told.status != conversion.status);
    if !is_news || is_private(catalog, conversion) {
        return Vec::new();
    }
    let wanted = |postbacks: &[PublisherPostback]| -> Vec<String> {
        let wants = |it: &&PublisherPostback| {
            it.wants(&conversion.event_id, conversion.status, conversion.test)
        };
        postbacks.iter().filter(wants).map(|it| it.name.clone()).collect()
    };
    let mut found = Vec::new();
    if let Some(publisher) = catalog.publisher(conversion.publisher_id.as_str()) {
        let names = wanted(&publisher.postbacks).into_iter();
        found.extend(names.map(|name| Destination::Publisher(publisher.id.clone(), name)));
    }
    if let Some(share) = catalog.share(conversion.share_id.as_str()) {
        let names = wanted(&share.postbacks).into_iter();
        found.extend(names.map(|name| Destination::Share(share.id.clone(), name)));
    }
    found
}

/// As the offer says today; for an event that it has no more, as it said then.
fn is_private(catalog: &Catalog, conversion: &Conversion) -> bool {
    let id = conversion.offer_id.as_str();
    let event = conversion.event_id.as_str();
    let today = catalog.offer(id).and_then(|offer| offer.event(event));
    let then = catalog.offer_at(id, conversion.offer_version).and_then(|offer| offer.event(event));
    // One that nobody knows is kept to ourselves.
    today.or(then).is_none_or(|event| event.private)
}

/// The offer's name as the publisher's users see it.
#[must_use]
pub fn offer_name(catalog: &Catalog, conversion: &Conversion) -> String {
    let share = catalog.share(conversion.share_id.as_str());
    let offer = || catalog.offer(conversion.offer_id.as_str()).map(|offer| offer.name.clone());
    share.and_then(|share| share.name.clone()).or_else(offer).unwrap_or_default()
}

/// The id of telling a destination of a revision: the same on every replay.
#[must_use]
pub fn delivery_id(destination: &Destination, conversion: &str, revision: u32) -> Arc<str> {
    let mut hash = Sha256::new();
    for part in [destination.to_string().as_bytes(), conversion.as_bytes()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.update(revision.to_be_bytes());
    let mut id = "dlv_".to_owned();
    for byte in hash.finalize().iter().take(ID_BYTES) {
        // Writing to a String cannot fail.
        let _ = write!(id, "{byte:02x}");
    }
    id.into()
}
