//! Bounds the memory of the anomaly detectors for any input.

use std::net::Ipv4Addr;

use hallpass::anomaly::{Detector, Rules};
use hallpass::event::{Event, EventKind};
use hallpass::{Reason, SessionId, Subject, UnixTime};

use crate::{ALLOCATOR, MILLION};

/// With everything at its default: events from a million networks, of hundreds
/// of thousands of users and sessions.
pub(crate) fn the_detectors_keep_within_16_megabytes() {
    let now = UnixTime::saturating_from_secs(1_800_000_000);
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let mut detector = Detector::new(Rules::default());
    for n in 0..MILLION {
        let address = Ipv4Addr::from(u32::try_from(n).unwrap()).into();
        let user = || Subject::new(format!("user-{}", n / 30)).ok();
        let session = SessionId::from_bytes((n as u128 / 18).to_le_bytes());
        let event = |kind| Event::new(kind, now).from(address);
        detector.event(&match n % 6 {
            0 => event(EventKind::LogInFailed).of(user()),
            1 => event(EventKind::TokenRefused(Reason::Malformed)),
            2 => event(EventKind::SessionCreated).of(user()),
            3 => event(EventKind::TokenRefused(Reason::Replayed)).session(session),
            4 => event(EventKind::SessionRenewed).session(session),
            _ => event(EventKind::TokenReuse).session(session),
        });
    }
    let peak = ALLOCATOR.peak_usage() - before;
    println!("{} keys in {} bytes, {peak} at the peak", detector.keys(), ALLOCATOR.current_usage() - before);
    assert!(detector.keys() <= 8 * Rules::DEFAULT_KEYS + 3);
    assert!(peak <= 16 * 1024 * 1024, "{peak} bytes at the peak");
}
