//! The original request, as described by the proxy that asks about it.
//!
//! These headers decide whether a request counts as safe. So this reads only
//! those of trusted proxies, and refuses anything ambiguous.

use http::header::HOST;
use http::{HeaderMap, HeaderName, Method, Uri};

use crate::http::navigation::is_own_path;

static ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
static ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");
static FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
static FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// A client's request as its proxy describes it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Original {
    pub(crate) method: Method,
    /// Host and port as the client sent them.
    host: Option<String>,
    /// Path and query as the client sent them.
    target: Option<String>,
}

/// A proxy's description that is ambiguous or can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unclear {
    #[error("the proxy did not say the original method; see docs/proxies.md for its configuration")]
    NoMethod,
    #[error("{0} is no such thing, or two headers disagree on it; let the proxy overwrite what clients send")]
    Ambiguous(&'static str),
}

impl Original {
    /// Reads the headers of `GET /verify` (nginx, Caddy, Traefik, HAProxy).
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<Self, Unclear> {
        let method = one(headers, [&ORIGINAL_METHOD, &FORWARDED_METHOD], "the method")?;
        let method = Method::from_bytes(method.ok_or(Unclear::NoMethod)?.as_bytes())
            .map_err(|_| Unclear::Ambiguous("the method"))?;
        // Used only for the browser's return after log-in.
        let target = one(headers, [&ORIGINAL_URI, &FORWARDED_URI], "the URI").unwrap_or_default();
        let host = match one(headers, [&FORWARDED_HOST], "the host")? {
            Some(host) => Some(host),
            None => one(headers, [&HOST], "the host")?,
        };
        Ok(Self { method, host: host.map(str::to_owned), target: target.map(str::to_owned) })
    }

    /// Reads the request itself, which kept its method, its host and, after a
    /// prefix, its path (Envoy). Here the headers are the client's own.
    pub(crate) fn from_request(method: &Method, target: &str, headers: &HeaderMap) -> Result<Self, Unclear> {
        let host = one(headers, [&HOST], "the host")?;
        Ok(Self { method: method.clone(), host: host.map(str::to_owned), target: Some(target.to_owned()) })
    }

    /// Returns the requested host as a URI, empty if it is not known.
    pub(crate) fn authority(&self) -> Uri {
        let uri = self.host.as_deref().map(|host| {
            Uri::builder().scheme("http").authority(host).path_and_query("/").build().unwrap_or_default()
        });
        uri.unwrap_or_default()
    }

    /// Returns where a browser comes back to after log-in: the requested path,
    /// or `/` for one that browsers would take for another host.
    pub(crate) fn return_to(&self) -> &str {
        self.target.as_deref().filter(|target| is_own_path(target)).unwrap_or("/")
    }
}

/// The parsed values, for the fuzz target.
#[cfg(fuzzing)]
pub(crate) fn forwarded(headers: &HeaderMap) -> Option<(String, Option<String>, String)> {
    let original = Original::from_headers(headers).ok()?;
    let host = original.authority().authority().map(ToString::to_string);
    Some((original.method.to_string(), host, original.return_to().to_owned()))
}

/// Returns the one value of these headers, if there is one.
fn one<'a, const N: usize>(
    headers: &'a HeaderMap,
    names: [&HeaderName; N],
    what: &'static str,
) -> Result<Option<&'a str>, Unclear> {
    let mut found = None;
    for value in names.into_iter().flat_map(|name| headers.get_all(name)) {
        let value = value.to_str().map_err(|_| Unclear::Ambiguous(what))?;
        // Some proxies send an empty header instead of none.
        if !value.is_empty() && found.replace(value).is_some_and(|other| other != value) {
            return Err(Unclear::Ambiguous(what));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn read(pairs: &[(&'static str, &'static str)]) -> Result<Original, Unclear> {
        Original::from_headers(&headers(pairs))
    }

    #[test]
    fn each_proxys_way_of_saying_it_is_read() {
        let wanted = Original {
            method: Method::POST,
            host: Some("a.example".to_owned()),
            target: Some("/x?y".to_owned()),
        };
        let nginx = [("x-original-method", "POST"), ("x-original-uri", "/x?y"), ("host", "a.example")];
        let caddy = [
            ("x-forwarded-method", "POST"),
            ("x-forwarded-uri", "/x?y"),
            ("x-forwarded-host", "a.example"),
            ("host", "127.0.0.1:8782"),
        ];
        assert_eq!(read(&nginx).as_ref(), Ok(&wanted));
        assert_eq!(read(&caddy).as_ref(), Ok(&wanted));
        // Envoy's client can set the other proxies' headers freely.
        let spoofed = headers(&[
            ("x-forwarded-method", "GET"),
            ("x-forwarded-host", "evil.example"),
            ("host", "a.example"),
        ]);
        assert_eq!(Original::from_request(&Method::POST, "/x?y", &spoofed), Ok(wanted));
    }

    #[test]
    fn what_is_unclear_is_refused() {
        assert_eq!(read(&[("host", "a.example")]), Err(Unclear::NoMethod));
        assert_eq!(read(&[("x-original-method", "")]), Err(Unclear::NoMethod));
        for pairs in [
            &[("x-original-method", "POST"), ("x-forwarded-method", "GET")][..],
            &[("x-original-method", "POST"), ("x-original-method", "GET")],
            &[("x-original-method", "P OST")],
            &[("x-original-method", "GET"), ("x-forwarded-host", "a"), ("x-forwarded-host", "b")],
        ] {
            assert!(matches!(read(pairs), Err(Unclear::Ambiguous(_))), "{pairs:?}");
        }
        // An ambiguous target is no error: only the return target depends on
        // it.
        for target in [&["/a", "/b"][..], &["/caf\u{e9}"]] {
            let mut headers = headers(&[("x-original-method", "GET")]);
            for (name, target) in ["x-original-uri", "x-forwarded-uri"].into_iter().zip(target) {
                headers.insert(name, http::HeaderValue::from_bytes(target.as_bytes()).unwrap());
            }
            assert_eq!(Original::from_headers(&headers).unwrap().return_to(), "/");
        }
    }

    #[test]
    fn log_in_leads_back_to_this_host_alone() {
        for (target, wanted) in [
            ("/a?b=c", "/a?b=c"),
            ("//evil.example/", "/"),
            ("/\\evil.example/", "/"),
            ("https://evil.example/", "/"),
            ("/a b", "/"),
            ("", "/"),
        ] {
            let original = Original::from_request(&Method::GET, target, &HeaderMap::new()).unwrap();
            assert_eq!(original.return_to(), wanted, "{target}");
        }
    }
}
