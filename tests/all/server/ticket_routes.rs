//! Tickets over HTTP: asked for at `/tickets`, redeemed in the query at an edge.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use futures_util::{SinkExt, StreamExt};
use hallpass::event::{Event, EventKind, EventSink};
use hallpass::http::{TicketLayer, TrustedProxies};
use hallpass::replay::NonceSettings;
use hallpass::{
    Clock, KeySet, NonceCache, Reason, SessionId, SystemClock, TicketVerifier, UnixTime, Verifier,
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::support::{Home, PASSWORD, Running, bearer, client};

#[path = "../../../examples/tickets.rs"]
mod example;

const CONFIG: &str =
    "[tokens]\naudience = \"shop\"\n[[hosts]]\norigin = \"https://files.example\"\naudience = \"files\"\n";

fn serve(home: &Home) -> Running {
    let config = home.write("tickets.toml", CONFIG);
    home.serve(&["--config", config.to_str().unwrap()])
}

/// Since some time ago: nothing was redeemed before.
fn nonces() -> NonceCache {
    NonceCache::new(SystemClock.now().saturating_sub(Duration::from_mins(1)))
}

async fn verifier(serve: &Running, audience: &str) -> Verifier {
    let keys = client().get(serve.at("/.well-known/hallpass/keys")).send().await.unwrap();
    let keys = KeySet::from_bytes(&keys.bytes().await.unwrap()).unwrap();
    Verifier::builder(keys).audience(audience).without_revocations().build().unwrap()
}

/// The example as an edge.
async fn edge(tickets: TicketVerifier) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, example::app(tickets)).await });
    address
}

