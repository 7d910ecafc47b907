//! Where to connect. Load goes to this machine only, unless the user says that it may leave.

use anyhow::{Context, Result, ensure};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// The address of an authority (`host` or `host:port`). `localhost` and everything below it is this
/// machine (RFC 6761, 6.3), without asking anybody.
pub fn address_of(authority: &str, tls: bool, allow_remote: bool) -> Result<SocketAddr> {
    let (host, port) = split(authority, if tls { HTTPS_PORT } else { HTTP_PORT })?;
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let address = if let Ok(ip) = literal {
        SocketAddr::new(ip, port)
    } else if is_localhost(host) {
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)
    } else {
        ensure!(
            allow_remote,
            "{host} may not be this machine; name this machine's address with --connect, or allow \
             another one with --allow-remote"
        );
        (host, port)
            .to_socket_addrs()
            .with_context(|| format!("{host} has no address"))?
            .next()
            .with_context(|| format!("{host} has no address"))?
    };
    check(address, allow_remote)
}

/// Lets an address pass when it is this machine's or when others are allowed.
pub fn check(address: SocketAddr, allow_remote: bool) -> Result<SocketAddr> {
    ensure!(
        allow_remote || address.ip().to_canonical().is_loopback(),
        "{address} is not this machine; add --allow-remote if load may go there"
    );
    Ok(address)
}

fn is_localhost(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

fn split(authority: &str, default: u16) -> Result<(&str, u16)> {
    match authority.rsplit_once(':') {
        // In an IPv6 literal without a port the last colon is inside the brackets.
        Some((host, port)) if !port.ends_with(']') => {
            let port = port.parse().ok().with_context(|| format!("{port:?} is not a port"))?;
            Ok((host, port))
        }
        _ => Ok((authority, default)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_without_being_told_otherwise() {
        let cases = [
            ("127.0.0.1:8080", Some("127.0.0.1:8080")),
            ("localhost", Some("127.0.0.1:80")),
            ("API.brownboots.LOCALHOST:8080", Some("127.0.0.1:8080")),
            ("[::1]:8080", Some("[::1]:8080")),
            ("[::1]", Some("[::1]:80")),
            ("notlocalhost:8080", None),
            ("api.brownboots.getgokart.ai", None),
            ("192.0.2.1:8080", None),
            ("[::ffff:192.0.2.1]:80", None),
            ("localhost:http", None),
        ];
        for (authority, expected) in cases {
            let address = address_of(authority, false, false).ok().map(|it| it.to_string());
            assert_eq!(address.as_deref(), expected, "{authority}");
        }
        assert!(address_of("192.0.2.1:8080", false, true).is_ok());
        assert_eq!(address_of("localhost", true, false).unwrap().port(), HTTPS_PORT);
    }
}
