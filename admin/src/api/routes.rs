//! Every route of the API: its method and path, what it takes and what it answers. Requests are
//! routed by this table and the OpenAPI document is made from it, so the two cannot differ.

use crate::error::Error;
use crate::parameter::{PERIOD, Parameter};
use crate::redecide;
use crate::report::format::EXPORT_FORMATS;
use crate::report::{Kind, funnel, reconcile, rows};
use hyper::Method;
use percent_encoding::percent_decode_str;

/// Characters of an unknown path that are shown again.
const PATH_CHARS: usize = 100;
/// The piece of a path that is an id.
const ID: &str = "{id}";

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    Version,
    OpenApi,
    Apply,
    PostbackUrl,
    TrackingLink,
    Funnel,
    /// The newest rows.
    List(rows::Kind),
    /// All rows.
    Export(rows::Kind),
    Report(Kind),
    PublisherPostback,
    Sample,
    Resend,
    Reconciliation,
    Explain,
    Approve,
    Reject,
    Erase,
    Redecide,
}

/// One route.
#[derive(Debug, Clone)]
pub struct Route {
    pub endpoint: Endpoint,
    /// Its label in metrics.
    pub name: &'static str,
    pub method: Method,
    /// Below `/api/v1/`; may hold `{id}`.
    pub path: String,
    pub about: &'static str,
}

const FORMAT: Parameter = Parameter::choice("format", "`json` unless given.", &["json", "csv"]);

const EXPORT_FORMAT: Parameter = Parameter::choice("format", "`csv` unless given.", EXPORT_FORMATS);

impl Route {
    /// What it takes in its query.
    #[must_use]
    pub fn parameters(&self) -> Vec<Parameter> {
        match self.endpoint {
            Endpoint::Version
            | Endpoint::OpenApi
            | Endpoint::Apply
            | Endpoint::Approve
            | Endpoint::Reject
            | Endpoint::Erase => Vec::new(),
            Endpoint::PostbackUrl => vec![
                Parameter::text("advertiser", "The advertiser's id.").required(),
                Parameter::flag("reveal", "Show the credentials in full."),
            ],
            Endpoint::TrackingLink => vec![
                Parameter::text("offer", "The offer's id.").required(),
                Parameter::text("publisher", "The publisher's id.").required(),
                Parameter::flag("test", "A link whose clicks are tests."),
            ],
            Endpoint::PublisherPostback => vec![
                Parameter::text("publisher", "The publisher's id.").required(),
                Parameter::flag("reveal", "Show the secret in full."),
            ],
            Endpoint::Sample => {
                vec![Parameter::text("publisher", "The publisher's id.").required()]
            }
            Endpoint::Resend => {
                let mut all = rows::Kind::Deliveries.parameters();
                all.push(rows::LIMIT);
                all
            }
            Endpoint::Funnel => required("offer", funnel::DEFINITION.parameters()),
            Endpoint::List(kind) => {
                let mut all = kind.parameters();
                all.extend([rows::LIMIT, FORMAT]);
                all
            }
            Endpoint::Export(kind) => {
                let mut all = kind.parameters();
                all.push(EXPORT_FORMAT);
                all
            }
            Endpoint::Report(kind) => {
                let all = kind.definition().parameters();
                let mut all = match kind {
                    Kind::Cohorts => required("offer", all),
                    Kind::Statement => required("publisher", all),
                    Kind::Invoice => required("advertiser", all),
                    _ => all,
                };
                all.push(FORMAT);
                all
            }
            Endpoint::Reconciliation => {
                let mut all = required("advertiser", reconcile::DEFINITION.parameters());
                all.push(FORMAT);
                all
            }
            Endpoint::Explain => vec![PERIOD[2]],
            Endpoint::Redecide => redecide::parameters(),
        }
    }
}

fn required(name: &str, parameters: Vec<Parameter>) -> Vec<Parameter> {
    let make = |it: Parameter| if it.name == name { it.required() } else { it };
    parameters.into_iter().map(make).collect()
}

