//! Only what the key signed verifies. Inputs are damaged tokens and any bytes.
#![no_main]

use std::sync::LazyLock;

use hallpass::{
    Algorithm, KeySet, KeyUse, Lifetimes, Minter, NewSession, SigningKey, Subject, UnixTime, UnverifiedToken,
};
use hallpass_fuzz::{NOW, base64url, unbase64url};
use libfuzzer_sys::fuzz_target;

fn now() -> UnixTime {
    UnixTime::saturating_from_secs(NOW)
}

/// A key set and good tokens of its keys. The keys are made at the start, so
/// that no corpus has their tokens.
static GOOD: LazyLock<(KeySet, Vec<Vec<u8>>)> = LazyLock::new(|| {
    let keys = [Algorithm::EdDsa, Algorithm::Ed25519]
        .map(|algorithm| SigningKey::generate(KeyUse::Session, algorithm).expect("randomness"));
    let subject = Subject::new("alice").expect("a subject");
    let mut tokens = Vec::new();
    for key in &keys {
        for audience in [None, Some("store")] {
            let minter = Minter::new(Lifetimes::default()).audience(audience.map(Into::into));
            let new = NewSession {
                subject: &subject,
                claims: &audience,
                started: now(),
                auth_time: now(),
                ends: None,
                amr: &[],
                bound_to: None,
            };
            let token = minter.start(key, &new, now()).expect("a token");
            tokens.push(unbase64url(token.as_str().as_bytes()).expect("base64url"));
        }
    }
    (KeySet::new(keys.map(|key| key.verifying_key().clone())).expect("a key set"), tokens)
});

fn verifies(keys: &KeySet, text: impl AsRef<[u8]>) -> bool {
    UnverifiedToken::decode(text).is_ok_and(|token| token.verify(keys, now()).is_ok())
}

fuzz_target!(|data: &[u8]| {
    let (keys, tokens) = &*GOOD;
    // As a token of its own, text or bytes.
    assert!(!verifies(keys, data));
    assert!(!verifies(keys, base64url(data)));

    // As changes to a good one: which, then (how, where, what) three by three,
    // the last of which are taken from another good token.
    let Some((which, changes)) = data.split_first() else { return };
    let mut token = tokens[usize::from(*which) % tokens.len()].clone();
    let other = &tokens[usize::from(*which / 4) % tokens.len()];
    for change in changes.chunks_exact(3).take(20) {
        let at = usize::from(change[1]) % token.len().max(1);
        match change[0] % 6 {
            0 => token[at] = change[2],
            1 => token[at] ^= 1 << (change[2] % 8),
            2 => token.insert(at, change[2]),
            3 if token.len() > 1 => drop(token.remove(at)),
            4 => token.truncate(at.max(1)),
            _ => {
                let from = at.min(other.len());
                let to = (from + usize::from(change[2])).min(other.len()).min(token.len());
                if from < to {
                    token[from..to].copy_from_slice(&other[from..to]);
                }
            }
        }
    }
    assert_eq!(verifies(keys, base64url(&token)), tokens.contains(&token));
});
