use super::*;
use proptest::prelude::*;

#[track_caller]
fn check(query: &str, expected: &[(&str, &str)], flags: &[Flag]) {
    let (list, got) = Parameters::from_query(query).into_parts();
    let list: Vec<_> = list.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!((list.as_slice(), got.as_slice()), (expected, flags), "{query}");
}

#[track_caller]
fn check_body(body: &[u8], expected: &[(&str, &str)], flags: &[Flag]) {
    let mut parameters = Parameters::default();
    parameters.read_body(body);
    let (list, got) = parameters.into_parts();
    let list: Vec<_> = list.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!((list.as_slice(), got.as_slice()), (expected, flags));
}

#[test]
fn decoding() {
    use Flag::*;
    check("", &[], &[]);
    check("a=b&c=d", &[("a", "b"), ("c", "d")], &[]);
    check("&&a=1&", &[("a", "1")], &[]);
    check("a&b=", &[("a", ""), ("b", "")], &[]);
    check("a=b=c", &[("a", "b=c")], &[]);
    check(
        "e=s2s_level%20200&f=s2s_level+200",
        &[("e", "s2s_level 200"), ("f", "s2s_level 200")],
        &[],
    );
    check(
        "e=%7Bevent_name%7D&f={event_name}",
        &[("e", "{event_name}"), ("f", "{event_name}")],
        &[],
    );
    check("u=%C3%A9", &[("u", "é")], &[]);
    check("a%20b=%2B", &[("a b", "+")], &[]);
    check("u=%E9+x", &[("u", "%E9+x")], &[UndecodableValue]);
    check("u=50%&v=%zz&w=%4", &[("u", "50%"), ("v", "%zz"), ("w", "%4")], &[UndecodableValue]);
    check("a=1&b=2&a=3", &[("a", "1"), ("b", "2"), ("a", "3")], &[RepeatedParameter]);
    check("a=%00", &[("a", "\0")], &[]);
}

#[test]
fn the_signature_is_taken_out() {
    let with = |query: &str| Parameters::from_query(query);
    assert_eq!(with("signature=abc&a=1").signature(), Some("abc"));
    assert_eq!(with("a=1&signature=%20abc%0A").signature(), Some("abc"));
    assert_eq!(with("signature=x&signature=y").signature(), Some("x"));
    for none in ["", "signature=", "signature", "Signature=x", "signature=+&signature=x"] {
        assert_eq!(with(none).signature(), None, "{none}");
    }
    check("signature=x&Signature=y&%20signature=z&a=1", &[("a", "1")], &[Flag::RepeatedParameter]);
    // Found however late it comes.
    let late = "a=1&".repeat(PARAMETERS_MAX + 5) + "signature=late";
    assert_eq!(with(&late).signature(), Some("late"));
    let (list, flags) = with(&late).into_parts();
    assert_eq!(
        (list.len(), flags),
        (PARAMETERS_MAX, vec![Flag::ManyParameters, Flag::RepeatedParameter])
    );
}

#[test]
fn bodies() {
    use Flag::*;
    check_body(b"", &[], &[]);
    check_body(b" \r\n", &[], &[]);
    check_body(b"a=b+c&d=%C3%A9\r\n", &[("a", "b c"), ("d", "é")], &[]);
    check_body(b"\xef\xbb\xbf{\"a\":{\"b\":1}}", &[("a.b", "1")], &[]);
    check_body(b"\n {\"signature\":\"s\",\"a\":1}", &[("a", "1")], &[]);
    check_body(b"[{\"a\":1}]", &[("0.a", "1")], &[]);
    check_body(b"a=\xff", &[("a", "\u{fffd}")], &[UndecodableValue]);
    for unreadable in [
        &b"{\"a\":"[..],
        b"hello",
        b"<a b=\"c\"/>",
        b"--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x--",
        b"\x1f\x8b=gzip\x00",
        b"{\"a\":\"\xff\"}",
    ] {
        check_body(unreadable, &[], &[UnreadableBody]);
    }
}

#[test]
fn the_query_comes_before_the_body() {
    let mut parameters = Parameters::from_query("a=query");
    parameters.read_body(b"a=body&b=body&signature=s");
    assert_eq!((parameters.get("a"), parameters.get("b")), (Some("query"), Some("body")));
    assert_eq!(parameters.signature(), Some("s"));
    assert_eq!(parameters.into_parts().1, [Flag::RepeatedParameter]);
}

#[test]
fn little_cannot_be_made_much() {
    // Every level holds the next and a key that is not text, so each is also kept raw.
    let mut body = "\"x\"".to_owned();
    for _ in 0..12 {
        body = format!("{{\"x\":{body},\"\\ud800\":\"{}\"}}", "\\u0001".repeat(850));
    }
    assert!(body.len() < BODY_BYTES_MAX);
    let mut parameters = Parameters::default();
    parameters.read_body(body.as_bytes());
    let (list, flags) = parameters.into_parts();
    let kept: usize = list.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(kept <= KEPT_BYTES_MAX, "{kept}");
    assert!(flags.contains(&Flag::ManyParameters), "{flags:?}");
}

