//! Makes signed tokens from claims. Pure except for random ids.

use core::fmt;

use rand::TryRng;
use serde::Serialize;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::error::ConfigError;
use crate::id::{SessionId, Subject, TokenId};
use crate::key::{KeyUse, SigningKey};
use crate::policy::Lifetimes;
use crate::session::Session;
use crate::time::UnixTime;
use crate::verify::VerifiedToken;
use crate::wire::claims::{Claims, NewClaims, SessionPart};
use crate::wire::cose::{self, Header, Typ};
use crate::wire::{amr, app, text};

/// Default longest token, in characters.
pub const DEFAULT_MAX_CHARACTERS: usize = 1536;
/// Longest token that can be configured, in characters: a cookie's name and
/// value share 4,096, and nginx reads a header line of 4k by default.
pub const MAX_MAX_CHARACTERS: usize = 4000;

/// A new token. Its text is a secret: whoever has it is logged in.
#[derive(Clone)]
pub struct IssuedToken {
    text: Zeroizing<String>,
    session: Session,
    renewable_until: UnixTime,
}

impl IssuedToken {
    /// A presented token that is also the answer.
    pub(crate) fn kept(text: &str, token: VerifiedToken, renewable_until: UnixTime) -> Self {
        Self { text: Zeroizing::new(text.to_owned()), session: Session::admitted(token), renewable_until }
    }

    /// Sets until when the session can be renewed.
    pub(crate) const fn renewable(mut self, until: UnixTime) -> Self {
        self.renewable_until = until;
        self
    }

    /// Until when the session can be renewed with this token, which may have
    /// expired by then.
    #[must_use]
    pub const fn renewable_until(&self) -> UnixTime {
        self.renewable_until
    }

    /// The token.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its session.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }
}

impl fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IssuedToken({:?}, text not shown)", self.session)
    }
}

/// The contents of a new session.
#[derive(Clone, Debug)]
pub struct NewSession<'a, C: ?Sized> {
    /// Its user.
    pub subject: &'a Subject,
    /// The application's own claims; `&()` for none.
    pub claims: &'a C,
    /// The session's start: now, or a later time that no revocation covers.
    pub started: UnixTime,
    /// When the user authenticated.
    pub auth_time: UnixTime,
    /// How: methods of RFC 8176, like `pwd`, `otp`, `hwk` or `mfa`. At most
    /// eight, each of 1 to 32 visible ASCII characters.
    pub amr: &'a [&'a str],
    /// The session's end, if it is earlier than the absolute lifetime's.
    pub ends: Option<UnixTime>,
    /// The client key to bind the session to (`cnf`).
    pub bound_to: Option<[u8; 32]>,
}

/// Makes tokens for one issuer name and one audience.
///
/// ```
/// use hallpass::*;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = SigningKey::generate(KeyUse::Session, Algorithm::EdDsa)?;
/// let minter = Minter::new(Lifetimes::default()).audience(Some("shop".into()));
/// let (subject, now) = (Subject::new("alice")?, SystemClock.now());
/// let new = NewSession {
///     subject: &subject,
///     claims: &("plan", "gold"),
///     started: now,
///     auth_time: now,
///     amr: &["pwd"],
///     ends: None,
///     bound_to: None,
/// };
/// let token = minter.start(&key, &new, now)?;
/// assert_eq!(token.session().audience(), Some("shop"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Minter {
    lifetimes: Lifetimes,
    pub(super) issuer: Option<Box<str>>,
    audience: Option<Box<str>>,
    pub(super) max_characters: usize,
}

impl Minter {
    /// A minter without issuer name and audience.
    #[must_use]
    pub const fn new(lifetimes: Lifetimes) -> Self {
        Self { lifetimes, issuer: None, audience: None, max_characters: DEFAULT_MAX_CHARACTERS }
    }

    /// Sets the issuer (`iss`) of every token.
    #[must_use]
    pub fn issuer(mut self, issuer: Option<Box<str>>) -> Self {
        self.issuer = issuer;
        self
    }

    /// Sets the audience (`aud`) of every token.
    #[must_use]
    pub fn audience(mut self, audience: Option<Box<str>>) -> Self {
        self.audience = audience;
        self
    }

    /// Sets the longest token, in characters.
    ///
    /// # Errors
    /// [`ConfigError::Builder`] if it is over 4,000.
    pub fn max_characters(mut self, characters: usize) -> Result<Self, ConfigError> {
        if characters > MAX_MAX_CHARACTERS {
            return Err(ConfigError::Builder(
                "max_characters is at most 4000: browsers and proxies cut longer cookies off",
            ));
        }
        self.max_characters = characters;
        Ok(self)
    }

