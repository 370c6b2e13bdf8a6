//! Item 4 of what a flood and a guesser run into: exact numbers, with a clock
//! that the test moves where there is one, and small limits where there is not.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hallpass::http::SESSION_COOKIE;
use hallpass::issuer::ledger::Row;
use hallpass::issuer::store::*;
use hallpass::revocation::{Entry, Feed, FeedKeys, RevocationList};
use hallpass::{Clock, KeyId, LiveKeys, SessionId, Subject, SubjectHash, SystemClock, UnixTime};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::support::store::StoreExt as _;
use crate::support::{Home, PASSWORD, Running, bearer, client, ok};

const RULE: AttemptRule = AttemptRule {
    free: 5,
    first_wait: Duration::from_secs(1),
    longest_wait: Duration::from_secs(900),
    most: 100,
    names_of_nobody: 100,
};
const SECRET: &str = "0123456789abcdef0123456789abcdef";

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

/// The wait, or `None` if the attempt was let through.
async fn wait(store: &SqliteStore, key: AttemptKey, now: u64) -> Option<u64> {
    match begin(store, key, now).await {
        Attempt::Go { .. } => None,
        Attempt::Wait(wait) => Some(wait.as_secs()),
        Attempt::Locked => Some(u64::MAX),
    }
}

/// Fails as often as strangers may, as fast as the waits allow: the waits, each
/// with the failures before it.
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

    // NIST SP 800-63B-4 §3.2.2 counts by account: known devices have the last ten.
    let mut devices = 0;
    for n in 0..20 {
        // A failure of a device makes its wait alone.
        if let Attempt::Go { last, .. } = begin(&store, of("alice", Some(n)), YEAR).await {
            devices += 1;
            assert_eq!(last, devices == 10);
        }
    }
    assert_eq!(devices, 10);
    assert_eq!(begin(&store, of("alice", Some(99)), 2 * YEAR).await, Attempt::Locked);

    // A restart forgets nothing.
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

/// Until alice is locked out.
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
    // The fifth is right.
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
    // The lock has gone, the slow pace has not.
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

/// Tries 5,000 names that nobody has; how large the database is afterwards.
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
    // Of nobody's names the newest are known.
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
            key_id: KeyId::from_bytes([1; 8]),
            carried: [7; 32],
            seen_at: None,
            repeated_at: None,
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
    // It is in the feed, and so is refused everywhere.
    let changes = store.revocations_after(before).await.unwrap();
    let ended = Entry::Session { sid: SessionId::from_bytes([1; 16]), ends: at(43_201) };
    assert_eq!(changes.entries, [ended]);
    let audit = &store.audit(None, 9).await.unwrap()[0].event;
    assert_eq!((audit.kind.as_str(), audit.subject.as_deref()), ("session_ended", Some("alice")));
    // A bound that was lowered ends as many as it takes.
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
    // The one that it takes the place of.
    let instead = SessionCaps { replaces: Some(SessionId::from_bytes([7; 16])), ..two.clone() };
    assert_eq!(self::insert(&store, session(9, "bob", 902), &instead, 902).await, Ok(vec![]));
    // Another network has its own.
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

/// Waits so long that no test sees their end.
const SLOW: &str = "[limits]\nfailures_before_wait = 3\nfirst_wait = \"60s\"\n";

fn serve(home: &Home, config: &str) -> Running {
    let config = home.write("limits.toml", config);
    home.serve_with(&["--config", config.to_str().unwrap()], &[("HALLPASS_SERVICE_TOKEN", SECRET)])
}

/// A client at another address of this machine.
fn from(last: u8) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    client.local_address(address).tls_certs_only([]).build().unwrap()
}

async fn log_in(client: &reqwest::Client, serve: &Running, name: &str, password: &str) -> Response {
    let body = json!({ "username": name, "password": password, "transport": "bearer" });
    client.post(serve.at("/login")).json(&body).send().await.unwrap()
}

async fn status(client: &reqwest::Client, serve: &Running, name: &str, password: &str) -> u16 {
    log_in(client, serve, name, password).await.status().as_u16()
}

