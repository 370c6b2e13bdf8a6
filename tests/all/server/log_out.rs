//! Log-out answers 204 only if no live session is behind the request, at the
//! issuer and at an edge that knows less.
#![expect(clippy::unwrap_used, reason = "also in the helpers of tests")]

use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::{any, post};
use hallpass::issuer::store::{SqliteStore, Store};
use hallpass::revocation::Entry;
use hallpass::{
    Algorithm, Clock, KeyDir, KeyUse, LifetimeSettings, Lifetimes, Minter, NewSession, SessionId, SigningKey,
    Subject, SystemClock, UnixTime,
};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use crate::support::{Home, PASSWORD, Running, bearer, client, ok};

const COOKIE: &str = "__Host-session";

fn now() -> UnixTime {
    SystemClock.now()
}

fn minter() -> Minter {
    let settings = LifetimeSettings {
        idle_timeout: Some(Duration::from_mins(15)),
        absolute_lifetime: Duration::from_hours(2),
        ..LifetimeSettings::default()
    };
    Minter::new(Lifetimes::new(settings).unwrap())
}

fn session_key(home: &Home) -> SigningKey {
    let keys = KeyDir::open(home.path("keys")).unwrap();
    keys.signing_key(KeyUse::Session, now()).unwrap().key.clone()
}

/// A token of a session that started at `started`, and the session's id.
fn token(minter: &Minter, key: &SigningKey, started: UnixTime) -> (String, SessionId) {
    let subject = Subject::new("alice").unwrap();
    let new = NewSession {
        subject: &subject,
        claims: &(),
        started,
        auth_time: started,
        ends: None,
        amr: &[],
        bound_to: None,
    };
    let token = minter.start(key, &new, started).unwrap();
    (token.as_str().to_owned(), token.session().id())
}

struct Answer {
    status: StatusCode,
    /// Whether the browser is told to forget the cookie.
    clears: bool,
    retry: bool,
}

async fn log_out(url: &str, cookies: &[&str]) -> Answer {
    let cookies: Vec<_> = cookies.iter().map(|token| format!("{COOKIE}={token}")).collect();
    let mut request = client().post(format!("{url}/logout")).header("Sec-Fetch-Site", "same-origin");
    if !cookies.is_empty() {
        request = request.header(header::COOKIE, cookies.join("; "));
    }
    let answer = request.send().await.unwrap();
    let headers = answer.headers();
    Answer {
        status: answer.status(),
        clears: headers.get_all(header::SET_COOKIE).iter().any(|value| {
            value.to_str().unwrap().starts_with(COOKIE) && value.to_str().unwrap().contains("Max-Age=0")
        }),
        retry: headers.contains_key(header::RETRY_AFTER),
    }
}