    /// The issuer name.
    #[must_use]
    pub fn issuer_name(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// The audience.
    #[must_use]
    pub fn audience_name(&self) -> Option<&str> {
        self.audience.as_deref()
    }

    /// The lifetimes.
    #[must_use]
    pub const fn lifetimes(&self) -> &Lifetimes {
        &self.lifetimes
    }

    /// The same with other lifetimes.
    #[must_use]
    pub fn with_lifetimes(&self, lifetimes: Lifetimes) -> Self {
        Self { lifetimes, ..self.clone() }
    }

    /// Makes the first token of a session with a new random id. Nothing that a
    /// client presented enters it.
    ///
    /// # Errors
    /// [`ConfigError::KeyUse`] for a feed key, [`ConfigError::Claims`] for
    /// claims that can't be encoded, [`ConfigError::TokenTooLong`] if the
    /// token or one it may be renewed into would be too long.
    pub fn start<C: Serialize + ?Sized>(
        &self,
        key: &SigningKey,
        new: &NewSession<'_, C>,
        now: UnixTime,
    ) -> Result<IssuedToken, ConfigError> {
        let app = app::encode(new.claims)?;
        let amr = amr::encode(new.amr).map_err(|why| ConfigError::Claims(why.into()))?;
        let latest = new.started.saturating_add(self.lifetimes.absolute_lifetime());
        let ends = new.ends.map_or(latest, |ends| ends.min(latest));
        let issued = now.max(new.started);
        let [session_id, token_id] = random()?;
        let claims = NewClaims {
            issuer: self.issuer.as_deref(),
            subject: new.subject.as_str(),
            audience: self.audience.as_deref(),
            expires: self.lifetimes.expiry(issued, ends),
            issued,
            token_id: TokenId::from_bytes(token_id),
            bound_to: new.bound_to,
            session: SessionPart {
                session_id: SessionId::from_bytes(session_id),
                started: new.started,
                ends,
                generation: 0,
                auth_time: new.auth_time,
            },
            app: app.as_deref(),
            path: None,
            amr: amr.as_deref(),
        };
        let payload = claims.encode();
        self.check_room(payload.len())?;
        let renewable = self.lifetimes.renewable_until(issued, claims.expires, ends);
        Ok(sign(key, Typ::Session, &payload)?.renewable(renewable))
    }

    /// Makes the token of `generation` in the session of `presented`. It copies
    /// everything but generation, times and token id, the application's claims
    /// byte for byte. The same arguments make the same bytes; the settings of a
    /// minter don't matter.
    ///
    /// # Errors
    /// [`ConfigError::KeyUse`] for a feed key, [`ConfigError::Claims`] for
    /// times that contradict the session's.
    pub fn successor(
        key: &SigningKey,
        presented: &VerifiedToken,
        generation: u64,
        issued: UnixTime,
        expires: UnixTime,
    ) -> Result<IssuedToken, ConfigError> {
        let old = presented.claims();
        let token_id = renewed_id(old.session.session_id, generation, issued);
        let claims = old.renewed(generation, issued, expires, token_id);
        sign(key, Typ::Session, &claims.encode())
    }

    /// A session's last token has the largest generation; it must fit too. A
    /// generation takes at least a second and a session at most 400 days, so
    /// the number has four bytes more than the first one's.
    pub(super) fn check_room(&self, first_payload: usize) -> Result<(), ConfigError> {
        let characters = text::encoded_len(cose::session_token_len(first_payload + 4));
        if characters > self.max_characters {
            return Err(ConfigError::TokenTooLong { characters, limit: self.max_characters });
        }
        Ok(())
    }
}

/// "cti = first 16 bytes of SHA-256("hallpass renewal" ‖ sid ‖ generation ‖
/// iat), both as 8 bytes big-endian": no randomness, so that a successor can be
/// made again.
fn renewed_id(session: SessionId, generation: u64, issued: UnixTime) -> TokenId {
    let digest = Sha256::new_with_prefix(b"hallpass renewal")
        .chain_update(session.as_bytes())
        .chain_update(generation.to_be_bytes())
        .chain_update(issued.as_secs().to_be_bytes())
        .finalize();
    let mut id = [0; TokenId::LEN];
    id.copy_from_slice(&digest[..TokenId::LEN]);
    TokenId::from_bytes(id)
}

/// Signs claims into a token, and reads them back as a verified one.
pub(super) fn sign(key: &SigningKey, typ: Typ, payload: &[u8]) -> Result<IssuedToken, ConfigError> {
    if key.usage() != KeyUse::Session {
        return Err(ConfigError::KeyUse { key: key.id(), found: key.usage(), wanted: KeyUse::Session });
    }
    let header = Header::encode(key.algorithm(), key.id(), typ);
    let bytes = cose::encode(&header, payload, |message| key.sign(message));
    let decoded = Claims::decode(payload, typ).map_err(|why| ConfigError::Claims(why.into()))?;
    let session = Session::admitted(VerifiedToken::signed_here(key.id(), decoded));
    let renewable_until = session.expires_at();
    Ok(IssuedToken { text: Zeroizing::new(text::encode(&bytes)), session, renewable_until })
}

/// Together, since one system call takes as long as the other.
pub(super) fn random<const N: usize>() -> Result<[[u8; 16]; N], ConfigError> {
    let mut ids = [[0; 16]; N];
    rand::rngs::SysRng
        .try_fill_bytes(ids.as_flattened_mut())
        .map_err(|error| ConfigError::Randomness(error.into()))?;
    Ok(ids)
}
