//! Tickets: made, redeemed once, and refused for everything else.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hallpass::replay::{NonceSettings, Purpose};
use hallpass::revocation::{Entry, RevocationList, SubjectHash};
use hallpass::*;

const BASE: u64 = 1_800_000_000;
const MINUTE: Duration = Duration::from_mins(1);

fn at(seconds: u64) -> UnixTime {
    UnixTime::from_secs(BASE + seconds).unwrap()
}

struct World {
    key: SigningKey,
    minter: Minter,
    revocations: RevocationList,
}

impl World {
    fn new() -> Self {
        Self {
            key: SigningKey::from_seed(&[7; 32], KeyUse::Session, Algorithm::EdDsa).unwrap(),
            minter: Minter::new(Lifetimes::default()).audience(Some("shop".into())),
            revocations: RevocationList::new(),
        }
    }

    fn verifier(&self, audience: &str) -> Verifier {
        Verifier::builder(KeySet::new([self.key.verifying_key().clone()]).unwrap())
            .audience(audience)
            .revocations(self.revocations.clone())
            .stale_policy(StalePolicy::NeverStale)
            .build()
            .unwrap()
    }

    /// A ticket verifier whose process started at the base.
    fn redeemer(&self) -> TicketVerifier {
        TicketVerifier::new(self.verifier("downloads"), NonceCache::new(at(0)))
    }

    fn log_in(&self, started: u64, bound_to: Option<[u8; 32]>) -> IssuedToken {
        let subject = Subject::new("alice").unwrap();
        let claims = serde_json::json!({ "role": "editor" });
        let new = NewSession {
            subject: &subject,
            claims: &claims,
            started: at(started),
            auth_time: at(started),
            ends: None,
            amr: &[],
            bound_to,
        };
        self.minter.start(&self.key, &new, at(started)).unwrap()
    }

    /// A ticket for downloads, a minute long.
    fn ticket(&self, token: &IssuedToken, now: u64) -> String {
        self.ticket_for(token, None, now)
    }

    fn ticket_for(&self, token: &IssuedToken, path: Option<&str>, now: u64) -> String {
        let ticket = self.minter.ticket(&self.key, token.session(), "downloads", MINUTE, path, at(now));
        ticket.unwrap().as_str().to_owned()
    }
}

fn redeem(redeemer: &TicketVerifier, ticket: &str, now: u64) -> Result<Session, Reason> {
    redeemer.redeem(ticket, "/", at(now)).map_err(|rejection| rejection.reason())
}

fn reason(result: Result<Session, Reason>) -> Option<Reason> {
    result.err()
}

#[test]
fn a_ticket_carries_its_session_and_is_used_up() {
    let world = World::new();
    let token = world.log_in(10, None);
    let ticket = world.ticket(&token, 20);
    let redeemer = world.redeemer();
    let session: Session<serde_json::Value> = redeemer.redeem(&ticket, "/x", at(21)).unwrap();
    let origin = token.session();
    assert_eq!(session.id(), origin.id());
    assert_eq!(session.subject(), "alice");
    assert_eq!(session.audience(), Some("downloads"));
    // The minute was for redeeming it; what it opens lasts until the session's end.
    assert_eq!(session.issued_at(), at(20));
    assert_eq!((session.expires_at(), session.ends_at()), (origin.ends_at(), origin.ends_at()));
    assert_eq!((session.started_at(), session.auth_time()), (at(10), at(10)));
    assert_eq!(session.claims().unwrap()["role"], "editor");
    assert_ne!(session.token_id(), origin.token_id());
    assert_eq!(reason(redeem(&redeemer, &ticket, 21)), Some(Reason::Replayed));
    // Another ticket of the session is another one.
    assert!(redeem(&redeemer, &world.ticket(&token, 20), 21).is_ok());
}

#[test]
fn of_many_uses_at_once_one_is_accepted() {
    let world = World::new();
    let token = world.log_in(10, None);
    let redeemer = world.redeemer();
    for _ in 0..20 {
        let ticket = world.ticket(&token, 20);
        let (accepted, replayed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let barrier = Barrier::new(16);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    barrier.wait();
                    match redeem(&redeemer, &ticket, 21) {
                        Ok(_) => accepted.fetch_add(1, Ordering::Relaxed),
                        Err(why) => {
                            assert_eq!(why, Reason::Replayed);
                            replayed.fetch_add(1, Ordering::Relaxed)
                        }
                    };
                });
            }
        });
        assert_eq!((accepted.into_inner(), replayed.into_inner()), (1, 15));
    }
}

/// CVE-2026-9802: a restart made used tokens good again.
#[test]
fn a_restart_revives_nothing() {
    let world = World::new();
    let token = world.log_in(10, None);
    let ticket = world.ticket(&token, 20);
    assert!(redeem(&world.redeemer(), &ticket, 21).is_ok());
    let restarted =
        |at_second| TicketVerifier::new(world.verifier("downloads"), NonceCache::new(at(at_second)));
    assert_eq!(reason(redeem(&restarted(22), &ticket, 22)), Some(Reason::Replayed));
    // Issued by a clock that was 5 s ahead, used, and the process restarts at once.
    assert_eq!(reason(redeem(&restarted(15), &ticket, 16)), Some(Reason::Replayed));
    // Issued 6 s after the start: not accepted by anybody before it.
    assert!(redeem(&restarted(14), &ticket, 20).is_ok());
}

