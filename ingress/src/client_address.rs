//! The client's IP address behind trusted proxies, safe against spoofing.
//!
//! Each proxy appends the address that called it, so the list is read from the
//! right: trusted proxies are skipped, the first other address is the client.
//! Everything to its left was written by the client and is ignored.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;
use regimen_common::config::Env;

/// The headers in which proxies forward client addresses.
const FORWARDING: [HeaderName; 3] = [
    HeaderName::from_static("x-forwarded-for"),
    header::FORWARDED,
    HeaderName::from_static("x-real-ip"),
];
/// More hops than any real chain; the rest is ignored.
const MAX_HOPS: usize = 32;

/// The client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// The unit by which addresses are counted: an IPv4 address, or an IPv6 /64, which one
/// subscriber commonly gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddressGroup(IpAddr);

impl std::fmt::Display for AddressGroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl ClientAddress {
    /// The unit of this address.
    pub fn group(self) -> AddressGroup {
        AddressGroup(match self.0.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
            }
        })
    }
}

/// The header in which our proxies write the client's address. Only that one is read: the
/// other may have been passed through from the client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, what most proxies set.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl FromStr for ForwardedHeader {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "x-forwarded-for" => Ok(Self::XForwardedFor),
            "forwarded" => Ok(Self::Forwarded),
            _ => Err("must be x-forwarded-for or forwarded"),
        }
    }
}

/// The trusted proxies.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    header: ForwardedHeader,
}

impl TrustedProxies {
    /// Trusts the given networks to write `header`.
    pub fn new(networks: Vec<IpNet>, header: ForwardedHeader) -> Self {
        Self { networks, header }
    }

    /// Reads `TRUSTED_PROXIES` (addresses or CIDRs) and `FORWARDED_HEADER`.
    pub fn from_env(env: &mut Env) -> Self {
        let mut networks = Vec::new();
        for text in env.list("TRUSTED_PROXIES") {
            let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            match network {
                Ok(network) => {
                    if network.prefix_len() == 0 {
                        let found = format!("{text} trusts everybody, who may then be anybody");
                        env.warn("TRUSTED_PROXIES", found, "name the proxies' own networks");
                    }
                    networks.push(network);
                }
                Err(_) => env.error("TRUSTED_PROXIES", format!("{text} is no address or CIDR")),
            }
        }
        Self::new(networks, env.or("FORWARDED_HEADER", ForwardedHeader::default()))
    }

    /// The client's address, from the connection's peer and the header.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> ClientAddress {
        let mut client = peer.to_canonical();
        for hop in self.hops_from_the_right(headers) {
            if !self.trust(client) {
                break;
            }
            match hop {
                Some(address) => client = address.to_canonical(),
                // An unreadable hop: the proxy that wrote it is the last known address.
                None => break,
            }
        }
        ClientAddress(client)
    }

    /// Whether `peer` forwards client addresses without being a trusted proxy: then all
    /// its clients count as one.
    pub fn undeclared(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        !self.trust(peer.to_canonical()) && FORWARDING.iter().any(|name| headers.contains_key(name))
    }

    fn trust(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    fn hops_from_the_right(&self, headers: &HeaderMap) -> Vec<Option<IpAddr>> {
        let (name, address): (HeaderName, fn(&str) -> Option<IpAddr>) = match self.header {
            ForwardedHeader::XForwardedFor => (HeaderName::from_static("x-forwarded-for"), node),
            ForwardedHeader::Forwarded => (header::FORWARDED, forwarded_for),
        };
        let lines: Vec<_> = headers.get_all(name).iter().collect();
        let lines = lines.into_iter().rev().map(HeaderValue::as_bytes);
        // Each hop is read by itself: a client may have begun the line with anything.
        let hops = lines.flat_map(|line| line.rsplit(|byte| *byte == b',')).take(MAX_HOPS);
        hops.map(|hop| str::from_utf8(hop).ok().and_then(address)).collect()
    }
}

/// The `for` parameter of one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut parameters = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    node(value.trim().trim_matches('"'))
}

