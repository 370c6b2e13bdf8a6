//! The ledger's contract, checked on every ledger.
#![expect(clippy::panic, clippy::unwrap_used, reason = "also in the helpers of tests")]

use std::collections::HashSet;
use std::sync::Barrier;
use std::time::Duration;

use hallpass::issuer::RenewError;
use hallpass::issuer::ledger::MemoryLedger;
use hallpass::*;

use crate::support::ledger::{Ledger, StartError, renew};

const T0: u64 = 1_790_000_000;

fn at(seconds: u64) -> UnixTime {
    UnixTime::from_secs(T0 + seconds).unwrap()
}

fn alice() -> Subject {
    Subject::new("alice").unwrap()
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32], KeyUse::Session, Algorithm::EdDsa).unwrap()
}

/// An issuer on any ledger, with one key, or with several after a rotation.
#[derive(Clone)]
struct Office<L> {
    ledger: L,
    keys: SigningKeys,
    minter: Minter,
}

impl<L: Ledger> Office<L> {
    fn new(ledger: L) -> Self {
        let keys = SigningKeys::new(key(1), []).unwrap();
        Self { ledger, keys, minter: Minter::new(Lifetimes::default()).audience(Some("shop".into())) }
    }

    async fn start(&self, now: UnixTime) -> IssuedToken {
        let subject = alice();
        let started = self.ledger.earliest_start(&subject, now).await.unwrap();
        let new = NewSession {
            subject: &subject,
            claims: &[("plan", "gold")],
            started,
            auth_time: now,
            ends: None,
            amr: &[],
            bound_to: None,
        };
        let token = self.minter.start(self.keys.newest(), &new, now).unwrap();
        self.ledger.start(token.session(), self.minter.lifetimes(), now).await.unwrap();
        token
    }

    async fn renew(&self, text: &str, now: UnixTime) -> Result<Renewal, RenewError<L::Error>> {
        let keys = self.keys.key_set().unwrap();
        let token = UnverifiedToken::decode(text).unwrap().verify(&keys, now).unwrap();
        renew(&self.ledger, text, token, &self.keys, self.minter.lifetimes(), now).await
    }

    /// Returns the successor's text, or `None` if the same token came back.
    async fn renewed(&self, text: &str, now: UnixTime) -> Option<String> {
        let renewal = self.renew(text, now).await.unwrap();
        assert_eq!(renewal.renewed, renewal.token.as_str() != text);
        renewal.renewed.then(|| renewal.token.as_str().to_owned())
    }
}

/// Checks each line of the renewal rule and each kind of revocation. `fresh`
/// makes an empty ledger; `stored` tells whether a ledger refuses an unknown
/// session.
async fn conformance<L: Ledger>(fresh: impl AsyncFn() -> L, stored: bool) {
    the_lines_of_the_rule(Office::new(fresh().await)).await;
    not_due(Office::new(fresh().await)).await;
    the_end_of_a_session(Office::new(fresh().await)).await;
    a_rotation_in_between(Office::new(fresh().await)).await;
    a_withdrawn_key(Office::new(fresh().await)).await;
    a_revoked_key(Office::new(fresh().await)).await;
    a_lost_row(&Office::new(fresh().await), &Office::new(fresh().await), stored).await;
    merely_expired(&Office::new(fresh().await)).await;
    a_session_that_rests(Office::new(fresh().await)).await;
    made_anew(Office::new(fresh().await)).await;
    from_the_future(Office::new(fresh().await)).await;
    revocations(Office::new(fresh().await)).await;
}

