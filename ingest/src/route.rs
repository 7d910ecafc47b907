//! Where a request wants to go: its host and its path. People paste both, so white space, case,
//! doubled and encoded slashes make no difference.

use hyper::header::{HOST, HeaderMap};
use hyper::{Uri, Version};
use percent_encoding::percent_decode_str;

/// What a path asks for.
#[derive(Clone, PartialEq, Eq)]
pub enum Route {
    /// `/api/v1/…`: what stands after it, empty pieces left out. Secret when it is right.
    Postback(Vec<String>),
    /// `/c/<share code>`.
    Click(String),
    Other,
}

/// Reads a path.
#[must_use]
pub fn route(path: &str) -> Route {
    // Nothing that we gave out holds anything but ASCII: what does not decode matches nothing.
    let path = percent_decode_str(path).decode_utf8_lossy();
    let mut pieces = path.split('/').map(str::trim).filter(|piece| !piece.is_empty());
    match (pieces.next(), pieces.next()) {
        (Some("api"), Some("v1")) => Route::Postback(pieces.map(str::to_owned).collect()),
        (Some("c"), Some(share)) if pieces.next().is_none() => Route::Click(share.to_owned()),
        _ => Route::Other,
    }
}

/// The host that was asked for, in lower case, without port and final dot. None when it is
/// missing, given twice or malformed (RFC 9112, 3.2: that is a 400). HTTP/2 names it in its
/// `:authority`, and may do without the field (RFC 9113, 8.3.1).
#[must_use]
pub fn host(version: Version, uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let mut fields = headers.get_all(HOST).iter();
    let field = match (fields.next(), fields.next()) {
        (Some(field), None) => field.to_str().ok()?.trim(),
        (None, None) if version == Version::HTTP_2 => "",
        _ => return None,
    };
    // A request in absolute form names the host itself; the field is ignored then.
    let authority = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => field,
    };
    host_of(authority)
}

fn host_of(authority: &str) -> Option<String> {
    let (host, port) = if authority.starts_with('[') {
        let end = authority.find(']')? + 1;
        authority[1..end - 1].parse::<std::net::Ipv6Addr>().ok()?;
        authority.split_at(end)
    } else {
        authority.split_at(authority.find(':').unwrap_or(authority.len()))
    };
    let port_is_fine = port.is_empty()
        || port[1..].bytes().all(|byte| byte.is_ascii_digit()) && port.starts_with(':');
    let is_name = |host: &str| {
        host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
    };
    let host_is_fine = !host.is_empty() && (host.starts_with('[') || is_name(host));
    (port_is_fine && host_is_fine).then(|| host.trim_end_matches('.').to_ascii_lowercase())
}

/// The tenant's label in `api.<tenant>.<base domain>`.
#[must_use]
pub fn tenant_label<'h>(host: &'h str, base_domains: &[String]) -> Option<&'h str> {
    let rest = host.strip_prefix("api.")?;
    let label =
        base_domains.iter().find_map(|base| rest.strip_suffix(base.as_str())?.strip_suffix('.'))?;
    (!label.is_empty() && !label.contains('.')).then_some(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[track_caller]
    fn check(path: &str, expected: Route) {
        assert!(route(path) == expected, "{path}");
    }

    #[test]
    fn paths() {
        let postback =
            |pieces: &[&str]| Route::Postback(pieces.iter().map(|p| (*p).to_owned()).collect());
        for same in [
            "/api/v1/a/b/c",
            "/api/v1/a/b/c/",
            "//api//v1/a//b/c//",
            "/api/v1/a%2Fb%2fc%2F",
            "/api/v1/%20a%20/%09b/c%0A/",
            "/%61pi/v1/a/b/c",
        ] {
            check(same, postback(&["a", "b", "c"]));
        }
        check("/api/v1", postback(&[]));
        check("/api/v1/a/b", postback(&["a", "b"]));
        check("/api/v1/a/b/c/d", postback(&["a", "b", "c", "d"]));
        check("/api/v1/%FF", postback(&["\u{fffd}"]));
        check("/c/share-1", Route::Click("share-1".into()));
        check("/c//share-1%20/", Route::Click("share-1".into()));
        for other in ["/", "", "*", "/c", "/c/a/b", "/api", "/api/v2/a/b/c", "/API/v1/a", "/x"] {
            check(other, Route::Other);
        }
    }

    #[test]
    fn hosts() {
        let check = |uri: &str, fields: &[&str], expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(HOST, HeaderValue::from_str(field).unwrap());
            }
            assert_eq!(
                host(Version::HTTP_11, &uri.parse().unwrap(), &headers).as_deref(),
                expected,
                "{uri} {fields:?}"
            );
        };
        check("/", &["API.BrownBoots.GetGokart.ai:443"], Some("api.brownboots.getgokart.ai"));
        check("/", &["api.t.localhost."], Some("api.t.localhost"));
        check("/", &["127.0.0.1:8080"], Some("127.0.0.1"));
        check("/", &["[::1]:8080"], Some("[::1]"));
        check("/", &["a:"], Some("a"));
        check("http://api.t.localhost:1/x", &["elsewhere"], Some("api.t.localhost"));
        for wrong in ["", ":80", "a b", "u@a", "a:x", "a/b", "[::1", "[x]", "[::1]x", "a,b"] {
            check("/", &[wrong], None);
        }
        check("/", &[], None);
        check("/", &["a", "a"], None);
        check("http://a/", &[], None);
        check("http://u@a/", &["a"], None);
        let over_http2 =
            |uri: &str| host(Version::HTTP_2, &uri.parse().unwrap(), &HeaderMap::new());
        assert_eq!(over_http2("https://A:443/x").as_deref(), Some("a"));
        assert_eq!(over_http2("/x"), None);
    }

    #[test]
    fn tenants() {
        let bases = ["localhost".to_owned(), "getgokart.ai".to_owned()];
        let check = |host, expected| assert_eq!(tenant_label(host, &bases), expected, "{host}");
        check("api.brownboots.getgokart.ai", Some("brownboots"));
        check("api.brownboots.localhost", Some("brownboots"));
        for none in [
            "brownboots.getgokart.ai",
            "api.getgokart.ai",
            "api..getgokart.ai",
            "api.a.b.getgokart.ai",
            "api.brownboots.example.com",
            "api.brownbootsgetgokart.ai",
            "localhost",
            "[::1]",
        ] {
            check(none, None);
        }
    }
}
