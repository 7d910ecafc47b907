//! Talks to the admin API for the commands: one request, one answer, with the token, in time.

use crate::cli::asking::Connection;
use crate::commands::Failure;
use crate::data_dir::read_secret_file;
use crate::settings::ADMIN_TOKEN;
use admin::report::export::ROWS_HEADER;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

/// The largest answer that is taken.
const ANSWER_BYTES_MAX: usize = 512 << 20;
/// How often the sign of life on a terminal moves.
const TICK: Duration = Duration::from_millis(120);
/// Unreserved characters stand as they are.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A path below `/api/v1/`, with its query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    path: String,
    query: String,
}

impl Target {
    /// Pieces of a path; each is encoded.
    pub fn new(pieces: &[&str]) -> Self {
        let encoded: Vec<String> =
            pieces.iter().map(|piece| utf8_percent_encode(piece, ENCODED).to_string()).collect();
        Self { path: encoded.join("/"), query: String::new() }
    }

    /// Adds a parameter when there is a value for it.
    pub fn with(mut self, name: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            let joint = if self.query.is_empty() { '?' } else { '&' };
            let value = utf8_percent_encode(value, ENCODED);
            self.query.push_str(&format!("{joint}{name}={value}"));
        }
        self
    }

    pub fn flag(self, name: &str, set: bool) -> Self {
        self.with(name, set.then_some("true"))
    }
}

/// A client of one admin API.
pub struct Client {
    base: String,
    token: HeaderValue,
    timeout: Duration,
    http: HttpClient<HttpConnector, Full<Bytes>>,
}

impl Client {
    /// As the flags say; the token from the data directory unless one is given.
    pub fn connect(connection: &Connection) -> Result<Self, Failure> {
        let token = match (&connection.admin_token, &connection.admin_token_file) {
            (Some(token), _) => token.clone(),
            (None, Some(path)) => read_secret_file(path, "--admin-token-file")
                .map_err(|error| Failure::configuration(error.to_string()))?,
            (None, None) => token_in(&connection.data)?,
        };
        Self::new(&connection.admin, &token, connection.timeout)
    }

