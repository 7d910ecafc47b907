//! The HTTP API: from a path to what is done. Everything under `/api/v1/` wants the token.

pub mod openapi;
pub mod routes;

use crate::access::Access;
use crate::apply::publish::{ApplyRequest, apply, seal_headers};
use crate::by_hand::{DecisionRequest, decide};
use crate::config::{BODY_BYTES_MAX, BODY_TIMEOUT, PublicUrl};
use crate::deliveries;
use crate::erase::{ErasureRequest, erase};
use crate::error::Error;
use crate::feed::Seen;
use crate::links;
use crate::query::Query;
use crate::redecide::{self, RedecideRequest, redecide};
use crate::report::export::{self, Wanted};
use crate::report::filter::Scope;
use crate::report::format::Format;
use crate::report::period::Period;
use crate::report::table::Table;
use crate::report::{Asked, Definition, Kind, csv, funnel, reconcile, rows};
use crate::story;
use crate::warehouse::Warehouse;
use bytes::Bytes;
use eventlog::EventLog;
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use keyring::Keyring;
use routes::{Endpoint, Route};
use schemas::{Catalog, CommandKind, UnixMillis};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use service::http::{BodyError, read_body, reply};
use service::{Clock, Reply};
use std::sync::Arc;
use tokio::sync::{Mutex, watch};

const JSON: &str = "application/json";
const CSV: &str = "text/csv; charset=utf-8";

/// What requests are answered from.
pub struct Api {
    pub access: Access,
    pub log: Arc<dyn EventLog>,
    pub keyring: Arc<Keyring>,
    pub warehouse: Arc<Warehouse>,
    pub public: PublicUrl,
    pub clock: Clock,
    pub seen: watch::Receiver<Seen>,
    /// One apply at a time: the next one is checked against what this one put in force.
    pub applying: Mutex<()>,
    pub reconciling: Mutex<()>,
}

