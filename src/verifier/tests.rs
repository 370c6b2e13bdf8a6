//! The cache of verified tokens changes no verdict.

use std::num::NonZeroUsize;
use std::thread;

use super::*;
use crate::error::Reason;
use crate::id::Subject;
use crate::issuer::{Minter, NewSession};
use crate::key::{Algorithm, KeyUse, SigningKey};
use crate::revocation::{Entry, Position};

const NOW: UnixTime = UnixTime::saturating_from_secs(1_790_000_000);

fn after(seconds: u64) -> UnixTime {
    NOW.saturating_add(Duration::from_secs(seconds))
}

fn signing_key() -> SigningKey {
    SigningKey::generate(KeyUse::Session, Algorithm::EdDsa).unwrap()
}

fn token_for(key: &SigningKey, subject: &str) -> String {
    let subject = Subject::new(subject).unwrap();
    let new = NewSession {
        subject: &subject,
        claims: &(),
        started: NOW,
        auth_time: NOW,
        ends: None,
        amr: &[],
        bound_to: None,
    };
    let minter = Minter::new(Lifetimes::default()).audience(Some("shop".into()));
    minter.start(key, &new, NOW).unwrap().as_str().to_owned()
}

fn key_set<'k>(keys: impl IntoIterator<Item = &'k SigningKey>) -> KeySet {
    KeySet::new(keys.into_iter().map(|key| key.verifying_key().clone())).unwrap()
}

fn shop(keys: impl Into<LiveKeys>) -> VerifierBuilder {
    Verifier::builder(keys).audience("shop")
}

fn verdict(verifier: &Verifier, token: &str, now: UnixTime) -> Result<(), Reason> {
    verifier.verify::<()>(token, now).map(drop).map_err(|why| why.reason())
}

/// Hits, misses and tokens kept.
fn counts(verifier: &Verifier) -> (u64, u64, usize) {
    let counts = verifier.token_cache_counts().unwrap();
    (counts.hits, counts.misses, counts.tokens)
}

/// A verifier that has `token` in its cache.
fn warm(builder: VerifierBuilder, token: &str) -> Verifier {
    let verifier = builder.build().unwrap();
    assert_eq!(verdict(&verifier, token, NOW), Ok(()));
    assert_eq!(counts(&verifier), (0, 1, 1));
    assert_eq!(verdict(&verifier, token, NOW), Ok(()));
    assert_eq!(counts(&verifier), (1, 1, 1));
    verifier
}

#[test]
fn a_hit_gives_the_same_session() {
    let key = signing_key();
    let token = token_for(&key, "alice");
    let verifier = warm(shop(key_set([&key])).without_revocations(), &token);
    let [hit, cold] =
        [&verifier, &shop(key_set([&key])).without_revocations().without_token_cache().build().unwrap()]
            .map(|verifier| verifier.verify::<()>(&token, NOW).unwrap());
    assert_eq!(serde_json::to_value(&hit).unwrap(), serde_json::to_value(&cold).unwrap());
    assert_eq!((hit.key_id(), hit.subject()), (key.id(), "alice"));
    // Clones of a verifier share it; other verifiers don't.
    let clone = verifier.clone();
    assert_eq!(verdict(&clone, &token, NOW), Ok(()));
    assert_eq!(counts(&verifier), (3, 1, 1));
}

#[test]
fn a_hit_is_of_the_whole_text() {
    let key = signing_key();
    let token = token_for(&key, "alice");
    let verifier = warm(shop(key_set([&key])).without_revocations(), &token);
    for at in 0..token.len() {
        let mut forged = token.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        assert!(verifier.verify::<()>(&forged, NOW).is_err(), "character {at}");
    }
    for forged in [&token[1..], &token[..token.len() - 1], &format!("{token}A"), &format!("A{token}")] {
        assert!(verifier.verify::<()>(forged, NOW).is_err(), "{forged}");
    }
    let (hits, _, tokens) = counts(&verifier);
    assert_eq!((hits, tokens), (1, 1));
}

#[test]
fn time_is_asked_on_every_hit() {
    let key = signing_key();
    let token = token_for(&key, "alice");
    let verifier = warm(shop(key_set([&key])).without_revocations(), &token);
    let last = 15 * 60 + 4;
    assert_eq!(verdict(&verifier, &token, after(last)), Ok(()));
    assert_eq!(
        verdict(&verifier, &token, NOW.saturating_sub(Duration::from_secs(6))),
        Err(Reason::NotYetValid)
    );
    // A clock that steps back does not evict the token.
    assert_eq!(counts(&verifier), (3, 1, 1));
    assert_eq!(verdict(&verifier, &token, after(last + 1)), Err(Reason::Expired));
    assert_eq!(counts(&verifier), (4, 1, 0), "an expired token is dropped");
}