    pub fn new(admin: &str, token: &str, timeout: Duration) -> Result<Self, Failure> {
        let base = admin.trim_end_matches('/').to_owned();
        let wrong = |why: &str| {
            Failure::configuration(format!(
                "--admin {admin:?} {why}; write e.g. http://127.0.0.1:8081"
            ))
        };
        let uri: Uri = base.parse().map_err(|_| wrong("is not a URL"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(wrong("is https, which the admin API does not speak")),
            _ => return Err(wrong("is not an http URL")),
        }
        let mut token = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
            .map_err(|_| Failure::configuration("the admin token is not one".to_owned()))?;
        token.set_sensitive(true);
        let http = HttpClient::builder(TokioExecutor::new()).build_http();
        Ok(Self { base, token, timeout, http })
    }

    pub async fn get(&self, target: Target) -> Result<Value, Failure> {
        self.send(Method::GET, target, Vec::new()).await
    }

    pub async fn post(&self, target: Target, body: &Value) -> Result<Value, Failure> {
        self.send(Method::POST, target, body.to_string().into_bytes()).await
    }

    /// A file as it is.
    pub async fn post_file(&self, target: Target, body: Vec<u8>) -> Result<Value, Failure> {
        self.send(Method::POST, target, body).await
    }

    /// Writes an answer of any size to `out` as it comes, and gives the bytes written. Each wait
    /// for a further piece has the client's limit, the whole has none.
    pub async fn stream(&self, target: Target, out: &mut impl Write) -> Result<u64, Failure> {
        let late = || {
            Failure::failed(format!(
                "{} sent nothing for {} s; wait longer with --timeout",
                self.base,
                self.timeout.as_secs()
            ))
        };
        let begun = self.begin(Method::GET, &target, Vec::new());
        let response = tokio::time::timeout(self.timeout, begun).await.map_err(|_| late())??;
        if response.status() != StatusCode::OK {
            return self.whole(response).await.map(|_| 0);
        }
        let rows =
            response.headers().get(ROWS_HEADER).and_then(|it| it.to_str().ok()?.parse().ok());
        let progress = download(rows);
        let mut body = response.into_body();
        let mut written = 0u64;
        loop {
            let frame = tokio::time::timeout(self.timeout, body.frame()).await;
            let bytes = match frame.map_err(|_| late())? {
                None => break,
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(_)) => {
                    return Err(Failure::failed(format!(
                        "{} broke the answer off after {written} bytes: it is not whole; its log \
                         says why",
                        self.base
                    )));
                }
            };
            match out.write_all(&bytes) {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(written),
                written => written.map_err(|error| Failure::failed(format!("writing: {error}")))?,
            }
            written += bytes.len() as u64;
            progress.set_message(HumanBytes(written).to_string());
            progress.tick();
        }
        progress.finish_and_clear();
        match out.flush() {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Failure::failed(format!("writing: {error}")))
            }
            _ => Ok(written),
        }
    }

    async fn send(&self, method: Method, target: Target, body: Vec<u8>) -> Result<Value, Failure> {
        let spinner = spinner();
        let sent = self.exchange(method, target, body);
        let answer = tokio::time::timeout(self.timeout, sent).await;
        spinner.finish_and_clear();
        match answer {
            Ok(answer) => answer,
            Err(_) => Err(Failure::failed(format!(
                "{} did not answer within {} s; wait longer with --timeout, or ask for less",
                self.base,
                self.timeout.as_secs()
            ))),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        target: Target,
        body: Vec<u8>,
    ) -> Result<Value, Failure> {
        let response = self.begin(method, &target, body).await?;
        self.whole(response).await
    }

    async fn begin(
        &self,
        method: Method,
        target: &Target,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, Failure> {
        let uri = format!("{}/api/v1/{}{}", self.base, target.path, target.query);
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(AUTHORIZATION, self.token.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Failure::failed(format!("the request cannot be made: {error}")))?;
        self.http.request(request).await.map_err(|error| {
            Failure::failed(format!(
                "the admin API at {} cannot be reached: {}; start it with `gokart up`, or name \
                 another with --admin",
                self.base,
                root_cause(&error)
            ))
        })
    }

    async fn whole(&self, response: Response<Incoming>) -> Result<Value, Failure> {
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body
            .map_err(|error| Failure::failed(format!("the answer of {}: {error}", self.base)))?
            .to_bytes();
        let value: Result<Value, _> = serde_json::from_slice(&body);
        match value {
            Ok(value) if status == StatusCode::OK => Ok(value),
            Ok(value) => Err(Failure::answered(status, &value)),
            Err(_) => Err(Failure::failed(format!(
                "what listens at {} answered {status} and is not gokart's admin API; name that \
                 with --admin",
                self.base
            ))),
        }
    }
}

/// The token that the admin API made, where it made it.
pub fn token_in(data: &Path) -> Result<String, Failure> {
    let path = data.join(ADMIN_TOKEN);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) => Err(Failure::configuration(format!(
            "no admin token in {}: {error}; name the data directory with --data, or give the \
             token with --admin-token-file or GOKART_ADMIN_TOKEN",
            path.display()
        ))),
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// How far a long answer has come; only on a terminal. Rows are known before, bytes are not.
fn download(rows: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    let of = rows.map_or_else(String::new, |rows| format!(" of {} rows", HumanCount(rows)));
    if let Ok(style) =
        ProgressStyle::with_template(&format!("{{spinner}} {{msg}}{of} received, {{elapsed}}"))
    {
        bar.set_style(style);
    }
    bar
}

/// A sign of life while waiting; only on a terminal.
fn spinner() -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} waiting for the answer, {elapsed}") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(TICK);
    spinner
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_encoded() {
        let target = Target::new(&["explain", "a/b c"]).with("tz", Some("A&B")).flag("x", true);
        assert_eq!(target.path, "explain/a%2Fb%20c");
        assert_eq!(target.query, "?tz=A%26B&x=true");
        assert_eq!(Target::new(&["a"]).with("b", None).flag("c", false).query, "");
    }

    #[test]
    fn only_http() {
        let check = |admin: &str, expected: &str| {
            let error = Client::new(admin, "t", Duration::from_secs(1)).err().unwrap();
            assert_eq!(error.code, 78);
            assert!(error.to_string().contains(expected), "{error}");
        };
        check("https://x", "does not speak");
        check("localhost", "not an http URL");
        check("::", "is not a URL");
    }
}
