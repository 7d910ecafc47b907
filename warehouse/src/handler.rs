//! ClickHouse's HTTP interface: from a request to its answer.

use crate::access::{Tokens, is_host_allowed};
use crate::body::{self, AnswerSender};
use crate::config::{RESULT_CHUNKS_QUEUED, STATEMENT_BYTES_MAX, WarehouseConfig};
use crate::engine::Access;
use crate::exception::{Exception, code};
use crate::execute::{Head, Work, execute};
use crate::pool::{Permit, Pool};
use crate::request::{self, Packing, QueryRequest};
use crate::{form, statement};
use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use service::http::{Reply, read_body, reply};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

const TEXT: &str = "text/plain; charset=UTF-8";

/// What every request needs.
pub struct Server {
    pub pool: Pool,
    pub tokens: Tokens,
    pub local: SocketAddr,
    pub host_names: Vec<String>,
    pub stall: Duration,
}

impl Server {
    #[must_use]
    pub fn new(config: &WarehouseConfig, local: SocketAddr, pool: Pool) -> Self {
        let tokens = Tokens { read: config.read_token.clone(), write: config.write_token.clone() };
        let host_names = config.host_names.clone();
        Self { pool, tokens, local, host_names, stall: config.limits.stall }
    }

    /// Answers one request.
    pub async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Reply {
        let host = request::text(request.headers(), "host");
        if !is_host_allowed(host.as_deref(), self.local, &self.host_names) {
            return reply(
                StatusCode::FORBIDDEN,
                TEXT,
                "this host name is not served here; use 127.0.0.1, or add the name to the warehouse's host names\n",
            );
        }
        match request.uri().path() {
            "/ping" | "/replicas_status" => reply(StatusCode::OK, TEXT, "Ok.\n"),
            "/" if request.method() == Method::GET && request.uri().query().is_none() => {
                reply(StatusCode::OK, TEXT, "Ok.\n")
            }
            "/" | "/query" => match *request.method() {
                Method::GET | Method::HEAD | Method::POST | Method::PUT => {
                    self.answer_query(request).await
                }
                _ => reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET, HEAD, POST and PUT\n"),
            },
            _ => reply(StatusCode::NOT_FOUND, TEXT, "there is /, /query and /ping\n"),
        }
    }

    async fn answer_query(&self, request: Request<Incoming>) -> Reply {
        let began = Instant::now();
        let result = self.run_query(request).await;
        metrics::histogram!("gokart_warehouse_first_byte_seconds")
            .record(began.elapsed().as_secs_f64());
        let outcome = if result.is_ok() { "done" } else { "failed" };
        metrics::counter!("gokart_warehouse_statements_total", "outcome" => outcome).increment(1);
        result.unwrap_or_else(|error| exception_reply(&error))
    }

    async fn run_query(&self, http_request: Request<Incoming>) -> Result<Reply, Exception> {
        let (parts, incoming) = http_request.into_parts();
        let (mut request, credentials) = request::read(&parts)?;
        let mut access = self.tokens.judge(&credentials)?;
        if request.reads_only {
            access = Access::Read;
        }
        let kind = request::text(&parts.headers, CONTENT_TYPE.as_str());
        let (first, rest) = match kind.as_deref().and_then(form::boundary) {
            Some(boundary) => {
                let whole = read_body(incoming, STATEMENT_BYTES_MAX, self.stall).await;
                let whole = whole.map_err(|error| broken(&error.to_string()))?;
                for (name, value) in form::fields(&whole, boundary)? {
                    request.take(&name, value);
                }
                (None, None)
            }
            None => self.first_of(&request, incoming).await?,
        };
        // Which threads are meant is seen from the first word.
        let head = first.as_deref().unwrap_or(request.query.as_bytes());
        let threads = if statement::is_select(head) { Access::Read } else { access };
        let permit = self.pool.permit(threads).await?;
        let body = match rest {
            Some(rest) => body::receive(rest, first, self.stall),
            None => mpsc::channel(1).1,
        };
        self.start(permit, request, access, body).await
    }

    /// The first chunk of the body, when the statement is in it.
    async fn first_of(
        &self,
        request: &QueryRequest,
        mut incoming: Incoming,
    ) -> Result<(Option<Bytes>, Option<Incoming>), Exception> {
        if !request.query.is_empty() || request.body != Packing::Plain {
            return Ok((None, Some(incoming)));
        }
        let first = body::next_chunk(&mut incoming, self.stall).await.transpose();
        Ok((first.map_err(|_| broken("the body broke off"))?, Some(incoming)))
    }

