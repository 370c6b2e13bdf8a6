//! The protected header: exactly alg, kid and typ.

use serde_json::json;

use super::{Maker, session};
use crate::support::raw::{
    Frame, Pairs, array, bytes, cat, claims, f16, head, header, int, map, pairs_of, tag, text, token, uint,
    wide,
};
use crate::support::test_keys::TestKey;

fn with(header: &[u8]) -> String {
    Frame::new(header, &claims().encode()).token(TestKey::Session)
}

pub(super) fn make() -> Maker {
    let mut m = Maker::under("header");
    algorithm(&mut m);
    key_id(&mut m);
    typ(&mut m);
    others(&mut m);
    encoding(&mut m);
    m
}

fn good() -> Pairs {
    header(TestKey::Session)
}

fn algorithm(m: &mut Maker) {
    for (name, why, alg) in [
        ("alg none", "alg 0, which is reserved", int(0)),
        ("alg ES256", "ECDSA with SHA-256", int(-7)),
        ("alg ES512", "ECDSA with SHA-512", int(-36)),
        ("alg HMAC", "HMAC 256/256: the public key taken for a secret", int(5)),
        ("alg Ed448", "Ed448 (RFC 9864)", int(-53)),
        ("alg 8", "8, not -8", int(8)),
        ("alg largest", "the largest negative integer there is", head(1, u64::MAX)),
        ("alg -2^63-1", "just outside what 64 bits with a sign hold", head(1, 1 << 63)),
        ("alg text", "the algorithm by its name", text("EdDSA")),
        ("alg none text", "the algorithm of unsigned JWTs", text("none")),
        ("alg null", "null", vec![0xf6]),
        ("alg bytes", "a byte string", bytes(&[0x27])),
        ("alg array", "an array", array(&[int(-8)])),
        ("alg tagged", "a tag around -8", tag(1, &int(-8))),
        ("alg float", "-8.0", f16(0xc800)),
    ] {
        m.malformed(name, why, with(&good().with(1, alg).encode()), "algorithm");
    }
    m.malformed("alg missing", "no alg", with(&good().without(1).encode()), "algorithm");
    m.malformed(
        "alg length",
        "-8 has a shorter form",
        with(&good().with(1, wide(1, 7, 1)).encode()),
        "not_shortest",
    );
    m.malformed(
        "alg twice",
        "the same alg twice",
        with(&map(&[
            (int(1), int(-8)),
            (int(1), int(-8)),
            (int(4), bytes(&TestKey::Session.kid())),
            (int(16), int(61)),
        ])),
        "duplicate_key",
    );
    m.malformed(
        "alg twice, differing",
        "two algs of which the second would be right",
        with(&map(&[
            (int(1), int(-7)),
            (int(1), int(-8)),
            (int(4), bytes(&TestKey::Session.kid())),
            (int(16), int(61)),
        ])),
        "algorithm",
    );
    m.refused(
        "alg of the other kind",
        "-19 where the key is pinned to -8, rightly signed",
        with(&good().with(1, int(-19)).encode()),
        "bad_signature",
    );
    m.refused(
        "alg of the other kind, reversed",
        "-8 where the key is pinned to -19, rightly signed",
        Frame::new(&header(TestKey::Session19).with(1, int(-8)).encode(), &claims().encode())
            .token(TestKey::Session19),
        "bad_signature",
    );
}

