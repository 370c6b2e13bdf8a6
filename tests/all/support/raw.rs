//! CBOR and COSE written by hand, so that what our own writer can't write is
//! written too: every wrong spelling, signed by the right key.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::Signer;

use crate::support::test_keys::TestKey;

/// The `now` that most tests use: 2026-09-21T14:13:20Z.
pub(crate) const NOW: u64 = 1_790_000_000;

/// A CBOR head with the shortest argument.
pub(crate) fn head(major: u8, argument: u64) -> Vec<u8> {
    let width = match argument {
        0..24 => 0,
        24..0x100 => 1,
        0x100..0x1_0000 => 2,
        0x1_0000..0x1_0000_0000 => 4,
        _ => 8,
    };
    wide(major, argument, width)
}

/// A CBOR head with an argument of `width` bytes: 0 (in the first byte), 1, 2,
/// 4 or 8.
pub(crate) fn wide(major: u8, argument: u64, width: usize) -> Vec<u8> {
    let info = match width {
        0 => u8::try_from(argument).unwrap(),
        1 => 24,
        2 => 25,
        4 => 26,
        _ => 27,
    };
    let mut out = vec![major << 5 | info];
    out.extend_from_slice(&argument.to_be_bytes()[8 - width..]);
    out
}

pub(crate) fn uint(n: u64) -> Vec<u8> {
    head(0, n)
}

/// Any integer.
pub(crate) fn int(n: i64) -> Vec<u8> {
    if n < 0 { head(1, (!n).cast_unsigned()) } else { head(0, n.cast_unsigned()) }
}

pub(crate) fn bytes(content: &[u8]) -> Vec<u8> {
    cat([head(2, content.len() as u64), content.to_vec()])
}

pub(crate) fn text(content: &str) -> Vec<u8> {
    cat([head(3, content.len() as u64), content.as_bytes().to_vec()])
}

pub(crate) fn array(items: &[Vec<u8>]) -> Vec<u8> {
    cat([head(4, items.len() as u64), items.concat()])
}

/// A map with its pairs in the order given.
pub(crate) fn map(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    cat([head(5, pairs.len() as u64), pairs_of(pairs)])
}

pub(crate) fn pairs_of(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    pairs.iter().flat_map(|(key, value)| [key.as_slice(), value.as_slice()]).collect::<Vec<_>>().concat()
}

pub(crate) fn tag(tag: u64, item: &[u8]) -> Vec<u8> {
    cat([head(6, tag), item.to_vec()])
}

pub(crate) fn f16(bits: u16) -> Vec<u8> {
    cat([vec![0xf9], bits.to_be_bytes().to_vec()])
}

pub(crate) fn f32(x: f32) -> Vec<u8> {
    cat([vec![0xfa], x.to_be_bytes().to_vec()])
}

pub(crate) fn f64(x: f64) -> Vec<u8> {
    cat([vec![0xfb], x.to_be_bytes().to_vec()])
}

#[expect(clippy::needless_pass_by_value, reason = "callers read better without the &")]
pub(crate) fn cat<const N: usize>(parts: [Vec<u8>; N]) -> Vec<u8> {
    parts.concat()
}

pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn unbase64url(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// The pairs of a map, to be changed one at a time.
#[derive(Clone)]
pub(crate) struct Pairs(pub(crate) Vec<(Vec<u8>, Vec<u8>)>);

impl Pairs {
    /// Replaces the value of `label`, or adds the pair where it belongs.
    #[must_use]
    pub(crate) fn with(mut self, label: i64, value: impl Into<Vec<u8>>) -> Self {
        let (key, value) = (int(label), value.into());
        match self.0.binary_search_by(|(other, _)| other.cmp(&key)) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (key, value)),
        }
        self
    }

    #[must_use]
    pub(crate) fn without(mut self, label: i64) -> Self {
        self.0.retain(|(key, _)| *key != int(label));
        self
    }

    /// Spells the key of `label` as `key`, where it stands.
    #[must_use]
    pub(crate) fn spelling(mut self, label: i64, key: impl Into<Vec<u8>>) -> Self {
        let at = self.0.iter().position(|(other, _)| *other == int(label)).expect("the label is there");
        self.0[at].0 = key.into();
        self
    }

    /// Adds a pair at the end, whatever the order.
    #[must_use]
    pub(crate) fn then(mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        self.0.push((key.into(), value.into()));
        self
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        map(&self.0)
    }
}