async fn ask(serve: &Running, token: &str, body: Value) -> (StatusCode, Value) {
    let asked = client().post(serve.at("/tickets")).bearer_auth(token).json(&body);
    let answer = asked.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

async fn ticket(serve: &Running, token: &str, body: Value) -> String {
    let (status, answer) = ask(serve, token, body).await;
    assert_eq!(status, 200, "{answer}");
    answer["ticket"].as_str().unwrap().to_owned()
}

async fn get(edge: SocketAddr, path_and_query: &str) -> StatusCode {
    client().get(format!("http://{edge}{path_and_query}")).send().await.unwrap().status()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_link_for_one_path_works_once() {
    let home = Home::new();
    let serve = serve(&home);
    let token = bearer(&serve.url).await;
    let edge = edge(TicketVerifier::new(verifier(&serve, "files").await, nonces())).await;
    let (status, answer) =
        ask(&serve, &token, json!({ "audience": "files", "path": "/files/a.txt", "max_age": 60 })).await;
    assert_eq!(status, 200);
    let ticket = answer["ticket"].as_str().unwrap();
    let expires = UnixTime::parse_rfc3339(answer["expires_at"].as_str().unwrap()).unwrap();
    let inside = hallpass::danger::inspect(ticket).unwrap().json;
    assert_eq!(inside["session"]["expires_at"], answer["expires_at"], "{inside}");
    assert!(
        expires > SystemClock.now() && expires <= SystemClock.now().saturating_add(Duration::from_mins(1))
    );

    // Elsewhere it is refused and not used up.
    assert_eq!(get(edge, &format!("/files/b.txt?ticket={ticket}")).await, 401);
    assert_eq!(get(edge, &format!("/files/a.txt?ticket={ticket}&ticket={ticket}")).await, 401);
    let by_header =
        client().get(format!("http://{edge}/files/a.txt")).bearer_auth(ticket).send().await.unwrap();
    assert_eq!(by_header.status(), 401);
    let link = format!("http://{edge}/files/a.txt?x=y&ticket={ticket}");
    let answer = client().get(&link).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert_eq!(answer.headers()["referrer-policy"], "no-referrer");
    assert_eq!(answer.text().await.unwrap(), "a.txt, for alice\n");
    let again = client().get(&link).send().await.unwrap();
    assert_eq!(again.status(), 401);
    assert_eq!(again.headers()["content-type"], "application/problem+json");
    assert!(serve.log().contains("ticket_issued") && !serve.log().contains(ticket));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_socket_is_opened_by_a_ticket() {
    let home = Home::new();
    let serve = serve(&home);
    let token = bearer(&serve.url).await;
    let edge = edge(TicketVerifier::new(verifier(&serve, "files").await, nonces())).await;
    let ticket = ticket(&serve, &token, json!({ "audience": "files", "path": "/echo" })).await;
    let url = format!("ws://{edge}/echo?ticket={ticket}");
    let (mut socket, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
    let again = tokio_tungstenite::connect_async(&url).await.unwrap_err();
    let tungstenite::Error::Http(answer) = again else { panic!("{again:?}") };
    assert_eq!(answer.status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_uses_at_once_one_is_accepted() {
    let home = Home::new();
    let serve = serve(&home);
    let token = bearer(&serve.url).await;
    let edge = edge(TicketVerifier::new(verifier(&serve, "files").await, nonces())).await;
    let ticket = ticket(&serve, &token, json!({ "audience": "files" })).await;
    let barrier = Arc::new(Barrier::new(32));
    let uses: Vec<_> = (0..32)
        .map(|_| {
            let (ticket, barrier) = (ticket.clone(), Arc::clone(&barrier));
            tokio::spawn(async move {
                barrier.wait().await;
                get(edge, &format!("/files/a?ticket={ticket}")).await
            })
        })
        .collect();
    let mut accepted = 0;
    for one in uses {
        let status = one.await.unwrap();
        assert!([200, 401].contains(&status.as_u16()));
        accepted += usize::from(status == 200);
    }
    assert_eq!(accepted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_for_one_audience_and_no_token() {
    let home = Home::new();
    let serve = serve(&home);
    let token = bearer(&serve.url).await;
    let files = edge(TicketVerifier::new(verifier(&serve, "files").await, nonces())).await;
    let shop = edge(TicketVerifier::new(verifier(&serve, "shop").await, nonces())).await;
    let for_shop = ticket(&serve, &token, json!({ "audience": "shop" })).await;
    let for_files = ticket(&serve, &token, json!({ "audience": "files" })).await;
    for (edge, refused) in [(files, &for_shop), (shop, &for_files), (shop, &token), (files, &token)] {
        assert_eq!(get(edge, &format!("/files/a?ticket={refused}")).await, 401);
    }
    // At the issuer, in a token's place and in a hop's.
    for ticket in [&for_shop, &for_files] {
        for path in ["/session", "/sessions"] {
            let answer = client().get(serve.at(path)).bearer_auth(ticket).send().await.unwrap();
            assert_eq!(answer.status(), 401);
        }
        for path in ["/renew", "/sessions/revoke-others"] {
            let answer = client().post(serve.at(path)).bearer_auth(ticket).send().await.unwrap();
            assert_eq!(answer.status(), 401);
        }
        let (status, _) = ask(&serve, ticket, json!({ "audience": "files" })).await;
        assert_eq!(status, 401, "a ticket makes no tickets");
        let body = json!({ "ticket": ticket, "audience": "files" });
        let answer = client().post(serve.at("/tickets/redeem")).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 401, "a ticket for elsewhere opens no session");
    }
    assert_eq!(get(shop, &format!("/files/a?ticket={for_shop}")).await, 200);
    assert_eq!(get(files, &format!("/files/a?ticket={for_files}")).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_edge_and_a_full_one_refuse() {
    let home = Home::new();
    let serve = serve(&home);
    let token = bearer(&serve.url).await;
    let verifier = verifier(&serve, "files").await;
    let before = ticket(&serve, &token, json!({ "audience": "files" })).await;
    let restarted = edge(TicketVerifier::new(verifier.clone(), NonceCache::new(SystemClock.now()))).await;
    assert_eq!(get(restarted, &format!("/files/a?ticket={before}")).await, 401, "from before its start");
    let start = SystemClock.now().saturating_sub(Duration::from_mins(1));
    let settings = NonceSettings { tickets: 1, proofs: 1 };
    let full = NonceCache::with_settings(settings, start).unwrap();
    let full = edge(TicketVerifier::new(verifier, full)).await;
    assert_eq!(get(full, &format!("/files/a?ticket={before}")).await, 200);
    let next = ticket(&serve, &token, json!({ "audience": "files" })).await;
    assert_eq!(get(full, &format!("/files/a?ticket={next}")).await, 401, "no room, so not accepted");
    assert_eq!(
        get(full, &format!("/files/a?ticket={before}")).await,
        401,
        "and nothing was forgotten for it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_is_bounded() {
    let home = Home::new();
    let serve = serve(&home);
    let token = bearer(&serve.url).await;
    for (body, status) in [
        (json!({ "audience": "other" }), 422),
        (json!({ "audience": "" }), 422),
        (json!({}), 422),
        (json!({ "audience": "files", "max_age": 0 }), 422),
        (json!({ "audience": "files", "max_age": 301 }), 422),
        (json!({ "audience": "files", "max_age": -1 }), 422),
        (json!({ "audience": "files", "path": "files" }), 422),
        (json!({ "audience": "files", "path": "/files?x" }), 422),
        (json!({ "audience": "files", "path": "/\u{e4}" }), 422),
        (json!({ "audience": "files", "path": format!("/{}", "x".repeat(2000)) }), 422),
        (json!({ "audience": "files", "typo": 1 }), 422),
        (json!({ "audience": "files", "path": "/%C3%A4", "max_age": 300 }), 200),
    ] {
        let (found, answer) = ask(&serve, &token, body.clone()).await;
        assert_eq!(found, status, "{body} {answer}");
    }
    let nobody = client().post(serve.at("/tickets")).json(&json!({ "audience": "files" })).send().await;
    assert_eq!(nobody.unwrap().status(), 401);

    // A page of another site can't request a ticket.
    let by_cookie = |site: &'static str| {
        let asked = client().post(serve.at("/tickets")).header("cookie", format!("__Host-session={token}"));
        asked.header("sec-fetch-site", site).json(&json!({ "audience": "files" })).send()
    };
    assert_eq!(by_cookie("cross-site").await.unwrap().status(), 403);
    assert_eq!(by_cookie("same-origin").await.unwrap().status(), 200);

    // Sixty-four at once, two of which are there already.
    for _ in 0..62 {
        assert_eq!(ask(&serve, &token, json!({ "audience": "files", "max_age": 300 })).await.0, 200);
    }
    let body = json!({ "audience": "files" });
    let answer = client().post(serve.at("/tickets")).bearer_auth(&token).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.headers()["retry-after"], "30");
    let body = json!({ "username": "alice", "password": PASSWORD, "transport": "bearer" });
    let other = client().post(serve.at("/login")).json(&body).send().await.unwrap();
    let other: Value = other.json().await.unwrap();
    ticket(&serve, other["token"].as_str().unwrap(), json!({ "audience": "files" })).await;
}

/// Events, and from where sessions were used.
#[derive(Default)]
struct Heard(Mutex<Vec<Event>>, Mutex<Vec<(SessionId, IpAddr)>>);

impl EventSink for Heard {
    fn record(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }

    fn used(&self, session: SessionId, address: IpAddr, _: UnixTime) {
        self.1.lock().unwrap().push((session, address));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_listens_hears_of_redeemed_and_refused_tickets() {
    let home = Home::new();
    let serve = serve(&home);
    let token = bearer(&serve.url).await;
    let heard = Arc::new(Heard::default());
    let layer = TicketLayer::new(TicketVerifier::new(verifier(&serve, "files").await, nonces()))
        .trusted_proxies(TrustedProxies::new(["127.0.0.1"]).unwrap())
        .events(Arc::clone(&heard) as _);
    let app = Router::new().route("/", axum::routing::get(async || "hello")).layer(layer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let edge = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });

    let ticket = ticket(&serve, &token, json!({ "audience": "files" })).await;
    let used = format!("?ticket={ticket}");
    for (query, status) in [(&*used, 200), (&*used, 401), ("?ticket=nonsense", 401), ("", 401)] {
        let ask = client().get(format!("http://{edge}/{query}")).header("x-forwarded-for", "192.0.2.7");
        assert_eq!(ask.send().await.unwrap().status(), status, "{query}");
    }
    let address: IpAddr = [192, 0, 2, 7].into();
    let events = heard.0.lock().unwrap().clone();
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    let refused = EventKind::TokenRefused;
    // A request without a ticket raises no event.
    assert_eq!(kinds, [EventKind::TicketRedeemed, refused(Reason::Replayed), refused(Reason::Malformed)]);
    assert!(events.iter().all(|event| event.address == Some(address)), "{events:?}");
    assert_eq!(events[0].subject.as_ref().unwrap().as_str(), "alice");
    assert_eq!(*heard.1.lock().unwrap(), [(events[0].session.unwrap(), address)]);
}
