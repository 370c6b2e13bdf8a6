//! Frame, times, fields, entries and session keys, broken one at a time.

use super::*;
use crate::support::raw::{f16, head, tag, wide};
use crate::support::test_keys::thumbprint;

pub(super) fn frames(m: &mut Maker) {
    let good = frame(&snapshot().encode());
    let as_typ = |typ: Vec<u8>| {
        let header = header(TestKey::Feed).with(16, typ);
        Frame::new(&header.encode(), &snapshot().encode()).encode(TestKey::Feed)
    };
    m.refused("typ of a token", "the typ of a session token", as_typ(uint(61)), "wrong_type");
    m.refused(
        "typ of a ticket",
        "the typ of a ticket",
        as_typ(text("application/hallpass-ticket")),
        "wrong_type",
    );
    m.refused("typ unknown", "a later version", as_typ(text("application/hallpass-feed2")), "wrong_type");
    let session = header(TestKey::Session).with(16, text("application/hallpass-feed"));
    let by_session_key = Frame::new(&session.encode(), &snapshot().encode()).encode(TestKey::Session);
    m.refused(
        "signed by a session key",
        "a key that signs sessions signs no feed",
        by_session_key,
        "unknown_key",
    );
    m.refused(
        "signed by another",
        "another key under the kid of the feed key",
        good.encode(TestKey::Session),
        "bad_signature",
    );
    let as_19 = header(TestKey::Feed).with(1, int(-19)).with(16, text("application/hallpass-feed"));
    m.refused(
        "alg of another key",
        "the alg is the key's",
        Frame::new(&as_19.encode(), &snapshot().encode()).encode(TestKey::Feed),
        "bad_signature",
    );
    let mut flipped = good.encode(TestKey::Feed);
    *flipped.last_mut().unwrap() ^= 1;
    m.refused("signature flipped", "a bit of s flipped", flipped, "bad_signature");
    let changed = Frame {
        signature_item: Some(bytes(&good.signature(TestKey::Feed))),
        ..frame(&snapshot().with(8, array(&[of_all(NOW)])).encode())
    };
    m.refused("entry added", "an entry that nobody signed", changed.encode(TestKey::Feed), "bad_signature");
    let identity = Frame { signature_item: Some(bytes(&[&[1][..], &[0; 63]].concat())), ..good.clone() };
    m.refused(
        "signature identity",
        "R the neutral point and s zero",
        identity.encode(TestKey::Feed),
        "bad_signature",
    );
    m.refused("nothing", "no bytes at all", Vec::new(), "malformed");
    m.refused("JSON", "another format", b"{\"revoked\":[]}".to_vec(), "malformed");
    let whole = part(&snapshot());
    m.refused("cut", "its last byte is missing", whole[..whole.len() - 1].to_vec(), "malformed");
    m.refused("untagged", "no tag 18", whole[1..].to_vec(), "malformed");
    m.refused("trailing byte", "a byte after the feed", cat([whole.clone(), vec![0]]), "malformed");
    m.refused("twice", "the feed, and the feed again", cat([whole.clone(), whole]), "malformed");
    m.refused(
        "unprotected",
        "something in the unprotected header",
        Frame { unprotected: vec![0xa1, 4, 0x41, 0], ..good.clone() }.encode(TestKey::Feed),
        "malformed",
    );
    m.refused(
        "detached",
        "a nil payload",
        Frame { payload_item: Some(NULL.to_vec()), ..good }.encode(TestKey::Feed),
        "malformed",
    );
}

pub(super) fn times(m: &mut Maker) {
    let whole = part(&snapshot());
    let lifetimes = array(&[300, 34_560_000, 300, 60].map(uint));
    m.applied("lifetimes", "the issuer's lifetimes", part(&snapshot().with(10, lifetimes)), HERE);
    m.applied("exp almost", "the last second, leeway included", whole.clone(), HERE).at(NOW + 304);
    m.refused("exp", "on its expiry plus leeway it is over", whole.clone(), "expired").at(NOW + 305);
    m.applied("iat almost", "from the future by the leeway", whole.clone(), HERE).at(NOW - 5);
    m.refused("iat", "from the future by more", whole, "not_yet_valid").at(NOW - 6);
}

