//! The renewal rule against a model with many browser tabs, aborted fetches,
//! proxies that drop cookies, clock steps, and thieves. The rule is pure, so a
//! history takes microseconds.
//!
//! proptest generates the histories and shrinks one that fails. `PROPTEST_CASES`
//! sets the number of each kind.
#![expect(clippy::unwrap_used, reason = "also in the helpers of tests")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hallpass::issuer::ledger::rule::{Backing, Judgement, Presented, Row, SigningKeyIds, renew};
use hallpass::{KeyId, LifetimeSettings, Lifetimes, UnixTime};
use proptest::prelude::*;

const KEYS: [KeyId; 2] = [KeyId::from_bytes([1; 8]), KeyId::from_bytes([2; 8])];

/// The random choices of a history. Zero is the simplest choice, and the default
/// when none are left: a shorter history is simpler.
#[derive(Clone, Debug)]
struct Choices(std::vec::IntoIter<u16>);

impl Choices {
    fn below(&mut self, n: u64) -> u64 {
        u64::from(self.0.next().unwrap_or(0)) % n
    }

    /// Up to a number that may be above 2^16.
    fn long(&mut self, n: u64) -> u64 {
        (self.below(1 << 16) * n) >> 16
    }

    /// At most `off` from `n`, on both sides.
    fn around(&mut self, n: u64, off: u64) -> u64 {
        n.saturating_sub(off) + self.below(2 * off)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == n - 1
    }

    fn are_left(&self) -> bool {
        self.0.len() > 0
    }
}

/// Generates mostly short histories, and a few that last until the session ends.
fn choices() -> impl Strategy<Value = Choices> {
    let any = |length| prop::collection::vec(any::<u16>(), length);
    prop_oneof![30 => any(0..150), 9 => any(150..600), 1 => any(2_000..3_000)]
        .prop_map(|drawn| Choices(drawn.into_iter()))
}

fn config(default: u32) -> ProptestConfig {
    let set = std::env::var("PROPTEST_CASES").is_ok();
    let cases = if set { ProptestConfig::default().cases } else { default };
    // Not every lifetime leaves an active browser room.
    let max_global_rejects = cases.saturating_mul(10);
    ProptestConfig {
        cases,
        max_global_rejects,
        failure_persistence: None,
        max_shrink_iters: 50_000,
        ..ProptestConfig::default()
    }
}

/// The issuer with its row and its clock.
struct Issuer {
    row: Option<Row>,
    backing: Backing,
    lifetimes: Lifetimes,
    clock: u64,
    key: usize,
}

impl Issuer {
    fn new(random: &mut Choices) -> (Self, Presented) {
        let lifetimes = lifetimes(random);
        let backing = if random.one_in(3) { Backing::CacheOnly } else { Backing::Store };
        let clock = 1_790_000_000;
        let now = UnixTime::from_secs(clock).unwrap();
        let ends = now.saturating_add(lifetimes.absolute_lifetime());
        let first = Presented {
            generation: 0,
            issued: now,
            expires: lifetimes.expiry(now, ends),
            ends,
            key_id: KEYS[0],
            carried: [7; 32],
        };
        (Self { row: Some(Row::newest(&first, &lifetimes)), backing, lifetimes, clock, key: 0 }, first)
    }

    fn now(&self) -> UnixTime {
        UnixTime::from_secs(self.clock).unwrap()
    }

    /// Returns the verdict. Stores the row and checks a successor's times.
    fn renew(&mut self, token: &Presented) -> Judgement {
        let keys = SigningKeyIds { newest: KEYS[self.key], available: &KEYS };
        let verdict = renew(self.row, self.backing, token, &self.lifetimes, keys, self.now());
        match verdict {
            Judgement::Keep(row) => self.row = Some(row),
            Judgement::Successor(row) => {
                self.row = Some(row);
                let next = successor(token, row);
                assert!(next.issued < next.expires && next.expires <= next.ends, "{token:?} {next:?}");
                assert!(next.issued >= token.issued, "{token:?} {next:?}");
                assert!((next.generation, next.issued) > (token.generation, token.issued));
            }
            _ => {}
        }
        verdict
    }
}

