//! Makes requests, and says what came of them. Redirects are not followed; an answer counts from
//! its status line on, and no more of it is read than keeps the connection usable.

use super::config::DelivererConfig;
use super::connect::{ConnectError, Connector};
use super::schedule::{Answer, retry_after_ms};
use crate::error::Error;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::RETRY_AFTER;
use hyper::{Request, Response, body::Incoming};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use schemas::{DeliveryProblem, UnixMillis};
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Connections to one host that are kept for the next request.
const IDLE_PER_HOST: usize = 8;
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// The head of an answer.
const HEAD_BYTES_MAX: usize = 32 * 1024;
const HEADERS_MAX: usize = 100;
/// Of a body, so that the connection can be used again; beyond that it is closed.
const BODY_BYTES_MAX: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// A client for all publishers.
#[derive(Clone)]
pub struct Caller {
    client: Client<HttpsConnector<Connector>, Full<Bytes>>,
    timeout: Duration,
}

impl Caller {
    pub fn new(config: &DelivererConfig) -> Result<Self, Error> {
        let connector = Connector::new(config);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .http1_max_headers(HEADERS_MAX)
            .build(HttpsConnector::from((connector, tls(config)?)));
        Ok(Self { client, timeout: config.connect_timeout + config.answer_timeout })
    }

    /// Makes one request that was built at `now`.
    pub async fn call(&self, request: Request<Full<Bytes>>, now: UnixMillis) -> Answer {
        let began = Instant::now();
        let answer = |status: Option<u16>, problem| Answer {
            status,
            problem,
            retry_after_ms: None,
            latency_ms: u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX),
        };
        match tokio::time::timeout(self.timeout, self.client.request(request)).await {
            Err(_) => answer(None, Some(DeliveryProblem::Timeout)),
            Ok(Err(error)) => answer(None, Some(problem(&error))),
            Ok(Ok(response)) => {
                let status = response.status();
                let problem = (!status.is_success()).then_some(DeliveryProblem::Status);
                let wish = response.headers().get(RETRY_AFTER);
                let wish = wish.and_then(|value| retry_after_ms(value.to_str().ok()?, now));
                let is_wish = matches!(status.as_u16(), 429 | 500..=599);
                let answer = Answer {
                    retry_after_ms: wish.filter(|_| is_wish),
                    ..answer(Some(status.as_u16()), problem)
                };
                tokio::spawn(finish(response));
                answer
            }
        }
    }
}

/// Reads a short body to its end, which gives the connection back; drops a longer one.
async fn finish(response: Response<Incoming>) {
    let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect();
    let _ = tokio::time::timeout(BODY_TIMEOUT, body).await;
}

/// What a failed request failed of.
fn problem(error: &ClientError) -> DeliveryProblem {
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(error) = cause {
        if let Some(ConnectError(problem)) = error.downcast_ref() {
            return *problem;
        }
        if error.is::<rustls::Error>() {
            return DeliveryProblem::Tls;
        }
        if error.downcast_ref().is_some_and(is_of_tls) {
            return DeliveryProblem::Tls;
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>()
            && error.is_parse()
        {
            return DeliveryProblem::Garbage;
        }
        cause = error.source();
    }
    if error.is_connect() { DeliveryProblem::Connect } else { DeliveryProblem::Broken }
}

/// Whether an error of input and output is one of TLS: its `source` passes over what it wraps,
/// which may be another of its kind.
fn is_of_tls(error: &std::io::Error) -> bool {
    error.get_ref().is_some_and(|inner| {
        inner.is::<rustls::Error>() || inner.downcast_ref().is_some_and(is_of_tls)
    })
}

/// Certificates are checked against the web's authorities, and those that the operator adds.
fn tls(config: &DelivererConfig) -> Result<ClientConfig, Error> {
    let wrong = |problem: String| Error::Configuration(format!("TLS to publishers: {problem}"));
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = &config.ca_file {
        let unusable =
            |problem: String| wrong(format!("--publisher-ca-file {}: {problem}", path.display()));
        let certificates =
            CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))?;
        let mut added = 0;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
            roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
            added += 1;
        }
        if added == 0 {
            return Err(unusable("holds no certificate".to_owned()));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
