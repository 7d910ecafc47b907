//! Offer links: macros filled with percent-encoded values.

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use schemas::link::is_macro;
use std::borrow::Cow;

/// Everything but RFC 3986's unreserved characters.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What may not stand in a header or a URL as it is; the rest of a configured link is kept.
const LITERAL: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The link with every macro filled; one that `value` has nothing for becomes empty.
pub fn fill<'v>(link: &str, value: impl Fn(&str) -> Option<Cow<'v, str>>) -> String {
    let mut filled = String::with_capacity(link.len() + 256);
    let mut rest = link;
    while let Some((before, name, after)) = next_macro(rest) {
        filled.extend(utf8_percent_encode(before, LITERAL));
        if let Some(value) = value(name) {
            filled.extend(utf8_percent_encode(&value, VALUE));
        }
        rest = after;
    }
    filled.extend(utf8_percent_encode(rest, LITERAL));
    filled
}

fn next_macro(link: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let open = from + link[from..].find('{')?;
        let close = open + link[open..].find('}')?;
        let name = &link[open + 1..close];
        if is_macro(name) {
            return Some((&link[..open], name, &link[close + 1..]));
        }
        from = open + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(name: &str) -> Option<Cow<'static, str>> {
        match name {
            "gk_click_id" => Some("AQ-_".into()),
            "sub1" => Some("a b&c=d/é{sub2}%".into()),
            "sub10" => Some("ten".into()),
            _ => None,
        }
    }

    #[track_caller]
    fn check(link: &str, expected: &str) {
        assert_eq!(fill(link, value), expected);
    }

    #[test]
    fn macros() {
        check("https://a/b?x=1", "https://a/b?x=1");
        check(
            "https://a/?c={gk_click_id}&s={sub1}",
            "https://a/?c=AQ-_&s=a%20b%26c%3Dd%2F%C3%A9%7Bsub2%7D%25",
        );
        check("https://a/{sub10}{sub2}#f", "https://a/ten#f");
        check("https://a/{unknown}{{gk_click_id}}", "https://a/%7Bunknown%7D%7BAQ-_%7D");
        check("https://a/{gk_click_id", "https://a/%7Bgk_click_id");
        check("https://a/é \r\n%20", "https://a/%C3%A9%20%0D%0A%20");
        check("", "");
    }

    proptest! {
        #[test]
        fn the_result_always_fits_a_header(link in "\\PC{0,60}", given in any::<String>()) {
            let link = format!("https://a/{link}{{sub1}}");
            let filled = fill(&link, |_| Some(given.as_str().into()));
            prop_assert!(filled.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
}
