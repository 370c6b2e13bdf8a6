//! What the detectors raise, and when.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hallpass::anomaly::{AnomalyKind, Detector, Rule, Rules, Watch};
use hallpass::event::{Event, EventKind, EventSink, Limit};
use hallpass::{Clock, Reason, SessionId, Subject, SystemClock, UnixTime};

const START: UnixTime = UnixTime::saturating_from_secs(1_800_000_000);

fn at(seconds: u64) -> UnixTime {
    START.saturating_add(Duration::from_secs(seconds))
}

pub(crate) fn address(n: u32) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + n).into()
}

fn subject(n: usize) -> Option<Subject> {
    Some(Subject::new(format!("user-{n}")).unwrap())
}

fn sid(n: u8) -> SessionId {
    SessionId::from_bytes([n; 16])
}

/// A detector with the same threshold per minute for all kinds.
fn detector(threshold: u32) -> Detector {
    let rule = Rule::new(threshold, Duration::from_secs(60)).unwrap();
    let rules = AnomalyKind::ALL.iter().copied().fold(Rules::default(), |rules, kind| rules.set(kind, rule));
    Detector::new(rules)
}

/// Returns the kinds that were raised, each with the number of events it took.
fn raised(detector: &mut Detector, events: impl IntoIterator<Item = Event>) -> Vec<(usize, AnomalyKind)> {
    let mut found = Vec::new();
    for (n, event) in events.into_iter().enumerate() {
        found.extend(detector.event(&event).into_iter().map(|anomaly| (n + 1, anomaly.kind)));
    }
    found
}

#[test]
fn each_detector_raises_at_its_threshold_and_not_below() {
    let refused = |reason, n| Event::new(EventKind::TokenRefused(reason), START).from(address(n));
    let failed = |user, n| Event::new(EventKind::LogInFailed, START).from(address(n)).of(subject(user));
    let limited = |user, n| {
        let kind = EventKind::LogInLimited(Limit::Account);
        Event::new(kind, START).from(address(n)).of(subject(user))
    };
    let created = |user, n| Event::new(EventKind::SessionCreated, START).from(address(n)).of(subject(user));
    let renewed = |n| Event::new(EventKind::SessionRenewed, START).from(address(n)).session(sid(1));
    let ten = || 0..10_u32;

    for reason in [Reason::Malformed, Reason::BadSignature, Reason::UnknownKey, Reason::WrongType] {
        let found = raised(&mut detector(5), ten().map(|_| refused(reason, 1)));
        assert_eq!(found, [(5, AnomalyKind::TokenGuessing)], "{reason}");
        // One token per network is not guessing.
        assert_eq!(raised(&mut detector(5), ten().map(|n| refused(reason, n))), [], "{reason}");
    }
    // An expired token is not a guess.
    assert_eq!(raised(&mut detector(5), ten().map(|_| refused(Reason::Expired, 1))), []);

    // One address and one user: password guessing, but not spraying.
    let found = raised(&mut detector(5), ten().map(|_| failed(1, 1)));
    assert_eq!(found, [(5, AnomalyKind::PasswordGuessing)]);
    // An attempt counts even if it was refused before the password check.
    let found = raised(&mut detector(5), ten().map(|_| limited(1, 1)));
    assert_eq!(found, [(5, AnomalyKind::PasswordGuessing)]);
    // Many users from one address, which also makes many in total.
    let found = raised(&mut detector(5), ten().map(|n| failed(n as usize, 1)));
    assert_eq!(found, [(5, AnomalyKind::CredentialStuffing), (5, AnomalyKind::PasswordSpraying)]);
    // Each from its own address: only the total shows it.
    let found = raised(&mut detector(5), ten().map(|n| failed(n as usize, n)));
    assert_eq!(found, [(5, AnomalyKind::CredentialStuffing)]);
    // One user from many addresses.
    let found = raised(&mut detector(5), ten().map(|n| failed(1, n)));
    assert_eq!(found, [(5, AnomalyKind::PasswordGuessing), (5, AnomalyKind::DistributedGuessing)]);

    let found = raised(&mut detector(5), ten().map(|n| created(n as usize, 1)));
    assert_eq!(found, [(5, AnomalyKind::CreationFlood)], "one network");
    let found = raised(&mut detector(5), ten().map(|n| created(1, n)));
    assert_eq!(found, [(5, AnomalyKind::CreationFlood)], "one user");

    let found = raised(&mut detector(5), ten().map(|_| refused(Reason::Replayed, 1)));
    assert_eq!(found, [(5, AnomalyKind::Replay)]);
    let found = raised(&mut detector(5), ten().map(|n| refused(Reason::Replayed, n).session(sid(1))));
    assert_eq!(found, [(5, AnomalyKind::Replay)], "the same session from anywhere");

    let reuse = Event::new(EventKind::TokenReuse, START).from(address(1)).session(sid(1));
    assert_eq!(raised(&mut detector(5), [reuse.clone(), reuse]), [(1, AnomalyKind::RenewalReuse)]);

    let found = raised(&mut detector(5), ten().map(renewed));
    assert_eq!(found, [(5, AnomalyKind::SessionOnManyNetworks)]);
    assert_eq!(raised(&mut detector(5), ten().map(|_| renewed(1))), []);
    let mut used = detector(5);
    let kinds: Vec<_> = ten().map(|n| used.used(sid(1), address(n), START).map(|a| a.kind)).collect();
    assert_eq!(kinds.iter().position(Option::is_some), Some(4));

    let found = raised(&mut detector(5), ten().map(|n| refused(Reason::NotYetValid, n)));
    assert_eq!(found, [(5, AnomalyKind::ClockTrouble)]);
    let found = raised(&mut detector(5), ten().map(|n| refused(Reason::Capacity, n)));
    assert_eq!(found, [(5, AnomalyKind::NoncesFull)]);

    let mut edges = detector(5);
    assert_eq!(edges.edge("shop-1", Duration::from_secs(4), START), None);
    let stale = edges.edge("shop-1", Duration::from_secs(5), START).unwrap();
    assert_eq!((stale.kind, stale.edge.as_deref()), (AnomalyKind::StaleEdge, Some("shop-1")));
    assert_eq!(edges.edge("shop-1", Duration::from_secs(6), START), None, "once");
    assert!(edges.edge("shop-2", Duration::from_secs(6), START).is_some(), "another edge");
}

