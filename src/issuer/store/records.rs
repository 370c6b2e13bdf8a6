//! The records of a store.

use core::fmt;

use crate::id::{KeyId, SessionId, Subject};
use crate::issuer::ledger::Row;
use crate::policy::{Lifetimes, Profile};
use crate::revocation::{Entry, Position};
use crate::session::Session;
use crate::time::UnixTime;

/// What a user may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Log in.
    #[default]
    User,
    /// Also see and end other people's sessions.
    Operator,
}

impl Role {
    /// `user` or `operator`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Operator => "operator",
        }
    }

    /// The role with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::User, Self::Operator].into_iter().find(|role| role.as_str() == name)
    }
}

/// A new user.
#[derive(Clone)]
pub struct NewUser {
    /// The name, which is the subject of the user's sessions.
    pub name: Subject,
    /// A PHC string.
    pub password_hash: String,
    /// The user's role.
    pub role: Role,
    /// The application's claims that the user's tokens carry.
    pub claims: Option<serde_json::Value>,
}

impl fmt::Debug for NewUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewUser({}, hash not shown)", self.name)
    }
}

/// A user.
#[derive(Clone)]
pub struct User {
    /// The name, which is the subject of the user's sessions.
    pub name: Subject,
    /// A PHC string.
    pub password_hash: String,
    /// Counts changes of the password, so that a log-in that checked the old
    /// one can be refused.
    pub password_version: u64,
    /// When the password was last changed.
    pub password_changed: UnixTime,
    /// What the user may do.
    pub role: Role,
    /// The application's claims that the user's tokens carry.
    pub claims: Option<serde_json::Value>,
    /// Whether the user is disabled.
    pub disabled: bool,
    /// When the user was added.
    pub created: UnixTime,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "User({}, {}, hash not shown)", self.name, self.role.as_str())
    }
}

/// The issuer's record of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// The session.
    pub id: SessionId,
    /// Its user.
    pub subject: Subject,
    /// The parent: the session from which a cross-host log-in started this one.
    /// This one is revoked with it and ends no later.
    pub parent: Option<SessionId>,
    /// The audience of its tokens.
    pub audience: Option<String>,
    /// The client's address at log-in.
    pub address: Option<String>,
    /// The client's User-Agent, at most 256 characters.
    pub user_agent: Option<String>,
    /// When it started.
    pub started: UnixTime,
    /// When the user last authenticated.
    pub auth_time: UnixTime,
    /// When its newest token was made.
    pub last_renewal: UnixTime,
    /// Its absolute end.
    pub ends: UnixTime,
    /// The newest token.
    pub row: Row,
    /// The [`User::password_version`] of the log-in; `None` for other
    /// credentials. Checked when the session is inserted, not stored.
    pub password_version: Option<u64>,
    /// The session that this one replaces, and when to revoke that. Its
    /// children become this one's.
    pub replaces: Option<(SessionId, UnixTime)>,
}

impl SessionRecord {
    /// Longest user agent that is stored, in characters.
    pub const MAX_USER_AGENT: usize = 256;

    /// The record of a session whose first token was just signed.
    ///
    /// # Errors
    /// [`ConfigError::Subject`](crate::ConfigError::Subject), which no token
    /// made here causes.
    pub fn new(session: &Session, lifetimes: &Lifetimes) -> Result<Self, crate::error::ConfigError> {
        Ok(Self {
            id: session.id(),
            subject: Subject::new(session.subject())?,
            parent: None,
            audience: session.audience().map(str::to_owned),
            address: None,
            user_agent: None,
            started: session.started_at(),
            auth_time: session.auth_time(),
            last_renewal: session.issued_at(),
            ends: session.ends_at(),
            row: Row::first(session, lifetimes),
            password_version: None,
            replaces: None,
        })
    }

    /// Returns whether the log-in asked to be remembered.
    #[must_use]
    pub fn is_remembered(&self) -> bool {
        self.row.profile == Profile::Remembered
    }

    /// Sets the client's address and user agent.
    #[must_use]
    pub fn client(mut self, address: Option<String>, user_agent: Option<&str>) -> Self {
        self.address = address;
        self.user_agent = user_agent
            .map(|text| text.chars().filter(|c| !c.is_control()).take(Self::MAX_USER_AGENT).collect());
        self
    }
}

/// What to revoke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A session and its children.
    Session {
        /// The session.
        id: SessionId,
        /// When it ends, if the caller knows: for a session that is not in the
        /// store. Otherwise the store knows, or takes the latest possible end.
        ends: Option<UnixTime>,
    },
    /// The root of a session, and all its children: everything that one log-in
    /// led to, on any host.
    Family {
        /// Any session of the family.
        id: SessionId,
        /// When it ends, as for [`Target::Session`].
        ends: Option<UnixTime>,
    },
    /// Every session of a subject but one, with their children.
    OtherSessions {
        /// The user.
        subject: Subject,
        /// The session that stays.
        except: SessionId,
    },
    /// Every session of a subject started so far.
    Subject(Subject),
    /// Everything that a key signed.
    Key(KeyId),
    /// Every session started so far.
    All,
}

impl Target {
    /// The stable name in metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Session { .. } => "session",
            Self::Family { .. } => "family",
            Self::OtherSessions { .. } => "other_sessions",
            Self::Subject(_) => "subject",
            Self::Key(_) => "key",
            Self::All => "all",
        }
    }
}

/// The result of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// The position of the feed with it.
    pub position: Position,
    /// The number of new entries: 0 if everything was revoked already.
    pub added: u64,
}

/// Revocations between two positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The sequence that they come after; `None` for all revocations.
    pub base: Option<u64>,
    /// The position with them.
    pub position: Position,
    /// In the order of their sequence. A later entry on the same subject, or
    /// on all, replaces the earlier.
    pub entries: Vec<Entry>,
}

/// A new event of the audit trail. It has no secrets and no tokens, and names a
/// session by its short hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditEvent {
    /// A name like `authn_login_fail` (OWASP logging vocabulary).
    pub kind: String,
    /// The user that it is about.
    pub subject: Option<String>,
    /// The session's short hash.
    pub session: Option<String>,
    /// The client's address.
    pub address: Option<String>,
    /// Further facts, as JSON.
    pub detail: Option<serde_json::Value>,
}

/// An event of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its number.
    pub id: i64,
    /// When it was written.
    pub at: UnixTime,
    /// Its contents.
    pub event: AuditEvent,
}

/// What [`Store::expire`](super::Store::expire) deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Sessions.
    pub sessions: u64,
    /// Revocations.
    pub revocations: u64,
    /// Audit events.
    pub audit: u64,
}

impl Expired {
    /// Returns whether a batch of this size left more to delete.
    #[must_use]
    pub fn more(&self, batch: u32) -> bool {
        [self.sessions, self.revocations, self.audit].into_iter().any(|n| n >= u64::from(batch))
    }
}
