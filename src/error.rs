//! Two families of errors that never mix. [`ConfigError`]: this process is configured
//! wrongly, and a person can fix it. [`Rejection`]: a request was refused by policy.

mod proof;

use core::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

pub use self::proof::ProofError;
use crate::id::{IdError, KeyId, KeyUse, SubjectError};
use crate::time::UnixTime;

/// An error of any type, as the source of another error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The configuration is wrong. The text says how to fix it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Two keys of a set have the same kid.
    #[error("two keys have the id {0}; remove one of them")]
    DuplicateKey(KeyId),
    /// The public key has small order, so anyone could sign for it.
    #[error("the public key {0} is weak (of small order); make a new one with 'hallpass key new'")]
    WeakKey(KeyId),
    /// A key set without keys verifies nothing.
    #[error("the key set is empty; export one with 'hallpass key export'")]
    NoKeys,
    /// A key of the wrong use.
    #[error("key {key} is a {found} key, and a {wanted} key is needed here; see 'hallpass key list'")]
    KeyUse {
        /// The key.
        key: KeyId,
        /// The use it was made for.
        found: KeyUse,
        /// The use that is needed.
        wanted: KeyUse,
    },
    /// A key or key set that can't be read; `why` says what is wrong with it.
    #[error("{0}")]
    Key(String),
    /// A file that can't be read or written.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        source: BoxError,
    },
    /// A directory or file that others can write to, so its contents may be theirs.
    #[error("others can write to {path} (mode {mode:04o}); run: chmod go-w {path}", path = path.display())]
    OpenToOthers {
        /// The directory or file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A directory or file of another user, who could change it at any time.
    #[error(
        "{path} belongs to user {owner}, and this process runs as user {user}; run: chown {user} {path}",
        path = path.display()
    )]
    ForeignOwner {
        /// The directory or file.
        path: PathBuf,
        /// The owner's user id.
        owner: u32,
        /// This process's user id.
        user: u32,
    },
    /// An address that can't be listened on.
    #[error("can't listen on {address}: {source}; is something else running there?")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// The system's error.
        source: std::io::Error,
    },
    /// A proxy that is neither an address nor a network.
    #[error("{0:?} is no address and no network; write it like \"10.0.0.7\" or \"10.0.0.0/8\"")]
    Network(String),
    /// A secret in the environment that is too short.
    #[error("{variable} has fewer than {least} characters; make one with: openssl rand -hex 32")]
    Credential {
        /// The environment variable.
        variable: String,
        /// The fewest characters allowed.
        least: usize,
    },
    /// The server's socket failed.
    #[error("the server stopped: {0}")]
    Serve(#[source] BoxError),
    /// The system's source of random numbers failed.
    #[error("the system gives no randomness: {0}")]
    Randomness(#[source] BoxError),
    /// The HTTP client can't be built.
    #[error("no HTTP client: {0}")]
    HttpClient(#[source] BoxError),
    /// A subject that can't be used.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// An id that can't be read.
    #[error(transparent)]
    Id(#[from] IdError),
    /// An invalid lifetime; the text names it.
    #[error("{0}")]
    Lifetimes(String),
    /// A builder lacks a required setting.
    #[error("{0}")]
    Builder(&'static str),
    /// The application's claims can't be encoded.
    #[error("the application's claims can't be encoded: {0}")]
    Claims(#[source] BoxError),
    /// The token would exceed the configured length.
    #[error(
        "the token would have {characters} characters and {limit} are allowed; \
         put less into the application's claims or raise tokens.max_characters (at most 4000)"
    )]
    TokenTooLong {
        /// Its length with room for renewal, in characters.
        characters: usize,
        /// The configured limit, in characters.
        limit: usize,
    },
}

/// Why a request was refused, without details: the value of the `reason` label in
/// metrics and of `"reason"` in JSON.
///
/// The variants are in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// Not an encoding of a token.
    Malformed,
    /// A signed artefact of another kind.
    WrongType,
    /// No configured key has this kid.
    UnknownKey,
    /// The key did not sign these bytes.
    BadSignature,
    /// Issued by another issuer.
    WrongIssuer,
    /// For another audience.
    WrongAudience,
    /// Issued in the future.
    NotYetValid,
    /// The session's absolute lifetime is over.
    SessionEnded,
    /// The token's max age is over.
    Expired,
    /// This edge's revocation list is stale.
    RevocationsStale,
    /// Revoked.
    Revoked,
    /// The log-in is older than the route allows.
    ReauthenticationRequired,
    /// The session is bound to a key, and the proof is missing or bad.
    ProofRequired,
    /// A single-use token or proof that was used.
    Replayed,
    /// The nonce cache is full of live entries.
    Capacity,
}

impl Reason {
    /// Every reason, in the order of the checks.
    pub const ALL: &[Self] = &[
        Self::Malformed,
        Self::WrongType,
        Self::UnknownKey,
        Self::BadSignature,
        Self::WrongIssuer,
        Self::WrongAudience,
        Self::NotYetValid,
        Self::SessionEnded,
        Self::Expired,
        Self::RevocationsStale,
        Self::Revoked,
        Self::ReauthenticationRequired,
        Self::ProofRequired,
        Self::Replayed,
        Self::Capacity,
    ];

    /// The stable name, like `bad_signature`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::WrongType => "wrong_type",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::NotYetValid => "not_yet_valid",
            Self::SessionEnded => "session_ended",
            Self::Expired => "expired",
            Self::RevocationsStale => "revocations_stale",
            Self::Revoked => "revoked",
            Self::ReauthenticationRequired => "reauthentication_required",
            Self::ProofRequired => "proof_required",
            Self::Replayed => "replayed",
            Self::Capacity => "capacity",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A request was refused. The details are for logs and operators; a client learns
/// only that it was refused.
///
/// In JSON: `{"reason":"expired","expires_at":…,"now":…}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rejection {
    /// Not an encoding of a token.
    #[error("malformed: {detail}")]
    Malformed {
        /// Which rule of the wire format is broken.
        detail: Malformed,
    },
    /// A signed artefact of another kind (header `typ`).
    #[error("signed for another purpose than {expected}")]
    WrongType {
        /// The kind that is needed here.
        expected: &'static str,
    },
    /// No configured key has this kid.
    #[error("no configured key has the id {key_id}")]
    UnknownKey {
        /// The kid that the token names.
        key_id: KeyId,
    },
    /// The key did not sign these bytes with the algorithm pinned to it.
    #[error("key {key_id} did not sign this")]
    BadSignature {
        /// The kid that the token names.
        key_id: KeyId,
    },
    /// Issued by another issuer, without the required issuer, or with an issuer
    /// where none is expected.
    #[error("the issuer is {found:?}, and {expected:?} is required")]
    WrongIssuer {
        /// The issuer this verifier trusts.
        expected: Option<Box<str>>,
        /// The issuer that the token names.
        found: Option<Box<str>>,
    },
    /// The same for the audience. For a ticket's path, both values are followed
    /// by a space and the path.
    #[error("the audience is {found:?}, and {expected:?} is required")]
    WrongAudience {
        /// The verifier's audience.
        expected: Option<Box<str>>,
        /// The audience that the token names.
        found: Option<Box<str>>,
    },
    /// Issued in the future, by more than the leeway.
    #[error("issued at {issued_at}, and it is {now}")]
    NotYetValid {
        /// When the token was issued.
        issued_at: UnixTime,
        /// The time compared with.
        now: UnixTime,
    },
    /// The session's absolute lifetime is over.
    #[error("the session ended at {ends_at}, and it is {now}")]
    SessionEnded {
        /// The session's absolute end.
        ends_at: UnixTime,
        /// The time compared with.
        now: UnixTime,
    },
    /// The token's max age is over.
    #[error("expired at {expires_at}, and it is {now}")]
    Expired {
        /// The token's expiry.
        expires_at: UnixTime,
        /// The time compared with.
        now: UnixTime,
    },
    /// The revocation list is older than its staleness bound.
    #[error("the revocation list is as of {as_of:?}, and it is {now}")]
    RevocationsStale {
        /// The time at which the list was last known to be complete.
        as_of: Option<UnixTime>,
        /// The time compared with.
        now: UnixTime,
    },
    /// The session, its subject, its key or everything was revoked.
    #[error("revoked ({by})")]
    Revoked {
        /// What kind of entry revoked it.
        by: RevokedBy,
    },
    /// The authentication is older than the route allows.
    #[error("authenticated at {auth_time}, and it is {now}; at most {max_age_secs} s are allowed")]
    ReauthenticationRequired {
        /// When the user last authenticated.
        auth_time: UnixTime,
        /// The time compared with.
        now: UnixTime,
        /// The oldest authentication allowed, in seconds.
        max_age_secs: u64,
    },
    /// The session is bound to a key, and no good proof came with it.
    #[error("the session is bound to a key, and there is no good proof of it: {}", detail.as_str())]
    ProofRequired {
        /// Which check the proof failed.
        detail: ProofError,
    },
    /// A single-use token or proof that was used, or may have been: it is from
    /// before this process started, or it had expired before the clock stepped
    /// back.
    #[error("used already")]
    Replayed,
    /// The nonce cache is full of live entries, or the session has its maximum.
    #[error("the nonce cache is full")]
    Capacity,
}

impl Rejection {
    /// Returns the reason without details.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Malformed { .. } => Reason::Malformed,
            Self::WrongType { .. } => Reason::WrongType,
            Self::UnknownKey { .. } => Reason::UnknownKey,
            Self::BadSignature { .. } => Reason::BadSignature,
            Self::WrongIssuer { .. } => Reason::WrongIssuer,
            Self::WrongAudience { .. } => Reason::WrongAudience,
            Self::NotYetValid { .. } => Reason::NotYetValid,
            Self::SessionEnded { .. } => Reason::SessionEnded,
            Self::Expired { .. } => Reason::Expired,
            Self::RevocationsStale { .. } => Reason::RevocationsStale,
            Self::Revoked { .. } => Reason::Revoked,
            Self::ReauthenticationRequired { .. } => Reason::ReauthenticationRequired,
            Self::ProofRequired { .. } => Reason::ProofRequired,
            Self::Replayed => Reason::Replayed,
            Self::Capacity => Reason::Capacity,
        }
    }
}

