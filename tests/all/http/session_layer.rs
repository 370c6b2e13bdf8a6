//! The tower layer, with renewal from a real issuer.
#![expect(clippy::unwrap_used, reason = "also in the helpers of tests")]

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::extract::ws::{Message as Frame, WebSocketUpgrade};
use axum::response::sse::{Event as SseEvent, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use futures_util::{SinkExt as _, StreamExt as _};
use hallpass::event::{Event, EventKind, EventSink};
use hallpass::http::{Demand, Refusal, TrustedProxies};
use hallpass::revocation::Entry;
use hallpass::{
    Algorithm, Clock, KeySet, KeyUse, Lifetimes, Minter, NewSession, Reason, Rejection, RenewClient,
    RevocationList, Session, SessionId, SessionLayer, SigningKey, StalePolicy, Subject, SystemClock,
    UnixTime, Verifier,
};
use http::{HeaderMap, Method, Request, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};
use tower::Service as _;

use crate::renew::renew_client::{SetClock, Stand};

const AGES: Duration = Duration::from_secs(60);

fn layer(stand: &Stand) -> SessionLayer<impl Clock + Clone + use<>> {
    let renewal = stand.builder().patience(AGES).timeout(AGES).build().unwrap();
    SessionLayer::new(stand.verifier()).renewing(renewal).with_clock(stand.clock.clone())
}

fn hello() -> Router {
    Router::new().route("/", any(async |session: Session| format!("hello {}", session.subject())))
}

fn cookie(token: &str) -> (&'static str, String) {
    ("cookie", format!("theme=dark; __Host-session={token}"))
}

fn bearer(token: &str) -> (&'static str, String) {
    ("authorization", format!("Bearer {token}"))
}

fn request(method: Method, uri: &str, headers: &[(&str, String)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    request.body(Body::empty()).unwrap()
}

async fn send(app: &Router, request: Request<Body>) -> Response {
    app.clone().call(request).await.unwrap()
}

async fn ask(app: &Router, uri: &str, headers: &[(&str, String)]) -> Response {
    send(app, request(Method::GET, uri, headers)).await
}

async fn body(response: Response) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), 100_000).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn all(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

/// Returns the token of the only cookie that a response sets.
fn new_token(headers: &HeaderMap) -> String {
    let set = all(headers, "set-cookie");
    let [set] = &set[..] else { panic!("{set:?}") };
    let (pair, attributes) = set.split_once("; ").unwrap();
    assert_eq!(
        attributes.split("; ").collect::<HashSet<_>>(),
        HashSet::from(["HttpOnly", "SameSite=Lax", "Secure", "Path=/", "Max-Age=900"])
    );
    assert_eq!(all(headers, "cache-control"), ["no-store"]);
    assert!(all(headers, "vary").iter().any(|vary| vary == "Cookie"));
    pair.strip_prefix("__Host-session=").unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_gets_the_renewed_cookie_with_its_answer() {
    let stand = Stand::new().await;
    let app = hello()
        .route(
            "/cacheable",
            get(async || {
                [
                    ("cache-control", "public, max-age=3600"),
                    ("cdn-cache-control", "max-age=3600"),
                    ("surrogate-control", "max-age=3600"),
                    ("x-accel-expires", "3600"),
                    ("expires", "Thu, 01 Dec 2094 16:00:00 GMT"),
                    ("vary", "accept-encoding"),
                    ("set-cookie", "theme=light"),
                ]
            }),
        )
        .layer(layer(&stand));
    let young = stand.start("alice");
    for path in ["/", "/cacheable"] {
        let answer = ask(&app, path, &[cookie(&young)]).await;
        assert_eq!(answer.status(), 200);
        assert!(!all(answer.headers(), "set-cookie").iter().any(|set| set.contains("session")));
        assert_eq!(answer.headers().contains_key("cdn-cache-control"), path == "/cacheable");
    }
    assert_eq!(stand.asked(), 0);

    let due = stand.due();
    let answer = ask(&app, "/", &[cookie(&due)]).await;
    let new = new_token(answer.headers());
    assert_eq!(body(answer).await, "hello alice");
    let session: Session = stand.verifier().verify(&new, stand.clock.now()).unwrap();
    assert_eq!(session.generation(), 1);
    // A shared cache would send the cookie to other clients.
    let answer = ask(&app, "/cacheable", &[cookie(&due)]).await;
    let mut headers = answer.headers().clone();
    let set: Vec<_> = headers.get_all("set-cookie").iter().cloned().collect();
    assert_eq!((set.len(), set[0].to_str().unwrap()), (2, "theme=light"));
    headers.insert("set-cookie", set[1].clone());
    assert_eq!(new_token(&headers), new);
    for name in ["cdn-cache-control", "surrogate-control", "x-accel-expires", "expires"] {
        assert!(!headers.contains_key(name), "{name}");
    }
    assert_eq!(all(&headers, "vary"), ["accept-encoding", "Cookie"]);
    assert_eq!(stand.asked(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bearer_token_is_never_renewed() {
    let stand = Stand::new().await;
    let app = hello().layer(layer(&stand));
    let due = stand.due();
    let answer = ask(&app, "/", &[bearer(&due)]).await;
    assert_eq!(answer.status(), 200);
    assert!(!answer.headers().contains_key("set-cookie"));
    // A cookie next to a bearer token is not renewed either.
    let answer = ask(&app, "/", &[cookie(&due), bearer(&due)]).await;
    assert!(!answer.headers().contains_key("set-cookie"));
    stand.clock.advance(600);
    assert_eq!(ask(&app, "/", &[bearer(&due)]).await.status(), 401);
    assert_eq!(stand.asked(), 0);
}

/// An edge at which a due token has expired: its clock is ahead.
fn edge_ahead(stand: &Stand, patience: Duration) -> SessionLayer<SetClock> {
    let clock = stand.clock.ahead(445);
    let keys = stand.issuer.key_set().clone();
    let verifier = Verifier::builder(keys).without_revocations().build().unwrap().with_clock(clock.clone());
    let renewal = RenewClient::builder(&stand.url, verifier.clone()).clock(clock.clone());
    let renewal = renewal.patience(patience).timeout(AGES).build().unwrap();
    SessionLayer::new(verifier).renewing(renewal).log_in_at("/log-in").unwrap().with_clock(clock)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_cookie_is_renewed_before_its_requests_are_served() {
    let stand = Stand::new().await;
    let old = stand.due();
    let served = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&served);
    let handler = post(async move |session: Session| {
        counter.fetch_add(1, SeqCst);
        session.generation().to_string()
    });
    let app = Router::new().route("/", handler).layer(edge_ahead(&stand, AGES));
    stand.open(false);
    let requests: Vec<_> = (0..50)
        .map(|_| {
            let (app, old) = (app.clone(), old.clone());
            tokio::spawn(async move { send(&app, request(Method::POST, "/", &[cookie(&old)])).await })
        })
        .collect();
    while stand.asked() == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(served.load(SeqCst), 0, "served without a session");
    stand.open(true);
    let mut tokens = HashSet::new();
    for request in requests {
        let answer = request.await.unwrap();
        assert_eq!(answer.status(), 200);
        let set = all(answer.headers(), "set-cookie");
        tokens.insert(set[0].split(';').next().unwrap().to_owned());
        assert_eq!(body(answer).await, "1");
    }
    assert_eq!((tokens.len(), stand.asked(), served.load(SeqCst)), (1, 1, 50));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_cookie_that_is_not_renewed_is_not_served() {
    let page = [("accept", "text/html".to_owned()), ("sec-fetch-mode", "navigate".to_owned())];
    let stand = Stand::new().await;
    let old = stand.due();
    // No other credential is renewed, and nothing for a page of another site.
    let app = hello().route("/pay", post(async || "paid")).layer(edge_ahead(&stand, AGES));
    assert_eq!(ask(&app, "/", &[bearer(&old)]).await.status(), 401);
    let forged = [cookie(&old), ("sec-fetch-site", "cross-site".to_owned())];
    assert_eq!(send(&app, request(Method::POST, "/pay", &forged)).await.status(), 403);
    assert_eq!(stand.asked(), 0);

    // An issuer that is away, or too slow: the session is not over.
    for (status, patience) in [(503, AGES), (0, Duration::ZERO)] {
        stand.fail(status);
        stand.open(patience == AGES);
        let layer = edge_ahead(&stand, patience);
        let app = hello().layer(layer.clone());
        for more in [&page[..], &[]] {
            let headers = [&[cookie(&old)], more].concat();
            let answer = ask(&app, "/", &headers).await;
            assert_eq!(answer.status(), 503);
            assert!(answer.headers().contains_key("retry-after"));
            assert!(!answer.headers().contains_key("set-cookie"));
            assert_eq!(answer.extensions().get::<Refusal>(), Some(&Refusal::NotRenewed));
        }
        // Where no session is needed, it is served without one.
        let who = get(async |session: Option<Session>| session.is_some().to_string());
        let app = Router::new().route("/", who).layer(layer.optional());
        assert_eq!(body(ask(&app, "/", &[cookie(&old)]).await).await, "false");
    }

    // The issuer does not renew it: it is over. It is asked once, however many
    // such requests come.
    stand.fail(401);
    stand.open(true);
    // The slow answer's request may only arrive now.
    while stand.asked() < 2 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let asked = stand.asked();
    let app = hello().layer(edge_ahead(&stand, AGES));
    for _ in 0..20 {
        assert_eq!(ask(&app, "/", &[cookie(&old)]).await.status(), 401);
    }
    let answer = ask(&app, "/", &[&[cookie(&old)], &page[..]].concat()).await;
    assert_eq!(answer.status(), 303);
    assert_eq!(stand.asked(), asked + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_served_while_the_issuer_is_asked() {
    let stand = Stand::new().await;
    let served = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&served);
    let app = Router::new()
        .route("/", post(async move || counter.fetch_add(1, SeqCst).to_string()))
        .layer(layer(&stand));
    let due = stand.due();
    stand.open(false);
    let requests: Vec<_> = (0..100)
        .map(|_| {
            let (app, due) = (app.clone(), due.clone());
            tokio::spawn(async move { send(&app, request(Method::POST, "/", &[cookie(&due)])).await })
        })
        .collect();
    // All are served before the issuer answers.
    while served.load(SeqCst) < 100 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    stand.open(true);
    let mut tokens = HashSet::new();
    for request in requests {
        tokens.insert(new_token(request.await.unwrap().headers()));
    }
    assert_eq!((tokens.len(), stand.asked(), served.load(SeqCst)), (1, 1, 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_or_failing_issuer_delays_and_refuses_nobody() {
    let stand = Stand::new().await;
    let renewal = stand.builder().patience(Duration::from_millis(20)).timeout(AGES).build().unwrap();
    let layer = SessionLayer::new(stand.verifier()).renewing(renewal.clone()).with_clock(stand.clock.clone());
    let app = Router::new().route("/", get(async || [("cache-control", "public")])).layer(layer);
    let due = stand.due();
    stand.open(false);
    for _ in 0..3 {
        let answer = ask(&app, "/", &[cookie(&due)]).await;
        assert_eq!(answer.status(), 200);
        assert!(!answer.headers().contains_key("set-cookie"));
        assert_eq!(all(answer.headers(), "cache-control"), ["public"]);
    }
    stand.open(true);
    while renewal.counts().renewed == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    new_token(ask(&app, "/", &[cookie(&due)]).await.headers());
    assert_eq!(stand.asked(), 1);
    stand.fail(500);
    let answer = ask(&app, "/", &[cookie(&stand.due())]).await;
    assert_eq!(answer.status(), 200);
    assert!(!answer.headers().contains_key("set-cookie"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_does_with_the_cookie_itself_stays() {
    let stand = Stand::new().await;
    let log_out = "__Host-session=; Path=/; Secure; Max-Age=0";
    let app =
        Router::new().route("/logout", get(async move || [("set-cookie", log_out)])).layer(layer(&stand));
    let answer = ask(&app, "/logout", &[cookie(&stand.due())]).await;
    assert_eq!(all(answer.headers(), "set-cookie"), [log_out]);
}

#[derive(Deserialize)]
struct Roles {
    roles: Vec<String>,
}

fn with_claims(stand: &Stand, claims: Value) -> String {
    let token = stand.issuer.start(Subject::new("alice").unwrap(), claims, stand.clock.now()).unwrap();
    token.as_str().to_owned()
}

fn refusal(response: &Response) -> Option<Refusal> {
    response.extensions().get::<Refusal>().cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_can_demand_a_recent_log_in() {
    let stand = Stand::new().await;
    let recent = Demand::new().authenticated_within(Duration::from_secs(300));
    let app = hello().route("/password", post(async || "changed").layer(recent.clone())).layer(layer(&stand));
    let whole = hello().layer(layer(&stand).demand(recent));
    let token = stand.start("alice");
    stand.clock.advance(300);
    let change = |token: &str| request(Method::POST, "/password", &[bearer(token)]);
    assert_eq!(send(&app, change(&token)).await.status(), 200);
    assert_eq!(ask(&whole, "/", &[bearer(&token)]).await.status(), 200);
    stand.clock.advance(1);
    assert_eq!(ask(&app, "/", &[bearer(&token)]).await.status(), 200, "other routes don't ask");
    for answer in [send(&app, change(&token)).await, ask(&whole, "/", &[bearer(&token)]).await] {
        assert_eq!(answer.status(), 401);
        assert_eq!(
            all(answer.headers(), "www-authenticate"),
            ["Bearer error=\"insufficient_user_authentication\", \
              error_description=\"More recent authentication is required\", max_age=\"300\""]
        );
        let Some(Refusal::Rejected(rejection)) = refusal(&answer) else { panic!() };
        let session: Session = stand.verifier().verify(&token, stand.clock.now()).unwrap();
        let (auth_time, now) = (session.auth_time(), stand.clock.now());
        assert_eq!(rejection, Rejection::ReauthenticationRequired { auth_time, now, max_age_secs: 300 });
        let problem: Value = serde_json::from_str(&body(answer).await).unwrap();
        assert_eq!(problem["type"], hallpass::http::problem::REAUTHENTICATION_REQUIRED);
        assert_eq!(problem["max_age"], 300);
    }
    // A new log-in helps; a renewal does not.
    assert_eq!(send(&app, change(&stand.start("alice"))).await.status(), 200);
    stand.clock.advance(300);
    let renewed = stand.issuer.renew(&token, stand.clock.now()).unwrap();
    assert!(renewed.renewed);
    assert_eq!(send(&app, change(renewed.token.as_str())).await.status(), 401);
}

#[tokio::test]
async fn a_route_can_demand_a_kind_of_authentication() {
    let key = SigningKey::generate(KeyUse::Session, Algorithm::EdDsa).unwrap();
    let keys = KeySet::new([key.verifying_key().clone()]).unwrap();
    let verifier = Verifier::builder(keys).without_revocations().build().unwrap();
    let (subject, now) = (Subject::new("alice").unwrap(), SystemClock.now());
    let strong = Demand::new().authenticated_by(&["hwk", "mfa"]);
    let app = hello().layer(SessionLayer::new(verifier).demand(strong));
    for (amr, status) in [
        (&["pwd", "otp", "mfa"][..], 200),
        (&["hwk"], 200),
        (&["pwd"], 403),
        (&["mfa2", "MFA"], 403),
        (&[], 403),
    ] {
        let new = NewSession {
            subject: &subject,
            claims: &(),
            started: now,
            auth_time: now,
            ends: None,
            amr,
            bound_to: None,
        };
        let token = Minter::new(Lifetimes::default()).start(&key, &new, now).unwrap();
        assert_eq!(token.session().amr().collect::<Vec<_>>(), amr);
        assert_eq!(ask(&app, "/", &[bearer(token.as_str())]).await.status(), status, "{amr:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_can_demand_something_of_the_claims() {
    let stand = Stand::new().await;
    let role = |role: &'static str| move |claims: &Roles| claims.roles.iter().any(|has| has == role);
    let admin = Demand::new().claims(role("admin"));
    let app = hello()
        .route("/admin", get(async || "all of it").layer(admin.clone()))
        .route("/both", get(async || "both").layer(admin.claims(role("editor"))))
        .layer(layer(&stand).optional());
    for (claims, one, both) in [
        (json!({ "roles": ["admin", "editor"] }), 200, 200),
        (json!({ "roles": ["admin"] }), 200, 403),
        (json!({ "roles": ["editor"] }), 403, 403),
        (json!({ "roles": "admin" }), 403, 403),
        (json!({ "role": ["admin"] }), 403, 403),
        (Value::Null, 403, 403),
    ] {
        let token = with_claims(&stand, claims.clone());
        for (path, expected) in [("/", 200), ("/admin", one), ("/both", both)] {
            let answer = ask(&app, path, &[bearer(&token)]).await;
            assert_eq!(answer.status(), expected, "{path} {claims}");
            assert_eq!(refusal(&answer), (expected == 403).then_some(Refusal::Forbidden));
            if expected == 403 {
                assert_eq!(all(answer.headers(), "content-type"), ["application/problem+json"]);
            }
        }
    }
    // Under an optional layer, a request without a token has no session either.
    let answer = ask(&app, "/admin", &[]).await;
    assert_eq!((answer.status(), refusal(&answer)), (StatusCode::UNAUTHORIZED, Some(Refusal::NoToken)));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_session_a_request_is_refused_or_goes_on() {
    let stand = Stand::new().await;
    let who = get(async |session: Option<Session>| {
        session.map_or("nobody".to_owned(), |session| session.subject().to_owned())
    });
    let required = Router::new().route("/", who.clone()).layer(layer(&stand));
    let optional = Router::new().route("/", who).layer(layer(&stand).optional());
    let good = stand.start("alice");
    let mut forged = good.clone();
    forged.replace_range(200..201, if &good[200..201] == "A" { "B" } else { "A" });
    let twice = format!("__Host-session={good}; __Host-session={good}");
    for (headers, name) in [
        (vec![cookie(&good)], "alice"),
        (vec![bearer(&good)], "alice"),
        (vec![], "nobody"),
        (vec![cookie(&forged)], "nobody"),
        (vec![cookie("")], "nobody"),
        (vec![("cookie", twice)], "nobody"),
        (vec![cookie(&good), ("authorization", "Basic x".to_owned())], "nobody"),
    ] {
        let answer = ask(&optional, "/", &headers).await;
        assert_eq!(all(answer.headers(), "vary"), ["Cookie"]);
        assert_eq!(body(answer).await, name);
        let answer = ask(&required, "/", &headers).await;
        let (status, refused) = (answer.status(), refusal(&answer));
        if name == "alice" {
            assert_eq!((status, refused), (StatusCode::OK, None));
            continue;
        }
        assert_eq!((status, refused.is_some()), (StatusCode::UNAUTHORIZED, true));
        assert_eq!(all(answer.headers(), "vary"), ["Cookie"]);
        assert_eq!(all(answer.headers(), "cache-control"), ["no-store"]);
        assert_eq!(all(answer.headers(), "www-authenticate"), ["Bearer"]);
        // The detail is the same for every reason.
        let problem: Value = serde_json::from_str(&body(answer).await).unwrap();
        assert_eq!(problem["detail"], "This needs a session. Log in and try again.");
    }
    let refused = async |token: &str| {
        refusal(&ask(&required, "/", &[bearer(token)]).await).unwrap().rejection().unwrap().reason()
    };
    assert_eq!(refused(&forged).await, Reason::BadSignature);
    stand.clock.advance(1000);
    assert_eq!(refused(&good).await, Reason::Expired);
}

/// A token for another audience gives no session, even if an outer layer accepted
/// it.
#[tokio::test(flavor = "multi_thread")]
async fn the_innermost_layer_says_who_asks() {
    let stand = Stand::new().await;
    let keys = stand.issuer.key_set().clone();
    let admin = Verifier::builder(keys).audience("admin").without_revocations().build().unwrap();
    let admin = SessionLayer::new(admin).with_clock(stand.clock.clone()).optional();
    let who = get(async |session: Option<Session>| {
        session.map_or("nobody".to_owned(), |session| session.subject().to_owned())
    });
    let app = Router::new().route("/admin", who.clone().layer(admin)).route("/", who).layer(layer(&stand));
    let alice = stand.start("alice");
    assert_eq!(body(ask(&app, "/", &[bearer(&alice)]).await).await, "alice");
    assert_eq!(body(ask(&app, "/admin", &[bearer(&alice)]).await).await, "nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_goes_to_a_page_is_led_to_log_in() {
    let stand = Stand::new().await;
    let recent = Demand::new().authenticated_within(Duration::from_secs(60));
    let admin = Demand::new().claims(|claims: &Roles| claims.roles.is_empty());
    let app = hello()
        .route("/bank", get(async || "money").layer(recent))
        .route("/admin", get(async || "all of it").layer(admin))
        .layer(layer(&stand).log_in_at("/.hallpass/").unwrap());
    let navigates = ("sec-fetch-mode", "navigate".to_owned());
    let html = ("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8".to_owned());
    let at = async |method: Method, uri: &str, headers: &[(&str, String)]| {
        let answer = send(&app, request(method, uri, headers)).await;
        let location = answer.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
        if location.is_some() {
            assert_eq!(answer.status(), 303);
            assert_eq!(all(answer.headers(), "cache-control"), ["no-store"]);
            assert!(refusal(&answer).is_some());
        }
        location
    };
    let get = Method::GET;
    let to_log_in = Some("/.hallpass/?return_to=/".to_owned());
    for (method, headers, leads_on) in [
        (Method::GET, vec![navigates.clone()], true),
        (Method::HEAD, vec![navigates.clone()], true),
        (Method::GET, vec![html.clone()], true),
        (Method::GET, vec![], false),
        (Method::GET, vec![("accept", "*/*".to_owned())], false),
        (Method::GET, vec![("accept", "application/json".to_owned())], false),
        // A script's fetch that accepts HTML.
        (Method::GET, vec![("sec-fetch-mode", "cors".to_owned()), html.clone()], false),
        (Method::POST, vec![navigates.clone(), html.clone()], false),
    ] {
        let location = at(method.clone(), "/", &headers).await;
        assert_eq!(location, to_log_in.clone().filter(|_| leads_on), "{method} {headers:?}");
    }
    // The requested path is always encoded as one value.
    for (uri, return_to) in [
        ("/cart?id=1&x=%20", "/cart%3Fid%3D1%26x%3D%2520"),
        ("/?max_age=1#", "/%3Fmax_age%3D1"),
        ("//evil.example/", "/"),
        ("http://evil.example/cart", "/cart"),
    ] {
        let location = at(get.clone(), uri, std::slice::from_ref(&navigates)).await;
        assert_eq!(location, Some(format!("/.hallpass/?return_to={return_to}")), "{uri}");
    }
    // The log-in page might accept this token, so `max_age` makes it ask again.
    let token = stand.start("alice");
    let expected = Some("/.hallpass/?return_to=/&max_age=0".to_owned());
    assert_eq!(at(get.clone(), "/", &[cookie("x"), navigates.clone()]).await, expected);
    assert_eq!(at(get.clone(), "/bank", &[cookie(&token), navigates.clone()]).await, None);
    stand.clock.advance(61);
    let expected = Some("/.hallpass/?return_to=/bank&max_age=60".to_owned());
    assert_eq!(at(get.clone(), "/bank", &[cookie(&token), navigates.clone()]).await, expected);
    // A log-in would not help here.
    assert_eq!(at(get.clone(), "/admin", &[cookie(&token), navigates.clone()]).await, None);
    let twice = ("cookie", format!("__Host-session={token}; __Host-session={token}"));
    assert_eq!(at(get, "/", &[twice, navigates]).await, None);
    for path in ["", "hallpass", "https://login.example/", "//login.example/", "/a b", "/?x", "/a\r\nb"] {
        assert!(SessionLayer::new(stand.verifier()).log_in_at(path).is_err(), "{path:?}");
    }
}

/// The token-free defences of the OWASP CSRF Prevention Cheat Sheet: Fetch
/// Metadata, and Origin where that is missing.
#[tokio::test(flavor = "multi_thread")]
async fn another_sites_page_changes_nothing() {
    let stand = Stand::new().await;
    let own = hello().layer(layer(&stand));
    let optional = hello().layer(layer(&stand).optional());
    let friendly = layer(&stand).allow_origin("https://app.example").unwrap();
    let friendly = hello().layer(friendly.allow_origin("https://app.example:8443").unwrap());
    let token = stand.start("alice");
    // Over HTTP/2 a WebSocket request has neither Upgrade nor a key (RFC 8441
    // §5).
    let web_sockets = [
        ("upgrade", "WebSocket"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
        ("sec-fetch-mode", "websocket"),
    ];
    type Headers = &'static [(&'static str, &'static str)];
    let cases: &[(Headers, bool, bool)] = &[
        // Headers; whether the own host's layer accepts them; whether the one
        // with the allow-list does.
        (&[("sec-fetch-site", "same-origin")], true, true),
        (&[("sec-fetch-site", "none")], true, true),
        (&[("sec-fetch-site", "same-origin"), ("origin", "https://api.example")], true, true),
        (&[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")], false, false),
        (&[("sec-fetch-site", "same-site"), ("origin", "https://blog.example")], false, false),
        (&[("sec-fetch-site", "cross-site")], false, false),
        (&[("sec-fetch-site", "same-site"), ("origin", "https://app.example")], false, true),
        (&[("sec-fetch-site", "cross-site"), ("origin", "https://app.example:8443")], false, true),
        (&[("sec-fetch-site", "cross-site"), ("origin", "https://app.example:9443")], false, false),
        (&[("sec-fetch-site", "cross-site"), ("origin", "http://app.example")], false, false),
        (&[("sec-fetch-site", "cross-site"), ("origin", "https://app.example.evil.example")], false, false),
        (
            &[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example/https://app.example")],
            false,
            false,
        ),
        // A browser without Fetch Metadata.
        (&[("origin", "https://api.example")], true, true),
        (&[("origin", "https://evil.example")], false, false),
        (&[("origin", "https://app.example")], false, true),
        (&[("origin", "null")], false, false),
        // Referer is ignored.
        (&[("origin", "null"), ("referer", "https://api.example/")], false, false),
        // Not a browser: the client itself added the cookie.
        (&[], true, true),
    ];
    for (headers, at_own, at_friendly) in cases {
        let mut with = vec![cookie(&token), ("host", "api.example".to_owned())];
        with.extend(headers.iter().map(|(name, value)| (*name, (*value).to_owned())));
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            for (app, passes) in [(&own, at_own), (&optional, at_own), (&friendly, at_friendly)] {
                let answer = send(app, request(method.clone(), "/", &with)).await;
                let expected = if *passes { 200 } else { 403 };
                assert_eq!(answer.status(), expected, "{method} {headers:?}");
                assert_eq!(refusal(&answer), (!passes).then_some(Refusal::CrossSite));
            }
        }
        // A link from another site still finds the user logged in.
        assert_eq!(ask(&own, "/", &with).await.status(), 200);
        // A WebSocket starts with a GET, but the foreign page could read the
        // answers.
        for (name, value) in web_sockets {
            let with = [&with[..], &[(name, value.to_owned())]].concat();
            for (app, passes) in [(&own, at_own), (&friendly, at_friendly)] {
                assert_eq!(ask(app, "/", &with).await.status() == 200, *passes, "{name} {headers:?}");
            }
        }
        // No browser adds an Authorization header by itself.
        let mut with = vec![bearer(&token), ("host", "api.example".to_owned())];
        with.extend(headers.iter().map(|(name, value)| (*name, (*value).to_owned())));
        assert_eq!(send(&own, request(Method::POST, "/", &with)).await.status(), 200);
    }
    assert!(SessionLayer::new(stand.verifier()).allow_origin("https://app.example/").is_err());
}

/// Records the events, and the addresses that used sessions.
#[derive(Default)]
struct Heard(Mutex<Vec<Event>>, Mutex<Vec<String>>);

impl EventSink for Heard {
    fn record(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }

    fn used(&self, _: SessionId, address: IpAddr, _: UnixTime) {
        self.1.lock().unwrap().push(address.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_listens_hears_which_token_was_refused_and_who_asked() {
    let stand = Stand::new().await;
    let heard = Arc::new(Heard::default());
    let recent = Demand::new().authenticated_within(Duration::from_secs(60));
    let layer = |optional: bool| {
        let layer = layer(&stand).events(Arc::clone(&heard) as _);
        let layer = layer.trusted_proxies(TrustedProxies::new(["10.0.0.0/8"]).unwrap());
        if optional { layer.optional() } else { layer }
    };
    let routes = || hello().route("/bank", get(async || "money").layer(recent.clone()));
    let (required, optional) = (routes().layer(layer(false)), routes().layer(layer(true)));
    let from = |peer: &str, uri: &str, headers: &[(&str, String)]| {
        let mut request = request(Method::GET, uri, headers);
        let peer: SocketAddr = format!("{peer}:1000").parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(peer));
        request
    };
    let forwarded = ("x-forwarded-for", "1.1.1.1, 192.0.2.7".to_owned());
    let good = stand.start("alice");
    let hear = || heard.0.lock().unwrap().drain(..).collect::<Vec<_>>();
    for app in [&required, &optional] {
        send(app, from("10.0.0.1", "/", &[cookie("x"), forwarded.clone()])).await;
        send(app, from("192.0.2.8", "/", &[bearer("x"), forwarded.clone()])).await;
        ask(app, "/", &[bearer("x")]).await;
        let events = hear();
        let addresses: Vec<_> = events.iter().map(|event| event.address.map(|a| a.to_string())).collect();
        assert_eq!(addresses, [Some("192.0.2.7".to_owned()), Some("192.0.2.8".to_owned()), None]);
        for event in events {
            assert_eq!(event.kind, EventKind::TokenRefused(Reason::Malformed));
            assert_eq!((event.at, event.session), (stand.clock.now(), None));
        }
        // Neither a missing token nor a valid one is an event.
        ask(app, "/", &[]).await;
        ask(app, "/bank", &[cookie(&good)]).await;
        assert_eq!(hear(), []);
    }
    // Without a known client address, no use is reported. A refused token is not
    // a use.
    assert!(heard.1.lock().unwrap().is_empty());
    stand.clock.advance(61);
    send(&required, from("10.0.0.1", "/bank", &[cookie(&good), forwarded.clone()])).await;
    let [event] = &hear()[..] else { panic!() };
    assert_eq!(event.kind, EventKind::TokenRefused(Reason::ReauthenticationRequired));
    assert_eq!(event.address.unwrap().to_string(), "192.0.2.7");
    assert!(event.session.is_some());
    // The issuer receives the client's address with a renewal.
    let due = stand.due();
    send(&required, from("10.0.0.1", "/", &[cookie(&due), forwarded])).await;
    assert_eq!(stand.asked_for(), [Some("192.0.2.7".to_owned())]);
    assert_eq!(*heard.1.lock().unwrap(), ["192.0.2.7", "192.0.2.7"]);
}

/// An app with a WebSocket and an event stream, each open until the session ends.
fn live(layer: SessionLayer<impl Clock + Clone>) -> Router {
    let web_socket = async |session: Session, upgrade: WebSocketUpgrade| {
        upgrade.on_upgrade(async move |mut socket| {
            let mut ended = std::pin::pin!(session.ended());
            loop {
                tokio::select! {
                    _ = &mut ended => return,
                    message = socket.recv() => match message {
                        Some(Ok(Frame::Text(text))) => socket.send(Frame::Text(text)).await.unwrap(),
                        _ => return,
                    }
                }
            }
        })
    };
    let events = async |session: Session| {
        let first = futures_util::stream::once(async { SseEvent::default().data("hello") });
        let silence = futures_util::stream::pending();
        let until = session.ended();
        Sse::new(first.chain(silence).map(Ok::<_, Infallible>).take_until(until)).into_response()
    };
    Router::new().route("/ws", any(web_socket)).route("/events", get(events)).layer(layer)
}

#[tokio::test(flavor = "multi_thread")]
async fn live_connections_end_with_their_session_after_a_renewal_too() {
    let stand = Stand::new().await;
    let list = RevocationList::new();
    let verifier = Verifier::builder(stand.issuer.key_set().clone())
        .revocations(list.clone())
        .stale_policy(StalePolicy::NeverStale)
        .build()
        .unwrap();
    let renewal = stand.builder().patience(AGES).timeout(AGES).build().unwrap();
    let app = live(SessionLayer::new(verifier).renewing(renewal).with_clock(stand.clock.clone()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });

    let web_socket = async |token: &str| {
        let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
        let (name, value) = cookie(token);
        request.headers_mut().insert(name, value.parse().unwrap());
        tokio_tungstenite::connect_async(request).await
    };
    let events = async |token: &str| {
        let (name, value) = cookie(token);
        let request = crate::support::client().get(format!("http://{address}/events")).header(name, value);
        request.send().await.unwrap()
    };
    // The first connection delivers the renewal, and stays open with the old
    // token.
    let (old, other) = (stand.start("alice"), stand.start("bob"));
    stand.clock.advance(460);
    let (mut first, answer) = web_socket(&old).await.unwrap();
    let new = new_token(answer.headers());
    let mut stream = events(&old).await;
    assert_eq!(new_token(stream.headers()), new);
    let (mut second, answer) = web_socket(&new).await.unwrap();
    assert!(!answer.headers().contains_key(header::SET_COOKIE));
    let (mut stays, _) = web_socket(&other).await.unwrap();
    for socket in [&mut first, &mut second, &mut stays] {
        socket.send(Message::text("hello")).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
    }
    assert_eq!(stream.chunk().await.unwrap().unwrap(), "data: hello\n\n");

    let session: Session = stand.verifier().verify(&new, stand.clock.now()).unwrap();
    list.insert(Entry::Session { sid: session.id(), ends: session.ends_at() });
    for socket in [&mut first, &mut second] {
        assert!(!matches!(socket.next().await, Some(Ok(Message::Text(_)))));
    }
    assert_eq!(stream.chunk().await.unwrap(), None);
    for token in [&old, &new] {
        assert!(matches!(web_socket(token).await, Err(tungstenite::Error::Http(_))));
        assert_eq!(events(token).await.status(), 401);
    }
    stays.send(Message::text("still here")).await.unwrap();
    assert_eq!(stays.next().await.unwrap().unwrap(), Message::text("still here"));
}