impl Api {
    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>) -> Reply {
        let (route, outcome) = match self.access.check_host(request.headers()) {
            Ok(()) => self.route(request).await,
            Err(error) => ("other", Err(error)),
        };
        let reply = outcome.unwrap_or_else(|error| {
            if error.status().is_server_error() {
                tracing::warn!(route, %error, "an admin request failed");
            }
            error.reply()
        });
        let status = reply.status().as_u16().to_string();
        metrics::counter!("gokart_admin_requests_total", "route" => route, "status" => status)
            .increment(1);
        reply
    }

    async fn route(&self, request: Request<Incoming>) -> (&'static str, Result<Reply, Error>) {
        let path = request.uri().path().to_owned();
        if path == "/healthz" {
            return ("healthz", Ok(json_reply(&json!({ "status": "alive" }))));
        }
        if let Err(error) = self.access.check_token(request.headers()) {
            return ("other", Err(error));
        }
        match routes::find(request.method(), &path) {
            Ok((route, id)) => (route.name, self.run(route, &id, request).await),
            Err(error) => ("other", Err(error)),
        }
    }

    async fn run(
        &self,
        route: &Route,
        id: &str,
        request: Request<Incoming>,
    ) -> Result<Reply, Error> {
        let query = Query::parse(request.uri().query().unwrap_or_default(), &route.parameters())?;
        let value = match route.endpoint {
            Endpoint::Version => self.version(),
            Endpoint::OpenApi => openapi::document(),
            Endpoint::Apply => self.apply(request).await?,
            Endpoint::PostbackUrl => self.postback_url(&query)?,
            Endpoint::TrackingLink => self.tracking_link(&query)?,
            Endpoint::Funnel => self.funnel(&query).await?,
            Endpoint::List(kind) => return self.list(kind, &query).await,
            Endpoint::Export(kind) => return self.export(kind, &query).await,
            Endpoint::Report(kind) => return self.report(kind, &query).await,
            Endpoint::PublisherPostback => self.publisher_postback(&query)?,
            Endpoint::Sample => self.sample(&query).await?,
            Endpoint::Resend => self.resend(&query).await?,
            Endpoint::Reconciliation => return self.reconciliation(&query, request).await,
            Endpoint::Explain => self.explain(id, &query).await?,
            Endpoint::Approve => self.approve(id, request).await?,
            Endpoint::Reject => self.reject(id, request).await?,
            Endpoint::Erase => self.erase(request).await?,
            Endpoint::Redecide => self.redecide(&query, request).await?,
        };
        Ok(json_reply(&value))
    }

    fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.seen.borrow().catalog)
    }

    fn now(&self) -> UnixMillis {
        UnixMillis(self.clock.now())
    }

    fn version(&self) -> Value {
        let catalog = self.catalog();
        json!({
            "version": catalog.version,
            "tenants": catalog.tenants().count(),
            "advertisers": catalog.advertisers().count(),
            "publishers": catalog.publishers().count(),
            "offers": catalog.offers().count(),
            "shares": catalog.shares().count(),
        })
    }

    async fn apply(&self, request: Request<Incoming>) -> Result<Value, Error> {
        let asked: ApplyRequest = body(request).await?;
        let _turn = self.applying.lock().await;
        let mut seen = self.seen.clone();
        let report = apply(&*self.log, &mut seen, &asked, &self.keyring, self.now()).await?;
        if !report.dry_run && !report.changed.is_empty() {
            tracing::info!(
                version = report.version,
                documents = report.changed.len(),
                "a configuration is in force"
            );
        }
        value(&report)
    }

    /// What stands in clear from before headers were sealed.
    pub async fn seal_headers(&self) {
        let _turn = self.applying.lock().await;
        let mut seen = self.seen.clone();
        match seal_headers(&*self.log, &mut seen, &self.keyring, self.now()).await {
            Ok(0) => {}
            Ok(documents) => tracing::warn!(
                documents,
                "fixed headers of publishers stood in clear in the configuration and are sealed now; the log may keep the old records: give these publishers new values"
            ),
            Err(error) => {
                tracing::error!(%error, "fixed headers of publishers stand in clear in the configuration and cannot be sealed; the next start tries again")
            }
        }
    }

    fn postback_url(&self, query: &Query) -> Result<Value, Error> {
        let advertiser = query.required("advertiser")?;
        let reveal = query.flag("reveal");
        let catalog = self.catalog();
        let found = links::postback_url(&catalog, &self.keyring, &self.public, advertiser, reveal)?;
        if reveal {
            tracing::info!(advertiser, "the postback credentials were shown to an operator");
        }
        value(&found)
    }

    fn publisher_postback(&self, query: &Query) -> Result<Value, Error> {
        let (publisher, reveal) = (query.required("publisher")?, query.flag("reveal"));
        let catalog = self.catalog();
        let found = deliveries::publisher_postbacks(&catalog, &self.keyring, publisher, reveal)?;
        if reveal {
            tracing::info!(publisher, "the webhook secret was shown to an operator");
        }
        value(&found)
    }

    async fn sample(&self, query: &Query) -> Result<Value, Error> {
        let catalog = self.catalog();
        let from = (&*self.log, &*self.warehouse, &*catalog);
        let outcomes = deliveries::sample(from, query.required("publisher")?, self.now()).await?;
        Ok(json!({ "rows": value(&outcomes)? }))
    }

    async fn resend(&self, query: &Query) -> Result<Value, Error> {
        let catalog = self.catalog();
        let scope = Scope::read(query, rows::Kind::Deliveries.filters(), &catalog)?;
        let limit = query.number(rows::LIMIT.name).unwrap_or(rows::LIMIT_DEFAULT);
        let limit = limit.min(deliveries::RESEND_MAX);
        let from = (&*self.log, &*self.warehouse, &*catalog);
        value(&deliveries::resend(from, &scope, limit, self.now()).await?)
    }

    fn tracking_link(&self, query: &Query) -> Result<Value, Error> {
        let (offer, publisher) = (query.required("offer")?, query.required("publisher")?);
        let catalog = self.catalog();
        let (keys, public, test) = (&self.keyring, &self.public, query.flag("test"));
        value(&links::tracking_link(&catalog, keys, public, offer, publisher, test)?)
    }

    async fn funnel(&self, query: &Query) -> Result<Value, Error> {
        let catalog = self.catalog();
        let wanted = funnel::Wanted::read(query, &catalog)?;
        value(&funnel::funnel(&self.warehouse, &catalog, &wanted).await?)
    }

    async fn report(&self, kind: Kind, query: &Query) -> Result<Reply, Error> {
        let catalog = self.catalog();
        let asked = self.asked(kind.definition(), query, &catalog)?;
        table_reply(&kind.run(&asked).await?, query)
    }

    async fn reconciliation(
        &self,
        query: &Query,
        request: Request<Incoming>,
    ) -> Result<Reply, Error> {
        let catalog = self.catalog();
        let asked = self.asked(&reconcile::DEFINITION, query, &catalog)?;
        // A file is held while it is compared: one at a time.
        let _turn = self.reconciling.lock().await;
        let file = bytes_of(request, reconcile::BODY_BYTES_MAX).await?;
        table_reply(&reconcile::run(&asked, &file).await?, query)
    }

    fn asked<'a>(
        &'a self,
        definition: &'static Definition,
        query: &'a Query,
        catalog: &'a Catalog,
    ) -> Result<Asked<'a>, Error> {
        let scope = Scope::read(query, definition.filters, catalog)?;
        let now = self.now();
        Ok(Asked { definition, warehouse: &self.warehouse, catalog, now, query, scope })
    }

    async fn list(&self, kind: rows::Kind, query: &Query) -> Result<Reply, Error> {
        let format = match query.text("format") {
            Some("csv") => Format::Csv,
            _ => Format::Document,
        };
        let limit = query.number(rows::LIMIT.name).unwrap_or(rows::LIMIT_DEFAULT);
        self.stream(kind, format, query, Some(limit)).await
    }

    async fn export(&self, kind: rows::Kind, query: &Query) -> Result<Reply, Error> {
        let format = match query.text("format") {
            Some("jsonl") => Format::JsonLines,
            Some("parquet") => Format::Parquet,
            _ => Format::Csv,
        };
        self.stream(kind, format, query, None).await
    }

    async fn stream(
        &self,
        kind: rows::Kind,
        format: Format,
        query: &Query,
        limit: Option<u32>,
    ) -> Result<Reply, Error> {
        let catalog = self.catalog();
        let scope = Scope::read(query, kind.filters(), &catalog)?;
        let wanted = Wanted { kind, format, scope, limit };
        export::stream(Arc::clone(&self.warehouse), &catalog, wanted).await
    }

    async fn explain(&self, id: &str, query: &Query) -> Result<Value, Error> {
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
        let mut story = story::tell(&facts);
        let told = match facts.click_id.is_empty() {
            true => Vec::new(),
            false => story::told::fetch(&self.warehouse, &facts.click_id).await?,
        };
        if let Some(paragraph) = story::told::paragraph(&told, &facts.time_zone) {
            // Before the last one, which states the zone.
            let last = story.paragraphs.len().saturating_sub(1);
            story.paragraphs.insert(last, paragraph);
        }
        Ok(
            json!({ "facts": value(&facts)?, "deliveries": value(&told)?, "story": value(&story)?, "text": story.text() }),
        )
    }

    async fn redecide(&self, query: &Query, request: Request<Incoming>) -> Result<Value, Error> {
        let catalog = self.catalog();
        let choice = redecide::Choice::read(query, &catalog)?;
        let asked: RedecideRequest = body(request).await?;
        let sources = redecide::Sources {
            log: &*self.log,
            warehouse: &self.warehouse,
            keyring: &self.keyring,
            now: self.now(),
            // The processor may hear of it later.
            config_version: catalog.version,
        };
        value(&redecide(&sources, &choice, &asked).await?)
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

    async fn erase(&self, request: Request<Incoming>) -> Result<Value, Error> {
        let asked: ErasureRequest = body(request).await?;
        value(&erase(&*self.log, &self.warehouse, &self.keyring, asked, self.now()).await?)
    }

    async fn decide(&self, id: &str, kind: CommandKind, reason: &str) -> Result<Value, Error> {
        value(&decide(&*self.log, &self.warehouse, id, kind, reason, self.now()).await?)
    }
}

fn table_reply(table: &Table, query: &Query) -> Result<Reply, Error> {
    if query.text("format") == Some("csv") {
        let names: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
        return Ok(reply(StatusCode::OK, CSV, csv::document(&names, &table.rows)));
    }
    Ok(json_reply(&value(table)?))
}

fn json_reply(value: &Value) -> Reply {
    reply(StatusCode::OK, JSON, format!("{value}\n"))
}

fn value(of: &impl Serialize) -> Result<Value, Error> {
    serde_json::to_value(of).map_err(|error| Error::Internal(error.to_string()))
}

async fn bytes_of(request: Request<Incoming>, limit_bytes: usize) -> Result<Bytes, Error> {
    let bytes = read_body(request.into_body(), limit_bytes, BODY_TIMEOUT).await;
    bytes.map_err(|error| match error {
        BodyError::TooLarge(limit) => Error::TooLarge(limit),
        BodyError::TimedOut | BodyError::Broken => Error::BodyIncomplete,
    })
}

async fn body<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Error> {
    let bytes = bytes_of(request, BODY_BYTES_MAX).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::bad_request(format!("the body is not the JSON wanted: {error}")))
}