async fn the_lines_of_the_rule<L: Ledger>(office: Office<L>) {
    let zero = office.start(at(0)).await;
    let zero = zero.as_str();
    let one = office.renewed(zero, at(450)).await.unwrap();
    let verifier = Verifier::builder(office.keys.key_set().unwrap())
        .audience("shop")
        .without_revocations()
        .build()
        .unwrap();
    let before: Session = verifier.verify(zero, at(450)).unwrap();
    let after: Session = verifier.verify(&one, at(450)).unwrap();
    // Everything but generation, iat, exp and cti is copied.
    assert_eq!((after.generation(), after.issued_at(), after.expires_at()), (1, at(450), at(1350)));
    assert_ne!(before.token_id(), after.token_id());
    assert_eq!(
        (before.id(), before.subject(), before.audience(), before.started_at(), before.ends_at()),
        (after.id(), after.subject(), after.audience(), after.started_at(), after.ends_at()),
    );
    assert_eq!((before.auth_time(), before.claims_json()), (after.auth_time(), after.claims_json()));

    // An answer was lost and is asked for again minutes later; the successor is
    // unused.
    assert_eq!(office.renewed(zero, at(700)).await.as_ref(), Some(&one));
    // The successor is used; another tab asks in the last second of the grace.
    assert_eq!(office.renewed(&one, at(710)).await, None);
    assert_eq!(office.renewed(zero, at(770)).await.as_ref(), Some(&one));
    // "a negative time counts as within"
    assert_eq!(office.renewed(zero, at(600)).await.as_ref(), Some(&one));
    // After another renewal, the first token counts as reuse, even with an
    // earlier clock.
    let two = office.renewed(&one, at(900)).await.unwrap();
    assert_eq!(office.renewed(&one, at(901)).await.as_ref(), Some(&two));
    assert!(matches!(office.renew(zero, at(890)).await, Err(RenewError::Reuse { id }) if id == before.id()));
    for text in [zero, &one, &two] {
        assert!(matches!(
            office.renew(text, at(902)).await,
            Err(RenewError::Refused(
                Rejection::Revoked { by: RevokedBy::Session } | Rejection::Expired { .. }
            ))
        ));
    }

    let zero = office.start(at(0)).await;
    let one = office.renewed(zero.as_str(), at(450)).await.unwrap();
    office.renewed(&one, at(710)).await;
    assert!(matches!(office.renew(zero.as_str(), at(771)).await, Err(RenewError::Reuse { .. })), "grace + 1");
}

async fn not_due<L: Ledger>(office: Office<L>) {
    let token = office.start(at(0)).await;
    for seconds in [0, 1, 449] {
        assert_eq!(office.renewed(token.as_str(), at(seconds)).await, None);
    }
    assert!(office.renewed(token.as_str(), at(450)).await.is_some());
}

async fn the_end_of_a_session<L: Ledger>(mut office: Office<L>) {
    let lifetimes = Lifetimes::new(LifetimeSettings {
        absolute_lifetime: Duration::from_secs(1000),
        ..LifetimeSettings::default()
    })
    .unwrap();
    office.minter = Minter::new(lifetimes).audience(Some("shop".into()));
    let zero = office.start(at(0)).await;
    let one = office.renewed(zero.as_str(), at(899)).await.unwrap();
    // exp equals `ends`: the token is never due again.
    assert_eq!(office.renewed(&one, at(999)).await, None);
    assert_eq!(office.renewed(&one, at(1004)).await, None, "within the leeway");
    assert!(matches!(
        office.renew(&one, at(1005)).await,
        Err(RenewError::Refused(Rejection::SessionEnded { .. }))
    ));
    // A token that is due only in the leeway after the end has no successor.
    let late = Lifetimes::new(LifetimeSettings {
        token_max_age: Some(Duration::from_secs(999)),
        renew_after: Some(Duration::from_secs(999)),
        absolute_lifetime: Duration::from_secs(1000),
        ..LifetimeSettings::default()
    });
    office.minter = Minter::new(late.unwrap()).audience(Some("shop".into()));
    let zero = office.start(at(0)).await;
    assert_eq!(office.renewed(zero.as_str(), at(1000)).await, None);
    let zero = office.start(at(0)).await;
    assert!(office.renewed(zero.as_str(), at(999)).await.is_some());
}

async fn a_rotation_in_between<L: Ledger>(mut office: Office<L>) {
    let zero = office.start(at(0)).await;
    let one = office.renewed(zero.as_str(), at(450)).await.unwrap();
    office.keys = SigningKeys::new(key(2), [key(1)]).unwrap();
    // The same kid: the answer is the same although another key signs now.
    assert_eq!(office.renewed(zero.as_str(), at(500)).await.as_ref(), Some(&one));
    let two = office.renew(&one, at(900)).await.unwrap().token;
    assert_eq!(two.session().key_id(), key(2).id());
}

/// The successor's key is withdrawn before the client gets the successor.
async fn a_withdrawn_key<L: Ledger>(mut office: Office<L>) {
    let zero = office.start(at(0)).await;
    office.keys = SigningKeys::new(key(2), [key(1)]).unwrap();
    let one = office.renewed(zero.as_str(), at(450)).await.unwrap();
    office.keys = SigningKeys::new(key(3), [key(1)]).unwrap();
    let other = office.renew(zero.as_str(), at(500)).await.unwrap().token;
    assert_ne!(other.as_str(), one);
    assert_eq!((other.session().key_id(), other.session().generation()), (key(3).id(), 1));
    assert_eq!(office.renewed(zero.as_str(), at(600)).await.as_deref(), Some(other.as_str()));
    assert_eq!(office.renewed(other.as_str(), at(700)).await, None);
}