pub(super) fn fields(m: &mut Maker) {
    for label in [1, 2, 3, 4, 6, 7, 8, 9] {
        m.malformed(&format!("without {label}"), "a field is missing", &snapshot().without(label));
        m.malformed(
            &format!("{label} as text"),
            "a field of a wrong type",
            &snapshot().with(label, text("x")),
        );
        m.malformed(
            &format!("{label} as float"),
            "a field of a wrong type",
            &snapshot().with(label, f16(0x3c00)),
        );
    }
    for label in [1, 2, 4, 6] {
        let long = Pairs(snapshot().0).with(label, wide(0, 5, 1));
        m.malformed(&format!("{label} not shortest"), "a number that has a shorter form", &long);
        m.malformed(&format!("{label} negative"), "a negative number", &snapshot().with(label, int(-1)));
    }
    m.malformed("unknown field", "a field that is none", &snapshot().with(11, uint(1)));
    let lifetimes = |secs: [u64; 4]| array(&secs.map(uint));
    for (name, why, value) in [
        ("lifetimes as number", "lifetimes of a wrong type", uint(900)),
        ("lifetimes of three", "one lifetime is missing", array(&[900, 900, 450].map(uint))),
        (
            "lifetimes as text",
            "a lifetime of a wrong type",
            array(&[uint(900), uint(900), text("450"), uint(5)]),
        ),
        ("lifetimes of zero", "tokens that never live", lifetimes([0, 900, 0, 5])),
        ("lifetimes unordered", "an idle timeout below a token's max age", lifetimes([900, 899, 450, 5])),
        ("lifetimes too long", "an idle timeout of more than 400 days", lifetimes([900, 34_560_001, 450, 5])),
        ("renewal too late", "renewed after the token's max age", lifetimes([900, 900, 901, 5])),
        ("leeway too large", "a leeway of more than 60 s", lifetimes([900, 900, 450, 61])),
    ] {
        m.malformed(name, why, &snapshot().with(10, value));
    }
    m.malformed(
        "another label",
        "a field that is none, in the place of one",
        &snapshot().without(9).with(10, array(&[])),
    );
    m.malformed("iat is exp", "signed on its expiry", &snapshot().with(4, uint(NOW)));
    m.malformed("exp too large", "a time after the year 9999", &snapshot().with(4, uint(NEVER + 1)));
    m.malformed("base after sequence", "a delta that leads back", &delta().with(3, uint(9)));
    m.malformed("undefined base", "undefined is not null", &snapshot().with(3, [0xf7]));
    let mut swapped = snapshot();
    swapped.0.swap(0, 1);
    m.malformed("fields unsorted", "keys out of order", &swapped);
    let mut twice = snapshot();
    twice.0.insert(1, (uint(1), uint(1)));
    twice.0.remove(8);
    m.malformed("field twice", "a key twice, one missing", &twice);
    m.refused(
        "payload trailing",
        "a byte after the fields",
        frame(&cat([snapshot().encode(), vec![0]])).encode(TestKey::Feed),
        "malformed",
    );
    m.refused(
        "payload array",
        "an array in the place of the fields",
        frame(&array(&[])).encode(TestKey::Feed),
        "malformed",
    );
    m.malformed("entries bomb", "2^32 - 1 entries announced", &snapshot().with(8, head(4, 0xffff_ffff)));
}

pub(super) fn entries(m: &mut Maker) {
    let bad: &[(&str, &str, Vec<u8>)] = &[
        ("entry empty", "an entry without a kind", array(&[])),
        ("entry a number", "an entry that is no array", uint(0)),
        ("entry a tag", "a tag around an entry", tag(0, &of_all(NOW))),
        ("entry kind text", "the kind as text", array(&[text("0"), bytes(&[0; 16]), uint(ENDS)])),
        ("entry kind negative", "a negative kind", array(&[int(-1), bytes(&[0; 16]), uint(ENDS)])),
        ("session of 15", "a session id of 15 bytes", array(&[uint(0), bytes(&[0; 15]), uint(ENDS)])),
        ("session of 17", "a session id of 17 bytes", array(&[uint(0), bytes(&[0; 17]), uint(ENDS)])),
        ("session as text", "a session id as text", array(&[uint(0), text("0123456789abcdef"), uint(ENDS)])),
        ("session without ends", "two items", array(&[uint(0), bytes(&[0; 16])])),
        ("session and more", "four items", array(&[uint(0), bytes(&[0; 16]), uint(ENDS), uint(1)])),
        ("session ends negative", "a negative time", array(&[uint(0), bytes(&[0; 16]), int(-1)])),
        ("session ends too late", "a time after the year 9999", of_session([0; 16], NEVER + 1)),
        ("subject of three", "no cut-off", array(&[uint(1), bytes(&[0; 16]), uint(ENDS)])),
        ("subject unhashed", "the subject itself", array(&[uint(1), text("alice"), uint(NOW), uint(ENDS)])),
        ("key of 16", "a kid of 16 bytes", array(&[uint(2), bytes(&[0; 16]), uint(ENDS)])),
        ("all of four", "an id where none is", array(&[uint(3), bytes(&[]), uint(NOW), uint(ENDS)])),
        ("all of two", "no end", array(&[uint(3), uint(NOW)])),
    ];
    for (name, why, entry) in bad {
        let entries = array(&[of_session([0x52; 16], ENDS), entry.clone()]);
        m.malformed(name, why, &snapshot().with(8, entries));
    }
    for (name, entry) in [
        ("unknown kind", array(&[uint(4), bytes(&[0; 16]), uint(ENDS)])),
        ("unknown kind alone", array(&[uint(4)])),
        ("unknown kind, large", array(&[uint(u64::MAX), uint(ENDS)])),
    ] {
        let entries = array(&[of_session([0x51; 16], ENDS), entry]);
        m.refused(
            name,
            "who does not know what is revoked does not apply the rest",
            part(&delta().with(8, entries)),
            "unknown_entry",
        )
        .after(&[&snapshot()])
        .state(HERE)
        .shows(alice(Ok(())));
    }
}

