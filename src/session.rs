//! The admitted session, which handlers receive.

#[cfg(any(feature = "axum", feature = "sync"))]
mod ended;

use core::fmt;
use core::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::error::Rejection;
use crate::id::{KeyId, SessionId, TokenId};
use crate::time::UnixTime;
#[cfg(feature = "axum")]
use crate::time::{Clock, SystemClock};
use crate::verify::{CachedToken, VerifiedToken};
use crate::wire::app;
use crate::wire::claims::Claims;

#[cfg(any(feature = "axum", feature = "sync"))]
pub use self::ended::Ended;
#[cfg(any(feature = "axum", feature = "sync"))]
pub(crate) use self::ended::Lifeline;

/// An admitted session. It is immutable, and only
/// [`Verifier::verify`](crate::Verifier::verify) makes it.
///
/// `C` is the type of the application's claims, which [`Session::claims`] decodes.
pub struct Session<C = ()> {
    token: Held,
    /// Detects when the session ends.
    #[cfg(any(feature = "axum", feature = "sync"))]
    lifeline: Option<Arc<Lifeline>>,
    kind: PhantomData<fn() -> C>,
}

/// Neither variant allocates.
#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "so that a verification without a cache allocates nothing")]
enum Held {
    /// Verified for this session only.
    Own(VerifiedToken),
    /// Shared with the cache of verified tokens.
    Cached(Arc<CachedToken>),
}

impl Held {
    fn get(&self) -> &VerifiedToken {
        match self {
            Self::Own(token) => token,
            Self::Cached(cached) => cached.token(),
        }
    }
}

impl<C> Session<C> {
    /// Only admission calls this.
    pub(crate) const fn admitted(token: VerifiedToken) -> Self {
        Self::holding(Held::Own(token))
    }

    /// Only admission calls this.
    pub(crate) const fn admitted_again(token: Arc<CachedToken>) -> Self {
        Self::holding(Held::Cached(token))
    }

    const fn holding(token: Held) -> Self {
        Self {
            token,
            #[cfg(any(feature = "axum", feature = "sync"))]
            lifeline: None,
            kind: PhantomData,
        }
    }

    /// Attaches the verifier that admitted it.
    #[cfg(any(feature = "axum", feature = "sync"))]
    pub(crate) fn with_lifeline(mut self, lifeline: &Arc<Lifeline>) -> Self {
        self.lifeline = Some(Arc::clone(lifeline));
        self
    }

    fn token(&self) -> &VerifiedToken {
        self.token.get()
    }

    pub(crate) fn all_claims(&self) -> &Claims {
        self.token().claims()
    }

    /// Clones it with another claims type.
    #[cfg(feature = "axum")]
    pub(crate) fn seen_with<D>(&self) -> Session<D> {
        Session { token: self.token.clone(), lifeline: self.lifeline.clone(), kind: PhantomData }
    }

    /// Converts it to another claims type.
    #[must_use]
    pub fn with_claims<D>(self) -> Session<D> {
        Session {
            token: self.token,
            #[cfg(any(feature = "axum", feature = "sync"))]
            lifeline: self.lifeline,
            kind: PhantomData,
        }
    }

