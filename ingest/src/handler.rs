//! The way of a request, top to bottom: [`Ingest::handle`] → [`Ingest::answer`] → a postback's way
//! here, a click's in [`crate::click`].

use crate::address::client_address;
use crate::config::{BODY_BYTES_MAX, HEADER_BYTES_MAX, Settings, URL_BYTES_MAX};
use crate::credentials::{Checked, KnownAdvertiser, Presented};
use crate::late_clicks::LateClicks;
use crate::limits::{Importance, Limits, Slot};
use crate::meters::Meters;
use crate::parameters::Parameters;
use crate::random::random;
use crate::redact::redact_own;
use crate::refusals::{Refusals, Refused};
use crate::reply::{Afterwards, Answer, POSTBACK_METHODS, reply};
use crate::route::{Route, host, route, tenant_label};
use crate::submit::{Submitted, Submitter, record};
use crate::world::Known;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Request};
use keyring::Keyring;
use schemas::topic::partition_of;
use schemas::{Mismatch, Postback, PostbackId, TenantId, Topic, UnixMillis};
use service::http::{BodyError, read_body};
use service::{Clock, Reply};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

const CLICK_ID: &str = "gk_click_id";
/// The route of tracking links, as a metric label.
const CLICK: &str = "click";

/// All that answering needs.
pub(crate) struct Ingest {
    pub settings: Settings,
    pub keyring: Arc<Keyring>,
    pub clock: Clock,
    pub known: Arc<Known>,
    pub limits: Limits,
    pub submitter: Arc<Submitter>,
    pub late_clicks: LateClicks,
    pub refusals: Refusals,
    pub meters: Meters,
}

/// A request's head, with what every route wants to know of it.
pub(crate) struct Arrival<'r> {
    pub head: &'r Parts,
    pub address: IpAddr,
    pub host: String,
    /// The tenant whose host it is, if it is a configured one's.
    pub tenant: Option<TenantId>,
    pub now: UnixMillis,
}

impl Arrival<'_> {
    pub fn method(&self) -> &Method {
        &self.head.method
    }

    pub fn query(&self) -> &str {
        self.head.uri.query().unwrap_or_default()
    }
}

impl Ingest {
    /// Answers a request, and counts the answer.
    pub(crate) async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Reply {
        let began = Instant::now();
        let (head, body) = request.into_parts();
        let (kind, answer) = self.answer(&head, body, peer).await;
        self.meters.count(kind, &answer, began.elapsed());
        tracing::debug!(route = kind, outcome = answer.label(), "answered");
        reply(&answer, self.afterwards(kind, peer))
    }

    /// A user who comes without a proxy follows one link and is gone: an idle connection of each
    /// would soon take all the connections there are.
    fn afterwards(&self, kind: &str, peer: SocketAddr) -> Afterwards {
        let behind_proxy =
            self.settings.client_address_header.is_some() || peer.ip().to_canonical().is_loopback();
        if kind == CLICK && !behind_proxy { Afterwards::Close } else { Afterwards::Keep }
    }

    async fn answer(
        &self,
        head: &Parts,
        body: Incoming,
        peer: SocketAddr,
    ) -> (&'static str, Answer) {
        if let Some(answer) = oversize(head) {
            return ("other", answer);
        }
        let Some(host) = host(head.version, &head.uri, &head.headers) else {
            return ("other", Answer::BadHost);
        };
        let trusted = self.settings.client_address_header.as_ref();
        let arrival = Arrival {
            head,
            address: client_address(&head.headers, trusted, peer),
            tenant: self.tenant(&host),
            host,
            now: UnixMillis(self.clock.now()),
        };
        match route(head.uri.path()) {
            Route::Postback(path) => ("postback", self.postback(&arrival, path, body).await),
            Route::Click(share) => (CLICK, self.click(&arrival, &share).await),
            Route::Other => ("other", Answer::NoSuchPath),
        }
    }

    fn tenant(&self, host: &str) -> Option<TenantId> {
        let label = tenant_label(host, &self.settings.config.base_domains)?;
        self.known.world.load().catalog.tenant(label).map(|tenant| tenant.id.clone())
    }

    /// A postback's way: read it, see whose it is, take it or refuse it.
    async fn postback(&self, arrival: &Arrival<'_>, path: Vec<String>, body: Incoming) -> Answer {
        let method = arrival.method();
        if *method == Method::OPTIONS {
            return Answer::Options(POSTBACK_METHODS);
        }
        if ![Method::GET, Method::POST, Method::HEAD].contains(method) {
            return Answer::MethodNotAllowed(POSTBACK_METHODS);
        }
        let mut parameters = Parameters::from_query(arrival.query());
        if *method == Method::POST
            && let Err(answer) = self.read_post(arrival, &path, &mut parameters, body).await
        {
            return answer;
        }
        match self.authenticate(arrival, &path, &parameters) {
            Ok(_) if *method == Method::HEAD => Answer::Alive,
            Ok(known) => self.accept(arrival, &known, parameters).await,
            Err((mismatch, known)) => self.refuse(arrival, path, parameters, mismatch, known),
        }
    }

