//! The limits of the store: failed attempts and the number of sessions.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hallpass::issuer::ledger::Row;
use hallpass::issuer::store::*;
use hallpass::revocation::Entry;
use hallpass::{KeyId, Profile, SessionId, Subject, SubjectHash, UnixTime};
use tokio::sync::Barrier;

use crate::support::store::StoreExt as _;

const RULE: AttemptRule = AttemptRule {
    free: 5,
    first_wait: Duration::from_secs(1),
    longest_wait: Duration::from_secs(900),
    most: 100,
    names_of_nobody: 100,
};

fn at(seconds: u64) -> UnixTime {
    UnixTime::from_secs(1_790_000_000 + seconds).unwrap()
}

fn account(name: &str) -> SubjectHash {
    SubjectHash::of(name)
}

fn of(name: &str, device: Option<u8>) -> AttemptKey {
    AttemptKey { account: account(name), device: device.map(|n| [n; 16]) }
}

async fn begin(store: &SqliteStore, key: AttemptKey, now: u64) -> Attempt {
    store.begin_attempt(key, true, RULE, at(now)).await.unwrap()
}

/// Returns the wait in seconds, or `None` if the attempt was allowed.
async fn wait(store: &SqliteStore, key: AttemptKey, now: u64) -> Option<u64> {
    match begin(store, key, now).await {
        Attempt::Go { .. } => None,
        Attempt::Wait(wait) => Some(wait.as_secs()),
        Attempt::Locked => Some(u64::MAX),
    }
}

/// Fails as often as unknown devices may, as fast as the waits allow. Returns the
/// waits, each with the number of failures before it.
async fn use_up(store: &SqliteStore, name: &str) -> Vec<(u32, u64)> {
    let (mut now, mut tried, mut waits) = (0, 0, Vec::new());
    loop {
        match begin(store, of(name, None), now).await {
            Attempt::Go { key, last } => {
                tried += 1;
                assert_eq!((key, last), (of(name, None), tried == 90));
            }
            Attempt::Wait(wait) => {
                let wait = wait.as_secs();
                waits.push((tried, wait));
                // Not a second early.
                if wait > 1 {
                    let early = begin(store, of(name, None), now + wait - 1).await;
                    assert_eq!(early, Attempt::Wait(Duration::from_secs(1)), "{tried}");
                }
                now += wait;
            }
            Attempt::Locked => break,
        }
    }
    assert_eq!(tried, 90);
    waits
}

const YEAR: u64 = 365 * 24 * 3600;

async fn store() -> (SqliteStore, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (SqliteStore::open(&folder.path().join("data")).await.unwrap(), folder)
}

