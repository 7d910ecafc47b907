//! The URLs that a run is given, taken apart: where to connect, and what to fill in.

use crate::connection::Place;
use anyhow::{Result, bail, ensure};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt::Write as _;

/// Unreserved characters (RFC 3986, 2.3) stay as they are.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The parameters of the postback contract.
pub const CLICK_ID: &str = "gk_click_id";
pub const EVENT_ID: &str = "cnv_event_id";
const SIGNATURE: &str = "signature";

/// An `http://` or `https://` URL as it was given; its text is never shown, since it may hold credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    pub tls: bool,
    /// Host and port, as they go into the `Host` header.
    pub authority: String,
    path: String,
    /// Names and values as they stand in the URL, still encoded.
    query: Vec<(String, String)>,
    /// What stands before and after a click id, and the same with a forged signature.
    around_click: [String; 2],
    around_forged: [String; 2],
    pub place: Place,
}

/// Stands for the click id while a text is cut there; no URL holds it.
const CUT: &str = "\0";

impl Template {
    /// Takes a whole URL. `what` names it in errors.
    pub fn parse(what: &str, url: &str) -> Result<Self> {
        let url = url.trim();
        let (tls, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => bail!("{what} does not begin with http:// or https://"),
        };
        ensure!(!url.contains(char::is_control), "{what} holds a control character");
        let rest = rest.split('#').next().unwrap_or_default();
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = match address.find('/') {
            Some(at) => address.split_at(at),
            None => (address, "/"),
        };
        ensure!(!authority.is_empty(), "{what} names no host");
        ensure!(!authority.contains('@'), "{what} has a user in its host; gokart knows none");
        let query = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.to_owned(), value.to_owned())
        });
        let place = Place::new(if tls { "https" } else { "http" }, authority);
        let (authority, path) = (authority.to_owned(), path.to_owned());
        let (around_click, around_forged) = Default::default();
        let query = query.collect();
        let template = Self { tls, authority, path, query, around_click, around_forged, place };
        Ok(template.cut())
    }

    /// Writes down what every request of it has in common.
    fn cut(mut self) -> Self {
        let pieces = |text: String| {
            let (before, after) = text.split_once(CUT).unwrap_or((&text, ""));
            [before.to_owned(), after.to_owned()]
        };
        self.around_click = pieces(self.with(&[(CLICK_ID, Some(CUT))]));
        let forged = self.forged_signature();
        self.around_forged =
            pieces(self.with(&[(CLICK_ID, Some(CUT)), (SIGNATURE, Some(&forged))]));
        self
    }

    /// A postback URL with its credentials, of the event that it names or of `event`.
    pub fn parse_postback(url: &str, event: Option<&str>) -> Result<Self> {
        let what = "the postback URL";
        let mut template = Self::parse(what, url)?;
        if let Some(event) = event {
            template.query.retain(|(name, _)| name != EVENT_ID);
            template.query.push((EVENT_ID.to_owned(), encode(event)));
        }
        let Some(signature) = template.value(SIGNATURE) else {
            bail!("{what} has no {SIGNATURE}; take it from `gokart postback-url --reveal`");
        };
        let is_encoded = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && b != b'*');
        ensure!(
            is_encoded(signature) && is_encoded(&template.path),
            "{what} is masked; print it with --reveal"
        );
        match template.value(EVENT_ID) {
            Some(event) if !event.is_empty() && !event.contains(['{', '[']) => Ok(template.cut()),
            _ => bail!("{what} names no event; name the offer's events, in order, with --event"),
        }
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    /// The path and query as given.
    pub fn plain(&self) -> String {
        self.with(&[])
    }

    /// The path and query with some parameters changed: `Some` sets the raw value (it is added when
    /// it is missing), `None` takes the parameter out.
    pub fn with(&self, changes: &[(&str, Option<&str>)]) -> String {
        let mut text = self.path.clone();
        let change_of = |name: &str| changes.iter().find(|(it, _)| *it == name);
        let kept = self.query.iter().filter_map(|(name, value)| match change_of(name) {
            None => Some((name.as_str(), value.as_str())),
            Some((_, change)) => change.map(|value| (name.as_str(), value)),
        });
        let is_new = |name: &str| self.query.iter().all(|(it, _)| it != name);
        let added = changes
            .iter()
            .filter_map(|(name, value)| value.filter(|_| is_new(name)).map(|value| (*name, value)));
        for (index, (name, value)) in kept.chain(added).enumerate() {
            let separator = if index == 0 { '?' } else { '&' };
            let _ = write!(text, "{separator}{name}={value}");
        }
        text
    }

    /// The path and query for one click, whose id is given as it stands in a query.
    pub fn for_click(&self, click_id: &str) -> String {
        let [before, after] = &self.around_click;
        [before, click_id, after].concat()
    }

    /// The same with a signature that differs in one character.
    pub fn forged_for_click(&self, click_id: &str) -> String {
        let [before, after] = &self.around_forged;
        [before, click_id, after].concat()
    }

    fn forged_signature(&self) -> String {
        let mut signature: Vec<char> = self.value(SIGNATURE).unwrap_or_default().chars().collect();
        if let Some(first) = signature.first_mut() {
            *first = if *first == 'A' { 'B' } else { 'A' };
        }
        signature.into_iter().collect()
    }

    /// The event's ID, as the offer spells it.
    pub fn event(&self) -> String {
        let event = self.value(EVENT_ID).unwrap_or_default().replace('+', " ");
        percent_encoding::percent_decode_str(&event).decode_utf8_lossy().into_owned()
    }

    /// The last segment of the path: a tracking link's share code.
    pub fn share(&self) -> &str {
        self.path.rsplit('/').find(|it| !it.is_empty()).unwrap_or_default()
    }

    /// The host alone, without port and brackets.
    pub fn host(&self) -> &str {
        let host = match self.authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => host,
            _ => &self.authority,
        };
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

