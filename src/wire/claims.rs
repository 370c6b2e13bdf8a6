//! The claims of a token: a CWT (RFC 8392) with exactly the labels below.
//!
//! ```text
//! claims = {
//!   ? 1: tstr            ; iss
//!     2: tstr            ; sub, 1..255 bytes
//!   ? 3: tstr            ; aud, required in a ticket
//!     4: uint            ; exp = iat + max age, never past `ends`
//!     6: uint            ; iat, also the not-before
//!     7: bstr .size 16   ; cti, this token's id
//!   ? 8: { 5: bstr .size 32 }  ; cnf: thumbprint of the client's key (RFC 9679)
//!     -65537: [ sid: bstr .size 16, started: uint, ends: uint, generation: uint, auth_time: uint ]
//!   ? -65538: any        ; the application's own
//!   ? -65539: tstr       ; path, in tickets only
//!   ? -65540: [1*8 tstr] ; amr, 1..32 visible ASCII characters each
//! }
//! ```

use core::ops::Range;

use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use crate::error::Malformed;
use crate::id::{SessionId, Subject, TokenId};
use crate::time::UnixTime;
use crate::wire::amr;
use crate::wire::app;
use crate::wire::cbor::{Head, Labels, Reader, Writer};
use crate::wire::cose::Typ;

mod label {
    pub(super) const ISS: u64 = 1;
    pub(super) const SUB: u64 = 2;
    pub(super) const AUD: u64 = 3;
    pub(super) const EXP: u64 = 4;
    pub(super) const IAT: u64 = 6;
    pub(super) const CTI: u64 = 7;
    pub(super) const CNF: u64 = 8;
    /// The one confirmation method: "ckt", a key thumbprint (RFC 9679 §5.6).
    pub(super) const CNF_CKT: u64 = 5;
    /// −65537 to −65540 as CBOR's argument, −1 − n.
    pub(super) const SESSION: u64 = 65536;
    pub(super) const APP: u64 = 65537;
    pub(super) const PATH: u64 = 65538;
    pub(super) const AMR: u64 = 65539;
}

/// The facts that all tokens of a session share, and the generation of this
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionPart {
    pub(crate) session_id: SessionId,
    pub(crate) started: UnixTime,
    pub(crate) ends: UnixTime,
    pub(crate) generation: u64,
    pub(crate) auth_time: UnixTime,
}

/// A token's claims, to be encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewClaims<'a> {
    pub(crate) issuer: Option<&'a str>,
    pub(crate) subject: &'a str,
    pub(crate) audience: Option<&'a str>,
    pub(crate) expires: UnixTime,
    pub(crate) issued: UnixTime,
    pub(crate) token_id: TokenId,
    pub(crate) bound_to: Option<[u8; 32]>,
    pub(crate) session: SessionPart,
    /// Deterministic CBOR.
    pub(crate) app: Option<&'a [u8]>,
    pub(crate) path: Option<&'a str>,
    /// As [`amr::encode`] writes it.
    pub(crate) amr: Option<&'a [u8]>,
}

impl NewClaims<'_> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let optional = usize::from(self.issuer.is_some())
            + usize::from(self.audience.is_some())
            + usize::from(self.bound_to.is_some())
            + usize::from(self.app.is_some())
            + usize::from(self.path.is_some())
            + usize::from(self.amr.is_some());
        let mut w = Writer::with_capacity(128 + self.app.map_or(0, <[u8]>::len));
        w.map(5 + optional);
        if let Some(issuer) = self.issuer {
            w.uint(label::ISS).text(issuer);
        }
        w.uint(label::SUB).text(self.subject);
        if let Some(audience) = self.audience {
            w.uint(label::AUD).text(audience);
        }
        w.uint(label::EXP).uint(self.expires.as_secs());
        w.uint(label::IAT).uint(self.issued.as_secs());
        w.uint(label::CTI).bytes(self.token_id.as_bytes());
        if let Some(thumbprint) = &self.bound_to {
            w.uint(label::CNF).map(1).uint(label::CNF_CKT).bytes(thumbprint);
        }
        let session = &self.session;
        w.nint(label::SESSION).array(5).bytes(session.session_id.as_bytes());
        w.uint(session.started.as_secs()).uint(session.ends.as_secs());
        w.uint(session.generation).uint(session.auth_time.as_secs());
        if let Some(app) = self.app {
            w.nint(label::APP).raw(app);
        }
        if let Some(path) = self.path {
            w.nint(label::PATH).text(path);
        }
        if let Some(amr) = self.amr {
            w.nint(label::AMR).raw(amr);
        }
        w.into_vec()
    }
}

