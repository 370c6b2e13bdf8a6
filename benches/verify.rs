//! What a verification costs, relative to `ed25519_dalek`'s `verify_strict` of
//! the same message: interleaved in one process, medians.
//!
//! `cargo bench --features issuer --bench verify`

use std::hint::black_box;
use std::time::Instant;

use ed25519_dalek::Signer;
use hallpass::{
    Algorithm, KeySet, KeyUse, Lifetimes, Minter, NewSession, Session, SigningKey, Subject, UnixTime,
    Verifier,
};

const TOKENS: usize = 64;
/// How often a thing is done between two looks at the clock: so short that a
/// busy machine seldom takes the CPU away in the middle.
const RUN: usize = 16;

type Task<'a> = (&'static str, Box<dyn FnMut() -> f64 + 'a>);

fn main() {
    let rounds: usize = std::env::var("ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let now = UnixTime::saturating_from_secs(1_790_000_000);
    let key = SigningKey::generate(KeyUse::Session, Algorithm::EdDsa).unwrap();
    let minter = Minter::new(Lifetimes::default()).audience(Some("store".into()));
    let subject = Subject::new("alice").unwrap();
    let tokens: Vec<String> = (0..TOKENS)
        .map(|_| {
            let new = NewSession {
                subject: &subject,
                claims: &(),
                started: now,
                auth_time: now,
                ends: None,
                bound_to: None,
            };
            minter.start(&key, &new, now).unwrap().as_str().to_owned()
        })
        .collect();
    let keys = KeySet::new([key.verifying_key().clone()]).unwrap();
    let verifier = Verifier::builder(keys).audience("store").without_revocations().build().unwrap();
    let stock = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let message = [7; 120];
    let signature = stock.sign(&message);
    let stock = stock.verifying_key();

    let mut tasks: Vec<Task<'_>> = vec![
        ("verify_strict", each(|_| stock.verify_strict(black_box(&message), &signature).is_ok())),
        ("cold", each(|i| verifier.verify::<()>(black_box(&tokens[i]), now).is_ok())),
        (
            "many",
            Box::new(|| {
                let start = Instant::now();
                let sessions: Vec<Result<Session, _>> = verifier.verify_many(black_box(&tokens), now);
                let took = start.elapsed().as_secs_f64() * 1e9;
                assert!(sessions.iter().all(Result::is_ok));
                took / TOKENS as f64
            }),
        ),
    ];
    let mut times = vec![Vec::with_capacity(rounds); tasks.len()];
    for _ in 0..rounds {
        for ((_, task), times) in tasks.iter_mut().zip(&mut times) {
            times.push(task());
        }
    }
    let mut base = None;
    for ((name, _), times) in tasks.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        let (median, least) = (times[times.len() / 2], times[0]);
        let (m, l) = *base.get_or_insert((median, least));
        println!("{name:24} {median:9.0} ns {:.3}   {least:9.0} ns {:.3}", median / m, least / l);
    }
}

/// Nanoseconds of one call, each with another token.
fn each<'a>(mut call: impl FnMut(usize) -> bool + 'a) -> Box<dyn FnMut() -> f64 + 'a> {
    let mut at = 0;
    Box::new(move || {
        at = (at + RUN) % TOKENS;
        let start = Instant::now();
        for i in at..at + RUN {
            assert!(call(i));
        }
        start.elapsed().as_secs_f64() * 1e9 / RUN as f64
    })
}
