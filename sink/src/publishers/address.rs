//! Which addresses may be called: public ones, so that no publisher's URL (or what its name
//! resolves to a moment later) reaches into the network that this runs in.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const fn v4(a: u8, b: u8, c: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, 0), prefix)
}

/// IANA's special-purpose addresses that are not globally reachable, and multicast.
const NOT_PUBLIC_V4: [Ipv4Net; 15] = [
    v4(0, 0, 0, 8),
    v4(10, 0, 0, 8),
    v4(100, 64, 0, 10),
    v4(127, 0, 0, 8),
    // Link-local, and with it the clouds' metadata services.
    v4(169, 254, 0, 16),
    v4(172, 16, 0, 12),
    v4(192, 0, 0, 24),
    v4(192, 0, 2, 24),
    v4(192, 88, 99, 24),
    v4(192, 168, 0, 16),
    v4(198, 18, 0, 15),
    v4(198, 51, 100, 24),
    v4(203, 0, 113, 24),
    v4(224, 0, 0, 4),
    v4(240, 0, 0, 4),
];

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

/// Only these are given out for global unicast.
const PUBLIC_V6: Ipv6Net = v6(0x2000, 0, 0, 3);
/// Of those: protocol assignments with Teredo, documentation, 6to4 (which holds IPv4 addresses).
const NOT_PUBLIC_V6: [Ipv6Net; 4] =
    [v6(0x2001, 0, 0, 23), v6(0x2001, 0xdb8, 0, 32), v6(0x2002, 0, 0, 16), v6(0x3fff, 0, 0, 20)];
/// NAT64: the IPv4 address is in the last 32 bits.
const NAT64: Ipv6Net = v6(0x64, 0xff9b, 0, 96);

/// Whether an address may be called: it is public, or expressly allowed.
#[must_use]
pub fn may_call(address: IpAddr, allow: &[IpNet]) -> bool {
    allow.iter().any(|net| net.contains(&address.to_canonical()))
        || match address.to_canonical() {
            IpAddr::V4(address) => is_public_v4(address),
            IpAddr::V6(address) if NAT64.contains(&address) => {
                let [.., a, b, c, d] = address.octets();
                is_public_v4(Ipv4Addr::new(a, b, c, d))
            }
            IpAddr::V6(address) => {
                PUBLIC_V6.contains(&address)
                    && !NOT_PUBLIC_V6.iter().any(|net| net.contains(&address))
            }
        }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !NOT_PUBLIC_V4.iter().any(|net| net.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, expected: bool) {
        assert_eq!(may_call(address.parse().unwrap(), &[]), expected, "{address}");
    }

    #[test]
    fn public_addresses_only() {
        for address in ["8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.0", "172.32.0.1"] {
            check(address, true);
        }
        for address in
            ["2606:4700::1111", "2a00:1450:4001::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
        {
            check(address, true);
        }
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
        ] {
            check(address, false);
            check(&format!("::ffff:{address}"), false);
            check(&format!("64:ff9b::{address}"), false);
        }
        for address in [
            "::",
            "::1",
            "::127.0.0.1",
            "fe80::1",
            "febf::ffff",
            "fc00::1",
            "fd00:ec2::254",
            "fdff:ffff::1",
            "::ffff:0:127.0.0.1",
            "::ffff:a9fe:a9fe",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "fec0::1",
            "ff02::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "5f00::1",
            "64:ff9b:1::1",
            "64:ff9b:1::8.8.8.8",
        ] {
            check(address, false);
        }
    }

    #[test]
    fn what_is_allowed_is_called() {
        let allow = ["127.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        for (address, expected) in [
            ("127.0.0.1", true),
            ("::ffff:127.0.0.1", true),
            ("fd00::1", true),
            ("10.0.0.1", false),
            ("::1", false),
        ] {
            assert_eq!(may_call(address.parse().unwrap(), &allow), expected, "{address}");
        }
    }
}
