//! Recognises navigations: requests of a person for a page.

use http::header::ACCEPT;
use http::{HeaderMap, Method};

/// Returns whether a browser navigates to a page, so that the answer can lead
/// to log-in (Fetch Metadata, `Sec-Fetch-Mode`; for older browsers, an `Accept`
/// of HTML).
pub(crate) fn is_navigation(method: &Method, headers: &HeaderMap) -> bool {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return false;
    }
    match headers.get("sec-fetch-mode") {
        Some(mode) => mode == "navigate",
        None => headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|accept| accept.to_str().ok())
            .any(|accept| accept.split([',', ';']).any(|kind| kind.trim() == "text/html")),
    }
}

/// Longest return target, path and query, in bytes.
#[cfg(any(feature = "server", fuzzing))]
const MAX_PATH: usize = 2048;

/// Returns whether every browser reads this as a path of the same host.
#[cfg(any(feature = "server", fuzzing))]
pub(crate) fn is_own_path(target: &str) -> bool {
    let mut bytes = target.bytes();
    target.len() <= MAX_PATH
        && bytes.next() == Some(b'/')
        && bytes.next() != Some(b'/')
        && target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_navigation_is_a_person_who_waits() {
        for (wanted, pairs) in [
            (true, &[("sec-fetch-mode", "navigate"), ("accept", "*/*")][..]),
            (false, &[("sec-fetch-mode", "cors"), ("accept", "text/html")]),
            (true, &[("accept", "text/html,*/*;q=0.8")]),
            (false, &[("accept", "application/json")]),
            (false, &[]),
        ] {
            assert_eq!(is_navigation(&Method::GET, &headers(pairs)), wanted, "{pairs:?}");
        }
        assert!(!is_navigation(&Method::POST, &headers(&[("sec-fetch-mode", "navigate")])));
    }
}
