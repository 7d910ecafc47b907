//! A request of ClickHouse's HTTP interface, read into what it asks for.

use crate::exception::{Exception, code};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method};

/// Parameters of the interface itself that ask nothing of this server: sessions are not kept,
/// results are sent as they come, texts have no stack traces.
const IGNORED: [&str; 12] = [
    "session_id",
    "session_check",
    "session_timeout",
    "close_session",
    "buffer_size",
    "wait_end_of_query",
    "stacktrace",
    "quota_key",
    "client_protocol_version",
    "role",
    "cancel_http_readonly_queries_on_client_close",
    "http_write_exception_in_output_format",
];

/// How a body or an answer is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    Plain,
    /// ClickHouse's own blocks.
    Blocks,
    /// An LZ4 frame, as HTTP's content encoding.
    Lz4Frame,
}

/// What a request asks for, credentials left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryRequest {
    /// The start of the statement, or all of it; the rest is in the body.
    pub query: String,
    pub database: Option<String>,
    pub default_format: String,
    pub query_id: String,
    /// `{name:Type}` values, without their `param_`.
    pub parameters: Vec<(String, String)>,
    /// ClickHouse's settings, as given.
    pub settings: Vec<(String, String)>,
    pub body: Packing,
    pub answer: Packing,
    /// ClickHouse lets `GET` only read.
    pub reads_only: bool,
}

impl QueryRequest {
    /// Takes a parameter of the URL, or a field of a form, which mean the same.
    pub fn take(&mut self, name: &str, value: String) {
        match name {
            "query" => self.query.push_str(&value),
            "database" => self.database = Some(value).filter(|name| !name.is_empty()),
            "default_format" => self.default_format = value,
            "query_id" => self.query_id = value,
            "compress" if is_on(&value) => self.answer = Packing::Blocks,
            "decompress" if is_on(&value) => self.body = Packing::Blocks,
            "compress" | "decompress" => {}
            name if IGNORED.contains(&name) => {}
            name => match name.strip_prefix("param_") {
                Some(name) => self.parameters.push((name.to_owned(), value)),
                None => self.settings.push((name.to_owned(), value)),
            },
        }
    }
}

/// What was given to prove who asks.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    pub user: Option<String>,
    pub token: Option<String>,
}

/// Reads the head of a request.
pub fn read(parts: &Parts) -> Result<(QueryRequest, Credentials), Exception> {
    let header = |name: &str| text(&parts.headers, name);
    let mut request = QueryRequest {
        query: String::new(),
        database: header("x-clickhouse-database"),
        default_format: header("x-clickhouse-format").unwrap_or_else(|| "TabSeparated".to_owned()),
        query_id: String::new(),
        parameters: Vec::new(),
        settings: Vec::new(),
        body: Packing::Plain,
        answer: Packing::Plain,
        reads_only: parts.method != Method::POST && parts.method != Method::PUT,
    };
    let mut credentials = crate::access::from_headers(&parts.headers)?;
    let query = parts.uri.query().unwrap_or_default();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "user" => credentials.user = Some(value.into_owned()),
            "password" => credentials.token = Some(value.into_owned()),
            name => request.take(name, value.into_owned()),
        }
    }
    match header("content-encoding").as_deref() {
        None | Some("" | "identity") => {}
        Some("lz4") => request.body = Packing::Lz4Frame,
        Some(other) => {
            return Err(Exception::new(
                code::NOT_IMPLEMENTED,
                "NOT_IMPLEMENTED",
                &format!(
                    "Content-Encoding {other} is not known here; send lz4, identity, or decompress=1"
                ),
            ));
        }
    }
    Ok((request, credentials))
}

fn is_on(value: &str) -> bool {
    matches!(value, "1" | "true")
}

/// A header's text; one that is not text counts as absent.
pub fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(|value| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = hyper::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn parameters_are_sorted_out() {
        let uri = "/?query=SELECT+%7Ba:UInt8%7D&param_a=1&database=d&max_threads=2&session_id=x&compress=1&password=p&user=u&default_format=JSON&query_id=q";
        let (request, credentials) = read(&head("POST", uri, &[])).unwrap();
        assert_eq!(request.query, "SELECT {a:UInt8}");
        assert_eq!(request.parameters, [("a".to_owned(), "1".to_owned())]);
        assert_eq!(request.settings, [("max_threads".to_owned(), "2".to_owned())]);
        assert_eq!(request.database.as_deref(), Some("d"));
        assert_eq!((request.default_format.as_str(), request.query_id.as_str()), ("JSON", "q"));
        assert_eq!((request.answer, request.body), (Packing::Blocks, Packing::Plain));
        assert_eq!(
            (credentials.user.as_deref(), credentials.token.as_deref()),
            (Some("u"), Some("p"))
        );
        assert!(!request.reads_only);
    }

    #[test]
    fn bodies_that_cannot_be_read_are_refused() {
        let brotli = head("POST", "/", &[("content-encoding", "br")]);
        assert_eq!(read(&brotli).map(|_| ()).unwrap_err().code, 48);
        let (request, _) = read(&head("GET", "/?decompress=1", &[])).unwrap();
        assert!(request.reads_only && request.body == Packing::Blocks);
        let (request, _) = read(&head("POST", "/", &[("content-encoding", "lz4")])).unwrap();
        assert_eq!(request.body, Packing::Lz4Frame);
    }
}
