//! COSE_Sign1: tag, array, embedded byte strings and the signature.

use curve25519_dalek::Scalar;
use sha2::{Digest, Sha512};

use super::Maker;
use crate::support::raw::{
    Frame, array, bytes, cat, claims, head, header, int, label, map, text, token, uint, unbase64url, wide,
};
use crate::support::test_keys::TestKey;

fn good() -> Frame {
    Frame::new(&header(TestKey::Session).encode(), &claims().encode())
}

fn with(change: impl FnOnce(&mut Frame)) -> String {
    let mut frame = good();
    change(&mut frame);
    frame.token(TestKey::Session)
}

/// With r = 0 and so R the neutral point, of small order: s = k·a fits it
/// (RFC 8032, section 5.1.6), whence `verify_strict`'s check of R.
fn without_nonce(frame: &Frame) -> [u8; 64] {
    let key = TestKey::Session.signing();
    let mut signature = [0; 64];
    signature[0] = 1;
    let hash = Sha512::new().chain_update(&signature[..32]).chain_update(key.verifying_key());
    let k = Scalar::from_bytes_mod_order_wide(&hash.chain_update(frame.message()).finalize().into());
    signature[32..].copy_from_slice((k * key.to_scalar()).as_bytes());
    signature
}

/// A byte string of indefinite length in one chunk.
pub(super) fn chunked(content: &[u8]) -> Vec<u8> {
    cat([vec![0x5f], bytes(content), vec![0xff]])
}

pub(super) fn make() -> Maker {
    let mut m = Maker::under("frame");
    envelope(&mut m);
    parts(&mut m);
    signatures(&mut m);
    bombs(&mut m);
    m
}

