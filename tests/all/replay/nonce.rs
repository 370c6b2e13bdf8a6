//! The nonce cache beside a model of it, and under several threads.

use std::collections::{HashMap, HashSet};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hallpass::replay::{NonceSettings, Purpose, SingleUse};
use hallpass::{NonceCache, Reason, SessionId, UnixTime};
use proptest::prelude::*;

const LEEWAY: Duration = Duration::from_secs(5);
const BASE: u64 = 1_800_000_000;

fn at(seconds: u64) -> UnixTime {
    UnixTime::from_secs(BASE + seconds).unwrap()
}

fn session(n: u64) -> SessionId {
    SessionId::from_bytes(u128::from(n).to_be_bytes())
}

fn single_use(session_no: u64, nonce: u128, issued: u64, until: u64) -> SingleUse {
    SingleUse {
        session: session(session_no),
        nonce: nonce.to_be_bytes(),
        issued: at(issued),
        until: at(until),
    }
}

fn cache(tickets: usize, proofs: usize) -> NonceCache {
    NonceCache::with_settings(NonceSettings { tickets, proofs }, at(0)).unwrap()
}

fn admit(cache: &NonceCache, purpose: Purpose, used: &SingleUse, now: u64) -> Result<(), Reason> {
    cache.admit(purpose, used, LEEWAY, at(now)).map_err(|rejection| rejection.reason())
}

/// The same rules in their simplest form.
struct Model {
    started: UnixTime,
    latest: UnixTime,
    live: HashMap<(Purpose, SessionId, [u8; 16]), UnixTime>,
    tickets: usize,
    proofs: usize,
}