    /// Returns the subject.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.all_claims().subject()
    }

    /// Returns the session id, which every renewal keeps.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.all_claims().session.session_id
    }

    /// Returns the token id.
    #[must_use]
    pub fn token_id(&self) -> TokenId {
        self.all_claims().token_id
    }

    /// Returns the id of the key that signed the token.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.token().key_id()
    }

    /// Returns the audience.
    #[must_use]
    pub fn audience(&self) -> Option<&str> {
        self.all_claims().audience()
    }

    /// Returns the issuer.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.all_claims().issuer()
    }

    /// Returns when this token was issued.
    #[must_use]
    pub fn issued_at(&self) -> UnixTime {
        self.all_claims().issued
    }

    /// Returns when this token expires unless renewed.
    #[must_use]
    pub fn expires_at(&self) -> UnixTime {
        self.all_claims().expires
    }

    /// Returns when the session started.
    #[must_use]
    pub fn started_at(&self) -> UnixTime {
        self.all_claims().session.started
    }

    /// Returns the session's absolute end, which no renewal moves.
    #[must_use]
    pub fn ends_at(&self) -> UnixTime {
        self.all_claims().session.ends
    }

    /// Returns when the user last authenticated.
    #[must_use]
    pub fn auth_time(&self) -> UnixTime {
        self.all_claims().session.auth_time
    }

    /// Iterates over the methods by which the user authenticated (`amr`, RFC
    /// 8176), like `pwd`.
    pub fn amr(&self) -> impl Iterator<Item = &str> {
        self.all_claims().amr()
    }

    /// Checks that the user authenticated at most `age` ago, in whole seconds. For
    /// actions that need more than a session.
    ///
    /// # Errors
    /// [`Rejection::ReauthenticationRequired`]
    pub fn authenticated_within(&self, age: Duration, now: UnixTime) -> Result<(), Rejection> {
        let auth_time = self.auth_time();
        if now.since(auth_time) <= age {
            return Ok(());
        }
        Err(Rejection::ReauthenticationRequired { auth_time, now, max_age_secs: age.as_secs() })
    }

    /// Returns the current time by the clock of the verifier that admitted it.
    #[cfg(feature = "axum")]
    pub(crate) fn now(&self) -> UnixTime {
        self.lifeline.as_ref().map_or_else(|| SystemClock.now(), |lifeline| lifeline.now())
    }

    /// Returns how often the session was renewed.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.all_claims().session.generation
    }

    /// Returns the thumbprint of the client key the session is bound to (`cnf`).
    #[must_use]
    pub fn bound_to(&self) -> Option<&[u8; 32]> {
        self.all_claims().bound_to.as_ref()
    }

    /// Returns the application's claims as JSON, of any type; null without claims.
    #[must_use]
    pub fn claims_json(&self) -> serde_json::Value {
        self.all_claims().app().map_or(serde_json::Value::Null, app::to_json)
    }
}

impl<C: DeserializeOwned> Session<C> {
    /// Decodes the application's claims.
    ///
    /// # Errors
    /// [`ClaimsError`] if the token has none, or if they do not fit `C`: issuer and
    /// service disagree on the type.
    pub fn claims(&self) -> Result<C, ClaimsError> {
        let encoded = self.all_claims().app().ok_or(ClaimsError::Absent)?;
        app::decode(encoded).map_err(ClaimsError::Shape)
    }
}

/// The application's claims are missing or of another type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimsError {
    /// The token has no application claims.
    #[error("the token carries no claims of the application")]
    Absent,
    /// They do not fit the type; the text says where.
    #[error("the token's application claims are of another shape: {0}")]
    Shape(String),
}

impl<C> Clone for Session<C> {
    fn clone(&self) -> Self {
        Self {
            token: self.token.clone(),
            #[cfg(any(feature = "axum", feature = "sync"))]
            lifeline: self.lifeline.clone(),
            kind: PhantomData,
        }
    }
}

impl<C> fmt::Debug for Session<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session(#{})", self.id().short_hash())
    }
}

/// The session in JSON, as in every command and endpoint.
impl<C> Serialize for Session<C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut s = serializer.serialize_struct("Session", 12)?;
        s.serialize_field("subject", self.subject())?;
        s.serialize_field("session_id", &self.id())?;
        s.serialize_field("token_id", &self.token_id())?;
        s.serialize_field("audience", &self.audience())?;
        s.serialize_field("issued_at", &self.issued_at())?;
        s.serialize_field("expires_at", &self.expires_at())?;
        s.serialize_field("started_at", &self.started_at())?;
        s.serialize_field("ends_at", &self.ends_at())?;
        s.serialize_field("auth_time", &self.auth_time())?;
        s.serialize_field("amr", &self.amr().collect::<Vec<_>>())?;
        s.serialize_field("generation", &self.generation())?;
        s.serialize_field("claims", &self.claims_json())?;
        s.end()
    }
}
