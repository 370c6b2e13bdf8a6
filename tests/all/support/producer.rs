//! An issuer's feed on loopback, small and correct, that can be told to
//! misbehave.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use ciborium::Value;
use hallpass::revocation::feed::{MEDIA_TYPE, NewFeed, SessionKey, part_to_text};
use hallpass::revocation::{Entry, FeedKeys, Position};
use hallpass::{Algorithm, Clock, KeyUse, SigningKey, SystemClock, UnixTime};
use http::{HeaderMap, StatusCode, header};
use tokio::sync::watch;

/// Makes the answer that replaces the good parts.
type Mischief = dyn Fn(&Book, &Request) -> Response + Send + Sync;

/// What the issuer knows.
pub struct Book {
    pub feed_key: SigningKey,
    pub session_keys: Vec<SessionKey>,
    pub position: Position,
    pub log: Vec<(u64, Entry)>,
    pub mischief: Option<Arc<Mischief>>,
    /// Answers `Accept: text/event-stream` with one feed.
    pub without_events: bool,
    pub requests: Vec<Request>,
}

#[derive(Clone, Debug)]
pub struct Request {
    pub after: Option<Position>,
    pub wants_events: bool,
    pub waits: bool,
    pub if_none_match: Option<String>,
}

pub fn key(seed: u8, usage: KeyUse) -> SigningKey {
    SigningKey::from_seed(&[seed; 32], usage, Algorithm::EdDsa).unwrap()
}

pub fn session_key(seed: u8) -> SessionKey {
    SessionKey::new(key(seed, KeyUse::Session).verifying_key().clone(), UnixTime::EPOCH)
}

pub fn now() -> UnixTime {
    SystemClock.now()
}

impl Book {
    pub fn sign(&self, new: &NewFeed<'_>, entries: Vec<Entry>) -> Vec<Vec<u8>> {
        new.sign(&self.feed_key, entries).unwrap()
    }

    pub fn new_feed(&self, base: Option<u64>) -> NewFeed<'_> {
        NewFeed {
            position: self.position,
            base,
            issued_at: now(),
            expires_at: now().saturating_add(Duration::from_mins(10)),
            session_keys: &self.session_keys,
            lifetimes: None,
        }
    }

    pub fn entries_after(&self, sequence: u64) -> Vec<Entry> {
        self.log.iter().filter(|(at, _)| *at > sequence).map(|(_, entry)| *entry).collect()
    }

    pub fn snapshot(&self) -> Vec<Vec<u8>> {
        self.sign(&self.new_feed(None), self.entries_after(0))
    }

    /// What follows from there.
    pub fn after(&self, after: Option<Position>) -> Vec<Vec<u8>> {
        match after {
            Some(at) if at.epoch == self.position.epoch && at.sequence <= self.position.sequence => {
                self.sign(&self.new_feed(Some(at.sequence)), self.entries_after(at.sequence))
            }
            _ => self.snapshot(),
        }
    }
}

pub struct Producer {
    pub url: String,
    address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    book: Mutex<Book>,
    /// How often something changed: a revocation, a kick.
    changed: watch::Sender<u64>,
    kicked: watch::Sender<u64>,
}

impl Producer {
    pub async fn start() -> Self {
        let book = Book {
            feed_key: key(1, KeyUse::Feed),
            session_keys: vec![session_key(2)],
            position: Position { epoch: 1, sequence: 0 },
            log: Vec::new(),
            mischief: None,
            without_events: false,
            requests: Vec::new(),
        };
        let shared = Arc::new(Shared {
            book: Mutex::new(book),
            changed: watch::channel(0).0,
            kicked: watch::channel(0).0,
        });
        let (address, task) = listen(Arc::clone(&shared), "127.0.0.1:0".parse().unwrap()).await;
        Self { url: format!("http://{address}"), address, shared, task }
    }

    /// Ends, with all its connections.
    pub fn stop(&self) {
        self.task.abort();
        self.kick();
    }

    /// Restarts at the same address.
    pub async fn restart(&mut self) {
        self.task = listen(Arc::clone(&self.shared), self.address).await.1;
    }

    pub fn feed_keys(&self) -> FeedKeys {
        FeedKeys::new([self.book(|book| book.feed_key.verifying_key().clone())]).unwrap()
    }

    pub fn book<T>(&self, change: impl FnOnce(&mut Book) -> T) -> T {
        change(&mut self.shared.book.lock().unwrap())
    }

    pub fn revoke(&self, entries: impl IntoIterator<Item = Entry>) -> Position {
        let position = self.book(|book| {
            for entry in entries {
                book.position.sequence += 1;
                book.log.push((book.position.sequence, entry));
            }
            book.position
        });
        self.publish();
        position
    }

    /// Sends what is new, or a re-signing.
    pub fn publish(&self) {
        self.shared.changed.send_modify(|n| *n += 1);
    }

    /// Ends all streams and polls.
    pub fn kick(&self) {
        self.shared.kicked.send_modify(|n| *n += 1);
    }