/// The position of a claim in the payload. A token has fewer than 2^16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: u16,
    end: u16,
}

impl Span {
    /// The last `length` bytes that `reader` read of `total`, which is less
    /// than 2^16.
    fn just_read(reader: &Reader<'_>, length: usize, total: usize) -> Self {
        let end = total - reader.remaining();
        let place = |at: usize| u16::try_from(at).unwrap_or(u16::MAX);
        Self { start: place(end - length), end: place(end) }
    }

    fn range(self) -> Range<usize> {
        usize::from(self.start)..usize::from(self.end)
    }
}

/// A token's decoded claims: the payload and the positions of its parts. The
/// inline buffer holds a usual token (70 bytes and its subject, audience and
/// issuer) without allocation. A larger one would make each move of a session
/// slower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    payload: SmallVec<[u8; 160]>,
    issuer: Option<Span>,
    subject: Span,
    audience: Option<Span>,
    app: Option<Span>,
    path: Option<Span>,
    amr: Option<Span>,
    pub(crate) expires: UnixTime,
    pub(crate) issued: UnixTime,
    pub(crate) token_id: TokenId,
    pub(crate) bound_to: Option<[u8; 32]>,
    pub(crate) session: SessionPart,
}

/// The claims while they are read.
#[derive(Default)]
struct Found {
    issuer: Option<Span>,
    subject: Option<Span>,
    audience: Option<Span>,
    expires: Option<UnixTime>,
    issued: Option<UnixTime>,
    token_id: Option<TokenId>,
    bound_to: Option<[u8; 32]>,
    session: Option<SessionPart>,
    app: Option<Span>,
    path: Option<Span>,
    amr: Option<Span>,
}

impl Claims {
    /// Reads the claims of a session token or of a ticket. Any claim of a wrong
    /// type is refused, never treated as absent.
    pub(crate) fn decode(payload: &[u8], typ: Typ) -> Result<Self, Malformed> {
        if payload.len() > usize::from(u16::MAX) {
            return Err(Malformed::TooLong);
        }
        let found = Found::read(payload)?;
        let claims = Self {
            issuer: found.issuer,
            subject: found.subject.ok_or(Malformed::MissingClaim)?,
            audience: found.audience,
            app: found.app,
            path: found.path,
            amr: found.amr,
            expires: found.expires.ok_or(Malformed::MissingClaim)?,
            issued: found.issued.ok_or(Malformed::MissingClaim)?,
            token_id: found.token_id.ok_or(Malformed::MissingClaim)?,
            bound_to: found.bound_to,
            session: found.session.ok_or(Malformed::MissingClaim)?,
            payload: SmallVec::from_slice(payload),
        };
        match typ {
            Typ::Ticket if claims.audience.is_none() => return Err(Malformed::MissingClaim),
            Typ::Session if claims.path.is_some() => return Err(Malformed::UnknownClaim),
            _ => {}
        }
        if !claims.times_agree() {
            return Err(Malformed::TimesOutOfOrder);
        }
        Ok(claims)
    }

    /// started ≤ iat, auth_time ≤ iat, iat < exp ≤ ends. Compared without
    /// leeway: one clock gave them all.
    fn times_agree(&self) -> bool {
        let session = &self.session;
        session.started <= self.issued
            && session.auth_time <= self.issued
            && self.issued < self.expires
            && self.expires <= session.ends
    }