pub(super) fn keys(m: &mut Maker) {
    let with = |keys: &[Vec<u8>]| part(&snapshot().with(9, array(keys)));
    let session = TestKey::Session;
    let (x, kid) = (session.public(), session.kid());
    let retiring = |at| key_of(&x, &kid, -8, at);
    m.applied(
        "keys replaced",
        "the session keys are those of the last feed",
        part(&delta().with(9, array(&[session_key(TestKey::Session19)]))),
        (1, 8, NOW + 1),
    )
    .after(&[&snapshot()])
    .shows(alice(Err("unknown_key")))
    .shows(shown(token(TestKey::Session19, &claims()), Ok(())));
    m.applied("key retires", "a key is unknown from its not-after on", with(&[retiring(NOW + 12)]), HERE)
        .shows(Token { now: NOW + 11, ..alice(Ok(())) })
        .shows(Token { now: NOW + 12, ..alice(Err("unknown_key")) });
    let later = array(&[bytes(&kid), bytes(&x), int(-8), uint(NOW + 500), uint(NEVER)]);
    m.applied("key not before", "not-before is the issuer's to keep", with(&[later]), HERE)
        .shows(alice(Ok(())));
    m.applied(
        "retired beside a good one",
        "a retired key is left out",
        with(&[retiring(NOW + 10), session_key(TestKey::Session19)]),
        HERE,
    )
    .shows(alice(Err("unknown_key")));
    m.refused("no keys", "an edge without keys would refuse everybody", with(&[]), "no_session_keys");
    m.refused("only retired keys", "none that is good now", with(&[retiring(NOW + 10)]), "no_session_keys");
    m.refused(
        "key twice",
        "a key twice",
        with(&[session_key(session), session_key(session)]),
        "duplicate_session_key",
    );
    m.refused(
        "feed key as session key",
        "no key does both",
        with(&[session_key(session), session_key(TestKey::Feed)]),
        "shared_key",
    );
    let bad: &[(&str, &str, Vec<u8>)] = &[
        ("kid of another", "a kid that is not its key's", key_of(&x, &TestKey::Session19.kid(), -8, NEVER)),
        ("weak key", "a point of small order", key_of(&[0; 32], &thumbprint(&[0; 32])[..8], -8, NEVER)),
        ("unknown alg", "an algorithm that is neither", key_of(&x, &kid, -7, NEVER)),
    ];
    for (name, why, key) in bad {
        m.refused(name, why, with(&[session_key(TestKey::Session19), key.clone()]), "bad_session_key");
    }
    let malformed: &[(&str, &str, Vec<u8>)] = &[
        ("key of four", "no not-after", array(&[bytes(&kid), bytes(&x), int(-8), uint(NOW)])),
        ("x of 31", "x of 31 bytes", array(&[bytes(&kid), bytes(&x[..31]), int(-8), uint(NOW), uint(NEVER)])),
        (
            "kid of 7",
            "a kid of 7 bytes",
            array(&[bytes(&kid[..7]), bytes(&x), int(-8), uint(NOW), uint(NEVER)]),
        ),
        ("not-after too late", "a time after the year 9999", key_of(&x, &kid, -8, NEVER + 1)),
    ];
    for (name, why, key) in malformed {
        m.refused(name, why, with(&[session_key(TestKey::Session19), key.clone()]), "malformed");
    }
    let many: Vec<_> = (0_u32..257)
        .map(|n| {
            let key = ed25519_dalek::SigningKey::from_bytes(&Sha256::digest(n.to_be_bytes()).into());
            let x = key.verifying_key().to_bytes();
            key_of(&x, &thumbprint(&x)[..8], -8, NEVER)
        })
        .collect();
    m.refused("257 keys", "256 are the most", with(&many), "too_many_session_keys");
}