#[test]
fn audience_and_issuer_are_asked_on_every_hit() {
    let key = signing_key();
    let token = token_for(&key, "alice");
    let first = warm(shop(key_set([&key])).without_revocations(), &token);
    for (reason, other) in [
        (Reason::WrongAudience, Verifier::builder(key_set([&key])).audience("bank")),
        (Reason::WrongAudience, Verifier::builder(key_set([&key]))),
        (Reason::WrongIssuer, shop(key_set([&key])).issuer("https://id.example")),
    ] {
        let mut other = Arc::into_inner(other.without_revocations().build().unwrap().0).unwrap();
        other.cache.clone_from(&first.0.cache);
        assert_eq!(verdict(&Verifier(Arc::new(other)), &token, NOW), Err(reason));
    }
    assert_eq!(counts(&first), (4, 1, 1));
}

#[test]
fn revocation_is_asked_on_every_hit() {
    let key = signing_key();
    for (entry, by) in [
        (None, "session"),
        (Some(Entry::All { up_to: NOW, ends: after(99) }), "all"),
        (Some(Entry::Key { kid: key.id(), ends: after(99) }), "key"),
    ] {
        let list = RevocationList::new();
        list.apply_snapshot(Position { epoch: 1, sequence: 1 }, NOW, []).unwrap();
        let (token, other) = (token_for(&key, "alice"), token_for(&key, "bob"));
        let verifier = warm(shop(key_set([&key])).revocations(list.clone()), &token);
        let session = verifier.verify::<()>(&token, NOW).unwrap();
        assert_eq!(verdict(&verifier, &other, NOW), Ok(()));
        let stale = after(15 * 60 + 1);
        assert_eq!(verdict(&verifier, &token, stale), Err(Reason::RevocationsStale));
        list.insert(entry.unwrap_or(Entry::Session { sid: session.id(), ends: session.ends_at() }));
        assert_eq!(verdict(&verifier, &token, NOW), Err(Reason::Revoked), "by {by}");
        let left = counts(&verifier).2;
        assert_eq!(
            left,
            usize::from(by != "key"),
            "a revoked key drops its tokens, what else is revoked itself"
        );
        assert_eq!(verdict(&verifier, &token, NOW), Err(Reason::Revoked), "not entered again");
        assert_eq!(counts(&verifier).2, left);
    }
}

#[test]
fn a_retired_key_drops_its_tokens() {
    let (key, retiring) = (signing_key(), signing_key());
    let keys = [key.verifying_key().clone(), retiring.verifying_key().clone().retiring(Some(after(60)))];
    let token = token_for(&retiring, "alice");
    let kept = token_for(&key, "alice");
    let verifier = warm(shop(KeySet::new(keys).unwrap()).without_revocations(), &token);
    assert_eq!(verdict(&verifier, &kept, NOW), Ok(()));
    assert_eq!(verdict(&verifier, &token, after(59)), Ok(()));
    assert_eq!(verdict(&verifier, &token, after(60)), Err(Reason::UnknownKey));
    assert_eq!(counts(&verifier), (2, 3, 1));
    assert_eq!(verdict(&verifier, &kept, after(60)), Ok(()));
    assert_eq!(counts(&verifier), (3, 3, 1));
}

#[test]
fn a_replaced_key_set_is_asked_on_every_hit() {
    let (first, second) = (signing_key(), signing_key());
    let token = token_for(&first, "alice");
    let verifier = warm(shop(key_set([&first])).without_revocations(), &token);
    verifier.keys().replace(key_set([&first, &second]));
    assert_eq!(verdict(&verifier, &token, NOW), Ok(()));
    verifier.keys().replace(key_set([&second]));
    assert_eq!(verdict(&verifier, &token, NOW), Err(Reason::UnknownKey));
    assert_eq!(counts(&verifier).2, 0);
    verifier.keys().replace(key_set([&first]));
    assert_eq!(verdict(&verifier, &token, NOW), Ok(()));
    // The same key pinned to another algorithm did not sign that token.
    let repinned = VerifyingKey::new(first.verifying_key().as_bytes(), Algorithm::Ed25519).unwrap();
    verifier.keys().replace(KeySet::new([repinned]).unwrap());
    assert_eq!(verdict(&verifier, &token, NOW), Err(Reason::BadSignature));
}

