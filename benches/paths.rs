//! The core paths alone, for counting instructions: `paths cold|hot|unknown|decode TIMES`. See
//! `benches/instructions`, which runs it under callgrind.

#![expect(clippy::unwrap_used, reason = "a bench may fail loudly")]

use std::hint::black_box;

use hallpass::revocation::{Position, RevocationList};
use hallpass::{
    Algorithm, KeySet, KeyUse, Lifetimes, Minter, NewSession, SigningKey, Subject, UnixTime, UnverifiedToken,
    Verifier,
};

fn main() {
    let args: Vec<String> = std::env::args().filter(|arg| arg != "--bench").collect();
    let [_, path, times] = &args[..] else { return eprintln!("paths PATH TIMES") };
    let times: usize = times.parse().unwrap();
    let now = UnixTime::saturating_from_secs(1_790_000_000);
    let seed = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\n\
        -----END PRIVATE KEY-----\n";
    let key = SigningKey::from_pkcs8_pem(seed, KeyUse::Session, Algorithm::EdDsa).unwrap();
    let minter = Minter::new(Lifetimes::default()).audience(Some("store".into()));
    let subject = Subject::new("alice").unwrap();
    let new = NewSession {
        subject: &subject,
        claims: &(),
        started: now,
        auth_time: now,
        ends: None,
        amr: &[],
        bound_to: None,
    };
    let token = minter.start(&key, &new, now).unwrap().as_str().to_owned();
    let list = RevocationList::new();
    list.apply_snapshot(Position { epoch: 1, sequence: 1 }, now, []).unwrap();
    let keys = KeySet::new([key.verifying_key().clone()]).unwrap();
    let builder = Verifier::builder(keys).audience("store").revocations(list);
    let verifier = match path.as_str() {
        "hot" => builder.build(),
        _ => builder.without_token_cache().build(),
    }
    .unwrap();
    let mut unknown = token.clone().into_bytes();
    unknown[12] ^= 1;
    // What is done once, and a token in the cache.
    assert!(verifier.verify::<()>(&token, now).is_ok());
    let text: &[u8] = if path == "unknown" { &unknown } else { token.as_bytes() };
    measured(path, times, &verifier, text, now);
}

/// The code whose instructions are counted.
#[inline(never)]
fn measured(path: &str, times: usize, verifier: &Verifier, text: &[u8], now: UnixTime) {
    for _ in 0..times {
        match path {
            "decode" => drop(black_box(UnverifiedToken::decode(black_box(text)))),
            _ => drop(black_box(verifier.verify::<()>(black_box(text), now))),
        }
    }
}
