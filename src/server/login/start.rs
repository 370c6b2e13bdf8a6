//! Starting a session: after a password, for another log-in, as a step-up.

use crate::server::login::limits::Limited;
use std::time::Duration;

use crate::error::ConfigError;
use crate::event::{EventKind, EventSink as _, Limit};
use crate::id::{SessionId, Subject, SubjectHash};
use crate::issuer::store::{AuditEvent, CapScope, Evicted, SessionCaps, SessionRecord, Store, StoreError};
use crate::issuer::{IssuedToken, NewSession};
use crate::key::SigningKey;
use crate::policy::Profile;
use crate::proof::NewBinding;
use crate::server::login::client::Client;
use crate::server::login::error::LogInError;
use crate::server::login::password::Password;
use crate::server::login::service::SessionService;
use crate::session::Session;
use crate::time::UnixTime;

/// How often a session is minted again if a revocation overtakes it.
const START_ATTEMPTS: usize = 3;
/// When to retry if there are too many sessions: some may have ended by then.
const SESSIONS_RETRY: Duration = Duration::from_mins(1);

/// How a user authenticated who gave a password (RFC 8176).
pub(crate) const PASSWORD: &str = "pwd";

/// What the store keeps for a new session.
pub(crate) struct NewRecord {
    pub(crate) row: SessionRecord,
    /// The caps on live sessions.
    pub(crate) caps: SessionCaps,
    pub(crate) audit: AuditEvent,
}

const fn limit_of(scope: CapScope) -> Limit {
    match scope {
        CapScope::Account => Limit::SessionsOfAccount,
        CapScope::Network => Limit::SessionsOfAddress,
    }
}

/// What another log-in says of a user.
pub(crate) struct Authenticated<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) claims: &'a serde_json::Value,
    pub(crate) auth_time: UnixTime,
    pub(crate) amr: &'a [&'a str],
    pub(crate) profile: Profile,
}

/// The inputs of a new session.
struct Start<'a> {
    subject: &'a Subject,
    claims: &'a serde_json::Value,
    auth_time: UnixTime,
    ends: Option<UnixTime>,
    amr: &'a [&'a str],
    bound_to: Option<[u8; 32]>,
    password_version: Option<u64>,
    profile: Profile,
    /// The session that this one replaces.
    replaces: Option<SessionId>,
}

impl<S: Store> SessionService<S> {
    /// Checks the password and starts a session with a new id, whatever token
    /// the client sent. The session is bound to the key of `binding`, if there
    /// is one.
    pub(crate) async fn log_in(
        &self,
        name: &str,
        password: Password,
        binding: Option<NewBinding>,
        profile: Profile,
        client: &Client,
        now: UnixTime,
    ) -> Result<IssuedToken, LogInError> {
        let user = self.authenticate(name, password, None, client, now).await?;
        // Used up only now: a stranger's proofs must not fill the cache.
        let accept = |binding| self.hosts.proofs().proofs().accept(binding, now);
        let bound_to = binding.map(accept).transpose()?;
        let claims = user.claims.unwrap_or_default();
        let start = Start {
            subject: &user.name,
            claims: &claims,
            auth_time: now,
            ends: None,
            amr: &[PASSWORD],
            bound_to,
            password_version: Some(user.password_version),
            profile,
            replaces: None,
        };
        self.start(&start, client, now).await
    }

    /// Starts a session for a user whom another log-in has authenticated.
    pub(crate) async fn log_in_elsewhere(
        &self,
        user: &Authenticated<'_>,
        client: &Client,
        now: UnixTime,
    ) -> Result<IssuedToken, LogInError> {
        let start = Start {
            subject: user.subject,
            claims: user.claims,
            auth_time: user.auth_time,
            ends: None,
            amr: user.amr,
            bound_to: None,
            password_version: None,
            profile: user.profile,
            replaces: None,
        };
        self.start(&start, client, now).await
    }

    /// Starts a new session with the same end, authenticated now, with the
    /// user's current claims. The old one ends after the grace, so that
    /// requests under way can finish.
    pub(crate) async fn reauthenticate(
        &self,
        session: &Session,
        password: Password,
        client: &Client,
        now: UnixTime,
    ) -> Result<IssuedToken, LogInError> {
        let user = self.authenticate(session.subject(), password, Some(session), client, now).await?;
        let claims = user.claims.unwrap_or_default();
        let record = self.store.find_session(session.id()).await?;
        let start = Start {
            subject: &user.name,
            claims: &claims,
            auth_time: now,
            ends: Some(session.ends_at()),
            amr: &[PASSWORD],
            bound_to: session.bound_to().copied(),
            password_version: Some(user.password_version),
            profile: record.map_or(Profile::Standard, |record| record.row.profile),
            replaces: Some(session.id()),
        };
        self.start(&start, client, now).await
    }

