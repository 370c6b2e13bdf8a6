//! The admitted session: what a handler gets.

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

/// A session that was admitted at some moment. Immutable, and made by
/// [`Verifier::verify`](crate::Verifier::verify) alone.
///
/// `C` is the application's own claims, decoded when [`Session::claims`] asks
/// for them.
pub struct Session<C = ()> {
    token: Held,
    /// What can tell when it is over.
    #[cfg(any(feature = "axum", feature = "sync"))]
    lifeline: Option<Arc<Lifeline>>,
    kind: PhantomData<fn() -> C>,
}

/// Neither way of having a token takes an allocation of its own.
#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "so that a verification without a cache allocates nothing")]
enum Held {
    /// Verified for this session alone.
    Own(VerifiedToken),
    /// In the cache of verified tokens too.
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

    /// The session with what admitted it.
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

    /// A clone, seen with other claims.
    #[cfg(feature = "axum")]
    pub(crate) fn seen_with<D>(&self) -> Session<D> {
        Session { token: self.token.clone(), lifeline: self.lifeline.clone(), kind: PhantomData }
    }

    /// The session seen with other claims.
    #[must_use]
    pub fn with_claims<D>(self) -> Session<D> {
        Session {
            token: self.token,
            #[cfg(any(feature = "axum", feature = "sync"))]
            lifeline: self.lifeline,
            kind: PhantomData,
        }
    }

    /// Whose session it is.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.all_claims().subject()
    }

    /// This log-in; the same in every token it is renewed into.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.all_claims().session.session_id
    }

    /// This token.
    #[must_use]
    pub fn token_id(&self) -> TokenId {
        self.all_claims().token_id
    }

    /// The key that signed the token.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.token().key_id()
    }

    /// Whom the token is for.
    #[must_use]
    pub fn audience(&self) -> Option<&str> {
        self.all_claims().audience()
    }

    /// Who issued the token.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.all_claims().issuer()
    }

    /// When this token was issued.
    #[must_use]
    pub fn issued_at(&self) -> UnixTime {
        self.all_claims().issued
    }

    /// When this token expires unless renewed.
    #[must_use]
    pub fn expires_at(&self) -> UnixTime {
        self.all_claims().expires
    }

    /// When the session was started.
    #[must_use]
    pub fn started_at(&self) -> UnixTime {
        self.all_claims().session.started
    }

    /// When the session ends, however often renewed.
    #[must_use]
    pub fn ends_at(&self) -> UnixTime {
        self.all_claims().session.ends
    }

    /// When the user last gave credentials.
    #[must_use]
    pub fn auth_time(&self) -> UnixTime {
        self.all_claims().session.auth_time
    }

    /// Whether the user gave credentials at most `age` ago, in whole seconds: for
    /// what a session alone should not be enough for.
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

    /// The present, by the clock of the verifier that admitted it.
    #[cfg(feature = "axum")]
    pub(crate) fn now(&self) -> UnixTime {
        self.lifeline.as_ref().map_or_else(|| SystemClock.now(), |lifeline| lifeline.now())
    }

    /// How often the session has been renewed.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.all_claims().session.generation
    }

    /// The thumbprint of the client key the session is bound to (`cnf`).
    #[must_use]
    pub fn bound_to(&self) -> Option<&[u8; 32]> {
        self.all_claims().bound_to.as_ref()
    }

    /// The application's claims as JSON, whatever their type; null if there
    /// are none.
    #[must_use]
    pub fn claims_json(&self) -> serde_json::Value {
        self.all_claims().app().map_or(serde_json::Value::Null, app::to_json)
    }
}

impl<C: DeserializeOwned> Session<C> {
    /// The application's own claims.
    ///
    /// # Errors
    /// [`ClaimsError`] if the token has none, or of another shape: the issuer
    /// and this service disagree on what `C` is.
    pub fn claims(&self) -> Result<C, ClaimsError> {
        let encoded = self.all_claims().app().ok_or(ClaimsError::Absent)?;
        app::decode(encoded).map_err(ClaimsError::Shape)
    }
}

/// The application's claims are not what the service takes them for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimsError {
    /// The token has no application claims.
    #[error("the token carries no claims of the application")]
    Absent,
    /// They are there and don't fit the type; the text says where.
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

/// The session in JSON, as every command and endpoint shows it.
impl<C> Serialize for Session<C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut s = serializer.serialize_struct("Session", 11)?;
        s.serialize_field("subject", self.subject())?;
        s.serialize_field("session_id", &self.id())?;
        s.serialize_field("token_id", &self.token_id())?;
        s.serialize_field("audience", &self.audience())?;
        s.serialize_field("issued_at", &self.issued_at())?;
        s.serialize_field("expires_at", &self.expires_at())?;
        s.serialize_field("started_at", &self.started_at())?;
        s.serialize_field("ends_at", &self.ends_at())?;
        s.serialize_field("auth_time", &self.auth_time())?;
        s.serialize_field("generation", &self.generation())?;
        s.serialize_field("claims", &self.claims_json())?;
        s.end()
    }
}
