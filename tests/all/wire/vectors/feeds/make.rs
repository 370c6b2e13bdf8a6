//! The feeds, each signed by hand, so that what our own signer won't make is
//! made too.

mod wrong;

use sha2::{Digest, Sha256};

use super::super::Verdict as TokenVerdict;
use super::{State, Token, Vector, Verdict};
use crate::support::raw::{
    Frame, NOW, Pairs, array, base64url, bytes, cat, claims, header, int, label, text, token, uint,
};
use crate::support::test_keys::TestKey;

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
    wrong::frames(&mut m);
    wrong::times(&mut m);
    wrong::fields(&mut m);
    wrong::entries(&mut m);
    wrong::keys(&mut m);
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
    m.applied(
        "entry just ended",
        "an entry counts for 60 s after its end, the largest leeway",
        with(&[of_session([0x51; 16], NOW - 50)]),
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
