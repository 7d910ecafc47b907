//! Who may ask: two tokens, and the names a `Host` header may carry.

use crate::engine::Access;
use crate::exception::{Exception, code};
use crate::request::{Credentials, text};
use base64::Engine as _;
use hyper::HeaderMap;
use std::net::SocketAddr;
use subtle::ConstantTimeEq;

/// The user who may read; any other name that is accepted is `default`.
const READER: &str = "reader";

/// The two tokens.
pub struct Tokens {
    pub read: String,
    pub write: String,
}

impl Tokens {
    /// What the bearer of these credentials may do. `reader` only reads, whatever the token.
    pub fn judge(&self, credentials: &Credentials) -> Result<Access, Exception> {
        let user = credentials.user.as_deref().unwrap_or("default");
        let Some(token) = credentials.token.as_deref().filter(|token| !token.is_empty()) else {
            return Err(Exception::new(
                code::REQUIRED_PASSWORD,
                "REQUIRED_PASSWORD",
                "a token is wanted, as the password, X-ClickHouse-Key or Authorization: Bearer",
            ));
        };
        // Both are compared whatever the first says, so that time tells nothing.
        let writes = bool::from(token.as_bytes().ct_eq(self.write.as_bytes()));
        let reads = bool::from(token.as_bytes().ct_eq(self.read.as_bytes()));
        match (writes, reads, user) {
            (true, _, "default" | "") => Ok(Access::Write),
            (true, _, READER) | (_, true, "default" | "" | READER) => Ok(Access::Read),
            _ => Err(Exception::new(
                code::AUTHENTICATION_FAILED,
                "AUTHENTICATION_FAILED",
                "Authentication failed: token is incorrect, or there is no user with such name",
            )),
        }
    }
}

/// Credentials from headers: ClickHouse's own, `Basic`, or `Bearer`.
pub fn from_headers(headers: &HeaderMap) -> Result<Credentials, Exception> {
    let mut found = Credentials {
        user: text(headers, "x-clickhouse-user"),
        token: text(headers, "x-clickhouse-key"),
    };
    let Some(authorization) = text(headers, "authorization") else { return Ok(found) };
    let malformed = || {
        Exception::new(
            code::AUTHENTICATION_FAILED,
            "AUTHENTICATION_FAILED",
            "the Authorization header is neither Basic nor Bearer",
        )
    };
    let (scheme, value) = authorization.split_once(' ').ok_or_else(malformed)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        found.token = Some(value.trim().to_owned());
    } else if scheme.eq_ignore_ascii_case("basic") {
        let plain = base64::engine::general_purpose::STANDARD.decode(value.trim());
        let plain = plain.ok().and_then(|plain| String::from_utf8(plain).ok());
        let plain = plain.ok_or_else(malformed)?;
        let (user, token) = plain.split_once(':').ok_or_else(malformed)?;
        (found.user, found.token) = (Some(user.to_owned()), Some(token.to_owned()));
    } else {
        return Err(malformed());
    }
    Ok(found)
}

/// Whether a request was meant for this server: a page in a browser can make a name of its own
/// point to loopback, but it cannot change the `Host` header.
#[must_use]
pub fn is_host_allowed(host: Option<&str>, local: SocketAddr, configured: &[String]) -> bool {
    let Some(host) = host else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let is_local = |name: &str| {
        name.eq_ignore_ascii_case("localhost")
            || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip == local.ip())
    };
    is_local(name) || configured.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_users() {
        let tokens = Tokens { read: "r".repeat(16), write: "w".repeat(16) };
        let (read, write) = (tokens.read.as_str(), tokens.write.as_str());
        let cases = [
            (None, Some(write), Ok(Access::Write)),
            (Some("default"), Some(write), Ok(Access::Write)),
            (Some("reader"), Some(write), Ok(Access::Read)),
            (Some("reader"), Some(read), Ok(Access::Read)),
            (None, Some(read), Ok(Access::Read)),
            (Some("root"), Some(write), Err(516)),
            (None, Some("x"), Err(516)),
            (None, Some(""), Err(194)),
            (Some("default"), None, Err(194)),
        ];
        for (user, token, expected) in cases {
            let credentials =
                Credentials { user: user.map(str::to_owned), token: token.map(str::to_owned) };
            assert_eq!(
                tokens.judge(&credentials).map_err(|error| error.code),
                expected,
                "{user:?} {token:?}"
            );
        }
    }

    #[test]
    fn headers_carry_credentials() {
        let cases = [
            ("authorization", "Bearer abc", None, Some("abc")),
            ("authorization", "Basic dTpwOnE=", Some("u"), Some("p:q")),
            ("x-clickhouse-key", "abc", None, Some("abc")),
            ("x-clickhouse-user", "u", Some("u"), None),
        ];
        for (name, value, user, token) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            let found = from_headers(&headers).unwrap();
            assert_eq!((found.user.as_deref(), found.token.as_deref()), (user, token), "{value}");
        }
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Digest x".parse().unwrap());
        assert_eq!(from_headers(&headers).map(|_| ()).unwrap_err().code, 516);
    }

    #[test]
    fn hosts() {
        let local = "127.0.0.1:8123".parse().unwrap();
        let configured = ["warehouse.internal".to_owned()];
        let cases = [
            (Some("127.0.0.1:8123"), true),
            (Some("localhost"), true),
            (Some("LOCALHOST:1"), true),
            (Some("[::1]:8123"), true),
            (Some("warehouse.internal:8123"), true),
            (Some("evil.example"), false),
            (Some("127.0.0.1.evil.example"), false),
            (Some(""), false),
            (None, false),
        ];
        for (host, expected) in cases {
            assert_eq!(is_host_allowed(host, local, &configured), expected, "{host:?}");
        }
    }
}
