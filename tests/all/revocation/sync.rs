//! The feed's client against a producer that can misbehave.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use ciborium::Value;
use hallpass::revocation::feed::{MEDIA_TYPE, NewFeed};
use hallpass::revocation::sync::{Delivery, FeedClient, FeedClientBuilder, FeedHandle, SyncError};
use hallpass::revocation::{Entry, FeedError, FeedKeys, OutOfOrder, Position, RevocationList, SubjectHash};
use hallpass::{
    ConfigError, KeyId, KeyUse, Lifetimes, LiveKeys, Minter, NewSession, Rejection, SessionId, StalePolicy,
    Subject, UnixTime, Verifier,
};
use http::{StatusCode, header};

use crate::support::producer::{
    Book, Producer, Request, body, event, key, now, resigned, session_key, stream,
};

fn entry(n: u64) -> Entry {
    Entry::Session { sid: SessionId::from_bytes(u128::from(n).to_be_bytes()), ends: UnixTime::MAX }
}

struct Edge {
    list: RevocationList,
    keys: LiveKeys,
    handle: FeedHandle,
    task: tokio::task::JoinHandle<std::convert::Infallible>,
}

impl Edge {
    fn start(builder: FeedClientBuilder) -> Self {
        let client = builder.build().unwrap();
        let (list, keys, handle) = (client.list().clone(), client.keys().clone(), client.handle());
        Self { list, keys, handle, task: tokio::spawn(client.run()) }
    }

    async fn reaches(&self, position: Position) {
        self.handle.wait_until(|status| status.position == Some(position)).await;
    }

    /// Waits for the first error from now on.
    async fn error(&self) -> SyncError {
        let status = self.handle.wait_until(|status| status.failures > 0).await;
        status.last_error.unwrap().1
    }

