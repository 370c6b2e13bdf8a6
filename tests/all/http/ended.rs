//! `Session::ended()`, and a WebSocket that uses it.

use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use hallpass::revocation::{Entry, Position, RevocationList, SubjectHash};
use hallpass::{
    Algorithm, Clock, Ended, KeyId, KeySet, KeyUse, LifetimeSettings, Lifetimes, LiveKeys, Minter,
    NewSession, Session, SigningKey, StalePolicy, Subject, UnixTime, Verifier,
};
use tokio::time::{Instant, advance};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};

#[path = "../../../examples/websocket.rs"]
mod example;

/// The time of a paused runtime.
#[derive(Clone)]
struct TestClock(Instant);

const START: UnixTime = UnixTime::saturating_from_secs(1_800_000_000);

impl Clock for TestClock {
    fn now(&self) -> UnixTime {
        START.saturating_add(self.0.elapsed())
    }
}

/// A time at which every token of [`START`] has expired.
struct Over;

impl Clock for Over {
    fn now(&self) -> UnixTime {
        START.saturating_add(Duration::from_secs(105))
    }
}

struct World {
    key: SigningKey,
    keys: LiveKeys,
    list: RevocationList,
    verifier: Verifier,
    clock: TestClock,
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32], KeyUse::Session, Algorithm::EdDsa).unwrap()
}

fn world(stale: StalePolicy) -> World {
    let (key, list, clock) = (key(1), RevocationList::new(), TestClock(Instant::now()));
    let keys = LiveKeys::from(KeySet::new([key.verifying_key().clone()]).unwrap());
    let builder = Verifier::builder(keys.clone()).revocations(list.clone()).stale_policy(stale);
    let verifier = builder.build().unwrap().with_clock(clock.clone());
    World { key, keys, list, verifier, clock }
}

impl World {
    /// A token for 100 s, of a session of 1000 s.
    fn token(&self, subject: &str) -> String {
        let secs = Duration::from_secs;
        let settings = LifetimeSettings {
            token_max_age: Some(secs(100)),
            absolute_lifetime: secs(1000),
            ..LifetimeSettings::default()
        };
        let (subject, now) = (Subject::new(subject).unwrap(), self.clock.now());
        let new = NewSession {
            subject: &subject,
            claims: &(),
            started: now,
            auth_time: now,
            ends: None,
            amr: &[],
            bound_to: None,
        };
        let token = Minter::new(Lifetimes::new(settings).unwrap()).start(&self.key, &new, now).unwrap();
        token.as_str().to_owned()
    }

    fn session(&self, subject: &str) -> Session {
        self.verifier.verify(self.token(subject), self.clock.now()).unwrap()
    }

    fn revoke(&self, session: &Session) {
        self.list.insert(Entry::Session { sid: session.id(), ends: session.ends_at() });
    }
}

