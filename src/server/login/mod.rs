//! Log-in, renewal and log-out, whatever they came over.

pub(crate) mod limits;
pub(crate) mod password;
pub(crate) mod throttle;
pub(crate) mod tickets;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, header};

use crate::error::{ConfigError, Rejection};
use crate::event::{Event, EventKind, EventSink, Limit};
use crate::http::cookie::DEVICE_COOKIE;
use crate::http::proof::RequestHead;
use crate::http::{Credential, credential, network_of};
use crate::id::{SessionId, Subject, SubjectHash};
use crate::issuer::store::{
    Attempt, AttemptKey, AuditEvent, CapScope, DeviceId, MadeRoom, Revoked, SessionRecord, Store, StoreError,
    Target,
};
use crate::issuer::{self, IssuedToken, Minter, NewSession, RenewError, Renewal};
use crate::proof::{NewBinding, ProofError};
use crate::server::feed::follower::Follower;
use crate::server::feed::keyring::Keyring;
use crate::server::hosts::Hosts;
use crate::server::login::limits::{Limited, Limits};
use crate::server::login::password::{Password, PasswordChecker};
use crate::server::login::throttle::Throttle;
use crate::server::login::tickets::LiveTickets;
use crate::server::observe::events::Events;
use crate::session::Session;
use crate::time::UnixTime;

/// How often a log-in that a revocation overtook is minted again.
pub(super) const START_ATTEMPTS: usize = 3;

/// When to come again if there are too many sessions: some may have ended.
const SESSIONS_RETRY: Duration = Duration::from_mins(1);

const fn limit_of(scope: CapScope) -> Limit {
    match scope {
        CapScope::Account => Limit::SessionsOfAccount,
        CapScope::Network => Limit::SessionsOfAddress,
    }
}

/// Who asks, for the session's record and the audit trail.
pub(crate) struct Client {
    address: IpAddr,
    user_agent: Option<String>,
    /// Whether the address is the client's and not that of a service that
    /// speaks for it.
    own_address: bool,
    device_cookie: Option<String>,
}

impl Client {
    pub(crate) fn new(address: IpAddr, headers: &HeaderMap) -> Self {
        let user_agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        // An IPv4 client of a socket that takes both is one client, not two.
        Self {
            address: address.to_canonical(),
            user_agent: user_agent.map(str::to_owned),
            own_address: true,
            // Two of them are none: one was planted.
            device_cookie: credential::cookie(headers, DEVICE_COOKIE).ok().flatten().map(str::to_owned),
        }
    }

    /// The same, when the address is that of a service.
    pub(crate) const fn by_service(mut self) -> Self {
        self.own_address = false;
        self
    }

    /// The address that limits count by.
    fn limited_address(&self) -> Option<IpAddr> {
        self.own_address.then_some(self.address)
    }

    pub(crate) const fn address(&self) -> IpAddr {
        self.address
    }

    /// The record of a session that this client was just given.
    pub(crate) fn record(&self, session: &Session) -> Result<SessionRecord, ConfigError> {
        let record = SessionRecord::new(session)?;
        Ok(record.client(Some(self.address.to_string()), self.user_agent.as_deref()))
    }

    /// For the log and whoever else listens.
    pub(super) const fn happened(&self, kind: EventKind, now: UnixTime) -> Event {
        Event::new(kind, now).from(self.address)
    }

    /// For the audit trail.
    pub(crate) fn event(&self, kind: &str, subject: Option<&str>, session: Option<SessionId>) -> AuditEvent {
        AuditEvent {
            kind: kind.to_owned(),
            subject: subject.map(str::to_owned),
            session: session.map(|id| id.short_hash()),
            address: Some(self.address.to_string()),
            detail: None,
        }
    }
}

/// Why a log-in failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogInError {
    /// Wrong name or password, or a disabled user: which, only the log knows.
    #[error("wrong user name or password")]
    Refused,
    /// The network was throttled after an anomaly.
    #[error("log-ins from this network are refused for {} s", .0.as_secs())]
    Throttled(Duration),
    /// Too many passwords are being checked.
    #[error("too many log-ins at once")]
    Busy,
    /// Too many attempts: no password was looked at; or too many new sessions.
    #[error("too many attempts ({})", .0.limit.name())]
    Limited(Limited),
    /// The proof that should bind the session to a key.
    #[error(transparent)]
    Proof(#[from] ProofError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Token(#[from] ConfigError),
}