/// A revoked key's tokens are refused, and it signs no new ones while still
/// present.
async fn a_revoked_key<L: Ledger>(mut office: Office<L>) {
    let zero = office.start(at(0)).await;
    office.keys = SigningKeys::new(key(2), [key(1)]).unwrap();
    let one = office.renewed(zero.as_str(), at(450)).await.unwrap();
    office.keys = SigningKeys::new(key(3), [key(2), key(1)]).unwrap();
    assert!(office.ledger.revoke_key(key(2).id(), at(460)).await.unwrap());
    assert!(!office.ledger.revoke_key(key(2).id(), at(461)).await.unwrap(), "no news");
    let refused = office.renew(&one, at(470)).await;
    assert!(
        matches!(refused, Err(RenewError::Refused(Rejection::Revoked { by: RevokedBy::Key }))),
        "{refused:?}"
    );
    let other = office.renew(zero.as_str(), at(480)).await.unwrap().token;
    assert_eq!((other.session().key_id(), other.session().generation()), (key(3).id(), 1));
}

/// The same session in a ledger that does not know it, and in one that is behind.
async fn a_lost_row<L: Ledger>(office: &Office<L>, other: &Office<L>, stored: bool) {
    let zero = office.start(at(0)).await;
    let one = office.renewed(zero.as_str(), at(450)).await.unwrap();
    let two = office.renewed(&one, at(900)).await.unwrap();
    let answer = other.renew(&one, at(900)).await;
    if stored {
        assert!(matches!(answer, Err(RenewError::Refused(Rejection::Revoked { .. }))));
        other.ledger.start(zero.session(), &Lifetimes::default(), at(0)).await.unwrap();
    } else {
        assert_eq!(answer.unwrap().token.as_str(), two, "same second, same bytes");
    }
    // p > L is treated as p = L, so that older tokens are recognized.
    assert_eq!(other.renewed(&two, at(910)).await, None);
    assert_eq!(other.renewed(&one, at(920)).await.as_ref(), Some(&two));
    assert!(matches!(other.renew(&one, at(971)).await, Err(RenewError::Reuse { .. })));
}

async fn merely_expired<L: Ledger>(office: &Office<L>) {
    let zero = office.start(at(0)).await;
    assert!(office.renewed(zero.as_str(), at(904)).await.is_some(), "exp + leeway − 1");
    let zero = office.start(at(0)).await;
    let expired = |answer| matches!(answer, Err(RenewError::Refused(Rejection::Expired { .. })));
    assert!(expired(office.renew(zero.as_str(), at(905)).await), "p = L");
    let zero = office.start(at(0)).await;
    let one = office.renewed(zero.as_str(), at(500)).await.unwrap();
    office.renewed(&one, at(510)).await;
    let two = office.renewed(&one, at(1000)).await.unwrap();
    assert!(
        matches!(office.renew(zero.as_str(), at(1100)).await, Err(RenewError::Reuse { .. })),
        "p = L − 2"
    );
    assert!(matches!(
        office.renew(&two, at(1100)).await,
        Err(RenewError::Refused(Rejection::Revoked { .. }))
    ));
    let zero = office.start(at(0)).await;
    let one = office.renewed(zero.as_str(), at(500)).await.unwrap();
    office.renewed(&one, at(510)).await;
    assert!(
        matches!(office.renew(zero.as_str(), at(1000)).await, Err(RenewError::Reuse { .. })),
        "p = L − 1"
    );
}

/// Tokens for 15 minutes, in a session that may rest for a day.
fn resting() -> Lifetimes {
    Lifetimes::new(LifetimeSettings {
        idle_timeout: Some(Duration::from_hours(24)),
        absolute_lifetime: Duration::from_hours(30 * 24),
        ..LifetimeSettings::default()
    })
    .unwrap()
}