fn successor(token: &Presented, row: Row) -> Presented {
    Presented {
        generation: row.generation,
        issued: row.issued,
        expires: row.expires,
        key_id: row.key_id,
        ..*token
    }
}

/// Returns any valid lifetimes that leave time for the network.
fn lifetimes(random: &mut Choices) -> Lifetimes {
    let max_age = 240 + random.below(1800);
    let renew_after = if random.one_in(2) { max_age / 2 } else { 120 + random.below(max_age - 120) };
    let grace = 60 + random.below(renew_after / 2 - 59);
    // As long as a token, a few of them, or months.
    let idle = match random.below(3) {
        0 => max_age,
        1 => max_age + random.below(6000),
        _ => max_age + 600 * random.below(u64::from(u16::MAX) / 5),
    };
    Lifetimes::new(LifetimeSettings {
        token_max_age: Some(Duration::from_secs(max_age)),
        idle_timeout: Some(Duration::from_secs(idle)),
        renew_after: Some(Duration::from_secs(renew_after)),
        absolute_lifetime: Duration::from_secs(idle + random.below(40_000)),
        leeway: Duration::from_secs(random.below(8)),
        renewal_grace: Some(Duration::from_secs(grace)),
    })
    .unwrap()
}

/// The longest time in seconds for a request or an answer. A round trip and a
/// small clock step fit into the smallest grace.
const SLOWEST: u64 = 20;
const SMALL_STEP: u64 = 15;

enum Wire {
    /// A token on its way to the issuer, and whether the client will take the
    /// answer.
    Request(Presented, bool),
    /// The token that an answer sets, on its way to the cookie jar.
    Answer(Presented),
}

/// A browser with one cookie jar and any number of requests in flight.
struct Browser {
    jar: Presented,
    /// Messages in flight, each with its real time of arrival.
    wire: Vec<(u64, Wire)>,
    real: u64,
    loses_answers: u64,
}

impl Browser {
    /// Sends requests from up to seven tabs.
    fn send(&mut self, random: &mut Choices) {
        for _ in 0..=random.below(6) {
            let kept = !(self.loses_answers > 0 && random.one_in(self.loses_answers));
            self.wire.push((self.real + random.below(SLOWEST), Wire::Request(self.jar, kept)));
        }
    }

    /// Lets real time pass, and delivers messages in order of arrival.
    fn pass(&mut self, seconds: u64, issuer: &mut Issuer, random: &mut Choices) -> Result<(), Judgement> {
        let until = self.real + seconds;
        loop {
            let next =
                (0..self.wire.len()).min_by_key(|&i| self.wire[i].0).filter(|&i| self.wire[i].0 <= until);
            let Some(next) = next else { break };
            let (at, what) = self.wire.swap_remove(next);
            issuer.clock += at - self.real;
            self.real = at;
            match what {
                Wire::Answer(token) => self.jar = token,
                Wire::Request(token, kept) => match issuer.renew(&token) {
                    Judgement::Successor(row) => {
                        if kept {
                            let answer = Wire::Answer(successor(&token, row));
                            self.wire.push((at + random.below(SLOWEST), answer));
                        }
                    }
                    Judgement::Keep(_) | Judgement::NotYetValid => {}
                    refused => return Err(refused),
                },
            }
        }
        issuer.clock += until - self.real;
        self.real = until;
        Ok(())
    }
}