fn envelope(m: &mut Maker) {
    for (name, why, before, detail) in [
        ("untagged", "no tag: an array alone", vec![0x84], "not_sign1"),
        ("tag 61", "the CWT tag (RFC 8392, section 6) around it", vec![0xd8, 0x3d, 0xd2, 0x84], "not_sign1"),
        ("tag 61 alone", "the CWT tag in the place of COSE_Sign1's", vec![0xd8, 0x3d, 0x84], "not_sign1"),
        ("tag 17", "COSE_Mac0", vec![0xd1, 0x84], "not_sign1"),
        ("tag 16", "COSE_Encrypt0", vec![0xd0, 0x84], "not_sign1"),
        ("tag 98", "COSE_Sign", vec![0xd8, 0x62, 0x84], "not_sign1"),
        ("tag 55799", "self-described CBOR", vec![0xd9, 0xd9, 0xf7, 0xd2, 0x84], "not_sign1"),
        ("tag twice", "tag 18 in tag 18", vec![0xd2, 0xd2, 0x84], "not_sign1"),
        ("tag of two bytes", "tag 18 has a shorter form", vec![0xd8, 0x12, 0x84], "not_shortest"),
        ("tag of nine bytes", "tag 18 has a shorter form", wide(6, 18, 8), "not_shortest"),
        ("array of two bytes", "the length 4 has a shorter form", vec![0xd2, 0x98, 0x04], "not_shortest"),
        (
            "array of nine bytes",
            "the length 4 has a shorter form",
            cat([vec![0xd2], wide(4, 4, 8)]),
            "not_shortest",
        ),
        ("array of three", "an array that says it has three items", vec![0xd2, 0x83], "not_sign1"),
        ("array of five", "an array that says it has five items", vec![0xd2, 0x85], "not_sign1"),
        ("a map", "a map in the place of the array", vec![0xd2, 0xa2], "not_sign1"),
        ("a byte string", "a byte string in the place of the array", vec![0xd2, 0x44], "not_sign1"),
    ] {
        m.malformed(name, why, with(|f| f.before = before), detail);
    }
    m.malformed(
        "indefinite array",
        "an array of indefinite length",
        with(|f| {
            f.before = vec![0xd2, 0x9f];
            f.after = vec![0xff];
        }),
        "indefinite_length",
    );
    m.malformed("trailing zero", "a byte after the item", with(|f| f.after = vec![0]), "trailing_bytes");
    m.malformed("trailing null", "an item after the item", with(|f| f.after = vec![0xf6]), "trailing_bytes");
    m.malformed("trailing break", "a break after the item", with(|f| f.after = vec![0xff]), "trailing_bytes");
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn parts(m: &mut Maker) {
    let header = header(TestKey::Session).encode();
    let length = header.len() as u64;
    for (name, why, item, detail) in [
        (
            "protected not wrapped",
            "the protected header as a map, not in a byte string",
            header.clone(),
            "not_sign1",
        ),
        ("protected nil", "nil in the place of the protected header", vec![0xf6], "not_sign1"),
        ("protected text", "text in the place of the protected header", text("abc"), "not_sign1"),
        ("protected empty", "an empty protected header says no algorithm", bytes(b""), "truncated"),
        ("protected empty map", "an empty protected header says no algorithm", bytes(&[0xa0]), "algorithm"),
        (
            "protected length",
            "a length that has a shorter form",
            cat([wide(2, length, 1), header.clone()]),
            "not_shortest",
        ),
        (
            "protected length of three",
            "a length that has a shorter form",
            cat([wide(2, length, 2), header.clone()]),
            "not_shortest",
        ),
        ("protected chunked", "a byte string of indefinite length", chunked(&header), "indefinite_length"),
        (
            "protected tagged",
            "tag 24 around the byte string",
            cat([vec![0xd8, 24], bytes(&header)]),
            "not_sign1",
        ),
    ] {
        m.malformed(name, why, with(|f| f.protected_item = Some(item)), detail);
    }
    let kid = TestKey::Session.kid();
    for (name, why, unprotected, detail) in [
        ("unprotected kid", "a kid in the unprotected header", map(&[(uint(4), bytes(&kid))]), "unprotected"),
        (
            "unprotected alg",
            "the alg a second time in the unprotected header",
            map(&[(uint(1), int(-8))]),
            "unprotected",
        ),
        (
            "unprotected unknown",
            "anything in the unprotected header",
            map(&[(text("x"), uint(1))]),
            "unprotected",
        ),
        (
            "unprotected crit",
            "crit in the unprotected header",
            map(&[(uint(2), array(&[uint(4)]))]),
            "unprotected",
        ),
        ("unprotected length", "the length 0 has a shorter form", vec![0xb8, 0], "not_shortest"),
        (
            "unprotected indefinite",
            "an empty map of indefinite length",
            vec![0xbf, 0xff],
            "indefinite_length",
        ),
        ("unprotected wrapped", "the empty map in a byte string", bytes(&[0xa0]), "not_sign1"),
        ("unprotected nil", "nil in the place of the unprotected header", vec![0xf6], "not_sign1"),
        ("unprotected array", "an array in the place of the unprotected header", vec![0x80], "not_sign1"),
    ] {
        m.malformed(name, why, with(|f| f.unprotected = unprotected), detail);
    }
    m.malformed(
        "alg only unprotected",
        "the alg stands in the unprotected header alone",
        with(|f| {
            f.protected = crate::support::raw::header(TestKey::Session).without(1).encode();
            f.unprotected = map(&[(uint(1), int(-8))]);
        }),
        "unprotected",
    );
    let payload = claims().encode();
    let length = payload.len() as u64;
    for (name, why, item, detail) in [
        ("payload nil", "a detached payload (RFC 9052, section 4.1)", vec![0xf6], "no_payload"),
        ("payload undefined", "undefined in the place of the payload", vec![0xf7], "no_payload"),
        ("payload not wrapped", "the claims as a map, not in a byte string", payload.clone(), "no_payload"),
        ("payload text", "text in the place of the payload", text("abc"), "no_payload"),
        (
            "payload length",
            "a length that has a shorter form",
            cat([wide(2, length, 2), payload.clone()]),
            "not_shortest",
        ),
        ("payload chunked", "a byte string of indefinite length", chunked(&payload), "indefinite_length"),
    ] {
        m.malformed(name, why, with(|f| f.payload_item = Some(item)), detail);
    }
    m.malformed(
        "payload empty",
        "an empty payload, rightly signed",
        with(|f| f.payload = Vec::new()),
        "truncated",
    );
    m.malformed(
        "payload nil, empty signed",
        "a nil payload with a signature over the empty one",
        with(|f| {
            f.payload = Vec::new();
            f.payload_item = Some(vec![0xf6]);
        }),
        "no_payload",
    );
}

/// 2^252 + 27742317777372353535851937790883648493, little-endian (RFC 8032, section 5.1).
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The signature with the group's order added to s: the same equation holds.
fn malleated(signature: &[u8; 64]) -> [u8; 64] {
    let mut out = *signature;
    let mut carry = 0;
    for (byte, order) in out[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = u8::try_from(sum & 0xff).unwrap();
        carry = sum >> 8;
    }
    out
}

fn signatures(m: &mut Maker) {
    let signature = good().signature(TestKey::Session);
    for (name, why, item, detail) in [
        ("signature empty", "no signature", bytes(b""), "signature_length"),
        ("signature of 63", "a byte too few", bytes(&signature[..63]), "signature_length"),
        ("signature of 65", "a byte too many", bytes(&[&signature[..], &[0]].concat()), "signature_length"),
        ("signature twice", "128 bytes", bytes(&signature.repeat(2)), "signature_length"),
        ("signature nil", "nil", vec![0xf6], "signature_length"),
        ("signature text", "text", text(&"s".repeat(64)), "signature_length"),
        (
            "signature array",
            "an array of signatures, as in COSE_Sign",
            array(&[bytes(&signature)]),
            "signature_length",
        ),
        (
            "signature length",
            "a length that has a shorter form",
            cat([wide(2, 64, 2), signature.to_vec()]),
            "not_shortest",
        ),
        ("signature chunked", "a byte string of indefinite length", chunked(&signature), "indefinite_length"),
    ] {
        m.malformed(name, why, with(|f| f.signature_item = Some(item)), detail);
    }
    let mut flipped = signature;
    flipped[0] ^= 1;
    let mut flipped_s = signature;
    flipped_s[40] ^= 1;
    let identity = {
        let mut point = [0; 64];
        point[0] = 1;
        point
    };
    let other =
        Frame::new(&header(TestKey::Session).encode(), &claims().with(label::SUB, text("mallory")).encode())
            .signature(TestKey::Session);
    for (name, why, signature) in [
        ("signature zero", "64 zero bytes", [0; 64]),
        ("signature ones", "64 bytes ff", [0xff; 64]),
        ("signature R flipped", "a bit of R flipped", flipped),
        ("signature s flipped", "a bit of s flipped", flipped_s),
        (
            "signature malleated",
            "s with the group's order added (RFC 8032, section 5.1.7)",
            malleated(&signature),
        ),
        ("signature identity", "R the neutral point and s zero", identity),
        (
            "signature without a nonce",
            "the key did sign, but with the neutral point for R: the equation holds",
            without_nonce(&good()),
        ),
        ("signature of another token", "a good signature over other claims", other),
        (
            "signature of another key",
            "signed by a key other than the kid's",
            good().signature(TestKey::Session19),
        ),
        ("signature of the payload alone", "signed the payload, not the Sig_structure", {
            use ed25519_dalek::Signer;
            TestKey::Session.signing().sign(&claims().encode()).to_bytes()
        }),
        ("signature with external data", "signed with external_aad that is not empty", {
            use ed25519_dalek::Signer;
            let f = good();
            let message = array(&[text("Signature1"), bytes(&f.protected), bytes(b"x"), bytes(&f.payload)]);
            TestKey::Session.signing().sign(&message).to_bytes()
        }),
        ("signature for COSE_Sign", "the context string of another structure", {
            use ed25519_dalek::Signer;
            let f = good();
            let message = array(&[text("Signature"), bytes(&f.protected), bytes(b""), bytes(&f.payload)]);
            TestKey::Session.signing().sign(&message).to_bytes()
        }),
    ] {
        m.refused(name, why, with(|f| f.signature_item = Some(bytes(&signature))), "bad_signature");
    }
    let mut swapped = unbase64url(&token(TestKey::Session, &claims()));
    let at = swapped.windows(5).position(|w| w == b"alice").unwrap();
    swapped[at..at + 5].copy_from_slice(b"admin");
    m.refused(
        "subject replaced",
        "other claims under the signature of a good token",
        crate::support::raw::base64url(&swapped),
        "bad_signature",
    );
    m.refused(
        "bad claims under a bad signature",
        "no claim is looked at before the signature holds",
        {
            let mut frame = Frame::new(&header(TestKey::Session).encode(), &[0xff, 0xff]);
            frame.signature_item = Some(bytes(&[7; 64]));
            frame.token(TestKey::Session)
        },
        "bad_signature",
    );
}

fn bombs(m: &mut Maker) {
    let text_of = |bytes: Vec<u8>| crate::support::raw::base64url(&bytes);
    for (name, why, bytes, detail) in [
        (
            "length bomb bytes",
            "a byte string of 2^64 - 1 bytes announced",
            cat([vec![0xd2, 0x84], head(2, u64::MAX)]),
            "truncated",
        ),
        (
            "length bomb bytes 32",
            "a byte string of 2^32 - 1 bytes announced",
            cat([vec![0xd2, 0x84], head(2, 0xffff_ffff)]),
            "truncated",
        ),
        (
            "length bomb array",
            "an array of 2^64 - 1 items announced",
            cat([vec![0xd2], head(4, u64::MAX)]),
            "not_sign1",
        ),
        (
            "length bomb map",
            "an unprotected header of 2^64 - 1 pairs announced",
            cat([vec![0xd2, 0x84, 0x40], head(5, u64::MAX)]),
            "unprotected",
        ),
        ("depth bomb arrays", "3,000 arrays, one in another", vec![0x81; 3000], "not_sign1"),
        ("depth bomb tags", "3,000 tags 18", vec![0xd2; 3000], "not_sign1"),
        ("depth bomb indefinite", "3,000 arrays of indefinite length", vec![0x9f; 3000], "indefinite_length"),
        (
            "depth bomb in the header",
            "a header whose first key is 2,000 arrays deep",
            cat([
                vec![0xd2, 0x84],
                bytes(&[vec![0xa1], vec![0x81; 2000]].concat()),
                vec![0xa0, 0x41, 0xa0],
                bytes(&[0; 64]),
            ]),
            "too_deep",
        ),
        (
            "header length bomb",
            "a protected header of 2^64 - 1 pairs announced",
            cat([vec![0xd2, 0x84], bytes(&head(5, u64::MAX)), vec![0xa0, 0x41, 0xa0], bytes(&[0; 64])]),
            "truncated",
        ),
        (
            "reserved",
            "additional information 28 is reserved (RFC 8949, section 3)",
            vec![0xd2, 0x9c],
            "not_well_formed",
        ),
        ("break", "a break out of place", vec![0xd2, 0xff], "not_well_formed"),
    ] {
        m.malformed(name, why, text_of(bytes), detail);
    }
    for (name, payload, detail) in [
        ("claims length bomb", head(5, u64::MAX), "truncated"),
        ("claims text bomb", cat([vec![0xa1, 0x02], head(3, u64::MAX)]), "truncated"),
        ("claims bytes bomb", cat([vec![0xa1, 0x07], head(2, 0x7fff_ffff_ffff_ffff)]), "truncated"),
        ("claims key bomb", [vec![0xa1], vec![0x81; 2000]].concat(), "too_deep"),
    ] {
        m.malformed(
            name,
            "announced but not there, rightly signed",
            crate::support::raw::token_of(&payload),
            detail,
        );
    }
}
