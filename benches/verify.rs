//! What a verification costs: cold, hot, refused, with more keys; what the feed
//! costs with more edges; relative to `ed25519_dalek`'s `verify_strict` of a message
//! of the same length, interleaved in one process, medians.
//!
//! `benches/run verify`

#![expect(
    clippy::cast_precision_loss,
    clippy::unwrap_used,
    reason = "a bench prints rough numbers and may fail loudly"
)]

mod common;

use std::hint::black_box;
use std::time::{Duration, Instant};

use common::plot::plot;
use common::{Task, interleave, machine, median, publish, rounds, show, table};
use ed25519_dalek::Signer;
use hallpass::revocation::feed::{NewFeed, SessionKey};
use hallpass::revocation::{Entry, Feed, FeedKeys, Position, RevocationList};
use hallpass::{
    Algorithm, KeySet, KeyUse, Lifetimes, LiveKeys, Minter, NewSession, Session, SessionId, SigningKey,
    Subject, UnixTime, Verifier, VerifierBuilder,
};

const NOW: UnixTime = UnixTime::saturating_from_secs(1_790_000_000);
/// Different tokens, so that the branch predictor can't learn one.
const TOKENS: usize = 64;
const RUN: u32 = 8;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let sections: [(&str, fn()); 4] =
        [("verify", verify), ("garbage", garbage), ("keys", keys), ("edges", edges)];
    for (name, section) in sections {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            section();
        }
    }
}

fn key() -> SigningKey {
    SigningKey::generate(KeyUse::Session, Algorithm::EdDsa).unwrap()
}

fn minter(audience: &str) -> Minter {
    Minter::new(Lifetimes::default()).audience(Some(audience.into()))
}

fn token(minter: &Minter, key: &SigningKey, issued: UnixTime) -> String {
    let subject = Subject::new("alice").unwrap();
    let new = NewSession {
        subject: &subject,
        claims: &(),
        started: issued,
        auth_time: issued,
        ends: None,
        amr: &[],
        bound_to: None,
    };
    minter.start(key, &new, issued).unwrap().as_str().to_owned()
}

fn verifier(keys: &[SigningKey]) -> VerifierBuilder {
    Verifier::builder(KeySet::new(keys.iter().map(|key| key.verifying_key().clone())).unwrap())
        .audience("store")
}

/// The baseline of all ratios.
fn strict() -> Task<'static> {
    let stock = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    // As long as what a token's signature covers.
    let signed: Vec<_> =
        (0..64_u8).map(|n| [n; 119]).map(|message| (message, stock.sign(&message))).collect();
    let stock = stock.verifying_key();
    Task::each("ed25519-dalek `verify_strict`", RUN, move |i| {
        let (message, signature) = &signed[i % TOKENS];
        stock.verify_strict(black_box(message), signature).is_ok()
    })
}

/// Rows of median and ratio to the first task.
fn rows(tasks: &[Task<'_>]) -> Vec<Vec<String>> {
    let row = |task: &Task<'_>| {
        vec![task.name.clone(), show(task.median()), format!("{:.4}", task.ratio(&tasks[0]))]
    };
    tasks.iter().map(row).collect()
}

const HEAD: &[&str] = &["", "median", "of `verify_strict`"];