#[test]
fn an_anomaly_is_raised_once_in_a_window_and_what_is_slow_is_none() {
    let forged = |second| Event::new(EventKind::TokenRefused(Reason::Malformed), at(second)).from(address(1));
    // One every 20 s is three per minute, below the threshold.
    assert_eq!(raised(&mut detector(5), (0..100).map(|n| forged(20 * n))), []);
    // Two per second for ten minutes: raised about once a minute.
    let all = (0..1200).map(|n| forged(n / 2));
    let found = raised(&mut detector(5), all).len();
    assert!((9..=10).contains(&found), "{found}");
    // Meanwhile, another network is still reported.
    let mut one = detector(5);
    assert_eq!(raised(&mut one, (0..10).map(|_| forged(0))).len(), 1);
    assert_eq!(raised(&mut one, (0..10).map(|_| forged(0).from(address(2)))).len(), 1);
}

#[test]
fn an_ipv6_subscriber_is_one_network_and_a_mapped_address_is_ipv4() {
    let from = |address: IpAddr| Event::new(EventKind::TokenRefused(Reason::Malformed), START).from(address);
    let mut one = detector(5);
    let found = raised(&mut one, (0..5).map(|n| from(Ipv6Addr::new(0x2001, 0xdb8, 1, 2, n, n, n, n).into())));
    assert_eq!(found, [(5, AnomalyKind::TokenGuessing)]);
    let mapped = Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().into();
    let mut one = detector(2);
    assert_eq!(raised(&mut one, [from(mapped), from([192, 0, 2, 1].into())]).len(), 1);
}

