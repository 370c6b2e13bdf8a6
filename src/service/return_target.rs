//! Where browsers may be sent: paths of the host itself, listed origins.

use url::Url;

/// Longest path with query that log-in leads back to, in bytes.
const MAX_PATH: usize = 2048;

/// Whether this is a path of the host itself, to every browser.
pub(crate) fn is_own_path(target: &str) -> bool {
    let mut bytes = target.bytes();
    target.len() <= MAX_PATH
        && bytes.next() == Some(b'/')
        && bytes.next() != Some(b'/')
        && target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

/// Whether routes can be under it: nothing, or like `/.hallpass`.
pub(crate) fn is_base_path(path: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
    path.is_empty() || (is_own_path(path) && !path.ends_with('/') && path.chars().all(plain))
}

/// Whether this is an origin like `https://app.example` (RFC 6454 §6.2).
pub(crate) fn is_origin(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| url.origin().ascii_serialization() == text)
}

/// Whether this is a URL of one of these origins, and nothing that a person
/// could take for another: no user name in it.
pub(crate) fn is_of(origins: &[String], target: &str) -> bool {
    Url::parse(target).is_ok_and(|url| {
        url.username().is_empty()
            && url.password().is_none()
            && origins.contains(&url.origin().ascii_serialization())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_paths_and_origins_are_plain() {
        assert!(is_base_path("") && is_base_path("/.hallpass"));
        for wrong in ["x", "/", "/x/", "//x", "/a b", "/a?b", "/{x}"] {
            assert!(!is_base_path(wrong), "{wrong}");
        }
        assert!(is_origin("https://a.example") && is_origin("http://localhost:8080"));
        for wrong in ["https://a.example/", "a.example", "https://A.example", "https://a.example:443"] {
            assert!(!is_origin(wrong), "{wrong}");
        }
    }
}