async fn a_session_that_rests<L: Ledger>(mut office: Office<L>) {
    const DAY: u64 = 24 * 3600;
    office.minter = Minter::new(resting()).audience(Some("shop".into()));
    let zero = office.start(at(0)).await;
    assert_eq!((zero.session().expires_at(), zero.renewable_until()), (at(900), at(DAY)));
    // An expired token is renewed, to the last second.
    let renewal = office.renew(zero.as_str(), at(DAY - 1)).await.unwrap();
    let one = renewal.token;
    assert_eq!((one.session().generation(), one.session().issued_at()), (1, at(DAY - 1)));
    assert_eq!(one.renewable_until(), at(2 * DAY - 1));
    // Many at once, and a lost answer, get the same bytes.
    assert_eq!(office.renewed(zero.as_str(), at(DAY)).await.as_deref(), Some(one.as_str()));
    // In use for longer than a grace: the expired predecessor is evidence.
    assert_eq!(office.renewed(one.as_str(), at(DAY)).await, None);
    assert!(matches!(office.renew(zero.as_str(), at(DAY + 61)).await, Err(RenewError::Reuse { .. })));

    let expired = |answer| matches!(answer, Err(RenewError::Refused(Rejection::Expired { .. })));
    let zero = office.start(at(0)).await;
    assert!(expired(office.renew(zero.as_str(), at(DAY + 5)).await), "the idle timeout and the leeway");
    // Nothing is evidence once the session is over for idleness.
    let zero = office.start(at(0)).await;
    let one = office.renewed(zero.as_str(), at(450)).await.unwrap();
    office.renewed(&one, at(460)).await;
    assert!(expired(office.renew(zero.as_str(), at(450 + DAY + 5)).await));
}

/// A lost answer whose token has expired.
async fn made_anew<L: Ledger>(mut office: Office<L>) {
    office.minter = Minter::new(resting()).audience(Some("shop".into()));
    let zero = office.start(at(0)).await;
    let lost = office.renew(zero.as_str(), at(450)).await.unwrap().token;
    let one = office.renew(zero.as_str(), at(5000)).await.unwrap().token;
    assert_eq!((one.session().generation(), one.session().issued_at()), (1, at(5000)));
    assert_ne!(one.session().token_id(), lost.session().token_id());
    // The earlier making counts as a token of L − 1: within a grace of the
    // first use of the other it gets that.
    assert_eq!(office.renewed(lost.as_str(), at(5001)).await.as_deref(), Some(one.as_str()));
    assert_eq!(office.renewed(one.as_str(), at(5010)).await, None);
    assert_eq!(office.renewed(lost.as_str(), at(5070)).await.as_deref(), Some(one.as_str()));
    assert!(matches!(office.renew(lost.as_str(), at(5071)).await, Err(RenewError::Reuse { .. })));

    // An answer that was given just before L expired can arrive after the new
    // one, and is no evidence.
    let zero = office.start(at(0)).await;
    let slow = office.renew(zero.as_str(), at(450)).await.unwrap().token;
    assert_eq!(office.renewed(zero.as_str(), at(1349)).await.as_deref(), Some(slow.as_str()));
    let one = office.renewed(zero.as_str(), at(1350)).await.unwrap();
    assert_eq!(office.renewed(&one, at(1351)).await, None);
    assert_eq!(office.renewed(slow.as_str(), at(1500)).await.as_ref(), Some(&one));
    assert!(matches!(office.renew(zero.as_str(), at(1500)).await, Err(RenewError::Reuse { .. })));
}

/// The issuer's clock stepped back by an hour.
async fn from_the_future<L: Ledger>(office: Office<L>) {
    let zero = office.start(at(3600)).await;
    for _ in 0..3 {
        assert!(matches!(
            office.renew(zero.as_str(), at(0)).await,
            Err(RenewError::Refused(Rejection::NotYetValid { .. }))
        ));
    }
    assert_eq!(office.renewed(zero.as_str(), at(3595)).await, None, "within the leeway");
    let one = office.renewed(zero.as_str(), at(4100)).await.unwrap();
    assert_eq!(office.renewed(&one, at(4101)).await, None);
    assert!(matches!(
        office.renew(zero.as_str(), at(500)).await,
        Err(RenewError::Refused(Rejection::NotYetValid { .. }))
    ));
    assert_eq!(office.renewed(&one, at(4110)).await, None, "not logged out by it");
}

