//! Names that follow from what they name, so that the same history gives the same ones.

use crate::keys::{ClickSlot, MemberHash, Unique, hash, hash_parts};
use schemas::{EventId, OfferId, Postback, PublisherId, TenantId};

/// What a conversion is of.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub tenant: &'a TenantId,
    pub root_offer: &'a OfferId,
    pub slot: ClickSlot,
    pub event: &'a EventId,
}

/// What tells a conversion of a repeatable event from the others of its click.
#[derive(Debug, Clone, Copy)]
pub enum Occurrence<'a> {
    Once,
    Transaction(&'a str),
    /// Without a transaction: the first postback that reported it.
    FirstPostback(&'a Postback),
}

/// A test's conversion is another one than a real one of the same click and event.
fn lane(slot: ClickSlot) -> &'static [u8] {
    if slot.is_test() { b"test" } else { b"" }
}

/// The hash in a conversion's id.
pub fn conversion(subject: Subject<'_>, occurrence: Occurrence<'_>) -> [u8; 16] {
    let (kind, word): (&[u8], &[u8]) = match occurrence {
        Occurrence::Once => (b"", b""),
        Occurrence::Transaction(text) => (b"transaction", text.as_bytes()),
        Occurrence::FirstPostback(postback) => (b"postback", postback.postback_id.0.as_bytes()),
    };
    let parts = [
        subject.tenant.as_str().as_bytes(),
        subject.root_offer.as_str().as_bytes(),
        &subject.slot.click().0,
        subject.event.as_str().as_bytes(),
        lane(subject.slot),
        kind,
        word,
    ];
    hash("conversion", &parts)
}

/// A repeatable event's occurrence. A transaction is one below its root offer, whatever the click.
pub fn unique(subject: Subject<'_>, occurrence: Occurrence<'_>) -> Option<Unique> {
    let event = subject.event.as_str().as_bytes();
    match occurrence {
        Occurrence::Once => None,
        Occurrence::Transaction(text) => {
            let root = subject.root_offer.as_str().as_bytes();
            Some(Unique(hash("transaction", &[root, event, lane(subject.slot), text.as_bytes()])))
        }
        Occurrence::FirstPostback(_) => Some(Unique(conversion(subject, occurrence))),
    }
}

/// The member of a publisher below a root offer.
pub fn member(
    root_offer: &OfferId,
    publisher: &PublisherId,
    member: [u8; 8],
    slot: ClickSlot,
) -> MemberHash {
    let parts =
        [root_offer.as_str().as_bytes(), publisher.as_str().as_bytes(), &member, lane(slot)];
    MemberHash(hash("member", &parts))
}

/// A postback's parameters in any order, at a click: its retries have the same.
/// `order` is a buffer.
pub fn parameters(slot: ClickSlot, postback: &Postback, order: &mut Vec<usize>) -> [u8; 16] {
    let pairs = &postback.parameters;
    order.clear();
    order.extend(0..pairs.len());
    order.sort_unstable_by_key(|place| &pairs[*place]);
    let in_order = order.iter().flat_map(|place| {
        let (name, value) = &pairs[*place];
        [name.as_bytes(), value.as_bytes()]
    });
    hash_parts("parameters", std::iter::once(slot.0.as_slice()).chain(in_order))
}

/// The same parameters of postbacks that were put back for decision, which are remembered longer.
pub fn redecided(parameters: [u8; 16]) -> [u8; 16] {
    hash_parts("redecided parameters", std::iter::once(parameters.as_slice()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::{ClickKey, ConversionId, UnixMillis};

    #[test]
    fn conversion_ids_never_change() {
        let (tenant, root_offer) =
            (TenantId::new("brownboots").unwrap(), OfferId::new("pet-the-dogs-ios").unwrap());
        let event = EventId::new("Install").unwrap();
        let slot = ClickSlot::new(ClickKey::new(UnixMillis(1_700_000_000_000), [1; 8]), false);
        let subject = Subject { tenant: &tenant, root_offer: &root_offer, slot, event: &event };
        let id = |occurrence| {
            ConversionId::from_hash(&root_offer, conversion(subject, occurrence)).to_string()
        };
        assert_eq!(
            [id(Occurrence::Once), id(Occurrence::Transaction("T-1"))],
            [
                "pet-the-dogs-ios.39ssef30zysfdgehgsaq6190gq",
                "pet-the-dogs-ios.2231pnqv72xs524y93wg7ahwd2"
            ]
        );
    }
}
