//! Operators on their own address. Users of the role `operator` log in there
//! with their password. Their session has an audience of its own: its token is
//! refused everywhere else, and every other token is refused there.

pub(crate) mod credential;
pub(crate) mod revoke;

use std::sync::Arc;
use std::time::Duration;

use crate::error::{ConfigError, Rejection};
use crate::id::Subject;
use crate::issuer::store::{Role, SessionCaps, SessionRecord, Store, StoreError};
use crate::issuer::{IssuedToken, Minter, NewSession};
use crate::key::SigningKey;
use crate::policy::{LifetimeSettings, Lifetimes, StalePolicy};
use crate::server::config::Config;
use crate::server::login::password::Password;
use crate::server::login::{Client, LogInError, NewRecord, PASSWORD, SessionService};
use crate::session::Session;
use crate::time::UnixTime;
use crate::verifier::Verifier;
use crate::verify::VerifiedToken;

/// The audience of an operator's token.
pub(crate) const AUDIENCE: &str = "hallpass-ops";
/// The cookie that carries it.
pub(crate) const COOKIE: &str = "__Host-ops";
/// How long an operator is logged in. The token is not renewed: NIST SP
/// 800-63B-4 §2.2.3 sets an hour as the longest inactivity at AAL2.
const LIFETIME: Duration = Duration::from_hours(1);

/// Logs operators in, and verifies their sessions.
pub(crate) struct Operators<S> {
    service: Arc<SessionService<S>>,
    minter: Minter,
    verifier: Verifier,
}

impl<S: Store> Operators<S> {
    /// Sets up operator log-in.
    ///
    /// # Errors
    /// [`ConfigError::Builder`] if ordinary tokens have the operators'
    /// audience.
    pub(crate) fn new(service: Arc<SessionService<S>>, config: &Config) -> Result<Self, ConfigError> {
        let hosts = config.hosts.iter().map(|host| &*host.audience);
        if hosts.chain(config.tokens.audience.as_deref()).any(|audience| audience == AUDIENCE) {
            return Err(ConfigError::Builder(
                "an audience is \"hallpass-ops\", which is the audience of the operators' own sessions",
            ));
        }
        let leeway = service.minter.lifetimes().leeway();
        let lifetimes = Lifetimes::new(LifetimeSettings {
            token_max_age: Some(LIFETIME),
            absolute_lifetime: LIFETIME,
            leeway,
            ..LifetimeSettings::default()
        })?;
        let issuer = config.tokens.issuer.clone();
        let mut verifier = Verifier::builder(service.keyring.session_keys().clone())
            .audience(AUDIENCE)
            .leeway(leeway)
            .revocations(service.revocations.list().clone())
            .stale_policy(StalePolicy::NeverStale);
        if let Some(issuer) = &issuer {
            verifier = verifier.issuer(issuer.clone());
        }
        Ok(Self {
            minter: Minter::new(lifetimes).audience(Some(AUDIENCE.into())).issuer(issuer),
            verifier: verifier.build()?,
            service,
        })
    }

    /// Checks the password as every log-in does, and that the user is an
    /// operator. Other users get the same answer as for a wrong password.
    pub(crate) async fn log_in(
        &self,
        name: &str,
        password: Password,
        client: &Client,
        now: UnixTime,
    ) -> Result<IssuedToken, LogInError> {
        let user = self.service.authenticate(name, password, None, client, now).await?;
        if user.role != Role::Operator {
            tracing::warn!(event = "authz_fail", address = %client.address(), "a user who is no operator");
            return Err(LogInError::Refused);
        }
        let mint = |key: &SigningKey, started| {
            let new = NewSession {
                subject: &user.name,
                claims: &(),
                started,
                auth_time: now,
                ends: None,
                amr: &[PASSWORD],
                bound_to: None,
            };
            self.minter.start(key, &new, now)
        };
        let record = |session: &Session| {
            let mut row = client.record(session, self.minter.lifetimes())?;
            row.password_version = Some(user.password_version);
            let audit = client.event("operator_logged_in", Some(session.subject()), Some(session.id()));
            Ok(NewRecord { row, caps: SessionCaps::default(), audit })
        };
        Ok(self.service.start_session(&user.name, now, mint, record).await?.0)
    }

    /// Returns the operator's session if its token is admitted, not revoked,
    /// and the user is still an operator.
    pub(crate) async fn session(&self, token: &str, now: UnixTime) -> Option<Session> {
        let session = match self.verifier.verify::<()>(token, now) {
            Ok(session) => session.with_claims(),
            Err(rejection) => {
                tracing::info!(reason = %rejection.reason(), "an operator's session was refused");
                return None;
            }
        };
        match self.service.store.find_user(session.subject()).await {
            Ok(Some(user)) if user.role == Role::Operator && !user.disabled => Some(session),
            Ok(_) => None,
            Err(error) => {
                tracing::error!(%error, "whether a user is an operator could not be read");
                None
            }
        }
    }

    /// Verifies the token of an operator's session for log-out: only its
    /// signature, issuer and audience.
    pub(crate) fn genuine(&self, token: &str, now: UnixTime) -> Result<VerifiedToken, Rejection> {
        self.verifier.verify_for_renewal(token, now)
    }

    /// Returns the live sessions of a subject, or the session with an id.
    pub(crate) async fn find(&self, what: &str, now: UnixTime) -> Result<Vec<SessionRecord>, StoreError> {
        if let Ok(id) = what.parse() {
            let found = self.service.store.find_session(id).await?;
            return Ok(found.into_iter().filter(|record| record.ends > now).collect());
        }
        match Subject::new(what) {
            Ok(subject) => self.service.store.live_sessions(&subject, now).await,
            Err(_) => Ok(Vec::new()),
        }
    }
}