/// What a new session is made of.
struct Start<'a> {
    subject: &'a Subject,
    claims: &'a serde_json::Value,
    auth_time: UnixTime,
    ends: Option<UnixTime>,
    bound_to: Option<[u8; 32]>,
    password_version: Option<u64>,
    /// The session that this one takes the place of.
    replaces: Option<SessionId>,
}

/// Log-in, renewal and log-out on a store.
pub(crate) struct LoginService<S> {
    pub(crate) store: Arc<S>,
    pub(crate) revocations: Follower<S>,
    pub(crate) minter: Minter,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) keyring: Keyring,
    pub(crate) events: Events,
    pub(crate) passwords: PasswordChecker,
    pub(crate) limits: Limits,
    pub(crate) throttle: Throttle,
    pub(crate) live_tickets: LiveTickets,
}

impl<S: Store> LoginService<S> {
    /// Checks the password and starts a session with a new id, whatever token
    /// the client may have come with; bound to the key of `binding`, if there
    /// is one.
    pub(crate) async fn log_in(
        &self,
        name: &str,
        password: Password,
        binding: Option<NewBinding>,
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
            bound_to,
            password_version: Some(user.password_version),
            replaces: None,
        };
        self.start(&start, client, now).await
    }

    /// Starts a session for somebody whom another log-in has authenticated.
    pub(crate) async fn log_in_elsewhere(
        &self,
        subject: &Subject,
        claims: &serde_json::Value,
        auth_time: UnixTime,
        client: &Client,
        now: UnixTime,
    ) -> Result<IssuedToken, LogInError> {
        let start = Start {
            subject,
            claims,
            auth_time,
            ends: None,
            bound_to: None,
            password_version: None,
            replaces: None,
        };
        self.start(&start, client, now).await
    }

    /// A new session with the same end, authenticated now, with the claims
    /// that the user has now. The old one ends after the grace, so that
    /// requests under way end well.
    pub(crate) async fn reauthenticate(
        &self,
        session: &Session,
        password: Password,
        client: &Client,
        now: UnixTime,
    ) -> Result<IssuedToken, LogInError> {
        let user = self.authenticate(session.subject(), password, Some(session), client, now).await?;
        let claims = user.claims.unwrap_or_default();
        let start = Start {
            subject: &user.name,
            claims: &claims,
            auth_time: now,
            ends: Some(session.ends_at()),
            bound_to: session.bound_to().copied(),
            password_version: Some(user.password_version),
            replaces: Some(session.id()),
        };
        self.start(&start, client, now).await
    }

    /// Ends the sessions that a reauthentication replaced a grace ago. To be
    /// called every second or so.
    pub(crate) async fn end_replaced(&self, now: UnixTime) -> Result<(), StoreError> {
        if let Some(revoked) = self.store.end_replaced(now).await? {
            for _ in 0..revoked.added {
                self.events.record(Event::new(EventKind::SessionEnded, now));
            }
            self.catch_up(now).await;
        }
        Ok(())
    }

    /// Whether this is the password of the session's user.
    pub(crate) async fn confirm(
        &self,
        session: &Session,
        password: Password,
        client: &Client,
        now: UnixTime,
    ) -> Result<(), LogInError> {
        self.authenticate(session.subject(), password, Some(session), client, now).await.map(drop)
    }

    /// The device that log-in knows the client as: by its cookie, or else by the
    /// session that asks for the password again.
    pub(crate) fn device(
        &self,
        account: SubjectHash,
        session: Option<&Session>,
        client: &Client,
        now: UnixTime,
    ) -> Option<DeviceId> {
        let cookie = client.device_cookie.as_deref();
        let known = cookie.and_then(|cookie| self.limits.devices.known(cookie, account, now));
        known.or_else(|| session.map(|session| *session.id().as_bytes()))
    }

    /// Who this is. Every limit is looked at before the password, and all of it
    /// is the same for a name that nobody has.
    pub(crate) async fn authenticate(
        &self,
        name: &str,
        password: Password,
        session: Option<&Session>,
        client: &Client,
        now: UnixTime,
    ) -> Result<issuer::store::User, LogInError> {
        let tried = Subject::new(name).ok();
        let limited = |limited: Limited| {
            self.events
                .record(client.happened(EventKind::LogInLimited(limited.limit), now).of(tried.clone()));
            LogInError::Limited(limited)
        };
        if let Some(wait) = self.throttle.refused(client.address, now) {
            let kind = EventKind::LogInLimited(Limit::Address);
            self.events.record(client.happened(kind, now).of(Subject::new(name).ok()));
            return Err(LogInError::Throttled(wait));
        }
        self.limits.attempt(client.address).map_err(limited)?;
        let admitted = self.passwords.admit(network_of(client.address)).map_err(|_| {
            limited(self.limits.hit(Limit::PasswordWork, Duration::ZERO));
            LogInError::Busy
        })?;
        let user = self.store.find_user(name).await?;
        let account = SubjectHash::of(name);
        let key = AttemptKey { account, device: self.device(account, session, client, now) };
        let rule = self.limits.rule();
        let (key, last) = match self.store.begin_attempt(key, user.is_some(), rule, now).await? {
            Attempt::Go { key, last } => (key, last),
            Attempt::Wait(wait) => return Err(limited(self.limits.hit(Limit::Account, wait))),
            Attempt::Locked => return Err(limited(self.limits.hit(Limit::Failures, rule.longest_wait))),
        };
        let hash = user.as_ref().map(|user| user.password_hash.clone());
        // The password is checked for a disabled user and for nobody too, so
        // that the time of the answer doesn't tell who exists.
        let right = self.passwords.check(admitted, password, hash).await.map_err(|_| LogInError::Busy)?;
        if let Some(user) = user.filter(|user| right && !user.disabled) {
            self.store.attempt_succeeded(key, rule).await?;
            self.events.record(client.happened(EventKind::LogInSucceeded, now).of(Some(user.name.clone())));
            return Ok(user);
        }
        self.events.record(client.happened(EventKind::LogInFailed, now).of(tried.clone()));
        let name = tried.as_ref().map(Subject::as_str);
        self.audit(client.event("authn_login_fail", name, None), now).await;
        if last {
            self.audit(client.event("authn_login_fail_max", name, None), now).await;
        }
        Err(LogInError::Refused)
    }

    /// Losing a line of the audit trail refuses nobody.
    async fn audit(&self, event: AuditEvent, now: UnixTime) {
        if let Err(error) = self.store.append_audit(event, now).await {
            tracing::error!(%error, "the audit trail could not be written");
        }
    }

    /// Says that sessions were too many, and which were ended for that.
    async fn made_room(&self, made: &[MadeRoom], client: &Client, now: UnixTime) {
        for room in made {
            let limit = limit_of(room.scope);
            self.limits.hit(limit, Duration::ZERO);
            for kind in [EventKind::SessionsExceeded(limit), EventKind::SessionEnded] {
                let event = client.happened(kind, now).session(room.id);
                self.events.record(event.of(Some(room.subject.clone())));
            }
        }
        if !made.is_empty() {
            self.catch_up(now).await;
        }
    }

    /// Says that a session was not started since there were too many.
    async fn too_many(&self, limit: Limit, subject: &Subject, client: &Client, now: UnixTime) {
        let kind = EventKind::SessionsExceeded(limit);
        self.events.record(client.happened(kind, now).of(Some(subject.clone())));
        self.audit(client.event(kind.name(), Some(subject.as_str()), None), now).await;
    }

    /// Mints and enters; again with a later start if a revocation came between.
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
        let keys = self.keyring.signing_keys(&self.revocations.revoked_keys(), now)?;
        let mut started = self.store.earliest_start(start.subject, now).await?;
        for _ in 0..START_ATTEMPTS {
            let new = NewSession {
                subject: start.subject,
                claims: start.claims,
                started,
                auth_time: start.auth_time,
                ends: start.ends,
                bound_to: start.bound_to,
            };
            let token = self.minter.start(keys.newest(), &new, now)?;
            let session = token.session();
            let mut record = client.record(session)?;
            record.password_version = start.password_version;
            let grace = self.minter.lifetimes().renewal_grace();
            record.replaces = start.replaces.map(|id| (id, now.saturating_add(grace)));
            let event = client.event("session_created", Some(session.subject()), Some(session.id()));
            let caps = self.limits.caps(address, start.replaces);
            match self.store.insert_session_within(record, caps, Some(event), now).await {
                Err(StoreError::StartRevoked { earliest }) => started = earliest,
                Err(StoreError::SessionsExceeded(scope)) => {
                    let limit = limit_of(scope);
                    self.too_many(limit, start.subject, client, now).await;
                    return Err(LogInError::Limited(self.limits.hit(limit, SESSIONS_RETRY)));
                }
                Err(error) => return Err(error.into()),
                Ok(made) => {
                    self.made_room(&made, client, now).await;
                    let event = client.happened(EventKind::SessionCreated, now).session(session.id());
                    self.events.record(event.of(Some(start.subject.clone())));
                    return Ok(token);
                }
            }
        }
        Err(LogInError::Busy)
    }

    /// The successor of a token, or the token itself while it is not due.
    pub(crate) async fn renew(
        &self,
        shown: Credential<'_>,
        head: RequestHead<'_>,
        client: &Client,
        now: UnixTime,
    ) -> Result<Renewal, RenewError<StoreError>> {
        let token = self.hosts.admit_for_renewal(shown, head, now)?;
        // The store asks again inside its transaction; what is known here
        // already costs no write.
        self.hosts.own().check_revoked(&token, now)?;
        let keys =
            self.keyring.signing_keys(&self.revocations.revoked_keys(), now).map_err(RenewError::Mint)?;
        let mut request = issuer::request(&token, &keys, self.minter.lifetimes(), now);
        request.address = Some(client.address.to_string().into());
        let outcome = self.store.renew(request.clone()).await.map_err(RenewError::Ledger)?;
        let renewal = issuer::answer(outcome, shown.token(), token, &keys, &request);
        if renewal.is_ok() {
            self.events.verdict(Ok(()));
        }
        match &renewal {
            Ok(Renewal { renewed: true, token }) => {
                let event = client.happened(EventKind::SessionRenewed, now);
                self.events.record(event.session(token.session().id()));
            }
            // Not due, or a repetition: no event, and a use all the same.
            Ok(Renewal { renewed: false, token }) => {
                self.events.used(token.session().id(), client.address, now);
            }
            Err(RenewError::Reuse { id }) => {
                self.events.record(client.happened(EventKind::TokenReuse, now).session(*id));
                // The store revoked it; this process's list must know at once.
                self.catch_up(now).await;
            }
            Err(RenewError::Refused(Rejection::Expired { .. } | Rejection::SessionEnded { .. })) => {
                self.events.record(client.happened(EventKind::UseAfterExpiry, now));
            }
            _ => {}
        }
        renewal
    }

    /// Ends sessions for good: on disk before it is said, and known to this
    /// process's own requests at once. `from` is who ends them, if somebody
    /// context.
    pub(crate) async fn revoke(
        &self,
        target: Target,
        event: Option<AuditEvent>,
        from: Option<IpAddr>,
        now: UnixTime,
    ) -> Result<Revoked, StoreError> {
        let (of, mut ended) = (target.name(), ended(&target, now));
        ended.address = from;
        let revoked = self.store.revoke(target, event, now).await?;
        if revoked.added > 0 {
            self.events.metrics.revoked(of);
            self.events.record(ended);
        }
        self.catch_up(now).await;
        Ok(revoked)
    }

    /// Ends a session, with what it hangs on and what hangs on it: whoever logs
    /// out at one host is logged out at all of them.
    pub(crate) async fn log_out(
        &self,
        session: &Session,
        client: &Client,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        let target = Target::Family { id: session.id(), ends: Some(session.ends_at()) };
        let event = client.event("session_ended", Some(session.subject()), Some(session.id()));
        self.revoke(target, Some(event), Some(client.address), now).await.map(drop)
    }

    /// Ends another session of the same user, on all hosts; whether it was theirs.
    pub(crate) async fn end_session(
        &self,
        session: &Session,
        id: SessionId,
        client: &Client,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        let found = self.store.find_session(id).await?;
        let Some(record) = found.filter(|record| record.subject.as_str() == session.subject()) else {
            return Ok(false);
        };
        let target = Target::Family { id, ends: Some(record.ends) };
        let event = client.event("session_ended", Some(session.subject()), Some(id));
        self.revoke(target, Some(event), Some(client.address), now).await?;
        Ok(true)
    }

    /// Ends every other session of the same user.
    pub(crate) async fn end_others(
        &self,
        session: &Session,
        client: &Client,
        now: UnixTime,
    ) -> Result<Revoked, LogInError> {
        let target =
            Target::OtherSessions { subject: Subject::new(session.subject())?, except: session.id() };
        let event = client.event("other_sessions_ended", Some(session.subject()), Some(session.id()));
        Ok(self.revoke(target, Some(event), Some(client.address), now).await?)
    }

    async fn catch_up(&self, now: UnixTime) {
        if let Err(error) = self.revocations.catch_up(now).await {
            // It is on disk and in the feed; the background task tries again.
            tracing::error!(%error, "this process's own list is behind");
        }
    }
}

/// That something was ended: one session, those of one user, or many.
fn ended(target: &Target, now: UnixTime) -> Event {
    let event = Event::new(EventKind::SessionEnded, now);
    match target {
        Target::Session { id, .. } | Target::Family { id, .. } => event.session(*id),
        Target::Subject(subject) | Target::OtherSessions { subject, .. } => event.of(Some(subject.clone())),
        Target::Key(_) | Target::All => event,
    }
}