impl From<Malformed> for Rejection {
    fn from(detail: Malformed) -> Self {
        Self::Malformed { detail }
    }
}

/// Which kind of entry revoked a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RevokedBy {
    /// The session itself.
    Session,
    /// Its subject's sessions up to a time.
    Subject,
    /// The key that signed its token.
    Key,
    /// Every session up to a time.
    All,
}

impl RevokedBy {
    /// The stable name: `session`, `subject`, `key` or `all`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Subject => "subject",
            Self::Key => "key",
            Self::All => "all",
        }
    }
}

impl fmt::Display for RevokedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which rule of the wire format some bytes break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Malformed {
    /// Empty input.
    #[error("empty")]
    Empty,
    /// Longer than a token may be; the rest was not read.
    #[error("longer than a token may be")]
    TooLong,
    /// Not base64url, or padded.
    #[error("not base64url without padding")]
    NotBase64url,
    /// The last character has bits that no byte needs (RFC 4648 §3.5).
    #[error("stray bits in the last base64url character")]
    StrayBits,
    /// The CBOR ends too early.
    #[error("truncated CBOR")]
    Truncated,
    /// Bytes follow the item.
    #[error("bytes after the end of the CBOR item")]
    TrailingBytes,
    /// Not CBOR: a reserved value or a break out of place (RFC 8949 §3).
    #[error("not well-formed CBOR")]
    NotWellFormed,
    /// A number or length that has a shorter form (RFC 8949 §4.2.1).
    #[error("not the shortest form of a number or length")]
    NotShortest,
    /// An indefinite length (RFC 8949 §4.2.1).
    #[error("an indefinite length")]
    IndefiniteLength,
    /// Map keys out of order (RFC 8949 §4.2.1).
    #[error("map keys out of order")]
    UnsortedKeys,
    /// A map key twice.
    #[error("a map key twice")]
    DuplicateKey,
    /// Text that is not UTF-8.
    #[error("text that is not UTF-8")]
    NotUtf8,
    /// Nested deeper than 16 in the application's claims.
    #[error("nested too deeply")]
    TooDeep,
    /// Not tag 18 around an array of four (RFC 9052 §4.2).
    #[error("not a tagged COSE_Sign1")]
    NotSign1,
    /// The protected header is not a map of alg, kid and typ alone.
    #[error("the protected header is not exactly alg, kid and typ")]
    Header,
    /// A header label this format does not have.
    #[error("an unknown header label")]
    UnknownHeader,
    /// Critical headers (RFC 9052 §3.1): none are supported.
    #[error("critical headers")]
    Crit,
    /// An algorithm other than -8 and -19, or none.
    #[error("no algorithm of this format")]
    Algorithm,
    /// A kid that is not 8 bytes.
    #[error("a key id that is not 8 bytes")]
    KeyId,
    /// A typ that is neither a number nor a text.
    #[error("a content type that is neither number nor text")]
    Typ,
    /// Anything in the unprotected header.
    #[error("the unprotected header is not empty")]
    Unprotected,
    /// A nil (detached) payload, or one that is not a byte string.
    #[error("no payload")]
    NoPayload,
    /// A signature that is not 64 bytes.
    #[error("a signature that is not 64 bytes")]
    SignatureLength,
    /// The payload is not a map.
    #[error("the claims are not a map")]
    ClaimsNotMap,
    /// A claim this format does not have, or not in this kind of token.
    #[error("an unknown claim")]
    UnknownClaim,
    /// A claim that must be there is not.
    #[error("a claim is missing")]
    MissingClaim,
    /// A claim of a wrong type.
    #[error("a claim of a wrong type")]
    ClaimType,
    /// A claim whose value is out of range.
    #[error("a claim out of range")]
    ClaimRange,
    /// started ≤ iat, auth_time ≤ iat, iat < exp ≤ ends does not hold.
    #[error("the times contradict each other")]
    TimesOutOfOrder,
}

impl Malformed {
    /// The stable name, like `not_shortest`: the variant in snake case.
    #[must_use]
    pub fn name(self) -> String {
        serde_json::to_value(self)
            .ok()
            .and_then(|value| value.as_str().map(str::to_owned))
            .unwrap_or_default()
    }
}

/// Whole seconds of `duration` for messages, like "90s".
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs())
}