fn key_id(m: &mut Maker) {
    let kid = TestKey::Session.kid();
    for (name, why, value) in [
        ("kid empty", "a kid of no bytes", bytes(b"")),
        ("kid of 7", "a kid of seven bytes", bytes(&kid[..7])),
        ("kid of 9", "a kid of nine bytes", bytes(&[&kid[..], &[0]].concat())),
        (
            "kid of 32",
            "the whole thumbprint",
            bytes(&crate::support::test_keys::thumbprint(&TestKey::Session.public())),
        ),
        ("kid text", "the kid in hex", text(&hex::encode(kid))),
        ("kid text of 8", "a kid of eight characters", text("../../k1")),
        ("kid number", "the kid as a number", uint(u64::from_be_bytes(kid))),
        ("kid null", "null", vec![0xf6]),
        ("kid array", "an array", array(&[bytes(&kid)])),
    ] {
        m.malformed(name, why, with(&good().with(4, value).encode()), "key_id");
    }
    m.malformed("kid missing", "no kid", with(&good().without(4).encode()), "key_id");
    m.malformed(
        "kid length",
        "the length 8 has a shorter form",
        with(&good().with(4, cat([wide(2, 8, 1), kid.to_vec()])).encode()),
        "not_shortest",
    );
    m.malformed(
        "kid chunked",
        "a kid of indefinite length",
        with(&good().with(4, super::frame::chunked(&kid)).encode()),
        "indefinite_length",
    );
    m.malformed(
        "kid twice",
        "two kids",
        with(&map(&[(int(1), int(-8)), (int(4), bytes(&kid)), (int(4), bytes(&kid)), (int(16), int(61))])),
        "duplicate_key",
    );
    for (name, why, kid) in [
        ("kid unknown", "a kid that no key of the set has", [0; 8]),
        ("kid of the feed key", "the kid of a key that is not in the set", TestKey::Feed.kid()),
    ] {
        m.refused(name, why, with(&good().with(4, bytes(&kid)).encode()), "unknown_key");
    }
    m.refused(
        "feed key",
        "signed by a key that is not in the set",
        token(TestKey::Feed, &claims()),
        "unknown_key",
    );
    m.refused(
        "kid of another key",
        "the kid of the set's other key",
        with(&good().with(4, bytes(&TestKey::Session19.kid())).encode()),
        "bad_signature",
    );
}

fn typ(m: &mut Maker) {
    for (name, why, value) in [
        ("typ ticket", "a ticket presented as a session token", text("application/hallpass-ticket")),
        ("typ feed", "the revocation feed presented as a session token", text("application/hallpass-feed")),
        (
            "typ application/cwt",
            "the name of the number 61 is another spelling, and there is one",
            text("application/cwt"),
        ),
        ("typ cwt", "the name without its first half", text("cwt")),
        ("typ JWT", "what JWTs say", text("JWT")),
        ("typ empty", "empty text", text("")),
        ("typ 60", "application/cbor", uint(60)),
        ("typ 0", "text/plain", uint(0)),
        ("typ 18", "application/cose; cose-type=cose-sign1", uint(18)),
        ("typ large", "2^64 - 1", uint(u64::MAX)),
    ] {
        m.refused(name, why, with(&good().with(16, value).encode()), "wrong_type");
    }
    for (name, why, value) in [
        ("typ negative", "-62", int(-62)),
        ("typ bytes", "a byte string", bytes(b"=")),
        ("typ null", "null", vec![0xf6]),
        ("typ array", "an array", array(&[uint(61)])),
        ("typ tagged", "a tag around 61", tag(1, &uint(61))),
        ("typ float", "61.0", f16(0x53a0)),
        ("typ true", "true", vec![0xf5]),
    ] {
        m.malformed(name, why, with(&good().with(16, value).encode()), "typ");
    }
    m.malformed("typ missing", "no typ", with(&good().without(16).encode()), "typ");
    m.malformed(
        "typ length",
        "61 has a shorter form",
        with(&good().with(16, wide(0, 61, 2)).encode()),
        "not_shortest",
    );
    m.malformed(
        "typ not UTF-8",
        "text that is not UTF-8",
        with(&good().with(16, vec![0x61, 0xff]).encode()),
        "not_utf8",
    );
    m.refused(
        "typ before key",
        "wrong type and unknown key: the type is looked at first",
        with(&good().with(4, bytes(&[0; 8])).with(16, uint(60)).encode()),
        "wrong_type",
    );
}

