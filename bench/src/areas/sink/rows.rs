//! Rows that differ as real ones do.

use ::sink::decode::{Place, Placed};
use schemas::ids::{
    AdvertiserId, ConversionId, EventId, OfferId, PostbackId, PublisherId, ShareId, TenantId,
};
use schemas::{
    Click, Conversion, ConversionStatus, Currency, Micros, Platform, Reason, SubIds, Topic,
    UnixMillis,
};
use uuid::Uuid;

/// 2026-11-01T00:00:00Z.
const BEGIN: UnixMillis = UnixMillis(1_793_491_200_000);
const ID: &str = "a name of letters";
/// Events of an offer, from the often met to the seldom.
const EVENTS: [&str; 5] = ["install", "tutorial", "level 10", "level 50", "purchase"];

fn mix(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Each row a millisecond after the one before.
fn at(n: u64) -> UnixMillis {
    BEGIN.plus_ms(n.cast_signed())
}

/// An id that looks random, 96 characters long.
fn click_id(mixed: u64) -> String {
    let piece = |piece: u32| mixed.rotate_left(piece * 11).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (0..6).map(|number| format!("{:016x}", piece(number))).collect()
}

fn offer(mixed: u64) -> OfferId {
    OfferId::new(&format!("offer-{}", mixed % 200)).expect(ID)
}

/// A user and a source.
fn subs(mixed: u64) -> SubIds {
    let mut subs = SubIds::default();
    subs.0[0] = Some(format!("user-{}", mixed % 1_000_003).into());
    subs.0[1] = Some(format!("source-{}", mixed % 40).into());
    subs
}

fn country(mixed: u64) -> String {
    ["US", "DE", "GB", "FR"][(mixed % 4) as usize].to_owned()
}

fn platform(mixed: u64) -> Platform {
    if mixed.is_multiple_of(3) { Platform::Ios } else { Platform::Android }
}

pub fn click(n: u64) -> Placed<Click> {
    let mixed = mix(n);
    let message = Click {
        click_id: click_id(mixed),
        tenant: TenantId::new("brownboots").expect(ID),
        advertiser_id: AdvertiserId::new("brain-games").expect(ID),
        offer_id: offer(mixed),
        root_offer_id: offer(mixed),
        share_id: ShareId::new(&format!("share-{}", mixed % 800)).expect(ID),
        publisher_id: PublisherId::new(&format!("publisher-{}", mixed % 50)).expect(ID),
        clicked_at: at(n),
        country: Some(country(mixed)),
        platform: Some(platform(mixed)),
        subs: subs(mixed),
        offer_version: 3,
        test: false,
        flags: Vec::new(),
    };
    Placed { place: Place { source: (Topic::Clicks, 0), offset: n }, message }
}

/// Of ten, six are successes, three are held and one is rejected; one in twenty is a sale.
pub fn conversion(n: u64) -> Placed<Conversion> {
    let mixed = mix(n);
    let offer_id = offer(mixed);
    let (status, reason) = match mixed % 10 {
        0..=5 => (ConversionStatus::Success, None),
        6..=8 => (ConversionStatus::Pending, Some(Reason::Hold)),
        _ => (ConversionStatus::Rejected, Some(Reason::CapReached)),
    };
    let level = (mixed >> 32).trailing_zeros().min(4);
    let event = EVENTS[level as usize];
    let amount = i64::from(level + 1) * 250_000;
    let is_sale = (mixed >> 8).is_multiple_of(20);
    let message = Conversion {
        conversion_id: ConversionId::from_hash(
            &offer_id,
            (u128::from(mixed) << 64 | u128::from(n)).to_be_bytes(),
        ),
        revision: 1,
        click_id: click_id(mixed).into(),
        clicked_at: at(n).plus_ms(-3_600_000),
        tenant: TenantId::new("brownboots").expect(ID),
        advertiser_id: AdvertiserId::new("brain-games").expect(ID),
        offer_id: offer_id.clone(),
        root_offer_id: offer_id,
        share_id: ShareId::new(&format!("share-{}", mixed % 800)).expect(ID),
        publisher_id: PublisherId::new(&format!("publisher-{}", mixed % 50)).expect(ID),
        event_id: EventId::new(event).expect(ID),
        event_name: event.into(),
        sequence: Some(level + 1),
        status,
        reason,
        note: String::new(),
        received_at: at(n),
        due_at: (status == ConversionStatus::Pending).then(|| at(n).plus_ms(259_200_000)),
        decided_at: at(n).plus_ms(3),
        revenue: Micros(amount),
        payout: Micros(amount / 5 * 4),
        currency: Currency::USD,
        reward: Micros(amount * 100),
        reward_unit: "coins".into(),
        sale_amount: is_sale.then_some(Micros(4_990_000)),
        sale_currency: is_sale.then_some(Currency::USD),
        transaction_id: is_sale.then(|| format!("order-{n}").into()),
        offer_version: 3,
        country: Some(country(mixed)),
        platform: Some(platform(mixed)),
        subs: subs(mixed),
        test: false,
        flags: Vec::new(),
        postback_id: Some(PostbackId(Uuid::from_u64_pair(
            0x0199_0000_0000_7000 | n >> 12 << 16,
            0x8000_0000_0000_0000 | mixed >> 2,
        ))),
    };
    Placed { place: Place { source: (Topic::Decisions, 0), offset: n }, message }
}