async fn revocations<L: Ledger>(office: Office<L>) {
    let ledger = &office.ledger;
    let token = office.start(at(0)).await;
    let revoked_by = async |token: &IssuedToken| match office.renew(token.as_str(), at(500)).await {
        Err(RenewError::Refused(Rejection::Revoked { by })) => by,
        other => panic!("{other:?}"),
    };
    let (id, ends) = (token.session().id(), token.session().ends_at());
    assert!(ledger.revoke_session(id, ends, at(1)).await.unwrap());
    assert!(!ledger.revoke_session(id, ends, at(2)).await.unwrap());
    assert_eq!(revoked_by(&token).await.as_str(), "session");

    let token = office.start(at(3)).await;
    assert!(ledger.revoke_subject(&alice(), at(3)).await.unwrap());
    assert!(!ledger.revoke_subject(&alice(), at(3)).await.unwrap());
    assert_eq!(revoked_by(&token).await.as_str(), "subject");
    // Started too late: the revocation covers it.
    assert!(matches!(
        ledger.start(token.session(), &Lifetimes::default(), at(3)).await,
        Err(StartError::Revoked(earliest)) if earliest == at(4)
    ));
    // A log-in in the same second is possible, and can be revoked too.
    let token = office.start(at(3)).await;
    assert_eq!(token.session().started_at(), at(4));
    assert!(office.renewed(token.as_str(), at(500)).await.is_some());
    assert!(ledger.revoke_subject(&alice(), at(3)).await.unwrap());
    assert_eq!(revoked_by(&token).await.as_str(), "subject");

    let token = office.start(at(3)).await;
    assert!(ledger.revoke_all(at(3)).await.unwrap());
    assert_eq!(revoked_by(&token).await.as_str(), "all");
    let token = office.start(at(10)).await;
    assert!(office.renewed(token.as_str(), at(500)).await.is_some());
}

#[tokio::test]
async fn the_memory_ledger_keeps_the_rule() {
    conformance(async || MemoryLedger::default(), false).await;
}

/// 200 renewals of one token at once.
#[test]
fn parallel_renewals_have_one_successor() {
    let issuer = Issuer::new(key(1), Lifetimes::default()).unwrap();
    for round in 0..5 {
        let token = issuer.start(alice(), (), at(round * 10_000)).unwrap();
        let now = at(round * 10_000 + 450);
        let barrier = Barrier::new(200);
        let texts: HashSet<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..200)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        let renewal = issuer.renew(token.as_str(), now).unwrap();
                        assert!(renewal.renewed);
                        renewal.token.as_str().to_owned()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(texts.len(), 1);
    }
}

/// A thousand races between renewal and revocation without a store, in any order.
#[test]
fn no_renewal_survives_a_log_out_that_it_races() {
    let issuer = Issuer::new(key(1), Lifetimes::default()).unwrap();
    let (mut before, mut after) = (0, 0);
    for round in 0..1000 {
        let now = at(round * 1000);
        let later = at(round * 1000 + 500);
        let token = issuer.start(alice(), (), now).unwrap();
        let barrier = Barrier::new(2);
        let renewal = std::thread::scope(|scope| {
            let renewal = scope.spawn(|| {
                barrier.wait();
                issuer.renew(token.as_str(), later)
            });
            barrier.wait();
            // Either may win; the delay makes the odds about even.
            for _ in 0..(round % 50) * 400 {
                std::hint::spin_loop();
            }
            let news = match round % 3 {
                0 => issuer.log_out(token.as_str(), later).unwrap(),
                1 => issuer.revoke_subject(&alice(), later).unwrap(),
                _ => issuer.revoke_all(later),
            };
            assert!(news);
            renewal.join().unwrap()
        });
        let mut texts = vec![token.as_str().to_owned()];
        match renewal {
            Ok(renewal) => {
                before += 1;
                texts.push(renewal.token.as_str().to_owned());
            }
            Err(error) => {
                after += 1;
                assert!(matches!(error, RenewError::Refused(Rejection::Revoked { .. })), "{error}");
            }
        }
        for text in texts {
            let dead = issuer.renew(&text, later);
            assert!(matches!(dead, Err(RenewError::Refused(Rejection::Revoked { .. }))), "{dead:?}");
        }
    }
    println!("{before} renewals came first, {after} log-outs");
}

#[test]
fn a_full_memory_ledger_forgets_rows_and_no_revocation() {
    let small = std::num::NonZeroUsize::new(4).unwrap();
    let issuer = Issuer::new(key(1), Lifetimes::default()).unwrap().ledger_capacity(small, small);
    let tokens: Vec<_> = (0..20).map(|_| issuer.start(alice(), (), at(0)).unwrap()).collect();
    // All but four rows are gone; every session goes on.
    for token in &tokens {
        assert!(issuer.renew(token.as_str(), at(450)).unwrap().renewed);
    }
    for token in &tokens[..4] {
        assert!(issuer.log_out(token.as_str(), at(500)).unwrap());
    }
    let full = issuer.log_out(tokens[4].as_str(), at(500));
    assert!(matches!(full, Err(RenewError::Ledger(_))), "said, not silently dropped");
    for token in &tokens[..4] {
        assert!(issuer.renew(token.as_str(), at(500)).is_err());
    }
    assert!(issuer.revoke_all(at(500)), "always has room");
    assert!(issuer.renew(tokens[4].as_str(), at(500)).is_err());
    // Revocations are dropped a minute after their sessions end, which frees
    // room.
    let over = 12 * 3600;
    let late = issuer.start(alice(), (), at(over)).unwrap();
    assert!(issuer.log_out(late.as_str(), at(over + 60)).is_err());
    assert!(issuer.log_out(late.as_str(), at(over + 61)).unwrap());
}

