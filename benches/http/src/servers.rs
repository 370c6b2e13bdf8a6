//! One small service, and what may stand before it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::Ipv4Addr;
use std::path::Path;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hallpass::http::SESSION_COOKIE;
use hallpass::{
    Algorithm, Clock, KeySet, KeyUse, Lifetimes, Minter, NewSession, SessionLayer, SigningKey, Subject,
    SystemClock, Verifier,
};
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use tower_sessions::session::{Id, Record};
use tower_sessions::{MemoryStore, SessionManagerLayer, SessionStore};
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::prelude::*;

const SUBJECT: &str = "sub";

/// Serves `kind` until killed, having written `count` cookies, one a line, and
/// its port.
pub async fn serve(kind: &str, count: usize, cookies: &Path, redis_port: u16) {
    let (app, lines) = match kind {
        "none" => (Router::new().route("/", get(|| async { "alice" })), vec!["none=x".to_owned()]),
        "none-sent" => {
            let (_, lines) = hallpass(count, false);
            (Router::new().route("/", get(|| async { "alice" })), lines)
        }
        "memory" => {
            let store = MemoryStore::default();
            let lines = fill(&store, count).await;
            (stateful().layer(SessionManagerLayer::new(store)), lines)
        }
        "redis" => {
            let config = Config::from_url(&format!("redis://127.0.0.1:{redis_port}")).unwrap();
            let pool = Pool::new(config, None, None, None, 6).unwrap();
            let _connections = pool.connect();
            pool.wait_for_connect().await.unwrap();
            let store = RedisStore::new(pool);
            let lines = fill(&store, count).await;
            (stateful().layer(SessionManagerLayer::new(store)), lines)
        }
        "jwt" => jwt(count),
        "hallpass" => hallpass(count, true),
        "hallpass-cold" => hallpass(count, false),
        other => panic!("unknown server {other}"),
    };
    let mut file = BufWriter::new(File::create(cookies).unwrap());
    for line in lines {
        writeln!(file, "{line}").unwrap();
    }
    file.flush().unwrap();
    drop(file);
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    axum::serve(listener, app).await.unwrap();
}

fn stateful() -> Router {
    async fn handler(session: tower_sessions::Session) -> Response {
        match session.get::<String>(SUBJECT).await {
            Ok(Some(subject)) => subject.into_response(),
            _ => StatusCode::UNAUTHORIZED.into_response(),
        }
    }
    Router::new().route("/", get(handler))
}

async fn fill(store: &impl SessionStore, count: usize) -> Vec<String> {
    let mut lines = Vec::with_capacity(count);
    // One Redis serves two of the cases.
    let mut id = i128::try_from(count).unwrap();
    for _ in 0..count {
        id = id.wrapping_mul(0x5851_f42d_4c95_7f2d_1405_7b7e_f767_814f).wrapping_add(1);
        let mut record = Record {
            id: Id(id),
            data: [(SUBJECT.to_owned(), "alice".into())].into(),
            expiry_date: time::OffsetDateTime::now_utc() + time::Duration::hours(12),
        };
        store.create(&mut record).await.unwrap();
        lines.push(format!("id={}", record.id));
    }
    lines
}

#[derive(Clone, Serialize, Deserialize)]
struct Claims {
    sub: String,
    aud: String,
    exp: u64,
    iat: u64,
    jti: String,
    sid: String,
    started: u64,
    ends: u64,
    generation: u64,
    auth_time: u64,
}

fn jwt(count: usize) -> (Router, Vec<String>) {
    let key = SigningKey::generate(KeyUse::Session, Algorithm::EdDsa).unwrap();
    let pem = key.to_pkcs8_pem().unwrap();
    let encoding = {
        use base64::Engine;
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let der = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
        EncodingKey::from_ed_der(&der)
    };
    let x = {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes())
    };
    let decoding = DecodingKey::from_ed_components(&x).unwrap();
    let mut validation = Validation::new(jsonwebtoken::Algorithm::EdDSA);
    validation.set_audience(&["store"]);
    let now = SystemClock.now().as_secs();
    let lines = (0..count)
        .map(|n| {
            let claims = Claims {
                sub: "alice".to_owned(),
                aud: "store".to_owned(),
                exp: now + 3600,
                iat: now,
                jti: format!("{n:022}"),
                sid: format!("{n:022}"),
                started: now,
                ends: now + 43_200,
                generation: 0,
                auth_time: now,
            };
            let header = Header::new(jsonwebtoken::Algorithm::EdDSA);
            format!("{SESSION_COOKIE}={}", jsonwebtoken::encode(&header, &claims, &encoding).unwrap())
        })
        .collect();
    let (decoding, validation): (&'static _, &'static _) =
        (Box::leak(Box::new(decoding)), Box::leak(Box::new(validation)));
    let check = move |mut request: Request, next: Next| async move {
        let verified = cookie(request.headers())
            .and_then(|token| jsonwebtoken::decode::<Claims>(token, decoding, validation).ok());
        match verified {
            Some(token) => {
                request.extensions_mut().insert(token.claims);
                next.run(request).await
            }
            None => StatusCode::UNAUTHORIZED.into_response(),
        }
    };
    let handler = |axum::Extension(claims): axum::Extension<Claims>| async move { claims.sub };
    (Router::new().route("/", get(handler)).layer(from_fn(check)), lines)
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get(header::COOKIE)?.to_str().ok()?;
    cookies.split("; ").find_map(|pair| pair.strip_prefix(SESSION_COOKIE)?.strip_prefix('='))
}

fn hallpass(count: usize, cached: bool) -> (Router, Vec<String>) {
    let key = SigningKey::generate(KeyUse::Session, Algorithm::EdDsa).unwrap();
    let minter = Minter::new(Lifetimes::default()).audience(Some("store".into()));
    let now = SystemClock.now();
    let subject = Subject::new("alice").unwrap();
    let new = NewSession {
        subject: &subject,
        claims: &(),
        started: now,
        auth_time: now,
        ends: None,
        amr: &[],
        bound_to: None,
    };
    let lines = (0..count)
        .map(|_| format!("{SESSION_COOKIE}={}", minter.start(&key, &new, now).unwrap().as_str()))
        .collect();
    let list = hallpass::RevocationList::new();
    let position = hallpass::revocation::Position { epoch: 1, sequence: 1 };
    list.apply_snapshot(position, now.saturating_add(std::time::Duration::from_hours(1)), []).unwrap();
    let keys = KeySet::new([key.verifying_key().clone()]).unwrap();
    let verifier = Verifier::builder(keys).audience("store").revocations(list);
    // Room for 100,000 tokens and more.
    let verifier = if cached { verifier.token_cache(128 << 20) } else { verifier.without_token_cache() };
    let handler = |session: hallpass::Session| async move { session.subject().to_owned() };
    let layer = SessionLayer::new(verifier.build().unwrap());
    (Router::new().route("/", get(handler)).layer(layer), lines)
}
