//! Whose request it is: the peer's address, or what a trusted proxy says.

use hyper::header::{HeaderMap, HeaderName};
use std::net::{IpAddr, SocketAddr};

/// The client's address. Of a list the last counts: the trusted proxy wrote that one, the client
/// can have made up the others.
#[must_use]
pub fn client_address(
    headers: &HeaderMap,
    trusted: Option<&HeaderName>,
    peer: SocketAddr,
) -> IpAddr {
    let last = trusted
        .and_then(|name| headers.get_all(name).iter().next_back())
        .and_then(|value| value.to_str().ok())
        .and_then(|list| list.rsplit(',').next());
    let told = last.map(str::trim).and_then(|text| {
        let address = text.parse::<IpAddr>().ok();
        address.or_else(|| text.parse::<SocketAddr>().ok().map(|with_port| with_port.ip()))
    });
    told.unwrap_or(peer.ip()).to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn addresses() {
        let name = HeaderName::from_static("x-forwarded-for");
        let peer = SocketAddr::from(([127, 0, 0, 1], 5));
        let check = |values: &[&str], expected: &str| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(&name, HeaderValue::from_str(value).unwrap());
            }
            let got = client_address(&headers, Some(&name), peer);
            assert_eq!(got, expected.parse::<IpAddr>().unwrap(), "{values:?}");
            assert_eq!(client_address(&headers, None, peer), peer.ip());
        };
        check(&[], "127.0.0.1");
        check(&["192.0.2.1"], "192.0.2.1");
        check(&["203.0.113.9, 192.0.2.1"], "192.0.2.1");
        check(&["203.0.113.9", "192.0.2.1"], "192.0.2.1");
        check(&["192.0.2.1:443"], "192.0.2.1");
        check(&["[2001:db8::1]:443"], "2001:db8::1");
        check(&["::ffff:192.0.2.1"], "192.0.2.1");
        for nonsense in ["", "unknown", "192.0.2.1,"] {
            check(&[nonsense], "127.0.0.1");
        }
    }
}
