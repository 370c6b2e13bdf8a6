//! The session cookie, and the headers of a response that sets one.

use std::sync::Arc;
use std::time::Duration;

use cookie::{Cookie, SameSite};
use http::header::{CACHE_CONTROL, SET_COOKIE, VARY};
use http::{HeaderMap, HeaderValue};

use crate::error::ConfigError;

/// The session cookie's name. With this prefix browsers require Secure, Path=/ and no
/// Domain (draft-ietf-httpbis-rfc6265bis §4.1.3.2).
pub const SESSION_COOKIE: &str = "__Host-session";

/// Its name for a whole domain. With this prefix browsers require only Secure
/// (§4.1.3.1).
const DOMAIN_COOKIE: &str = "__Secure-session";

/// The session cookie: its name and its hosts. The login service and the edges must
/// agree on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionCookie {
    /// `None`: only the host that set it.
    domain: Option<Arc<str>>,
}

impl SessionCookie {
    /// `__Host-session`, which stays on its host: the default.
    #[must_use]
    pub const fn host_only() -> Self {
        Self { domain: None }
    }

    /// `__Secure-session`, which goes to a domain like `example.com` and all its
    /// hosts. This loses the protection of `__Host-`: each of these hosts can read,
    /// overwrite and plant the token, so one compromised host compromises all.
    ///
    /// # Errors
    /// [`ConfigError::Builder`] if it is not a lower-case domain name of at least two
    /// labels.
    pub fn of_domain(domain: &str) -> Result<Self, ConfigError> {
        let label = |label: &str| {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            !label.is_empty() && label.len() <= 63 && label.chars().all(plain) && !label.starts_with('-')
        };
        // The last label of an IPv4 address is a number, that of a domain is not.
        let top = domain.rsplit('.').next().unwrap_or_default();
        let numeric = top.starts_with(|c: char| c.is_ascii_digit());
        if domain.len() > 253 || !domain.contains('.') || numeric || !domain.split('.').all(label) {
            return Err(ConfigError::Builder(
                "a cookie's domain is a name in lower case like \"example.com\"",
            ));
        }
        Ok(Self { domain: Some(domain.into()) })
    }

    /// Returns the cookie's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self.domain {
            None => SESSION_COOKIE,
            Some(_) => DOMAIN_COOKIE,
        }
    }

    /// Sets it, and forbids caching: a cached response would give one person's session
    /// to another.
    pub(crate) fn set(&self, headers: &mut HeaderMap, token: &str, max_age: Duration) {
        // No browser keeps a cookie longer than 2^63 seconds.
        let max_age = i64::try_from(max_age.as_secs()).unwrap_or(i64::MAX);
        append(headers, &self.attributes(token).max_age(time::Duration::seconds(max_age)).build());
    }

    /// Deletes it from the browser.
    pub(crate) fn clear(&self, headers: &mut HeaderMap) {
        append(headers, &self.attributes("").max_age(time::Duration::ZERO).build());
    }

    /// Lax and not Strict, so that a link from another site finds the user logged in.
    /// Lax passes only safe methods, and CSRF is checked as well.
    fn attributes<'a>(&'a self, value: &'a str) -> cookie::CookieBuilder<'a> {
        let cookie = Cookie::build((self.name(), value)).path("/").secure(true).http_only(true);
        let cookie = cookie.same_site(SameSite::Lax);
        match &self.domain {
            None => cookie,
            Some(domain) => cookie.domain(&**domain),
        }
    }

    /// Adds a renewed token to a response, unless the response sets the session cookie
    /// itself, as a log-out does. Overrides its caching headers.
    #[cfg(feature = "sync")]
    pub(crate) fn renew(&self, headers: &mut HeaderMap, token: &str, max_age: Duration) {
        let is_ours = |value: &HeaderValue| {
            let name = value.as_bytes().split(|byte| *byte == b'=').next().unwrap_or_default();
            name.trim_ascii() == self.name().as_bytes()
        };
        if headers.get_all(SET_COOKIE).iter().any(is_ours) {
            return;
        }
        // RFC 9213 and its precursors: some caches prefer these to Cache-Control.
        let targeted: Vec<_> = headers
            .keys()
            .filter(|name| {
                let name = name.as_str();
                name.ends_with("cdn-cache-control")
                    || name == "surrogate-control"
                    || name == "x-accel-expires"
            })
            .cloned()
            .collect();
        for name in targeted {
            headers.remove(name);
        }
        headers.remove(http::header::EXPIRES);
        self.set(headers, token, max_age);
    }
}