async fn is_revoked(home: &Home, id: SessionId) -> bool {
    let store = SqliteStore::open(Path::new(&home.path("data"))).await.unwrap();
    let entries = store.snapshot().await.unwrap().entries;
    entries.iter().any(|entry| matches!(entry, Entry::Session { sid, .. } if *sid == id))
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_genuine_ends_its_session() {
    let home = Home::new();
    let serve = home.serve(&[]);
    let (minter, key) = (minter(), session_key(&home));
    let hour = Duration::from_hours(1);
    // Expired, while its successor may live; and from a clock that is ahead.
    for started in [now().saturating_sub(hour), now(), now().saturating_add(hour)] {
        let (token, id) = token(&minter, &key, started);
        assert!(!is_revoked(&home, id).await);
        let answer = log_out(&serve.url, &[&token]).await;
        assert_eq!((answer.status, answer.clears), (StatusCode::NO_CONTENT, true), "started {started}");
        assert!(is_revoked(&home, id).await, "started {started}");
    }
    // The session has ended by every clock.
    let (token, id) = token(&minter, &key, now().saturating_sub(3 * hour));
    let answer = log_out(&serve.url, &[&token]).await;
    assert_eq!((answer.status, answer.clears), (StatusCode::NO_CONTENT, true));
    assert!(!is_revoked(&home, id).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_session_of_anybodys_is_forgotten() {
    let home = Home::new();
    let serve = home.serve(&[]);
    let (genuine, id) = token(&minter(), &session_key(&home), now());
    // The first character of the signature's part: always another signature.
    let at = genuine.len() - 80;
    let other = if &genuine[at..=at] == "A" { "B" } else { "A" };
    let forged = format!("{}{other}{}", &genuine[..at], &genuine[at + 1..]);
    for cookies in [&[][..], &["garbage"], &[&forged]] {
        let answer = log_out(&serve.url, cookies).await;
        assert_eq!((answer.status, answer.clears), (StatusCode::NO_CONTENT, true), "{cookies:?}");
    }
    assert!(!is_revoked(&home, id).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_decided_keeps_the_cookie() {
    let home = Home::new();
    let serve = home.serve(&[]);
    let (genuine, id) = token(&minter(), &session_key(&home), now());
    let answer = log_out(&serve.url, &[&genuine, "planted"]).await;
    assert_eq!((answer.status, answer.clears), (StatusCode::BAD_REQUEST, false));

    // A key that another process made, and that this one has not read yet.
    let unread = SigningKey::generate(KeyUse::Session, Algorithm::EdDsa).unwrap();
    let (of_new_key, _) = token(&minter(), &unread, now());
    let answer = log_out(&serve.url, &[&of_new_key]).await;
    assert_eq!((answer.status, answer.clears), (StatusCode::SERVICE_UNAVAILABLE, false));
    assert!(answer.retry);

    // Genuine, and of an audience that logs out elsewhere.
    let (elsewhere, _) = token(&minter().audience(Some("elsewhere".into())), &session_key(&home), now());
    let answer = log_out(&serve.url, &[&elsewhere]).await;
    assert_eq!((answer.status, answer.clears), (StatusCode::UNAUTHORIZED, false));
    assert!(!is_revoked(&home, id).await);
}

/// The issuer as an edge reaches it: a feed never comes, and log-outs get
/// through or do not.
async fn without_a_feed(issuer: String) -> String {
    async fn pass_on(State(issuer): State<String>, headers: HeaderMap, body: Bytes) -> StatusCode {
        let request = client().post(format!("{issuer}/logout")).body(body);
        let token = headers[header::AUTHORIZATION].clone();
        request.header(header::AUTHORIZATION, token).send().await.unwrap().status()
    }
    let away = any(async || StatusCode::BAD_GATEWAY);
    let mut routes = Router::new();
    if !issuer.is_empty() {
        routes = routes.route("/logout", post(pass_on));
    }
    let routes = routes.fallback(away).with_state(issuer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    format!("http://{address}")
}

fn edge(home: &Home, issuer: &str) -> Running {
    let keys = ok(&["key", "export", "--use", "feed", "--dir", &home.path("keys")], b"");
    let keys = home.write("feed-keys.cbor", keys);
    let origin = ["--public-origin", "http://shop.example", "--audience", "shop"];
    let mut args = vec!["edge", "--listen", "127.0.0.1:0", "--issuer", issuer];
    args.extend(["--trust", keys.to_str().unwrap()]);
    args.extend(origin);
    Running::start(&args, &[])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_without_a_feed_asks_the_issuer() {
    let home = Home::new();
    let config = home.write(
        "hosts.toml",
        "trusted_proxies = [\"127.0.0.0/8\"]\n[tokens]\naudience = \"a\"\n\
         [[hosts]]\norigin = \"http://shop.example\"\naudience = \"shop\"\n",
    );
    let serve = home.serve(&["--config", config.to_str().unwrap()]);
    let (genuine, id) = token(&minter().audience(Some("shop".into())), &session_key(&home), now());

    let unreachable = edge(&home, &without_a_feed(String::new()).await);
    let answer = log_out(&unreachable.at("/.hallpass"), &[&genuine]).await;
    assert_eq!((answer.status, answer.clears), (StatusCode::SERVICE_UNAVAILABLE, false));
    assert!(answer.retry && !is_revoked(&home, id).await);

    let edge = edge(&home, &without_a_feed(serve.url.clone()).await);
    let answer = log_out(&edge.at("/.hallpass"), &[&genuine, &genuine]).await;
    assert_eq!((answer.status, answer.clears), (StatusCode::BAD_REQUEST, false));
    let answer = log_out(&edge.at("/.hallpass"), &[&genuine]).await;
    assert_eq!((answer.status, answer.clears), (StatusCode::NO_CONTENT, true));
    assert!(is_revoked(&home, id).await);
}

async fn step_up(serve: &Running, token: &str) -> String {
    let body = json!({ "password": PASSWORD });
    let answer = client().post(serve.at("/reauthenticate")).bearer_auth(token).json(&body).send().await;
    let answer: Value = answer.unwrap().json().await.unwrap();
    answer["token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

async fn lives(serve: &Running, token: &str) -> bool {
    let answer = client().get(serve.at("/session")).bearer_auth(token).send().await.unwrap();
    answer.status() == StatusCode::OK
}

/// A form that was submitted twice, or two tabs: every session that came of one
/// log-in ends with any of them.
#[tokio::test(flavor = "multi_thread")]
async fn step_ups_submitted_twice_are_one_family() {
    for logs_out in 0..5 {
        let home = Home::new();
        let serve = home.serve(&[]);
        let first = bearer(&serve.url).await;
        let second = step_up(&serve, &first).await;
        let (third, fourth) = tokio::join!(step_up(&serve, &first), step_up(&serve, &first));
        let fifth = step_up(&serve, &second).await;
        let family = [first, second, third, fourth, fifth];
        for member in &family {
            assert!(lives(&serve, member).await);
        }
        let answer = client().post(serve.at("/logout")).bearer_auth(&family[logs_out]).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        for (n, member) in family.iter().enumerate() {
            assert!(!lives(&serve, member).await, "{n} survived a log-out by {logs_out}");
        }
    }
}