/// The shapes that the senders' own documentation shows, with our names added by their templates.
#[test]
fn real_senders() {
    // Adjust: a server callback with placeholders filled, cents and Unix seconds.
    let adjust = Parameters::from_query(
        "signature=S&gk_click_id=AQ&cnv_event_id=s2s_level+200&activity_kind=event&created_at=1700000000\
         &revenue=199&revenue_float=1.99&currency=USD&idfa=&gps_adid=&app_name=Pet%20the%20Dogs&environment=production",
    );
    assert_eq!(adjust.get("cnv_event_id"), Some("s2s_level 200"));
    assert_eq!(adjust.get("app_name"), Some("Pet the Dogs"));
    assert_eq!(adjust.trimmed("idfa"), None);
    // AppsFlyer: JSON by POST, numbers and nulls bare, a nested value as JSON in a string.
    let mut appsflyer = Parameters::from_query("signature=S");
    appsflyer.read_body(
        br#"{"gk_click_id":"AQ","cnv_event_id":"af_purchase","event_revenue":-1.50,"event_revenue_currency":"EUR",
            "event_time":"2026-01-31 12:00:00.123","is_rejected":0,"af_order_id":null,"event_value":"{\"af_price\":1}"}"#,
    );
    assert_eq!(appsflyer.get("event_revenue"), Some("-1.50"));
    assert_eq!(appsflyer.get("event_value"), Some("{\"af_price\":1}"));
    assert_eq!(appsflyer.get("af_order_id"), Some(""));
    // Branch: nested JSON, names with a tilde.
    let mut branch = Parameters::from_query("signature=S&gk_click_id=AQ&cnv_event_id=INSTALL");
    branch.read_body(
        br#"{"last_attributed_touch_data":{"~campaign":"x","$3p":"y"},"event_data":{"revenue":1e1,"transaction_id":12345678901234567890123}}"#,
    );
    assert_eq!(branch.get("last_attributed_touch_data.~campaign"), Some("x"));
    assert_eq!(branch.get("event_data.transaction_id"), Some("12345678901234567890123"));
    // Singular: one query, macros left in by a broken template.
    let singular = Parameters::from_query(
        "signature=S&gk_click_id={cl}&cnv_event_id=&amount=0.00&utc=1700000000&is_reengagement=0",
    );
    assert_eq!(
        (singular.get("gk_click_id"), singular.trimmed("cnv_event_id")),
        (Some("{cl}"), None)
    );
    // Kochava: a form by POST.
    let mut kochava = Parameters::default();
    kochava.read_body(b"signature=S&gk_click_id=AQ&cnv_event_id=Install&install_date=1700000000&device_ver=iPhone15%2C3-iOS-17.1");
    assert_eq!(kochava.signature(), Some("S"));
    assert_eq!(kochava.get("device_ver"), Some("iPhone15,3-iOS-17.1"));
}

fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

proptest! {
    #[test]
    fn hostile_queries_never_panic(query in "[%&=+;a-f0-9\\PC]{0,300}") {
        let _ = Parameters::from_query(&query).into_parts();
    }

    #[test]
    fn hostile_bodies_never_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut parameters = Parameters::default();
        parameters.read_body(&body);
    }

    #[test]
    fn hostile_json_never_panics(body in "[\\[{][\\[\\]{}\",:\\\\u0-9a-f.e-]{0,80}") {
        let mut parameters = Parameters::default();
        parameters.read_body(body.as_bytes());
    }

    #[test]
    fn what_is_encoded_comes_back(pairs in proptest::collection::vec(("[a-z]{1,5}", "\\PC{0,20}"), 0..20)) {
        let query: Vec<String> = pairs.iter().map(|(n, v)| format!("{}={}", encode(n), encode(v))).collect();
        let (list, _) = Parameters::from_query(&query.join("&")).into_parts();
        let kept: Vec<_> = pairs.into_iter().filter(|(n, _)| n != SIGNATURE).collect();
        prop_assert_eq!(list, kept);
    }

    #[test]
    fn json_strings_come_back(pairs in proptest::collection::vec(("[a-z]{1,5}", any::<String>()), 0..20)) {
        let fields: Vec<String> = pairs
            .iter()
            .map(|(n, v)| format!("{}:{}", serde_json::Value::from(n.as_str()), serde_json::Value::from(v.as_str())))
            .collect();
        let mut parameters = Parameters::default();
        parameters.read_body(format!("{{{}}}", fields.join(",")).as_bytes());
        prop_assert_eq!(parameters.into_parts().0, pairs);
    }
}
