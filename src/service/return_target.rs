//! Allowed redirect targets: paths of the host itself, and listed origins.

use url::Url;

use crate::http::Origin;
use crate::http::navigation::is_own_path;

/// Returns whether this is a valid base path: empty, or like `/.hallpass`.
pub(crate) fn is_base_path(path: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
    path.is_empty() || (is_own_path(path) && !path.ends_with('/') && path.chars().all(plain))
}

/// Where a browser may be sent: paths of the host itself, and URLs of listed
/// origins.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReturnTargets(Vec<Origin>);

impl ReturnTargets {
    pub(crate) const fn new(origins: Vec<Origin>) -> Self {
        Self(origins)
    }

    /// Returns the target if it is allowed, else `otherwise`.
    pub(crate) fn or<'a>(&self, target: Option<&'a str>, otherwise: &'a str) -> &'a str {
        target.filter(|target| self.allows(target)).unwrap_or(otherwise)
    }

    /// Returns whether the target is allowed. A URL with a user name is not,
    /// since a person could take it for another host.
    pub(crate) fn allows(&self, target: &str) -> bool {
        if is_own_path(target) {
            return true;
        }
        // Refuse URLs that browsers and servers read differently.
        target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
            && Url::parse(target).is_ok_and(|url| {
                let origin = url.origin().ascii_serialization();
                url.username().is_empty()
                    && url.password().is_none()
                    && self.0.iter().any(|allowed| allowed.as_str() == origin)
            })
    }
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
    }

    #[test]
    fn browsers_go_to_paths_and_listed_origins() {
        let targets = ReturnTargets::new(vec!["https://app.example".parse().unwrap()]);
        for (allowed, target) in [
            (true, "/x?y=z"),
            (true, "https://app.example/x"),
            (false, "https://app.example:444/x"),
            (false, "http://app.example/x"),
            (false, "https://app.example.evil.example/"),
            (false, "https://app.example@evil.example/"),
            (false, "https://u:p@app.example/"),
            (false, "//app.example/"),
            (false, "/\\evil.example"),
            (false, "/x y"),
            (false, "https:\\\\app.example/"),
            (false, "javascript:alert(1)"),
        ] {
            assert_eq!(targets.allows(target), allowed, "{target}");
        }
    }
}
