//! No token is accepted before it was issued, nor at or after its expiry or
//! its session's end. To the second, with random clocks, and at the extremes.

use std::time::Duration;

use hallpass::{ConfigError, KeySet, LifetimeSettings, Lifetimes, Reason, UnixTime, Verifier};
use proptest::prelude::*;

use crate::support::raw::{NOW, Part, claims, label, token, uint};
use crate::support::test_keys::TestKey;

const LAST: u64 = 253_402_300_799;

fn at(seconds: u64) -> UnixTime {
    UnixTime::from_secs(seconds).unwrap()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn verifier(leeway: u64) -> Verifier {
    Verifier::builder(TestKey::key_set()).leeway(secs(leeway)).without_revocations().build().unwrap()
}

/// A correctly signed token with these times.
fn timed(started: u64, issued: u64, expires: u64, ends: u64) -> String {
    let part = Part { started: uint(started), ends: uint(ends), auth_time: uint(started), ..Part::default() };
    token(
        TestKey::Session,
        &claims()
            .with(label::EXP, uint(expires))
            .with(label::IAT, uint(issued))
            .with(label::SESSION, part.encode()),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// The whole rule, with clocks anywhere and clocks near each bound.
    #[test]
    fn accepted_exactly_while_it_lives(
        started in 1_u64..4_000_000_000,
        age in 0_u64..100_000,
        life in 1_u64..100_000,
        rest in 0_u64..100_000,
        leeway in 0_u64..=60,
        near in 0_usize..4,
        off in -70_i64..70,
        anywhere in 0..LAST,
    ) {
        let (issued, expires) = (started + age, started + age + life);
        let ends = expires + rest;
        let token = timed(started, issued, expires, ends);
        let now = [issued.saturating_add_signed(off), expires.saturating_add_signed(off), ends.saturating_add_signed(off), anywhere][near];
        let expected = if issued > now + leeway {
            Some(Reason::NotYetValid)
        } else if now >= ends + leeway {
            Some(Reason::SessionEnded)
        } else if now >= expires + leeway {
            Some(Reason::Expired)
        } else {
            None
        };
        let answer = verifier(leeway).verify::<()>(&token, at(now)).err().map(|r| r.reason());
        prop_assert_eq!(answer, expected);
    }

    /// Any times at all: refused as contradictory, or held to the rule.
    #[test]
    fn no_times_are_accepted_too_late(times in proptest::array::uniform5(any::<u64>()), shifts in proptest::array::uniform5(0_u32..64), leeway in 0_u64..=60) {
        let mut t = times;
        for (time, shift) in t.iter_mut().zip(shifts) {
            *time >>= shift;
        }
        let [started, issued, expires, ends, now] = t;
        let now = UnixTime::saturating_from_secs(now);
        if verifier(leeway).verify::<()>(timed(started, issued, expires, ends), now).is_ok() {
            prop_assert!(now.as_secs() < expires.min(ends) + leeway);
            prop_assert!(started <= issued && issued <= now.as_secs() + leeway && issued < expires && expires <= ends);
        }
    }

    /// Settings are refused, or hold every bound between them.
    #[test]
    fn lifetimes_that_are_accepted_fit_together(
        age in proptest::option::of(duration()), idle in proptest::option::of(duration()), renew in proptest::option::of(duration()), absolute in duration(),
        leeway in duration(), grace in proptest::option::of(duration()),
        issued in 0..LAST, lived in 0..LAST, now in 0..LAST,
    ) {
        let settings = LifetimeSettings { token_max_age: age, idle_timeout: idle, renew_after: renew, absolute_lifetime: absolute, leeway, renewal_grace: grace };
        match Lifetimes::new(settings) {
            Err(error) => prop_assert!(matches!(error, ConfigError::Lifetimes(_))),
            Ok(lifetimes) => {
                prop_assert!(lifetimes.token_max_age() >= secs(1));
                prop_assert!(lifetimes.token_max_age() <= lifetimes.idle_timeout());
                prop_assert!(lifetimes.idle_timeout() <= lifetimes.absolute_lifetime());
                prop_assert!(lifetimes.absolute_lifetime() <= Lifetimes::MAX_ABSOLUTE);
                prop_assert!(lifetimes.leeway() <= secs(60));
                prop_assert!(lifetimes.renewal_grace() * 2 <= lifetimes.renew_after());
                prop_assert!(lifetimes.renew_after() <= lifetimes.token_max_age());
                let (issued, ends) = (at(issued), at(issued).saturating_add(secs(lived)));
                let expiry = lifetimes.expiry(issued, ends);
                prop_assert!(expiry <= ends && expiry <= issued.saturating_add(lifetimes.token_max_age()));
                let renewable = lifetimes.renewable_until(issued, expiry, ends);
                prop_assert!(expiry <= renewable && renewable <= ends);
                prop_assert!(renewable <= issued.saturating_add(lifetimes.idle_timeout()));
                if lifetimes.due(issued, expiry, ends, at(now)) {
                    prop_assert!(expiry < ends && at(now) >= issued.saturating_add(lifetimes.renew_after()));
                }
            }
        }
    }
}

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (0_u64..100).prop_map(secs),
        (0_u64..50_000_000).prop_map(secs),
        any::<u64>().prop_map(secs),
        (0_u64..1000).prop_map(Duration::from_millis),
        Just(Duration::MAX),
    ]
}