async fn add(store: &SqliteStore, name: &str) {
    let user = NewUser {
        name: Subject::new(name).unwrap(),
        password_hash: "$argon2id$1".to_owned(),
        role: Role::User,
        claims: None,
    };
    store.add_user(user, at(0)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_double_and_there_are_a_hundred_failures_in_all() {
    let (store, folder) = store().await;
    let waits = use_up(&store, "alice").await;
    let doubling = (5..15).map(|failures| (failures, 1 << (failures - 5)));
    let expected: Vec<_> = doubling.chain((15..90).map(|failures| (failures, 900))).collect();
    assert_eq!(waits, expected, "no wait before the fifth failure, none longer than 15 minutes");
    assert_eq!(begin(&store, of("alice", None), YEAR).await, Attempt::Locked, "time does not unlock");
    assert_eq!(wait(&store, of("bob", None), 0).await, None, "nobody else is");

    // NIST SP 800-63B-4 §3.2.2 counts per account: the last ten are for known
    // devices.
    let mut devices = 0;
    for n in 0..20 {
        // A device's failures delay only that device.
        if let Attempt::Go { last, .. } = begin(&store, of("alice", Some(n)), YEAR).await {
            devices += 1;
            assert_eq!(last, devices == 10);
        }
    }
    assert_eq!(devices, 10);
    assert_eq!(begin(&store, of("alice", Some(99)), 2 * YEAR).await, Attempt::Locked);

    // The counts survive a restart.
    store.close().await;
    let store = SqliteStore::open(&folder.path().join("data")).await.unwrap();
    assert_eq!(begin(&store, of("alice", None), 2 * YEAR).await, Attempt::Locked);
    let nobody = Subject::new("carol").unwrap();
    assert!(matches!(store.unlock_user(&nobody).await, Err(StoreError::NoUser(_))));
    add(&store, "alice").await;
    assert_eq!(wait(&store, of("alice", None), 0).await, None, "a new user starts anew");
    use_up_again(&store).await;
    store.unlock_user(&Subject::new("alice").unwrap()).await.unwrap();
    assert_eq!(wait(&store, of("alice", None), 0).await, None);
    use_up_again(&store).await;
    store.set_password(&Subject::new("alice").unwrap(), "$argon2id$2".to_owned(), at(1)).await.unwrap();
    assert_eq!(wait(&store, of("alice", None), 0).await, None);
}

/// Fails until alice is locked out.
async fn use_up_again(store: &SqliteStore) {
    let mut now = 0;
    while wait(store, of("alice", None), now).await != Some(u64::MAX) {
        now += 900;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_ends_the_row_and_a_known_device_is_the_owners_way_out() {
    let (store, _folder) = store().await;
    for _ in 0..4 {
        assert_eq!(wait(&store, of("alice", None), 0).await, None);
    }
    // The fifth attempt succeeds.
    assert_eq!(wait(&store, of("alice", None), 0).await, None);
    store.attempt_succeeded(of("alice", None), RULE).await.unwrap();
    assert_eq!(store.count_attempts().await.unwrap(), 0);

    use_up(&store, "alice").await;
    let device = of("alice", Some(1));
    for now in [0, 0, 0, 0, 0, 1, 3] {
        assert_eq!(wait(&store, device, now).await, None);
    }
    assert_eq!(wait(&store, device, 3).await, Some(4), "its own failures, its own waits");
    assert_eq!(wait(&store, device, 7).await, None);
    store.attempt_succeeded(device, RULE).await.unwrap();
    // The lock is gone; the long wait remains.
    assert_eq!(wait(&store, of("alice", None), YEAR).await, None);
    assert_eq!(wait(&store, of("alice", None), YEAR).await, Some(900));
    assert_eq!(wait(&store, device, YEAR).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_fails_too_often_is_a_stranger() {
    let (store, _folder) = store().await;
    let device = of("alice", Some(1));
    let (mut now, mut as_device) = (0, 0);
    loop {
        match begin(&store, device, now).await {
            Attempt::Go { key, .. } if key == device => as_device += 1,
            Attempt::Go { key, .. } => {
                assert_eq!(key, of("alice", None));
                break;
            }
            Attempt::Wait(wait) => now += wait.as_secs(),
            Attempt::Locked => panic!("after {as_device}"),
        }
    }
    assert_eq!(as_device, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_wrong_locks_nobody_out() {
    let (store, _folder) = store().await;
    for _ in 0..5 {
        assert_eq!(wait(&store, of("alice", None), YEAR).await, None);
    }
    assert_eq!(wait(&store, of("alice", None), YEAR).await, Some(1));
    assert_eq!(wait(&store, of("alice", None), 0).await, None, "a wait of a year is no wait of ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_at_once_are_no_more_than_guesses_in_a_row() {
    let (one, folder) = store().await;
    let two = SqliteStore::open(&folder.path().join("data")).await.unwrap();
    let stores = [Arc::new(one), Arc::new(two)];
    let barrier = Arc::new(Barrier::new(100));
    let guesses: Vec<_> = (0..100)
        .map(|n| {
            let (store, barrier) = (Arc::clone(&stores[n % 2]), Arc::clone(&barrier));
            tokio::spawn(async move {
                barrier.wait().await;
                begin(&store, of("alice", None), 0).await
            })
        })
        .collect();
    let mut let_through = 0;
    for guess in guesses {
        match guess.await.unwrap() {
            Attempt::Go { .. } => let_through += 1,
            other => assert_eq!(other, Attempt::Wait(Duration::from_secs(1))),
        }
    }
    assert_eq!(let_through, 5);
}

/// Tries 5,000 unknown names. Returns the size of the database afterwards.
async fn spray(data: &Path, from: u32) -> u64 {
    let store = Arc::new(SqliteStore::open(data).await.unwrap());
    for batch in (from..from + 5_000).step_by(250) {
        let tries: Vec<_> = (batch..batch + 250)
            .map(|n| {
                let store = Arc::clone(&store);
                let key = AttemptKey { account: account(&format!("name {n}")), device: None };
                let now = at(u64::from(n));
                tokio::spawn(async move { store.begin_attempt(key, false, RULE, now).await.unwrap() })
            })
            .collect();
        for tried in tries {
            assert!(matches!(tried.await.unwrap(), Attempt::Go { .. }));
        }
    }
    assert_eq!(store.count_attempts().await.unwrap(), 1 + 100);
    Arc::into_inner(store).unwrap().close().await;
    std::fs::metadata(data.join(SqliteStore::FILE)).unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spray_over_names_of_nobody_takes_bounded_room_and_forgets_no_user() {
    let (store, folder) = store().await;
    for _ in 0..5 {
        assert_eq!(wait(&store, of("alice", None), 0).await, None);
    }
    store.close().await;
    let data = folder.path().join("data");
    let bytes = spray(&data, 0).await;
    assert_eq!(spray(&data, 5_000).await, bytes, "no more on disk for twice the names");
    let store = SqliteStore::open(&data).await.unwrap();
    assert_eq!(wait(&store, of("alice", None), 0).await, Some(1), "a user's failures are kept");
    // Of unknown names, the newest are remembered.
    let newest = AttemptKey { account: account("name 9999"), device: None };
    for _ in 0..4 {
        let tried = store.begin_attempt(newest, false, RULE, at(9_999)).await.unwrap();
        assert!(matches!(tried, Attempt::Go { .. }));
    }
    let tried = store.begin_attempt(newest, false, RULE, at(9_999)).await.unwrap();
    assert_eq!(tried, Attempt::Wait(Duration::from_secs(1)), "the same as for a user");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_made_once_and_of_one_purpose() {
    let (one, folder) = store().await;
    let two = SqliteStore::open(&folder.path().join("data")).await.unwrap();
    let secret = one.secret("a").await.unwrap();
    assert_eq!(two.secret("a").await.unwrap(), secret);
    assert_ne!(two.secret("b").await.unwrap(), secret);
    assert_ne!(store().await.0.secret("a").await.unwrap(), secret);
}

// ---- live sessions ----

fn session(n: u8, subject: &str, started: u64) -> SessionRecord {
    SessionRecord {
        id: SessionId::from_bytes([n; 16]),
        subject: Subject::new(subject).unwrap(),
        parent: None,
        audience: None,
        address: Some("192.0.2.1".to_owned()),
        user_agent: None,
        started: at(started),
        auth_time: at(started),
        last_renewal: at(started),
        ends: at(started + 43_200),
        row: Row {
            generation: 0,
            issued: at(started),
            expires: at(started + 900),
            renewable_until: at(started + 900),
            key_id: KeyId::from_bytes([1; 8]),
            carried: [7; 32],
            seen_at: None,
            repeated_at: None,
            profile: Profile::Standard,
        },
        password_version: None,
        replaces: None,
    }
}

fn caps(account: Option<(u32, WhenFull)>, network: Option<(u32, WhenFull)>) -> SessionCaps {
    let cap = |(most, when_full)| Cap { most, when_full };
    SessionCaps {
        account: account.map(cap),
        network: network.map(|of| ("192.0.2.1".to_owned(), cap(of))),
        replaces: None,
    }
}

async fn insert(
    store: &SqliteStore,
    session: SessionRecord,
    caps: &SessionCaps,
    now: u64,
) -> Result<Vec<u8>, CapScope> {
    match store.insert_session(session, caps.clone(), None, at(now)).await {
        Ok(made) => Ok(made.iter().map(|room| room.id.as_bytes()[0]).collect()),
        Err(StoreError::SessionsExceeded(scope)) => Err(scope),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_sessions_as_there_may_be_and_the_oldest_end() {
    let (store, _folder) = store().await;
    let three = caps(Some((3, WhenFull::EndOldest)), None);
    for n in 1..=3 {
        assert_eq!(insert(&store, session(n, "alice", n.into()), &three, 3).await, Ok(vec![]));
    }
    assert_eq!(insert(&store, session(9, "bob", 0), &three, 3).await, Ok(vec![]), "somebody else's");
    let before = store.position().await.unwrap();
    assert_eq!(insert(&store, session(4, "alice", 4), &three, 4).await, Ok(vec![1]));
    // The feed has the ended session, so every verifier refuses it.
    let changes = store.revocations_after(before).await.unwrap();
    let ended = Entry::Session { sid: SessionId::from_bytes([1; 16]), ends: at(43_201) };
    assert_eq!(changes.entries, [ended]);
    let audit = &store.audit(None, 9).await.unwrap()[0].event;
    assert_eq!((audit.kind.as_str(), audit.subject.as_deref()), ("session_ended", Some("alice")));
    // A lowered bound ends as many sessions as necessary.
    let two = caps(Some((2, WhenFull::EndOldest)), None);
    assert_eq!(insert(&store, session(5, "alice", 5), &two, 5).await, Ok(vec![2, 3]));
    let alice = Subject::new("alice").unwrap();
    assert_eq!(store.count_live_sessions(&alice, at(5)).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_does_not_count() {
    let (store, _folder) = store().await;
    let two = caps(Some((2, WhenFull::Refuse)), Some((3, WhenFull::Refuse)));
    let insert = async |n, subject, now| insert(&store, session(n, subject, now), &two, now).await;
    assert_eq!(insert(1, "alice", 0).await, Ok(vec![]));
    assert_eq!(insert(2, "alice", 1).await, Ok(vec![]));
    assert_eq!(insert(3, "alice", 2).await, Err(CapScope::Account));
    let one = Target::Session { id: SessionId::from_bytes([1; 16]), ends: None };
    store.revoke(one, None, at(2)).await.unwrap();
    assert_eq!(insert(3, "alice", 2).await, Ok(vec![]), "a revoked session");
    assert_eq!(insert(4, "alice", 900).await, Err(CapScope::Account));
    assert_eq!(insert(4, "alice", 901).await, Ok(vec![]), "a token that has expired");
    assert_eq!(insert(5, "bob", 901).await, Ok(vec![]));
    assert_eq!(insert(6, "carol", 901).await, Err(CapScope::Network), "three from one address");
    store.revoke(Target::Subject(Subject::new("alice").unwrap()), None, at(901)).await.unwrap();
    assert_eq!(insert(6, "carol", 901).await, Ok(vec![]), "a revoked subject, for the address too");
    assert_eq!(insert(7, "bob", 901).await, Ok(vec![]));
    assert_eq!(insert(8, "dora", 901).await, Err(CapScope::Network));
    // The session that it replaces does not count.
    let instead = SessionCaps { replaces: Some(SessionId::from_bytes([7; 16])), ..two.clone() };
    assert_eq!(self::insert(&store, session(9, "bob", 902), &instead, 902).await, Ok(vec![]));
    // Another network has its own bound.
    let elsewhere = SessionCaps {
        network: Some(("192.0.2.2".to_owned(), two.network.clone().unwrap().1)),
        ..two.clone()
    };
    assert_eq!(self::insert(&store, session(10, "dora", 902), &elsewhere, 902).await, Ok(vec![]));
    store.revoke(Target::All, None, at(902)).await.unwrap();
    assert_eq!(insert(11, "dora", 903).await, Ok(vec![]), "all revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn log_ins_at_once_never_exceed_the_cap() {
    for when_full in [WhenFull::Refuse, WhenFull::EndOldest] {
        let (one, folder) = store().await;
        let two = SqliteStore::open(&folder.path().join("data")).await.unwrap();
        let stores = [Arc::new(one), Arc::new(two)];
        let barrier = Arc::new(Barrier::new(40));
        let log_ins: Vec<_> = (0..40_u8)
            .map(|n| {
                let (store, barrier) = (Arc::clone(&stores[usize::from(n) % 2]), Arc::clone(&barrier));
                tokio::spawn(async move {
                    barrier.wait().await;
                    let caps = caps(Some((7, when_full)), Some((7, when_full)));
                    insert(&store, session(n, "alice", 0), &caps, 0).await.is_ok()
                })
            })
            .collect();
        let mut started = 0;
        for log_in in log_ins {
            started += u32::from(log_in.await.unwrap());
        }
        assert_eq!(started, if when_full == WhenFull::Refuse { 7 } else { 40 });
        let alice = Subject::new("alice").unwrap();
        assert_eq!(stores[0].count_live_sessions(&alice, at(0)).await.unwrap(), 7);
    }
}

// ---- the service ----
