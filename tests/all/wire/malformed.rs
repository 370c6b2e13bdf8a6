//! By brute force: no bytes make anything panic, and nothing but the
//! token itself is accepted.

use hallpass::{KeySet, Reason, Session, UnixTime, UnverifiedToken, Verifier, danger};
use proptest::prelude::*;

use crate::support::raw::{
    self, Frame, NOW, base64url, claims, header, label, map, text, token, uint, unbase64url,
};
use crate::support::test_keys::TestKey;

fn now() -> UnixTime {
    UnixTime::from_secs(NOW + 10).unwrap()
}

fn verifier() -> Verifier {
    Verifier::builder(TestKey::key_set()).without_revocations().build().unwrap()
}

/// Refused, or the reason why not.
fn refused(verifier: &Verifier, token: impl AsRef<[u8]>) -> Option<Reason> {
    verifier.verify::<()>(token, now()).err().map(|rejection| rejection.reason())
}

/// Good tokens of different shapes and lengths (modulo four).
fn good() -> Vec<String> {
    let app = map(&[(text("cart"), raw::array(&[uint(1), raw::f16(0x3e00), text("ü")]))]);
    let tokens = vec![
        token(TestKey::Session, &claims()),
        token(TestKey::Session19, &claims().with(label::SUB, text("robert"))),
        token(TestKey::Session, &claims().with(label::SUB, text("charlie"))),
        token(TestKey::Session, &claims().with(label::APP, app)),
    ];
    let verifier = verifier();
    for token in &tokens {
        assert_eq!(refused(&verifier, token), None, "{token}");
    }
    let lengths: std::collections::BTreeSet<_> = tokens.iter().map(|token| token.len() % 4).collect();
    assert!(lengths.len() >= 3, "{lengths:?}");
    tokens
}

#[test]
fn every_flipped_bit_is_refused() {
    let verifier = verifier();
    for token in good() {
        let bytes = unbase64url(&token);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(refused(&verifier, base64url(&flipped)).is_some(), "bit {bit} of {token}");
        }
        for bit in 0..token.len() * 8 {
            let mut flipped = token.clone().into_bytes();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(refused(&verifier, &flipped).is_some(), "bit {bit} of the text of {token}");
        }
    }
}

#[test]
fn every_truncation_and_every_extension_is_refused() {
    let verifier = verifier();
    for token in good() {
        for length in 0..token.len() {
            let reason = refused(&verifier, &token[..length]);
            assert_eq!(reason, Some(Reason::Malformed), "{length} characters of {token}");
            assert_eq!(refused(&verifier, &token[token.len() - length..]), Some(Reason::Malformed));
        }
        let bytes = unbase64url(&token);
        for length in 0..bytes.len() {
            assert_eq!(refused(&verifier, base64url(&bytes[..length])), Some(Reason::Malformed));
        }
        for after in 0..=255 {
            let longer = [&bytes[..], &[after]].concat();
            assert_eq!(
                refused(&verifier, base64url(&longer)),
                Some(Reason::Malformed),
                "{after:02x} after it"
            );
            let longer = [token.as_bytes(), &[after]].concat();
            assert_eq!(refused(&verifier, &longer), Some(Reason::Malformed), "{after:02x} after the text");
        }
    }
}

#[test]
fn every_byte_left_out_doubled_or_swapped_is_refused() {
    let verifier = verifier();
    for token in good() {
        let bytes = unbase64url(&token);
        for at in 0..bytes.len() {
            let mut less = bytes.clone();
            less.remove(at);
            assert!(refused(&verifier, base64url(&less)).is_some(), "without byte {at}");
            let mut more = bytes.clone();
            more.insert(at, bytes[at]);
            assert!(refused(&verifier, base64url(&more)).is_some(), "byte {at} twice");
            if at > 0 && bytes[at] != bytes[at - 1] {
                let mut swapped = bytes.clone();
                swapped.swap(at, at - 1);
                assert!(refused(&verifier, base64url(&swapped)).is_some(), "byte {at} swapped");
            }
        }
    }
}

