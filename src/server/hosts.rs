//! The edges on other hosts, and whom a presented token is for.
//!
//! The issuer's own audience comes first. A token for a configured host is
//! admitted where an edge presents it on its user's behalf (renewal, log-out,
//! looking at it) and nowhere else.

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

/// Whose tokens a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audiences {
    /// The issuer's own.
    Own,
    /// Also those of the hosts, from edges that ask for their users.
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
                // Filled by this very process.
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
        // Only this process knows what it redeemed, so it redeems nothing that
        // was issued before it started. The start is set back by the leeway
        // that the ticket verifier adds to it: the clock that issues is the one
        // that redeems, and users must not have to wait. Were the clock set
        // back across a restart, the store would refuse the second child of one
        // ticket.
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

    /// Admits tokens for the issuer's own audience.
    pub(crate) const fn own(&self) -> &Verifier {
        &self.own
    }

    /// The host of this origin.
    pub(crate) fn at(&self, origin: &str) -> Option<&Host> {
        self.others.iter().find(|host| host.origin.as_str() == origin)
    }

    /// The host of this audience.
    pub(crate) fn of(&self, audience: &str) -> Option<&Host> {
        self.others.iter().find(|host| &*host.audience == audience)
    }

    /// What was used up here, for metrics.
    pub(crate) fn nonces(&self, purpose: Purpose) -> NonceStats {
        match purpose {
            Purpose::Ticket => self.nonces.stats(purpose),
            Purpose::Proof => self.proofs.proofs().nonces().stats(purpose),
        }
    }

    /// The proofs of clients with keys.
    pub(crate) const fn proofs(&self) -> &RequestProofs {
        &self.proofs
    }

    /// Whether an edge of this audience redeems tickets of this issuer.
    pub(crate) fn takes_tickets(&self, audience: &str) -> bool {
        self.own_audience.as_deref() == Some(audience) || self.of(audience).is_some()
    }

    /// Admits a request's token; one that is bound to a key with its proof.
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

    /// The same of a token to be renewed, which may have expired.
    pub(crate) fn admit_for_renewal(
        &self,
        shown: Credential<'_>,
        head: RequestHead<'_>,
        now: UnixTime,
    ) -> Result<VerifiedToken, Rejection> {
        self.genuine(shown, head, RevokedTokens::Refused, now)
    }

    /// The same of a token to log out with: its signature, issuer and audience,
    /// and its proof if it is bound. Neither time nor revocation is asked for.
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

    /// The verdict of the issuer's own verifier, or that of the host that a
    /// token names. No browser has that host's cookie here.
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

/// Checks proofs where clients see this service.
fn proofs(config: &Config, encrypted: bool, leeway: Duration) -> Result<RequestProofs, ConfigError> {
    let settings = NonceSettings { tickets: 1, ..NonceSettings::default() };
    // A proof needs a nonce of this very process, whose secret is new: none
    // that another process has seen is current here, so there is no start
    // before which one could have been used.
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
    /// The path on that host that takes a hop's ticket.
    pub(crate) fn callback(&self) -> &str {
        &self.callback
    }

    /// Verifies, admits and uses up the ticket of a hop to this host.
    pub(crate) fn redeem(&self, ticket: &str, now: UnixTime) -> Result<Session, Rejection> {
        self.tickets.redeem(ticket, &self.callback, now)
    }
}
