//! Tests with a manual clock.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use governor::clock::FakeRelativeClock;

use super::device::{DEVICE_LIFETIME, Devices};
use super::rate::Rate;
use crate::id::SubjectHash;
use crate::server::config::limits::{LimitsTable, RateTable};
use crate::time::UnixTime;

const RATE: RateTable = RateTable { burst: 3, per_minute: 6 };

fn rate(most: usize) -> (Rate<u64, FakeRelativeClock>, FakeRelativeClock) {
    let clock = FakeRelativeClock::default();
    (Rate::new(RATE, most, clock.clone()), clock)
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn a_burst_and_then_the_rate() {
    let (rate, clock) = rate(100);
    for _ in 0..3 {
        assert_eq!(rate.check(&1), Ok(()));
    }
    assert_eq!(rate.check(&1), Err(secs(10)));
    assert_eq!(rate.check(&2), Ok(()), "another key");
    clock.advance(secs(9));
    assert_eq!(rate.check(&1), Err(secs(1)), "asking has cost nothing");
    clock.advance(secs(1));
    assert_eq!(rate.check(&1), Ok(()));
    assert_eq!(rate.check(&1), Err(secs(10)));
    // The burst is restored, and no more.
    clock.advance(secs(3600));
    let again = (0..10).filter(|_| rate.check(&1).is_ok()).count();
    assert_eq!(again, 3);
}

#[test]
fn a_spray_of_a_million_keys_takes_no_more_room() {
    let (rate, clock) = rate(1000);
    for key in 0..1_000_000 {
        assert_eq!(rate.check(&key).is_ok(), key < 1000, "{key}");
    }
    assert_eq!(rate.len(), 1000);
    // Keys that were there keep their counts.
    assert_eq!([(); 3].map(|()| rate.check(&5).is_ok()), [true, true, false]);
    // Only keys whose burst is fully restored make room.
    clock.advance(secs(20));
    assert_eq!(rate.check(&2_000_000), Ok(()));
    assert_eq!(rate.len(), 2, "key 5 waits still");
    assert!(rate.check(&5).is_ok() && rate.check(&5).is_ok() && rate.check(&5).is_err());
}

#[test]
fn threads_at_once_get_no_more() {
    let (rate, _) = rate(4);
    let barrier = std::sync::Barrier::new(16);
    let passed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    (0..1000).filter(|key| rate.check(key).is_ok()).count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    // Four keys found room, and each had its burst.
    assert_eq!((passed, rate.len()), (12, 4));
}

fn at(seconds: u64) -> UnixTime {
    UnixTime::from_secs(1_790_000_000 + seconds).unwrap()
}

#[test]
fn a_device_cookie_is_of_one_account_one_service_and_its_time() {
    let (alice, bob) = (SubjectHash::of("alice"), SubjectHash::of("bob"));
    let devices = Devices::new([1; 32]);
    let cookie = devices.cookie(alice, None, at(0)).unwrap();
    let device = devices.known(&cookie, alice, at(1)).unwrap();
    assert_eq!(devices.known(&cookie, bob, at(1)), None);
    assert_eq!(Devices::new([2; 32]).known(&cookie, alice, at(1)), None);
    let end = DEVICE_LIFETIME.as_secs();
    assert!(devices.known(&cookie, alice, at(end - 1)).is_some());
    assert_eq!(devices.known(&cookie, alice, at(end)), None);
    // The next log-in makes a new cookie for the same device. Another device
    // differs.
    let later = devices.cookie(alice, Some(device), at(9)).unwrap();
    assert_ne!(later, cookie);
    assert_eq!(devices.known(&later, alice, at(end)), Some(device));
    let other = devices.cookie(alice, None, at(0)).unwrap();
    assert_ne!(devices.known(&other, alice, at(1)), Some(device));
    // No other cookie passes: every character counts, and none may be added.
    for place in 0..cookie.len() {
        let mut forged = cookie.clone().into_bytes();
        forged[place] = if forged[place] == b'A' { b'B' } else { b'A' };
        assert_eq!(devices.known(core::str::from_utf8(&forged).unwrap(), alice, at(1)), None, "{place}");
    }
    for forged in ["", "A", &cookie[..cookie.len() - 4], &format!("{cookie}A"), &format!("{cookie}AAAA")] {
        assert_eq!(devices.known(forged, alice, at(1)), None, "{forged}");
    }
}

#[test]
fn settings_out_of_bounds_name_the_key() {
    assert_eq!(LimitsTable::default().check(), Ok(()));
    for (text, hint) in [
        ("most_failures = 101", "limits.most_failures is 101, and must be from 12 to 100"),
        ("most_failures = 11", "from 12 to 100"),
        ("failures_before_wait = 0", "limits.failures_before_wait"),
        ("first_wait = \"0s\"", "limits.first_wait"),
        ("first_wait = \"30s\"\nlongest_wait = \"20s\"", "limits.longest_wait"),
        ("attempts_per_address = { burst = 0, per_minute = 1 }", "limits.attempts_per_address.burst"),
        ("new_sessions_per_account = { burst = 1, per_minute = 0 }", "per_account.per_minute"),
        ("entries = 2000000", "limits.entries"),
        ("sessions_per_account = 0", "limits.sessions_per_account"),
        ("connections = 100", "limits.connections_per_address is 256"),
        ("stalled_after = \"0s\"", "limits.stalled_after"),
        ("waiting = 0", "limits.waiting is 0"),
        ("waiting_per_address = 0", "limits.waiting_per_address"),
        ("stream_life = \"2days\"", "limits.stream_life"),
    ] {
        let table: LimitsTable = toml::from_str(text).unwrap();
        let said = table.check().unwrap_err();
        assert!(said.contains(hint), "{text}: {said}");
    }
    for text in ["attempts = 1", "when_account_is_full = \"forget\"", "first_wait = 1", "entries = -1"] {
        assert!(toml::from_str::<LimitsTable>(text).is_err(), "{text}");
    }
}

#[test]
fn an_address_is_its_network() {
    let clock = FakeRelativeClock::default();
    let rate: Rate<IpAddr, _> = Rate::new(RATE, 100, clock);
    let check = |text: &str| rate.check(&crate::http::network_of(text.parse().unwrap())).is_ok();
    // One /64, whatever the rest; and an IPv4-mapped IPv6 address.
    assert!(
        check("2001:db8::1") && check("2001:db8::2") && check("2001:db8::ffff:3") && !check("2001:db8::4")
    );
    assert!(check("2001:db8:0:1::1"));
    assert!(check("192.0.2.1") && check("::ffff:192.0.2.1") && check("::ffff:192.0.2.1"));
    assert_eq!(rate.check(&IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))), Err(secs(10)));
}