    /// Adds a body's parameters. Bodies of requests that their query does not authenticate share a
    /// few slots, so that whoever sends them slowly keeps nobody else waiting.
    async fn read_post(
        &self,
        arrival: &Arrival<'_>,
        path: &[String],
        parameters: &mut Parameters,
        body: Incoming,
    ) -> Result<(), Answer> {
        let slots = match self.authenticate(arrival, path, parameters) {
            Ok(_) => &self.limits.postbacks,
            Err(_) => &self.limits.unauthenticated_bodies,
        };
        let _slot = slots.enter(Importance::Full).ok_or(Answer::Shed)?;
        match read_body(body, BODY_BYTES_MAX, self.settings.config.body_timeout).await {
            Ok(body) => {
                parameters.read_body(&body);
                Ok(())
            }
            Err(BodyError::TooLarge(_)) => Err(Answer::BodyTooLarge),
            Err(BodyError::TimedOut) => Err(Answer::BodyTimedOut),
            Err(BodyError::Broken) => Err(Answer::BrokenBody),
        }
    }

    /// The advertiser whose credentials these are, or what did not match.
    fn authenticate(
        &self,
        arrival: &Arrival<'_>,
        path: &[String],
        parameters: &Parameters,
    ) -> Result<Arc<KnownAdvertiser>, (Mismatch, Option<Arc<KnownAdvertiser>>)> {
        let presented =
            Presented { tenant: arrival.tenant.as_ref(), path, signature: parameters.signature() };
        match self.known.world.load().credentials.check(&presented) {
            Checked::Authentic(known) => Ok(Arc::clone(known)),
            Checked::Mismatch(mismatch, known) => Err((mismatch, known.cloned())),
        }
    }

    /// Takes an authenticated postback: a 200 means that the log has it durably.
    async fn accept(
        &self,
        arrival: &Arrival<'_>,
        known: &KnownAdvertiser,
        parameters: Parameters,
    ) -> Answer {
        let click = parameters.trimmed(CLICK_ID);
        let Some(_slot) = self.postback_slot(click) else { return Answer::Shed };
        if !self.limits.allows_advertiser(&known.advertiser) {
            return Answer::OverRate;
        }
        let Some(id) = time_ordered_id(arrival.now) else { return Answer::LogUnavailable };
        let home = self.home(click);
        let partition = home.unwrap_or_else(|| self.any_partition(id));
        let (mut parameters, flags) = parameters.into_parts();
        // A click id that opens is of our own making: nobody's credentials are in it.
        let is_ours = |name: &str| home.is_some() && name == CLICK_ID;
        redact_own(&mut parameters, known, is_ours);
        let postback = Postback {
            postback_id: PostbackId(id),
            tenant: known.tenant.clone(),
            advertiser: known.advertiser.clone(),
            received_at: arrival.now,
            parameters,
            flags,
        };
        let record = record(&postback, arrival.now);
        let wait = self.settings.config.answer_timeout;
        match self.submitter.submit(Topic::Postbacks, partition, record, wait).await {
            Submitted::Durable => Answer::Accepted(postback.postback_id),
            Submitted::NotTaken => Answer::LogUnavailable,
            Submitted::StillPending(_) => Answer::TooLate,
        }
    }

    /// A postback that names no click cannot convert: it is shed first.
    fn postback_slot(&self, click: Option<&str>) -> Option<Slot> {
        let importance = if click.is_some() { Importance::Full } else { Importance::Lesser };
        self.limits.postbacks.enter(importance)
    }

    /// The root offer's partition; none without a valid click id.
    fn home(&self, click: Option<&str>) -> Option<u32> {
        let click = self.keyring.open(click?).ok()?;
        Some(partition_of(&click.root_offer, self.submitter.partitions(Topic::Postbacks)))
    }

    /// What belongs nowhere is spread evenly.
    fn any_partition(&self, id: Uuid) -> u32 {
        let partitions = self.submitter.partitions(Topic::Postbacks);
        (id.as_u64_pair().1 % u64::from(partitions)) as u32
    }

    /// Refuses: always in the same words, listed for those who may know.
    fn refuse(
        &self,
        arrival: &Arrival<'_>,
        path: Vec<String>,
        parameters: Parameters,
        mismatch: Mismatch,
        known: Option<Arc<KnownAdvertiser>>,
    ) -> Answer {
        if !self.limits.unauthenticated.allows(arrival.address) {
            return Answer::Flooding;
        }
        self.refusals.list(mismatch, arrival.tenant.as_ref(), || {
            let signature = parameters.signature().map(str::to_owned);
            Refused {
                refusal_id: time_ordered_id(arrival.now).unwrap_or_default(),
                refused_at: arrival.now,
                tenant: arrival.tenant.clone(),
                address: arrival.address,
                host: arrival.host.clone(),
                mismatch,
                known,
                presented: path.into_iter().chain(signature).collect(),
                parameters: parameters.into_parts().0,
            }
        });
        Answer::Refused
    }
}

fn oversize(head: &Parts) -> Option<Answer> {
    let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let authority = head.uri.authority().map_or(0, |authority| authority.as_str().len());
    if target + authority > URL_BYTES_MAX {
        return Some(Answer::UrlTooLong);
    }
    let headers = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
    (headers.sum::<usize>() > HEADER_BYTES_MAX).then_some(Answer::HeadersTooLarge)
}

/// A UUIDv7 of `now`; none when the system gives no random bits.
fn time_ordered_id(now: UnixMillis) -> Option<Uuid> {
    let random = random::<10>().ok()?;
    let millis = u64::try_from(now.0).unwrap_or(0);
    Some(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
}
