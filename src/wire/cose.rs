//! COSE_Sign1 (RFC 9052 §4.2) as hallpass uses it.
//!
//! ```text
//! #6.18([ protected: bstr .cbor header, unprotected: {}, payload: bstr, signature: bstr .size 64 ])
//! header = { 1: alg, 4: kid: bstr .size 8, 16: typ }
//! ```

use core::fmt;

use smallvec::SmallVec;

use crate::error::Malformed;
use crate::id::KeyId;
#[cfg(feature = "issuer")]
use crate::wire::cbor::bytes_len;
use crate::wire::cbor::{Head, Labels, Reader, Writer};

/// COSE_Sign1's tag (RFC 9052 §2).
const TAG_SIGN1: u64 = 18;

/// Header labels (RFC 9052 §3.1; typ: RFC 9596 §2).
mod label {
    pub(super) const ALG: u64 = 1;
    pub(super) const CRIT: u64 = 2;
    pub(super) const KID: u64 = 4;
    pub(super) const TYP: u64 = 16;
}

/// The algorithm of a key. It is a property of the key and is never negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// −8, EdDSA (RFC 9053 §2.2): every COSE library supports it. The default.
    #[default]
    EdDsa,
    /// −19, Ed25519 (RFC 9864 §2.2): the same signatures, fully specified.
    Ed25519,
}

impl Algorithm {
    /// The COSE algorithm number.
    #[must_use]
    pub const fn cose(self) -> i64 {
        match self {
            Self::EdDsa => -8,
            Self::Ed25519 => -19,
        }
    }

    /// The algorithm with this COSE number, if it is one of the two.
    #[must_use]
    pub const fn from_cose(number: i64) -> Option<Self> {
        match number {
            -8 => Some(Self::EdDsa),
            -19 => Some(Self::Ed25519),
            _ => None,
        }
    }

    /// The JOSE name: `EdDSA` (RFC 8037 §3.1) or `Ed25519` (RFC 9864 §2.2).
    #[must_use]
    pub const fn jose(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Ed25519 => "Ed25519",
        }
    }

    /// The algorithm of this JOSE name, if it is one of the two.
    #[must_use]
    pub fn from_jose(name: &str) -> Option<Self> {
        match name {
            "EdDSA" => Some(Self::EdDsa),
            "Ed25519" => Some(Self::Ed25519),
            _ => None,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.jose())
    }
}

/// The purpose of a signed artefact: the protected header's `typ`, so that none
/// is accepted as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Typ {
    /// A session token: 61, the CoAP content-format of application/cwt.
    Session,
    /// A single-use ticket.
    Ticket,
    /// A part of the revocation feed.
    Feed,
}

impl Typ {
    const SESSION: u64 = 61;

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Session => "application/cwt",
            Self::Ticket => "application/hallpass-ticket",
            Self::Feed => "application/hallpass-feed",
        }
    }

    fn write(self, writer: &mut Writer) {
        match self {
            Self::Session => writer.uint(Self::SESSION),
            Self::Ticket | Self::Feed => writer.text(self.name()),
        };
    }
}

/// A well-formed protected header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: KeyId,
    /// `None` for a purpose that this version doesn't know.
    pub(crate) typ: Option<Typ>,
}

impl Header {
    pub(crate) fn encode(algorithm: Algorithm, key_id: KeyId, typ: Typ) -> Vec<u8> {
        let mut writer = Writer::with_capacity(48);
        writer.map(3).uint(label::ALG).int(algorithm.cose());
        writer.uint(label::KID).bytes(key_id.as_bytes()).uint(label::TYP);
        typ.write(&mut writer);
        writer.into_vec()
    }

    fn decode(protected: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(protected);
        let pairs = reader.map_or(Malformed::Header)?;
        let (mut algorithm, mut key_id, mut typ) = (None, None, None);
        let mut labels = Labels::default();
        for _ in 0..pairs {
            match labels.next(&mut reader)? {
                Head::Uint(label::ALG) => algorithm = Some(decode_algorithm(&mut reader)?),
                Head::Uint(label::CRIT) => return Err(Malformed::Crit),
                Head::Uint(label::KID) => {
                    let kid = reader.bytes_or(Malformed::KeyId)?;
                    key_id = Some(KeyId::from_bytes(kid.try_into().map_err(|_| Malformed::KeyId)?));
                }
                Head::Uint(label::TYP) => typ = Some(decode_typ(&mut reader)?),
                _ => return Err(Malformed::UnknownHeader),
            }
        }
        reader.finish()?;
        Ok(Self {
            algorithm: algorithm.ok_or(Malformed::Algorithm)?,
            key_id: key_id.ok_or(Malformed::KeyId)?,
            typ: typ.ok_or(Malformed::Typ)?,
        })
    }
}

