//! The edges on other hosts, and the audience of a presented token.
//!
//! The issuer's own audience is tried first. A token for a configured host is
//! admitted only where an edge presents it on its user's behalf: for renewal,
//! log-out and showing the session.

use std::time::Duration;

use crate::error::{ConfigError, Rejection};
use crate::http::proof::RequestHead;
use crate::http::{Credential, Origin, RequestProofs, Scheme, TrustedProxies};
use crate::key::LiveKeys;
use crate::policy::StalePolicy;
use crate::proof::{ProofVerifier, ServerNonces};
use crate::replay::{NonceCache, NonceSettings, NonceStats, Purpose};
use crate::revocation::RevocationList;
use crate::server::config::{Config, HostTable};
use crate::session::Session;
use crate::ticket::TicketVerifier;
use crate::time::UnixTime;
use crate::verifier::{RevokedTokens, Verifier};
use crate::verify::VerifiedToken;

/// The issuer's verifiers: its own, and one for each host.
pub(crate) struct Hosts {
    own: Verifier,
    own_audience: Option<Box<str>>,
    others: Box<[Host]>,
    proofs: RequestProofs,
    nonces: NonceCache,
}

/// Which audiences a route accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audiences {
    /// The issuer's own.
    Own,
    /// Also those of the hosts, from edges that act for their users.
    AnyHost,
}

/// An edge on another host.
pub(crate) struct Host {
    pub(crate) origin: Origin,
    pub(crate) audience: Box<str>,
    /// The path that a hop's ticket is for.
    callback: String,
    verifier: Verifier,
    tickets: TicketVerifier,
}

impl Hosts {
    pub(crate) fn new(
        config: &Config,
        keys: &LiveKeys,
        list: &RevocationList,
        encrypted: bool,
        now: UnixTime,
    ) -> Result<Self, ConfigError> {
        let lifetimes = config.lifetimes()?;
        let builder = || {
            let builder = Verifier::builder(keys.clone())
                .leeway(lifetimes.leeway())
                .revocations(list.clone())
                // This process fills the list itself.
                .stale_policy(StalePolicy::NeverStale);
            match &config.tokens.issuer {
                Some(issuer) => builder.issuer(issuer.clone()),
                None => builder,
            }
        };
        let own = config.cache.apply(builder())?;
        let own = match &config.tokens.audience {
            Some(audience) => own.audience(audience.clone()).build()?,
            None => own.build()?,
        };
        // Used tickets are known only in memory, so this process redeems none
        // issued before it started. The start is set back by the leeway that
        // the ticket verifier adds: the same clock issues and redeems, and
        // users must not have to wait. If the clock is set back across a
        // restart, the store refuses the second child of one ticket.
        let started = now.saturating_sub(lifetimes.leeway()).saturating_sub(Duration::from_secs(1));
        let nonces =
            NonceCache::with_settings(NonceSettings { proofs: 1, ..NonceSettings::default() }, started)?;
        let host = |table: &HostTable| {
            let verifier = builder().audience(table.audience.clone()).without_token_cache().build()?;
            // A ticket for a WebSocket of that host must not open a session.
            let tickets = TicketVerifier::new(verifier.clone(), nonces.clone()).with_path_only();
            Ok(Host {
                origin: table.origin.clone(),
                audience: table.audience.clone(),
                callback: format!("{}/callback", table.base_path),
                verifier,
                tickets,
            })
        };
        let others = config.hosts.iter().map(host).collect::<Result<_, ConfigError>>()?;
        let proofs = proofs(config, encrypted, lifetimes.leeway())?;
        Ok(Self { own, own_audience: config.tokens.audience.clone(), others, proofs, nonces })
    }

    /// Returns the verifier for the issuer's own audience.
    pub(crate) const fn own(&self) -> &Verifier {
        &self.own
    }

    /// Returns the host with this origin.
    pub(crate) fn at(&self, origin: &str) -> Option<&Host> {
        self.others.iter().find(|host| host.origin.as_str() == origin)
    }

    /// Returns the host with this audience.
    pub(crate) fn of(&self, audience: &str) -> Option<&Host> {
        self.others.iter().find(|host| &*host.audience == audience)
    }

    /// Returns the state of the used tickets or proofs, for metrics.
    pub(crate) fn nonces(&self, purpose: Purpose) -> NonceStats {
        match purpose {
            Purpose::Ticket => self.nonces.stats(purpose),
            Purpose::Proof => self.proofs.proofs().nonces().stats(purpose),
        }
    }

