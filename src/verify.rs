//! Checks the signature: [`UnverifiedToken`] and a [`KeySet`] make a
//! [`VerifiedToken`].

mod cache;

use core::fmt;

pub use cache::TokenCacheCounts;
pub(crate) use cache::{CachedToken, TokenCache};

use crate::error::{Malformed, Rejection};
use crate::id::KeyId;
use crate::key::{KeySet, VerifyingKey};
use crate::time::UnixTime;
use crate::wire::claims::Claims;
use crate::wire::cose::{InPlace, Typ};
use crate::wire::text::{self, TokenBytes};

/// A token of the right form. Nothing in it is trusted yet, so nothing in it
/// can be read; [`danger::inspect`](crate::danger::inspect) looks inside.
#[derive(Clone)]
pub struct UnverifiedToken {
    bytes: TokenBytes,
    frame: InPlace,
    typ: Typ,
}

impl UnverifiedToken {
    /// Reads the frame of a session token: text, COSE_Sign1 and protected
    /// header. Reads at most 4,096 characters.
    ///
    /// # Errors
    /// [`Rejection::Malformed`] with the rule that is broken,
    /// [`Rejection::WrongType`] for a signed artefact of another kind.
    pub fn decode(token: impl AsRef<[u8]>) -> Result<Self, Rejection> {
        Self::decode_as(token.as_ref(), Typ::Session)
    }

    /// Reads the frame of a ticket, as [`UnverifiedToken::decode`] does.
    pub(crate) fn decode_as(token: &[u8], typ: Typ) -> Result<Self, Rejection> {
        let mut bytes = Self::room_for(token)?;
        let frame = Unverified::decode_as(token, &mut bytes, typ)?.frame;
        Ok(Self { bytes, frame, typ })
    }

    /// The buffer that a token is decoded into.
    pub(crate) fn room_for(token: &[u8]) -> Result<TokenBytes, Malformed> {
        text::check_length(token)?;
        Ok(text::room_for(InPlace::ROOM, token))
    }

    /// The kid that it names. Use it only to decide whether the key set is too
    /// old: it is not verified.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.frame.header.key_id
    }

    /// Checks the signature, then reads the claims. `now` is for keys that
    /// have retired.
    ///
    /// # Errors
    /// [`Rejection::UnknownKey`], [`Rejection::BadSignature`], or
    /// [`Rejection::Malformed`] if a trusted key signed invalid claims.
    pub fn verify(&self, keys: &KeySet, now: UnixTime) -> Result<VerifiedToken, Rejection> {
        let token = self.borrowed();
        token.verify(token.key(keys, now)?)
    }

    pub(crate) fn borrowed(&self) -> Unverified<'_> {
        Unverified { bytes: &self.bytes, frame: self.frame, typ: self.typ }
    }
}

/// An [`UnverifiedToken`] in a borrowed buffer, so that it is never moved.
#[derive(Clone, Copy)]
pub(crate) struct Unverified<'a> {
    bytes: &'a [u8],
    frame: InPlace,
    typ: Typ,
}

impl<'a> Unverified<'a> {
    /// A session token; `bytes` are [`UnverifiedToken::room_for`] it.
    pub(crate) fn decode(token: &[u8], bytes: &'a mut [u8]) -> Result<Self, Rejection> {
        Self::decode_as(token, bytes, Typ::Session)
    }

    fn decode_as(token: &[u8], bytes: &'a mut [u8], typ: Typ) -> Result<Self, Rejection> {
        text::decode_exactly(token, &mut bytes[InPlace::ROOM..])?;
        let frame = InPlace::decode(bytes)?;
        if frame.header.typ == Some(typ) {
            Ok(Self { bytes, frame, typ })
        } else {
            Err(Rejection::WrongType { expected: typ.name() })
        }
    }

    /// The key that must have signed. The key determines the algorithm; the
    /// header must agree with it.
    pub(crate) fn key<'k>(&self, keys: &'k KeySet, now: UnixTime) -> Result<&'k VerifyingKey, Rejection> {
        let key_id = self.frame.header.key_id;
        let key = keys.get(key_id, now).ok_or(Rejection::UnknownKey { key_id })?;
        if key.algorithm() == self.frame.header.algorithm {
            Ok(key)
        } else {
            Err(Rejection::BadSignature { key_id })
        }
    }

    /// [`UnverifiedToken::verify`] with the key that was found.
    pub(crate) fn verify(&self, key: &VerifyingKey) -> Result<VerifiedToken, Rejection> {
        let (message, signature) = self.signed();
        self.judged(key.verifies(message, signature))
    }

    fn signed(&self) -> (&'a [u8], &'a [u8; 64]) {
        (self.frame.message(self.bytes), InPlace::signature(self.bytes))
    }

    /// No claim is read before the signature holds.
    fn judged(&self, signature_holds: bool) -> Result<VerifiedToken, Rejection> {
        let key_id = self.frame.header.key_id;
        if !signature_holds {
            return Err(Rejection::BadSignature { key_id });
        }
        Ok(VerifiedToken { key_id, claims: Claims::decode(self.frame.payload(self.bytes), self.typ)? })
    }
}

/// Verifies many tokens with their keys, each as [`Unverified::verify`] does.
/// The signature checks share a part of their arithmetic.
pub(crate) fn verify_many(
    tokens: &[(UnverifiedToken, &VerifyingKey)],
) -> Vec<Result<VerifiedToken, Rejection>> {
    let signed: Vec<_> = tokens
        .iter()
        .map(|(token, key)| {
            let (message, signature) = token.borrowed().signed();
            (*key, message, signature)
        })
        .collect();
    let verdicts = VerifyingKey::verify_many(&signed);
    tokens.iter().zip(verdicts).map(|((token, _), holds)| token.borrowed().judged(holds)).collect()
}

impl fmt::Debug for UnverifiedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnverifiedToken(key {})", self.key_id())
    }
}

/// A token that one of the configured keys signed. Its time, audience and
/// revocation are not checked yet: [`Verifier`](crate::Verifier) admits it.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifiedToken {
    key_id: KeyId,
    claims: Claims,
}

impl VerifiedToken {
    /// The key that signed it.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// A token that this process has just signed itself.
    #[cfg(feature = "issuer")]
    pub(crate) const fn signed_here(key_id: KeyId, claims: Claims) -> Self {
        Self { key_id, claims }
    }

    /// The session that a ticket opened. The ticket expires within seconds;
    /// once it is used, only the session's own end counts.
    pub(crate) fn opened(mut self) -> Self {
        self.claims.expires = self.claims.session.ends;
        self
    }

    pub(crate) const fn claims(&self) -> &Claims {
        &self.claims
    }
}

impl fmt::Debug for VerifiedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifiedToken({:?}, key {})", self.claims.session.session_id, self.key_id)
    }
}
