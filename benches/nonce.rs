//! What one use of a nonce costs on one thread and on two that use the same
//! cache, beside an LRU cache behind one lock, which is no nonce cache (full, it
//! forgets what may not be used again) but what one would first think of.
//!
//! `benches/run nonce`

#![expect(clippy::cast_precision_loss, clippy::unwrap_used, reason = "prints rough numbers")]

mod common;

use std::hint::{black_box, spin_loop};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{machine, publish, rounds, show, table};
use hallpass::replay::{NonceSettings, Purpose, SingleUse};
use hallpass::{NonceCache, SessionId, UnixTime};
use lru::LruCache;

/// Live at any time for each thread.
const LIVE: usize = 100_000;
/// How long a nonce lives, in seconds.
const LIFE: usize = 60;
/// Uses between two looks at the clock: so few that a busy machine seldom
/// takes a CPU away in the middle.
const BURST: usize = 2_000;
/// Bursts of one cache in a row, so that it is in the CPU's caches for most.
const ROW: usize = 25;
/// Rows that fill a cache twice.
const WARM: usize = 2 * LIVE / (BURST * ROW);
/// Rows of a run of both threads.
const ROUNDS: usize = 4;
const START: u64 = 1_800_000_000;

fn mixed(n: usize) -> [u8; 16] {
    (n as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_le_bytes()
}

/// Something that both threads use.
trait Cache: Sync {
    fn admit(&self, used: &SingleUse, now: UnixTime) -> bool;
}

impl Cache for NonceCache {
    fn admit(&self, used: &SingleUse, now: UnixTime) -> bool {
        NonceCache::admit(self, Purpose::Ticket, used, Duration::from_secs(5), now).is_ok()
    }
}

impl Cache for Mutex<LruCache<[u8; 16], UnixTime>> {
    fn admit(&self, used: &SingleUse, _: UnixTime) -> bool {
        self.lock().unwrap().put(used.nonce, used.until).is_none()
    }
}

struct Bench<'a> {
    name: &'static str,
    cache: &'a dyn Cache,
    /// How many threads use it at the same time.
    threads: usize,
}

/// Waits for the other thread without going to sleep, so that both begin at once.
#[derive(Default)]
struct Barrier(AtomicUsize);

impl Barrier {
    fn wait(&self, turn: usize) {
        self.0.fetch_add(1, Ordering::AcqRel);
        while self.0.load(Ordering::Acquire) < 2 * (turn + 1) {
            spin_loop();
        }
    }
}

/// One thread's bursts of one bench.
type Bursts = Vec<(Instant, Instant)>;

fn main() {
    let caches = || {
        let settings = NonceSettings { tickets: 4 * LIVE, proofs: 1 };
        NonceCache::with_settings(settings, UnixTime::saturating_from_secs(START)).unwrap()
    };
    let (alone, shared) = (caches(), caches());
    let lru = || Mutex::new(LruCache::new(NonZeroUsize::new(2 * LIVE).unwrap()));
    let (lru_alone, lru_shared) = (lru(), lru());
    let (name, other) = ("**hallpass**", "`lru` behind one lock");
    let benches = [
        Bench { name, cache: &alone, threads: 1 },
        Bench { name, cache: &shared, threads: 2 },
        Bench { name: other, cache: &lru_alone, threads: 1 },
        Bench { name: other, cache: &lru_shared, threads: 2 },
    ];
    let mut all: Vec<Vec<f64>> = benches.iter().map(|_| Vec::new()).collect();
    // First as much as is live at a time, and once more to have all things grown.
    run(&benches, 0..WARM);
    // A busy machine may leave both threads on one core for a whole run, but
    // hardly for many.
    for n in 0..rounds(60) {
        let from = WARM + n * ROUNDS;
        for (all, times) in all.iter_mut().zip(run(&benches, from..from + ROUNDS)) {
            all.extend(times);
        }
        if all.iter().all(|times| times.len() >= 500) {
            break;
        }
    }
    let rows: Vec<_> = benches
        .iter()
        .zip(&mut all)
        .map(|(bench, times)| {
            times.sort_by(f64::total_cmp);
            assert!(!times.is_empty(), "this machine never ran two threads at a time");
            let [low, median, high] = [10, 50, 90].map(|share| show(times[times.len() * share / 100]));
            vec![
                bench.name.to_owned(),
                bench.threads.to_string(),
                median,
                format!("{low} to {high}"),
                times.len().to_string(),
            ]
        })
        .collect();
    let head = ["", "threads", "a use, median", "8 of 10 are", "bursts"];
    publish("nonce", &format!("{}.\n\n{}", machine(), table(&head, &rows)));
}

/// Runs both threads; what each use took in the bursts that count, of each bench.
fn run(benches: &[Bench<'_>], rounds: Range<usize>) -> Vec<Vec<f64>> {
    let barrier = Barrier::default();
    let [ours, theirs] = thread::scope(|scope| {
        let other = scope.spawn(|| work(1, benches, rounds.clone(), &barrier));
        [work(0, benches, rounds.clone(), &barrier), other.join().unwrap()]
    });
    benches
        .iter()
        .zip(ours.iter().zip(&theirs))
        .map(|(bench, (ours, theirs))| {
            ours.iter().zip(theirs).filter_map(|(a, b)| each(bench.threads, *a, *b)).collect()
        })
        .collect()
}

/// Nanoseconds a use, unless the two threads were not running at the same time.
fn each(threads: usize, ours: (Instant, Instant), theirs: (Instant, Instant)) -> Option<f64> {
    if threads == 1 {
        return Some((ours.1 - ours.0).as_nanos() as f64 / BURST as f64);
    }
    let longest = (ours.1 - ours.0).max(theirs.1 - theirs.0);
    let together = ours.1.min(theirs.1).saturating_duration_since(ours.0.max(theirs.0));
    (together * 10 > longest * 8).then(|| longest.as_nanos() as f64 / BURST as f64)
}

fn work(thread: usize, benches: &[Bench<'_>], rounds: Range<usize>, barrier: &Barrier) -> Vec<Bursts> {
    let mut done: Vec<Bursts> = benches.iter().map(|_| Vec::new()).collect();
    let mut turn = 0;
    for round in rounds {
        for (bench, done) in benches.iter().zip(&mut done) {
            for n in round * ROW..(round + 1) * ROW {
                barrier.wait(turn);
                turn += 1;
                let begun = Instant::now();
                if thread < bench.threads {
                    burst(thread, bench, n);
                }
                done.push((begun, Instant::now()));
            }
        }
    }
    done
}

fn burst(thread: usize, bench: &Bench<'_>, round: usize) {
    for n in round * BURST..(round + 1) * BURST {
        let now = UnixTime::saturating_from_secs(START + 100 + (n * LIFE / LIVE) as u64);
        let used = SingleUse {
            // Each session uses eight.
            session: SessionId::from_bytes(mixed(n / 8 * 2 + thread)),
            nonce: mixed(n * 2 + thread),
            issued: now,
            until: now.saturating_add(Duration::from_secs(LIFE as u64)),
        };
        assert!(bench.cache.admit(black_box(&used), now), "it must be accepted to be measured");
    }
}
