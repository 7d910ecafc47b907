//! What an ingester can be told, as the command line gives it, and the same checked.

use governor::Quota;
use hyper::header::HeaderName;
use keyring::{TOKEN_CHARS_DEFAULT, TOKEN_CHARS_MAX, TOKEN_CHARS_MIN};
use service::{HttpLimits, Protocols, ServiceError, Tls, TlsFiles};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

/// Longest request target; more is 414.
pub const URL_BYTES_MAX: usize = 8 * 1024;
/// All header names and values together; more is 431.
pub const HEADER_BYTES_MAX: usize = 32 * 1024;
/// Longest body; more is 413.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// What the connection reads of a request's head before it gives up on it with 431. Above the sum
/// of the other two, so that those answer first.
const HEAD_BYTES_MAX: usize = 48 * 1024;
const _: () = assert!(URL_BYTES_MAX + HEADER_BYTES_MAX < HEAD_BYTES_MAX);

/// Branch gives up on an answer after this.
const SENDER_PATIENCE: Duration = Duration::from_secs(2);

/// So many in a second, and so many at once after a quiet time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub per_second: u32,
    pub burst: u32,
}

impl Rate {
    const fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second, burst }
    }

    fn quota(self, name: &str) -> Result<Quota, ServiceError> {
        match (NonZeroU32::new(self.per_second), NonZeroU32::new(self.burst)) {
            (Some(per_second), Some(burst)) => Ok(Quota::per_second(per_second).allow_burst(burst)),
            _ => Err(wrong(format!("{name}: a rate and its burst are 1 or more"))),
        }
    }
}

/// An ingester's settings. The defaults suit one machine; every limit is per process.
#[derive(Debug, Clone)]
pub struct IngestConfig {
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Tenants are at `api.<tenant>.<one of these>`; lower case, without a dot in front.
    pub base_domains: Vec<String>,
    /// The edge's header with the user's two-letter country; none: countries stay unknown.
    pub country_header: Option<String>,
    /// A trusted proxy's header with the client's address, the last of a list; none: the peer's
    /// address counts. Only for an ingester that nobody else can reach.
    pub client_address_header: Option<String>,
    /// Longest click id in characters.
    pub token_chars: usize,
    /// A postback is answered within this of having arrived whole; below 2 s, since Branch waits
    /// no longer.
    pub answer_timeout: Duration,
    /// A redirect waits this long for its click record to be durable; then it goes out and the
    /// record is tried again in the background.
    pub click_record_wait: Duration,
    /// A redirect waits this long for sub-ids that its click id had no room for; without them it
    /// must not go out.
    pub click_details_wait: Duration,
    /// A body has to be here within this.
    pub body_timeout: Duration,
    /// Authenticated postbacks in work at once. Those without a click id may take three quarters.
    pub postbacks_in_flight: usize,
    /// Bodies being read at once of requests whose query does not authenticate them yet.
    pub unauthenticated_bodies: usize,
    /// Clicks in work at once that are written down; further ones are redirected without.
    pub clicks_in_flight: usize,
    /// Click records being tried again at once; further ones are lost, and counted.
    pub late_click_records: usize,
    /// Postbacks of one advertiser.
    pub advertiser_rate: Rate,
    /// Requests without valid credentials, or for links that do not exist, from one address.
    pub unauthenticated_rate: Rate,
    /// Clicks from one address (loopback, where a proxy or a developer is, excepted).
    pub click_address_rate: Rate,
    /// Clicks that are written down, of all addresses.
    pub click_rate: Rate,
    /// Refusals that are listed, of one tenant; those of no tenant share one such rate.
    pub refusal_rate: Rate,
    /// Addresses that are told apart; when there are more, the further ones share one rate.
    pub addresses: usize,
    pub http: HttpLimits,
    /// HTTPS with this certificate, and nothing in clear text; none: clear text.
    pub tls: Option<TlsFiles>,
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            base_domains: vec!["localhost".to_owned(), "getgokart.ai".to_owned()],
            country_header: None,
            client_address_header: None,
            token_chars: TOKEN_CHARS_DEFAULT,
            answer_timeout: Duration::from_millis(1_500),
            click_record_wait: Duration::from_millis(250),
            click_details_wait: Duration::from_secs(1),
            body_timeout: Duration::from_secs(5),
            postbacks_in_flight: 4_096,
            unauthenticated_bodies: 128,
            clicks_in_flight: 2_048,
            late_click_records: 8_192,
            advertiser_rate: Rate::new(50_000, 50_000),
            unauthenticated_rate: Rate::new(20, 100),
            click_address_rate: Rate::new(200, 1_000),
            click_rate: Rate::new(20_000, 20_000),
            refusal_rate: Rate::new(5, 50),
            addresses: 100_000,
            http: HttpLimits {
                connections: 4_096,
                header_bytes: HEAD_BYTES_MAX,
                header_timeout: Duration::from_secs(15),
                stall_timeout: Duration::from_secs(10),
                ..HttpLimits::default()
            },
            tls: None,
        }
    }
}