/// tymondesigns/jwt-auth#1053: one second of skew.
#[test]
fn both_sides_to_the_second() {
    let token = timed(NOW - 100, NOW, NOW + 10, NOW + 20);
    for leeway in [0, 1, 5, 60] {
        let says = |now: u64| verifier(leeway).verify::<()>(&token, at(now)).err().map(|r| r.reason());
        assert_eq!(says(NOW - leeway - 1), Some(Reason::NotYetValid), "leeway {leeway}");
        assert_eq!(says(NOW - leeway), None);
        assert_eq!(says(NOW + 10 + leeway - 1), None);
        assert_eq!(says(NOW + 10 + leeway), Some(Reason::Expired));
        assert_eq!(says(NOW + 20 + leeway - 1), Some(Reason::Expired));
        assert_eq!(says(NOW + 20 + leeway), Some(Reason::SessionEnded));
    }
}

#[test]
fn the_ends_of_time() {
    let eternal = timed(0, 0, LAST, LAST);
    assert!(verifier(60).verify::<()>(&eternal, UnixTime::EPOCH).is_ok());
    assert!(verifier(0).verify::<()>(&eternal, at(LAST - 1)).is_ok());
    // Leeway saturates, and so there is no second after the last.
    for leeway in [0, 60] {
        let answer = verifier(leeway).verify::<()>(&eternal, UnixTime::MAX).unwrap_err();
        assert_eq!(answer.reason(), Reason::SessionEnded);
    }
}

#[test]
fn unix_time_saturates_and_reads_what_it_writes() {
    assert_eq!(UnixTime::from_secs(LAST), Some(UnixTime::MAX));
    assert_eq!(UnixTime::from_secs(LAST + 1), None);
    assert_eq!(UnixTime::saturating_from_secs(u64::MAX), UnixTime::MAX);
    assert_eq!(UnixTime::MAX.saturating_add(Duration::MAX), UnixTime::MAX);
    assert_eq!(UnixTime::EPOCH.saturating_add(Duration::MAX), UnixTime::MAX);
    assert_eq!(UnixTime::MAX.saturating_sub(Duration::MAX), UnixTime::EPOCH);
    assert_eq!(UnixTime::EPOCH.since(UnixTime::MAX), Duration::ZERO);
    assert_eq!(UnixTime::MAX.since(UnixTime::EPOCH), secs(LAST));
    assert_eq!(UnixTime::MAX.to_string(), "9999-12-31T23:59:59Z");
    assert_eq!(UnixTime::EPOCH.to_string(), "1970-01-01T00:00:00Z");
    for text in ["2026-09-21T14:13:20Z", "2026-09-21T16:13:20+02:00", "2026-09-21T14:13:20.999999999Z"] {
        assert_eq!(UnixTime::parse_rfc3339(text), Some(at(NOW)), "{text}");
    }
    for text in [
        "",
        "1969-12-31T23:59:59Z",
        "2026-09-21",
        "2026-09-21T14:13:20",
        "10000-01-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "9999-12-31T23:59:59-01:00",
    ] {
        assert_eq!(UnixTime::parse_rfc3339(text), None, "{text}");
    }
}

