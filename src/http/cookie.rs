//! The session cookie, and what every response that sets one must say.

use std::time::Duration;

use cookie::{Cookie, SameSite};
use http::header::{CACHE_CONTROL, SET_COOKIE, VARY};
use http::{HeaderMap, HeaderValue};

/// The session cookie's name. The prefix makes browsers insist on Secure,
/// Path=/ and no Domain (draft-ietf-httpbis-rfc6265bis §4.1.3.2).
pub const SESSION_COOKIE: &str = "__Host-session";

/// The name of the cookie by which log-in knows a device again.
pub(crate) const DEVICE_COOKIE: &str = "__Host-device";

/// Sets the session cookie. Whoever caches this response gives one person's
/// session to another, so the response says that nobody may.
pub(crate) fn set(headers: &mut HeaderMap, token: &str, max_age: Duration) {
    // Beyond 2^63 seconds no browser keeps anything.
    let max_age = i64::try_from(max_age.as_secs()).unwrap_or(i64::MAX);
    append(headers, &attributes(token).max_age(time::Duration::seconds(max_age)).build());
}

/// Sets the device cookie. It says who logged in here and gives nothing to who
/// has it, but it is nobody else's either.
pub(crate) fn set_device(headers: &mut HeaderMap, value: &str, max_age: Duration) {
    let max_age = i64::try_from(max_age.as_secs()).unwrap_or(i64::MAX);
    let cookie = Cookie::build((DEVICE_COOKIE, value)).path("/").secure(true).http_only(true);
    // Log-in is a POST from our own page.
    let cookie = cookie.same_site(SameSite::Strict).max_age(time::Duration::seconds(max_age));
    append(headers, &cookie.build());
}

/// Puts a renewed token into a response of some service: unless that sets the
/// session cookie itself (it logs out, say), and whatever it said of caching.
#[cfg(feature = "sync")]
pub(crate) fn renew(headers: &mut HeaderMap, token: &str, max_age: Duration) {
    let is_ours = |value: &HeaderValue| {
        let name = value.as_bytes().split(|byte| *byte == b'=').next().unwrap_or_default();
        name.trim_ascii() == SESSION_COOKIE.as_bytes()
    };
    if headers.get_all(SET_COOKIE).iter().any(is_ours) {
        return;
    }
    // RFC 9213 and its precursors: to some caches these say more than
    // Cache-Control does.
    let targeted: Vec<_> = headers
        .keys()
        .filter(|name| {
            let name = name.as_str();
            name.ends_with("cdn-cache-control") || name == "surrogate-control" || name == "x-accel-expires"
        })
        .cloned()
        .collect();
    for name in targeted {
        headers.remove(name);
    }
    headers.remove(http::header::EXPIRES);
    set(headers, token, max_age);
}

/// Makes the browser forget the session cookie.
pub(crate) fn clear(headers: &mut HeaderMap) {
    append(headers, &attributes("").max_age(time::Duration::ZERO).build());
}

/// Sets another cookie than the session's, which no link from elsewhere sends.
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

/// Lax and not Strict, so that a link from elsewhere finds its user logged in;
/// what Lax lets through is safe methods only, and CSRF is checked besides.
fn attributes(value: &str) -> cookie::CookieBuilder<'_> {
    Cookie::build((SESSION_COOKIE, value)).path("/").secure(true).http_only(true).same_site(SameSite::Lax)
}

fn append(headers: &mut HeaderMap, cookie: &Cookie<'_>) {
    // A token is base64url, so this never fails; if it did, no cookie is set.
    if let Ok(mut value) = HeaderValue::try_from(cookie.to_string()) {
        value.set_sensitive(true);
        headers.append(SET_COOKIE, value);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    vary_on_cookie(headers);
}

/// Adds `Cookie` to Vary, whatever is there already.
pub(crate) fn vary_on_cookie(headers: &mut HeaderMap) {
    let listed = headers.get_all(VARY).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').any(|name| name.trim() == "*" || name.trim().eq_ignore_ascii_case("cookie"))
    });
    if !listed {
        headers.append(VARY, HeaderValue::from_static("Cookie"));
    }
}
