//! The feeds, each signed by hand, so that what our own signer won't make is
//! made too.

use sha2::{Digest, Sha256};

use super::super::Verdict as TokenVerdict;
use super::{State, Token, Vector, Verdict};
use crate::raw::{
    Frame, NOW, Pairs, array, base64url, bytes, cat, claims, f16, head, header, int, label, tag, text, token,
    uint, wide,
};
use crate::test_keys::{TestKey, thumbprint};

/// RFC 8949: null.
const NULL: [u8; 1] = [0xf6];
/// A key without a known end.
const NEVER: u64 = 253_402_300_799;
/// The end of the session in [`claims`].
const ENDS: u64 = NOW - 3600 + 43_200;

/// The fields of a snapshot of one part, at position 1.7, without entries.
fn snapshot() -> Pairs {
    Pairs(Vec::new())
        .with(1, uint(1))
        .with(2, uint(7))
        .with(3, NULL)
        .with(4, uint(NOW + 300))
        .with(6, uint(NOW))
        .with(7, place(0, 1))
        .with(8, array(&[]))
        .with(9, array(&[session_key(TestKey::Session), session_key(TestKey::Session19)]))
}

/// A delta from 1.7 to 1.8.
fn delta() -> Pairs {
    snapshot().with(2, uint(8)).with(3, uint(7)).with(6, uint(NOW + 1))
}

fn place(part: u64, parts: u64) -> Vec<u8> {
    array(&[uint(part), uint(parts)])
}

fn key_of(x: &[u8; 32], kid: &[u8], alg: i64, not_after: u64) -> Vec<u8> {
    array(&[bytes(kid), bytes(x), int(alg), uint(NOW - 86_400), uint(not_after)])
}

fn session_key(key: TestKey) -> Vec<u8> {
    key_of(&key.public(), &key.kid(), key.alg(), NEVER)
}

fn of_session(sid: [u8; 16], ends: u64) -> Vec<u8> {
    array(&[uint(0), bytes(&sid), uint(ends)])
}

fn of_subject(subject: &str, up_to: u64) -> Vec<u8> {
    array(&[uint(1), bytes(&Sha256::digest(subject)[..16]), uint(up_to), uint(ENDS)])
}

fn of_key(key: TestKey) -> Vec<u8> {
    array(&[uint(2), bytes(&key.kid()), uint(ENDS)])
}

fn of_all(up_to: u64) -> Vec<u8> {
    array(&[uint(3), uint(up_to), uint(ENDS)])
}

fn frame(fields: &[u8]) -> Frame {
    Frame::new(&header(TestKey::Feed).with(16, text("application/hallpass-feed")).encode(), fields)
}

fn part(fields: &Pairs) -> Vec<u8> {
    frame(&fields.encode()).encode(TestKey::Feed)
}

/// Alice's token of [`claims`], and what becomes of it.
fn alice(verdict: Result<(), &str>) -> Token {
    shown(token(TestKey::Session, &claims()), verdict)
}

fn shown(token: String, verdict: Result<(), &str>) -> Token {
    Token {
        token,
        now: NOW + 10,
        stale_after: 900,
        verdict: if verdict.is_ok() { TokenVerdict::Accepted } else { TokenVerdict::Refused },
        reason: verdict.err().map(str::to_owned),
    }
}

#[derive(Default)]
struct Maker(Vec<Vector>);

impl Maker {
    fn push(&mut self, name: &str, why: &str, feed: Vec<u8>, verdict: Verdict) -> &mut Vector {
        self.0.push(Vector {
            name: name.replace(' ', "-"),
            why: why.to_owned(),
            before: Vec::new(),
            feed: base64url(&feed),
            now: NOW + 10,
            verdict,
            reason: None,
            state: None,
            tokens: Vec::new(),
        });
        self.0.last_mut().unwrap()
    }

    fn applied(&mut self, name: &str, why: &str, feed: Vec<u8>, state: (u64, u64, u64)) -> &mut Vector {
        self.push(name, why, feed, Verdict::Applied).state(state)
    }

    fn refused(&mut self, name: &str, why: &str, feed: Vec<u8>, reason: &str) -> &mut Vector {
        let vector = self.push(name, why, feed, Verdict::Refused);
        vector.reason = Some(reason.to_owned());
        vector
    }

    /// With these fields instead of a good feed's.
    fn malformed(&mut self, name: &str, why: &str, fields: &Pairs) {
        self.refused(name, why, part(fields), "malformed");
    }
}

impl Vector {
    fn after(&mut self, before: &[&Pairs]) -> &mut Self {
        self.before = before.iter().map(|fields| base64url(&part(fields))).collect();
        self
    }

    fn at(&mut self, now: u64) -> &mut Self {
        self.now = now;
        self
    }

    fn state(&mut self, (epoch, sequence, as_of): (u64, u64, u64)) -> &mut Self {
        self.state = Some(State { epoch, sequence, as_of });
        self
    }

    fn shows(&mut self, token: Token) -> &mut Self {
        self.tokens.push(token);
        self
    }
}

/// The state of an edge that has applied [`snapshot`].
const HERE: (u64, u64, u64) = (1, 7, NOW);