#[test]
fn a_library_issuer_refuses_what_is_not_its_own() {
    let issuer = Issuer::new(key(1), Lifetimes::default()).unwrap();
    let other = Issuer::new(key(2), Lifetimes::default()).unwrap();
    let token = other.start(alice(), (), at(0)).unwrap();
    assert!(matches!(
        issuer.renew(token.as_str(), at(0)),
        Err(RenewError::Refused(Rejection::UnknownKey { .. }))
    ));
    let named = Minter::new(Lifetimes::default()).audience(Some("shop".into()));
    let named = Issuer::with(SigningKeys::new(key(1), []).unwrap(), named).unwrap();
    let token = named.start(alice(), (), at(0)).unwrap();
    assert!(matches!(
        issuer.renew(token.as_str(), at(0)),
        Err(RenewError::Refused(Rejection::WrongAudience { .. }))
    ));
    assert!(matches!(issuer.renew("x", at(0)), Err(RenewError::Refused(Rejection::Malformed { .. }))));
}

#[cfg(feature = "server")]
mod stored {
    use std::sync::Arc;

    use super::*;
    use crate::support::store::StoreLedger;
    use hallpass::issuer::store::SqliteStore;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_store_ledger_keeps_the_rule() {
        let dir = tempfile::tempdir().unwrap();
        let counter = std::sync::atomic::AtomicU32::new(0);
        let fresh = async || {
            let n = counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let store = SqliteStore::open(&dir.path().join(n.to_string())).await.unwrap();
            StoreLedger(Arc::new(store))
        };
        conformance(fresh, true).await;
    }

    /// There is one successor, with one handle or two. Each handle has its own
    /// writer and cache.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn parallel_renewals_have_one_successor() {
        let dir = tempfile::tempdir().unwrap();
        let mut offices = Vec::new();
        for _ in 0..2 {
            let store = SqliteStore::open(dir.path()).await.unwrap();
            offices.push(Office::new(StoreLedger(Arc::new(store))));
        }
        for handles in [&offices[..1], &offices[..]] {
            let token = handles[0].start(at(0)).await;
            let barrier = Arc::new(tokio::sync::Barrier::new(200));
            let tasks: Vec<_> = (0..200_usize)
                .map(|n| {
                    let (office, barrier) = (handles[n % handles.len()].clone(), Arc::clone(&barrier));
                    let text = token.as_str().to_owned();
                    // Up to two seconds apart: the first one decides.
                    let now = at(450 + n as u64 % 3);
                    tokio::spawn(async move {
                        barrier.wait().await;
                        office.renewed(&text, now).await.unwrap()
                    })
                })
                .collect();
            let mut texts = HashSet::new();
            for task in tasks {
                texts.insert(task.await.unwrap());
            }
            assert_eq!(texts.len(), 1);
        }
    }

    /// Renewal and revocation on two handles: 1,500 races.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_renewal_survives_a_revocation_that_it_races() {
        let dir = tempfile::tempdir().unwrap();
        let open = async || StoreLedger(Arc::new(SqliteStore::open(dir.path()).await.unwrap()));
        let offices = [Office::new(open().await), Office::new(open().await)];
        for round in 0..100_u64 {
            let (now, later) = (at(round * 1000), at(round * 1000 + 500));
            let mut tokens = Vec::new();
            for n in 0..15 {
                tokens.push(offices[n % 2].start(now).await);
            }
            let renew = |n: usize, handle: usize| {
                let (office, text) = (offices[handle].clone(), tokens[n].as_str().to_owned());
                tokio::spawn(async move { office.renew(&text, later).await })
            };
            let mut renewals: Vec<_> = (0..7).map(|n| renew(n, n % 2)).collect();
            let ledger = offices[1].ledger.clone();
            let (id, ends) = (tokens[0].session().id(), tokens[0].session().ends_at());
            let revoked = tokio::spawn(async move {
                if round % 2 == 0 {
                    ledger.revoke_subject(&alice(), later).await.unwrap()
                } else {
                    ledger.revoke_session(id, ends, later).await.unwrap()
                }
            });
            renewals.extend((7..15).map(|n| renew(n % 7, n % 2)));
            assert!(revoked.await.unwrap());
            let mut texts = vec![tokens[0].as_str().to_owned()];
            for renewal in renewals {
                match renewal.await.unwrap() {
                    Ok(renewal) => {
                        if renewal.token.session().id() == id {
                            texts.push(renewal.token.as_str().to_owned());
                        }
                    }
                    Err(RenewError::Refused(Rejection::Revoked { .. })) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            for text in texts {
                for office in &offices {
                    let dead = office.renew(&text, later).await;
                    assert!(matches!(dead, Err(RenewError::Refused(Rejection::Revoked { .. }))), "{dead:?}");
                }
            }
        }
    }

    /// Prints how many renewals share a sync; asserts nothing.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn renewals_a_second() {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let office = Office::new(StoreLedger(Arc::new(SqliteStore::open(dir.path()).await.unwrap())));
        let mut tokens = Vec::new();
        let starts: Vec<_> = (0..1000)
            .map(|_| {
                let office = office.clone();
                tokio::spawn(async move { office.start(at(0)).await })
            })
            .collect();
        for start in starts {
            tokens.push(start.await.unwrap());
        }
        let clock = std::time::Instant::now();
        let renewals: Vec<_> = tokens
            .into_iter()
            .map(|token| {
                let office = office.clone();
                tokio::spawn(async move { office.renewed(token.as_str(), at(500)).await.unwrap() })
            })
            .collect();
        for renewal in renewals {
            renewal.await.unwrap();
        }
        println!("1000 renewals in {:?}", clock.elapsed());
    }
}

