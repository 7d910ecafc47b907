//! Publisher postbacks: what a URL may be, and that nothing in it can be injected.

use super::Checker;
use crate::apply::fields::At;
use crate::apply::link::LINK_BYTES_MAX;
use crate::apply::postback_document::{FieldDocument, HeaderDocument, PostbackDocument};
use crate::apply::value::{Count, LongText};
use schemas::postback::{Field, FixedHeader, RequestForm, RequestKind, Secret, Template};
use schemas::{ConversionStatus, EventId, PublisherPostback};
use std::collections::BTreeSet;
use url::{Host, Url};

/// Postbacks of one publisher or share.
const POSTBACKS_MAX: usize = 20;
/// After the name of a postback, its test URL's; no name that people give holds a slash.
const TEST_SUFFIX: &str = "/test";
const FIELDS_MAX: usize = 100;
const IN_FLIGHT_DEFAULT: u32 = 8;
const IN_FLIGHT_MAX: u64 = 256;
const PER_SECOND_DEFAULT: u32 = 50;
const PER_SECOND_MAX: u64 = 10_000;
const HEADER_VALUE_BYTES_MAX: usize = 1_024;
/// Below this, only the ports of the web: what else listens there takes orders in lines of text.
const FREE_PORTS_FROM: u16 = 1_024;
/// Headers that the request has of its own.
const OWN_HEADERS: &[&str] = &[
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "user-agent",
    "idempotency-key",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
];

impl Checker<'_> {
    /// The postbacks of one document, each followed by the one of its test URL; none when one of
    /// them is wrong.
    pub(super) fn check_postbacks(
        &self,
        file: &str,
        owner: &str,
        documents: &[PostbackDocument],
        knows_event: impl Fn(&EventId) -> bool,
    ) -> Option<Vec<PublisherPostback>> {
        if let Some(one_too_many) = documents.get(POSTBACKS_MAX) {
            let message = format!("more than {POSTBACKS_MAX} postbacks");
            self.problems.add(file, one_too_many.line, "postbacks", message);
            return None;
        }
        let mut names = BTreeSet::new();
        let checked: Vec<Option<Vec<PublisherPostback>>> = documents
            .iter()
            .map(|document| {
                let postback = self.check_postback(file, owner, document, &knows_event)?;
                if !names.insert(postback.name.clone()) {
                    let message = format!(
                        "{:?} is the name of another one: give each its own",
                        postback.name
                    );
                    self.problems.add(file, document.line, "postbacks.name", message);
                    return None;
                }
                let for_tests = match &document.test_url {
                    None => None,
                    Some(url) => Some(self.check_for_tests(file, url, &postback)?),
                };
                Some([postback].into_iter().chain(for_tests).collect())
            })
            .collect();
        let checked: Option<Vec<_>> = checked.into_iter().collect();
        Some(checked?.into_iter().flatten().collect())
    }

    /// The same postback for test conversions. It is a destination of its own, so that whatever a
    /// test server does (hang, or answer 410) touches no real postback.
    fn check_for_tests(
        &self,
        file: &str,
        url: &At<LongText>,
        postback: &PublisherPostback,
    ) -> Option<PublisherPostback> {
        if postback.test {
            let message =
                "a postback with test: true is told of tests only: its url is the test URL";
            self.report(file, url, message);
            return None;
        }
        if let Err(message) = check_url(&url.value.0) {
            self.report(file, url, message);
            return None;
        }
        Some(PublisherPostback {
            name: format!("{}{TEST_SUFFIX}", postback.name),
            url: Template(url.value.0.clone()),
            test: true,
            ..postback.clone()
        })
    }

    fn check_postback(
        &self,
        file: &str,
        owner: &str,
        document: &PostbackDocument,
        knows_event: &impl Fn(&EventId) -> bool,
    ) -> Option<PublisherPostback> {
        let url = document.url.as_ref()?;
        if let Err(message) = check_url(&url.value.0) {
            self.report(file, url, message);
            return None;
        }
        let unknown = document.events.iter().flatten().find(|at| !knows_event(&at.value.0));
        if let Some(at) = unknown {
            self.report(file, at, format!("the offer has no event {:?}", at.value.0));
            return None;
        }
        let mut statuses: Vec<ConversionStatus> =
            document.statuses.iter().flatten().map(|at| at.value.0).collect();
        if statuses.is_empty() {
            statuses.push(ConversionStatus::Success);
        }
        statuses.sort_unstable();
        statuses.dedup();
        let kind = document.request.as_ref().map_or(RequestKind::Get, |at| at.value.0);
        let header = match &document.header {
            None => None,
            Some(header) => Some(self.check_header(file, owner, header)?),
        };
        Some(PublisherPostback {
            name: document.name.as_ref().map_or("default", |at| at.value.0.as_str()).to_owned(),
            url: Template(url.value.0.clone()),
            form: self.check_form(file, kind, document)?,
            events: document.events.iter().flatten().map(|at| at.value.0.clone()).collect(),
            statuses,
            test: document.test.as_ref().is_some_and(|at| at.value.0),
            header,
            in_flight: self.bounded(file, &document.in_flight, IN_FLIGHT_DEFAULT, IN_FLIGHT_MAX)?,
            per_second: self.bounded(
                file,
                &document.per_second,
                PER_SECOND_DEFAULT,
                PER_SECOND_MAX,
            )?,
        })
    }

    fn bounded(&self, file: &str, at: &Option<At<Count>>, default: u32, max: u64) -> Option<u32> {
        let Some(at) = at else { return Some(default) };
        if !(1..=max).contains(&at.value.0) {
            self.report(file, at, format!("is not between 1 and {max}"));
            return None;
        }
        u32::try_from(at.value.0).ok()
    }

    fn check_form(
        &self,
        file: &str,
        kind: RequestKind,
        document: &PostbackDocument,
    ) -> Option<RequestForm> {
        let fields = document.fields.as_deref().unwrap_or_default();
        let problem = match kind {
            RequestKind::Get if !fields.is_empty() => {
                "a GET request has no body: put macros into the URL, or set request: form or json"
            }
            RequestKind::Form if fields.is_empty() => "a form needs its fields",
            _ if fields.len() > FIELDS_MAX => "more fields than a body may have (100)",
            _ => "",
        };
        if !problem.is_empty() {
            self.problems.add(file, document.line, "postbacks.fields", problem);
            return None;
        }
        let read: Vec<Option<Field>> = fields.iter().map(|it| self.check_field(file, it)).collect();
        let fields: Vec<Field> = read.into_iter().collect::<Option<_>>()?;
        Some(match kind {
            RequestKind::Get => RequestForm::Get,
            RequestKind::Form => RequestForm::Form(fields),
            RequestKind::Json => RequestForm::Json(fields),
        })
    }

    fn check_field(&self, file: &str, document: &FieldDocument) -> Option<Field> {
        let (name, value) = (document.name.as_ref()?, document.value.as_ref()?);
        let template = Template(value.value.0.clone());
        if let Err(error) = template.check() {
            self.report(file, value, error.to_string());
            return None;
        }
        Some(Field { name: name.value.0.clone(), value: template })
    }

    fn check_header(
        &self,
        file: &str,
        owner: &str,
        document: &HeaderDocument,
    ) -> Option<FixedHeader> {
        let (name, value) = (document.name.as_ref()?, document.value.as_ref()?);
        let lower = name.value.0.to_ascii_lowercase();
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
        if !lower.bytes().all(is_token) || OWN_HEADERS.contains(&lower.as_str()) {
            self.report(file, name, "is not the name of a header that can be set here");
            return None;
        }
        let text = &value.value.0;
        let fits = (1..=HEADER_VALUE_BYTES_MAX).contains(&text.len());
        if !fits || !text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
            // Not repeated: it is a secret.
            self.report(file, value, "a header's value is 1 to 1024 visible ASCII characters");
            return None;
        }
        match (self.seal)([owner, &lower], text) {
            Ok(sealed) => Some(FixedHeader { name: lower, value: Secret(sealed) }),
            Err(message) => {
                self.report(file, value, message);
                None
            }
        }
    }
}