fn verify() {
    let keys = [key()];
    let minter = minter("store");
    let tokens: Vec<_> = (0..TOKENS).map(|_| token(&minter, &keys[0], NOW)).collect();
    let list = list_of(1_000_000);
    let bare = verifier(&keys).without_revocations().without_token_cache().build().unwrap();
    let cold = verifier(&keys).revocations(list.clone()).without_token_cache().build().unwrap();
    let hot = verifier(&keys).revocations(list.clone()).build().unwrap();
    let entering = verifier(&keys).revocations(list).token_cache(1 << 16).build().unwrap();
    let others: Vec<_> = (0..4096).map(|_| token(&minter, &keys[0], NOW)).collect();
    let cores = std::thread::available_parallelism().unwrap();
    let mut tasks = vec![
        strict(),
        Task::each("cold, no revocation list", RUN, |i| bare.verify::<()>(&tokens[i % TOKENS], NOW).is_ok()),
        Task::each("cold, a million revoked", RUN, |i| cold.verify::<()>(&tokens[i % TOKENS], NOW).is_ok()),
        Task::each("cold, and entering the cache", RUN, |i| {
            entering.verify::<()>(&others[i % others.len()], NOW).is_ok()
        }),
        Task::timed("`verify_many` of 64, each", || {
            let start = Instant::now();
            let sessions: Vec<Result<Session, _>> = cold.verify_many(black_box(&tokens), NOW);
            let took = start.elapsed();
            assert!(sessions.iter().all(Result::is_ok));
            took.as_secs_f64() * 1e9 / 64.0
        }),
        Task::timed("`verify_many_on` all cores, 4,096 tokens, each", || {
            let start = Instant::now();
            let sessions: Vec<Result<Session, _>> = cold.verify_many_on(cores, black_box(&others), NOW);
            let took = start.elapsed();
            assert!(sessions.iter().all(Result::is_ok));
            took.as_secs_f64() * 1e9 / others.len() as f64
        }),
        Task::each("hot, one token", 64 * RUN, |_| hot.verify::<()>(&tokens[0], NOW).is_ok()),
        Task::each("hot, 64 tokens in turn", 64 * RUN, |i| {
            hot.verify::<()>(&tokens[i % TOKENS], NOW).is_ok()
        }),
    ];
    interleave(&mut tasks, rounds(1_000));
    let counts = entering.token_cache_counts().unwrap();
    assert_eq!(counts.hits, 0, "nothing was hot by accident");
    publish("verify", &format!("{}.\n\n{}", machine(), table(HEAD, &rows(&tasks))));
}

fn garbage() {
    let keys = [key()];
    let right = minter("store");
    let good = token(&right, &keys[0], NOW);
    let with = |at: usize, character: char| {
        let mut text = good.clone();
        text.replace_range(at..=at, &character.to_string());
        text
    };
    let other = |at: usize| with(at, if good.as_bytes()[at] == b'A' { 'B' } else { 'A' });
    let kinds: Vec<(&str, &str, String)> = vec![
        ("nothing", "malformed", String::new()),
        ("100,000 characters", "malformed", "A".repeat(100_000)),
        ("4,096 characters", "malformed", "A".repeat(4096)),
        ("not base64url", "malformed", with(200, '!')),
        ("a JWT", "malformed", format!("{}.{}.{}", "A".repeat(48), "A".repeat(200), "A".repeat(86))),
        ("base64url, not CBOR", "malformed", good.chars().rev().collect()),
        ("not the shortest length", "malformed", longer_length(&good)),
        ("a ticket", "wrong_type", ticket(&right, &keys[0])),
        ("unknown kid", "unknown_key", other(12)),
        ("forged: a claim changed", "bad_signature", other(60)),
        ("forged: s changed", "bad_signature", other(180)),
        ("forged: s ≥ L", "bad_signature", with(good.len() - 2, '_')),
        ("genuine, of another audience", "wrong_audience", token(&minter("bank"), &keys[0], NOW)),
        ("genuine, expired", "expired", token(&right, &keys[0], NOW.saturating_sub(Duration::from_mins(30)))),
    ];
    // The cache is there, as it is by default: it must not make garbage dear.
    let verifier = verifier(&keys).revocations(list_of(1_000)).build().unwrap();
    assert!(verifier.verify::<()>(&good, NOW).is_ok());
    let mut tasks = vec![strict()];
    for (name, reason, text) in &kinds {
        let found = verifier.verify::<()>(text, NOW).map(drop).map_err(|why| why.reason().as_str());
        assert_eq!(found, Err(*reason), "{name}");
        let verifier = &verifier;
        let name = format!("{name} (`{reason}`)");
        tasks.push(Task::each(name, 2 * RUN, move |_| verifier.verify::<()>(black_box(text), NOW).is_err()));
    }
    interleave(&mut tasks, rounds(1_000));
    assert_eq!(verifier.token_cache_counts().unwrap().tokens, 1, "no garbage entered");
    publish("garbage", &format!("{}.\n\n{}", machine(), table(HEAD, &rows(&tasks))));
}

