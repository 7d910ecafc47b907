//! Whatever a decision says: its view is the JSON of its copy, and reads back as the copy.

use super::super::*;
use crate::codec::{decode, encode, encode_as};
use crate::decision::Decision;
use proptest::prelude::*;
use proptest::sample::select;

fn any_time() -> impl Strategy<Value = UnixMillis> {
    any::<i64>().prop_map(UnixMillis)
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![3 => "\\PC{0,12}", 1 => any::<String>(), 1 => Just(String::new())]
}

fn any_slug() -> impl Strategy<Value = String> {
    "[a-z0-9][a-z0-9-]{0,20}[a-z0-9]"
}

fn any_reason() -> impl Strategy<Value = Option<Reason>> {
    proptest::option::of(select(Reason::ALL.to_vec()))
}

fn any_subs() -> impl Strategy<Value = SubIds> {
    proptest::collection::vec(proptest::option::of(any_text()), SUB_ID_COUNT).prop_map(|texts| {
        let mut subs = SubIds::default();
        for (slot, text) in subs.0.iter_mut().zip(texts) {
            *slot = text.map(Into::into);
        }
        subs
    })
}

prop_compose! {
    /// Flags received, and bits of flags that there are.
    fn any_flags()(
        received in proptest::collection::vec(select(Flag::ALL.to_vec()), 0..3), added: u64,
    ) -> (Vec<Flag>, u64) {
        (received, added & ((1 << Flag::ALL.len()) - 1))
    }
}

/// Ids of everything, and the hash of a conversion.
#[derive(Debug)]
struct Ids {
    tenant: TenantId,
    advertiser: AdvertiserId,
    root: OfferId,
    offer: OfferId,
    share: ShareId,
    publisher: PublisherId,
    event: EventId,
    hash: [u8; 16],
    postback: PostbackId,
}

prop_compose! {
    fn any_ids()(
        slugs in proptest::collection::vec(any_slug(), 6), event in "[a-zA-Z0-9_ \"]{1,20}x",
        hash: [u8; 16], postback: u128,
    ) -> Ids {
        Ids {
            tenant: TenantId::new(&slugs[0]).unwrap(),
            advertiser: AdvertiserId::new(&slugs[1]).unwrap(),
            root: OfferId::new(&slugs[2]).unwrap(),
            offer: OfferId::new(&slugs[3]).unwrap(),
            share: ShareId::new(&slugs[4]).unwrap(),
            publisher: PublisherId::new(&slugs[5]).unwrap(),
            event: EventId::new(event.trim()).unwrap(),
            hash,
            postback: PostbackId(uuid::Uuid::from_u128(postback)),
        }
    }
}

/// Writes the view into a message, and holds it against the copy's.
fn check<V: Serialize, T: Serialize>(view: &V, copy: &T, told: &Decision) {
    assert_eq!(serde_json::to_string(view).unwrap(), serde_json::to_string(copy).unwrap());
    let mut bytes = Vec::new();
    encode_as::<Decision>(told, &mut bytes);
    assert_eq!(bytes, encode(told));
    assert_eq!(decode::<Decision>(&bytes).unwrap(), *told);
}

proptest! {
    #[test]
    fn outcomes(
        ids in any_ids(), received_at in any_time(), texts in [any_text(), any_text()],
        outcome in select(Outcome::ALL.to_vec()), reason in any_reason(),
        there: [bool; 3], (received, added) in any_flags(), test: bool, config_version: u64,
        parameters in proptest::collection::vec((any_text(), any_text()), 0..4),
    ) {
        let conversion_id = ConversionIdView { root_offer: &ids.root, hash: ids.hash };
        let view = PostbackOutcomeView {
            postback_id: ids.postback,
            tenant: &ids.tenant,
            advertiser_id: &ids.advertiser,
            received_at,
            click_id: &texts[0],
            event_id: &texts[1],
            outcome,
            reason,
            conversion_id: there[0].then_some(conversion_id),
            offer_id: there[1].then_some(&ids.offer),
            publisher_id: there[2].then_some(&ids.publisher),
            parameters: &parameters,
            flags: FlagsView { received: &received, added },
            test,
            config_version,
        };
        let copy = PostbackOutcome::from(view);
        let told = Decision { postback: Some(copy.clone()), ..Decision::default() };
        check(&view, &copy, &told);
    }

    #[test]
    fn conversions(
        ids in any_ids(), times in [any_time(), any_time(), any_time(), any_time()],
        texts in [any_text(), any_text(), any_text(), any_text(), any_text()],
        numbers: (u32, Option<u32>, u64), amounts: [i64; 4], there: [bool; 6],
        status in select(ConversionStatus::ALL.to_vec()), reason in any_reason(),
        subs in any_subs(), (received, added) in any_flags(), test: bool,
        platform in proptest::option::of(select(Platform::ALL.to_vec())),
        currency in select(vec![Currency::USD, Currency::EUR]),
    ) {
        let (name, unit): (Arc<str>, Arc<str>) = (texts[0].as_str().into(), texts[1].as_str().into());
        let view = ConversionView {
            conversion_id: ConversionIdView { root_offer: &ids.root, hash: ids.hash },
            revision: numbers.0,
            click_id: &texts[2],
            clicked_at: times[0],
            tenant: &ids.tenant,
            advertiser_id: &ids.advertiser,
            offer_id: &ids.offer,
            root_offer_id: &ids.root,
            share_id: &ids.share,
            publisher_id: &ids.publisher,
            event_id: &ids.event,
            event_name: &name,
            sequence: numbers.1,
            status,
            reason,
            note: &texts[3],
            received_at: times[1],
            due_at: there[0].then_some(times[2]),
            decided_at: times[3],
            revenue: Micros(amounts[0]),
            payout: Micros(amounts[1]),
            currency,
            reward: Micros(amounts[2]),
            reward_unit: &unit,
            sale_amount: there[1].then_some(Micros(amounts[3])),
            sale_currency: there[2].then_some(currency),
            transaction_id: there[3].then_some(&texts[4]),
            offer_version: numbers.2,
            country: there[4].then_some("DE"),
            platform,
            subs: SubIdsView::from(&subs),
            test,
            flags: FlagsView { received: &received, added },
            postback_id: there[5].then_some(ids.postback),
        };
        let copy = Conversion::from(view);
        let told = Decision { conversions: vec![copy.clone()], ..Decision::default() };
        check(&view, &copy, &told);
    }
}
