//! Protection against cross-site request forgery: requests that another site's page
//! makes the browser send, with the user's cookie.
//!
//! The browser states where a request comes from (Fetch Metadata, `Sec-Fetch-Site`;
//! older browsers, `Origin`), and no page can forge this.

use http::header::{HOST, ORIGIN, UPGRADE};
use http::{HeaderMap, Method, Uri};

use crate::http::origin::Origin;

/// A request that came from another site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request was made by a page of another site")]
pub struct CrossSite;

/// Returns whether this method is unsafe: it can change something (RFC 9110 §9.2.1).
pub(crate) fn is_unsafe(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// Returns whether the request opens a WebSocket. Another site's page can open one
/// with the user's cookies and read from it, so this GET is checked like an unsafe
/// request (RFC 6455 §10.2).
///
/// Proxies remove `Upgrade`, and HTTP/2 has neither that nor a key (RFC 8441 §5), but
/// the version is always present. No page can remove or set these headers.
pub(crate) fn opens_web_socket(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
        || headers.contains_key("sec-websocket-key")
        || headers.contains_key("sec-websocket-version")
        || headers.get("sec-fetch-mode").is_some_and(|mode| mode == "websocket")
}

/// Passes only the host's own pages: [`Origins::check`].
pub(crate) fn check(headers: &HeaderMap, uri: &Uri) -> Result<(), CrossSite> {
    Origins::default().check(headers, uri)
}

/// The other origins whose pages may send unsafe requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins(Vec<Origin>);

impl Origins {
    /// Also passes pages of this origin.
    pub(crate) fn allow(&mut self, origin: Origin) {
        self.0.push(origin);
    }

    /// Passes `Sec-Fetch-Site: same-origin` and `none` (typed or bookmarked).
    /// Without it, `Origin` must be the requested host. With neither header the client
    /// is not a browser, and passes, since no browser added a cookie. An allowed
    /// `Origin` always passes.
    pub(crate) fn check(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), CrossSite> {
        let mut origins = headers.get_all(ORIGIN).iter();
        let origin = origins.next();
        // A browser sends each header once.
        if origins.next().is_some() || headers.get_all("sec-fetch-site").iter().nth(1).is_some() {
            return Err(CrossSite);
        }
        let passes = origin
            .is_some_and(|origin| self.0.iter().any(|own| own.as_str().as_bytes() == origin.as_bytes()))
            || if let Some(site) = headers.get("sec-fetch-site") {
                site == "same-origin" || site == "none"
            } else if let Some(origin) = origin {
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
}

/// Returns whether an origin (RFC 6454 §6.2) has this host and port. The scheme is
/// not compared: behind a TLS-terminating proxy it is unknown here.
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

    fn verdict_of(origins: &Origins, pairs: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        origins.check(&headers, &Uri::from_static("/login")).is_ok()
    }

    fn verdict(pairs: &[(&'static str, &'static str)]) -> bool {
        verdict_of(&Origins::default(), pairs)
    }

    #[test]
    fn an_allowed_origin_is_compared_exactly() {
        let mut origins = Origins::default();
        origins.allow("https://app.example".parse().unwrap());
        origins.allow("http://localhost:3000".parse().unwrap());
        for (pass, origin) in [
            (true, "https://app.example"),
            (true, "http://localhost:3000"),
            (false, "http://app.example"),
            (false, "https://app.example:8443"),
            (false, "https://app.example:443"),
            (false, "https://APP.example"),
            (false, "https://app.example."),
            (false, "https://app.example.evil.example"),
            (false, "https://evil-app.example"),
            (false, "https://x.app.example"),
            (false, "https://app.example/"),
            (false, "https://app.example, https://app.example"),
            (false, "http://localhost"),
            (false, "http://localhost:30000"),
            (false, "null"),
            (false, ""),
        ] {
            for site in ["same-site", "cross-site"] {
                assert_eq!(
                    verdict_of(&origins, &[("sec-fetch-site", site), ("origin", origin)]),
                    pass,
                    "{origin}"
                );
            }
            assert_eq!(
                verdict_of(&origins, &[("host", "api.example"), ("origin", origin)]),
                pass,
                "{origin}"
            );
        }
        // The page said who it is, or the browser did not say.
        assert!(!verdict_of(&origins, &[("sec-fetch-site", "cross-site")]));
        assert!(!verdict_of(
            &origins,
            &[("origin", "https://app.example"), ("origin", "https://evil.example")]
        ));
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
            // Nor what is said twice.
            (false, &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")]),
            (false, &[("sec-fetch-site", "same-origin, cross-site")]),
            (false, &[("sec-fetch-site", "")]),
        ] {
            assert_eq!(verdict(headers), pass, "{headers:?}");
        }
    }
}