/// The defaults, and every bound on its own.
#[test]
fn defaults_and_bounds() {
    let defaults = Lifetimes::default();
    assert_eq!(Lifetimes::new(LifetimeSettings::default()).unwrap(), defaults);
    assert_eq!(defaults.token_max_age(), secs(15 * 60));
    assert_eq!(defaults.idle_timeout(), secs(15 * 60));
    assert_eq!(defaults.renew_after(), secs(15 * 60 / 2));
    assert_eq!(defaults.absolute_lifetime(), secs(12 * 3600));
    assert_eq!(defaults.leeway(), secs(5));
    assert_eq!(defaults.renewal_grace(), secs(60));

    let check = |change: &dyn Fn(&mut LifetimeSettings)| {
        let mut settings = LifetimeSettings::default();
        change(&mut settings);
        Lifetimes::new(settings).map_err(|error| error.to_string())
    };
    for (named, change) in [
        (
            "idle_timeout",
            &(|s: &mut LifetimeSettings| s.idle_timeout = Some(secs(0))) as &dyn Fn(&mut LifetimeSettings),
        ),
        ("token_max_age", &|s| s.token_max_age = Some(secs(0))),
        ("token_max_age", &|s| s.token_max_age = Some(secs(12 * 3600 + 1))),
        ("token_max_age must be whole", &|s| s.token_max_age = Some(Duration::from_millis(1500))),
        ("idle_timeout", &|s| (s.token_max_age, s.idle_timeout) = (Some(secs(900)), Some(secs(899)))),
        ("idle_timeout", &|s| s.idle_timeout = Some(secs(12 * 3600 + 1))),
        ("idle_timeout", &|s| s.idle_timeout = Some(Duration::MAX)),
        ("idle_timeout must be whole", &|s| s.idle_timeout = Some(Duration::from_millis(900_500))),
        ("absolute_lifetime", &|s| s.absolute_lifetime = secs(0)),
        ("absolute_lifetime", &|s| s.absolute_lifetime = secs(400 * 86400 + 1)),
        ("absolute_lifetime", &|s| s.absolute_lifetime = Duration::MAX),
        ("leeway", &|s| s.leeway = secs(61)),
        ("leeway must be whole", &|s| s.leeway = Duration::from_millis(1)),
        ("renew_after", &|s| s.renew_after = Some(secs(901))),
        ("renew_after must be whole", &|s| s.renew_after = Some(Duration::from_nanos(1))),
        ("renewal_grace", &|s| s.renewal_grace = Some(secs(226))),
        ("renewal_grace", &|s| (s.renew_after, s.renewal_grace) = (Some(secs(100)), Some(secs(51)))),
        ("renewal_grace must be whole", &|s| s.renewal_grace = Some(Duration::from_millis(1))),
    ] {
        let error = check(change).unwrap_err();
        assert!(error.starts_with(named), "{named}: {error}");
    }
    for change in [
        &(|s: &mut LifetimeSettings| s.idle_timeout = Some(secs(1))) as &dyn Fn(&mut LifetimeSettings),
        &|s| s.idle_timeout = Some(secs(12 * 3600)),
        &|s| s.token_max_age = Some(secs(12 * 3600)),
        &|s| (s.token_max_age, s.absolute_lifetime) = (Some(secs(300)), secs(300)),
        &|s| s.absolute_lifetime = secs(60),
        &|s| s.absolute_lifetime = secs(400 * 86400),
        &|s| s.leeway = secs(0),
        &|s| s.leeway = secs(60),
        &|s| s.renew_after = Some(secs(900)),
        &|s| s.renewal_grace = Some(secs(225)),
        &|s| s.renewal_grace = Some(secs(0)),
    ] {
        check(change).unwrap();
    }
}

#[test]
fn due_is_half_way_and_never_in_the_last_token() {
    let lifetimes = Lifetimes::default();
    let (issued, ends) = (at(NOW), at(NOW + 43_200));
    let expires = lifetimes.expiry(issued, ends);
    assert_eq!(expires, at(NOW + 900));
    assert!(!lifetimes.due(issued, expires, ends, at(NOW + 449)));
    assert!(lifetimes.due(issued, expires, ends, at(NOW + 450)));
    assert!(!lifetimes.due(issued, ends, ends, at(NOW + 450)));
    assert_eq!(lifetimes.expiry(at(NOW + 43_000), ends), ends);
}

/// Set-up: required settings must be given, excessive ones are refused.
#[test]
fn a_verifier_must_be_told_where_revocations_come_from() {
    let keys: KeySet = TestKey::key_set();
    let error = Verifier::builder(keys.clone()).audience("store").build().unwrap_err();
    assert!(matches!(error, ConfigError::Builder(why) if why.contains("revocations")), "{error}");
    for leeway in [secs(61), Duration::MAX, Duration::from_millis(500)] {
        let error = Verifier::builder(keys.clone()).leeway(leeway).without_revocations().build().unwrap_err();
        assert!(matches!(error, ConfigError::Lifetimes(_)), "{error}");
    }
    assert!(Verifier::builder(keys).leeway(secs(60)).without_revocations().build().is_ok());
}

/// Keys that are replaced count at once, and retired ones from their second on.
#[test]
fn a_key_that_is_gone_or_retired_verifies_nothing() {
    use hallpass::{Algorithm, LiveKeys, VerifyingKey};
    let good = token(TestKey::Session, &claims());
    let key = |key: TestKey| VerifyingKey::new(&key.public(), Algorithm::EdDsa).unwrap();
    let live = LiveKeys::from(KeySet::new([key(TestKey::Session).retiring(Some(at(NOW + 100)))]).unwrap());
    let verifier = Verifier::builder(live.clone()).without_revocations().build().unwrap();
    let says = |now: u64| verifier.verify::<()>(&good, at(now)).err().map(|r| r.reason());
    assert_eq!(says(NOW + 99), None);
    assert_eq!(says(NOW + 100), Some(Reason::UnknownKey));
    live.replace(KeySet::new([key(TestKey::Feed)]).unwrap());
    assert_eq!(says(NOW + 10), Some(Reason::UnknownKey));
    assert_eq!(verifier.keys().current().iter().len(), 1);
    live.replace(KeySet::new([key(TestKey::Session)]).unwrap());
    assert_eq!(says(NOW + 10), None);
}