fn others(m: &mut Maker) {
    for (name, why, value) in [
        ("crit", "crit that names a label that is understood", array(&[uint(4)])),
        ("crit unknown", "crit that names a label that is not understood", array(&[text("x")])),
        ("crit empty", "an empty crit", vec![0x80]),
        ("crit null", "crit with null", vec![0xf6]),
    ] {
        m.malformed(name, why, with(&good().with(2, value).encode()), "crit");
    }
    let public = TestKey::Session.public();
    let key = map(&[(int(1), int(1)), (int(-1), int(6)), (int(-2), bytes(&public))]);
    for (name, why, label, value) in [
        ("content type", "a content type", int(3), uint(60)),
        ("IV", "an IV", int(5), bytes(&[0; 12])),
        ("countersignature", "a countersignature (RFC 9338)", int(11), array(&[])),
        ("CWT claims", "claims in the header (RFC 9597)", int(15), map(&[])),
        ("x5chain", "a certificate in the header", int(33), bytes(&[0x30])),
        ("x5u", "the address of a certificate", int(35), text("https://localhost/")),
        ("embedded key", "a key in the header", int(-1), key),
        ("label text", "a label that is text", text("kid"), bytes(&[0; 8])),
        ("label alg text", "a label that is text", text("alg"), text("EdDSA")),
        ("label bytes", "a label that is a byte string", bytes(&[1]), uint(1)),
        ("label null", "a label that is null", vec![0xf6], uint(1)),
        ("label array", "a label that is an array", vec![0x80], uint(1)),
    ] {
        let mut pairs = good();
        let at = pairs.0.partition_point(|(other, _)| *other < label);
        pairs.0.insert(at, (label, value));
        m.malformed(name, why, with(&pairs.encode()), "unknown_header");
    }
    m.malformed(
        "label float",
        "a label that is a float",
        with(&good().then(f16(0x3c00), uint(1)).encode()),
        "claim_type",
    );
    m.malformed(
        "label tag",
        "a label in a tag",
        with(&good().then(tag(1, &uint(1)), uint(1)).encode()),
        "claim_type",
    );
}

fn encoding(m: &mut Maker) {
    let pairs = good().0;
    let ordered = |order: [usize; 3]| map(&order.map(|at| pairs[at].clone()));
    for (name, order) in
        [("typ first", [2, 0, 1]), ("kid first", [1, 0, 2]), ("kid last", [0, 2, 1]), ("reversed", [2, 1, 0])]
    {
        m.malformed(name, "labels out of order", with(&ordered(order)), "unsorted_keys");
    }
    let body = pairs_of(&pairs);
    for (name, why, header, detail) in [
        ("map length", "the length 3 has a shorter form", cat([wide(5, 3, 1), body.clone()]), "not_shortest"),
        (
            "map length of nine",
            "the length 3 has a shorter form",
            cat([wide(5, 3, 8), body.clone()]),
            "not_shortest",
        ),
        (
            "map indefinite",
            "a map of indefinite length",
            cat([vec![0xbf], body.clone(), vec![0xff]]),
            "indefinite_length",
        ),
        ("map longer", "a map that announces a pair more", cat([head(5, 4), body.clone()]), "truncated"),
        (
            "map shorter",
            "a map that announces a pair less",
            cat([head(5, 2), body.clone()]),
            "trailing_bytes",
        ),
        ("trailing byte", "a byte after the header's map", cat([good().encode(), vec![0]]), "trailing_bytes"),
        (
            "trailing map",
            "a second map after the header's",
            cat([good().encode(), vec![0xa0]]),
            "trailing_bytes",
        ),
        (
            "array",
            "an array in the place of the map",
            array(&[int(-8), bytes(&TestKey::Session.kid()), uint(61)]),
            "header",
        ),
        ("bytes", "the header in two byte strings", bytes(&good().encode()), "header"),
        ("null", "null", vec![0xf6], "header"),
        ("tagged", "a tag around the map", tag(1, &good().encode()), "header"),
        ("garbage", "no CBOR", vec![0xff; 8], "not_well_formed"),
    ] {
        // "map shorter" ends before typ, which is then missing; what follows is looked at first.
        m.malformed(name, why, with(&header), detail);
    }
    for (label, length) in [(1, 1), (4, 1), (16, 1), (1, 2), (4, 4), (16, 8)] {
        m.malformed(
            &format!("label {label} in {length}"),
            "a label that has a shorter form",
            with(&good().spelling(label, wide(0, label.cast_unsigned(), length)).encode()),
            "not_shortest",
        );
    }
    m.accepted("good", "exactly alg, kid and typ", with(&good().encode()), session(&json!({})));
}
