//! Who may ask: the bearer of the token, under a name of this machine's. The name matters because
//! a page in a browser can reach loopback too, under a name that leads there (DNS rebinding).

use crate::error::Error;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HOST};
use std::net::{IpAddr, SocketAddr};
use subtle::ConstantTimeEq;

/// What a request must bring.
#[derive(Clone)]
pub struct Access {
    token: String,
    host_names: Vec<String>,
    listen: SocketAddr,
}

impl Access {
    #[must_use]
    pub fn new(token: &str, host_names: &[String], listen: SocketAddr) -> Self {
        let host_names = host_names.iter().map(|name| name.to_ascii_lowercase()).collect();
        Self { token: token.to_owned(), host_names, listen }
    }

    /// Whether the request is addressed to us.
    pub fn check_host(&self, headers: &HeaderMap) -> Result<(), Error> {
        let mut fields = headers.get_all(HOST).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else {
            return Err(Error::ForbiddenHost);
        };
        let name = field.to_str().ok().and_then(host_name).ok_or(Error::ForbiddenHost)?;
        let address = name.trim_matches(['[', ']']).parse::<IpAddr>().ok();
        let ours = match address {
            Some(address) => address.is_loopback() || address == self.listen.ip(),
            None => name == "localhost" || name.ends_with(".localhost"),
        };
        if ours || self.host_names.contains(&name) { Ok(()) } else { Err(Error::ForbiddenHost) }
    }

    /// Whether the request carries the token. Takes the same time wherever a wrong one differs.
    pub fn check_token(&self, headers: &HeaderMap) -> Result<(), Error> {
        let given = headers
            .get(AUTHORIZATION)
            .and_then(|field| field.to_str().ok())
            .and_then(|field| field.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map_or("", |(_, token)| token.trim());
        if bool::from(given.as_bytes().ct_eq(self.token.as_bytes())) {
            Ok(())
        } else {
            Err(Error::Unauthorized)
        }
    }
}

/// The name in a `Host` header, without its port, in lower case.
fn host_name(field: &str) -> Option<String> {
    let field = field.trim();
    let end = match field.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => field.find(':').unwrap_or(field.len()),
    };
    let (name, port) = field.split_at(end);
    let port_is_fine = match port.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_digit()),
        None => port.is_empty(),
    };
    (port_is_fine && !name.is_empty()).then(|| name.trim_end_matches('.').to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn access() -> Access {
        let hosts = ["Admin.Example.com".to_owned()];
        Access::new("0123456789abcdef", &hosts, SocketAddr::from(([10, 0, 0, 5], 8081)))
    }

    #[test]
    fn hosts() {
        let check = |host: &str, expected: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_str(host).unwrap());
            assert_eq!(access().check_host(&headers).is_ok(), expected, "{host}");
        };
        for ours in [
            "localhost",
            "LOCALHOST:8081",
            "127.0.0.1:1",
            "127.8.9.1",
            "[::1]:8081",
            "10.0.0.5",
            "admin.example.com",
            "admin.example.com.:443",
            "a.localhost",
        ] {
            check(ours, true);
        }
        for other in [
            "",
            "example.com",
            "evil.com:8081",
            "10.0.0.6",
            "localhost:x",
            "[::1",
            "[::2]",
            "127.0.0.1.evil.com",
        ] {
            check(other, false);
        }
        assert!(access().check_host(&HeaderMap::new()).is_err());
    }

    #[test]
    fn tokens() {
        let check = |field: Option<&str>, expected: bool| {
            let mut headers = HeaderMap::new();
            if let Some(field) = field {
                headers.insert(AUTHORIZATION, HeaderValue::from_str(field).unwrap());
            }
            assert_eq!(access().check_token(&headers).is_ok(), expected, "{field:?}");
        };
        check(Some("Bearer 0123456789abcdef"), true);
        check(Some("bearer  0123456789abcdef"), true);
        check(None, false);
        check(Some("0123456789abcdef"), false);
        check(Some("Basic 0123456789abcdef"), false);
        check(Some("Bearer 0123456789abcdeg"), false);
        check(Some("Bearer "), false);
    }
}