/// Runs one history of an honest browser. `Err` if it was logged out for any
/// reason other than idleness or the session's end.
fn honest(mut random: Choices) -> Result<u64, String> {
    let (mut issuer, first) = Issuer::new(&mut random);
    let loses_answers = [0, 2, 5, 20][usize::try_from(random.below(4)).unwrap()];
    let steps = random.one_in(2);
    let mut browser = Browser { jar: first, wire: Vec::new(), real: 0, loses_answers };
    let mut renewals = 0;
    while random.are_left() {
        let before = browser.jar.generation;
        browser.send(&mut random);
        let idle = issuer.lifetimes.idle_timeout().as_secs();
        let pause = match random.below(7) {
            0 | 1 => random.below(3),
            2 | 3 => random.below(40),
            4 => random.below(issuer.lifetimes.token_max_age().as_secs()),
            // When the token is about to expire.
            5 => random.around(issuer.lifetimes.token_max_age().as_secs(), 3 * SLOWEST),
            // An owner who comes back after days.
            _ => random.long(idle),
        };
        match browser.pass(pause, &mut issuer, &mut random) {
            Ok(()) => {}
            // Idle for too long, or no answer arrived: either is a proper end.
            Err(Judgement::Expired | Judgement::SessionEnded) => return Ok(renewals),
            Err(verdict) => {
                return Err(format!("{verdict:?} at {:?} with {:?}", issuer.clock, issuer.row));
            }
        }
        renewals += u64::from(browser.jar.generation > before);
        let under_way = !browser.wire.is_empty();
        if steps && random.one_in(8) {
            // The clock steps back by any amount, or ahead if nothing is in
            // flight (as after a machine slept).
            match random.below(3) {
                0 => issuer.clock -= random.below(7200),
                1 if !under_way => issuer.clock += random.long(idle),
                _ if !under_way => issuer.clock += random.below(SMALL_STEP),
                _ => {}
            }
        }
        if random.one_in(10) {
            issuer.key = 1 - issuer.key;
        }
        if issuer.backing == Backing::CacheOnly && !under_way && random.one_in(10) {
            issuer.row = None;
        }
    }
    Ok(renewals)
}

#[test]
fn an_honest_browser_is_never_logged_out() {
    let renewals = AtomicU64::new(0);
    proptest!(config(40_000), |(random in choices())| {
        renewals.fetch_add(honest(random).map_err(TestCaseError::fail)?, Ordering::Relaxed);
    });
    // A rule that never renews would pass too, so check that some histories
    // renew.
    assert!(renewals.into_inner() > 0);
}

/// While answers arrive and the user is active, the session lasts to its end.
fn active(mut random: Choices) -> Result<(), TestCaseError> {
    let (mut issuer, first) = Issuer::new(&mut random);
    let mut browser = Browser { jar: first, wire: Vec::new(), real: 0, loses_answers: 0 };
    let lifetimes = issuer.lifetimes;
    // A token stays valid for this long after it is due.
    let room = lifetimes.token_max_age().as_secs() - lifetimes.renew_after().as_secs();
    prop_assume!(room >= 4 * SLOWEST);
    // Months would take too many renewals.
    for _ in 0..500 {
        browser.send(&mut random);
        let pause = SLOWEST + random.below(room - 3 * SLOWEST);
        match browser.pass(pause, &mut issuer, &mut random) {
            Ok(()) => {}
            Err(Judgement::SessionEnded) => return Ok(()),
            Err(Judgement::Expired) => {
                // The last token's exp is the session's end.
                prop_assert!(issuer.now() >= first.ends, "{:?} {:?}", issuer.row, browser.jar);
                return Ok(());
            }
            Err(verdict) => return Err(TestCaseError::fail(format!("{verdict:?}"))),
        }
    }
    Ok(())
}

#[test]
fn an_active_browser_stays_to_the_absolute_end() {
    proptest!(config(2_000), |(random in choices())| active(random)?);
}

/// One of the two holders of the token.
struct Holder {
    token: Presented,
}