impl Model {
    fn admit(&mut self, purpose: Purpose, used: &SingleUse, now: UnixTime) -> Result<(), Reason> {
        self.latest = self.latest.max(now);
        if used.issued <= self.started.saturating_add(LEEWAY) || used.until <= self.latest {
            return Err(Reason::Replayed);
        }
        self.live.retain(|_, until| *until > self.latest);
        let key = (purpose, used.session, used.nonce);
        if self.live.contains_key(&key) {
            return Err(Reason::Replayed);
        }
        let (capacity, quota) = match purpose {
            Purpose::Ticket => (self.tickets, 64),
            _ => (self.proofs, (self.proofs / 64).max(1)),
        };
        let of = |session: Option<SessionId>| {
            self.live.keys().filter(|(p, s, _)| *p == purpose && session.is_none_or(|it| it == *s)).count()
        };
        if of(Some(used.session)) >= quota || of(None) >= capacity {
            return Err(Reason::Capacity);
        }
        self.live.insert(key, used.until);
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Op {
    /// Present the item of this number.
    Use(Purpose, usize),
    /// The clock moves.
    Step(i64),
    /// The process ends and starts again, at the largest time seen or later.
    Restart(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => (prop_oneof![Just(Purpose::Ticket), Just(Purpose::Proof)], any::<usize>()).prop_map(|(p, i)| Op::Use(p, i)),
        6 => (0_i64..4).prop_map(Op::Step),
        1 => (-60_i64..60).prop_map(Op::Step),
        1 => (0_u64..3).prop_map(Op::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_the_model_does_and_accepts_nothing_twice(
        // Session, nonce, issued, lifetime. Few of each, so that they meet.
        items in prop::collection::vec((0_u64..6, 0_u128..40, 0_u64..120, 1_u64..60), 1..200),
        tickets in 1_usize..90,
        proofs in 1_usize..200,
        ops in prop::collection::vec(op(), 1..600),
    ) {
        // One nonce of one session is one thing: its times are signed.
        let mut things: HashMap<(u64, u128), SingleUse> = HashMap::new();
        for (session_no, nonce, issued, lifetime) in items {
            let used = single_use(session_no, nonce, issued, issued + lifetime + LEEWAY.as_secs());
            things.entry((session_no, nonce)).or_insert(used);
        }
        let mut things: Vec<_> = things.into_iter().collect();
        things.sort_unstable_by_key(|(key, _)| *key);

        let mut subject = cache(tickets, proofs);
        let mut model = Model { started: at(0), latest: at(0), live: HashMap::new(), tickets, proofs };
        let mut now = 20_u64;
        let mut accepted = HashSet::new();
        for op in ops {
            match op {
                Op::Step(by) => now = now.saturating_add_signed(by),
                Op::Restart(after) => {
                    now = model.latest.as_secs() - BASE + after;
                    let settings = NonceSettings { tickets, proofs };
                    subject = NonceCache::with_settings(settings, at(now)).unwrap();
                    model = Model { started: at(now), latest: at(now), live: HashMap::new(), ..model };
                }
                Op::Use(purpose, index) => {
                    let (key, used) = &things[index % things.len()];
                    // Every other check comes before, and this is one.
                    if used.issued > at(now).saturating_add(LEEWAY) || at(now) >= used.until {
                        continue;
                    }
                    let verdict = admit(&subject, purpose, used, now);
                    prop_assert_eq!(verdict, model.admit(purpose, used, at(now)));
                    if verdict.is_ok() {
                        prop_assert!(accepted.insert((purpose, *key)), "accepted twice");
                    }
                    let stats = subject.stats(purpose);
                    let live = |((p, ..), until): &(&(Purpose, _, _), &UnixTime)| {
                        *p == purpose && **until > model.latest
                    };
                    let live = model.live.iter().filter(live).count();
                    prop_assert!((live..=stats.capacity).contains(&stats.entries));
                }
            }
        }
    }
}

#[test]
fn purposes_do_not_meet() {
    let cache = cache(64, 64);
    let used = single_use(1, 1, 10, 60);
    assert_eq!(admit(&cache, Purpose::Ticket, &used, 10), Ok(()));
    assert_eq!(admit(&cache, Purpose::Proof, &used, 10), Ok(()));
    assert_eq!(admit(&cache, Purpose::Ticket, &used, 10), Err(Reason::Replayed));
}

#[test]
fn it_is_kept_to_the_last_second_and_not_revived_by_the_clock() {
    let cache = cache(64, 64);
    let used = single_use(1, 1, 10, 60);
    assert_eq!(admit(&cache, Purpose::Ticket, &used, 10), Ok(()));
    assert_eq!(admit(&cache, Purpose::Ticket, &used, 59), Err(Reason::Replayed));
    // Another comes by when it is over, and the clock steps back.
    assert_eq!(admit(&cache, Purpose::Ticket, &single_use(1, 2, 50, 90), 60), Ok(()));
    assert_eq!(cache.stats(Purpose::Ticket).entries, 1, "the first was dropped");
    assert_eq!(admit(&cache, Purpose::Ticket, &used, 20), Err(Reason::Replayed));
    assert_eq!(cache.stats(Purpose::Ticket).clock_behind, 1);
}

#[test]
fn what_was_issued_before_the_start_is_refused_to_the_second() {
    let cache = cache(64, 64);
    assert_eq!(admit(&cache, Purpose::Ticket, &single_use(1, 1, 5, 60), 6), Err(Reason::Replayed));
    assert_eq!(admit(&cache, Purpose::Ticket, &single_use(1, 1, 6, 60), 6), Ok(()));
    assert_eq!(cache.stats(Purpose::Ticket).before_start, 1);
}

#[test]
fn a_full_cache_refuses_and_forgets_nothing() {
    let cache = cache(100, 64);
    for n in 0..100 {
        let used = single_use(n, 7, 10, if n < 50 { 60 } else { 90 });
        assert_eq!(admit(&cache, Purpose::Ticket, &used, 10), Ok(()));
    }
    for n in 100..1_000 {
        let verdict = admit(&cache, Purpose::Ticket, &single_use(n, 7, 10, 90), 59);
        assert_eq!(verdict, Err(Reason::Capacity));
    }
    assert_eq!(cache.stats(Purpose::Ticket).full, 900);
    for n in 0..100 {
        let used = single_use(n, 7, 10, if n < 50 { 60 } else { 90 });
        assert_eq!(admit(&cache, Purpose::Ticket, &used, 59), Err(Reason::Replayed));
    }
    // A second later 50 are over, in whatever shards they are.
    let fit = (100..1_000).filter(|n| admit(&cache, Purpose::Ticket, &single_use(*n, 7, 10, 90), 60).is_ok());
    assert_eq!(fit.count(), 50);
    assert_eq!(cache.stats(Purpose::Ticket).entries, 100);
}

#[test]
fn one_session_cannot_fill_it() {
    for (purpose, quota) in [(Purpose::Ticket, 64), (Purpose::Proof, 100)] {
        let cache = cache(1_000, 6_400);
        let accepted = (0..1_000).filter(|n| admit(&cache, purpose, &single_use(1, *n, 10, 60), 10).is_ok());
        assert_eq!(accepted.count(), quota);
        let stats = cache.stats(purpose);
        assert_eq!((stats.entries, stats.over_quota), (quota, 1_000 - quota as u64));
        assert_eq!(admit(&cache, purpose, &single_use(2, 0, 10, 60), 10), Ok(()), "another session's");
        assert_eq!(admit(&cache, purpose, &single_use(1, 5_000, 60, 90), 60), Ok(()), "when they are over");
    }
}

#[test]
fn capacities_are_bounded() {
    for (tickets, proofs) in [(0, 1), (1, 0), (NonceCache::MAX_CAPACITY + 1, 1), (1, usize::MAX)] {
        assert!(NonceCache::with_settings(NonceSettings { tickets, proofs }, at(0)).is_err());
    }
}

/// Runs `work` on so many threads, which start together.
fn together(threads: usize, work: impl Fn(usize) + Sync) {
    let barrier = Barrier::new(threads);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (barrier, work) = (&barrier, &work);
            scope.spawn(move || {
                barrier.wait();
                work(thread);
            });
        }
    });
}

#[test]
fn of_many_uses_at_once_one_is_accepted() {
    let cache = cache(10_000, 10_000);
    for round in 0..200 {
        let accepted = AtomicUsize::new(0);
        let used = single_use(round, round.into(), 10, 60);
        together(8, |_| {
            if admit(&cache, Purpose::Ticket, &used, 10).is_ok() {
                accepted.fetch_add(1, Ordering::Relaxed);
            }
        });
        assert_eq!(accepted.into_inner(), 1);
    }
}

/// Threads whose clocks disagree: some are ahead and drop what has expired, some
/// are behind and present it again.
#[test]
fn clocks_that_disagree_accept_nothing_twice() {
    let cache = cache(1 << 16, 64);
    let accepted: Vec<_> = (0..2_000).map(|_| AtomicUsize::new(0)).collect();
    together(4, |thread| {
        for (n, accepted) in accepted.iter().enumerate() {
            // Over at n + 20; the even threads are already there.
            let used = single_use(0, n as u128, n as u64 + 10, n as u64 + 20);
            for ahead in [0, 5, 9] {
                if admit(&cache, Purpose::Ticket, &used, n as u64 + 10 + ahead).is_ok() {
                    accepted.fetch_add(1, Ordering::Relaxed);
                }
            }
            if thread % 2 == 0 {
                let other = single_use(1, n as u128, n as u64 + 15, n as u64 + 60);
                let _ = admit(&cache, Purpose::Ticket, &other, n as u64 + 20);
            }
        }
    });
    assert!(accepted.iter().all(|count| count.load(Ordering::Relaxed) <= 1));
}

#[test]
fn it_is_filled_to_the_last_place_by_many() {
    let cache = cache(5_000, 64);
    let accepted = AtomicUsize::new(0);
    together(4, |thread| {
        for n in 0..2_000_u64 {
            let used = single_use(n, thread as u128, 10, 60);
            if admit(&cache, Purpose::Ticket, &used, 10).is_ok() {
                accepted.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    assert_eq!(accepted.into_inner(), 5_000);
    assert_eq!(cache.stats(Purpose::Ticket).entries, 5_000);
}
