use super::*;

mod any_values;

#[test]
fn received_flags_come_first_and_once() {
    use Flag::{InvalidRevenue, OverLimit, RepeatedParameter};
    let bits = |flags: &[Flag]| flags.iter().fold(0, |bits, flag| bits | 1 << *flag as u64);
    for (received, added, expected) in [
        (&[][..], &[][..], &[][..]),
        (&[OverLimit], &[], &[OverLimit]),
        (&[], &[OverLimit, InvalidRevenue], &[InvalidRevenue, OverLimit]),
        (&[OverLimit], &[RepeatedParameter, OverLimit], &[OverLimit, RepeatedParameter]),
    ] {
        let view = FlagsView { received, added: bits(added) };
        assert_eq!(view.iter().collect::<Vec<_>>(), expected);
        assert_eq!(view.is_empty(), expected.is_empty());
        let as_list = serde_json::to_string(expected).unwrap();
        assert_eq!(serde_json::to_string(&view).unwrap(), as_list);
    }
}

#[test]
fn sub_ids_and_conversion_ids_look_alike() {
    let mut subs = SubIds::default();
    for sub in [None, Some("a \"quoted\" ü")] {
        subs.0[7] = sub.map(Into::into);
        let view = SubIdsView::from(&subs);
        assert_eq!(view.is_empty(), subs.is_empty());
        assert_eq!(view.to_sub_ids(), subs);
        assert_eq!(serde_json::to_string(&view).unwrap(), serde_json::to_string(&subs).unwrap());
    }
    for offer in ["a", &"a".repeat(crate::ids::ID_BYTES_MAX)] {
        let offer = OfferId::new(offer).unwrap();
        for hash in [[0; 16], [255; 16], *b"0123456789abcdef"] {
            let view = ConversionIdView { root_offer: &offer, hash };
            let id = ConversionId::from(view);
            assert_eq!(view.to_string(), id.as_str());
            assert_eq!(serde_json::to_string(&view).unwrap(), serde_json::to_string(&id).unwrap());
        }
    }
}

fn same_json(view: &impl Serialize, owned: &impl Serialize) {
    assert_eq!(serde_json::to_string(view).unwrap(), serde_json::to_string(owned).unwrap());
}

/// Every field there, and every field that can be absent absent.
#[test]
fn outcomes_look_alike() {
    let (tenant, advertiser) =
        (TenantId::new("brownboots").unwrap(), AdvertiserId::new("brain-games").unwrap());
    let (offer, publisher) = (OfferId::new("root").unwrap(), PublisherId::new("p").unwrap());
    let parameters = [("a \"b\"".to_owned(), String::new())];
    let bare = PostbackOutcomeView {
        postback_id: PostbackId(uuid::Uuid::from_u128(7)),
        tenant: &tenant,
        advertiser_id: &advertiser,
        received_at: UnixMillis(5),
        click_id: "",
        event_id: "s2s_level 200",
        outcome: Outcome::Accepted,
        reason: None,
        conversion_id: None,
        offer_id: None,
        publisher_id: None,
        parameters: &[],
        flags: FlagsView::default(),
        test: false,
        config_version: u64::MAX,
    };
    let full = PostbackOutcomeView {
        reason: Some(Reason::Hold),
        conversion_id: Some(ConversionIdView { root_offer: &offer, hash: [9; 16] }),
        offer_id: Some(&offer),
        publisher_id: Some(&publisher),
        parameters: &parameters,
        flags: FlagsView { received: &[Flag::RepeatedParameter], added: 8 },
        test: true,
        ..bare
    };
    for view in [bare, full] {
        same_json(&view, &PostbackOutcome::from(view));
    }
}

#[test]
fn conversions_look_alike() {
    let (tenant, advertiser) =
        (TenantId::new("brownboots").unwrap(), AdvertiserId::new("brain-games").unwrap());
    let (offer, publisher) = (OfferId::new("root").unwrap(), PublisherId::new("p").unwrap());
    let (clone, share) = (OfferId::new("clone").unwrap(), ShareId::new("share").unwrap());
    let event = EventId::new("s2s_level \"200\"").unwrap();
    let (name, points, nothing): (Arc<str>, Arc<str>, Arc<str>) =
        ("Level".into(), "points".into(), "".into());
    let bare = ConversionView {
        conversion_id: ConversionIdView { root_offer: &offer, hash: [9; 16] },
        revision: 3,
        click_id: "token",
        clicked_at: UnixMillis(1),
        tenant: &tenant,
        advertiser_id: &advertiser,
        offer_id: &clone,
        root_offer_id: &offer,
        share_id: &share,
        publisher_id: &publisher,
        event_id: &event,
        event_name: &name,
        sequence: None,
        status: ConversionStatus::Success,
        reason: None,
        note: "",
        received_at: UnixMillis(2),
        due_at: None,
        decided_at: UnixMillis(3),
        revenue: Micros(4),
        payout: Micros(5),
        currency: Currency::EUR,
        reward: Micros(6),
        reward_unit: &nothing,
        sale_amount: None,
        sale_currency: None,
        transaction_id: None,
        offer_version: 7,
        country: None,
        platform: None,
        subs: SubIdsView::default(),
        test: false,
        flags: FlagsView::default(),
        postback_id: None,
    };
    let mut subs = SubIdsView::default();
    subs.0[0] = Some("one");
    let full = ConversionView {
        sequence: Some(2),
        reason: Some(Reason::CapReached),
        note: "because",
        due_at: Some(UnixMillis(9)),
        reward_unit: &points,
        sale_amount: Some(Micros(-1)),
        sale_currency: Some(Currency::USD),
        transaction_id: Some("T-1"),
        country: Some("DE"),
        platform: Some(Platform::Ios),
        subs,
        test: true,
        flags: FlagsView { received: &[], added: 8 },
        postback_id: Some(PostbackId(uuid::Uuid::from_u128(7))),
        ..bare
    };
    for view in [bare, full] {
        same_json(&view, &Conversion::from(view));
    }
}