impl Holder {
    /// Renews the token. Returns whether the theft was detected.
    fn renew(&mut self, issuer: &mut Issuer) -> bool {
        match issuer.renew(&self.token) {
            Judgement::Successor(row) => {
                self.token = successor(&self.token, row);
                false
            }
            Judgement::Reuse => true,
            _ => false,
        }
    }
}

/// Owner and thief of one token act at random for a while. Then one goes on
/// alone, and finally the other returns. Returns whether the theft was detected
/// before that.
fn theft(mut random: Choices) -> Result<bool, TestCaseError> {
    let (mut issuer, first) = Issuer::new(&mut random);
    let long = issuer.lifetimes.renew_after().as_secs();
    let mut holders = [Holder { token: first }, Holder { token: first }];
    let mut found = false;
    for _ in 0..random.below(12) {
        let who = usize::try_from(random.below(2)).unwrap();
        found |= !found && holders[who].renew(&mut issuer);
        issuer.clock += random.below(long / 2);
        if random.one_in(6) {
            issuer.clock -= random.below(100);
        }
    }
    let active = usize::try_from(random.below(2)).unwrap();
    let (generation, stale) = (holders[active].token.generation, holders[1 - active].token);
    let mut ahead = generation.saturating_sub(stale.generation);
    let target = stale.generation + 2;
    for _ in 0..12 {
        if found || ahead >= 2 {
            break;
        }
        issuer.clock += long;
        found |= holders[active].renew(&mut issuer);
        ahead = holders[active].token.generation.saturating_sub(stale.generation);
    }
    // The theft was found, or the session ended, before they diverged.
    if found || holders[active].token.generation < target || issuer.now() >= first.ends {
        return Ok(found);
    }
    // The other returns at once or much later; reuse is detected until the
    // idle timeout or the session's end.
    issuer.clock += random.long(issuer.lifetimes.idle_timeout().as_secs());
    if issuer.now() < issuer.row.unwrap().renewable_until {
        prop_assert_eq!(issuer.renew(&stale), Judgement::Reuse, "{:?} {:?}", issuer.row, stale);
    }
    Ok(false)
}

#[test]
fn a_thief_who_replays_an_old_token_is_always_found() {
    let found_early = AtomicU64::new(0);
    proptest!(config(40_000), |(random in choices())| {
        found_early.fetch_add(theft(random)?.into(), Ordering::Relaxed);
    });
    assert!(found_early.into_inner() > 0);
}

/// A token whose successor was seen in use more than a grace ago.
fn one_behind(mut random: Choices) -> Result<(), TestCaseError> {
    let (mut issuer, first) = Issuer::new(&mut random);
    issuer.clock += issuer.lifetimes.renew_after().as_secs();
    let Judgement::Successor(row) = issuer.renew(&first) else { return Ok(()) };
    let next = successor(&first, row);
    issuer.clock += random.below(30);
    let _ = issuer.renew(&next);
    let grace = issuer.lifetimes.renewal_grace().as_secs();
    let wait = random.below(2 * grace);
    issuer.clock += wait;
    let renewable = issuer.row.unwrap().renewable_until;
    let idle = issuer.now() >= renewable.saturating_add(issuer.lifetimes.leeway());
    let ended = issuer.now() >= first.ends.saturating_add(issuer.lifetimes.leeway());
    let verdict = issuer.renew(&first);
    match (ended, idle, wait > grace) {
        (true, ..) => prop_assert_eq!(verdict, Judgement::SessionEnded),
        (_, true, _) => prop_assert_eq!(verdict, Judgement::Expired),
        (_, _, true) => prop_assert_eq!(verdict, Judgement::Reuse),
        (_, _, false) => prop_assert!(matches!(verdict, Judgement::Successor(_)), "{verdict:?}"),
    }
    Ok(())
}

#[test]
fn one_generation_behind_is_found_once_the_grace_has_passed() {
    proptest!(config(30_000), |(random in choices())| one_behind(random)?);
}
