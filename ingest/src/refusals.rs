//! Requests whose credentials did not match, listed for the tenant's operator: redacted, limited
//! in rate, and never in the way of anything else.

use crate::config::Settings;
use crate::credentials::KnownAdvertiser;
use crate::redact::{REFUSED_PARAMETERS_MAX, RefusedText};
use crate::submit::{Submitted, Submitter, record};
use crate::world::Known;
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, RateLimiter};
use schemas::{Mismatch, Refusal, TenantId, Topic, UnixMillis};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use uuid::Uuid;

/// Refusals that wait to be written.
const QUEUE: usize = 1_024;
/// For the log to confirm one.
const APPEND_WAIT: Duration = Duration::from_secs(5);
/// Longest host kept, in characters.
const HOST_CHARS_MAX: usize = 255;

/// A refused request as it came. Holds credentials, so it has no `Debug` and goes nowhere but
/// through redaction.
pub struct Refused {
    pub refusal_id: Uuid,
    pub refused_at: UnixMillis,
    pub tenant: Option<TenantId>,
    pub address: IpAddr,
    pub host: String,
    pub mismatch: Mismatch,
    pub known: Option<Arc<KnownAdvertiser>>,
    /// The path's pieces and the signature that were presented.
    pub presented: Vec<String>,
    pub parameters: Vec<(String, String)>,
}

/// Takes refusals in; [`Lister`] writes them.
pub struct Refusals {
    queue: mpsc::Sender<Refused>,
    /// Bounded by the tenants there are.
    tenants: DefaultKeyedRateLimiter<TenantId>,
    unknown_hosts: DefaultDirectRateLimiter,
}

/// The other end of [`Refusals`].
pub struct Lister {
    queue: mpsc::Receiver<Refused>,
}

impl Refusals {
    pub(crate) fn new(settings: &Settings) -> (Self, Lister) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let quota = settings.refusal_quota;
        let refusals = Self {
            queue: sender,
            tenants: RateLimiter::keyed(quota),
            unknown_hosts: RateLimiter::direct(quota),
        };
        (refusals, Lister { queue: receiver })
    }

    /// Counts a refusal, and lists it when its rate allows. Never waits; `refused` is only made
    /// when it will be listed.
    pub fn list(
        &self,
        mismatch: Mismatch,
        tenant: Option<&TenantId>,
        refused: impl FnOnce() -> Refused,
    ) {
        metrics::counter!("gokart_ingest_refusals_total", "mismatch" => mismatch.code())
            .increment(1);
        let within_rate = match tenant {
            Some(tenant) => self.tenants.check_key(tenant).is_ok(),
            None => self.unknown_hosts.check().is_ok(),
        };
        if !within_rate || self.queue.try_send(refused()).is_err() {
            count_unlisted();
        }
    }
}

impl Lister {
    /// Writes refusals until the last sender is gone.
    pub async fn run(mut self, submitter: Arc<Submitter>, known: Arc<Known>) {
        while let Some(refused) = self.queue.recv().await {
            let refusal = redacted(refused, &known);
            let record = record(&refusal, refusal.refused_at);
            match submitter.submit(Topic::Refused, 0, record, APPEND_WAIT).await {
                Submitted::Durable => {}
                Submitted::NotTaken | Submitted::StillPending(_) => count_unlisted(),
            }
        }
    }
}

fn redacted(refused: Refused, known: &Known) -> Refusal {
    let world = known.world.load();
    let text = RefusedText {
        presented: &refused.presented,
        known: refused.known.as_deref(),
        table: &world.credentials,
    };
    let parameters = refused.parameters.iter().take(REFUSED_PARAMETERS_MAX);
    Refusal {
        refusal_id: refused.refusal_id,
        refused_at: refused.refused_at,
        tenant: refused.tenant,
        address: refused.address.to_string(),
        host: text.keep_up_to(&refused.host, HOST_CHARS_MAX),
        mismatch: refused.mismatch,
        parameters: parameters.map(|(name, value)| (text.keep(name), text.keep(value))).collect(),
    }
}

fn count_unlisted() {
    metrics::counter!("gokart_ingest_refusals_unlisted_total").increment(1);
}