#[tokio::test(start_paused = true)]
async fn it_ends_at_expiry_plus_leeway_and_not_before() {
    let world = world(StalePolicy::NeverStale);
    let session = world.session("alice");
    let (token, mut ended) = (world.token("alice"), Box::pin(session.ended()));
    // The leeway is 5 s: the token is still valid here.
    tokio::time::sleep(Duration::from_millis(104_900)).await;
    assert_eq!((&mut ended).now_or_never(), None);
    assert!(world.verifier.verify::<()>(&token, world.clock.now()).is_ok());
    assert_eq!(ended.await, Ended::Expired);
    assert!(world.verifier.verify::<()>(&token, world.clock.now()).is_err());
    assert_eq!(world.clock.now(), START.saturating_add(Duration::from_secs(105)));
    // The result stays the same when asked again.
    assert_eq!(session.ended().await, Ended::Expired);
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_any_revocation_of_it_and_no_other() {
    let kinds: [fn(&Session) -> Entry; 4] = [
        |session| Entry::Session { sid: session.id(), ends: session.ends_at() },
        |session| Entry::Subject {
            hash: SubjectHash::of("alice"),
            up_to: session.started_at(),
            ends: session.ends_at(),
        },
        |session| Entry::Key { kid: session.key_id(), ends: session.ends_at() },
        |session| Entry::All { up_to: session.started_at(), ends: session.ends_at() },
    ];
    for revocation in kinds {
        let world = world(StalePolicy::NeverStale);
        let earlier = world.session("bob");
        advance(Duration::from_secs(1)).await;
        let session = world.session("alice");
        let ended = tokio::spawn(session.ended());
        world.revoke(&earlier);
        world.list.insert(Entry::Key { kid: KeyId::from_bytes([9; 8]), ends: UnixTime::MAX });
        world.list.insert(Entry::All { up_to: earlier.started_at(), ends: UnixTime::MAX });
        assert_eq!(earlier.ended().now_or_never(), Some(Ended::Revoked));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!ended.is_finished());
        // No time passes until it has ended.
        let at = Instant::now();
        world.list.insert(revocation(&session));
        assert_eq!(ended.await.unwrap(), Ended::Revoked);
        assert_eq!(at.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn it_ends_by_the_feed_and_when_the_feed_stays_away() {
    let world = world(StalePolicy::RefuseAfter(Duration::from_mins(1)));
    let at = |sequence| Position { epoch: 1, sequence };
    world.list.apply_snapshot(at(1), world.clock.now(), []).unwrap();
    let (one, two) = (world.session("alice"), world.session("bob"));
    let ended = tokio::spawn(one.ended());
    tokio::time::sleep(Duration::from_secs(50)).await;
    let entry = Entry::Session { sid: one.id(), ends: one.ends_at() };
    world.list.apply_delta(1, at(2), world.clock.now(), [entry]).unwrap();
    assert_eq!(ended.await.unwrap(), Ended::Revoked);
    // No update arrives after second 50. The list may be 60 s old, and the token
    // would be valid until second 105.
    assert_eq!(two.ended().now_or_never(), None);
    let three = world.session("carol");
    assert_eq!(three.ended().await, Ended::Stale);
    assert!(three.expires_at() > world.clock.now());
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_its_key_is_gone() {
    let world = world(StalePolicy::NeverStale);
    let session = world.session("alice");
    let ended = tokio::spawn(session.ended());
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.keys.replace(KeySet::new([key(2).verifying_key().clone()]).unwrap());
    assert_eq!(ended.await.unwrap(), Ended::Revoked);
    assert!(session.expires_at() > world.clock.now());
}

#[tokio::test(start_paused = true)]
async fn a_revocation_between_admission_and_waiting_is_not_missed() {
    let world = world(StalePolicy::NeverStale);
    let session = world.session("alice");
    let ended = session.ended();
    world.revoke(&session);
    assert_eq!(ended.now_or_never(), Some(Ended::Revoked));
    // It outlives the session and the verifier.
    let World { verifier, list, .. } = world;
    let ended = self::world(StalePolicy::NeverStale).session("bob").ended();
    drop((verifier, list, session));
    drop(tokio::spawn(ended));
}

#[tokio::test(start_paused = true)]
async fn from_the_cache_it_ends_too() {
    let world = world(StalePolicy::NeverStale);
    let token = world.token("alice");
    let verify = |verifier: &Verifier| verifier.verify::<()>(&token, world.clock.now()).unwrap();
    let new = verify(&world.verifier).ended();
    let seen = verify(&world.verifier);
    // Another clock with the same cache.
    let ahead = verify(&world.verifier.clone().with_clock(Over)).ended();
    assert_eq!(world.verifier.token_cache_counts().unwrap().hits, 2);
    assert_eq!(ahead.now_or_never(), Some(Ended::Expired));
    let (new, mut ended) = (tokio::spawn(new), Box::pin(seen.ended()));
    assert_eq!((&mut ended).now_or_never(), None);
    world.revoke(&seen);
    assert_eq!((ended.await, new.await.unwrap()), (Ended::Revoked, Ended::Revoked));
}

#[tokio::test]
async fn a_websocket_is_closed_when_its_session_is_revoked() {
    let world = world(StalePolicy::NeverStale);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/echo", listener.local_addr().unwrap());
    // The layer uses the system clock, so the token must too.
    let clock = hallpass::SystemClock;
    let verifier = world.verifier.clone().with_clock(clock);
    tokio::spawn(async move { axum::serve(listener, example::app(verifier)).await });

    let connect = |token: Option<String>| {
        let mut request = url.as_str().into_client_request().unwrap();
        if let Some(token) = token {
            request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        tokio_tungstenite::connect_async(request)
    };
    let refused = connect(None).await.unwrap_err();
    assert!(matches!(refused, tungstenite::Error::Http(response) if response.status() == 401));

    let (subject, now) = (Subject::new("alice").unwrap(), clock.now());
    let new = NewSession {
        subject: &subject,
        claims: &(),
        started: now,
        auth_time: now,
        ends: None,
        amr: &[],
        bound_to: None,
    };
    let minter = Minter::new(Lifetimes::default());
    let mine = minter.start(&world.key, &new, now).unwrap();
    let other = minter.start(&world.key, &new, now).unwrap();
    let (mut socket, _) = connect(Some(mine.as_str().to_owned())).await.unwrap();
    let (mut stays, _) = connect(Some(other.as_str().to_owned())).await.unwrap();
    for socket in [&mut socket, &mut stays] {
        socket.send(Message::text("hello")).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
    }

    world.revoke(mine.session());
    let Message::Close(Some(close)) = socket.next().await.unwrap().unwrap() else { panic!("not closed") };
    assert_eq!(close.code, CloseCode::Policy);
    assert!(matches!(connect(Some(mine.as_str().to_owned())).await, Err(tungstenite::Error::Http(_))));
    stays.send(Message::text("still here")).await.unwrap();
    assert_eq!(stays.next().await.unwrap().unwrap(), Message::text("still here"));
}