/// Labels of the claims (RFC 8392 §4 and ours).
pub(crate) mod label {
    pub(crate) const ISS: i64 = 1;
    pub(crate) const SUB: i64 = 2;
    pub(crate) const AUD: i64 = 3;
    pub(crate) const EXP: i64 = 4;
    pub(crate) const IAT: i64 = 6;
    pub(crate) const CTI: i64 = 7;
    pub(crate) const CNF: i64 = 8;
    pub(crate) const SESSION: i64 = -65537;
    pub(crate) const APP: i64 = -65538;
    pub(crate) const PATH: i64 = -65539;
    pub(crate) const AMR: i64 = -65540;
}

/// The five parts of the session claim.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) sid: Vec<u8>,
    pub(crate) started: Vec<u8>,
    pub(crate) ends: Vec<u8>,
    pub(crate) generation: Vec<u8>,
    pub(crate) auth_time: Vec<u8>,
}

impl Default for Part {
    /// Started an hour ago, renewed four times, eleven hours to go.
    fn default() -> Self {
        Self {
            sid: bytes(&[0x51; 16]),
            started: uint(NOW - 3600),
            ends: uint(NOW - 3600 + 43_200),
            generation: uint(4),
            auth_time: uint(NOW - 3600),
        }
    }
}

impl Part {
    pub(crate) fn items(&self) -> [Vec<u8>; 5] {
        let Self { sid, started, ends, generation, auth_time } = self.clone();
        [sid, started, ends, generation, auth_time]
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        array(&self.items())
    }
}

/// The claims of a good token for nobody in particular: alice, issued at
/// [`NOW`] for 15 minutes.
pub(crate) fn claims() -> Pairs {
    Pairs(Vec::new())
        .with(label::SUB, text("alice"))
        .with(label::EXP, uint(NOW + 900))
        .with(label::IAT, uint(NOW))
        .with(label::CTI, bytes(&[0xc7; 16]))
        .with(label::SESSION, Part::default().encode())
}

/// The protected header of a session token.
pub(crate) fn header(key: TestKey) -> Pairs {
    Pairs(Vec::new()).with(1, int(key.alg())).with(4, bytes(&key.kid())).with(16, uint(61))
}

/// A COSE_Sign1, part by part.
#[derive(Clone)]
pub(crate) struct Frame {
    /// The heads of the tag and of the array.
    pub(crate) before: Vec<u8>,
    pub(crate) protected: Vec<u8>,
    /// The protected header's item where it is not simply a byte string.
    pub(crate) protected_item: Option<Vec<u8>>,
    pub(crate) unprotected: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    /// The payload's item where it is not simply a byte string.
    pub(crate) payload_item: Option<Vec<u8>>,
    /// The signature's item where it is not simply the right one.
    pub(crate) signature_item: Option<Vec<u8>>,
    pub(crate) after: Vec<u8>,
}

impl Frame {
    pub(crate) fn new(protected: &[u8], payload: &[u8]) -> Self {
        Self {
            before: vec![0xd2, 0x84],
            protected: protected.to_vec(),
            protected_item: None,
            unprotected: vec![0xa0],
            payload: payload.to_vec(),
            payload_item: None,
            signature_item: None,
            after: Vec::new(),
        }
    }

    /// RFC 9052 §4.4, the byte strings in their shortest spelling.
    pub(crate) fn message(&self) -> Vec<u8> {
        array(&[text("Signature1"), bytes(&self.protected), bytes(b""), bytes(&self.payload)])
    }

    pub(crate) fn signature(&self, key: TestKey) -> [u8; 64] {
        key.signing().sign(&self.message()).to_bytes()
    }

    pub(crate) fn encode(&self, key: TestKey) -> Vec<u8> {
        let item = |other: &Option<Vec<u8>>, content: &[u8]| other.clone().unwrap_or_else(|| bytes(content));
        cat([
            self.before.clone(),
            item(&self.protected_item, &self.protected),
            self.unprotected.clone(),
            item(&self.payload_item, &self.payload),
            item(&self.signature_item, &self.signature(key)),
            self.after.clone(),
        ])
    }

    pub(crate) fn token(&self, key: TestKey) -> String {
        base64url(&self.encode(key))
    }
}

/// A token with these claims, signed by `key`.
pub(crate) fn token(key: TestKey, claims: &Pairs) -> String {
    Frame::new(&header(key).encode(), &claims.encode()).token(key)
}

/// A token with this payload, signed by [`TestKey::Session`].
pub(crate) fn token_of(payload: &[u8]) -> String {
    Frame::new(&header(TestKey::Session).encode(), payload).token(TestKey::Session)
}