/// Http(s), a fixed host, a port of the web's, no credentials, known macros only.
fn check_url(text: &str) -> Result<(), String> {
    if text.len() > LINK_BYTES_MAX {
        return Err(format!("the URL is longer than {LINK_BYTES_MAX} bytes"));
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace() || !c.is_ascii()) {
        return Err(
            "the URL holds white space, a control character or a letter outside of ASCII: \
             percent-encode it"
                .to_owned(),
        );
    }
    Template(text.to_owned()).check().map_err(|error| format!("the URL {error}"))?;
    let scheme_ends = text.find("://").map_or(0, |at| at + 3);
    let authority = text[scheme_ends..].split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('{') || text[..scheme_ends].contains('{') {
        return Err("a macro cannot be part of the URL's host".to_owned());
    }
    let url = Url::parse(&text.replace(['{', '}'], ""))
        .map_err(|error| format!("this is not a URL ({error}); write https://…"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("the URL is {}:, but only http and https are allowed", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() || authority.contains('@') {
        return Err("the URL holds a user name or password; use `header` for a key".to_owned());
    }
    if url.fragment().is_some() {
        return Err("the URL has a #fragment, which is never sent".to_owned());
    }
    if !matches!(url.host(), Some(Host::Domain(_) | Host::Ipv4(_) | Host::Ipv6(_))) {
        return Err("the URL has no host".to_owned());
    }
    match url.port_or_known_default() {
        Some(80 | 443) => Ok(()),
        Some(port) if port >= FREE_PORTS_FROM => Ok(()),
        port => Err(format!(
            "port {} is not allowed: 80, 443 and those from {FREE_PORTS_FROM} are",
            port.unwrap_or_default()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::check_url;

    fn check(text: &str, problem: &str) {
        match check_url(text) {
            Ok(()) => assert_eq!(problem, "", "{text}"),
            Err(found) => {
                assert!(!problem.is_empty() && found.contains(problem), "{text}: {found}");
            }
        }
    }

    #[test]
    fn urls() {
        check("https://acme.example/p?c={sub1}&p={payout}", "");
        check("http://acme.example:8080/{event_id}", "");
        check("https://acme.example?c={sub1}", "");
        check("https://{sub1}.acme.example/", "part of the URL's host");
        check("https://acme.example:{sub1}/", "part of the URL's host");
        check("https://u:p@acme.example/", "user name or password");
        check("https://@acme.example/", "user name or password");
        check("ftp://acme.example/", "only http and https");
        check("file:///etc/passwd", "only http and https");
        check("gopher://acme.example/", "only http and https");
        check("https://acme.example:25/", "port 25");
        check("https://acme.example/a b", "white space");
        check("https://acme.example/\r\nX: y", "control character");
        check("https://acme.example/é", "outside of ASCII");
        check("https://acme.example/{revenue}", "{revenue} is not a macro");
        check("https://acme.example/{sub16}", "{sub16} is not a macro");
        check("https://acme.example/{sub1", "brace");
        check("https://acme.example/#x", "fragment");
        check("acme.example/p", "not a URL");
        check("https://", "not a URL");
        check(&format!("https://a.io/{}", "x".repeat(5000)), "longer than 4096");
    }
}
