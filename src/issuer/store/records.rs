//! What goes into a store and comes out of it.

use core::fmt;

use crate::id::{KeyId, SessionId, Subject};
use crate::issuer::ledger::Row;
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

    /// The role of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::User, Self::Operator].into_iter().find(|role| role.as_str() == name)
    }
}

/// A user to be added.
#[derive(Clone)]
pub struct NewUser {
    /// The name, which is the subject of the user's sessions.
    pub name: Subject,
    /// A PHC string.
    pub password_hash: String,
    /// What the user may do.
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
    /// Counts changes of the password, so that a log-in with an old one that
    /// is under way can be told.
    pub password_version: u64,
    /// When the password was last changed.
    pub password_changed: UnixTime,
    /// What the user may do.
    pub role: Role,
    /// The application's claims that the user's tokens carry.
    pub claims: Option<serde_json::Value>,
    /// Whether the user is kept from logging in.
    pub disabled: bool,
    /// When the user was added.
    pub created: UnixTime,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "User({}, {}, hash not shown)", self.name, self.role.as_str())
    }
}

/// A session as the issuer keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// The session.
    pub id: SessionId,
    /// Whose it is.
    pub subject: Subject,
    /// The session that a hop to another host started this one from. It is
    /// revoked with it and ends no later.
    pub parent: Option<SessionId>,
    /// Whom its tokens are for.
    pub audience: Option<String>,
    /// Where the client was at log-in.
    pub address: Option<String>,
    /// What the client said it was, at most 256 characters of it.
    pub user_agent: Option<String>,
    /// When it started.
    pub started: UnixTime,
    /// When credentials were last given.
    pub auth_time: UnixTime,
    /// When a new token was last made.
    pub last_renewal: UnixTime,
    /// Its absolute end.
    pub ends: UnixTime,
    /// The newest token.
    pub row: Row,
    /// The [`User::password_version`] that was logged in with; `None` for
    /// other credentials. Looked at when the session is inserted, not kept.
    pub password_version: Option<u64>,
    /// The session that this one takes the place of, and when that is to be
    /// revoked. Its children become this one's.
    pub replaces: Option<(SessionId, UnixTime)>,
}

impl SessionRecord {
    /// Longest user agent that is kept, in characters.
    pub const MAX_USER_AGENT: usize = 256;

    /// The record of a session whose first token was just signed.
    ///
    /// # Errors
    /// [`ConfigError::Subject`](crate::ConfigError::Subject), which no token
    /// made here has.
    pub fn new(session: &Session) -> Result<Self, crate::error::ConfigError> {
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
            row: Row::first(session),
            password_version: None,
            replaces: None,
        })
    }

    /// The same with the client's address and user agent.
    #[must_use]
    pub fn client(mut self, address: Option<String>, user_agent: Option<&str>) -> Self {
        self.address = address;
        self.user_agent = user_agent
            .map(|text| text.chars().filter(|c| !c.is_control()).take(Self::MAX_USER_AGENT).collect());
        self
    }
}

/// What is to be revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A session and its children.
    Session {
        /// The session.
        id: SessionId,
        /// When it ends, if the caller knows: for a session that is in no
        /// store. Otherwise the store knows, or takes the latest end possible.
        ends: Option<UnixTime>,
    },
    /// The session that a session hangs on, and all that hangs on that: what
    /// one log-in led to, on whatever host.
    Family {
        /// Any of them.
        id: SessionId,
        /// When it ends, as for [`Target::Session`].
        ends: Option<UnixTime>,
    },
    /// Every session of a subject but one, with their children: "end the
    /// others".
    OtherSessions {
        /// Whose.
        subject: Subject,
        /// The one that stays.
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

/// What came of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// The position of the feed with it.
    pub position: Position,
    /// How many entries it added: none if all was revoked already.
    pub added: u64,
}

/// Revocations between two positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The sequence they come after; `None` if they are all there are.
    pub base: Option<u64>,
    /// The position with them.
    pub position: Position,
    /// In the order of their sequence. A later entry on the same subject, or
    /// on all, replaces the earlier.
    pub entries: Vec<Entry>,
}

/// Something for the audit trail. No secrets, no tokens; a session by its
/// short hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditEvent {
    /// A name like `authn_login_fail` (OWASP logging vocabulary).
    pub kind: String,
    /// Whom it is about.
    pub subject: Option<String>,
    /// The session's short hash.
    pub session: Option<String>,
    /// Where from.
    pub address: Option<String>,
    /// More, as JSON.
    pub detail: Option<serde_json::Value>,
}

/// An event of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its number.
    pub id: i64,
    /// When it was written.
    pub at: UnixTime,
    /// What it says.
    pub event: AuditEvent,
}

/// How much [`Store::expire`](super::Store::expire) deleted.
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
    /// Whether a batch of this size left something to do.
    #[must_use]
    pub fn more(&self, batch: u32) -> bool {
        [self.sessions, self.revocations, self.audit].into_iter().any(|n| n >= u64::from(batch))
    }
}
