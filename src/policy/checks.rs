//! The checks after the signature, in the order of [`Reason`](crate::Reason).

use std::time::Duration;

use super::lifetimes::Lifetimes;
use crate::error::Rejection;
use crate::id::KeyId;
use crate::revocation::{FeedLifetimes, RevocationList};
use crate::time::UnixTime;
use crate::wire::claims::Claims;

/// What to do when the revocation list is stale, and so may lack an entry. No
/// default accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StalePolicy {
    /// Refuse everything once the list's signed time is older than a token's
    /// max age, as the feed states it, but at least 30 s; 15 minutes if it
    /// doesn't.
    RefuseAfterMaxAge,
    /// Refuse everything once the list's signed time is older than this.
    RefuseAfter(Duration),
    /// Accept: this process fills the list itself, so it is never stale.
    NeverStale,
}

impl StalePolicy {
    /// The issuer signs the feed again every few seconds, and it takes time to
    /// arrive.
    const LEAST: Duration = Duration::from_secs(30);

    /// Returns the greatest age of a list that is not stale.
    pub(crate) fn bound(self, lifetimes: Option<FeedLifetimes>) -> Option<Duration> {
        match self {
            Self::RefuseAfterMaxAge => {
                let max_age = lifetimes.map(|lifetimes| lifetimes.token_max_age);
                Some(max_age.unwrap_or(Lifetimes::DEFAULT_TOKEN_MAX_AGE).max(Self::LEAST))
            }
            Self::RefuseAfter(bound) => Some(bound),
            Self::NeverStale => None,
        }
    }
}

/// Where an edge gets revocations from.
#[derive(Clone, Debug)]
pub(crate) enum Revocations {
    /// Nowhere, by choice: a log-out takes effect when the token expires.
    Unknown,
    /// From this list.
    Known { list: RevocationList, stale: StalePolicy },
}

/// The checks of a verified token.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) issuer: Option<Box<str>>,
    pub(crate) audience: Option<Box<str>>,
    pub(crate) leeway: Duration,
    pub(crate) revocations: Revocations,
}

impl Policy {
    /// Checks issuer, audience, times and revocation.
    pub(crate) fn admit(&self, key_id: KeyId, claims: &Claims, now: UnixTime) -> Result<(), Rejection> {
        self.for_us(claims)?;
        self.in_time(claims, now)?;
        self.not_revoked(key_id, claims, now)
    }

    /// The same for a ticket, which may be for one path. Paths are compared byte
    /// by byte; the caller decodes and resolves them first.
    pub(crate) fn admit_ticket(
        &self,
        key_id: KeyId,
        claims: &Claims,
        path: &str,
        now: UnixTime,
    ) -> Result<(), Rejection> {
        self.for_us(claims)?;
        if let Some(expected) = claims.path().filter(|expected| *expected != path) {
            // The path narrows the audience.
            let whole = |path: &str| format!("{} {path}", claims.audience().unwrap_or_default()).into();
            return Err(Rejection::WrongAudience {
                expected: Some(whole(path)),
                found: Some(whole(expected)),
            });
        }
        self.in_time(claims, now)?;
        self.not_revoked(key_id, claims, now)
    }

    /// The same for a token that may have expired, in a session that has not
    /// ended.
    #[cfg(feature = "sync")]
    pub(crate) fn admit_expired(
        &self,
        key_id: KeyId,
        claims: &Claims,
        now: UnixTime,
    ) -> Result<(), Rejection> {
        self.for_us(claims)?;
        self.in_session(claims, now)?;
        self.not_revoked(key_id, claims, now)
    }

    /// Checks issuer and audience.
    pub(crate) fn for_us(&self, claims: &Claims) -> Result<(), Rejection> {
        is_for(claims, self.issuer.as_deref(), self.audience.as_deref())
    }

    /// Checks that the list is fresh, and that it revokes nothing of this token.
    pub(crate) fn not_revoked(&self, key_id: KeyId, claims: &Claims, now: UnixTime) -> Result<(), Rejection> {
        let Revocations::Known { list, stale } = &self.revocations else { return Ok(()) };
        // Both checks use one snapshot of the list, even if it is replaced meanwhile.
        let list = list.current();
        if let Some(bound) = stale.bound(list.lifetimes()) {
            let as_of = list.as_of();
            if as_of.is_none_or(|as_of| now.since(as_of) > bound) {
                return Err(Rejection::RevocationsStale { as_of, now });
            }
        }
        let session = &claims.session;
        match list.check(&session.session_id, claims.subject(), key_id, session.started) {
            None => Ok(()),
            Some(by) => Err(Rejection::Revoked { by }),
        }
    }

    fn in_time(&self, claims: &Claims, now: UnixTime) -> Result<(), Rejection> {
        self.in_session(claims, now)?;
        let expires_at = claims.expires;
        // The leeway applies to both ends. At the second of expiry plus leeway the
        // token is expired (RFC 8392 §3.1.4: "on or after which the CWT MUST NOT be
        // accepted").
        if now >= expires_at.saturating_add(self.leeway) {
            return Err(Rejection::Expired { expires_at, now });
        }
        Ok(())
    }

    fn in_session(&self, claims: &Claims, now: UnixTime) -> Result<(), Rejection> {
        let (issued_at, ends_at) = (claims.issued, claims.session.ends);
        if issued_at > now.saturating_add(self.leeway) {
            return Err(Rejection::NotYetValid { issued_at, now });
        }
        if now >= ends_at.saturating_add(self.leeway) {
            return Err(Rejection::SessionEnded { ends_at, now });
        }
        Ok(())
    }
}

/// Checks that a token is of this issuer and for this audience. With an audience,
/// tokens for another or for none are refused. Without one, tokens with any audience
/// are refused. The same holds for the issuer.
pub(crate) fn is_for(claims: &Claims, issuer: Option<&str>, audience: Option<&str>) -> Result<(), Rejection> {
    let owned = |name: Option<&str>| name.map(Into::into);
    if claims.issuer() != issuer {
        return Err(Rejection::WrongIssuer { expected: owned(issuer), found: owned(claims.issuer()) });
    }
    if claims.audience() != audience {
        return Err(Rejection::WrongAudience { expected: owned(audience), found: owned(claims.audience()) });
    }
    Ok(())
}
