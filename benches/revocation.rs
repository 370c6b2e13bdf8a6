//! Prints what the revocation list costs: look-ups, feeds, memory.
//! `cargo bench --bench revocation [-- ENTRIES…]`

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::expect_used,
    reason = "prints rough numbers"
)]

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use hallpass::revocation::{Entry, Position, RevocationList, SubjectHash};
use hallpass::{KeyId, SessionId, UnixTime};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const LOOKUPS: u64 = 2_000_000;

fn main() {
    let sizes: Vec<u64> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    for n in if sizes.is_empty() { vec![1_000, 1_000_000, 10_000_000] } else { sizes } {
        measure(n);
    }
    stalls(1_000_000);
}

fn measure(n: u64) {
    let at = |s| UnixTime::saturating_from_secs(s);
    let (kid, now) = (KeyId::from_bytes([7; 8]), at(1_800_000_000));
    let before = ALLOCATOR.current_usage();
    let list = RevocationList::new();
    let entries = (0..n).map(|i| Entry::Session { sid: sid(i), ends: at(1_800_000_000 + i % 43_200) });
    ALLOCATOR.reset_peak_usage();
    let start = Instant::now();
    list.apply_snapshot(Position { epoch: 1, sequence: 1 }, now, entries.clone()).expect("first");
    let snapshot = start.elapsed();
    let kept = ALLOCATOR.current_usage() - before;
    let peak = ALLOCATOR.peak_usage() - before;
    println!(
        "{n:>9} entries: snapshot applied in {snapshot:.1?}; kept {:.1} MB = {:.1} B each \
         (estimate {:.1} B), peak while applying {:.1} MB",
        mb(kept),
        kept as f64 / n as f64,
        list.snapshot().heap_bytes() as f64 / n as f64,
        mb(peak),
    );
    let lookup = |name: &str, list: &RevocationList, index: &dyn Fn(u64) -> u64| {
        let sids: Vec<SessionId> = (0..LOOKUPS).map(|i| sid(index(i))).collect();
        let mut best = [f64::MAX; 2];
        for _ in 0..5 {
            let start = Instant::now();
            for sid in &sids {
                black_box(list.check(black_box(sid), "alice", kid, now));
            }
            best[0] = best[0].min(per(start.elapsed()));
            // Each look-up waits for the answer of the one before.
            let start = Instant::now();
            let mut wait = 0;
            for i in 0..sids.len() {
                let answer = list.check(&sids[i ^ wait], "alice", kid, now);
                wait = black_box(usize::from(answer.is_some())) >> 1;
            }
            best[1] = best[1].min(per(start.elapsed()));
        }
        println!("          {name}: {:.1} ns a look-up, {:.1} ns one after another", best[0], best[1]);
    };
    lookup("hit ", &list, &|i| scramble(i) % n);
    lookup("miss", &list, &|i| n + i);
    let deltas = 200;
    let start = Instant::now();
    for i in 0..deltas {
        let entries = (0..3).map(|k| Entry::Session { sid: sid(2 * n + 3 * i + k), ends: now });
        list.apply_delta(1 + i, Position { epoch: 1, sequence: 2 + i }, now, entries).expect("next");
    }
    println!("          delta of 3 sessions: {:.1?}", start.elapsed() / 200);
    let start = Instant::now();
    list.expire(at(1_800_000_000 + 62));
    println!("          expiry of two seconds' worth: {:.1?}", start.elapsed());
    let start = Instant::now();
    list.expire(at(1_800_000_000 + 60 + 21_600));
    println!("          expiry of half: {:.1?}", start.elapsed());
    list.insert(Entry::Subject { hash: SubjectHash::of("mallory"), up_to: now, ends: now });
    lookup("miss, a subject revoked, started before", &list, &|i| n + i);
}

/// The slowest look-ups of a reader, with and without a writer that replaces
/// the list all the time.
fn stalls(n: u64) {
    let (kid, now) = (KeyId::from_bytes([7; 8]), UnixTime::saturating_from_secs(1_800_000_000));
    let list = RevocationList::new();
    let apply = |sequence| {
        let entries = (0..n).map(|i| Entry::Session { sid: sid(i), ends: now });
        list.apply_snapshot(Position { epoch: 1, sequence }, now, entries).expect("next");
    };
    apply(1);
    let read = |when: &str, done: &AtomicBool| {
        let mut times = Vec::with_capacity(50_000_000);
        let mut i = n;
        while !done.load(Relaxed) && times.len() < times.capacity() {
            let start = Instant::now();
            black_box(list.check(&sid(i), "alice", kid, now));
            times.push(u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX));
            i += 1;
        }
        times.sort_unstable();
        let at = |share: f64| Duration::from_nanos(times[(times.len() as f64 * share) as usize].into());
        println!(
            "{when}: half of {} look-ups within {:?}, 99.99 % within {:?}, all within {:?}",
            times.len(),
            at(0.5),
            at(0.9999),
            at(1.0 - 1e-12)
        );
    };
    for (when, writes) in [("nobody writes", false), ("a writer replaces it over and over", true)] {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| read(when, &done));
            let start = Instant::now();
            let mut sequence = 2;
            while start.elapsed() < Duration::from_secs(3) {
                if writes {
                    apply(sequence);
                } else {
                    thread::sleep(Duration::from_millis(100));
                }
                sequence += 1;
            }
            done.store(true, Relaxed);
        });
    }
}

fn mb(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

fn per(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9 / LOOKUPS as f64
}

/// A bijection that looks random.
fn scramble(i: u64) -> u64 {
    let i = i.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let i = (i ^ (i >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let i = (i ^ (i >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    i ^ (i >> 31)
}

fn sid(i: u64) -> SessionId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&scramble(i).to_le_bytes());
    bytes[8..].copy_from_slice(&scramble(!i).to_le_bytes());
    SessionId::from_bytes(bytes)
}
