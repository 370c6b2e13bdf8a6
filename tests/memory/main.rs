//! Heap use, counted by the allocator. One test in this
//! binary: another thread's allocations would be counted too.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, in its helpers too")]

mod anomalies;
#[cfg(feature = "issuer")]
mod verify;

use hallpass::revocation::{Entry, Position, RevocationList};
use hallpass::{KeyId, SessionId, UnixTime};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const MILLION: usize = 1_000_000;

fn sid(i: usize) -> SessionId {
    SessionId::from_bytes((i as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_le_bytes())
}

#[test]
fn memory_is_bounded() {
    #[cfg(feature = "issuer")]
    {
        verify::a_verification_takes_nothing_from_the_heap();
        verify::a_token_cache_keeps_within_its_bytes();
    }
    anomalies::the_detectors_keep_within_16_megabytes();
    a_million_revoked_sessions_fit_in_40_bytes_each();
}

fn a_million_revoked_sessions_fit_in_40_bytes_each() {
    let now = UnixTime::saturating_from_secs(1_800_000_000);
    let kid = KeyId::from_bytes([1; 8]);
    let before = ALLOCATOR.current_usage();
    let list = RevocationList::new();

    let position = |sequence| Position { epoch: 1, sequence };
    let entries = |from: usize| (from..from + MILLION).map(|i| Entry::Session { sid: sid(i), ends: now });
    ALLOCATOR.reset_peak_usage();
    list.apply_snapshot(position(1), now, entries(0)).unwrap();
    let kept = ALLOCATOR.current_usage() - before;
    let peak = ALLOCATOR.peak_usage() - before;
    assert_eq!(list.len(), MILLION);
    assert!(kept <= 40 * MILLION, "{kept} bytes are kept");
    assert!(peak <= 80 * MILLION, "{peak} bytes at the peak");
    let estimate = list.snapshot().heap_bytes();
    assert!(estimate.abs_diff(kept) < MILLION, "{estimate} estimated, {kept} taken");

    // A replaced list is freed at once if nothing holds it.
    list.apply_snapshot(position(2), now, entries(MILLION)).unwrap();
    let kept = ALLOCATOR.current_usage() - before;
    assert!(kept <= 40 * MILLION, "{kept} bytes are kept after the second");

    // A delta allocates what it adds, and copies a small part while it is applied.
    ALLOCATOR.reset_peak_usage();
    let delta = [Entry::Session { sid: sid(7), ends: now }];
    list.apply_delta(2, position(3), now, delta).unwrap();
    let more = ALLOCATOR.peak_usage() - before - kept;
    assert!(more <= MILLION / 4, "a delta took {more} bytes more");

    // A look-up allocates nothing.
    let held = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let revoked = (0..1000).filter(|i| list.check(&sid(*i), "alice", kid, now).is_some()).count();
    assert_eq!(revoked, 1);
    assert_eq!(ALLOCATOR.peak_usage(), held);

    list.expire(now.saturating_add(std::time::Duration::from_secs(61)));
    let kept = ALLOCATOR.current_usage() - before;
    assert!(list.is_empty());
    assert!(kept <= 10_000, "an empty list keeps {kept} bytes");
}