fn retry_after(answer: &Response) -> u64 {
    answer.headers()["retry-after"].to_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_not_looked_at_before_the_wait_is_over() {
    let home = Home::new();
    home.add_user("bob", &[]);
    let mut running = serve(&home, SLOW);
    // The same answers for a name that nobody has, to the byte.
    let mut answers = Vec::new();
    for name in ["alice", "nobody"] {
        let mut said = Vec::new();
        for _ in 0..3 {
            let answer = log_in(&client(), &running, name, "wrong").await;
            said.push((answer.status(), answer.text().await.unwrap()));
        }
        let answer = log_in(&client(), &running, name, PASSWORD).await;
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS, "right, and too soon");
        let wait = retry_after(&answer);
        assert!((1..=60).contains(&wait), "{wait}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        said.push((answer.status(), answer.text().await.unwrap()));
        answers.push(said);
    }
    assert_eq!(answers[0], answers[1]);
    assert!(answers[0][..3].iter().all(|(status, _)| *status == StatusCode::UNAUTHORIZED));
    let log = running.log();
    assert_eq!(log.matches("password refused").count(), 6);
    assert_eq!(log.matches("excess_rate_limit_exceeded").count(), 2);
    assert_eq!(log.matches("password accepted").count(), 0);
    assert_eq!(status(&client(), &running, "bob", PASSWORD).await, 200);

    // A person is told how long, and nothing else that a program is not.
    let page = client()
        .post(running.at("/login"))
        .header("accept", "text/html")
        .form(&[("username", "alice"), ("password", PASSWORD)])
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!((1..=60).contains(&retry_after(&page)));
    let page = page.text().await.unwrap();
    assert!(page.contains("Too many attempts to log in. Try again in "), "{page}");
    assert!(page.contains("In a browser in which you logged in before"), "{page}");

    // A restart forgets nothing, and another process knows.
    let beside = serve(&home, SLOW);
    assert_eq!(status(&client(), &beside, "alice", PASSWORD).await, 429);
    running.signal("TERM");
    running.wait();
    let running = serve(&home, SLOW);
    assert_eq!(status(&client(), &running, "alice", PASSWORD).await, 429);

    // The operator's way out, both of them.
    let data = home.path("data");
    ok(&["user", "unlock", "alice", "--data", &data], b"");
    assert_eq!(status(&client(), &running, "alice", PASSWORD).await, 200);
    for _ in 0..3 {
        assert_eq!(status(&client(), &running, "alice", "wrong").await, 401);
    }
    assert_eq!(status(&client(), &running, "alice", PASSWORD).await, 429);
    ok(&["user", "passwd", "alice", "--data", &data], b"another good one\n");
    assert_eq!(status(&client(), &running, "alice", "another good one").await, 200);
    crate::support::misused(&["user", "unlock", "carol", "--data", &data], "no user 'carol'");
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_at_once_get_no_more_tries() {
    let home = Home::new();
    let serve = Arc::new(serve(&home, SLOW));
    let barrier = Arc::new(Barrier::new(30));
    let guesses: Vec<_> = (0..30)
        .map(|_| {
            let (serve, barrier) = (Arc::clone(&serve), Arc::clone(&barrier));
            tokio::spawn(async move {
                barrier.wait().await;
                status(&client(), &serve, "alice", "wrong").await
            })
        })
        .collect();
    let mut said = Vec::new();
    for guess in guesses {
        said.push(guess.await.unwrap());
    }
    said.sort_unstable();
    assert_eq!(said.iter().filter(|code| **code == 401).count(), 3, "{said:?}");
    // Too soon; or one address has as many at once as it may have.
    assert!(said[3..].iter().all(|code| [429, 503].contains(code)), "{said:?}");
    // The log may be a moment behind.
    for _ in 0..100 {
        if serve.log().matches("password refused").count() >= 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(serve.log().matches("password refused").count(), 3);
}

/// A log-in as a browser does it; the answer's cookies.
async fn browser(serve: &Running, name: &str, password: &str, cookies: &str) -> (u16, Vec<String>) {
    let answer = client()
        .post(serve.at("/login"))
        .header("cookie", cookies)
        .json(&json!({ "username": name, "password": password }))
        .send()
        .await
        .unwrap();
    let set = answer.headers().get_all("set-cookie").iter();
    (answer.status().as_u16(), set.map(|cookie| cookie.to_str().unwrap().to_owned()).collect())
}

fn pair(cookies: &[String], name: &str) -> String {
    let cookie = cookies.iter().find(|cookie| cookie.starts_with(&format!("{name}="))).unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_do_not_lock_a_known_device_out() {
    let home = Home::new();
    home.add_user("bob", &[]);
    let serve = serve(&home, SLOW);
    let (status_code, set) = browser(&serve, "alice", PASSWORD, "").await;
    assert_eq!((status_code, set.len()), (200, 2));
    assert!(set[0].starts_with(SESSION_COOKIE), "the session first");
    for word in ["Secure", "HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=15552000"] {
        assert!(set[1].contains(word), "{}", set[1]);
    }
    assert!(!set[1].contains("Domain"));
    let device = pair(&set, "__Host-device");
    let bobs = pair(&browser(&serve, "bob", PASSWORD, "").await.1, "__Host-device");

    for _ in 0..3 {
        assert_eq!(status(&from(2), &serve, "alice", "wrong").await, 401);
    }
    assert_eq!(browser(&serve, "alice", PASSWORD, "").await.0, 429);
    assert_eq!(browser(&serve, "alice", PASSWORD, &bobs).await.0, 429, "somebody else's device");
    let last = device.chars().last().unwrap();
    let forged = format!("{}{}", &device[..device.len() - 1], if last == 'A' { 'B' } else { 'A' });
    assert_eq!(browser(&serve, "alice", PASSWORD, &forged).await.0, 429);
    let twice = format!("{device}; {device}");
    assert_eq!(browser(&serve, "alice", PASSWORD, &twice).await.0, 429, "one of two was planted");
    // The owner's browser: log-in, as always; and wrong passwords count for it alone.
    let (code, again) = browser(&serve, "alice", PASSWORD, &device).await;
    assert_eq!(code, 200);
    let renewed = pair(&again, "__Host-device");
    for _ in 0..3 {
        assert_eq!(browser(&serve, "alice", "wrong", &renewed).await.0, 401);
    }
    assert_eq!(browser(&serve, "alice", PASSWORD, &device).await.0, 429, "the same device");

    // It is no session, and no session is one.
    let value = device.split_once('=').unwrap().1;
    let session = pair(&set, SESSION_COOKIE);
    for cookies in [format!("{SESSION_COOKIE}={value}"), device.clone()] {
        let answer = client().get(serve.at("/session")).header("cookie", cookies).send().await.unwrap();
        assert_eq!(answer.status(), 401);
    }
    assert_eq!(client().get(serve.at("/session")).bearer_auth(value).send().await.unwrap().status(), 401);
    let token = session.split_once('=').unwrap().1;
    let posing = format!("__Host-device={token}");
    assert_eq!(browser(&serve, "alice", PASSWORD, &posing).await.0, 429);
    // Neither log nor database says the cookie.
    assert!(!serve.log().contains(value));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_session_has_few_guesses_at_the_password() {
    let home = Home::new();
    let serve = serve(&home, SLOW);
    let (stolen, owners) = (bearer(&serve.url).await, bearer(&serve.url).await);
    let step_up = async |token: &str, password: &str| {
        let body = json!({ "password": password });
        let request = client().post(serve.at("/reauthenticate")).bearer_auth(token).json(&body);
        request.send().await.unwrap().status().as_u16()
    };
    let revoke_others = async |token: &str, password: &str| {
        let body = json!({ "password": password });
        let request = client().post(serve.at("/sessions/revoke-others")).bearer_auth(token).json(&body);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(step_up(&stolen, "wrong").await, 401);
    assert_eq!(revoke_others(&stolen, "wrong").await, 401);
    assert_eq!(step_up(&stolen, "wrong").await, 401);
    assert_eq!(step_up(&stolen, PASSWORD).await, 429);
    assert_eq!(revoke_others(&stolen, PASSWORD).await, 429);
    // Neither another session nor a log-in is held up by that.
    assert_eq!(step_up(&owners, PASSWORD).await, 200);
    assert_eq!(status(&client(), &serve, "alice", PASSWORD).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_its_own_rate_and_proxies_are_believed_if_trusted() {
    let home = Home::new();
    let limits = "[limits]\nattempts_per_address = { burst = 4, per_minute = 1 }\n";
    let plain = serve(&home, limits);
    let forwarded = async |serve: &Running, last: u8, header: &str| {
        let body = json!({ "username": "alice", "password": PASSWORD, "transport": "bearer" });
        let request = from(last).post(serve.at("/login")).header("x-forwarded-for", header).json(&body);
        request.send().await.unwrap().status().as_u16()
    };
    // A spray over accounts from one address, and X-Forwarded-For from nobody trusted.
    for n in 0..4 {
        assert_eq!(status(&from(2), &plain, &format!("name {n}"), "wrong").await, 401);
    }
    let answer = log_in(&from(2), &plain, "alice", PASSWORD).await;
    assert_eq!(answer.status(), 429);
    assert!((1..=60).contains(&retry_after(&answer)));
    for header in ["198.51.100.1", "127.0.0.3", "::1"] {
        assert_eq!(forwarded(&plain, 2, header).await, 429, "{header}");
    }
    assert_eq!(status(&from(3), &plain, "alice", PASSWORD).await, 200);
    drop(plain);

    let proxied = serve(&home, &format!("trusted_proxies = [\"127.0.0.8/31\"]\n{limits}"));
    for n in 0..4 {
        // What the client writes itself is on the left.
        assert_eq!(forwarded(&proxied, 9, &format!("192.0.2.{n}, 198.51.100.1")).await, 200);
    }
    for header in
        ["198.51.100.1", "192.0.2.77, 198.51.100.1", "198.51.100.1, 127.0.0.8", "::ffff:198.51.100.1"]
    {
        assert_eq!(forwarded(&proxied, 9, header).await, 429, "{header}");
    }
    assert_eq!(forwarded(&proxied, 9, "198.51.100.2").await, 200, "another client of the proxy");
    for n in 1..=4 {
        assert_eq!(forwarded(&proxied, 9, &format!("2001:db8:1:1::{n}")).await, 200);
    }
    assert_eq!(forwarded(&proxied, 9, "2001:db8:1:1:ffff::5").await, 429, "the same /64");
    assert_eq!(forwarded(&proxied, 9, "2001:db8:1:2::5").await, 200);
    // Not through the proxy: what it says of itself is nothing.
    assert_eq!(forwarded(&proxied, 2, "198.51.100.1").await, 200);
}

async fn start(serve: &Running, body: Value) -> Response {
    client().post(serve.at("/sessions")).bearer_auth(SECRET).json(&body).send().await.unwrap()
}

async fn lives(serve: &Running, token: &str) -> bool {
    client().get(serve.at("/session")).bearer_auth(token).send().await.unwrap().status() == 200
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_start_at_a_rate_per_account_and_per_address() {
    let home = Home::new();
    let serve = serve(
        &home,
        "[limits]\nnew_sessions_per_account = { burst = 3, per_minute = 1 }\n\
         new_sessions_per_address = { burst = 5, per_minute = 1 }\n",
    );
    let code = async |subject: &str, address: Option<&str>| {
        let answer = start(&serve, json!({ "subject": subject, "address": address })).await;
        let code = answer.status().as_u16();
        assert_eq!(answer.headers().contains_key("retry-after"), code == 429);
        code
    };
    for _ in 0..3 {
        assert_eq!(code("carol", Some("198.51.100.1")).await, 200);
    }
    assert_eq!(code("carol", Some("198.51.100.1")).await, 429, "a fourth of the account");
    assert_eq!(code("dora", Some("198.51.100.1")).await, 200, "the fifth of the address");
    assert_eq!(code("emil", Some("198.51.100.1")).await, 429);
    assert_eq!(code("emil", Some("198.51.100.2")).await, 200);
    // A service that doesn't say where its users are is not held for one of them.
    for n in 0..8 {
        assert_eq!(code(&format!("user {n}"), None).await, 200);
    }
    assert!(serve.log().contains("excess_sessions_exceeded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_session_ends_when_there_are_too_many() {
    let home = Home::new();
    let serve = serve(&home, "[limits]\nsessions_per_account = 3\n");
    let feed_keys =
        FeedKeys::from_bytes(&ok(&["key", "export", "--use", "feed", "--dir", &home.path("keys")], b""))
            .unwrap();
    let mut tokens = Vec::new();
    for n in 0..5 {
        tokens.push(bearer(&serve.url).await);
        // Sessions of one second have no order.
        if n < 2 {
            tokio::time::sleep(Duration::from_millis(1100)).await;
        }
    }
    let mut alive = Vec::new();
    for token in &tokens {
        alive.push(lives(&serve, token).await);
    }
    assert_eq!(alive, [false, false, true, true, true]);
    // Edges hear of it.
    let (list, keys) = (RevocationList::new(), LiveKeys::awaiting());
    let body = client().get(serve.at("/revocations")).send().await.unwrap().bytes().await.unwrap();
    let now = SystemClock.now();
    Feed::from_bytes(&feed_keys, &body, now).unwrap().apply(&list, &keys, now).unwrap();
    let verifier = hallpass::Verifier::builder(keys).revocations(list).build().unwrap();
    let refused = verifier.verify::<()>(&tokens[0], now).unwrap_err();
    assert_eq!(refused.reason().as_str(), "revoked");
    verifier.verify::<()>(&tokens[4], now).unwrap();
    assert!(serve.log().contains("excess_sessions_exceeded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_session_starts_when_there_are_too_many_and_none_may_end() {
    let home = Home::new();
    let serve = serve(
        &home,
        "[limits]\nsessions_per_account = 2\nwhen_account_is_full = \"refuse\"\nsessions_per_address = 3\n",
    );
    let first = bearer(&serve.url).await;
    bearer(&serve.url).await;
    let answer = log_in(&client(), &serve, "alice", PASSWORD).await;
    assert_eq!((answer.status().as_u16(), retry_after(&answer)), (429, 60));
    assert!(answer.text().await.unwrap().contains("too many sessions"));
    // A step-up takes the place of its session, so it is none too many.
    let body = json!({ "password": PASSWORD });
    let answer = client().post(serve.at("/reauthenticate")).bearer_auth(&first).json(&body).send();
    assert_eq!(answer.await.unwrap().status(), 200);
    // Where they may not end, the address refuses too.
    for (subject, code) in [("carol", 200), ("dora", 429)] {
        let body = json!({ "subject": subject, "address": "127.0.0.1" });
        assert_eq!(start(&serve, body).await.status().as_u16(), code, "{subject}");
    }
    assert_eq!(client().post(serve.at("/logout")).bearer_auth(&first).send().await.unwrap().status(), 204);
    assert_eq!(start(&serve, json!({ "subject": "dora", "address": "127.0.0.1" })).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_at_once_never_exceed_the_cap() {
    let home = Home::new();
    let serve =
        Arc::new(serve(&home, "[limits]\nsessions_per_account = 4\nwhen_account_is_full = \"refuse\"\n"));
    let barrier = Arc::new(Barrier::new(24));
    let started: Vec<_> = (0..24)
        .map(|_| {
            let (serve, barrier) = (Arc::clone(&serve), Arc::clone(&barrier));
            tokio::spawn(async move {
                barrier.wait().await;
                start(&serve, json!({ "subject": "carol" })).await.status().as_u16()
            })
        })
        .collect();
    let mut codes = Vec::new();
    for one in started {
        codes.push(one.await.unwrap());
    }
    codes.sort_unstable();
    assert_eq!(codes, [vec![200; 4], vec![429; 20]].concat());
}

#[test]
fn limits_out_of_bounds_are_refused_at_start() {
    let home = Home::new();
    let config = home.write("bad.toml", "[limits]\nmost_failures = 101\n");
    let (data, keys) = (home.path("data"), home.path("keys"));
    let args = ["serve", "--listen", "127.0.0.1:0", "--data", &data, "--keys", &keys, "--config"];
    let args = [&args[..], &[config.to_str().unwrap()]].concat();
    crate::support::misused(&args, "limits.most_failures is 101, and must be from 12 to 100");
}