/// All routes.
#[must_use]
pub fn all() -> Vec<Route> {
    let route = |endpoint, name, method, path: &str, about| Route {
        endpoint,
        name,
        method,
        path: path.to_owned(),
        about,
    };
    let get = |endpoint, name, path: &str, about| route(endpoint, name, Method::GET, path, about);
    let mut routes = vec![
        get(Endpoint::Version, "version", "version", "The configuration in force."),
        get(Endpoint::OpenApi, "openapi", "openapi", "This document."),
        route(
            Endpoint::Apply,
            "apply",
            Method::POST,
            "apply",
            "Puts configuration documents in force: all of them, or none.",
        ),
        get(
            Endpoint::PostbackUrl,
            "postback-url",
            "postback-url",
            "An advertiser's postback URL and its credentials.",
        ),
        get(
            Endpoint::TrackingLink,
            "tracking-link",
            "tracking-link",
            "A publisher's tracking link for an offer.",
        ),
        get(Endpoint::Funnel, "funnel", "report/funnel", funnel::DEFINITION.about),
        get(
            Endpoint::List(rows::Kind::Clicks),
            "clicks",
            "report/clicks",
            "Clicks, the newest first.",
        ),
        get(
            Endpoint::List(rows::Kind::Conversions),
            "conversions",
            "report/conversions",
            "Conversions as they stand now, the newest first.",
        ),
        get(
            Endpoint::List(rows::Kind::Postbacks),
            "postbacks",
            "report/postbacks",
            "Postbacks with what became of each, the newest first.",
        ),
        get(
            Endpoint::List(rows::Kind::Refused),
            "refused",
            "refused",
            "Requests whose credentials did not match, redacted, the newest first.",
        ),
        route(
            Endpoint::Reconciliation,
            "reconciliation",
            Method::POST,
            "report/reconciliation",
            reconcile::DEFINITION.about,
        ),
        get(
            Endpoint::List(rows::Kind::Deliveries),
            "deliveries",
            "deliveries",
            "What publishers were told, each delivery as it stands, the newest first.",
        ),
        route(
            Endpoint::Resend,
            "resend",
            Method::POST,
            "deliveries/resend",
            "Sends deliveries to publishers again, with the ids that they had.",
        ),
        get(
            Endpoint::PublisherPostback,
            "publisher-postback",
            "publisher-postback",
            "A publisher's postbacks and the secret that they are signed with.",
        ),
        route(
            Endpoint::Sample,
            "publisher-postback-test",
            Method::POST,
            "publisher-postback/test",
            "Sends an invented conversion to a publisher's test URLs; tells what came of it.",
        ),
        get(
            Endpoint::Explain,
            "explain",
            "explain/{id}",
            "The whole story of a click, a postback or a conversion.",
        ),
        route(
            Endpoint::Approve,
            "approve",
            Method::POST,
            "conversions/{id}/approve",
            "Makes a conversion a Success by hand.",
        ),
        route(
            Endpoint::Reject,
            "reject",
            Method::POST,
            "conversions/{id}/reject",
            "Makes a conversion Rejected by hand.",
        ),
        route(
            Endpoint::Erase,
            "erase",
            Method::POST,
            "erase",
            "Takes what is personal about some clicks out of all tables.",
        ),
        route(
            Endpoint::Redecide,
            "redecide",
            Method::POST,
            "redecide",
            "Puts stored postbacks that were refused back for decision, or tells what would become \
             of them, page by page.",
        ),
    ];
    routes.extend(rows::Kind::ALL.into_iter().map(|kind| {
        let (name, about) = match kind {
            rows::Kind::Clicks => ("export-clicks", "All clicks, as a stream of any size."),
            rows::Kind::Conversions => {
                ("export-conversions", "All conversions as they stand now, as a stream.")
            }
            rows::Kind::Postbacks => ("export-postbacks", "All postbacks, as a stream."),
            rows::Kind::Refused => ("export-refused", "All refused requests, as a stream."),
            rows::Kind::Deliveries => {
                ("export-deliveries", "All deliveries to publishers as they stand, as a stream.")
            }
        };
        get(Endpoint::Export(kind), name, &format!("export/{}", kind.name()), about)
    }));
    routes.extend(Kind::ALL.into_iter().map(|kind| {
        let definition = kind.definition();
        let path = format!("report/{}", definition.name);
        get(Endpoint::Report(kind), definition.name, &path, definition.about)
    }));
    routes
}

/// The route of a request and the id in its path, empty when it has none.
pub fn find(method: &Method, path: &str) -> Result<(&'static Route, String), Error> {
    static ROUTES: std::sync::LazyLock<Vec<Route>> = std::sync::LazyLock::new(all);
    let unknown = || {
        let shown: String = path.chars().take(PATH_CHARS).collect();
        Error::not_found(format!("there is nothing at {shown:?}"))
    };
    let rest = path.strip_prefix("/api/v1/").ok_or_else(unknown)?;
    let pieces: Vec<String> = rest
        .split('/')
        .filter(|piece| !piece.is_empty())
        .map(|piece| percent_decode_str(piece).decode_utf8_lossy().into_owned())
        .collect();
    let mut is_there = false;
    for route in ROUTES.iter() {
        let template: Vec<&str> = route.path.split('/').collect();
        let fits = template.len() == pieces.len()
            && template.iter().zip(&pieces).all(|(want, piece)| *want == ID || want == piece);
        if fits && route.method == *method {
            let id = template.iter().position(|want| *want == ID);
            return Ok((route, id.map_or_else(String::new, |at| pieces[at].clone())));
        }
        is_there |= fits;
    }
    Err(if is_there { Error::MethodNotAllowed(method.to_string()) } else { unknown() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_their_routes() {
        let found = |method: Method, path: &str| find(&method, path).map(|it| (it.0.name, it.1));
        let ok = |name, id: &str| Ok((name, id.to_owned()));
        assert_eq!(found(Method::GET, "/api/v1//version/"), ok("version", ""));
        assert_eq!(found(Method::GET, "/api/v1/explain/a%2Fb"), ok("explain", "a/b"));
        assert_eq!(found(Method::POST, "/api/v1/conversions/x/reject"), ok("reject", "x"));
        assert_eq!(found(Method::GET, "/api/v1/report/on-hold"), ok("on-hold", ""));
        assert!(matches!(found(Method::PUT, "/api/v1/version"), Err(Error::MethodNotAllowed(_))));
        for path in ["/", "/api/v1/", "/api/v1/report/x", "/api/v1/version/x", "/version"] {
            assert!(matches!(found(Method::GET, path), Err(Error::NotFound { .. })), "{path}");
        }
    }

    #[test]
    fn routes_and_their_parameters_differ_from_each_other() {
        let routes = all();
        let mut names = std::collections::BTreeSet::new();
        for route in &routes {
            assert!(names.insert(route.name), "{} is there twice", route.name);
            let parameters = route.parameters();
            for (index, parameter) in parameters.iter().enumerate() {
                let again = parameters[..index].iter().any(|it| it.name == parameter.name);
                assert!(!again, "{}: {} twice", route.name, parameter.name);
                assert!(parameter.about.ends_with('.'), "{}: {}", route.name, parameter.name);
            }
        }
    }
}