    /// The edge's whole state.
    fn state(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        let snapshot = self.list.snapshot();
        let mut entries: Vec<_> = snapshot.entries().collect();
        entries.sort();
        (snapshot.position(), snapshot.as_of(), entries, self.keys.current())
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn client(producer: &Producer) -> FeedClientBuilder {
    FeedClient::builder(&producer.url)
        .trust(producer.feed_keys())
        .back_off(Duration::from_millis(5), Duration::from_millis(20))
}

const DELIVERIES: [Delivery; 3] =
    [Delivery::Events, Delivery::LongPoll, Delivery::Poll { every: Duration::from_millis(20) }];

#[tokio::test]
async fn revocations_and_keys_get_to_the_edge() {
    for delivery in DELIVERIES {
        let producer = Producer::start().await;
        producer.revoke([entry(1), entry(2)]);
        let edge = Edge::start(client(&producer).delivery(delivery));
        edge.reaches(Position { epoch: 1, sequence: 2 }).await;
        assert_eq!(edge.list.len(), 2);
        assert_eq!(edge.keys.current().iter().len(), 1);

        for n in 3..20 {
            edge.reaches(producer.revoke([entry(n)])).await;
            assert_eq!(edge.list.len(), usize::try_from(n).unwrap());
        }
        producer.book(|book| book.session_keys.push(session_key(3)));
        producer.revoke([Entry::Subject { hash: SubjectHash::of("bob"), up_to: now(), ends: UnixTime::MAX }]);
        edge.reaches(producer.book(|book| book.position)).await;
        assert_eq!(edge.keys.current().iter().len(), 2);

        // A restored store: a lower sequence of a higher epoch.
        producer.book(|book| {
            book.position = Position { epoch: 2, sequence: 1 };
            book.log = vec![(1, entry(99))];
        });
        producer.publish();
        producer.kick();
        edge.reaches(Position { epoch: 2, sequence: 1 }).await;
        assert_eq!(edge.list.snapshot().entries().collect::<Vec<_>>(), [entry(99)]);
        assert_eq!(edge.handle.status().failures, 0);
    }
}

#[tokio::test]
async fn an_issuer_without_events_is_asked_by_long_poll() {
    let producer = Producer::start().await;
    producer.book(|book| book.without_events = true);
    let edge = Edge::start(client(&producer));
    edge.reaches(Position { epoch: 1, sequence: 0 }).await;
    edge.reaches(producer.revoke([entry(1)])).await;
    assert!(producer.book(|book| book.requests.iter().any(|request| request.after.is_some())));
}

#[tokio::test]
async fn events_that_a_proxy_holds_back_give_way_to_long_polls() {
    let producer = Producer::start().await;
    let edge = Edge::start(client(&producer).timeout(Duration::from_millis(300)));
    edge.reaches(Position { epoch: 1, sequence: 0 }).await;
    producer.misbehave(|book, request| match request {
        Request { wants_events: true, .. } => {
            let silence = futures_util::stream::pending();
            stream(silence, "text/event-stream")
        }
        Request { after, .. } => body(&book.after(*after)),
    });
    edge.reaches(producer.revoke([entry(1)])).await;
}

/// What somebody with another key could make; of a session key the library
/// wouldn't, so here it says it is a feed key.
fn forged(book: &Book, seed: u8) -> Vec<Vec<u8>> {
    let mut position = book.position;
    position.sequence += 1;
    let other = [session_key(77)];
    let new = NewFeed { position, session_keys: &other, ..book.new_feed(Some(book.position.sequence)) };
    new.sign(&key(seed, KeyUse::Feed), [entry(666)]).unwrap()
}

/// A feed that would apply, if it were not for what `change` does to it.
fn next(book: &Book, change: impl FnOnce(&mut NewFeed<'_>)) -> Vec<Vec<u8>> {
    let other = [session_key(77)];
    let mut new = NewFeed { session_keys: &other, ..book.new_feed(Some(book.position.sequence)) };
    new.position.sequence += 1;
    change(&mut new);
    new.sign(&book.feed_key, [entry(666)]).unwrap()
}

/// The same with its payload changed under the pinned key's signature.
fn crafted(book: &Book, label: u64, change: impl FnOnce(&mut Value)) -> Vec<Vec<u8>> {
    let part = next(book, |_| {}).remove(0);
    vec![resigned(&part, 1, |fields| {
        let (_, value) = fields.iter_mut().find(|(key, _)| *key == Value::from(label)).unwrap();
        change(value);
    })]
}

/// Two parts' worth.
fn large(book: &Book) -> Vec<Vec<u8>> {
    let mut new = book.new_feed(Some(book.position.sequence));
    new.position.sequence += 1;
    let parts = new.sign(&book.feed_key, (0..90_000).map(|n| entry(1000 + n))).unwrap();
    assert_eq!(parts.len(), 2);
    parts
}

type Bad = fn(&Book) -> Vec<Vec<u8>>;
type Expected = fn(&FeedError) -> bool;

const BAD_FEEDS: &[(&str, Bad, Expected)] = &[
    (
        "a changed bit",
        |book| {
            let mut parts = next(book, |_| {});
            let middle = parts[0].len() / 2;
            parts[0][middle] ^= 1;
            parts
        },
        |_| true,
    ),
    (
        "cut off",
        |book| {
            let mut parts = next(book, |_| {});
            parts[0].truncate(100);
            parts
        },
        |error| matches!(error, FeedError::Malformed(_)),
    ),
    (
        "rolled back",
        |book| {
            next(book, |new| {
                new.position.sequence -= 2;
                new.base = None;
            })
        },
        |error| matches!(error, FeedError::OutOfOrder(OutOfOrder::Backwards { .. })),
    ),
    (
        "an older signature",
        |book| {
            next(book, |new| {
                new.position.sequence -= 1;
                new.issued_at = new.issued_at.saturating_sub(Duration::from_secs(100));
            })
        },
        |error| matches!(error, FeedError::Older { .. }),
    ),
    (
        "a lower epoch",
        |book| {
            next(book, |new| {
                new.position = Position { epoch: 0, sequence: 99 };
                new.base = None;
            })
        },
        |error| matches!(error, FeedError::OutOfOrder(OutOfOrder::Backwards { .. })),
    ),
    (
        "a gap",
        |book| {
            next(book, |new| {
                new.position.sequence += 1;
                new.base = Some(book.position.sequence + 1);
            })
        },
        |error| matches!(error, FeedError::OutOfOrder(OutOfOrder::Gap { .. })),
    ),
    (
        "a delta of another epoch",
        |book| next(book, |new| new.position.epoch += 1),
        |error| matches!(error, FeedError::OutOfOrder(OutOfOrder::Gap { .. })),
    ),
    ("another's feed key", |book| forged(book, 66), |error| matches!(error, FeedError::UnknownKey { .. })),
    ("a session key", |book| forged(book, 2), |error| matches!(error, FeedError::UnknownKey { .. })),
    (
        "the pinned kid and another's signature",
        |book| {
            let part = next(book, |_| {}).remove(0);
            vec![resigned(&part, 66, |_| {})]
        },
        |error| matches!(error, FeedError::BadSignature { .. }),
    ),
    (
        "an unknown kind of entry",
        |book| {
            crafted(book, 8, |entries| {
                entries.as_array_mut().unwrap().push(Value::Array(vec![9.into(), 1.into()]));
            })
        },
        |error| *error == FeedError::UnknownEntry { kind: 9 },
    ),
    (
        "no session keys",
        |book| crafted(book, 9, |keys| keys.as_array_mut().unwrap().clear()),
        |error| *error == FeedError::NoSessionKeys,
    ),
    (
        "the feed key as a session key",
        |book| {
            crafted(book, 9, |keys| {
                let feed_key = book.feed_key.verifying_key();
                let fields = keys.as_array_mut().unwrap()[0].as_array_mut().unwrap();
                fields[0] = Value::Bytes(feed_key.id().as_bytes().to_vec());
                fields[1] = Value::Bytes(feed_key.as_bytes().to_vec());
            })
        },
        |error| matches!(error, FeedError::SharedKey { .. }),
    ),
    (
        "a session key that has retired",
        |book| {
            crafted(book, 9, |keys| {
                keys.as_array_mut().unwrap()[0].as_array_mut().unwrap()[4] = Value::from(1000);
            })
        },
        |error| *error == FeedError::NoSessionKeys,
    ),
    (
        "an unknown field",
        |book| {
            let part = next(book, |_| {}).remove(0);
            vec![resigned(&part, 1, |fields| fields.push((10.into(), 0.into())))]
        },
        |error| matches!(error, FeedError::Malformed(_)),
    ),
    (
        "a stale signature",
        |book| {
            next(book, |new| {
                let long_ago = |at: UnixTime| at.saturating_sub(Duration::from_mins(20));
                (new.issued_at, new.expires_at) = (long_ago(new.issued_at), long_ago(new.expires_at));
            })
        },
        |error| matches!(error, FeedError::Expired { .. }),
    ),
    (
        "from the future",
        |book| next(book, |new| new.issued_at = new.issued_at.saturating_add(Duration::from_mins(5))),
        |error| matches!(error, FeedError::NotYetValid { .. }),
    ),
    (
        "a part twice",
        |book| {
            let parts = large(book);
            vec![parts[0].clone(), parts[0].clone()]
        },
        |error| *error == FeedError::DuplicatePart { part: 0 },
    ),
    (
        "parts of two feeds",
        |book| {
            // Only its expiry is another.
            let part =
                next(book, |new| new.expires_at = new.expires_at.saturating_add(Duration::from_secs(1)));
            let other = resigned(&part[0], 1, |fields| fields[5].1 = Value::Array(vec![1.into(), 2.into()]));
            vec![large(book).remove(0), other]
        },
        |error| *error == FeedError::PartsDisagree,
    ),
];

/// Faults that only a complete body can show.
const BAD_BODIES: &[(&str, Bad, Expected)] = &[
    (
        "a part missing",
        |book| vec![large(book).remove(1)],
        |error| *error == FeedError::MissingParts { found: 1, parts: 2 },
    ),
    ("nothing", |_| vec![], |error| matches!(error, FeedError::Malformed(_))),
    (
        "two feeds",
        |book| [next(book, |_| {}), next(book, |_| {})].concat(),
        |error| matches!(error, FeedError::Malformed(_)),
    ),
    (
        "no feed",
        |_| vec![b"<html>It works!</html>".to_vec()],
        |error| matches!(error, FeedError::Malformed(_)),
    ),
];

/// Each answer in turn: refused for its reason, the edge as it was, and back
/// with the issuer as soon as that is itself again.
async fn every_answer_is_refused(
    edge: &Edge,
    producer: &Producer,
    cases: &[(&'static str, Bad, Expected)],
    answer: fn(Vec<Vec<u8>>, &Request) -> Response,
) {
    for (name, bad, expected) in cases {
        let before = edge.state();
        let bad = *bad;
        producer.misbehave(move |book, request| answer(bad(book), request));
        let error = edge.error().await;
        assert!(matches!(&error, SyncError::Feed(why) if expected(why)), "{name}: {error:?}");
        assert_eq!(edge.state(), before, "{name}");
        producer.behave();
        let next = producer.book(|book| book.position.sequence + 1);
        edge.reaches(producer.revoke([entry(next)])).await;
        assert_eq!(edge.list.len(), usize::try_from(next).unwrap(), "{name}");
    }
}

#[tokio::test]
async fn a_bad_body_changes_nothing() {
    let producer = Producer::start().await;
    let edge = Edge::start(client(&producer).delivery(Delivery::LongPoll));
    edge.reaches(producer.revoke([entry(1), entry(2), entry(3)])).await;
    every_answer_is_refused(&edge, &producer, BAD_FEEDS, |parts, _| body(&parts)).await;
    every_answer_is_refused(&edge, &producer, BAD_BODIES, |parts, _| body(&parts)).await;
}

#[tokio::test]
async fn a_bad_event_changes_nothing() {
    let producer = Producer::start().await;
    let edge = Edge::start(client(&producer));
    edge.reaches(producer.revoke([entry(1), entry(2), entry(3)])).await;
    every_answer_is_refused(&edge, &producer, BAD_FEEDS, |parts, request| {
        use futures_util::StreamExt;
        if !request.wants_events {
            return body(&parts);
        }
        let events: Vec<_> = parts.iter().map(|part| Ok(event(part))).collect();
        // The stream stays open behind them for a while.
        let rest = futures_util::stream::once(async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok(b": bye\n\n".to_vec())
        });
        stream(futures_util::stream::iter(events).chain(rest), "text/event-stream")
    })
    .await;
}

#[tokio::test]
async fn parts_may_come_in_any_order() {
    let producer = Producer::start().await;
    let edge = Edge::start(client(&producer));
    edge.reaches(producer.revoke([entry(1)])).await;
    producer.misbehave(|book, _| {
        let mut parts = large(book);
        parts.reverse();
        body(&parts)
    });
    edge.handle.wait_until(|status| status.position.is_some_and(|at| at.sequence == 2)).await;
    assert_eq!(edge.list.len(), 90_001);
}

type Answer = fn() -> Response;
/// A name, what the issuer answers, and what the client makes of it.
type Case = (&'static str, Answer, fn(&SyncError) -> bool);

fn slowly(chunk: &'static [u8], first: Vec<u8>, kind: &'static str) -> Response {
    let drops = futures_util::stream::unfold(Some(first), move |first| async move {
        if first.is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Some((Ok(first.unwrap_or_else(|| chunk.to_vec())), None))
    });
    stream(drops, kind)
}

fn endless(chunk: Vec<u8>, first: Vec<u8>, kind: &'static str) -> Response {
    let drops = futures_util::stream::unfold(first, move |now| {
        let chunk = chunk.clone();
        async move { Some((Ok(now), chunk)) }
    });
    stream(drops, kind)
}

/// The head of a part whose payload has nearly 2^63 bytes.
const ENDLESS_PART: &[u8] = b"\xd2\x84\x41\xa0\xa0\x5b\x7f\xff\xff\xff\xff\xff\xff\xff";

#[tokio::test]
async fn an_issuer_that_is_broken_slow_or_endless_changes_nothing() {
    let producer = Producer::start().await;
    let cases: &[Case] = &[
        ("500", || StatusCode::INTERNAL_SERVER_ERROR.into_response(), |e| *e == SyncError::Status(500)),
        ("401", || StatusCode::UNAUTHORIZED.into_response(), |e| *e == SyncError::Status(401)),
        ("304 unasked", || StatusCode::NOT_MODIFIED.into_response(), |e| *e == SyncError::Status(304)),
        (
            "a redirect",
            || (StatusCode::FOUND, [(header::LOCATION, "/elsewhere")]).into_response(),
            |e| *e == SyncError::Status(302),
        ),
        (
            "a page",
            || axum::response::Html("It works!").into_response(),
            |e| matches!(e, SyncError::ContentType(_)),
        ),
        (
            "a slow body",
            || slowly(b"\0", ENDLESS_PART.to_vec(), MEDIA_TYPE),
            |e| matches!(e, SyncError::TimedOut(_)),
        ),
        (
            "silence",
            || stream(futures_util::stream::pending(), MEDIA_TYPE),
            |e| matches!(e, SyncError::TimedOut(_)),
        ),
        (
            "an endless part",
            || endless(vec![0; 65536], ENDLESS_PART.to_vec(), MEDIA_TYPE),
            |e| *e == SyncError::Feed(FeedError::TooLong),
        ),
    ];
    let events: &[Case] = &[
        (
            "an endless line",
            || endless(vec![b'A'; 65536], b"data: ".to_vec(), "text/event-stream"),
            |e| matches!(e, SyncError::Events(_)),
        ),
        (
            "comments for ever",
            || slowly(b": x\n\n", b"\n".to_vec(), "text/event-stream"),
            |e| matches!(e, SyncError::TimedOut(_)),
        ),
        (
            "a stream that ends",
            || stream(futures_util::stream::empty(), "text/event-stream"),
            |_| unreachable!("it is no error, only no news"),
        ),
    ];
    let impatient = || client(&producer).timeout(Duration::from_millis(500));
    for (delivery, cases) in [(Delivery::LongPoll, cases), (Delivery::Events, events)] {
        for (name, answer, expected) in cases {
            let edge = Edge::start(impatient().delivery(delivery));
            let next = producer.book(|book| book.position.sequence + 1);
            edge.reaches(producer.revoke([entry(next)])).await;
            // Idle polls have timed out here and there; from now on it counts.
            let before = edge.state();
            let answer = *answer;
            producer.misbehave(move |_, _| answer());
            if *name == "a stream that ends" {
                tokio::time::sleep(Duration::from_millis(50)).await;
            } else {
                edge.handle
                    .wait_until(|status| status.last_error.as_ref().is_some_and(|(_, error)| expected(error)))
                    .await;
            }
            assert_eq!(edge.state(), before, "{name}");
            producer.behave();
            edge.reaches(producer.revoke([entry(next + 1)])).await;
        }
    }
}

#[tokio::test]
async fn a_feed_that_is_too_large_is_not_taken() {
    let producer = Producer::start().await;
    producer.revoke((1..=3000).map(entry));
    let edge = Edge::start(client(&producer).max_feed_bytes(20_000));
    assert_eq!(edge.error().await, SyncError::TooLarge { limit: 20_000 });
    assert_eq!(edge.list.position(), None);
}

#[tokio::test]
async fn an_edge_comes_back_to_an_issuer_that_was_away() {
    let mut producer = Producer::start().await;
    let edge = Edge::start(client(&producer));
    edge.reaches(producer.revoke([entry(1)])).await;
    producer.stop();
    assert!(matches!(edge.error().await, SyncError::Unreachable(_)));
    let meanwhile = producer.revoke([entry(2)]);
    assert_eq!(edge.list.len(), 1);
    producer.restart().await;
    edge.reaches(meanwhile).await;
    assert_eq!(edge.handle.status().failures, 0);
    let asked = producer.book(|book| book.requests.last().cloned().unwrap());
    assert_eq!(asked.after, Some(Position { epoch: 1, sequence: 1 }), "it resumes where it was");
}

fn token(seed: u8) -> (String, KeyId) {
    let (key, subject, now) = (key(seed, KeyUse::Session), Subject::new("alice").unwrap(), now());
    let new = NewSession {
        subject: &subject,
        claims: &(),
        started: now,
        auth_time: now,
        ends: None,
        amr: &[],
        bound_to: None,
    };
    let token = Minter::new(Lifetimes::default()).start(&key, &new, now).unwrap();
    (token.as_str().to_owned(), key.id())
}

fn verifier(edge: &Edge) -> Verifier {
    Verifier::builder(edge.keys.clone()).revocations(edge.list.clone()).build().unwrap()
}

#[tokio::test]
async fn a_stolen_session_key_is_revoked_and_replaced_while_the_edge_runs() {
    let producer = Producer::start().await;
    let edge = Edge::start(client(&producer));
    let verifier = verifier(&edge);
    edge.reaches(Position { epoch: 1, sequence: 0 }).await;
    let ((stolen, kid), (fresh, _)) = (token(2), token(3));
    let verify = |token: &str| verifier.verify::<()>(token, now()).map(drop);
    assert!(verify(&stolen).is_ok());
    assert!(matches!(verify(&fresh), Err(Rejection::UnknownKey { .. })));

    // Revoked at once, and still published: what it signed is refused.
    producer.book(|book| book.session_keys.push(session_key(3)));
    edge.reaches(producer.revoke([Entry::Key { kid, ends: UnixTime::MAX }])).await;
    assert_eq!(verify(&stolen), Err(Rejection::Revoked { by: hallpass::RevokedBy::Key }));
    assert!(verify(&fresh).is_ok());

    // And gone.
    producer.book(|book| drop(book.session_keys.remove(0)));
    edge.reaches(producer.revoke([entry(1)])).await;
    assert_eq!(verify(&stolen), Err(Rejection::UnknownKey { key_id: kid }));
    assert!(verify(&fresh).is_ok());
    assert!(!edge.task.is_finished());
}

#[tokio::test]
async fn an_unknown_kid_asks_once_however_many_tokens_name_it() {
    for delivery in [Delivery::LongPoll, Delivery::Events] {
        let producer = Producer::start().await;
        let edge = Edge::start(client(&producer).delivery(delivery));
        let verifier = verifier(&edge);
        edge.reaches(Position { epoch: 1, sequence: 0 }).await;
        let requests = || producer.book(|book| book.requests.len());
        // Waits until the client polls for changes.
        while requests() < 2 {
            tokio::task::yield_now().await;
        }
        // A new key, of which the issuer says nothing unasked.
        producer.book(|book| book.session_keys.push(session_key(3)));
        let (fresh, _) = token(3);
        assert!(matches!(verifier.verify::<()>(&fresh, now()), Err(Rejection::UnknownKey { .. })));
        while verifier.verify::<()>(&fresh, now()).is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let asked = requests();
        let (forged, _) = token(99);
        for _ in 0..1000 {
            assert!(verifier.verify::<()>(&forged, now()).is_err());
        }
        assert!(!edge.handle.refresh());
        tokio::time::sleep(Duration::from_millis(100)).await;
        // The connection that waits on after the refresh is one.
        assert!(requests() <= asked + 1, "{delivery:?}: {} requests more", requests() - asked);
    }
}

#[tokio::test]
async fn an_edge_starts_from_what_it_kept() {
    let producer = Producer::start().await;
    let dir = tempfile::tempdir().unwrap();
    let kept = |producer: &Producer| client(producer).cache_dir(dir.path());
    producer.revoke([entry(1), entry(2)]);
    let first = Edge::start(kept(&producer));
    first.reaches(Position { epoch: 1, sequence: 2 }).await;
    for n in 3..6 {
        first.reaches(producer.revoke([entry(n)])).await;
    }
    let file = |name: &str| dir.path().join(name);
    // It is written behind the feed's back: three deltas and a re-signing.
    let resigning = producer.book(|book| book.after(Some(book.position)).concat().len());
    let trusted = producer.feed_keys();
    loop {
        producer.publish();
        tokio::time::sleep(Duration::from_millis(5)).await;
        let deltas = std::fs::read(file("feed-deltas.cborseq")).unwrap_or_default();
        if file("feed-snapshot.cborseq").exists() && deltas.len() > 4 * resigning {
            break;
        }
    }
    let known = first.list.position();
    drop(first);
    let start = |builder: FeedClientBuilder| async {
        let edge = Edge::start(builder);
        edge.error().await;
        edge
    };

    producer.stop();
    let edge = start(kept(&producer)).await;
    assert_eq!(edge.list.position(), known);
    assert_eq!(edge.list.len(), 5);
    assert_eq!(edge.handle.status().last_success, None);
    // How old it may be is the policy's to say, by its signed time.
    let signed = edge.list.as_of().unwrap();
    let bound = Duration::from_secs(100);
    let verifier = Verifier::builder(edge.keys.clone())
        .revocations(edge.list.clone())
        .stale_policy(StalePolicy::RefuseAfter(bound))
        .build()
        .unwrap();
    let (good, _) = token(2);
    let verify = |at: UnixTime| verifier.verify::<()>(&good, at).map(drop);
    assert_eq!(verify(signed.saturating_add(bound)), Ok(()));
    let late = signed.saturating_add(bound + Duration::from_secs(1));
    assert_eq!(verify(late), Err(Rejection::RevocationsStale { as_of: Some(signed), now: late }));
    drop(edge);

    // Of another issuer: not used.
    let other = FeedKeys::new([key(9, KeyUse::Feed).verifying_key().clone()]).unwrap();
    let edge = start(kept(&producer).trust(other)).await;
    assert_eq!((edge.list.position(), edge.keys.current().iter().len()), (None, 0));
    drop(edge);

    // Deltas that are cut off, in the last but one: as far as they go.
    let deltas = std::fs::read(file("feed-deltas.cborseq")).unwrap();
    std::fs::write(file("feed-deltas.cborseq"), &deltas[..deltas.len() - resigning - 1]).unwrap();
    let edge = start(kept(&producer)).await;
    assert!(edge.list.position() < known && edge.list.position().is_some());
    drop(edge);

    // Deltas from before the snapshot: the process ended between the two.
    let snapshot = producer.book(|book| book.snapshot().concat());
    std::fs::write(file("feed-snapshot.cborseq"), snapshot).unwrap();
    std::fs::write(file("feed-deltas.cborseq"), &deltas).unwrap();
    let edge = start(kept(&producer)).await;
    assert_eq!((edge.list.position(), edge.list.len()), (known, 5));
    drop(edge);

    // Changed: not used.
    let mut snapshot = std::fs::read(file("feed-snapshot.cborseq")).unwrap();
    snapshot[200] ^= 1;
    std::fs::write(file("feed-snapshot.cborseq"), snapshot).unwrap();
    let edge = start(kept(&producer)).await;
    assert_eq!(edge.list.position(), None);
    assert!(hallpass::revocation::Feed::from_bytes(&trusted, &deltas, now()).is_err(), "they are several");
}

#[tokio::test]
async fn feed_keys_can_be_trusted_on_first_use_and_then_stay() {
    let producer = Producer::start().await;
    let dir = tempfile::tempdir().unwrap();
    let on_first_use =
        || client(&producer).trust_on_first_use().cache_dir(dir.path()).delivery(Delivery::LongPoll);
    let first = Edge::start(on_first_use());
    first.reaches(producer.revoke([entry(1)])).await;
    drop(first);
    // Another server in the issuer's place.
    producer.book(|book| book.feed_key = key(66, KeyUse::Feed));
    std::fs::remove_file(dir.path().join("feed-snapshot.cborseq")).ok();
    let second = Edge::start(on_first_use());
    let key_id = key(66, KeyUse::Feed).id();
    assert_eq!(second.error().await, SyncError::Feed(FeedError::UnknownKey { key_id }));
    drop(second);
    // A pin that can't be read is not replaced.
    std::fs::write(dir.path().join("feed-keys.cbor"), b"junk").unwrap();
    let third = Edge::start(on_first_use());
    assert!(matches!(third.error().await, SyncError::FeedKeys(_)));
    assert_eq!(std::fs::read(dir.path().join("feed-keys.cbor")).unwrap(), b"junk");
}

#[tokio::test]
async fn plain_polls_are_spared_what_they_have() {
    let producer = Producer::start().await;
    let every = Duration::from_millis(5);
    let edge = Edge::start(client(&producer).delivery(Delivery::Poll { every }));
    edge.reaches(producer.revoke([entry(1)])).await;
    let tags = || {
        producer.book(|book| book.requests.iter().filter(|request| request.if_none_match.is_some()).count())
    };
    while tags() < 3 {
        tokio::time::sleep(every).await;
    }
    assert_eq!(edge.handle.status().failures, 0);
    edge.reaches(producer.revoke([entry(2)])).await;
}

#[test]
fn what_can_not_work_is_said_when_it_is_built() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let keys = || FeedKeys::new([key(1, KeyUse::Feed).verifying_key().clone()]).unwrap();
    let refused = |builder: FeedClientBuilder| matches!(builder.build(), Err(ConfigError::Builder(_)));
    assert!(refused(FeedClient::builder("https://login.example")), "no trust");
    for url in ["login.example", "ftp://login.example", "https://login.example/?a=b", ""] {
        assert!(refused(FeedClient::builder(url).trust(keys())), "{url}");
    }
    for url in ["https://login.example/base/", "http://login.example"] {
        assert!(FeedClient::builder(url).trust(keys()).build().is_ok(), "{url}");
    }
    assert!(refused(FeedClient::builder("http://login.example").trust_on_first_use()), "anybody's keys");
    assert!(FeedClient::builder("http://[::1]:1").trust_on_first_use().build().is_ok());
    // No key may sign both tokens and feeds.
    let shared = hallpass::KeySet::new([key(1, KeyUse::Session).verifying_key().clone()]).unwrap();
    let existing = FeedClient::builder("https://login.example")
        .trust(keys())
        .into_existing(RevocationList::new(), shared.into());
    assert!(matches!(existing.build(), Err(ConfigError::KeyUse { .. })));
}