    /// Hands the statement to a thread and waits for the beginning of its answer.
    async fn start(
        &self,
        permit: Permit,
        request: QueryRequest,
        access: Access,
        body: mpsc::Receiver<io::Result<Bytes>>,
    ) -> Result<Reply, Exception> {
        let (head_sender, head) = oneshot::channel();
        let (sender, chunks) = mpsc::channel(RESULT_CHUNKS_QUEUED);
        let answer = AnswerSender { sender, runtime: Handle::current(), stall: self.stall };
        let (began, query_id) = (Instant::now(), request.query_id.clone());
        let work = Work { request, access, body, head: head_sender, answer };
        self.pool.run(permit, Box::new(move |engine| execute(engine, work)))?;
        // Without an answer the thread has died with the statement.
        let head = head.await.map_err(|_| Exception::from_engine("the statement was lost"))??;
        Ok(answer_reply(&head, &query_id, self.pool.engine().timezone(), began, chunks))
    }
}

fn broken(what: &str) -> Exception {
    Exception::new(code::INCORRECT_DATA, "INCORRECT_DATA", what)
}

fn answer_reply(
    head: &Head,
    query_id: &str,
    timezone: &str,
    began: Instant,
    chunks: mpsc::Receiver<io::Result<Bytes>>,
) -> Reply {
    let frames = futures_util::stream::unfold(chunks, |mut chunks| async move {
        let chunk = chunks.recv().await?;
        if chunk.is_err() {
            // Lets what came before, the error's text, go out before the connection is cut.
            tokio::task::yield_now().await;
        }
        Some((chunk.map(Frame::data), chunks))
    });
    let mut reply = Reply::new(StreamBody::new(frames).boxed_unsync());
    let summary = &head.summary;
    let summary = format!(
        "{{\"read_rows\":\"{}\",\"read_bytes\":\"{}\",\"written_rows\":\"{}\",\"written_bytes\":\"{}\",\
         \"total_rows_to_read\":\"0\",\"result_rows\":\"{}\",\"result_bytes\":\"{}\",\"elapsed_ns\":\"{}\"}}",
        summary.read_rows,
        summary.read_bytes,
        summary.written_rows,
        summary.written_bytes,
        summary.result_rows,
        summary.result_bytes,
        began.elapsed().as_nanos(),
    );
    set(&mut reply, "content-type", content_type(&head.format));
    set(&mut reply, "x-clickhouse-format", &head.format);
    set(&mut reply, "x-clickhouse-query-id", query_id);
    set(&mut reply, "x-clickhouse-timezone", timezone);
    set(&mut reply, "x-clickhouse-server-display-name", "gokart warehouse");
    set(&mut reply, "x-clickhouse-summary", &summary);
    reply
}

fn exception_reply(error: &Exception) -> Reply {
    let mut reply = reply(error.status(), TEXT, format!("{}\n", error.message));
    set(&mut reply, "x-clickhouse-exception-code", &error.code.to_string());
    if error.status() == StatusCode::SERVICE_UNAVAILABLE {
        set(&mut reply, "retry-after", "1");
    }
    if error.code == code::REQUIRED_PASSWORD {
        set(&mut reply, "www-authenticate", "Basic realm=\"ClickHouse server HTTP API\"");
    }
    reply
}

/// A value that HTTP cannot carry, such as a query id with line ends, is left out.
fn set(reply: &mut Reply, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().insert(HeaderName::from_static(name), value);
    }
}

fn content_type(format: &str) -> &'static str {
    let format = format.to_ascii_lowercase();
    let starts = |prefix: &str| format.starts_with(prefix);
    match format.as_str() {
        "json" | "jsoncompact" | "jsonstrings" | "jsoncolumns" => "application/json; charset=UTF-8",
        _ if starts("json") || starts("ndjson") => "application/x-ndjson; charset=UTF-8",
        _ if starts("csv") => "text/csv; charset=UTF-8",
        _ if starts("tsv") || starts("tabseparated") => "text/tab-separated-values; charset=UTF-8",
        _ if starts("rowbinary")
            || format == "native"
            || starts("arrow")
            || format == "parquet" =>
        {
            "application/octet-stream"
        }
        _ => TEXT,
    }
}