    /// The claims of another token of the session. All but generation, times
    /// and token id stay the same, the application's claims byte for byte.
    pub(crate) fn renewed(
        &self,
        generation: u64,
        issued: UnixTime,
        expires: UnixTime,
        token_id: TokenId,
    ) -> NewClaims<'_> {
        NewClaims {
            issuer: self.issuer(),
            subject: self.subject(),
            audience: self.audience(),
            expires,
            issued,
            token_id,
            bound_to: self.bound_to,
            session: SessionPart { generation, ..self.session },
            app: self.app(),
            path: None,
            amr: self.amr_bytes(),
        }
    }

    /// The SHA-256 of everything that renewal carries over. It is the same for
    /// every token of a session. So it exposes a token that was forged with a
    /// stolen key and has other claims for an existing session.
    pub(crate) fn carried(&self) -> [u8; 32] {
        self.carried_for(self.audience())
    }

    /// The same for the session's tokens for another audience: a ticket has its
    /// own audience.
    pub(crate) fn carried_for(&self, audience: Option<&str>) -> [u8; 32] {
        let nothing = TokenId::from_bytes([0; TokenId::LEN]);
        let constant = NewClaims { audience, ..self.renewed(0, UnixTime::EPOCH, UnixTime::EPOCH, nothing) };
        Sha256::digest(constant.encode()).into()
    }

    pub(crate) fn issuer(&self) -> Option<&str> {
        self.issuer.map(|span| self.text(span))
    }

    pub(crate) fn subject(&self) -> &str {
        self.text(self.subject)
    }

    pub(crate) fn audience(&self) -> Option<&str> {
        self.audience.map(|span| self.text(span))
    }

    pub(crate) fn path(&self) -> Option<&str> {
        self.path.map(|span| self.text(span))
    }

    /// The application's claims as deterministic CBOR.
    pub(crate) fn app(&self) -> Option<&[u8]> {
        self.app.map(|span| &self.payload[span.range()])
    }

    /// How the user authenticated.
    pub(crate) fn amr(&self) -> impl Iterator<Item = &str> {
        amr::methods(self.amr_bytes().unwrap_or_default())
    }

    /// The same as deterministic CBOR.
    pub(crate) fn amr_bytes(&self) -> Option<&[u8]> {
        self.amr.map(|span| &self.payload[span.range()])
    }

    /// Its bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        if self.payload.spilled() { self.payload.capacity() } else { 0 }
    }

    fn text(&self, span: Span) -> &str {
        // These bytes were read as UTF-8, and the payload has not changed
        // since.
        core::str::from_utf8(&self.payload[span.range()]).unwrap_or_default()
    }
}

impl Found {
    fn read(payload: &[u8]) -> Result<Self, Malformed> {
        let mut found = Self::default();
        let mut reader = Reader::new(payload);
        let pairs = reader.map_or(Malformed::ClaimsNotMap)?;
        let mut labels = Labels::default();
        for _ in 0..pairs {
            let key = labels.next(&mut reader)?;
            found.claim(key, &mut reader, payload.len())?;
        }
        reader.finish()?;
        Ok(found)
    }

    fn claim(&mut self, key: Head, reader: &mut Reader<'_>, total: usize) -> Result<(), Malformed> {
        let text = |reader: &mut Reader<'_>| {
            let length = reader.text_or(Malformed::ClaimType)?.len();
            Ok(Span::just_read(reader, length, total))
        };
        match key {
            Head::Uint(label::ISS) => self.issuer = Some(text(reader)?),
            Head::Uint(label::SUB) => {
                let subject = text(reader)?;
                if !(1..=Subject::MAX_BYTES).contains(&subject.range().len()) {
                    return Err(Malformed::ClaimRange);
                }
                self.subject = Some(subject);
            }
            Head::Uint(label::AUD) => self.audience = Some(text(reader)?),
            Head::Uint(label::EXP) => self.expires = Some(time(reader)?),
            Head::Uint(label::IAT) => self.issued = Some(time(reader)?),
            Head::Uint(label::CTI) => self.token_id = Some(TokenId::from_bytes(fixed(reader)?)),
            Head::Uint(label::CNF) => {
                if reader.map_or(Malformed::ClaimType)? != 1
                    || reader.uint_or(Malformed::ClaimType)? != label::CNF_CKT
                {
                    return Err(Malformed::ClaimRange);
                }
                self.bound_to = Some(fixed(reader)?);
            }
            Head::Nint(label::SESSION) => self.session = Some(SessionPart::read(reader)?),
            Head::Nint(label::APP) => {
                let length = app::item(reader)?.len();
                self.app = Some(Span::just_read(reader, length, total));
            }
            Head::Nint(label::PATH) => self.path = Some(text(reader)?),
            Head::Nint(label::AMR) => {
                let before = reader.remaining();
                amr::read(reader)?;
                self.amr = Some(Span::just_read(reader, before - reader.remaining(), total));
            }
            _ => return Err(Malformed::UnknownClaim),
        }
        Ok(())
    }
}

impl SessionPart {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        if reader.array_or(Malformed::ClaimType)? != 5 {
            return Err(Malformed::ClaimRange);
        }
        Ok(Self {
            session_id: SessionId::from_bytes(fixed(reader)?),
            started: time(reader)?,
            ends: time(reader)?,
            generation: reader.uint_or(Malformed::ClaimType)?,
            auth_time: time(reader)?,
        })
    }
}

fn time(reader: &mut Reader<'_>) -> Result<UnixTime, Malformed> {
    UnixTime::from_secs(reader.uint_or(Malformed::ClaimType)?).ok_or(Malformed::ClaimRange)
}

fn fixed<const N: usize>(reader: &mut Reader<'_>) -> Result<[u8; N], Malformed> {
    reader.bytes_or(Malformed::ClaimType)?.try_into().map_err(|_| Malformed::ClaimRange)
}

#[cfg(test)]
mod tests;