fn decode_algorithm(reader: &mut Reader<'_>) -> Result<Algorithm, Malformed> {
    match reader.head()? {
        Head::Nint(n) => {
            i64::try_from(n).ok().and_then(|n| Algorithm::from_cose(-1 - n)).ok_or(Malformed::Algorithm)
        }
        _ => Err(Malformed::Algorithm),
    }
}

fn decode_typ(reader: &mut Reader<'_>) -> Result<Option<Typ>, Malformed> {
    match reader.head()? {
        Head::Uint(Typ::SESSION) => Ok(Some(Typ::Session)),
        Head::Uint(_) => Ok(None),
        Head::Text(length) => {
            let name = reader.take_text(length)?;
            Ok([Typ::Ticket, Typ::Feed].into_iter().find(|typ| typ.name() == name))
        }
        _ => Err(Malformed::Typ),
    }
}

/// The bytes that a signature covers, without allocation for a usual token.
pub(crate) type SignedMessage = SmallVec<[u8; 512]>;

/// A COSE_Sign1 of the right form, borrowed from the bytes it came in.
/// Nothing of it is verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sign1<'a> {
    pub(crate) header: Header,
    pub(crate) payload: &'a [u8],
    pub(crate) signature: &'a [u8; 64],
    /// The protected header and the payload as received, each with the head of
    /// its byte string.
    protected_item: &'a [u8],
    payload_item: &'a [u8],
}

impl<'a> Sign1<'a> {
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        // A token that this refuses is read again, to find the reason.
        Self::usual(bytes).map_or_else(|| Self::decode_strictly(bytes), Ok)
    }

    /// Compares the frame that every session token has as bytes; `None` for any
    /// other frame, valid or not.
    fn usual(bytes: &'a [u8]) -> Option<Self> {
        // 18([ h'{ 1: alg, 4: kid, 16: 61 }', {}, …
        let (frame, rest) = bytes.split_first_chunk::<20>()?;
        let [0xd2, 0x84, 0x50, 0xa3, 0x01, alg, 0x04, 0x48, kid @ .., 0x10, 0x18, 0x3d, 0xa0] = *frame else {
            return None;
        };
        let algorithm = match alg {
            0x27 => Algorithm::EdDsa,
            0x32 => Algorithm::Ed25519,
            _ => return None,
        };
        let (head, length) = match *rest {
            [length @ 0x40..0x58, ..] => (1, usize::from(length - 0x40)),
            [0x58, length @ 24..=255, ..] => (2, usize::from(length)),
            [0x59, high @ 1..=255, low, ..] => (3, usize::from(u16::from_be_bytes([high, low]))),
            _ => return None,
        };
        let (payload_item, signature) = rest.split_at_checked(head + length)?;
        let [0x58, 0x40, signature @ ..] = signature else { return None };
        Some(Self {
            header: Header { algorithm, key_id: KeyId::from_bytes(kid), typ: Some(Typ::Session) },
            payload: &payload_item[head..],
            signature: signature.try_into().ok()?,
            protected_item: &frame[2..19],
            payload_item,
        })
    }

    fn decode_strictly(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.head()? != Head::Tag(TAG_SIGN1) || reader.head()? != Head::Array(4) {
            return Err(Malformed::NotSign1);
        }
        let (protected, protected_item) = reader.spanned(|r| r.bytes_or(Malformed::NotSign1))?;
        match reader.head()? {
            Head::Map(0) => {}
            Head::Map(_) => return Err(Malformed::Unprotected),
            _ => return Err(Malformed::NotSign1),
        }
        let (payload, payload_item) = reader.spanned(|r| r.bytes_or(Malformed::NoPayload))?;
        let signature = reader.bytes_or(Malformed::SignatureLength)?;
        let signature = signature.try_into().map_err(|_| Malformed::SignatureLength)?;
        reader.finish()?;
        let header = Header::decode(protected)?;
        Ok(Self { header, payload, signature, protected_item, payload_item })
    }

    /// The length of the COSE_Sign1 that `bytes` begins with; `None` if they
    /// end too early. Its content is not checked.
    pub(crate) fn length(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        match Self::skip(bytes) {
            Ok(length) => Ok(Some(length)),
            Err(Malformed::Truncated) => Ok(None),
            Err(why) => Err(why),
        }
    }

    fn skip(bytes: &[u8]) -> Result<usize, Malformed> {
        // The tag is one byte, so this refuses text or JSON at once.
        if bytes.first().is_some_and(|first| *first != 0xc0 | 0x12) {
            return Err(Malformed::NotSign1);
        }
        let mut reader = Reader::new(bytes);
        if reader.head()? != Head::Tag(TAG_SIGN1) || reader.head()? != Head::Array(4) {
            return Err(Malformed::NotSign1);
        }
        reader.bytes_or(Malformed::NotSign1)?;
        match reader.head()? {
            Head::Map(0) => {}
            _ => return Err(Malformed::Unprotected),
        }
        reader.bytes_or(Malformed::NoPayload)?;
        reader.bytes_or(Malformed::SignatureLength)?;
        Ok(bytes.len() - reader.remaining())
    }

    /// RFC 9052 §4.4: the Sig_structure, made of the received bytes.
    pub(crate) fn signed_message(&self) -> SignedMessage {
        sig_structure(self.protected_item, self.payload_item)
    }
}

