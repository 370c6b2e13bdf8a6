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
#[cfg_attr(not(feature = "server"), expect(dead_code, reason = "the login service sets it"))]
pub(crate) fn set_device(headers: &mut HeaderMap, value: &str, max_age: Duration) {
    let max_age = i64::try_from(max_age.as_secs()).unwrap_or(i64::MAX);
    let cookie = Cookie::build((DEVICE_COOKIE, value)).path("/").secure(true).http_only(true);
    // Log-in is a POST from our own page.
    let cookie = cookie.same_site(SameSite::Strict).max_age(time::Duration::seconds(max_age));
    append(headers, &cookie.build());
}

/// Makes the browser forget the session cookie.
pub(crate) fn clear(headers: &mut HeaderMap) {
    append(headers, &attributes("").max_age(time::Duration::ZERO).build());
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