/// Every head in the frame that could be longer, made longer. The signature
/// does not cover these, so that only the reader can refuse them.
#[test]
fn every_other_spelling_of_the_frame_is_refused() {
    let verifier = verifier();
    let key = TestKey::Session;
    let frame = Frame::new(&header(key).encode(), &claims().encode());
    let spellings = |major: u8, argument: u64| {
        let shortest = raw::head(major, argument).len() - 1;
        [1, 2, 4, 8].into_iter().filter(move |w| *w > shortest).map(move |w| raw::wide(major, argument, w))
    };
    let mut tried = 0;
    let mut try_it = |frame: &Frame| {
        assert_eq!(refused(&verifier, frame.token(key)), Some(Reason::Malformed));
        tried += 1;
    };
    for tag in spellings(6, 18) {
        try_it(&Frame { before: [tag, vec![0x84]].concat(), ..frame.clone() });
    }
    for array in spellings(4, 4) {
        try_it(&Frame { before: [vec![0xd2], array].concat(), ..frame.clone() });
    }
    for map in spellings(5, 0) {
        try_it(&Frame { unprotected: map, ..frame.clone() });
    }
    for head in spellings(2, frame.protected.len() as u64) {
        let item = [head, frame.protected.clone()].concat();
        try_it(&Frame { protected_item: Some(item), ..frame.clone() });
    }
    for head in spellings(2, frame.payload.len() as u64) {
        let item = [head, frame.payload.clone()].concat();
        try_it(&Frame { payload_item: Some(item), ..frame.clone() });
    }
    for head in spellings(2, 64) {
        let item = [head, frame.signature(key).to_vec()].concat();
        try_it(&Frame { signature_item: Some(item), ..frame.clone() });
    }
    // Byte strings in chunks, anywhere they could be cut.
    for cut in 0..=frame.protected.len() {
        let (a, b) = frame.protected.split_at(cut);
        let item = [vec![0x5f], raw::bytes(a), raw::bytes(b), vec![0xff]].concat();
        try_it(&Frame { protected_item: Some(item), ..frame.clone() });
    }
    assert_eq!(tried, 4 * 4 + 2 * 3 + frame.protected.len() + 1, "as many as there are widths");
    assert_eq!(refused(&verifier, frame.token(key)), None);
}

/// Nothing depends on which of the good tokens' parts belong together but the
/// signature: header, payload and signature of different tokens don't mix.
#[test]
fn parts_of_good_tokens_do_not_mix() {
    let verifier = verifier();
    let frames: Vec<_> =
        [(TestKey::Session, "alice"), (TestKey::Session19, "bob"), (TestKey::Session, "mallory")]
            .map(|(key, subject)| {
                (key, Frame::new(&header(key).encode(), &claims().with(label::SUB, text(subject)).encode()))
            })
            .into();
    for (i, (_, header_of)) in frames.iter().enumerate() {
        for (j, (_, payload_of)) in frames.iter().enumerate() {
            for (k, (key, signature_of)) in frames.iter().enumerate() {
                let mixed = Frame {
                    payload: payload_of.payload.clone(),
                    signature_item: Some(raw::bytes(&signature_of.signature(*key))),
                    ..header_of.clone()
                };
                let same = header_of.protected == signature_of.protected && j == k;
                let expected = if same { None } else { Some(Reason::BadSignature) };
                assert_eq!(refused(&verifier, mixed.token(*key)), expected, "{i} {j} {k}");
            }
        }
    }
}