/// The settings after [`IngestConfig::check`]: nothing in them can be wrong any more.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub config: IngestConfig,
    pub country_header: Option<HeaderName>,
    pub client_address_header: Option<HeaderName>,
    pub advertiser_quota: Quota,
    pub unauthenticated_quota: Quota,
    pub click_address_quota: Quota,
    pub click_quota: Quota,
    pub refusal_quota: Quota,
    pub protocols: Protocols,
}

impl IngestConfig {
    pub(crate) fn check(mut self) -> Result<Settings, ServiceError> {
        for base in &mut self.base_domains {
            *base = base.trim_matches('.').to_ascii_lowercase();
        }
        if self.base_domains.is_empty() || self.base_domains.iter().any(String::is_empty) {
            return Err(wrong("base domains: name at least one, e.g. getgokart.ai".to_owned()));
        }
        if !(TOKEN_CHARS_MIN..=TOKEN_CHARS_MAX).contains(&self.token_chars) {
            return Err(wrong(format!(
                "click id length: {} is not from {TOKEN_CHARS_MIN} to {TOKEN_CHARS_MAX} characters",
                self.token_chars
            )));
        }
        if self.answer_timeout >= SENDER_PATIENCE || self.answer_timeout.is_zero() {
            return Err(wrong(
                "answer time-out: it must be below 2 s, when senders give up".into(),
            ));
        }
        let counts = [
            ("postbacks in flight", self.postbacks_in_flight),
            ("unauthenticated bodies", self.unauthenticated_bodies),
            ("clicks in flight", self.clicks_in_flight),
            ("late click records", self.late_click_records),
            ("addresses", self.addresses),
            ("connections", self.http.connections),
        ];
        if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(wrong(format!("{name}: 0 would take nothing at all; use 1 or more")));
        }
        Ok(Settings {
            country_header: header("country header", self.country_header.as_deref())?,
            client_address_header: header(
                "client address header",
                self.client_address_header.as_deref(),
            )?,
            advertiser_quota: self.advertiser_rate.quota("postbacks of one advertiser")?,
            unauthenticated_quota: self.unauthenticated_rate.quota("unauthenticated requests")?,
            click_address_quota: self.click_address_rate.quota("clicks from one address")?,
            click_quota: self.click_rate.quota("clicks")?,
            refusal_quota: self.refusal_rate.quota("listed refusals")?,
            protocols: Protocols { http2: true, tls: self.tls.clone().map(Tls::load).transpose()? },
            config: self,
        })
    }
}

fn header(what: &str, name: Option<&str>) -> Result<Option<HeaderName>, ServiceError> {
    let Some(name) = name else { return Ok(None) };
    match HeaderName::try_from(name) {
        Ok(name) => Ok(Some(name)),
        Err(_) => Err(wrong(format!("{what}: {name:?} is not a header's name"))),
    }
}

fn wrong(message: String) -> ServiceError {
    ServiceError::Configuration(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_settings_are_named() {
        let check = |change: fn(&mut IngestConfig), expected: &str| {
            let mut config = IngestConfig::default();
            change(&mut config);
            match config.check() {
                Err(ServiceError::Configuration(message)) => {
                    assert!(message.starts_with(expected), "{message}");
                }
                other => panic!("{expected}: {other:?}"),
            }
        };
        assert!(IngestConfig::default().check().is_ok());
        check(|c| c.base_domains.clear(), "base domains");
        check(|c| c.base_domains.push(".".into()), "base domains");
        check(|c| c.token_chars = TOKEN_CHARS_MIN - 1, "click id length");
        check(|c| c.answer_timeout = SENDER_PATIENCE, "answer time-out");
        check(|c| c.country_header = Some("a b".into()), "country header");
        check(|c| c.client_address_header = Some(String::new()), "client address header");
        check(|c| c.click_rate.burst = 0, "clicks");
        check(|c| c.postbacks_in_flight = 0, "postbacks in flight");
    }
}
