//! Redeeming tickets: a single-use token is verified, admitted and used up.

use core::fmt;

use crate::error::Rejection;
#[cfg(feature = "proof")]
use crate::proof::{ProofRequest, ProofVerifier};
use crate::replay::{NonceCache, Purpose, SingleUse};
use crate::session::Session;
use crate::time::UnixTime;
use crate::verifier::{Verifier, not_bound};
use crate::verify::{UnverifiedToken, VerifiedToken};
use crate::wire::cose::Typ;

/// Redeems tickets, each once. Clones share the keys and the cache.
///
/// "Once" means once for this cache: several edges behind one name would each accept
/// a ticket once. A ticket that must be used once everywhere is redeemed at the issuer.
///
#[cfg_attr(feature = "issuer", doc = "```")]
#[cfg_attr(not(feature = "issuer"), doc = "```ignore")]
/// use std::time::Duration;
///
/// use hallpass::*;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let key = SigningKey::generate(KeyUse::Session, Algorithm::EdDsa)?;
/// # let keys = KeySet::new([key.verifying_key().clone()])?;
/// # let issuer = Issuer::new(key.clone(), Lifetimes::default())?;
/// # let now = SystemClock.now();
/// # let token = issuer.start(Subject::new("alice")?, (), now)?;
/// // The issuer makes a ticket for one download, good for 30 seconds.
/// let minter = Minter::new(Lifetimes::default());
/// let ticket = minter.ticket(&key, token.session(), "files", Duration::from_secs(30), Some("/a.pdf"), now)?;
///
/// // The edge redeems it once.
/// let verifier = Verifier::builder(keys).audience("files").without_revocations().build()?;
/// let tickets = TicketVerifier::new(verifier, NonceCache::new(UnixTime::EPOCH));
/// let session: Session = tickets.redeem(ticket.as_str(), "/a.pdf", now)?;
/// assert_eq!(session.subject(), "alice");
/// let again: Result<Session, _> = tickets.redeem(ticket.as_str(), "/a.pdf", now);
/// assert_eq!(again.unwrap_err(), Rejection::Replayed);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct TicketVerifier {
    verifier: Verifier,
    nonces: NonceCache,
    paths: Paths,
}

/// Which tickets are accepted, by their path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Paths {
    /// Tickets for the request's path, and tickets without a path.
    Any,
    /// Only tickets for the request's path.
    Named,
}

impl TicketVerifier {
    /// Makes a verifier of tickets for `verifier`'s audience. Without an audience it
    /// accepts none, since every ticket names one.
    #[must_use]
    pub const fn new(verifier: Verifier, nonces: NonceCache) -> Self {
        Self { verifier, nonces, paths: Paths::Any }
    }

    /// Refuses tickets without a path. For routes where a ticket opens more than a
    /// general one should, such as a whole session.
    #[must_use]
    pub const fn with_path_only(mut self) -> Self {
        self.paths = Paths::Named;
        self
    }

    /// Verifies and admits a ticket, and uses it up. `path` is the request's path
    /// without the query; it is compared byte by byte if the ticket has a path.
    ///
    /// The returned session expires at the session's end, not at the ticket's: a
    /// WebSocket opened with it may last until the session ends or is revoked.
    ///
    /// # Errors
    /// The first [`Rejection`] in the order of [`Reason`](crate::Reason);
    /// another path is [`Rejection::WrongAudience`]. A ticket that was refused
    /// is not used up.
    pub fn redeem<C>(
        &self,
        ticket: impl AsRef<[u8]>,
        path: &str,
        now: UnixTime,
    ) -> Result<Session<C>, Rejection> {
        let ticket = self.admit(ticket.as_ref(), path, now)?;
        not_bound(&ticket)?;
        self.use_up(ticket, now)
    }

    /// [`TicketVerifier::redeem`] with the proof of the client's key, if the
    /// ticket's session is bound to one: its `ath` is the hash of the ticket.
    ///
    /// # Errors
    /// As [`TicketVerifier::redeem`] and
    /// [`Verifier::verify_bound`](crate::Verifier::verify_bound).
    #[cfg(feature = "proof")]
    pub fn redeem_bound<C>(
        &self,
        ticket: impl AsRef<[u8]>,
        path: &str,
        request: &ProofRequest<'_>,
        proofs: &ProofVerifier,
        now: UnixTime,
    ) -> Result<Session<C>, Rejection> {
        let text = ticket.as_ref();
        let ticket = self.admit(text, path, now)?;
        if let Some(key) = &ticket.claims().bound_to {
            proofs.check(request, text, ticket.claims().session.session_id, key, now)?;
        }
        self.use_up(ticket, now)
    }

    /// Checks everything except the proof and the nonce.
    fn admit(&self, ticket: &[u8], path: &str, now: UnixTime) -> Result<VerifiedToken, Rejection> {
        let unverified = UnverifiedToken::decode_as(ticket, Typ::Ticket)?;
        let verified = self.verifier.signed(&unverified, now)?;
        self.verifier.policy().admit_ticket(verified.key_id(), verified.claims(), path, now)?;
        if self.paths == Paths::Named && verified.claims().path().is_none() {
            let found = verified.claims().audience().map(Into::into);
            return Err(Rejection::WrongAudience { expected: Some(path.into()), found });
        }
        Ok(verified)
    }

    fn use_up<C>(&self, ticket: VerifiedToken, now: UnixTime) -> Result<Session<C>, Rejection> {
        let claims = ticket.claims();
        let leeway = self.verifier.policy().leeway;
        let used = SingleUse {
            session: claims.session.session_id,
            nonce: *claims.token_id.as_bytes(),
            issued: claims.issued,
            // `exp` is never after the session's end.
            until: claims.expires.saturating_add(leeway),
        };
        self.nonces.admit(Purpose::Ticket, &used, leeway, now)?;
        Ok(self.verifier.session(Session::admitted(ticket.opened())))
    }

    /// Returns the cache of redeemed tickets.
    #[must_use]
    pub const fn nonces(&self) -> &NonceCache {
        &self.nonces
    }
}

impl fmt::Debug for TicketVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketVerifier").field("nonces", &self.nonces).finish_non_exhaustive()
    }
}