/// The cases of the pure rule that no ledger in memory meets.
mod rule {
    use std::time::Duration;

    use hallpass::issuer::ledger::rule::{Backing, Judgement, Presented, Row, SigningKeyIds, renew};
    use hallpass::{KeyId, Lifetimes, Profile, UnixTime};

    use super::at;

    const KEY: KeyId = KeyId::from_bytes([1; 8]);

    fn presented(generation: u64, issued: u64) -> Presented {
        Presented {
            generation,
            issued: at(issued),
            expires: at(issued + 900),
            ends: at(43_200),
            key_id: KEY,
            carried: [7; 32],
        }
    }

    fn remembered(token: &Presented) -> Row {
        Row { profile: Profile::Remembered, ..Row::newest(token, &Lifetimes::default()) }
    }

    fn judge(row: Option<Row>, token: &Presented, now: UnixTime) -> Judgement {
        let keys = SigningKeyIds { newest: KEY, available: &[KEY] };
        renew(row, Backing::Store, token, &Lifetimes::default(), keys, now)
    }

    #[test]
    fn other_claims_than_were_issued_are_unknown() {
        let token = presented(0, 0);
        let forged = Presented { carried: [8; 32], ..token };
        for now in [0, 450, 899] {
            assert_eq!(judge(Some(remembered(&token)), &forged, at(now)), Judgement::Unknown);
        }
        assert_eq!(judge(None, &token, at(0)), Judgement::Unknown);
    }

    /// An older database was restored: the token is newer than the row, by its
    /// generation or as a later making of the same.
    #[test]
    fn a_token_that_is_newer_than_the_row_becomes_the_newest() {
        let old = remembered(&presented(1, 100));
        for token in [presented(2, 200), presented(5, 200), presented(1, 200)] {
            let Judgement::Keep(row) = judge(Some(old), &token, at(300)) else { panic!("{token:?}") };
            assert_eq!((row.generation, row.issued, row.seen_at), (token.generation, at(200), Some(at(300))));
            assert_eq!(row.profile, Profile::Remembered);
            // What is older can be told from it.
            let behind = presented(token.generation, 150);
            assert!(matches!(judge(Some(row), &behind, at(301)), Judgement::Successor(_)), "{token:?}");
            assert_eq!(judge(Some(row), &behind, at(361)), Judgement::Reuse, "{token:?}");
        }
    }

