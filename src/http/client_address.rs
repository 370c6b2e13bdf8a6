//! The client's address: the peer's, or the one a trusted proxy reports.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use http::{HeaderMap, HeaderName, Request};
use ipnet::IpNet;

use crate::error::ConfigError;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Longest chain of proxies, in addresses.
const MAX_HOPS: usize = 32;

/// The proxies whose `X-Forwarded-*` headers are trusted. Those headers of other peers
/// are ignored.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Box<[IpNet]>);

impl TrustedProxies {
    /// Trusts no proxy.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Trusts proxies at these addresses or networks, like `10.0.0.7` or
    /// `10.0.0.0/8`.
    ///
    /// # Errors
    /// [`ConfigError::Network`] for one that is neither.
    pub fn new<'a>(networks: impl IntoIterator<Item = &'a str>) -> Result<Self, ConfigError> {
        let parse = |text: &str| {
            text.parse::<IpNet>()
                .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| ConfigError::Network(text.to_owned()))
        };
        networks.into_iter().map(parse).collect::<Result<_, _>>().map(Self)
    }

    /// Returns whether the proxy at this address is trusted.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Returns the client's address: the peer's, unless that is a trusted proxy. Then
    /// `X-Forwarded-For` is read from the right, where trusted proxies wrote, up to
    /// the first untrusted address. The client may have forged everything left of it.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if !self.contains(client) {
            return client;
        }
        let lines: Vec<&str> =
            headers.get_all(&X_FORWARDED_FOR).iter().map(|line| line.to_str().unwrap_or("?")).collect();
        for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')).take(MAX_HOPS) {
            // A trusted proxy writes only valid addresses.
            let Some(address) = address(hop.trim()) else { break };
            client = address;
            if !self.contains(client) {
                break;
            }
        }
        client
    }

    /// Returns the client's address, if the server gave the peer's.
    pub(crate) fn client_of<B>(&self, request: &Request<B>) -> Option<IpAddr> {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
        Some(self.client(peer.0.ip(), request.headers()))
    }
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.parse::<IpAddr>().ok();
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare().or_else(bracketed).or_else(with_port).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &[&str], peer: &str, lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&X_FORWARDED_FOR, line.parse().unwrap());
        }
        let proxies = TrustedProxies::new(trusted.iter().copied()).unwrap();
        proxies.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn the_header_is_read_from_the_right_through_trusted_proxies() {
        let lan = &["10.0.0.0/8", "::1"][..];
        for (trusted, peer, lines, expected) in [
            // Not from a proxy: its headers are ignored.
            (lan, "192.0.2.1", &["198.51.100.1"][..], "192.0.2.1"),
            (&[], "127.0.0.1", &["198.51.100.1"], "127.0.0.1"),
            (lan, "10.0.0.1", &[], "10.0.0.1"),
            (lan, "10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            // jobseek#3219: what the client wrote is on the left.
            (lan, "10.0.0.1", &["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            (lan, "10.0.0.1", &["1.1.1.1", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            (lan, "10.0.0.1", &["nonsense, 10.0.0.2"], "10.0.0.2"),
            (lan, "10.0.0.1", &["1.1.1.1,"], "10.0.0.1"),
            (lan, "10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (lan, "::1", &["[2001:db8::1]:443"], "2001:db8::1"),
            (lan, "::1", &["[2001:db8::1]"], "2001:db8::1"),
            (lan, "::ffff:10.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1"),
            (lan, "10.0.0.1", &["198.51.100.1:5000"], "198.51.100.1"),
        ] {
            assert_eq!(client(trusted, peer, lines), expected, "{trusted:?} {peer} {lines:?}");
        }
        let chain = vec!["10.0.0.9"; 100].join(",");
        assert_eq!(client(lan, "10.0.0.1", &["1.1.1.1", &chain]), "10.0.0.9", "a long chain is cut");
    }

    #[test]
    fn a_network_that_is_none_is_a_configuration_error() {
        for text in ["", "10.0.0.0/33", "proxy.example", "10.0.0"] {
            assert!(TrustedProxies::new([text]).is_err(), "{text:?}");
        }
    }
}