/// Turns a COSE_Sign1 into the bytes that its signature covers, in place, so
/// that nothing is copied:
///
/// ```text
///           d2 84             | protected | a0 | payload | 58 40 signature
/// 84 6a 'Signature1'          | protected | 40 | payload
/// ```
#[derive(Clone, Copy, Debug)]
pub(crate) struct InPlace {
    pub(crate) header: Header,
    message_len: usize,
    payload_len: usize,
}

impl InPlace {
    /// How many bytes must be free before the COSE_Sign1.
    pub(crate) const ROOM: usize = START.len() - 2;

    /// `bytes` are a COSE_Sign1 with [`InPlace::ROOM`] bytes before it.
    pub(crate) fn decode(bytes: &mut [u8]) -> Result<Self, Malformed> {
        let sign1 = bytes.get(Self::ROOM..).unwrap_or_default();
        let Sign1 { header, payload, protected_item, payload_item, .. } = Sign1::decode(sign1)?;
        let (payload_len, unprotected) = (payload.len(), START.len() + protected_item.len());
        let message_len = unprotected + EXTERNAL_AAD.len() + payload_item.len();
        bytes[..START.len()].copy_from_slice(START);
        bytes[unprotected..=unprotected].copy_from_slice(EXTERNAL_AAD);
        Ok(Self { header, message_len, payload_len })
    }

    /// RFC 9052 §4.4: the Sig_structure, made of the received bytes.
    pub(crate) fn message(self, bytes: &[u8]) -> &[u8] {
        &bytes[..self.message_len]
    }

    pub(crate) fn payload(self, bytes: &[u8]) -> &[u8] {
        &self.message(bytes)[self.message_len - self.payload_len..]
    }

    /// The signature is the end of the COSE_Sign1.
    pub(crate) fn signature(bytes: &[u8]) -> &[u8; 64] {
        bytes.last_chunk().unwrap_or(&[0; 64])
    }
}

/// The head of a Sig_structure and its first item.
const START: &[u8] = b"\x84\x6aSignature1";
/// Its third: `external_aad` is empty.
const EXTERNAL_AAD: &[u8] = b"\x40";

/// `Sig_structure = [ "Signature1", body_protected, external_aad: h'', payload ]`
/// with both byte strings encoded already.
fn sig_structure(protected_item: &[u8], payload_item: &[u8]) -> SignedMessage {
    // For a usual token it is on the stack; a part of the feed is copied once.
    let length = START.len() + protected_item.len() + EXTERNAL_AAD.len() + payload_item.len();
    let mut message = SignedMessage::with_capacity(length);
    for part in [START, protected_item, EXTERNAL_AAD, payload_item] {
        message.extend_from_slice(part);
    }
    message
}

/// The length of a session token with this much payload, in bytes.
#[cfg(feature = "issuer")]
pub(crate) fn session_token_len(payload: usize) -> usize {
    // Tag and array, the protected header, the unprotected one, the signature.
    2 + 17 + 1 + bytes_len(payload) + bytes_len(64)
}

/// Makes a COSE_Sign1 around `payload`; `sign` signs the Sig_structure.
pub(crate) fn encode(header: &[u8], payload: &[u8], sign: impl FnOnce(&[u8]) -> [u8; 64]) -> Vec<u8> {
    let item = |bytes: &[u8]| {
        let mut writer = Writer::with_capacity(bytes.len() + 9);
        writer.bytes(bytes);
        writer.into_vec()
    };
    let (protected_item, payload_item) = (item(header), item(payload));
    let signature = sign(&sig_structure(&protected_item, &payload_item));
    let mut writer = Writer::with_capacity(protected_item.len() + payload_item.len() + 69);
    writer.tag(TAG_SIGN1).array(4).raw(&protected_item).map(0).raw(&payload_item).bytes(&signature);
    writer.into_vec()
}

#[cfg(test)]
mod tests;