    #[test]
    fn every_row_keeps_the_profile_and_the_digest() {
        let first = presented(0, 0);
        let Judgement::Successor(row) = judge(Some(remembered(&first)), &first, at(450)) else { panic!() };
        assert_eq!((row.generation, row.profile, row.carried), (1, Profile::Remembered, [7; 32]));
        // Made anew, once its token has expired.
        let lifetimes = Lifetimes::default();
        let idle = Row { renewable_until: at(40_000), ..row };
        let Judgement::Successor(anew) = judge(Some(idle), &first, at(5_000)) else { panic!() };
        assert_eq!((anew.generation, anew.issued, anew.profile), (1, at(5_000), Profile::Remembered));
        assert_eq!(anew.renewable_until, at(5_000).saturating_add(lifetimes.idle_timeout()));
        assert_eq!(lifetimes.idle_timeout(), Duration::from_mins(15));
    }

    /// At the session's end, to the second.
    #[test]
    fn nothing_is_issued_at_the_end_of_a_session() {
        let ends = 1_000;
        let of =
            |token: Presented| Presented { ends: at(ends), expires: token.expires.min(at(ends)), ..token };
        let token = of(presented(0, 0));
        let row = Row { renewable_until: at(ends), ..Row::newest(&token, &Lifetimes::default()) };
        // Due, and then too late for a successor; within the leeway of its
        // expiry the token itself comes back.
        assert!(matches!(judge(Some(row), &token, at(ends - 1)), Judgement::Successor(_)));
        assert_eq!(judge(Some(row), &token, at(ends)), Judgement::SessionEnded);
        let last = of(presented(0, 990));
        let row = Row { renewable_until: at(ends), ..Row::newest(&last, &Lifetimes::default()) };
        for now in [999, 1_000, 1_004] {
            assert!(matches!(judge(Some(row), &last, at(now)), Judgement::Keep(_)), "{now}");
        }
        assert_eq!(judge(Some(row), &last, at(1_005)), Judgement::SessionEnded);
        // It expires two seconds before the end.
        let last = Presented { expires: at(998), ..presented(0, 98) };
        let last = Presented { ends: at(ends), ..last };
        let row = Row { renewable_until: at(ends), ..Row::newest(&last, &Lifetimes::default()) };
        for now in [1_000, 1_002] {
            assert!(matches!(judge(Some(row), &last, at(now)), Judgement::Keep(_)), "{now}");
        }
        assert_eq!(judge(Some(row), &last, at(1_003)), Judgement::SessionEnded);
        // An earlier making is not the presented row's token.
        let remade = Row { issued: at(99), ..row };
        assert_eq!(judge(Some(remade), &last, at(1_000)), Judgement::SessionEnded);
        // The predecessor of an expired token gets none either.
        let next = Row { generation: 1, expires: at(900), issued: at(10), ..row };
        assert_eq!(judge(Some(next), &of(presented(0, 0)), at(ends)), Judgement::SessionEnded);
    }

    /// To the second: an answer that was repeated just before its token was due.
    #[test]
    fn a_late_repetition_delays_the_next_renewal_by_a_grace() {
        let first = presented(0, 0);
        let Judgement::Successor(row) = judge(Some(remembered(&first)), &first, at(450)) else { panic!() };
        // Its token is due at 900 and expires at 1350; the grace is 60 s.
        let row = Row { renewable_until: at(40_000), ..row };
        let one = presented(1, 450);
        let repeated = |now| match judge(Some(row), &first, at(now)) {
            Judgement::Successor(row) => row,
            other => panic!("{other:?}"),
        };
        assert_eq!(repeated(840).repeated_at, None);
        let late = repeated(841);
        assert_eq!(late.repeated_at, Some(at(841)));
        assert!(matches!(judge(Some(late), &one, at(900)), Judgement::Keep(_)));
        let Judgement::Successor(next) = judge(Some(late), &one, at(901)) else { panic!() };
        assert_eq!((next.generation, next.repeated_at, next.seen_at), (2, None, None));

        // It expires before the grace is over: made anew.
        let late = repeated(1_300);
        assert!(matches!(judge(Some(late), &one, at(1_349)), Judgement::Keep(_)));
        let Judgement::Successor(anew) = judge(Some(late), &one, at(1_350)) else { panic!() };
        assert_eq!((anew.generation, anew.issued, anew.repeated_at), (1, at(1_350), Some(at(1_300))));
        // The slow answer with the earlier making is no evidence, if it was
        // given at most a grace before.
        let used = |repeated| Row { seen_at: Some(at(1_351)), repeated_at: Some(at(repeated)), ..anew };
        assert!(matches!(judge(Some(used(1_290)), &one, at(2_000)), Judgement::Successor(_)));
        assert_eq!(judge(Some(used(1_289)), &one, at(2_000)), Judgement::Reuse);
    }
}