#[test]
fn another_key_of_the_same_kid_is_another_key() {
    let key = signing_key();
    let token = token_for(&key, "alice");
    let verifier = warm(shop(key_set([&key])).without_revocations(), &token);
    let impostor = signing_key().verifying_key().clone().with_id(key.id());
    verifier.keys().replace(KeySet::new([impostor]).unwrap());
    assert_eq!(verdict(&verifier, &token, NOW), Err(Reason::BadSignature));
}

#[test]
fn what_is_refused_never_enters() {
    let key = signing_key();
    let honest = token_for(&key, "alice");
    let builder = shop(key_set([&key])).without_revocations().token_cache(TokenCache::LEAST);
    let verifier = warm(builder, &honest);
    let genuine = token_for(&signing_key(), "mallory");
    for n in 0..2_000_u32 {
        let mut forged = honest.clone().into_bytes();
        forged[150] = if forged[150] == b'A' { b'B' } else { b'A' };
        forged[151..159].copy_from_slice(format!("{n:08}").as_bytes());
        assert!(verifier.verify::<()>(&forged, NOW).is_err());
    }
    assert_eq!(verdict(&verifier, &genuine, NOW), Err(Reason::UnknownKey));
    // Signed by the right key, and still not for here.
    let elsewhere = Minter::new(Lifetimes::default());
    let subject = Subject::new("mallory").unwrap();
    let new = NewSession {
        subject: &subject,
        claims: &(),
        started: NOW,
        auth_time: NOW,
        ends: None,
        amr: &[],
        bound_to: None,
    };
    for _ in 0..500 {
        let token = elsewhere.start(&key, &new, NOW).unwrap();
        assert_eq!(verdict(&verifier, token.as_str(), NOW), Err(Reason::WrongAudience));
    }
    assert_eq!(counts(&verifier), (1, 2_502, 1));
    assert_eq!(verdict(&verifier, &honest, NOW), Ok(()));
    assert_eq!(counts(&verifier).0, 2);
}

#[test]
fn the_bound_holds_and_the_least_recently_used_leaves() {
    let key = signing_key();
    let builder = shop(key_set([&key])).without_revocations().token_cache(TokenCache::LEAST);
    let verifier = builder.build().unwrap();
    let tokens: Vec<_> = (0..300).map(|n| token_for(&key, &format!("user{n}"))).collect();
    for token in &tokens {
        assert_eq!(verdict(&verifier, token, NOW), Ok(()));
        assert_eq!(verdict(&verifier, &tokens[0], NOW), Ok(()));
        assert!(verifier.token_cache_counts().unwrap().bytes <= TokenCache::LEAST);
    }
    let (hits, misses, kept) = counts(&verifier);
    assert_eq!((hits, misses), (300, 300), "the one that was used each time stayed");
    assert!((64..300).contains(&kept), "{kept} kept");
    assert_eq!(verdict(&verifier, &tokens[1], NOW), Ok(()));
    assert_eq!(counts(&verifier).1, 301, "the oldest had left");
}

/// What is counted is what is there: tokens of one length, so that each counts
/// for as much.
#[test]
fn the_bytes_are_those_of_the_tokens_that_are_kept() {
    assert_eq!((TokenCache::LEAST, TokenCache::DEFAULT), (65_536, 67_108_864));
    let key = signing_key();
    let keys = LiveKeys::from(key_set([&key]));
    let builder = shop(keys.clone()).without_revocations().token_cache(TokenCache::LEAST);
    let verifier = builder.build().unwrap();
    let size = || {
        let counts = verifier.token_cache_counts().unwrap();
        (counts.tokens, counts.bytes)
    };
    let tokens: Vec<_> = (100..400).map(|n| token_for(&key, &format!("user{n}"))).collect();
    let see = |token: &String| assert_eq!(verdict(&verifier, token, NOW), Ok(()));
    see(&tokens[0]);
    let (_, one) = size();
    for (n, token) in tokens.iter().enumerate() {
        see(token);
        let (kept, bytes) = size();
        assert_eq!(bytes, kept * one, "after {n}");
        assert_eq!(kept, (n + 1).min(TokenCache::LEAST / one), "after {n}");
    }
    // The same token once more, as by two threads that verified it at once.
    let cache = verifier.0.cache.as_ref().unwrap();
    let newest = cache.get(tokens[299].as_bytes(), &keys.load(), NOW).unwrap();
    let before = size();
    cache.insert(&newest);
    assert_eq!(size(), before);
    cache.remove(&newest);
    assert_eq!(size(), (before.0 - 1, before.1 - one));
    cache.remove_key(key.id());
    assert_eq!(size(), (0, 0));
}

