//! Which token a request carries, and how.

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};

/// A token as a request carries it. Nothing of it is verified.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Credential<'a> {
    /// In the session cookie: a browser, so CSRF must be thought of.
    Cookie(&'a str),
    /// In `Authorization: Bearer` (RFC 6750 §2.1): an API client.
    Bearer(&'a str),
}

impl core::fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Cookie(_) => "Cookie(not shown)",
            Self::Bearer(_) => "Bearer(not shown)",
        })
    }
}

/// A request that says two things at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// Two session cookies: one of them was planted.
    #[error("two session cookies")]
    TwoCookies,
    /// More than one Authorization header.
    #[error("two Authorization headers")]
    TwoAuthorizations,
}

impl<'a> Credential<'a> {
    /// Finds the token in a request's headers. When `Authorization` is there,
    /// of whatever scheme, the cookie is never consulted.
    ///
    /// # Errors
    /// [`CredentialError`] for a request that carries two.
    pub fn find(headers: &'a HeaderMap, cookie_name: &str) -> Result<Option<Self>, CredentialError> {
        let mut authorizations = headers.get_all(AUTHORIZATION).iter();
        if let Some(authorization) = authorizations.next() {
            if authorizations.next().is_some() {
                return Err(CredentialError::TwoAuthorizations);
            }
            return Ok(authorization.to_str().ok().and_then(bearer).map(Self::Bearer));
        }
        Ok(cookie(headers, cookie_name)?.map(Self::Cookie))
    }

    /// The token's text.
    #[must_use]
    pub const fn token(&self) -> &'a str {
        match self {
            Self::Cookie(token) | Self::Bearer(token) => token,
        }
    }
}

/// The value of the cookie of this name.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, CredentialError> {
    let mut found = None;
    // HTTP/2 may split the cookies over several headers (RFC 9113 §8.2.3).
    for header in headers.get_all(COOKIE) {
        // A header with a byte outside ASCII is some other cookie's doing;
        // ours is still looked for.
        let Ok(text) = core::str::from_utf8(header.as_bytes()) else { continue };
        for pair in text.split(';') {
            let Some((own, value)) = pair.split_once('=') else { continue };
            if own.trim() == name && found.replace(value.trim()).is_some() {
                return Err(CredentialError::TwoCookies);
            }
        }
    }
    Ok(found)
}

/// The scheme's name is case-insensitive (RFC 9110 §11.1).
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
