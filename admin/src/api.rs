//! The HTTP API: from a path to what is done. Everything under `/api/v1/` wants the token.

use crate::access::Access;
use crate::apply::publish::{ApplyRequest, apply};
use crate::by_hand::{DecisionRequest, decide};
use crate::config::{BODY_BYTES_MAX, BODY_TIMEOUT, PublicUrl};
use crate::error::Error;
use crate::feed::Seen;
use crate::links;
use crate::query::Query;
use crate::report::funnel::{self, By};
use crate::report::list::{self, Kind, LIMIT_DEFAULT, LIMIT_MAX};
use crate::report::period::Period;
use crate::story;
use crate::warehouse::Warehouse;
use eventlog::EventLog;
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use keyring::Keyring;
use percent_encoding::percent_decode_str;
use schemas::{Catalog, CommandKind, UnixMillis};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use service::http::{BodyError, read_body, reply};
use service::{Clock, Reply};
use std::sync::Arc;
use tokio::sync::{Mutex, watch};

const JSON: &str = "application/json";

/// What requests are answered from.
pub struct Api {
    pub access: Access,
    pub log: Arc<dyn EventLog>,
    pub keyring: Arc<Keyring>,
    pub warehouse: Warehouse,
    pub public: PublicUrl,
    pub clock: Clock,
    pub seen: watch::Receiver<Seen>,
    /// One apply at a time: the next one is checked against what this one put in force.
    pub applying: Mutex<()>,
}

impl Api {
    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>) -> Reply {
        let (route, outcome) = match self.access.check_host(request.headers()) {
            Ok(()) => self.route(request).await,
            Err(error) => ("other", Err(error)),
        };
        let reply = match outcome {
            Ok(value) => reply(StatusCode::OK, JSON, format!("{value}\n")),
            Err(error) => {
                if error.status().is_server_error() {
                    tracing::warn!(route, %error, "an admin request failed");
                }
                error.reply()
            }
        };
        let status = reply.status().as_u16().to_string();
        metrics::counter!("gokart_admin_requests_total", "route" => route, "status" => status)
            .increment(1);
        reply
    }

    async fn route(&self, request: Request<Incoming>) -> (&'static str, Result<Value, Error>) {
        let path = request.uri().path().to_owned();
        if path == "/healthz" {
            return ("healthz", Ok(json!({ "status": "alive" })));
        }
        if let Err(error) = self.access.check_token(request.headers()) {
            return ("other", Err(error));
        }
        let Some(rest) = path.strip_prefix("/api/v1/") else {
            return ("other", Err(no_such_path(&path)));
        };
        let pieces: Vec<String> = rest
            .split('/')
            .filter(|piece| !piece.is_empty())
            .map(|piece| percent_decode_str(piece).decode_utf8_lossy().into_owned())
            .collect();
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        let text = request.uri().query().unwrap_or_default().to_owned();
        let method = request.method().clone();
        match (&method, pieces.as_slice()) {
            (&Method::GET, ["version"]) => ("version", self.version(&text)),
            (&Method::POST, ["apply"]) => ("apply", self.apply(request).await),
            (&Method::GET, ["postback-url"]) => ("postback-url", self.postback_url(&text)),
            (&Method::GET, ["tracking-link"]) => ("tracking-link", self.tracking_link(&text)),
            (&Method::GET, ["report", "funnel"]) => ("funnel", self.funnel(&text).await),
            (&Method::GET, ["report", "conversions"]) => {
                ("conversions", self.list(Kind::Conversions, &text).await)
            }
            (&Method::GET, ["report", "postbacks"]) => {
                ("postbacks", self.list(Kind::Postbacks, &text).await)
            }
            (&Method::GET, ["refused"]) => ("refused", self.list(Kind::Refused, &text).await),
            (&Method::GET, ["explain", id]) => ("explain", self.explain(id, &text).await),
            (&Method::POST, ["conversions", id, "approve"]) => {
                ("approve", self.approve(id, request).await)
            }
            (&Method::POST, ["conversions", id, "reject"]) => {
                ("reject", self.reject(id, request).await)
            }
            (_, ["version" | "apply" | "postback-url" | "tracking-link" | "refused"])
            | (_, ["report", _] | ["explain", _] | ["conversions", _, "approve" | "reject"]) => {
                ("other", Err(Error::MethodNotAllowed(method.to_string())))
            }
            _ => ("other", Err(no_such_path(&path))),
        }
    }

    fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.seen.borrow().catalog)
    }

    fn now(&self) -> UnixMillis {
        UnixMillis(self.clock.now())
    }

    fn version(&self, query: &str) -> Result<Value, Error> {
        Query::parse(query, &[])?;
        let catalog = self.catalog();
        Ok(json!({
            "version": catalog.version,
            "tenants": catalog.tenants().count(),
            "advertisers": catalog.advertisers().count(),
            "publishers": catalog.publishers().count(),
            "offers": catalog.offers().count(),
            "shares": catalog.shares().count(),
        }))
    }

    async fn apply(&self, request: Request<Incoming>) -> Result<Value, Error> {
        let asked: ApplyRequest = body(request).await?;
        let _turn = self.applying.lock().await;
        let mut seen = self.seen.clone();
        let report = apply(&*self.log, &mut seen, &asked, self.now()).await?;
        if !report.dry_run && !report.changed.is_empty() {
            tracing::info!(
                version = report.version,
                documents = report.changed.len(),
                "a configuration is in force"
            );
        }
        value(&report)
    }

    fn postback_url(&self, query: &str) -> Result<Value, Error> {
        let query = Query::parse(query, &["advertiser", "reveal"])?;
        let advertiser = query.required("advertiser")?;
        let reveal = query.flag("reveal")?;
        let catalog = self.catalog();
        let found = links::postback_url(&catalog, &self.keyring, &self.public, advertiser, reveal)?;
        if reveal {
            tracing::info!(advertiser, "the postback credentials were shown to an operator");
        }
        value(&found)
    }

    fn tracking_link(&self, query: &str) -> Result<Value, Error> {
        let query = Query::parse(query, &["offer", "publisher", "test"])?;
        let (offer, publisher) = (query.required("offer")?, query.required("publisher")?);
        let catalog = self.catalog();
        let (keys, public, test) = (&self.keyring, &self.public, query.flag("test")?);
        value(&links::tracking_link(&catalog, keys, public, offer, publisher, test)?)
    }

    async fn funnel(&self, query: &str) -> Result<Value, Error> {
        let known = ["offer", "by", "publisher", "clones", "include_test", "from", "to", "tz"];
        let query = Query::parse(query, &known)?;
        let catalog = self.catalog();
        let wanted = funnel::Wanted {
            offer: query.required("offer")?.to_owned(),
            by: query.text("by").map_or(Ok(By::All), By::parse)?,
            publisher: query.text("publisher").map(str::to_owned),
            clones: query.flag("clones")?,
            include_test: query.flag("include_test")?,
            period: period(&catalog, &query)?,
        };
        value(&funnel::funnel(&self.warehouse, &catalog, &wanted).await?)
    }

    async fn list(&self, kind: Kind, query: &str) -> Result<Value, Error> {
        let filters = kind.filters();
        let mut known: Vec<&str> = filters.iter().map(|(name, _)| *name).collect();
        known.extend(["include_test", "limit", "from", "to", "tz"]);
        let query = Query::parse(query, &known)?;
        let limit = query.number("limit")?.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Error::bad_request(format!("limit: is not between 1 and {LIMIT_MAX}")));
        }
        let given = filters.iter().filter_map(|(name, _)| Some((*name, query.text(name)?.into())));
        let wanted = list::Wanted {
            kind,
            period: period(&self.catalog(), &query)?,
            filters: given.collect(),
            include_test: query.flag("include_test")?,
            limit,
        };
        value(&list::list(&self.warehouse, &wanted).await?)
    }

    async fn explain(&self, id: &str, query: &str) -> Result<Value, Error> {
        let query = Query::parse(query, &["tz"])?;
        if let Some(zone) = query.text("tz") {
            Period::parse(None, None, zone)?;
        }
        let catalog = self.catalog();
        let sources = story::Sources {
            warehouse: &self.warehouse,
            keyring: &self.keyring,
            catalog: &catalog,
            now: self.now(),
        };
        let facts = story::fetch(&sources, id, query.text("tz")).await?;
        let story = story::tell(&facts);
        Ok(json!({ "facts": value(&facts)?, "story": value(&story)?, "text": story.text() }))
    }

    async fn approve(&self, id: &str, request: Request<Incoming>) -> Result<Value, Error> {
        let asked: DecisionRequest = body(request).await?;
        let kind = CommandKind::Approve { over_limit: asked.over_limit };
        self.decide(id, kind, &asked.reason).await
    }

    async fn reject(&self, id: &str, request: Request<Incoming>) -> Result<Value, Error> {
        let asked: DecisionRequest = body(request).await?;
        if asked.over_limit {
            return Err(Error::bad_request("over_limit: only belongs to an approval"));
        }
        self.decide(id, CommandKind::Reject, &asked.reason).await
    }

    async fn decide(&self, id: &str, kind: CommandKind, reason: &str) -> Result<Value, Error> {
        value(&decide(&*self.log, &self.warehouse, id, kind, reason, self.now()).await?)
    }
}