    /// Starts a session within the limits, and records the outcome.
    async fn start(
        &self,
        start: &Start<'_>,
        client: &Client,
        now: UnixTime,
    ) -> Result<IssuedToken, LogInError> {
        let address = client.limited_address();
        if let Err(limited) = self.limits.new_session(SubjectHash::of(start.subject.as_str()), address) {
            self.too_many(limited.limit, start.subject, client, now).await;
            return Err(LogInError::Limited(limited));
        }
        let minter = self.minter(start.profile);
        let mint = |key: &SigningKey, started| {
            let new = NewSession {
                subject: start.subject,
                claims: start.claims,
                started,
                auth_time: start.auth_time,
                ends: start.ends,
                amr: start.amr,
                bound_to: start.bound_to,
            };
            minter.start(key, &new, now)
        };
        let record = |session: &Session| {
            let mut row = client.record(session, minter.lifetimes())?;
            row.password_version = start.password_version;
            row.row.profile = start.profile;
            let grace = minter.lifetimes().renewal_grace();
            row.replaces = start.replaces.map(|id| (id, now.saturating_add(grace)));
            let audit = client.event("session_created", Some(session.subject()), Some(session.id()));
            Ok(NewRecord { row, caps: self.limits.caps(address, start.replaces), audit })
        };
        match self.start_session(start.subject, now, mint, record).await {
            Ok((token, evicted)) => {
                self.made_room(&evicted, client, now).await;
                let event = client.happened(EventKind::SessionCreated, now).session(token.session().id());
                self.events.record(event.of(Some(start.subject.clone())));
                Ok(token)
            }
            Err(LogInError::Store(StoreError::SessionsExceeded(scope))) => {
                let limit = limit_of(scope);
                self.too_many(limit, start.subject, client, now).await;
                Err(LogInError::Limited(Limited::new(limit, SESSIONS_RETRY)))
            }
            Err(error) => Err(error),
        }
    }

    /// Mints a token and enters its session in the store. If a revocation comes
    /// in between and covers the start, it mints again with a later start.
    ///
    /// `mint` gets the start. `record` makes the store's row and the audit
    /// event. Also returns the sessions that the store evicted to make room.
    ///
    /// Errors: those of `mint` and of the store, and [`LogInError::Busy`] if
    /// revocations keep coming.
    pub(crate) async fn start_session(
        &self,
        subject: &Subject,
        now: UnixTime,
        mint: impl Fn(&SigningKey, UnixTime) -> Result<IssuedToken, ConfigError>,
        record: impl Fn(&Session) -> Result<NewRecord, ConfigError>,
    ) -> Result<(IssuedToken, Vec<Evicted>), LogInError> {
        let keys = self.signing_keys(now)?;
        let mut started = self.store.earliest_start(subject, now).await?;
        for _ in 0..START_ATTEMPTS {
            let token = mint(keys.newest(), started)?;
            let NewRecord { row, caps, audit } = record(token.session())?;
            match self.store.insert_session(row, caps, Some(audit), now).await {
                Err(StoreError::StartRevoked { earliest }) => started = earliest,
                Err(error) => return Err(error.into()),
                Ok(evicted) => return Ok((token, evicted)),
            }
        }
        Err(LogInError::Busy)
    }

    /// Records that there were too many sessions, and which were ended for
    /// that.
    async fn made_room(&self, made: &[Evicted], client: &Client, now: UnixTime) {
        for room in made {
            let limit = limit_of(room.scope);
            for kind in [EventKind::SessionsExceeded(limit), EventKind::SessionEnded] {
                let event = client.happened(kind, now).session(room.id);
                self.events.record(event.of(Some(room.subject.clone())));
            }
        }
        if !made.is_empty() {
            self.catch_up(now).await;
        }
    }

    /// Records that a session was not started because there were too many.
    async fn too_many(&self, limit: Limit, subject: &Subject, client: &Client, now: UnixTime) {
        let kind = EventKind::SessionsExceeded(limit);
        self.events.record(client.happened(kind, now).of(Some(subject.clone())));
        self.audit(client.event(kind.name(), Some(subject.as_str()), None), now).await;
    }
}