/// A signed artefact of another type: byte 18 says which, and a frame of any
/// type is of the right form.
fn ticket(minter: &Minter, key: &SigningKey) -> String {
    use base64::Engine;
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let bytes = engine.decode(token(minter, key, NOW)).unwrap();
    assert_eq!(bytes[16..19], [0x10, 0x18, 0x3d]);
    let typ = b"application/hallpass-ticket";
    let header = [&[0x58, 14 + 2 + 27][..], &bytes[3..17], &[0x78, 27], typ].concat();
    engine.encode([&bytes[..2], &header, &bytes[19..]].concat())
}

/// The same token with the payload's length spelt in two bytes.
fn longer_length(token: &str) -> String {
    use base64::Engine;
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let bytes = engine.decode(token).unwrap();
    assert_eq!(bytes[20], 0x58);
    engine.encode([&bytes[..20], &[0x59, 0], &bytes[21..]].concat())
}

fn keys() {
    let all: Vec<_> = (0..64).map(|_| key()).collect();
    let minter = minter("store");
    let sizes = [1_u32, 2, 4, 8, 16, 32, 64];
    let sets: Vec<_> = sizes
        .iter()
        .map(|&size| {
            let keys = &all[..size as usize];
            let tokens: Vec<_> = (0..TOKENS).map(|n| token(&minter, &keys[n % keys.len()], NOW)).collect();
            let cold = verifier(keys).without_revocations().without_token_cache().build().unwrap();
            let hot = verifier(keys).without_revocations().build().unwrap();
            (size, tokens, cold, hot)
        })
        .collect();
    let mut tasks = vec![strict()];
    for (size, tokens, cold, hot) in &sets {
        let each = |i: usize| &tokens[i % TOKENS];
        tasks.push(Task::each(size.to_string(), RUN, move |i| cold.verify::<()>(each(i), NOW).is_ok()));
        tasks.push(Task::each("hot", 32 * RUN, move |i| hot.verify::<()>(each(i), NOW).is_ok()));
    }
    interleave(&mut tasks, rounds(1_000));
    let rows: Vec<_> = tasks[1..]
        .chunks(2)
        .map(|pair| {
            let (cold, hot) = (&pair[0], &pair[1]);
            let ratio = cold.ratio(&tasks[0]);
            vec![cold.name.clone(), show(cold.median()), format!("{ratio:.3}"), show(hot.median())]
        })
        .collect();
    let table = table(&["keys, all in use", "cold", "of `verify_strict`", "hot"], &rows);
    publish("keys", &format!("{}.\n\n{table}", machine()));
    let points = |at: usize| -> Vec<(f64, f64)> {
        let medians = tasks[1..].iter().skip(at).step_by(2).map(Task::median);
        sizes.iter().map(|size| f64::from(*size)).zip(medians.map(|ns| ns / 1e3)).collect()
    };
    plot(
        "keys",
        "A verification by the number of keys in use",
        ("keys", "µs"),
        &[("cold", points(0)), ("hot", points(1))],
    );
}