pub(super) fn make() -> Vec<Vector> {
    let mut m = Maker::default();
    good(&mut m);
    order(&mut m);
    frames(&mut m);
    times(&mut m);
    fields(&mut m);
    entries(&mut m);
    keys(&mut m);
    parts(&mut m);
    m.0
}

fn good(m: &mut Maker) {
    let old = claims().with(label::IAT, uint(NOW - 1200)).with(label::EXP, uint(NOW + 10));
    m.applied("empty snapshot", "nothing is revoked", part(&snapshot()), HERE)
        .shows(alice(Ok(())))
        .shows(shown(token(TestKey::Session19, &claims()), Ok(())))
        .shows(Token { now: NOW + 12, stale_after: 12, ..alice(Ok(())) })
        .shows(Token { now: NOW + 13, stale_after: 12, ..alice(Err("revocations_stale")) })
        .shows(Token {
            now: NOW + 15,
            stale_after: 5,
            ..shown(token(TestKey::Session, &old), Err("expired"))
        });
    let with = |entries: &[Vec<u8>]| part(&snapshot().with(8, array(entries)));
    let started = NOW - 3600;
    m.applied("session", "her session is revoked", with(&[of_session([0x51; 16], ENDS)]), HERE)
        .shows(alice(Err("revoked")))
        .shows(Token { now: NOW + 13, stale_after: 12, ..alice(Err("revocations_stale")) });
    m.applied("another session", "another's session", with(&[of_session([0x52; 16], ENDS)]), HERE)
        .shows(alice(Ok(())));
    m.applied(
        "subject",
        "all that she started up to its second",
        with(&[of_subject("alice", started)]),
        HERE,
    )
    .shows(alice(Err("revoked")));
    m.applied("subject before", "hers started later", with(&[of_subject("alice", started - 1)]), HERE)
        .shows(alice(Ok(())));
    m.applied("another subject", "another's sessions", with(&[of_subject("bob", started)]), HERE)
        .shows(alice(Ok(())));
    m.applied("key", "what one key signed, and not the other", with(&[of_key(TestKey::Session)]), HERE)
        .shows(alice(Err("revoked")))
        .shows(shown(token(TestKey::Session19, &claims()), Ok(())));
    m.applied("all", "everything up to its second", with(&[of_all(started)]), HERE)
        .shows(alice(Err("revoked")));
    m.applied("all before", "hers started later", with(&[of_all(started - 1)]), HERE).shows(alice(Ok(())));
    m.applied(
        "one of each",
        "four entries, in order",
        {
            with(&[
                of_session([0x52; 16], ENDS),
                of_subject("bob", started),
                of_key(TestKey::Session19),
                of_all(started - 1),
            ])
        },
        HERE,
    )
    .shows(alice(Ok(())))
    .shows(shown(token(TestKey::Session19, &claims()), Err("revoked")));
    m.applied(
        "subject twice",
        "the later cut-off counts, whichever comes last",
        with(&[of_subject("alice", started), of_subject("alice", started - 1)]),
        HERE,
    )
    .shows(alice(Err("revoked")));
    let gone = with(&[of_session([0x51; 16], ENDS)]);
    // Whatever an edge keeps of an ended session: with a minute of leeway it would be live.
    m.applied("ended entries", "an entry may be forgotten 60 s after its end", gone, HERE).shows(Token {
        now: ENDS + 61,
        stale_after: 90_000,
        ..alice(Err("session_ended"))
    });
    m.applied(
        "numbers of 64 bits",
        "epoch and sequence have 64 bits",
        part(&snapshot().with(1, uint(u64::MAX)).with(2, uint(u64::MAX - 1))),
        (u64::MAX, u64::MAX - 1, NOW),
    );
}

