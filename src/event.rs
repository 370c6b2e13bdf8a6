//! Events, for logs, metrics, the audit trail and the detection of anomalies.
//! They hold no secrets.

use std::net::IpAddr;

use crate::error::Reason;
use crate::id::{SessionId, Subject};
use crate::time::UnixTime;

/// Something that happened to a session, or to an attempt to get one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// When it happened.
    pub at: UnixTime,
    /// What happened.
    pub kind: EventKind,
    /// The client's address, if it is known.
    pub address: Option<IpAddr>,
    /// The session's user, or the name in the attempt.
    pub subject: Option<Subject>,
    /// The session. Logs show its [short hash](SessionId::short_hash).
    pub session: Option<SessionId>,
}

/// What happened. [`EventKind::name`] is from the OWASP logging vocabulary
/// where that has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// A password was right.
    LogInSucceeded,
    /// A password was wrong, or there is no such user, or the user is disabled.
    LogInFailed,
    /// An attempt to log in was refused before the password was checked.
    LogInLimited(Limit),
    /// A session started.
    SessionCreated,
    /// A session was renewed.
    SessionRenewed,
    /// A session was ended by its user or by an operator.
    SessionEnded,
    /// A session was not started, or an older one was ended, because a limit
    /// was reached.
    SessionsExceeded(Limit),
    /// An expired token was presented.
    UseAfterExpiry,
    /// A token, ticket or proof was refused.
    TokenRefused(Reason),
    /// An old token was renewed after its successor had been used, so one of
    /// the two holders is a thief. The session is revoked.
    TokenReuse,
    /// A single-use token was made.
    TicketIssued,
    /// A single-use token was accepted.
    TicketRedeemed,
}

/// The limit that refused an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// Attempts to log in as one user.
    Account,
    /// Attempts to log in from one network.
    Address,
    /// Consecutive failures of one user (NIST SP 800-63B-4 §3.2.2: at most 100).
    Failures,
    /// Live or new sessions of one user.
    SessionsOfAccount,
    /// Live or new sessions of one network.
    SessionsOfAddress,
    /// Passwords being checked at once.
    PasswordWork,
    /// Requests for the feed from one network.
    Feed,
}

impl Event {
    /// An event with no address, user or session.
    #[must_use]
    pub const fn new(kind: EventKind, at: UnixTime) -> Self {
        Self { at, kind, address: None, subject: None, session: None }
    }

    /// Sets the client's address.
    #[must_use]
    pub const fn from(mut self, address: IpAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// Sets the user.
    #[must_use]
    pub fn of(mut self, subject: Option<Subject>) -> Self {
        self.subject = subject;
        self
    }

    /// Sets the session.
    #[must_use]
    pub const fn session(mut self, id: SessionId) -> Self {
        self.session = Some(id);
        self
    }
}

impl EventKind {
    /// The stable name in logs, metrics and the audit trail.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LogInSucceeded => "authn_login_success",
            Self::LogInFailed => "authn_login_fail",
            Self::LogInLimited(Limit::Failures) => "authn_login_fail_max",
            Self::LogInLimited(_) => "excess_rate_limit_exceeded",
            Self::SessionCreated => "session_created",
            Self::SessionRenewed => "session_renewed",
            Self::SessionEnded => "session_expired",
            Self::SessionsExceeded(_) => "excess_sessions_exceeded",
            Self::UseAfterExpiry => "session_use_after_expire",
            Self::TokenRefused(_) => "token_refused",
            Self::TokenReuse => "authn_token_reuse",
            Self::TicketIssued => "ticket_issued",
            Self::TicketRedeemed => "ticket_redeemed",
        }
    }
}

impl Limit {
    /// The stable name in logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Address => "address",
            Self::Failures => "failures",
            Self::SessionsOfAccount => "sessions_of_account",
            Self::SessionsOfAddress => "sessions_of_address",
            Self::PasswordWork => "password_work",
            Self::Feed => "feed",
        }
    }
}

/// Receives every event. It is called on the request path, so it must return at
/// once: count, or pass the event to a bounded queue.
pub trait EventSink: Send + Sync + 'static {
    /// Takes one event.
    fn record(&self, event: Event);

    /// Receives the outcome of every token, for counting. A refusal with more
    /// facts comes as an event too. Does nothing by default.
    fn verdict(&self, verdict: Result<(), Reason>) {
        let _ = verdict;
    }

    /// Receives the address of each use of an admitted session: one session on
    /// many networks is an anomaly. Does nothing by default.
    fn used(&self, session: SessionId, address: IpAddr, at: UnixTime) {
        let _ = (session, address, at);
    }
}