/// The name of the cookie by which log-in recognizes a device.
pub(crate) const DEVICE_COOKIE: &str = "__Host-device";

/// Sets the device cookie. It grants no access, but it names an account, so it is kept
/// private.
pub(crate) fn set_device(headers: &mut HeaderMap, value: &str, max_age: Duration) {
    let max_age = i64::try_from(max_age.as_secs()).unwrap_or(i64::MAX);
    let cookie = Cookie::build((DEVICE_COOKIE, value)).path("/").secure(true).http_only(true);
    // Log-in is a POST from our own page.
    let cookie = cookie.same_site(SameSite::Strict).max_age(time::Duration::seconds(max_age));
    append(headers, &cookie.build());
}

/// Sets a cookie that is not the session's, and is not sent for links from other sites.
#[cfg(feature = "server")]
pub(crate) fn set_strict(headers: &mut HeaderMap, name: &str, value: &str, max_age: Duration) {
    let max_age = i64::try_from(max_age.as_secs()).unwrap_or(i64::MAX);
    append(headers, &strict(name, value).max_age(time::Duration::seconds(max_age)).build());
}

/// Makes the browser forget it.
#[cfg(feature = "server")]
pub(crate) fn clear_strict(headers: &mut HeaderMap, name: &str) {
    append(headers, &strict(name, "").max_age(time::Duration::ZERO).build());
}

#[cfg(feature = "server")]
fn strict<'a>(name: &'a str, value: &'a str) -> cookie::CookieBuilder<'a> {
    Cookie::build((name, value)).path("/").secure(true).http_only(true).same_site(SameSite::Strict)
}

fn append(headers: &mut HeaderMap, cookie: &Cookie<'_>) {
    // A token is base64url, so this never fails.
    if let Ok(mut value) = HeaderValue::try_from(cookie.to_string()) {
        value.set_sensitive(true);
        headers.append(SET_COOKIE, value);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    vary_on_cookie(headers);
}

/// Adds `Cookie` to Vary.
pub(crate) fn vary_on_cookie(headers: &mut HeaderMap) {
    let listed = headers.get_all(VARY).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').any(|name| name.trim() == "*" || name.trim().eq_ignore_ascii_case("cookie"))
    });
    if !listed {
        headers.append(VARY, HeaderValue::from_static("Cookie"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_for_one_host_or_for_a_domain() {
        let set = |cookie: &SessionCookie| {
            let mut headers = HeaderMap::new();
            cookie.set(&mut headers, "T", Duration::from_mins(1));
            headers[SET_COOKIE].to_str().unwrap().to_owned()
        };
        let attributes = "; HttpOnly; SameSite=Lax; Secure; Path=/";
        assert_eq!(set(&SessionCookie::host_only()), format!("__Host-session=T{attributes}; Max-Age=60"));
        let domain = SessionCookie::of_domain("example.com").unwrap();
        assert_eq!(set(&domain), format!("__Secure-session=T{attributes}; Domain=example.com; Max-Age=60"));
        for text in [
            "",
            "com",
            "example.com.",
            ".example.com",
            "Example.com",
            "127.0.0.1",
            "a b.c",
            "x.com;",
            "x.com:1",
            "-a.com",
        ] {
            assert!(SessionCookie::of_domain(text).is_err(), "{text:?}");
        }
    }
}