    pub fn misbehave(&self, mischief: impl Fn(&Book, &Request) -> Response + Send + Sync + 'static) {
        self.book(|book| book.mischief = Some(Arc::new(mischief)));
        self.kick();
    }

    pub fn behave(&self) {
        self.book(|book| book.mischief = None);
        self.kick();
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn listen(shared: Arc<Shared>, address: SocketAddr) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let app = Router::new()
        .route("/revocations", get(revocations))
        .route("/.well-known/hallpass/feed-keys", get(feed_keys))
        .with_state(shared);
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }))
}

async fn feed_keys(State(shared): State<Arc<Shared>>) -> Vec<u8> {
    let key = shared.book.lock().unwrap().feed_key.verifying_key().clone();
    FeedKeys::new([key]).unwrap().to_cose()
}

#[derive(serde::Deserialize)]
struct Parameters {
    after: Option<u64>,
    epoch: Option<u64>,
    wait: Option<u64>,
}

async fn revocations(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<Parameters>,
    headers: HeaderMap,
) -> Response {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let request = Request {
        after: query.after.map(|sequence| Position { epoch: query.epoch.unwrap(), sequence }),
        wants_events: text(header::ACCEPT).is_some_and(|accept| accept.contains("text/event-stream")),
        waits: query.wait != Some(0),
        if_none_match: text(header::IF_NONE_MATCH).map(str::to_owned),
    };
    // Before the book is looked at: what changes in between is not missed.
    let mut changed = shared.changed.subscribe();
    let mut kicked = shared.kicked.subscribe();
    let (mischief, without_events) = {
        let mut book = shared.book.lock().unwrap();
        book.requests.push(request.clone());
        (book.mischief.clone(), book.without_events)
    };
    if let Some(mischief) = mischief {
        return mischief(&shared.book.lock().unwrap(), &request);
    }
    if request.wants_events && !without_events {
        return events(shared, request.after, changed, kicked);
    }
    let is_news = |book: &Book| request.after != Some(book.position);
    if request.after.is_some() && request.waits && !is_news(&shared.book.lock().unwrap()) {
        tokio::select! {
            _ = changed.changed() => {}
            _ = kicked.changed() => {}
            () = tokio::time::sleep(Duration::from_secs(25)) => {}
        }
    }
    let book = shared.book.lock().unwrap();
    let etag = format!("\"{}-{}\"", book.position, book.session_keys.len());
    if request.if_none_match.as_ref() == Some(&etag) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    ([(header::ETAG, etag)], body(&book.after(request.after))).into_response()
}

fn events(
    shared: Arc<Shared>,
    after: Option<Position>,
    mut changed: watch::Receiver<u64>,
    mut kicked: watch::Receiver<u64>,
) -> Response {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Vec<u8>, Infallible>>(8);
    tokio::spawn(async move {
        let mut after = after;
        loop {
            let parts = {
                let book = shared.book.lock().unwrap();
                let parts = book.after(after);
                after = Some(book.position);
                parts
            };
            for part in parts {
                if sender.send(Ok(event(&part))).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                _ = changed.changed() => {}
                _ = kicked.changed() => return,
            }
        }
    });
    stream(tokio_stream::wrappers::ReceiverStream::new(receiver), "text/event-stream")
}

pub fn event(part: &[u8]) -> Vec<u8> {
    format!("data: {}\n\n", part_to_text(part)).into_bytes()
}

pub fn stream<S>(chunks: S, kind: &'static str) -> Response
where
    S: futures_util::Stream<Item = Result<Vec<u8>, Infallible>> + Send + 'static,
{
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(chunks)).into_response()
}

pub fn body(parts: &[Vec<u8>]) -> Response {
    ([(header::CONTENT_TYPE, MEDIA_TYPE)], parts.concat()).into_response()
}

/// A good part with its payload changed, signed again by the key of this seed.
pub fn resigned(part: &[u8], seed: u8, change: impl FnOnce(&mut Vec<(Value, Value)>)) -> Vec<u8> {
    use ed25519_dalek::Signer;
    let mut item: Value = ciborium::from_reader(part).unwrap();
    let Value::Tag(18, inner) = &mut item else { panic!("no COSE_Sign1") };
    let Value::Array(fields) = &mut **inner else { panic!("no COSE_Sign1") };
    let mut payload: Value = ciborium::from_reader(&fields[2].as_bytes().unwrap()[..]).unwrap();
    change(payload.as_map_mut().unwrap());
    fields[2] = Value::Bytes(encoded(&payload));
    let message = Value::Array(vec![
        Value::Text("Signature1".to_owned()),
        fields[0].clone(),
        Value::Bytes(Vec::new()),
        fields[2].clone(),
    ]);
    let signature = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).sign(&encoded(&message));
    fields[3] = Value::Bytes(signature.to_bytes().to_vec());
    encoded(&item)
}

fn encoded(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}
