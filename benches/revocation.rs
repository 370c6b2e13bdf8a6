//! What the revocation list costs: look-ups, feeds, memory; and how long a
//! reader waits while a writer replaces the list.
//!
//! `benches/run revocation`

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::unwrap_used,
    reason = "prints rough numbers"
)]

mod common;

use std::cell::Cell;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use common::plot::plot;
use common::{Task, interleave, machine, median, publish, rounds, show, table};
use hallpass::revocation::{Entry, Position, RevocationList, SubjectHash};
use hallpass::{KeyId, SessionId, UnixTime};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const NOW: UnixTime = UnixTime::saturating_from_secs(1_800_000_000);
const KID: KeyId = KeyId::from_bytes([7; 8]);
/// Look-ups between two looks at the clock.
const RUN: usize = 2_048;

fn main() {
    let measured: Vec<Measured> =
        [1_000, 10_000, 100_000, 1_000_000, 10_000_000].into_iter().map(measure).collect();
    let rows: Vec<_> = measured.iter().map(Measured::row).collect();
    let head = [
        "sessions revoked",
        "look-up, not revoked",
        "one waiting for another",
        "look-up, revoked",
        "a subject revoked too",
        "bytes each",
        "snapshot applied",
        "delta of three",
    ];
    publish("revoked", &format!("{}.\n\n{}", machine(), table(&head, &rows)));
    let line = |value: fn(&Measured) -> f64| measured.iter().map(|m| (m.size as f64, value(m))).collect();
    plot(
        "revoked",
        "A look-up by the number of revoked sessions",
        ("sessions revoked", "ns"),
        &[("not revoked", line(|m| m.miss)), ("revoked", line(|m| m.hit))],
    );
    stalls(1_000_000);
}

struct Measured {
    size: u64,
    miss: f64,
    chained: f64,
    hit: f64,
    with_subject: f64,
    bytes: f64,
    snapshot: Duration,
    delta: f64,
}

impl Measured {
    fn row(&self) -> Vec<String> {
        let mut row = vec![self.size.to_string()];
        row.extend([self.miss, self.chained, self.hit, self.with_subject].map(show));
        row.push(format!("{:.1}", self.bytes));
        row.push(format!("{:.2?}", self.snapshot));
        row.push(show(self.delta));
        row
    }
}

/// One list at a time, as an edge has it: another would push it out of the
/// CPU's caches.
fn measure(size: u64) -> Measured {
    let before = ALLOCATOR.current_usage();
    let list = RevocationList::new();
    let entries = (0..size).map(|n| Entry::Session { sid: sid(n), ends: NOW.saturating_add(hours(n)) });
    let start = Instant::now();
    list.apply_snapshot(Position { epoch: 1, sequence: 1 }, NOW, entries).unwrap();
    let snapshot = start.elapsed();
    let bytes = (ALLOCATOR.current_usage() - before) as f64 / size as f64;

    let mut tasks = vec![
        look_ups("miss", &list, |n| size + n, false),
        look_ups("chained", &list, |n| size + n, true),
        look_ups("hit", &list, |n| scramble(n) % size, false),
    ];
    interleave(&mut tasks, rounds(600));
    let [miss, chained, hit] = [0, 1, 2].map(|n: usize| tasks[n].median());

    let deltas = (0..200).map(|n| {
        let entries: Vec<_> =
            (0..3).map(|k| Entry::Session { sid: sid(1 << 40 | (3 * n + k)), ends: NOW }).collect();
        let start = Instant::now();
        list.apply_delta(1 + n, Position { epoch: 1, sequence: 2 + n }, NOW, entries).unwrap();
        start.elapsed().as_secs_f64() * 1e9
    });
    let delta = median(deltas.collect());

    // Now each look-up of a session that started before hashes its subject.
    list.insert(Entry::Subject { hash: SubjectHash::of("mallory"), up_to: NOW, ends: NOW });
    let mut tasks = [look_ups("with a subject", &list, |n| size + n, false)];
    interleave(&mut tasks, rounds(300));
    let with_subject = tasks[0].median();
    Measured { size, miss, chained, hit, with_subject, bytes, snapshot, delta }
}

fn hours(n: u64) -> Duration {
    Duration::from_secs(n % 43_200)
}

/// Look-ups of sessions that were just read, as a token's is. Either the
/// processor may begin one before the last has answered, or (`chained`) not.
fn look_ups<'a>(
    name: &str,
    list: &'a RevocationList,
    index: impl Fn(u64) -> u64 + 'a,
    chained: bool,
) -> Task<'a> {
    let done = Cell::new(0_u64);
    let mut sids = Vec::with_capacity(RUN);
    Task::timed(name, move || {
        let from = done.get();
        done.set(from + RUN as u64);
        sids.clear();
        sids.extend((from..from + RUN as u64).map(|n| sid(index(n))));
        let mut wait = 0;
        let start = Instant::now();
        for n in 0..RUN {
            let answer = list.check(black_box(&sids[n ^ wait]), "alice", KID, NOW);
            wait = if chained { black_box(usize::from(answer.is_some())) >> 1 } else { 0 };
            black_box(answer);
        }
        start.elapsed().as_secs_f64() * 1e9 / RUN as f64
    })
}

/// The slowest look-ups of a reader, with and without a writer that replaces
/// the list all the time.
fn stalls(size: u64) {
    let list = RevocationList::new();
    let apply = |sequence| {
        let entries = (0..size).map(|n| Entry::Session { sid: sid(n), ends: NOW });
        list.apply_snapshot(Position { epoch: 1, sequence }, NOW, entries).unwrap();
    };
    apply(1);
    let read = |done: &AtomicBool| {
        let mut times = Vec::with_capacity(50_000_000);
        let mut n = size;
        while !done.load(Relaxed) && times.len() < times.capacity() {
            let start = Instant::now();
            black_box(list.check(&sid(n), "alice", KID, NOW));
            times.push(u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX));
            n += 1;
        }
        times.sort_unstable();
        let at = |share: f64| show(f64::from(times[(times.len() as f64 * share) as usize]));
        vec![times.len().to_string(), at(0.5), at(0.99), at(0.9999)]
    };
    let cases = [("nobody", false), ("over and over", true)];
    let rows: Vec<_> = cases
        .into_iter()
        .map(|(when, writes)| {
            let done = AtomicBool::new(false);
            thread::scope(|scope| {
                let reader = scope.spawn(|| read(&done));
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
                let mut row = vec![when.to_owned()];
                row.extend(reader.join().unwrap());
                row
            })
        })
        .collect();
    let head = ["replaces a list of a million", "look-ups", "half within", "99 % within", "99.99 % within"];
    publish("stalls", &table(&head, &rows));
}

fn scramble(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// The nth id: a bijection that looks random.
fn sid(n: u64) -> SessionId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&scramble(n).to_le_bytes());
    bytes[8..].copy_from_slice(&scramble(!n).to_le_bytes());
    SessionId::from_bytes(bytes)
}
