//! Checks on links: http(s) only, known macros only, and the click id in every offer link
//! (domain, "Tracking link").

use schemas::link::{MACROS, is_macro};
use schemas::{Integration, Profile};
use url::Url;

/// Longest link in bytes; the filled one has to fit into a Location header everywhere.
pub const LINK_BYTES_MAX: usize = 4096;
const CLICK_ID_MACRO: &str = "{gk_click_id}";

/// An offer's or share's link, with the integration's click-id parameter appended when it has no
/// place for the click id yet. The error is a whole message.
pub fn offer_link(
    text: &str,
    integration: Integration,
    profile: &Profile,
) -> Result<String, String> {
    check(text)?;
    if text.contains(CLICK_ID_MACRO) {
        return Ok(text.to_owned());
    }
    let parameter = &profile.click_parameter;
    if integration == Integration::Custom {
        return Err(format!(
            "the link does not pass the click id on: put {parameter}={CLICK_ID_MACRO}, or whatever \
             the advertiser's system calls it, into the link"
        ));
    }
    let (before, fragment) = match text.split_once('#') {
        Some((before, fragment)) => (before, format!("#{fragment}")),
        None => (text, String::new()),
    };
    let query = before.split_once('?').map(|(_, query)| query);
    let taken = query.is_some_and(|query| {
        query.split('&').any(|pair| pair.split('=').next() == Some(parameter.as_str()))
    });
    if taken {
        return Err(format!(
            "the link sets {parameter}, in which {} passes the click id, to something else: write \
             {parameter}={CLICK_ID_MACRO}",
            integration.text()
        ));
    }
    let joint = match query {
        None => "?",
        Some("") => "",
        Some(query) if query.ends_with('&') => "",
        Some(_) => "&",
    };
    let link = format!("{before}{joint}{parameter}={CLICK_ID_MACRO}{fragment}");
    check(&link).map(|()| link)
}

/// A link for users whose offer is not live: no click is minted, so there is no click id to fill.
pub fn fallback_link(text: &str) -> Result<String, String> {
    if text.contains(CLICK_ID_MACRO) {
        return Err(format!(
            "a fallback link cannot have {CLICK_ID_MACRO}: no click is counted, so there is none"
        ));
    }
    check(text).map(|()| text.to_owned())
}

/// Http(s), a host, known macros only, and none where it would choose the host.
fn check(text: &str) -> Result<(), String> {
    if text.len() > LINK_BYTES_MAX {
        return Err(format!("the link is longer than {LINK_BYTES_MAX} bytes"));
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("the link holds white space or a control character".to_owned());
    }
    let plain = without_macros(text)?;
    let url = Url::parse(&plain)
        .map_err(|error| format!("{text:?} is not a link: {error}; write https://…"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("the link is {}:, but only http and https are allowed", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the link holds a user name or password".to_owned());
    }
    let path_from = text.find("://").map_or(0, |at| at + 3);
    let authority = text[path_from..].split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('{') || text[..path_from].contains('{') {
        return Err("a macro cannot be part of the link's host".to_owned());
    }
    Ok(())
}

/// The link with each macro replaced by a letter.
fn without_macros(text: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find(['{', '}']) {
        plain.push_str(&rest[..open]);
        let closed = rest[open..].find('}').filter(|_| rest[open..].starts_with('{'));
        let Some(close) = closed else {
            return Err("the link has a brace without its other half".to_owned());
        };
        let name = &rest[open + 1..open + close];
        if !is_macro(name) {
            return Err(format!(
                "{{{name}}} is not a macro that is known here; there are {}",
                MACROS.join(", ")
            ));
        }
        plain.push('x');
        rest = &rest[open + close + 1..];
    }
    plain.push_str(rest);
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_link(integration: Integration, text: &str, expected: Result<&str, &str>) {
        let found = offer_link(text, integration, Profile::builtin(integration));
        match (&found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{text}: {found}"),
            _ => panic!("{text}: {found:?}, not {expected:?}"),
        }
    }

    #[test]
    fn the_click_id_finds_its_place() {
        use Integration::{Adjust, Appsflyer, Custom};
        let check = check_link;
        check(Adjust, "https://a.io/x?c={gk_click_id}", Ok("https://a.io/x?c={gk_click_id}"));
        check(Adjust, "https://a.io/x", Ok("https://a.io/x?gk_click_id={gk_click_id}"));
        check(Adjust, "https://a.io/x?", Ok("https://a.io/x?gk_click_id={gk_click_id}"));
        check(Adjust, "https://a.io/x?a=1&", Ok("https://a.io/x?a=1&gk_click_id={gk_click_id}"));
        check(
            Appsflyer,
            "https://a.io/x?pid=1#top",
            Ok("https://a.io/x?pid=1&clickid={gk_click_id}#top"),
        );
        check(Appsflyer, "https://a.io/?clickid=abc", Err("sets clickid"));
        check(Custom, "https://a.io/x", Err("does not pass the click id on"));
        check(Custom, "https://a.io/{gk_click_id}", Ok("https://a.io/{gk_click_id}"));
    }

    #[test]
    fn what_is_no_link() {
        let check = |text, expected| check_link(Integration::Adjust, text, Err(expected));
        check("a.io/x", "is not a link");
        check("ftp://a.io/", "only http and https");
        check("javascript:alert(1)", "only http and https");
        check("https://", "is not a link");
        check("https://u:p@a.io/", "user name or password");
        check("https://{sub1}.a.io/", "part of the link's host");
        check("https://a.io/{subid}", "{subid} is not a macro");
        check("https://a.io/{sub16}", "{sub16} is not a macro");
        check("https://a.io/{sub01}", "{sub01} is not a macro");
        check("https://a.io/{sub1", "brace without its other half");
        check("https://a.io/}x{", "brace without its other half");
        check("https://a.io/a b", "white space");
        check(&format!("https://a.io/{}", "x".repeat(5000)), "longer than 4096 bytes");
    }

    #[test]
    fn fallback_links_have_no_click_id() {
        assert!(fallback_link("https://a.io/gone").is_ok());
        assert!(fallback_link("https://a.io/{sub1}").is_ok());
        assert!(fallback_link("https://a.io/{gk_click_id}").is_err());
        assert!(fallback_link("https://a.io/{sub16}").is_err());
        assert!(fallback_link("mailto:a@b").is_err());
    }
}