#[test]
fn a_clock_that_is_set_is_told_of_and_one_that_runs_is_not() {
    let mut detector = Detector::new(Rules::default().clock_step(Duration::from_secs(5)));
    let run = |seconds| Duration::from_secs(1000 + seconds);
    for second in 0..100 {
        assert_eq!(detector.clocks(at(second), run(second)), None);
    }
    assert_eq!(detector.clocks(at(105), run(100)), None, "within the bound");
    let ahead = detector.clocks(at(160), run(100)).unwrap();
    assert_eq!((ahead.kind, ahead.count), (AnomalyKind::ClockTrouble, 60));
    assert!(ahead.sentence().contains("set by 60 s"), "{}", ahead.sentence());
    assert_eq!(detector.clocks(at(161), run(101)), None, "told once");
    let back = detector.clocks(at(0), run(102)).unwrap();
    assert_eq!(back.count, 162);
    // Small steps add up to a reported step.
    let all: Vec<_> = (0..20).filter_map(|n| detector.clocks(at(2 * n), run(102 + n))).collect();
    assert_eq!(all.len(), 3, "{all:?}");
}

/// A clock that was set back must not silence what happens afterwards.
#[test]
fn after_a_clock_was_set_back_anomalies_are_raised() {
    let mut one = detector(5);
    let forged = |second| Event::new(EventKind::TokenRefused(Reason::Malformed), at(second)).from(address(1));
    assert_eq!(raised(&mut one, (0..5).map(|_| forged(100_000))).len(), 1);
    assert_eq!(raised(&mut one, (0..5).map(|_| forged(0))).len(), 1);
}

#[test]
fn any_number_of_addresses_takes_no_more_than_so_many_keys() {
    let keys = 1000;
    let mut detector = Detector::new(Rules::default().keys(keys).unwrap());
    let mut anomalies = 0;
    for n in 0..100_000_u32 {
        let user = subject(n as usize);
        let event = match n % 4 {
            0 => Event::new(EventKind::LogInFailed, START).of(user),
            1 => Event::new(EventKind::TokenRefused(Reason::BadSignature), START),
            2 => Event::new(EventKind::SessionCreated, START).of(user),
            _ => Event::new(EventKind::TokenReuse, START)
                .session(SessionId::from_bytes(u128::from(n).to_le_bytes())),
        };
        anomalies += detector.event(&event.from(address(n))).len();
    }
    // Ten tables, three of which have one or two keys.
    assert!(detector.keys() <= 8 * keys + 3, "{}", detector.keys());
    // Only the first fifty anomalies of a kind are reported.
    assert_eq!(anomalies, 51);
    assert_eq!(detector.suppressed(), 25_000 - 50);
    // A new network is still detected.
    let forged = Event::new(EventKind::TokenRefused(Reason::Malformed), START).from(address(7));
    assert_eq!(raised(&mut detector, (0..20).map(|_| forged.clone())), [(20, AnomalyKind::TokenGuessing)]);
}

#[tokio::test]
async fn a_full_queue_counts_what_it_loses_and_keeps_nobody_waiting() {
    const MORE: u64 = 10_000;
    let (watch, mut watcher) = Watch::new(Rules::default(), Arc::new(SystemClock));
    let now = SystemClock.now();
    let forged = Event::new(EventKind::TokenRefused(Reason::Malformed), now).from(address(1));
    // Nothing reads the queue: if `record` waited for room, it would wait
    // forever.
    for _ in 0..MORE {
        watch.record(forged.clone());
    }
    let dropped = watch.dropped();
    assert_eq!(dropped, MORE - 4096);
    assert_eq!(watcher.next().await.unwrap().kind, AnomalyKind::TokenGuessing);
    // Events that no rule counts are not queued.
    watch.record(Event::new(EventKind::LogInSucceeded, now));
    drop(watch);
    assert_eq!(watcher.next().await, None, "the queue is at its end");
}

/// `docs/operations.md` lists each kind with the defaults of the code.
#[test]
fn the_documented_defaults_are_the_defaults() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let page = std::fs::read_to_string(page).unwrap();
    for &kind in AnomalyKind::ALL {
        let (rule, names) = (Rules::default().of(kind), kind.names());
        let (threshold, window) = (rule.threshold(), rule.window().as_secs());
        let row = format!("| `{}` | {threshold} in {window} s | `{}` |", names.name, names.log);
        assert!(page.contains(&row), "{row}");
    }
}

// ---- in a running login service ----
