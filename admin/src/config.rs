//! What the admin role is told.

use service::ServiceError;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;
use url::Url;

/// The shortest token that is accepted.
pub const TOKEN_BYTES_MIN: usize = 16;
/// The largest request body: an apply.
pub const BODY_BYTES_MAX: usize = 8 << 20;
/// For the whole of a request's body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer of ClickHouse's that is taken; more is an error that says how to ask for less.
pub const RESULT_BYTES_MAX: usize = 256 << 20;
/// Queries to ClickHouse at once; a further one waits for its turn.
pub const QUERIES_AT_ONCE: usize = 8;
/// Exports at once; a further one is told to come again.
pub const EXPORTS_AT_ONCE: usize = 2;
/// The longest query of an export: one day of rows, as fast as its reader takes them.
pub const EXPORT_QUERY_TIMEOUT: Duration = Duration::from_secs(300);
/// What a caller is told to wait when ClickHouse is away or all places are taken.
pub const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Rows of one answer of ClickHouse's that is held whole.
pub const RESULT_ROWS_MAX: u64 = 1_000_000;
/// How long a decision by hand may take until it shows.
pub const DECISION_WAIT: Duration = Duration::from_secs(20);
/// How long an erasure may take until its caller is told that it is still under way.
pub const ERASURE_WAIT: Duration = Duration::from_secs(45);
/// How long an apply may take until this process sees it in force.
pub const APPLY_WAIT: Duration = Duration::from_secs(20);

/// How to reach ClickHouse.
#[derive(Clone, PartialEq, Eq)]
pub struct ClickHouse {
    /// `http://host:port`, without credentials.
    pub url: String,
    pub user: Option<String>,
    pub password: Option<String>,
    pub database: String,
}

impl fmt::Debug for ClickHouse {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClickHouse")
            .field("url", &self.url)
            .field("user", &self.user)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

/// Everything the admin role is told.
#[derive(Clone)]
pub struct AdminConfig {
    /// Loopback, unless the token is the user's own.
    pub listen: SocketAddr,
    /// Names that a `Host` header may carry beside those of loopback and the listening address.
    pub host_names: Vec<String>,
    /// What `Authorization: Bearer` must carry.
    pub token: String,
    /// The token is the user's own, not made on first run.
    pub token_chosen: bool,
    pub clickhouse: ClickHouse,
    /// How links are written: scheme, base domain and port, e.g. `https://example.com`.
    pub public_url: String,
    pub limits: QueryLimits,
}

/// What one question may cost before it ends with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryLimits {
    /// The longest query of a report, and the longest wait for the next piece of an export.
    pub timeout: Duration,
    /// Memory of one query in ClickHouse.
    pub memory_bytes: u64,
    /// How long the reader of an answer may take nothing before it is cut off.
    pub stall: Duration,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            memory_bytes: 1 << 30,
            stall: Duration::from_secs(60),
        }
    }
}

impl AdminConfig {
    /// Says what is wrong before anything is started.
    pub fn validate(&self) -> Result<PublicUrl, ServiceError> {
        let wrong = |reason: String| Err(ServiceError::Configuration(reason));
        if self.token.len() < TOKEN_BYTES_MIN {
            return wrong(format!(
                "the admin token is shorter than {TOKEN_BYTES_MIN} bytes; choose a longer one"
            ));
        }
        if !self.token.bytes().all(|b| b.is_ascii_graphic()) {
            return wrong(
                "the admin token holds characters that no HTTP header can carry; use letters, \
                 digits and punctuation"
                    .to_owned(),
            );
        }
        if !self.listen.ip().is_loopback() && !self.token_chosen {
            return wrong(format!(
                "the admin API would listen on {} with a token that nobody chose; set one with \
                 --admin-token-file or GOKART_ADMIN_TOKEN, or listen on 127.0.0.1",
                self.listen
            ));
        }
        PublicUrl::parse(&self.public_url)
    }
}

impl fmt::Debug for AdminConfig {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminConfig")
            .field("listen", &self.listen)
            .field("host_names", &self.host_names)
            .field("token_chosen", &self.token_chosen)
            .field("clickhouse", &self.clickhouse)
            .field("public_url", &self.public_url)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// How the outside world reaches the ingesters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    scheme: String,
    /// Base domain, with the port when there is one.
    base: String,
}

impl PublicUrl {
    fn parse(text: &str) -> Result<Self, ServiceError> {
        let wrong = |why: &str| {
            ServiceError::Configuration(format!(
                "--public-url {text:?} {why}; write e.g. https://example.com or \
                 http://localhost:8080"
            ))
        };
        let url = Url::parse(text).map_err(|_| wrong("is not a URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("is neither http nor https"));
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("is more than scheme, domain and port"));
        }
        let host = url.host_str().ok_or_else(|| wrong("has no domain"))?;
        let base = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Ok(Self { scheme: url.scheme().to_owned(), base })
    }

    /// `api.<tenant>.<base domain>[:port]`.
    #[must_use]
    pub fn host_of(&self, tenant: &str) -> String {
        format!("api.{tenant}.{}", self.base)
    }

    /// A link to a tenant's host; `path` begins with a slash.
    #[must_use]
    pub fn link(&self, tenant: &str, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.host_of(tenant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> AdminConfig {
        AdminConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            host_names: Vec::new(),
            token: "0123456789abcdef".to_owned(),
            token_chosen: false,
            clickhouse: ClickHouse {
                url: "http://127.0.0.1:1".to_owned(),
                user: None,
                password: Some("hunter2".to_owned()),
                database: "gokart".to_owned(),
            },
            public_url: "http://localhost:8080".to_owned(),
            limits: QueryLimits::default(),
        }
    }

    fn check(config: &AdminConfig, expected: Option<&str>) {
        let found = config.validate().err();
        if let Some(error) = &found {
            assert_eq!(error.exit_code(), 78);
        }
        let found = found.map(|error| error.to_string());
        match (&found, expected) {
            (None, None) => {}
            (Some(found), Some(expected)) => assert!(found.contains(expected), "{found}"),
            _ => panic!("{found:?}, not {expected:?}"),
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        check(&config(), None);
        check(&AdminConfig { token: "short".to_owned(), ..config() }, Some("shorter"));
        check(&AdminConfig { token: "0123456789 abcdef".to_owned(), ..config() }, Some("header"));
        let open = AdminConfig { listen: SocketAddr::from(([0, 0, 0, 0], 0)), ..config() };
        check(&open, Some("nobody chose"));
        check(&AdminConfig { token_chosen: true, ..open }, None);
        for (url, why) in [
            ("example.com", "is not a URL"),
            ("ftp://x", "neither http"),
            ("http://x/y", "more than"),
        ] {
            check(&AdminConfig { public_url: url.to_owned(), ..config() }, Some(why));
        }
        assert!(!format!("{:?}", config()).contains("hunter2"));
    }

    #[test]
    fn links_name_the_tenant() {
        let url = config().validate().unwrap();
        assert_eq!(url.link("brownboots", "/c/x"), "http://api.brownboots.localhost:8080/c/x");
        let url = PublicUrl::parse("https://getgokart.ai").unwrap();
        assert_eq!(url.host_of("brownboots"), "api.brownboots.getgokart.ai");
    }
}