fn order(m: &mut Maker) {
    let revokes = array(&[of_session([0x51; 16], ENDS)]);
    m.applied(
        "delta",
        "a delta from where the edge is",
        part(&delta().with(8, revokes.clone())),
        (1, 8, NOW + 1),
    )
    .after(&[&snapshot()])
    .shows(alice(Err("revoked")));
    m.applied("delta keeps", "a delta keeps what was revoked before", part(&delta()), (1, 8, NOW + 1))
        .after(&[&snapshot().with(8, revokes.clone())])
        .shows(alice(Err("revoked")));
    m.applied(
        "snapshot replaces",
        "a later snapshot has everything in it",
        part(&snapshot().with(2, uint(8))),
        (1, 8, NOW),
    )
    .after(&[&snapshot().with(8, revokes.clone())])
    .shows(alice(Ok(())));
    m.applied(
        "re-signing",
        "a delta of no length says that nothing was revoked since",
        part(&snapshot().with(3, uint(7)).with(6, uint(NOW + 4))),
        (1, 7, NOW + 4),
    )
    .after(&[&snapshot().with(8, revokes.clone())])
    .shows(alice(Err("revoked")));
    m.applied(
        "snapshot again",
        "a snapshot of where the edge is only renews its time",
        part(&snapshot().with(6, uint(NOW + 4))),
        (1, 7, NOW + 4),
    )
    .after(&[&snapshot().with(8, revokes.clone())])
    .shows(alice(Err("revoked")));
    m.applied(
        "clock of another issuer",
        "a later sequence, signed a second earlier: the time stays",
        part(&delta().with(6, uint(NOW - 1))),
        HERE_LATER,
    )
    .after(&[&snapshot()]);
    m.applied(
        "higher epoch",
        "a restored store: a lower sequence of a higher epoch, signed earlier",
        part(&snapshot().with(1, uint(2)).with(2, uint(1)).with(6, uint(NOW - 9))),
        (2, 1, NOW - 9),
    )
    .after(&[&snapshot().with(8, revokes.clone())])
    .shows(alice(Ok(())));
    m.refused(
        "higher epoch as delta",
        "a higher epoch comes only as a snapshot",
        part(&delta().with(1, uint(2))),
        "gap",
    )
    .after(&[&snapshot()])
    .state(HERE);
    m.refused("delta first", "a delta for an edge that knows nothing", part(&delta()), "gap");
    m.refused(
        "delta from before",
        "a delta from before where the edge is",
        part(&delta().with(3, uint(6))),
        "gap",
    )
    .after(&[&snapshot()])
    .state(HERE);
    m.refused(
        "delta from later",
        "a delta from after where the edge is",
        part(&delta().with(2, uint(9)).with(3, uint(8))),
        "gap",
    )
    .after(&[&snapshot()])
    .state(HERE);
    m.refused("sequence backwards", "a lower sequence", part(&snapshot().with(2, uint(6))), "backwards")
        .after(&[&snapshot().with(8, revokes.clone())])
        .state(HERE)
        .shows(alice(Err("revoked")));
    m.refused(
        "epoch backwards",
        "a lower epoch, of whatever sequence",
        part(&snapshot().with(1, uint(0)).with(2, uint(99))),
        "backwards",
    )
    .after(&[&snapshot()])
    .state(HERE);
    m.refused(
        "older",
        "of the edge's position, signed before",
        part(&snapshot().with(6, uint(NOW - 1))),
        "older",
    )
    .after(&[&snapshot()])
    .state(HERE);
}

/// [`delta`] that was signed before the snapshot.
const HERE_LATER: (u64, u64, u64) = (1, 8, NOW);

fn frames(m: &mut Maker) {
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

fn times(m: &mut Maker) {
    let whole = part(&snapshot());
    m.applied("exp almost", "the last second, leeway included", whole.clone(), HERE).at(NOW + 304);
    m.refused("exp", "on its expiry plus leeway it is over", whole.clone(), "expired").at(NOW + 305);
    m.applied("iat almost", "from the future by the leeway", whole.clone(), HERE).at(NOW - 5);
    m.refused("iat", "from the future by more", whole, "not_yet_valid").at(NOW - 6);
}

fn fields(m: &mut Maker) {
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
    m.malformed("unknown field", "a field that is none", &snapshot().with(10, uint(1)));
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

fn entries(m: &mut Maker) {
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

fn keys(m: &mut Maker) {
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

fn parts(m: &mut Maker) {
    let of = |n, parts, entry: Option<Vec<u8>>| {
        let keys = if n == 0 { array(&[session_key(TestKey::Session)]) } else { array(&[]) };
        snapshot().with(7, place(n, parts)).with(8, array(entry.as_slice())).with(9, keys)
    };
    let first = part(&of(0, 2, Some(of_session([0x52; 16], ENDS))));
    let second = part(&of(1, 2, Some(of_session([0x51; 16], ENDS))));
    m.applied("two parts", "entries are those of all parts", cat([first.clone(), second.clone()]), HERE)
        .shows(alice(Err("revoked")));
    m.applied("parts in another order", "in any order", cat([second.clone(), first.clone()]), HERE)
        .shows(alice(Err("revoked")));
    m.refused(
        "a part missing",
        "nothing is applied before all parts are there",
        first.clone(),
        "missing_parts",
    );
    m.refused("a part twice", "the same part twice", cat([first.clone(), first.clone()]), "duplicate_part");
    m.refused(
        "a third of two",
        "more parts than there are",
        cat([first.clone(), second.clone(), second.clone()]),
        "malformed",
    );
    for (name, label, value) in [
        ("parts of two epochs", 1, uint(2)),
        ("parts of two sequences", 2, uint(8)),
        ("snapshot and delta", 3, uint(7)),
        ("parts of two expiries", 4, uint(NOW + 301)),
        ("parts of two signings", 6, uint(NOW + 1)),
        ("parts of two lengths", 7, place(1, 3)),
    ] {
        let other = part(&of(1, 2, None).with(label, value));
        m.refused(name, "parts that are not of one feed", cat([first.clone(), other]), "parts_disagree");
    }
    m.refused("part of none", "part 0 of 0", part(&snapshot().with(7, place(0, 0))), "malformed");
    m.refused("part past the last", "part 1 of 1", part(&snapshot().with(7, place(1, 1))), "malformed");
    let mut forged = second;
    *forged.last_mut().unwrap() ^= 1;
    m.refused("second part forged", "every part is signed by itself", cat([first, forged]), "bad_signature");
}
