//! hallpass beside what others take for the same job: the same claims, in one
//! process, in turn, medians. `benches/run peers` builds and runs it.

#[path = "../../common/mod.rs"]
mod common;
mod peers;

use std::hint::black_box;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::{Task, interleave, machine, publish, rounds, show, table};
use hallpass::revocation::{Entry, Position, RevocationList};
use hallpass::{
    Algorithm, Clock, KeySet, KeyUse, Lifetimes, Minter, NewSession, Session, SessionId, SigningKey, Subject,
    SystemClock, UnixTime, Verifier, VerifierBuilder,
};
use peers::Claims;

/// Different tokens, so that no branch predictor learns one by heart.
const TOKENS: usize = 64;
const RUN: u32 = 8;
const MILLION: u64 = 1_000_000;

fn main() {
    let now = SystemClock.now();
    let seed = [7; 32];
    let signer = ed25519_dalek::SigningKey::from_bytes(&seed);
    let pem = pem(&seed);
    let key = SigningKey::from_pkcs8_pem(&pem, KeyUse::Session, Algorithm::EdDsa).unwrap();
    let subject = Subject::new("alice").unwrap();
    let minter = Minter::new(Lifetimes::default()).audience(Some("store".into()));
    let new = NewSession {
        subject: &subject,
        claims: &(),
        started: now,
        auth_time: now,
        ends: None,
        amr: &[],
        bound_to: None,
    };
    let issue = || minter.start(&key, &new, now).unwrap();
    let tokens: Vec<String> = (0..TOKENS).map(|_| issue().as_str().to_owned()).collect();
    let claims: Vec<Claims> = (0..TOKENS).map(|_| Claims::of(issue().session())).collect();
    // The very bytes that hallpass has signed, for those that only do signatures.
    let signed: Vec<(Vec<u8>, [u8; 64])> = tokens.iter().map(|token| signed_bytes(token)).collect();

    let verifier = |list: &RevocationList| -> VerifierBuilder {
        let keys = KeySet::new([key.verifying_key().clone()]).unwrap();
        Verifier::builder(keys).audience("store").revocations(list.clone())
    };
    let list = a_million_revoked(now);
    let cold = verifier(&list).without_token_cache().build().unwrap();
    let hot = verifier(&list).build().unwrap();

    let mut rows: Vec<(Task<'_>, Option<usize>)> = Vec::new();
    for task in peers::raw_signatures(&signer, &signed) {
        rows.push((task, None));
    }
    let size = Some(tokens[0].len());
    rows.push((
        Task::each("**hallpass, cold**", RUN, |i| cold.verify::<()>(&tokens[i % TOKENS], now).is_ok()),
        size,
    ));
    rows.push((
        Task::timed("**hallpass, `verify_many` of 64**", || {
            let start = Instant::now();
            let sessions: Vec<Result<Session, _>> = cold.verify_many(black_box(&tokens), now);
            let took = start.elapsed();
            assert!(sessions.iter().all(Result::is_ok));
            took.as_secs_f64() * 1e9 / TOKENS as f64
        }),
        size,
    ));
    rows.push((
        Task::each("**hallpass, hot**", 64 * RUN, |i| hot.verify::<()>(&tokens[i % TOKENS], now).is_ok()),
        size,
    ));
    for (task, length) in peers::tokens(&seed, &signer, &claims) {
        rows.push((task, Some(length)));
    }
    let (mut tasks, sizes): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    interleave(&mut tasks, rounds(1_500));
    let of = |name: &str| tasks.iter().find(|task| task.name == name).unwrap();
    let (strict, jwt) = (of(peers::STRICT), of(peers::JWT));
    let rows: Vec<_> = tasks
        .iter()
        .zip(&sizes)
        .map(|(task, size)| {
            vec![
                task.name.clone(),
                show(task.median()),
                format!("{:.3}", task.ratio(strict)),
                format!("{:.3}", task.ratio(jwt)),
                size.map_or(String::new(), |size| size.to_string()),
            ]
        })
        .collect();
    let verifying =
        table(&["verifies", "median", "of `verify_strict`", "of jsonwebtoken EdDSA", "characters"], &rows);

    let mut tasks = vec![
        Task::each("a raw signature (ed25519-dalek)", RUN, |i| {
            black_box(ed25519_dalek::Signer::sign(&signer, &signed[i % TOKENS].0));
            true
        }),
        Task::each("**hallpass, `Minter::start`**", RUN, |_| black_box(issue()).as_str().len() > 100),
    ];
    tasks.extend(peers::issuing(&seed, &claims));
    interleave(&mut tasks, rounds(1_500));
    let rows: Vec<_> = tasks
        .iter()
        .map(|task| vec![task.name.clone(), show(task.median()), format!("{:.3}", task.ratio(&tasks[0]))])
        .collect();
    let issuing = table(&["issues", "median", "of a raw signature"], &rows);

    let flags = if cfg!(curve25519_dalek_backend = "avx512") {
        "hallpass's own flags (`--cfg curve25519_dalek_backend=\"avx512\"`)"
    } else {
        "default flags"
    };
    let section = if cfg!(curve25519_dalek_backend = "avx512") { "peers-own" } else { "peers-default" };
    publish(section, &format!("{}; built with {flags}.\n\n{verifying}\n{issuing}", machine()));
}

/// A list as an edge may have it; none of the measured sessions is in it.
fn a_million_revoked(now: UnixTime) -> RevocationList {
    let list = RevocationList::new();
    let mut x: u128 = 1;
    let entries = (0..MILLION).map(|_| {
        x = x.wrapping_mul(0xda94_2042_e4dd_58b5_9e37_79b9_7f4a_7c15).wrapping_add(1);
        let ends = now.saturating_add(std::time::Duration::from_hours(12));
        Entry::Session { sid: SessionId::from_bytes(x.to_le_bytes()), ends }
    });
    list.apply_snapshot(Position { epoch: 1, sequence: 1 }, now, entries).unwrap();
    list
}

/// The Sig_structure (RFC 9052 §4.4) of a token, and the signature.
fn signed_bytes(token: &str) -> (Vec<u8>, [u8; 64]) {
    let bytes = URL_SAFE_NO_PAD.decode(token).unwrap();
    let (frame, signature) = bytes.split_last_chunk::<64>().unwrap();
    // d2 84 | protected: 17 bytes | a0 | payload | 58 40
    let message = [b"\x84\x6aSignature1", &frame[2..19], b"\x40", &frame[20..frame.len() - 2]].concat();
    (message, *signature)
}

/// PKCS#8 (RFC 8410 §7), which is how keys are read.
fn pem(seed: &[u8; 32]) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode(peers::pkcs8(seed));
    format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
}
