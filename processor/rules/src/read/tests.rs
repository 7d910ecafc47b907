use super::*;
use schemas::{AdvertiserId, Integration, PostbackId, TenantId};
use uuid::Uuid;

const RECEIVED: UnixMillis = UnixMillis(1_700_000_000_000);

fn postback(query: &str) -> Postback {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (name.to_owned(), value.to_owned())
    };
    Postback {
        postback_id: PostbackId(Uuid::nil()),
        tenant: TenantId::new("brownboots").unwrap(),
        advertiser: AdvertiserId::new("brain-games").unwrap(),
        received_at: RECEIVED,
        parameters: query.split('&').filter(|part| !part.is_empty()).map(pair).collect(),
        flags: Vec::new(),
    }
}

#[test]
fn names_of_event_and_click() {
    for (query, event, click) in [
        ("", "", ""),
        ("cnv_event_id=a&event_id=b&gk_click_id=c", "a", "c"),
        ("event_id=b", "b", ""),
        ("cnv_event_id=&event_id=b", "b", ""),
        ("cnv_event_id= a ", " a ", ""),
        ("cnv_event_id=a&cnv_event_id=b", "a", ""),
    ] {
        let postback = postback(query);
        assert_eq!((event_id(&postback), click_id(&postback)), (event, click), "{query}");
    }
}

#[test]
fn classes() {
    use Integration::{Adjust, Appsflyer, Custom, Singular};
    for (integration, query, opted_in, expected) in [
        (Custom, "", false, Class::Convert),
        (Custom, "status=approved", false, Class::Convert),
        (Custom, "status=Rejected", false, Class::Reject),
        (Custom, "status=", false, Class::Convert),
        (Custom, "status=perhaps", false, Class::Unknown),
        (Adjust, "activity_kind=install", false, Class::Convert),
        (Adjust, "activity_kind=reattribution", false, Class::Ignore),
        (Adjust, "activity_kind=reattribution", true, Class::Convert),
        (Adjust, "activity_kind=rejected_install", true, Class::Reject),
        (Adjust, "activity_kind=teleport", true, Class::Unknown),
        (Adjust, "activity_kind=install&status=rejected", false, Class::Reject),
        (Adjust, "activity_kind=uninstall&status=perhaps", false, Class::Unknown),
        (Appsflyer, "is_rejected=1", false, Class::Reject),
        (Appsflyer, "is_rejected=0", false, Class::Convert),
        (Singular, "is_reengagement=1", false, Class::Ignore),
        (Singular, "is_reengagement=0", false, Class::Convert),
    ] {
        let class = classify(&postback(query), Profile::builtin(integration), opted_in);
        assert_eq!(class, expected, "{integration} {query} {opted_in}");
    }
}

fn check_sale(
    integration: Integration,
    query: &str,
    expected: Option<(i64, Currency)>,
    flagged: bool,
) {
    let mut flags = FlagSet::default();
    let profile = Profile::builtin(integration);
    let (_, sale) = read_sale(&postback(query), profile, Currency::EUR, &mut flags);
    let expected = expected.map(|(micros, currency)| Sale { micros: Micros(micros), currency });
    assert_eq!((sale, flags.has(Flag::InvalidRevenue)), (expected, flagged), "{query}");
}

#[test]
fn sales() {
    use Integration::{Adjust, Appsflyer, Custom};
    check_sale(Custom, "", None, false);
    check_sale(Custom, "revenue=4.99&currency=usd", Some((4_990_000, Currency::USD)), false);
    check_sale(Custom, "revenue=4.99", Some((4_990_000, Currency::EUR)), false);
    check_sale(Custom, "revenue=4.99&currency=QQQ", None, true);
    check_sale(Custom, "revenue=4,99&currency=USD", None, true);
    check_sale(Custom, "revenue={revenue}", None, true);
    check_sale(Custom, "revenue=-1", Some((-1_000_000, Currency::EUR)), false);
    check_sale(Adjust, "revenue=499&currency=USD", Some((4_990_000, Currency::USD)), false);
    check_sale(Adjust, "revenue=499&revenue_float=5", Some((5_000_000, Currency::EUR)), false);
    check_sale(
        Appsflyer,
        "event_revenue=-2&event_revenue_currency=JPY",
        Some((-2_000_000, Currency::JPY)),
        false,
    );
}

#[test]
fn transactions() {
    for (query, expected, flagged) in [
        ("", None, false),
        ("transaction_id=A-1", Some("A-1"), false),
        ("transaction_id= A-1 ", Some("A-1"), false),
        ("transaction_id=NULL", None, true),
        ("transaction_id=0", None, true),
        ("transaction_id=n/a", None, true),
        ("transaction_id={tx}", None, true),
        ("transaction_id=00", Some("00"), false),
        ("transaction_id=", None, false),
    ] {
        let (mut flags, postback) = (FlagSet::default(), postback(query));
        let transaction =
            read_transaction(&postback, Profile::builtin(Integration::Custom), &mut flags);
        assert_eq!(
            (transaction, flags.has(Flag::PlaceholderTransaction)),
            (expected, flagged),
            "{query}"
        );
    }
}

#[test]
fn times() {
    let clicked = RECEIVED.plus_ms(-3_600_000);
    for (query, happened, carries, flagged) in [
        ("", 0, false, false),
        ("event_time=1699999990", -10_000, true, false),
        ("event_time=2023-11-14T22:13:10Z", -10_000, true, false),
        ("event_time=5", 0, true, true),
        ("event_time=later", 0, false, true),
    ] {
        let (mut flags, postback) = (FlagSet::default(), postback(query));
        let profile = Profile::builtin(Integration::Custom);
        let read = read_time(&postback, profile, clicked, &mut flags);
        assert_eq!(
            (read, flags.has(Flag::ImplausibleEventTime)),
            ((RECEIVED.plus_ms(happened), carries), flagged),
            "{query}"
        );
    }
}
