//! Identifiers of sessions, tokens, keys and users.

use core::fmt;
use core::str::FromStr;

use serde::{Serialize, Serializer};

/// The error of a text that is not an id in hex.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a {what} is {digits} lowercase hex digits, not '{found}'")]
pub struct IdError {
    what: &'static str,
    digits: usize,
    /// The first 80 characters of the text.
    found: String,
}

/// The error of a subject that is empty, longer than 255 bytes, or has control
/// characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a subject is 1 to 255 bytes of UTF-8 without control characters")]
pub struct SubjectError;

macro_rules! bytes_id {
    ($(#[$doc:meta])* $name:ident, $len:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// The id with these bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The id's bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            /// Lowercase hex.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex(&self.0))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            /// Reads exactly the lowercase hex that [`Display`](fmt::Display) writes.
            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_hex(text).map(Self).ok_or_else(|| IdError {
                    what: $what,
                    digits: 2 * $len,
                    found: text.chars().take(80).collect(),
                })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

bytes_id! {
    /// One log-in: 16 random bytes, the same in every token the session is
    /// renewed into (`sid`).
    ///
    /// A thief can't use it, but it links requests to a person, so [`Debug`]
    /// and logs show only [`SessionId::short_hash`].
    SessionId, 16, "session id"
}

bytes_id! {
    /// One token: 16 bytes (`cti`, RFC 8392 §3.1.7).
    TokenId, 16, "token id"
}

bytes_id! {
    /// One key: the first 8 bytes of the SHA-256 COSE Key Thumbprint of its
    /// public half (`kid`; RFC 9052 §3.1, RFC 9679 §3).
    KeyId, 8, "key id"
}

bytes_id! {
    /// A subject in the revocation feed: the first 16 bytes of SHA-256 of its
    /// text, so that a feed in a CDN names nobody.
    SubjectHash, 16, "subject hash"
}

impl SubjectHash {
    /// The hash of a subject's text.
    #[must_use]
    pub fn of(subject: &str) -> Self {
        use sha2::{Digest, Sha256};
        let digest = Sha256::digest(subject);
        let mut hash = [0; Self::LEN];
        hash.copy_from_slice(&digest[..Self::LEN]);
        Self(hash)
    }
}

impl fmt::Debug for SubjectHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubjectHash({self})")
    }
}

impl SessionId {
    /// The session's name in logs: 8 hex digits of a SHA-256. They tell
    /// sessions apart, and nobody can find the id from them.
    #[must_use]
    pub fn short_hash(&self) -> String {
        use sha2::{Digest, Sha256};
        let digest = Sha256::new_with_prefix(b"hallpass log").chain_update(self.0).finalize();
        hex(&digest[..4])
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId(#{})", self.short_hash())
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({self})")
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// Lowercase hex, for JSON and people.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let digit = |n: u8| char::from(DIGITS[usize::from(n)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

/// The user of a session (`sub`): 1 to 255 bytes of UTF-8, without control
/// characters, since it is put into headers and log lines.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Subject(Box<str>);

impl Subject {
    /// Longest subject, in bytes.
    pub const MAX_BYTES: usize = 255;

    /// # Errors
    /// [`SubjectError`] if `text` is empty, longer than 255 bytes or
    /// has a control character.
    pub fn new(text: impl Into<Box<str>>) -> Result<Self, SubjectError> {
        let text = text.into();
        if Self::allows(&text) { Ok(Self(text)) } else { Err(SubjectError) }
    }

    /// Returns whether `text` is a valid subject.
    pub(crate) fn allows(text: &str) -> bool {
        !text.is_empty() && text.len() <= Self::MAX_BYTES && !text.contains(char::is_control)
    }

    /// The subject's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subject({:?})", self.0)
    }
}

/// What a key signs. No key signs both, so that the feed can revoke a stolen
/// session key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum KeyUse {
    /// Session tokens and tickets.
    Session,
    /// The revocation feed.
    Feed,
}

impl KeyUse {
    /// `session` or `feed`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Feed => "feed",
        }
    }
}

impl fmt::Display for KeyUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
