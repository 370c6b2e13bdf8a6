//! What one use of a nonce costs, on one thread and on two: by the clock, and
//! of the processor's time, which other processes disturb less (Linux only).

#![expect(clippy::cast_precision_loss, clippy::expect_used, reason = "prints rough numbers")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use hallpass::replay::{NonceSettings, Purpose, SingleUse};
use hallpass::{NonceCache, SessionId, UnixTime};

/// Live at any time for each thread, and uses by each: ten generations come
/// and go.
const LIVE: usize = 100_000;
const USES: usize = 1_000_000;

fn mixed(n: usize) -> [u8; 16] {
    (n as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_le_bytes()
}

/// Nanoseconds that this thread has run so far.
fn running() -> f64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    schedstat.split(' ').next().and_then(|run| run.parse().ok()).unwrap_or(f64::NAN)
}

/// Nanoseconds a use, as a thread sees it: by the clock, and running.
fn run(threads: usize) -> [f64; 2] {
    let start = UnixTime::saturating_from_secs(1_800_000_000);
    let settings = NonceSettings { tickets: threads * LIVE * 2, proofs: 1 };
    let cache = NonceCache::with_settings(settings, start).expect("a capacity in range");
    let began = Instant::now();
    let work = |thread: usize| {
        let before = running();
        for n in 0..USES {
            let now = start.saturating_add(Duration::from_secs(100 + (n * 60 / LIVE) as u64));
            let used = SingleUse {
                session: SessionId::from_bytes(mixed(n / 8 * 2 + thread)),
                nonce: mixed(n * 2 + thread),
                issued: now,
                until: now.saturating_add(Duration::from_mins(1)),
            };
            let verdict = cache.admit(Purpose::Ticket, &used, Duration::from_secs(5), now);
            // The threads' clocks drift apart; what is over is refused.
            black_box(verdict).ok();
        }
        running() - before
    };
    let ran = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|thread| {
                let work = &work;
                scope.spawn(move || work(thread))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).fold(0.0, f64::max)
    });
    [began.elapsed().as_nanos() as f64, ran].map(|took| took / USES as f64)
}

fn main() {
    for threads in [1, 2] {
        let took: Vec<_> = (0..9).map(|_| run(threads)).collect();
        for (column, what) in ["by the clock", "running"].into_iter().enumerate() {
            let mut took: Vec<_> = took.iter().map(|row| row[column]).collect();
            took.sort_by(f64::total_cmp);
            println!(
                "{threads} thread(s), {what}: {:.0} ns a use ({:.0} to {:.0})",
                took[4], took[0], took[8]
            );
        }
    }
}
