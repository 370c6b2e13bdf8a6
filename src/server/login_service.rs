//! Log-in, renewal and log-out, whatever they came over.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, StatusCode, header};

use crate::error::ConfigError;
use crate::id::Subject;
use crate::issuer::store::{AuditEvent, SessionRecord, Store, StoreError, Target};
use crate::issuer::{IssuedToken, Minter, NewSession};
use crate::key::KeyUse;
use crate::server::keyring::Keyring;
use crate::server::password::{Password, PasswordChecker};
use crate::server::revocations::Follower;
use crate::session::Session;
use crate::time::UnixTime;

/// How often a log-in that a revocation overtook is minted again.
const START_ATTEMPTS: usize = 3;

/// Who asks, for the session's record and the audit trail.
pub(crate) struct Client {
    address: IpAddr,
    user_agent: Option<String>,
}

impl Client {
    pub(crate) fn new(address: IpAddr, headers: &HeaderMap) -> Self {
        let user_agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        // An IPv4 client of a socket that takes both is one client, not two.
        Self { address: address.to_canonical(), user_agent: user_agent.map(str::to_owned) }
    }
}

/// Why a log-in failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogInError {
    /// Wrong name or password, or a disabled user: which, only the log knows.
    #[error("wrong user name or password")]
    Refused,
    /// Too many passwords are being checked.
    #[error("too many log-ins at once")]
    Busy,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Token(#[from] ConfigError),
}

impl LogInError {
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Refused => StatusCode::UNAUTHORIZED,
            Self::Busy | Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Token(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What the person at the other end can do.
    pub(crate) const fn advice(&self) -> &'static str {
        match self {
            Self::Refused => "The user name or the password is wrong.",
            Self::Busy => "Too many people are logging in. Try again in a moment.",
            Self::Store(_) => "Log-in is not possible at the moment. Try again in a moment.",
            Self::Token(_) => "Log-in is not possible. Tell whoever runs this service to look at its log.",
        }
    }
}

/// Log-in, renewal and log-out on a store.
pub(crate) struct LoginService<S> {
    pub(crate) store: Arc<S>,
    pub(crate) revocations: Follower<S>,
    pub(crate) minter: Minter,
    pub(crate) keyring: Keyring,
    pub(crate) passwords: PasswordChecker,
}

impl<S: Store> LoginService<S> {
    /// Checks the password and starts a session with a new id, whatever token
    /// the client may have come with.
    pub(crate) async fn log_in(
        &self,
        name: &str,
        password: Password,
        client: &Client,
        now: UnixTime,
    ) -> Result<IssuedToken, LogInError> {
        let user = self.store.find_user(name).await?;
        let hash = user.as_ref().map(|user| user.password_hash.clone());
        // The password is checked for a disabled user and for nobody too, so
        // that the time of the answer doesn't tell who exists.
        let right = self.passwords.check(password, hash).await.map_err(|_| LogInError::Busy)?;
        let Some(user) = user.filter(|user| right && !user.disabled) else {
            tracing::warn!(event = "authn_login_fail", address = %client.address, "log-in refused");
            self.audit(
                AuditEvent {
                    kind: "authn_login_fail".to_owned(),
                    subject: Subject::new(name).ok().map(|name| name.to_string()),
                    address: Some(client.address.to_string()),
                    ..AuditEvent::default()
                },
                now,
            )
            .await;
            return Err(LogInError::Refused);
        };
        let claims = user.claims.clone().unwrap_or_default();
        self.start(&user.name, &claims, Some(user.password_version), client, now).await
    }

    /// Mints and enters; again with a later start if a revocation came between.
    async fn start(
        &self,
        subject: &Subject,
        claims: &serde_json::Value,
        password_version: Option<u64>,
        client: &Client,
        now: UnixTime,
    ) -> Result<IssuedToken, LogInError> {
        let key = self.keyring.signing_key(KeyUse::Session, now)?;
        let mut started = self.store.earliest_start(subject, now).await?;
        for _ in 0..START_ATTEMPTS {
            let new = NewSession { subject, claims, started, auth_time: now, ends: None, bound_to: None };
            let token = self.minter.start(&key, &new, now)?;
            let mut record = SessionRecord::new(token.session())?
                .client(Some(client.address.to_string()), client.user_agent.as_deref());
            record.password_version = password_version;
            let event = session_event("session_created", token.session(), client);
            match self.store.insert_session(record, Some(event), now).await {
                Err(StoreError::StartRevoked { earliest }) => started = earliest,
                Err(error) => return Err(error.into()),
                Ok(()) => {
                    tracing::info!(event = "session_created", session = %token.session().id().short_hash(), "session created");
                    return Ok(token);
                }
            }
        }
        Err(LogInError::Busy)
    }

    /// Ends a session for good, before it is said to have ended.
    pub(crate) async fn log_out(&self, session: &Session, now: UnixTime) -> Result<(), StoreError> {
        let target = Target::Session { id: session.id(), ends: Some(session.ends_at()) };
        let event = AuditEvent {
            kind: "session_ended".to_owned(),
            subject: Some(session.subject().to_owned()),
            session: Some(session.id().short_hash()),
            ..AuditEvent::default()
        };
        self.store.revoke(target, Some(event), now).await?;
        // Not only soon: whoever is told so is logged out here at once.
        self.revocations.catch_up(now).await
    }

    /// The audit trail of a refusal; losing a line of it refuses nobody else.
    async fn audit(&self, event: AuditEvent, now: UnixTime) {
        if let Err(error) = self.store.append_audit(event, now).await {
            tracing::error!(%error, "the audit trail could not be written");
        }
    }
}

fn session_event(kind: &str, session: &Session, client: &Client) -> AuditEvent {
    AuditEvent {
        kind: kind.to_owned(),
        subject: Some(session.subject().to_owned()),
        session: Some(session.id().short_hash()),
        address: Some(client.address.to_string()),
        detail: None,
    }
}