/// A value as it stands in a query.
pub fn encode(value: &str) -> String {
    utf8_percent_encode(value, VALUE).to_string()
}

/// Finds the click id in the address that a tracking link redirects to: the value of `parameter`, or
/// else the longest value that looks like a sealed click id; as it stands in a query.
pub fn click_id_in(location: &str, parameter: Option<&str>) -> Option<String> {
    /// Sealed click ids are much longer, other people's ids are mostly shorter.
    const CHARS_MIN: usize = 44;
    let (_, query) = location.split('#').next()?.split_once('?')?;
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let is_base64url = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
    let found = match parameter {
        Some(wanted) => pairs.into_iter().find(|(name, _)| *name == wanted).map(|(_, value)| value),
        None => pairs
            .map(|(_, value)| value)
            .filter(|value| value.len() >= CHARS_MIN && value.bytes().all(is_base64url))
            .max_by_key(|value| value.len()),
    };
    let found = found?;
    if found.is_empty() || found.bytes().all(is_base64url) {
        // As it is almost always: it stands in a query like this, too.
        return (!found.is_empty()).then(|| found.to_owned());
    }
    let decoded = percent_encoding::percent_decode_str(found).decode_utf8().ok()?;
    Some(encode(&decoded))
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "http://api.brownboots.localhost:8080/api/v1/a/b/c/?signature=Sig-1\
                       &gk_click_id={gk_click_id}&cnv_event_id=s2s_level%20200";

    #[test]
    fn a_postback_url_is_filled() {
        let template = Template::parse_postback(URL, None).unwrap();
        assert_eq!(template.authority, "api.brownboots.localhost:8080");
        assert_eq!(
            template.for_click("a%2Bb"),
            "/api/v1/a/b/c/?signature=Sig-1&gk_click_id=a%2Bb&cnv_event_id=s2s_level%20200"
        );
        assert_eq!(
            template.forged_for_click("x"),
            "/api/v1/a/b/c/?signature=Aig-1&gk_click_id=x&cnv_event_id=s2s_level%20200"
        );
        assert_eq!(
            template.with(&[(CLICK_ID, None), (EVENT_ID, None)]),
            "/api/v1/a/b/c/?signature=Sig-1"
        );
        let other = Template::parse_postback(URL, Some("a b")).unwrap();
        assert!(other.for_click("x").ends_with("&gk_click_id=x&cnv_event_id=a%20b"));
        assert_eq!(
            Template::parse("x", "http://h").unwrap().with(&[("a", Some("1")), ("b", Some("2"))]),
            "/?a=1&b=2"
        );
    }

    #[test]
    fn wrong_urls_are_explained_without_being_shown() {
        let cases = [
            ("ftp://h/?signature=secret", "http://"),
            ("http://h/\n?signature=secret", "control"),
            ("http:///?signature=secret", "no host"),
            ("http://secret@h/", "a user"),
            ("http://h/?cnv_event_id=a", "no signature"),
            ("http://h/?signature=se••••&cnv_event_id=a", "masked"),
            ("http://h/***/?signature=secret&cnv_event_id=a", "masked"),
            ("http://h/?signature=secret", "no event"),
            ("http://h/?signature=secret&cnv_event_id={event_name}", "no event"),
        ];
        for (url, expected) in cases {
            let error = format!("{:#}", Template::parse_postback(url, None).err().unwrap());
            assert!(error.contains(expected), "{url}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn the_click_id_is_found_in_the_redirect() {
        let id = "A".repeat(60);
        let cases = [
            (format!("https://x.test/app?c=1&label={id}&p=2"), None, Some(id.as_str())),
            (format!("https://x.test/app?short=abc&label={id}%2B"), None, None),
            (
                "https://x.test/app?clickid=a%2Bb#f?clickid=no".into(),
                Some("clickid"),
                Some("a%2Bb"),
            ),
            (format!("https://x.test/app?label={id}"), Some("clickid"), None),
            ("https://x.test/app".into(), None, None),
        ];
        for (location, parameter, expected) in cases {
            assert_eq!(click_id_in(&location, parameter).as_deref(), expected, "{location}");
        }
    }
}