/// An address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]:80`.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split_once(']')?.0.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    text.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: &str = "10.0.0.1";

    fn client_by(header: &str, peer: &str, lines: &[impl AsRef<[u8]>]) -> String {
        let networks = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
        let proxies = TrustedProxies::new(networks.to_vec(), header.parse().unwrap());
        let mut headers = HeaderMap::new();
        let name: HeaderName = header.parse().unwrap();
        for line in lines {
            headers.append(name.clone(), HeaderValue::from_bytes(line.as_ref()).unwrap());
        }
        proxies.client(peer.parse().unwrap(), &headers).0.to_string()
    }

    fn client(peer: &str, lines: &[&str]) -> String {
        client_by("x-forwarded-for", peer, lines)
    }

    #[test]
    fn a_stranger_is_not_believed() {
        assert_eq!(client("198.51.100.7", &["203.0.113.9"]), "198.51.100.7");
        assert_eq!(client("198.51.100.7", &["10.0.0.1"]), "198.51.100.7");
        assert_eq!(client("198.51.100.7", &[]), "198.51.100.7");
    }

    #[test]
    fn a_stranger_that_forwards_is_noticed() {
        let proxies =
            TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()], ForwardedHeader::default());
        let undeclared = |peer: &str, name: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static("203.0.113.9"));
            proxies.undeclared(peer.parse().unwrap(), &headers)
        };
        for name in ["x-forwarded-for", "forwarded", "x-real-ip"] {
            assert!(undeclared("192.0.2.1", name), "{name}");
            assert!(!undeclared("10.1.2.3", name), "{name}");
            assert!(!undeclared("::ffff:10.1.2.3", name), "{name}");
        }
        assert!(!undeclared("192.0.2.1", "via"));
    }

    #[test]
    fn the_rightmost_hop_that_is_not_ours_is_the_client() {
        assert_eq!(client(PROXY, &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(client(PROXY, &["1.1.1.1, 203.0.113.9, 10.0.0.2"]), "203.0.113.9");
        assert_eq!(client(PROXY, &["1.1.1.1", "203.0.113.9"]), "203.0.113.9");
        assert_eq!(client(PROXY, &["127.0.0.1, 10.9.9.9, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(client(PROXY, &["10.0.0.5, 10.0.0.6"]), "10.0.0.5");
    }

    #[test]
    fn garbage_ends_the_search() {
        assert_eq!(client(PROXY, &["1.1.1.1, unknown"]), PROXY);
        assert_eq!(client(PROXY, &["1.1.1.1, , 10.0.0.2"]), "10.0.0.2");
        assert_eq!(client(PROXY, &["1.1.1.1, 203.0.113.9x"]), PROXY);
    }

    #[test]
    fn what_a_client_wrote_hides_nothing_that_proxies_wrote() {
        let client = |header, line: &[u8]| client_by(header, PROXY, &[line]);
        assert_eq!(client("x-forwarded-for", b"\xff, 203.0.113.9"), "203.0.113.9");
        assert_eq!(client("forwarded", b"for=\xff, for=203.0.113.9"), "203.0.113.9");
        assert_eq!(client("forwarded", b"for=\", for=203.0.113.9, for=10.0.0.2"), "203.0.113.9");
        assert_eq!(client("x-forwarded-for", b"203.0.113.9, \xff"), PROXY);
        assert_eq!(client("x-forwarded-for", b"\xff, 10.0.0.2"), "10.0.0.2");
    }

    #[test]
    fn ports_brackets_and_mapped_addresses_are_read() {
        assert_eq!(client(PROXY, &["203.0.113.9:4711"]), "203.0.113.9");
        assert_eq!(client(PROXY, &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(client(PROXY, &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(client("::ffff:10.0.0.1", &["::ffff:203.0.113.9"]), "203.0.113.9");
    }

    #[test]
    fn only_the_configured_header_counts() {
        let line = "for=1.1.1.1, For=\"[2001:db8::1]:80\";proto=https;by=10.0.0.9";
        assert_eq!(client_by("forwarded", PROXY, &[line]), "2001:db8::1");
        assert_eq!(client_by("forwarded", PROXY, &["proto=https"]), PROXY);
        let mut headers = HeaderMap::new();
        headers.insert("forwarded", HeaderValue::from_static("for=1.1.1.1"));
        let proxies =
            TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()], ForwardedHeader::default());
        assert_eq!(proxies.client(PROXY.parse().unwrap(), &headers).0.to_string(), PROXY);
    }
}
