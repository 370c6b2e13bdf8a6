//! The signature, and nothing before it: [`UnverifiedToken`] and a [`KeySet`]
//! make a [`VerifiedToken`].

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

/// A token of the right form. Nothing in it may be believed, so nothing in it
/// can be read; see [`danger::inspect`](crate::danger::inspect) for looking
/// inside.
#[derive(Clone)]
pub struct UnverifiedToken {
    bytes: TokenBytes,
    frame: InPlace,
    typ: Typ,
}

impl UnverifiedToken {
    /// Reads the frame of a session token: text, COSE_Sign1 and protected
    /// header. At most the first 4,096 characters are looked at.
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

    /// Where a token is decoded to.
    pub(crate) fn room_for(token: &[u8]) -> Result<TokenBytes, Malformed> {
        text::check_length(token)?;
        Ok(text::room_for(InPlace::ROOM, token))
    }

    /// The kid it names: for asking whether a key set is too old, and for
    /// nothing that needs trust.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.frame.header.key_id
    }

    /// Checks the signature, then reads the claims. `now` is for keys that
    /// have retired.
    ///
    /// # Errors
    /// [`Rejection::UnknownKey`], [`Rejection::BadSignature`], or
    /// [`Rejection::Malformed`] if a trusted key signed claims that are none.
    pub fn verify(&self, keys: &KeySet, now: UnixTime) -> Result<VerifiedToken, Rejection> {
        let token = self.borrowed();
        token.verify(token.key(keys, now)?)
    }

    pub(crate) fn borrowed(&self) -> Unverified<'_> {
        Unverified { bytes: &self.bytes, frame: self.frame, typ: self.typ }
    }
}

/// An [`UnverifiedToken`] that lies elsewhere, so that it need not be moved.
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

    /// The key that must have signed. The algorithm is the key's; the header
    /// may only agree with it.
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

/// Verifies many tokens with their keys, each as [`Unverified::verify`] does,
/// and shares what the signatures' arithmetic has in common.
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

/// A token that one of the configured keys signed. Whether it is in time, in
/// place and not revoked is still to be seen: [`Verifier`](crate::Verifier)
/// admits it.
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

    /// What this process has just signed itself.
    #[cfg(feature = "issuer")]
    pub(crate) const fn signed_here(key_id: KeyId, claims: Claims) -> Self {
        Self { key_id, claims }
    }

    /// The session that a ticket opened. What expires in seconds is the ticket;
    /// now that it is used up, only the session's own end counts.
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
