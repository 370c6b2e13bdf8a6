//! Any bytes as the application's claims of a correctly signed token are
//! refused, or are the bytes that the issuer would have written.
#![no_main]

use std::sync::LazyLock;

use ciborium::Value;
use ed25519_dalek::Signer;
use hallpass::{
    Algorithm, KeySet, KeyUse, Lifetimes, Minter, NewSession, Session, SigningKey, Subject, UnixTime,
    Verifier,
};
use hallpass_fuzz::{NOW, base64url, bytes, has_undefined, head, spelled, unbase64url};
use libfuzzer_sys::fuzz_target;

const SEED: [u8; 32] = [42; 32];

struct Fixture {
    key: SigningKey,
    raw: ed25519_dalek::SigningKey,
    verifier: Verifier,
    subject: Subject,
    minter: Minter,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let key = SigningKey::from_seed(&SEED, KeyUse::Session, Algorithm::EdDsa).expect("a key");
    let keys = KeySet::new([key.verifying_key().clone()]).expect("a key set");
    Fixture {
        verifier: Verifier::builder(keys).without_revocations().build().expect("a verifier"),
        key,
        raw: ed25519_dalek::SigningKey::from_bytes(&SEED),
        subject: Subject::new("a").expect("a subject"),
        minter: Minter::new(Lifetimes::default()).max_characters(4000).expect("a length"),
    }
});

fn now() -> UnixTime {
    UnixTime::saturating_from_secs(NOW)
}

/// A token with these application claims.
fn token(app: &[u8]) -> String {
    let Fixture { key, raw, .. } = &*FIXTURE;
    let time = head(0, NOW);
    let header = [&[0xa3, 1, 0x27, 4][..], &bytes(key.id().as_bytes()), &[0x10, 0x18, 61]].concat();
    let session = [&[0x85][..], &bytes(&[5; 16]), &time, &head(0, NOW + 900), &[0], &time].concat();
    let payload = [
        &[0xa6, 2, 0x61, b'a', 4][..],
        &head(0, NOW + 900),
        &[6],
        &time,
        &[7],
        &bytes(&[7; 16]),
        &head(1, 65536),
        &session,
        &head(1, 65537),
        app,
    ]
    .concat();
    let message = [&b"\x84\x6aSignature1"[..], &bytes(&header), &[0x40], &bytes(&payload)].concat();
    let signature = raw.sign(&message).to_bytes();
    base64url(&[&[0xd2, 0x84][..], &bytes(&header), &[0xa0], &bytes(&payload), &bytes(&signature)].concat())
}

fuzz_target!(|data: &[u8]| {
    let fixture = &*FIXTURE;
    // Claims are refused or kept byte for byte.
    let mut accepted = None;
    if let Ok(session) = fixture.verifier.verify::<Value>(token(data), now()) {
        let _ = session.claims_json().to_string();
        if let Ok(value) = session.claims()
            && !has_undefined(data)
        {
            assert_eq!(spelled(&value), data, "two spellings of one value");
            accepted = Some(value);
        }
    }
    // The issuer writes the accepted encoding of a value, and it decodes to the
    // same value.
    let Some(value) = accepted.or_else(|| ciborium::from_reader(data).ok()) else { return };
    let new = NewSession {
        subject: &fixture.subject,
        claims: &value,
        started: now(),
        auth_time: now(),
        ends: None,
        amr: &[],
        bound_to: None,
    };
    if let Ok(issued) = fixture.minter.start(&fixture.key, &new, now())
        && !value.is_null()
    {
        let session: Session<Value> = fixture.verifier.verify(issued.as_str(), now()).expect("our own token");
        let again = session.claims().expect("our own claims");
        let spelled = spelled(&value);
        assert_eq!(hallpass_fuzz::spelled(&again), spelled);
        let bytes = unbase64url(issued.as_str().as_bytes()).expect("base64url");
        assert!(
            bytes.windows(spelled.len()).any(|window| window == spelled),
            "the issuer spelled it otherwise"
        );
    }
});
