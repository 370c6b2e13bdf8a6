//! Checking a password, within the limits.

use std::time::Duration;

use crate::event::{EventKind, EventSink as _, Limit};
use crate::http::network_of;
use crate::id::{Subject, SubjectHash};
use crate::issuer::store::{Attempt, AttemptKey, DeviceId, Store, User};
use crate::server::login::client::Client;
use crate::server::login::error::LogInError;
use crate::server::login::limits::Limited;
use crate::server::login::password::Password;
use crate::server::login::service::SessionService;
use crate::session::Session;
use crate::time::UnixTime;

impl<S: Store> SessionService<S> {
    /// Returns whether this is the password of the session's user.
    pub(crate) async fn confirm(
        &self,
        session: &Session,
        password: Password,
        client: &Client,
        now: UnixTime,
    ) -> Result<(), LogInError> {
        self.authenticate(session.subject(), password, Some(session), client, now).await.map(drop)
    }

    /// Returns the known device of the client: by its cookie, or else by the
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

    /// Returns the user with this name and password. Checks every limit on
    /// attempts before the password. An unknown name takes the same steps.
    pub(crate) async fn authenticate(
        &self,
        name: &str,
        password: Password,
        session: Option<&Session>,
        client: &Client,
        now: UnixTime,
    ) -> Result<User, LogInError> {
        let tried = Subject::new(name).ok();
        let limited = |limited: Limited| {
            self.events
                .record(client.happened(EventKind::LogInLimited(limited.limit), now).of(tried.clone()));
            LogInError::Limited(limited)
        };
        if let Some(wait) = self.throttle.refused(client.address(), now) {
            let kind = EventKind::LogInLimited(Limit::Address);
            self.events.record(client.happened(kind, now).of(Subject::new(name).ok()));
            return Err(LogInError::Throttled(wait));
        }
        self.limits.attempt(client.address()).map_err(limited)?;
        let admitted = self.passwords.admit(network_of(client.address())).map_err(|_| {
            limited(Limited::new(Limit::PasswordWork, Duration::ZERO));
            LogInError::Busy
        })?;
        let user = self.store.find_user(name).await?;
        let account = SubjectHash::of(name);
        let key = AttemptKey { account, device: self.device(account, session, client, now) };
        let rule = self.limits.rule();
        let (key, last) = match self.store.begin_attempt(key, user.is_some(), rule, now).await? {
            Attempt::Go { key, last } => (key, last),
            Attempt::Wait(wait) => return Err(limited(Limited::new(Limit::Account, wait))),
            Attempt::Locked => return Err(limited(Limited::new(Limit::Failures, rule.longest_wait))),
        };
        let hash = user.as_ref().map(|user| user.password_hash.clone());
        // The password is checked for disabled and unknown users too, so that
        // the time of the answer does not reveal which users exist.
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
}