fn no_such_path(path: &str) -> Error {
    let path: String = path.chars().take(100).collect();
    Error::not_found(format!("there is nothing at {path:?}"))
}

fn value(of: &impl Serialize) -> Result<Value, Error> {
    serde_json::to_value(of).map_err(|error| Error::Internal(error.to_string()))
}

async fn body<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Error> {
    let bytes = read_body(request.into_body(), BODY_BYTES_MAX, BODY_TIMEOUT).await;
    let bytes = bytes.map_err(|error| match error {
        BodyError::TooLarge(limit) => Error::TooLarge(limit),
        BodyError::TimedOut | BodyError::Broken => Error::BodyIncomplete,
    })?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::bad_request(format!("the body is not the JSON wanted: {error}")))
}

/// The period asked for, in the zone asked for or else the one of the tenant in question.
fn period(catalog: &Catalog, query: &Query) -> Result<Period, Error> {
    let by_offer = || catalog.offer(query.text("offer")?).map(|it| it.tenant.clone());
    let by_advertiser =
        || catalog.advertiser(query.text("advertiser")?).map(|it| it.tenant.clone());
    let by_publisher = || catalog.publisher(query.text("publisher")?).map(|it| it.tenant.clone());
    let named = || catalog.tenant(query.text("tenant")?).map(|it| it.id.clone());
    let only = || {
        let mut tenants = catalog.tenants();
        let first = tenants.next()?;
        tenants.next().is_none().then(|| first.id.clone())
    };
    let tenant =
        named().or_else(by_offer).or_else(by_advertiser).or_else(by_publisher).or_else(only);
    let tenant = tenant.and_then(|id| catalog.tenant(id.as_str()).cloned());
    let zone = tenant.map_or_else(|| "UTC".to_owned(), |tenant| tenant.time_zone.clone());
    Period::parse(query.text("from"), query.text("to"), query.text("tz").unwrap_or(&zone))
}