    /// Returns the verifier of proofs by clients with keys.
    pub(crate) const fn proofs(&self) -> &RequestProofs {
        &self.proofs
    }

    /// Returns whether an edge of this audience redeems this issuer's tickets.
    pub(crate) fn takes_tickets(&self, audience: &str) -> bool {
        self.own_audience.as_deref() == Some(audience) || self.of(audience).is_some()
    }

    /// Admits a request's token, and its proof if the token is bound to a key.
    pub(crate) fn admit(
        &self,
        shown: Credential<'_>,
        head: RequestHead<'_>,
        audiences: Audiences,
        now: UnixTime,
    ) -> Result<Session, Rejection> {
        self.judge(shown, audiences, |verifier| match shown {
            Credential::Dpop(token) => self.proofs.verify(verifier, token, head, now),
            Credential::Cookie(token) | Credential::Bearer(token) => verifier.verify(token, now),
        })
    }

    /// Admits a token to be renewed, which may have expired.
    pub(crate) fn admit_for_renewal(
        &self,
        shown: Credential<'_>,
        head: RequestHead<'_>,
        now: UnixTime,
    ) -> Result<VerifiedToken, Rejection> {
        self.genuine(shown, head, RevokedTokens::Refused, now)
    }

    /// Admits a token to log out with: checks its signature, issuer and
    /// audience, and its proof if it is bound. Ignores time and revocation.
    pub(crate) fn admit_for_log_out(
        &self,
        shown: Credential<'_>,
        head: RequestHead<'_>,
        now: UnixTime,
    ) -> Result<VerifiedToken, Rejection> {
        self.genuine(shown, head, RevokedTokens::Taken, now)
    }

    fn genuine(
        &self,
        shown: Credential<'_>,
        head: RequestHead<'_>,
        revoked: RevokedTokens,
        now: UnixTime,
    ) -> Result<VerifiedToken, Rejection> {
        self.judge(shown, Audiences::AnyHost, |verifier| match shown {
            Credential::Dpop(token) => self.proofs.with(head, |request| {
                verifier.verify_bound_for_renewal(token, request, self.proofs.proofs(), revoked, now)
            }),
            Credential::Cookie(token) | Credential::Bearer(token) => verifier.verify_for_renewal(token, now),
        })
    }

    /// Returns the verdict of the issuer's own verifier, or of the verifier for
    /// the host that the token names. Cookies of that host never arrive here.
    fn judge<T>(
        &self,
        shown: Credential<'_>,
        audiences: Audiences,
        verdict: impl Fn(&Verifier) -> Result<T, Rejection>,
    ) -> Result<T, Rejection> {
        let own = verdict(&self.own);
        let Err(Rejection::WrongAudience { found: Some(found), .. }) = &own else { return own };
        if audiences == Audiences::Own || matches!(shown, Credential::Cookie(_)) {
            return own;
        }
        self.of(found).map_or(own, |host| verdict(&host.verifier))
    }
}

/// Sets up the check of proofs, for the origin where clients see this service.
fn proofs(config: &Config, encrypted: bool, leeway: Duration) -> Result<RequestProofs, ConfigError> {
    let settings = NonceSettings { tickets: 1, ..NonceSettings::default() };
    // A proof needs a nonce from this process, whose secret is new. A proof
    // used in another process carries no nonce that is current here. So there
    // is no start time before which a proof could have been used.
    let nonces = NonceCache::with_settings(settings, UnixTime::EPOCH)?;
    let nonces_of = config.public_origin.as_ref().map_or("hallpass", Origin::as_str);
    let proofs = ProofVerifier::new(nonces, ServerNonces::generate(nonces_of)?)
        .window(ProofVerifier::DEFAULT_MAX_AGE, leeway)?;
    if let Some(origin) = &config.public_origin {
        return Ok(RequestProofs::at_origin(proofs, origin.clone()));
    }
    let proxies = TrustedProxies::new(config.trusted_proxies.iter().map(String::as_str))?;
    let scheme = if encrypted { Scheme::Https } else { Scheme::Http };
    Ok(RequestProofs::on_loopback(proofs, scheme, proxies))
}

impl Host {
    /// Returns the path on that host that takes a hop's ticket.
    pub(crate) fn callback(&self) -> &str {
        &self.callback
    }

    /// Verifies, admits and uses up the ticket of a hop to this host.
    pub(crate) fn redeem(&self, ticket: &str, now: UnixTime) -> Result<Session, Rejection> {
        self.tickets.redeem(ticket, &self.callback, now)
    }
}
