//! Heap use of a full nonce cache, counted by the allocator. One test in this
//! binary: another thread's allocations would be counted too.

use std::time::Duration;

use hallpass::replay::{NonceSettings, Purpose, SingleUse};
use hallpass::{NonceCache, SessionId, UnixTime};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

fn mixed(n: usize) -> [u8; 16] {
    (n as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_le_bytes()
}

#[test]
fn a_full_cache_takes_at_most_what_is_stated() {
    let start = UnixTime::saturating_from_secs(1_800_000_000);
    let second = |n: u64| start.saturating_add(Duration::from_secs(n));
    let leeway = Duration::from_secs(5);
    // The default, and where the hash tables have just doubled, which is the
    // worst. So many entries a session: 1 is the worst.
    for capacity in [1 << 16, 116_000] {
        for of_one_session in [1, 60] {
            let before = ALLOCATOR.current_usage();
            ALLOCATOR.reset_peak_usage();
            let cache =
                NonceCache::with_settings(NonceSettings { tickets: capacity, proofs: 1 }, start).unwrap();
            let empty = ALLOCATOR.current_usage() - before;
            assert!(empty <= 16 * 1024, "{empty} bytes for an empty cache");
            // Repeatedly: expired entries make room for new ones, and the
            // memory does not grow with the number ever seen.
            for (round, start) in [0, 100].into_iter().enumerate() {
                for n in 0..capacity {
                    let used = SingleUse {
                        session: SessionId::from_bytes(mixed(n / of_one_session)),
                        nonce: mixed(n + round * capacity),
                        issued: second(start + 10),
                        until: second(start + 60 + n as u64 % 30),
                    };
                    cache.admit(Purpose::Ticket, &used, leeway, second(start + 10)).unwrap();
                }
                assert_eq!(cache.stats(Purpose::Ticket).entries, capacity);
            }
            let kept = ALLOCATOR.current_usage() - before;
            let peak = ALLOCATOR.peak_usage() - before;
            println!(
                "{capacity} entries, {of_one_session} a session: {} bytes each, {} at the peak",
                kept / capacity,
                peak / capacity
            );
            assert!(peak <= NonceCache::BYTES_PER_ENTRY * capacity, "{peak} bytes at the peak");
            drop(cache);
            assert!(ALLOCATOR.current_usage() <= before + 1024);
        }
    }
}
