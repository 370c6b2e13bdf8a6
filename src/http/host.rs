//! The host that a request names.

use std::net::IpAddr;

use http::uri::Authority;
use http::{HeaderMap, Uri, header};

/// The host with its port, from the URI or the `Host` header; `None` if there is
/// none, if there are two, or if URI and header disagree (RFC 9112 §3.2).
pub(crate) fn named_host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let mut named = headers.get_all(header::HOST).iter();
    let header = match (named.next(), named.next()) {
        (None, _) => None,
        (Some(one), None) => Some(one.to_str().ok()?),
        (Some(_), Some(_)) => return None,
    };
    match (uri.authority().map(Authority::as_str), header) {
        (Some(uri), Some(header)) if !uri.eq_ignore_ascii_case(header) => None,
        (uri, header) => uri.or(header),
    }
}

/// A host without its port, and an IPv6 address without its brackets; `None` if
/// it is not a host.
pub(crate) fn without_port(host: &str) -> Option<String> {
    let authority: Authority = host.parse().ok()?;
    if authority.as_str().contains('@') {
        return None;
    }
    let name = authority.host();
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    (!name.is_empty()).then(|| name.to_ascii_lowercase())
}

/// Returns whether a host, with or without a port, is this machine:
/// `localhost`, 127.0.0.0/8 or `[::1]`.
pub(crate) fn is_loopback(host: &str) -> bool {
    without_port(host).is_some_and(|name| {
        name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_few_names() {
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1", "127.9.9.9:8080", "[::1]", "[::1]:443"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "a.localhost",
            "localhost.a.example",
            "localhost@a.example",
            "a@localhost",
            "128.0.0.1",
            "::1",
            "[::2]",
            "localhost:80:80",
            "127.0.0.1.a.example",
            "local host",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn two_hosts_are_none() {
        let ask = |uri: &str, hosts: &[&str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, host.parse().unwrap());
            }
            named_host(&uri.parse().unwrap(), &headers).map(str::to_owned)
        };
        assert_eq!(ask("/", &["a:1"]).as_deref(), Some("a:1"));
        assert_eq!(ask("http://a:1/", &["A:1"]).as_deref(), Some("a:1"));
        assert_eq!(ask("http://a:1/", &[]).as_deref(), Some("a:1"));
        for (uri, hosts) in [("/", &[][..]), ("/", &["a", "a"]), ("/", &["a", "b"]), ("http://b/", &["a"])] {
            assert_eq!(ask(uri, hosts), None, "{uri} {hosts:?}");
        }
    }
}