#[test]
fn a_full_cache_refuses_new_tickets_and_knows_the_used() {
    let world = World::new();
    let settings = NonceSettings { tickets: 3, proofs: 1 };
    let nonces = NonceCache::with_settings(settings, at(0)).unwrap();
    let redeemer = TicketVerifier::new(world.verifier("downloads"), nonces.clone());
    let tickets: Vec<_> = (0..4).map(|_| world.ticket(&world.log_in(10, None), 20)).collect();
    for ticket in &tickets[..3] {
        assert!(redeem(&redeemer, ticket, 21).is_ok());
    }
    assert_eq!(reason(redeem(&redeemer, &tickets[3], 21)), Some(Reason::Capacity));
    assert_eq!(reason(redeem(&redeemer, &tickets[0], 21)), Some(Reason::Replayed));
    assert_eq!(nonces.stats(Purpose::Ticket).full, 1);
    // There is room again once the others have expired.
    let late = world.ticket(&world.log_in(10, None), 85);
    assert!(redeem(&redeemer, &late, 85).is_ok());
}

#[test]
fn one_session_has_at_most_64_tickets() {
    let world = World::new();
    let token = world.log_in(10, None);
    let redeemer = world.redeemer();
    for _ in 0..64 {
        assert!(redeem(&redeemer, &world.ticket(&token, 20), 21).is_ok());
    }
    assert_eq!(reason(redeem(&redeemer, &world.ticket(&token, 20), 21)), Some(Reason::Capacity));
    assert!(redeem(&redeemer, &world.ticket(&world.log_in(10, None), 20), 21).is_ok());
}

#[test]
fn another_audience_another_path_another_purpose() {
    let world = World::new();
    let token = world.log_in(10, None);
    let ticket = world.ticket_for(&token, Some("/ws"), 20);
    let nonces = NonceCache::new(at(0));

    let elsewhere = TicketVerifier::new(world.verifier("shop"), nonces.clone());
    let refused = elsewhere.redeem::<()>(&ticket, "/ws", at(21)).unwrap_err();
    assert_eq!(
        refused,
        Rejection::WrongAudience { expected: Some("shop".into()), found: Some("downloads".into()) }
    );

    let redeemer = TicketVerifier::new(world.verifier("downloads"), nonces.clone());
    let whole = |path: &str| Some(format!("downloads {path}").into());
    for path in ["/", "/ws/", "/WS", "/ws?x", "", "/%77s", "/x/../ws"] {
        let refused = redeemer.redeem::<()>(&ticket, path, at(21)).unwrap_err();
        assert_eq!(refused, Rejection::WrongAudience { expected: whole(path), found: whole("/ws") });
    }
    // A session token is not a ticket, and a ticket is not a session token.
    assert_eq!(reason(redeem(&redeemer, token.as_str(), 21)), Some(Reason::WrongType));
    for audience in ["shop", "downloads"] {
        let refused = world.verifier(audience).verify::<()>(&ticket, at(21)).unwrap_err();
        assert_eq!(refused, Rejection::WrongType { expected: "application/cwt" });
    }
    // None of these attempts used the ticket up.
    assert!(redeemer.redeem::<()>(&ticket, "/ws", at(21)).is_ok());
    assert_eq!(nonces.stats(Purpose::Ticket).entries, 1);
}

#[test]
fn a_revoked_sessions_ticket_is_refused() {
    let world = World::new();
    let (token, other) = (world.log_in(10, None), world.log_in(10, None));
    let redeemer = world.redeemer();
    let (ticket, others) = (world.ticket(&token, 20), world.ticket(&other, 20));
    world.revocations.insert(Entry::Session { sid: token.session().id(), ends: token.session().ends_at() });
    assert_eq!(reason(redeem(&redeemer, &ticket, 21)), Some(Reason::Revoked));
    assert!(redeem(&redeemer, &others, 21).is_ok());
    // By subject too, though the ticket was made after the revocation.
    let hash = SubjectHash::of("alice");
    world.revocations.insert(Entry::Subject { hash, up_to: at(30), ends: at(100_000) });
    assert_eq!(reason(redeem(&redeemer, &world.ticket(&other, 40), 41)), Some(Reason::Revoked));
}

#[test]
fn it_is_over_at_the_very_second() {
    let world = World::new();
    let token = world.log_in(10, None);
    // Until 80, and 5 s of leeway.
    let redeemer = world.redeemer();
    let ticket = world.ticket(&token, 20);
    assert_eq!(reason(redeem(&redeemer, &ticket, 85)), Some(Reason::Expired));
    assert_eq!(reason(redeem(&redeemer, &ticket, 14)), Some(Reason::NotYetValid));
    // The first was refused for its age, before the cache was told of 85.
    assert!(redeem(&redeemer, &ticket, 84).is_ok());
    let early = world.ticket(&token, 20);
    assert!(redeem(&world.redeemer(), &early, 15).is_ok());
}

