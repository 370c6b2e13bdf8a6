//! Finds the token of a request.

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};

/// A request's token, unverified.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credential<'a> {
    /// In the session cookie: from a browser, so CSRF must be checked.
    Cookie(&'a str),
    /// In `Authorization: Bearer` (RFC 6750 §2.1): an API client.
    Bearer(&'a str),
    /// In `Authorization: DPoP` (RFC 9449 §7.1): an API client with a key, whose
    /// proof is in the header `DPoP`.
    Dpop(&'a str),
}

impl core::fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Cookie(_) => "Cookie(not shown)",
            Self::Bearer(_) => "Bearer(not shown)",
            Self::Dpop(_) => "Dpop(not shown)",
        })
    }
}

/// A request with two credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// Two session cookies: one was planted.
    #[error("two session cookies")]
    TwoCookies,
    /// More than one Authorization header.
    #[error("two Authorization headers")]
    TwoAuthorizations,
}

impl<'a> Credential<'a> {
    /// Finds the token in a request's headers. With an `Authorization` header of any
    /// scheme, the cookie is ignored.
    ///
    /// # Errors
    /// [`CredentialError`] for a request that carries two.
    pub fn find(headers: &'a HeaderMap, cookie_name: &str) -> Result<Option<Self>, CredentialError> {
        let mut authorizations = headers.get_all(AUTHORIZATION).iter();
        if let Some(authorization) = authorizations.next() {
            if authorizations.next().is_some() {
                return Err(CredentialError::TwoAuthorizations);
            }
            return Ok(authorization.to_str().ok().and_then(Self::authorization));
        }
        // A value that is not UTF-8 is not a token.
        Ok(cookie(headers, cookie_name)?.map(Self::Cookie))
    }

    /// The scheme's name is case-insensitive (RFC 9110 §11.1).
    fn authorization(value: &'a str) -> Option<Self> {
        let (scheme, token) = value.split_once(' ')?;
        let token = token.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            Some(Self::Bearer(token))
        } else if scheme.eq_ignore_ascii_case("dpop") {
            Some(Self::Dpop(token))
        } else {
            None
        }
    }

    /// Returns the token's text.
    #[must_use]
    pub const fn token(&self) -> &'a str {
        match self {
            Self::Cookie(token) | Self::Bearer(token) | Self::Dpop(token) => token,
        }
    }
}

/// Returns the value of the cookie with this name, if it is UTF-8. Other cookies may
/// contain any bytes.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, CredentialError> {
    let mut found = None;
    // HTTP/2 may split the cookies over several headers (RFC 9113 §8.2.3).
    for header in headers.get_all(COOKIE) {
        let mut rest = header.as_bytes();
        while !rest.is_empty() {
            let (pair, after) = split(rest);
            rest = after;
            if let Some(value) = value_of(pair, name)
                && found.replace(value).is_some()
            {
                return Err(CredentialError::TwoCookies);
            }
        }
    }
    Ok(found.and_then(|value| core::str::from_utf8(value).ok()))
}

/// The first of the cookies, and those after its semicolon.
///
/// It mostly scans a token, so it scans 32 bytes at a time, which compiles to a few
/// vector instructions.
fn split(cookies: &[u8]) -> (&[u8], &[u8]) {
    let (blocks, _) = cookies.as_chunks::<32>();
    let has_end = |block: &[u8; 32]| block.iter().map(|&byte| u8::from(byte == b';')).sum::<u8>() > 0;
    let passed = 32 * blocks.iter().take_while(|block| !has_end(block)).count();
    let end = cookies[passed..].iter().position(|&byte| byte == b';');
    match end {
        Some(end) => (&cookies[..passed + end], &cookies[passed + end + 1..]),
        None => (cookies, &[]),
    }
}

/// The value, if this is the cookie of that name.
fn value_of<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let after = pair.trim_ascii_start().strip_prefix(name.as_bytes())?;
    after.trim_ascii_start().strip_prefix(b"=").map(<[u8]>::trim_ascii)
}
