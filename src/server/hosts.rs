//! The edges on other hosts, and whom a presented token is for.
//!
//! The issuer's own audience comes first. A token for a configured host is
//! admitted where an edge presents it on its user's behalf (renewal, log-out,
//! looking at it) and nowhere else.

use crate::error::{ConfigError, Rejection};
use crate::http::Credential;
use crate::key::LiveKeys;
use crate::policy::StalePolicy;
use crate::replay::{NonceCache, NonceSettings};
use crate::revocation::RevocationList;
use crate::server::config::{Config, HostTable};
use crate::session::Session;
use crate::ticket::TicketVerifier;
use crate::time::UnixTime;
use crate::verifier::Verifier;
use crate::verify::VerifiedToken;

/// The issuer's verifiers: its own, and one for each host.
pub(crate) struct Hosts {
    own: Verifier,
    hosts: Box<[Host]>,
}

/// An edge on another host.
pub(crate) struct Host {
    pub(crate) origin: String,
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
        let started =
            now.saturating_sub(lifetimes.leeway()).saturating_sub(core::time::Duration::from_secs(1));
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
        let hosts = config.hosts.iter().map(host).collect::<Result<_, ConfigError>>()?;
        Ok(Self { own, hosts })
    }

    /// Admits tokens for the issuer's own audience.
    pub(crate) const fn own(&self) -> &Verifier {
        &self.own
    }

    /// The host of this origin.
    pub(crate) fn at(&self, origin: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.origin == origin)
    }

    /// The host of this audience.
    pub(crate) fn of(&self, audience: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| &*host.audience == audience)
    }

    /// Admits a token for the issuer or one of the hosts.
    pub(crate) fn verify(&self, shown: Credential<'_>, now: UnixTime) -> Result<Session, Rejection> {
        self.or_host(shown, self.own.verify(shown.token(), now), |host| {
            host.verifier.verify(shown.token(), now)
        })
    }

    /// The same of a token to be renewed, which may have expired.
    pub(crate) fn verify_for_renewal(
        &self,
        shown: Credential<'_>,
        now: UnixTime,
    ) -> Result<VerifiedToken, Rejection> {
        let own = self.own.verify_for_renewal(shown.token(), now);
        self.or_host(shown, own, |host| host.verifier.verify_for_renewal(shown.token(), now))
    }

    /// The verdict of the host that a token names, if it is one of ours. No
    /// browser has that host's cookie here.
    fn or_host<T>(
        &self,
        shown: Credential<'_>,
        own: Result<T, Rejection>,
        verdict: impl FnOnce(&Host) -> Result<T, Rejection>,
    ) -> Result<T, Rejection> {
        match own {
            Err(Rejection::WrongAudience { expected, found: Some(found) })
                if !matches!(shown, Credential::Cookie(_)) =>
            {
                match self.of(&found) {
                    Some(host) => verdict(host),
                    None => Err(Rejection::WrongAudience { expected, found: Some(found) }),
                }
            }
            verdict => verdict,
        }
    }
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