#[test]
fn no_ticket_outlives_its_session() {
    let world = World::new();
    let token = world.log_in(10, None);
    let ends = token.session().ends_at().as_secs() - BASE;
    let made = world.minter.ticket(&world.key, token.session(), "downloads", MINUTE, None, at(ends - 10));
    assert_eq!(made.unwrap().session().expires_at(), at(ends));
    let ticket = world.ticket(&token, ends - 10);
    assert!(redeem(&world.redeemer(), &ticket, ends + 4).is_ok());
    assert_eq!(reason(redeem(&world.redeemer(), &ticket, ends + 5)), Some(Reason::SessionEnded));
    for now in [ends, ends + 1, ends + 100_000] {
        let refused = world.minter.ticket(&world.key, token.session(), "downloads", MINUTE, None, at(now));
        assert!(matches!(refused, Err(TicketError::SessionEnded { .. })), "{refused:?}");
    }
}

#[test]
fn what_no_ticket_may_be() {
    let world = World::new();
    let token = world.log_in(10, None);
    let make = |audience: &str, lifetime, path: Option<&str>| {
        world.minter.ticket(&world.key, token.session(), audience, lifetime, path, at(20)).map(drop)
    };
    for lifetime in [Duration::ZERO, Duration::from_millis(1500), Duration::from_secs(301), Duration::MAX] {
        assert!(matches!(make("downloads", lifetime, None), Err(TicketError::Lifetime)));
    }
    assert!(make("downloads", Duration::from_mins(5), None).is_ok());
    for audience in ["", "a\nb", &"a".repeat(256)] {
        assert!(matches!(make(audience, MINUTE, None), Err(TicketError::Audience)));
    }
    for path in ["", "ws", "https://a.example/ws", "/a?b", "/a#b", "/a b", "/ä", "/a\n"] {
        assert!(matches!(make("downloads", MINUTE, Some(path)), Err(TicketError::Path)), "{path:?}");
    }
    let long = format!("/{}", "a".repeat(2_000));
    let refused = make("downloads", MINUTE, Some(&long));
    assert!(matches!(refused, Err(TicketError::Config(ConfigError::TokenTooLong { .. }))));
    let feed_key = SigningKey::from_seed(&[8; 32], KeyUse::Feed, Algorithm::EdDsa).unwrap();
    let refused = world.minter.ticket(&feed_key, token.session(), "downloads", MINUTE, None, at(20));
    assert!(matches!(refused, Err(TicketError::Config(ConfigError::KeyUse { .. }))));
}

#[test]
fn the_ticket_of_a_bound_session_needs_a_proof_too() {
    let world = World::new();
    let token = world.log_in(10, Some([3; 32]));
    let redeemer = world.redeemer();
    let refused = redeemer.redeem::<()>(world.ticket(&token, 20), "/", at(21)).unwrap_err();
    assert_eq!(refused, Rejection::ProofRequired { detail: ProofError::Missing });
    assert_eq!(redeemer.nonces().stats(Purpose::Ticket).entries, 0);
}

#[test]
fn every_byte_of_a_ticket_is_signed() {
    let world = World::new();
    let ticket = world.ticket_for(&world.log_in(10, None), Some("/ws"), 20);
    let redeemer = world.redeemer();
    for place in 0..ticket.len() {
        let mut bytes = ticket.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        assert!(redeemer.redeem::<()>(&bytes, "/ws", at(21)).is_err(), "character {place} changed");
    }
    assert!(redeemer.redeem::<()>(&ticket, "/ws", at(21)).is_ok());
}

/// What a ticket opened lasts longer than the ticket, and ends when the session
/// is revoked.
#[cfg(feature = "axum")]
#[tokio::test]
async fn what_a_ticket_opened_ends_with_the_session() {
    struct Fixed;
    impl Clock for Fixed {
        fn now(&self) -> UnixTime {
            at(1_000)
        }
    }
    let world = World::new();
    let token = world.log_in(10, None);
    let redeemer = TicketVerifier::new(world.verifier("downloads").with_clock(Fixed), NonceCache::new(at(0)));
    // The connection's clock is past this ticket's minute, and within the other's.
    let late = redeem(&redeemer, &world.ticket(&token, 900), 901).unwrap();
    let session = redeem(&redeemer, &world.ticket(&token, 1_000), 1_000).unwrap();
    let ended = tokio::spawn(async move { (session.ended().await, late.ended().await) });
    tokio::task::yield_now().await;
    assert!(!ended.is_finished());
    world.revocations.insert(Entry::Session { sid: token.session().id(), ends: token.session().ends_at() });
    assert_eq!(ended.await.unwrap(), (Ended::Revoked, Ended::Revoked));
}
