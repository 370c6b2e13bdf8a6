//! Cross-site request forgery: a request that a foreign page made the browser
//! send, with the cookie that the browser adds.
//!
//! The browser says where a request comes from (Fetch Metadata, `Sec-Fetch-Site`;
//! older ones, `Origin`), and no page can make it lie.

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Method, Uri};

/// A request that came from another site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request was made by a page of another site")]
pub struct CrossSite;

/// Whether a request of this method can change anything (RFC 9110 §9.2.1).
pub(crate) fn is_unsafe(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// Passes `Sec-Fetch-Site: same-origin` and `none` (typed or bookmarked). When
/// that is absent, `Origin` must be the host asked; with neither it is not a
/// browser and passes, since then no browser added a cookie.
pub(crate) fn check(headers: &HeaderMap, uri: &Uri) -> Result<(), CrossSite> {
    let passes = if let Some(site) = headers.get("sec-fetch-site") {
        site == "same-origin" || site == "none"
    } else if let Some(origin) = headers.get(ORIGIN) {
        let host = uri
            .authority()
            .map(http::uri::Authority::as_str)
            .or_else(|| headers.get(HOST).and_then(|host| host.to_str().ok()));
        host.is_some_and(|host| origin.to_str().is_ok_and(|origin| same_host(origin, host)))
    } else {
        true
    };
    if passes { Ok(()) } else { Err(CrossSite) }
}

/// Whether an origin (RFC 6454 §6.2) is of this host and port. The scheme is
/// not compared: behind a proxy that ends TLS it isn't known here.
fn same_host(origin: &str, host: &str) -> bool {
    let (default_port, authority) = match origin.split_once("://") {
        Some(("https", authority)) => (":443", authority),
        Some(("http", authority)) => (":80", authority),
        _ => return false,
    };
    let bare = |host: &str| host.strip_suffix(default_port).unwrap_or(host).to_ascii_lowercase();
    bare(authority) == bare(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(pairs: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        check(&headers, &Uri::from_static("/login")).is_ok()
    }

    #[test]
    fn only_the_own_origin_and_what_is_no_browser_pass() {
        for (pass, headers) in [
            (true, &[][..]),
            (true, &[("sec-fetch-site", "same-origin")]),
            (true, &[("sec-fetch-site", "none")]),
            (false, &[("sec-fetch-site", "same-site")]),
            (false, &[("sec-fetch-site", "cross-site")]),
            // What Sec-Fetch-Site says, Origin does not undo.
            (
                false,
                &[("sec-fetch-site", "cross-site"), ("host", "a.example"), ("origin", "https://a.example")],
            ),
            (true, &[("host", "a.example"), ("origin", "https://a.example")]),
            (true, &[("host", "a.example:443"), ("origin", "https://A.example")]),
            (true, &[("host", "localhost:8080"), ("origin", "http://localhost:8080")]),
            (false, &[("host", "localhost:8080"), ("origin", "http://localhost:8081")]),
            (false, &[("host", "a.example"), ("origin", "https://a.example.evil.example")]),
            (false, &[("host", "a.example"), ("origin", "null")]),
            (false, &[("origin", "https://a.example")]),
        ] {
            assert_eq!(verdict(headers), pass, "{headers:?}");
        }
    }
}