/// A minute of an issuer and its edges: ten log-outs a second, of which a signed
/// delta goes to every edge once a second.
fn edges() {
    const SECONDS: u64 = 60;
    const LOG_OUTS: u64 = 10;
    let (session_key, feed_key) = (key(), SigningKey::generate(KeyUse::Feed, Algorithm::EdDsa).unwrap());
    let session_keys = [SessionKey::new(session_key.verifying_key().clone(), NOW)];
    let trusted = FeedKeys::new([feed_key.verifying_key().clone()]).unwrap();
    let sign = |sequence: u64, base: Option<u64>, issued_at: UnixTime, entries: Vec<Entry>| {
        let feed = NewFeed {
            position: Position { epoch: 1, sequence },
            base,
            issued_at,
            expires_at: issued_at.saturating_add(Duration::from_mins(5)),
            session_keys: &session_keys,
            lifetimes: None,
        };
        feed.sign(&feed_key, entries).unwrap().concat()
    };
    let ends = NOW.saturating_add(Duration::from_hours(12));
    let entry = |n: u64| Entry::Session { sid: sid(n), ends };
    let snapshot = sign(1, None, NOW, (0..1_000).map(entry).collect());
    let run = |count: usize| {
        let mut signing = Vec::new();
        let deltas: Vec<_> = (1..=SECONDS)
            .map(|second| {
                let now = NOW.saturating_add(Duration::from_secs(second));
                let new = (0..LOG_OUTS).map(|n| entry(second * 1_000_000 + n)).collect();
                let start = Instant::now();
                let delta = sign(1 + second, Some(second), now, new);
                signing.push(start.elapsed().as_secs_f64() * 1e9);
                (delta, now)
            })
            .collect();
        let bytes = count * deltas.iter().map(|(delta, _)| delta.len()).sum::<usize>();
        let mut applying = Vec::new();
        // All lists are kept: a thousand edges' memory, in which each has its
        // own, and none its own CPU.
        let edges: Vec<_> = (0..count)
            .map(|_| {
                let (list, keys) = (RevocationList::new(), LiveKeys::awaiting());
                let apply = |bytes: &[u8], now| {
                    Feed::from_bytes(&trusted, bytes, now).unwrap().apply(&list, &keys, now).unwrap();
                };
                apply(&snapshot, NOW);
                for (delta, now) in &deltas {
                    let start = Instant::now();
                    apply(delta, *now);
                    applying.push(start.elapsed().as_secs_f64() * 1e9);
                }
                list
            })
            .collect();
        assert!(edges.iter().all(|list| list.len() as u64 == 1_000 + SECONDS * LOG_OUTS));
        (count as f64, median(signing), bytes as f64 / SECONDS as f64, median(applying))
    };
    let measured = [1, 10, 100, 1_000].map(run);
    let rows: Vec<_> = measured
        .iter()
        .map(|(count, signing, bytes, applying)| {
            vec![count.to_string(), show(*signing), format!("{:.1} kB", bytes / 1e3), show(*applying)]
        })
        .collect();
    let head = [
        "edges",
        "issuer: signing, a second",
        "issuer: sent, a second",
        "an edge: verifying and applying, a second",
    ];
    publish(
        "edges",
        &format!(
            "{}; ten log-outs a second, a delta a second, simulated.\n\n{}",
            machine(),
            table(&head, &rows)
        ),
    );
    let line =
        |value: fn(&(f64, f64, f64, f64)) -> f64| measured.iter().map(|row| (row.0, value(row))).collect();
    plot(
        "edges",
        "Revocation by the number of edges: a second's work",
        ("edges", "µs; kB"),
        &[
            ("signing, µs", line(|row| row.1 / 1e3)),
            ("an edge, µs", line(|row| row.3 / 1e3)),
            ("sent, kB", line(|row| row.2 / 1e3)),
        ],
    );
}

fn list_of(count: u64) -> RevocationList {
    let list = RevocationList::new();
    let ends = NOW.saturating_add(Duration::from_hours(12));
    let entries = (0..count).map(|n| Entry::Session { sid: sid(n), ends });
    list.apply_snapshot(Position { epoch: 1, sequence: 1 }, NOW, entries).unwrap();
    list
}

/// The nth id: a bijection that looks random.
fn sid(n: u64) -> SessionId {
    let scramble = |n: u64| {
        let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ (n >> 31)
    };
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&scramble(n).to_le_bytes());
    bytes[8..].copy_from_slice(&scramble(!n).to_le_bytes());
    SessionId::from_bytes(bytes)
}
