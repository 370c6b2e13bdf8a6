//! The checks after the signature, in the order of [`Reason`](crate::Reason).

use std::time::Duration;

use crate::error::Rejection;
use crate::time::UnixTime;
use crate::wire::claims::Claims;

/// What an edge asks of a verified token.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) issuer: Option<Box<str>>,
    pub(crate) audience: Option<Box<str>>,
    pub(crate) leeway: Duration,
}

impl Policy {
    /// Issuer, audience and time.
    pub(crate) fn admit(&self, claims: &Claims, now: UnixTime) -> Result<(), Rejection> {
        // A verifier with a name refuses a token for another or for nobody; one
        // without a name refuses a token for somebody. The same for the issuer.
        if claims.issuer() != self.issuer.as_deref() {
            return Err(Rejection::WrongIssuer {
                expected: self.issuer.clone(),
                found: claims.issuer().map(Into::into),
            });
        }
        if claims.audience() != self.audience.as_deref() {
            return Err(Rejection::WrongAudience {
                expected: self.audience.clone(),
                found: claims.audience().map(Into::into),
            });
        }
        self.in_time(claims, now)
    }

    fn in_time(&self, claims: &Claims, now: UnixTime) -> Result<(), Rejection> {
        let (issued_at, expires_at) = (claims.issued, claims.expires);
        let ends_at = claims.session.ends;
        // Both sides: a token from the future is refused too. At the very
        // second of expiry plus leeway it is over (RFC 8392 §3.1.4: "on or
        // after which the CWT MUST NOT be accepted").
        if issued_at > now.saturating_add(self.leeway) {
            return Err(Rejection::NotYetValid { issued_at, now });
        }
        if now >= ends_at.saturating_add(self.leeway) {
            return Err(Rejection::SessionEnded { ends_at, now });
        }
        if now >= expires_at.saturating_add(self.leeway) {
            return Err(Rejection::Expired { expires_at, now });
        }
        Ok(())
    }
}