fn all_of_it(bytes: &[u8]) {
    let keys: KeySet = TestKey::key_set();
    if let Ok(unverified) = UnverifiedToken::decode(bytes) {
        let _ = unverified.verify(&keys, now());
        let _ = format!("{unverified:?} {:?}", unverified.key_id());
    }
    if let Ok(inspection) = danger::inspect(bytes) {
        let _ = format!("{} {}", inspection.diagnostic, inspection.json);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
        all_of_it(&bytes);
        prop_assert!(verifier().verify::<()>(&bytes, now()).is_err());
    }

    #[test]
    fn any_base64url_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..3100)) {
        let text = base64url(&bytes);
        all_of_it(text.as_bytes());
        prop_assert!(verifier().verify::<()>(&text, now()).is_err());
    }

    /// Changed in a few places, and then signed again by the right key: only
    /// the decoder can refuse it, and what it accepts has one spelling.
    #[test]
    fn damaged_claims_are_refused_or_have_one_spelling(
        which in 0_usize..4,
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let bytes = unbase64url(&good()[which]);
        let (key, payload) = parts(&bytes);
        let mut damaged = payload.clone();
        for (at, to) in changes {
            let at = at.index(damaged.len());
            damaged[at] = to;
        }
        let token = Frame::new(&header(key).encode(), &damaged).token(key);
        all_of_it(token.as_bytes());
        if let Ok(session) = verifier().verify::<()>(&token, now()) {
            // ciborium's Value has no simple values but false, true and null,
            // and takes undefined (f7) for null.
            if let Ok(value) = ciborium::from_reader::<ciborium::Value, _>(&damaged[..])
                && !damaged.contains(&0xf7)
            {
                prop_assert_eq!(respelled(&value), damaged);
            }
            prop_assert!(!session.subject().is_empty());
        }
    }

    /// The same with the whole token and its signature as it was: never
    /// accepted unless nothing changed.
    #[test]
    fn damaged_tokens_are_refused(
        which in 0_usize..4,
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0..3_u8), 1..6),
    ) {
        let whole = good().swap_remove(which).into_bytes();
        let mut damaged = whole.clone();
        for (at, to, how) in changes {
            let at = at.index(damaged.len());
            match how {
                0 => damaged[at] = to,
                1 => damaged.insert(at, to),
                _ => drop(damaged.remove(at)),
            }
        }
        all_of_it(&damaged);
        let accepted = verifier().verify::<()>(&damaged, now()).is_ok();
        prop_assert_eq!(accepted, damaged == whole);
    }
}

fn parts(token: &[u8]) -> (TestKey, Vec<u8>) {
    let ciborium::Value::Tag(18, inner) = ciborium::from_reader(token).unwrap() else { panic!() };
    let parts = inner.into_array().unwrap();
    let protected = parts[0].as_bytes().unwrap();
    let kid_of_19 = TestKey::Session19.kid();
    let is_19 = protected.windows(8).any(|window| window == kid_of_19);
    (if is_19 { TestKey::Session19 } else { TestKey::Session }, parts[2].as_bytes().unwrap().clone())
}

/// Deterministic CBOR of a value, written with the tests' own builder.
fn respelled(value: &ciborium::Value) -> Vec<u8> {
    use ciborium::Value;
    match value {
        Value::Integer(n) => {
            let n = i128::from(*n);
            match u64::try_from(n) {
                Ok(n) => raw::head(0, n),
                Err(_) => raw::head(1, u64::try_from(-1 - n).unwrap()),
            }
        }
        Value::Bytes(bytes) => raw::bytes(bytes),
        Value::Text(string) => text(string),
        Value::Array(items) => raw::array(&items.iter().map(respelled).collect::<Vec<_>>()),
        Value::Map(pairs) => {
            let mut pairs: Vec<_> = pairs.iter().map(|(k, v)| (respelled(k), respelled(v))).collect();
            pairs.sort();
            pairs.dedup_by(|a, b| a.0 == b.0);
            map(&pairs)
        }
        Value::Tag(tag, inner) => raw::tag(*tag, &respelled(inner)),
        // ciborium chooses the shortest float; that it does is tested in wire::cbor.
        other => {
            let mut out = Vec::new();
            ciborium::into_writer(other, &mut out).unwrap();
            out
        }
    }
}

/// A session token's session is never had from anything else.
#[test]
fn the_good_tokens_are_good() {
    let verifier = verifier();
    for token in good() {
        let session: Session = verifier.verify(&token, now()).unwrap();
        assert_eq!(session.generation(), 4);
        all_of_it(token.as_bytes());
    }
}

/// Nothing in the vector file makes anything panic.
#[test]
fn all_vectors_in_every_decoder() {
    for token in crate::wire::vectors::all_tokens() {
        all_of_it(token.as_bytes());
    }
}