/// Shards are chosen by hash, so two cores seldom share one.
#[test]
fn tokens_are_spread_over_the_shards() {
    let key = signing_key();
    let bytes = 64 * TokenCache::LEAST;
    let verifier = shop(key_set([&key])).without_revocations().token_cache(bytes).build().unwrap();
    // All would fit, if no shard had more than its part.
    for n in 0..2_000 {
        assert_eq!(verdict(&verifier, &token_for(&key, &format!("user{n}")), NOW), Ok(()));
    }
    assert_eq!(counts(&verifier).2, 2_000);
}

#[test]
fn a_cache_that_could_hold_nothing_must_be_asked_for_by_name() {
    let builder = || shop(key_set([&signing_key()])).without_revocations();
    assert!(builder().token_cache(TokenCache::LEAST - 1).build().is_err());
    let none = builder().without_token_cache().build().unwrap();
    assert_eq!(none.token_cache_counts(), None);
}

#[test]
fn many_gives_the_verdicts_of_one_by_one_warm_and_cold() {
    let key = signing_key();
    let verifier = shop(key_set([&key])).without_revocations().build().unwrap();
    let plain = shop(key_set([&key])).without_revocations().without_token_cache().build().unwrap();
    let stranger = signing_key();
    let tokens: Vec<String> = (0..100)
        .map(|n| match n % 5 {
            0 => token_for(&stranger, "mallory"),
            1 => "AAAA".to_owned(),
            2 => {
                let mut forged = token_for(&key, "alice");
                forged.replace_range(160..162, if &forged[160..162] == "AA" { "BB" } else { "AA" });
                forged
            }
            _ => token_for(&key, &format!("user{n}")),
        })
        .collect();
    let show = |verdict: Result<Session, Rejection>| verdict.map(|session| session.subject().to_owned());
    let one_by_one: Vec<_> = tokens.iter().map(|token| show(plain.verify(token, NOW))).collect();
    for round in 0..3 {
        let many: Vec<_> = verifier.verify_many(&tokens, NOW).into_iter().map(show).collect();
        assert_eq!(many, one_by_one, "round {round}");
    }
    let many: Vec<_> = plain.verify_many(&tokens, NOW).into_iter().map(show).collect();
    assert_eq!(many, one_by_one);
    for threads in [1, 2, 3, 4, 1_000] {
        let threads = NonZeroUsize::new(threads).unwrap();
        for count in [0, 1, 32, 33, 64, 65, 100] {
            let many = plain.verify_many_on(threads, &tokens[..count], NOW);
            let many: Vec<_> = many.into_iter().map(show).collect();
            assert_eq!(many, one_by_one[..count], "{count} tokens on {threads} threads");
        }
    }
    assert_eq!(counts(&verifier), (80, 220, 40));
}

#[test]
fn threads_that_share_it_agree() {
    let (first, second) = (signing_key(), signing_key());
    let verifier =
        shop(key_set([&first, &second])).without_revocations().token_cache(1 << 17).build().unwrap();
    let tokens: Vec<_> = (0..400)
        .map(|n| (token_for(if n % 2 == 0 { &first } else { &second }, "alice"), n % 2 == 0))
        .collect();
    thread::scope(|scope| {
        for start in 0..3 {
            let (verifier, tokens) = (&verifier, &tokens);
            scope.spawn(move || {
                for n in 0..1_200 {
                    let (token, of_first) = &tokens[(n * 7 + start * 100) % tokens.len()];
                    let verdict = verdict(verifier, token, NOW);
                    // The second key comes and goes; the first is always there.
                    assert!(
                        verdict == Ok(()) || !of_first && verdict == Err(Reason::UnknownKey),
                        "{verdict:?}"
                    );
                }
            });
        }
        for n in 0..60 {
            let keys = if n % 2 == 0 { key_set([&first]) } else { key_set([&first, &second]) };
            verifier.keys().replace(keys);
            thread::yield_now();
        }
    });
    let counts = verifier.token_cache_counts().unwrap();
    assert_eq!(counts.hits + counts.misses, 3_600);
    assert!(counts.bytes <= 1 << 17);
    verifier.keys().replace(key_set([&first]));
    for (token, of_first) in &tokens {
        assert_eq!(verdict(&verifier, token, NOW).is_ok(), *of_first);
    }
}

#[test]
fn nothing_of_a_token_is_shown() {
    let key = signing_key();
    let token = token_for(&key, "alice");
    let verifier = warm(shop(key_set([&key])).without_revocations(), &token);
    let shown = format!("{verifier:?}");
    assert!(!shown.contains(&token[..20]) && !shown.contains("alice"), "{shown}");
}
