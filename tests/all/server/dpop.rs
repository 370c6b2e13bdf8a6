//! Proofs of possession over HTTP (RFC 9449): log in bound to a key, and every
//! request after that with a proof.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use hallpass::http::{RequestProofs, Scheme, TicketLayer, TrustedProxies};
use hallpass::proof::ServerNonces;
use hallpass::{
    Clock, KeySet, NonceCache, ProofVerifier, Session, SessionLayer, SystemClock, TicketVerifier, Verifier,
};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::dpop::*;
use crate::support::proof_client::{Client, NodeClient, node_peers};
use crate::support::{Home, PASSWORD, Running, bearer, client, is_due};

/// As in the configuration.
const RENEW_AFTER: Duration = Duration::from_secs(2);
const CONFIG: &str = "base_path = \"/auth\"\n[tokens]\naudience = \"shop\"\n[lifetimes]\nidle_timeout = \"1m\"\nrenew_after = \"2s\"\nrenewal_grace = \"1s\"\nabsolute_lifetime = \"1h\"\n";

fn serve(home: &Home) -> Running {
    let config = home.write("dpop.toml", CONFIG);
    home.serve(&["--config", config.to_str().unwrap()])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_session_lives_by_its_proofs() {
    let home = Home::new();
    let serve = serve(&home);
    for key in [Client::p256(3), Client::ed25519(3)] {
        let mut bound = Bound::log_in(&serve, key).await;
        let answer = bound.ask(Method::GET, "/session", None).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(nonce(&answer), bound.nonce, "current still");
        assert_eq!(bound.ask(Method::GET, "/sessions", None).await.status(), 200);
        let answer = bound.ask(Method::POST, "/tickets", Some(json!({ "audience": "shop" }))).await;
        assert_eq!(answer.status(), 200);
        let answer = bound.ask(Method::POST, "/renew", None).await;
        let early = answer.json::<Value>().await.unwrap();
        assert!(early["renewed"] == false || is_due(&bound.token, RENEW_AFTER), "{early}");
        tokio::time::sleep(Duration::from_secs(3)).await;
        let answer: Value = bound.ask(Method::POST, "/renew", None).await.json().await.unwrap();
        assert_eq!((&answer["renewed"], &answer["token_type"]), (&json!(true), &json!("DPoP")));
        bound.token = answer["token"].as_str().unwrap().to_owned();
        let password = json!({ "password": PASSWORD });
        let answer = bound.ask(Method::POST, "/reauthenticate", Some(password)).await;
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["token_type"], "DPoP", "still bound: {answer}");
        bound.token = answer["token"].as_str().unwrap().to_owned();
        assert_eq!(bound.ask(Method::GET, "/session", None).await.status(), 200);
        assert_eq!(bound.ask(Method::POST, "/logout", None).await.status(), 204);
        let answer = bound.ask(Method::GET, "/session", None).await;
        assert!(challenge(&answer).starts_with("DPoP error=\"invalid_token\""));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_token_without_its_proof_is_refused_everywhere() {
    let home = Home::new();
    let serve = serve(&home);
    let bound = Bound::log_in(&serve, Client::p256(3)).await;
    let id = hallpass::danger::inspect(&bound.token).unwrap().json["session"]["session_id"].clone();
    let one = format!("/sessions/{}", id.as_str().unwrap());
    let routes = [
        (Method::GET, "/session", 401),
        (Method::GET, "/sessions", 401),
        (Method::DELETE, one.as_str(), 401),
        (Method::POST, "/sessions/revoke-others", 401),
        (Method::POST, "/renew", 401),
        (Method::POST, "/reauthenticate", 401),
        (Method::POST, "/tickets", 401),
        (Method::POST, "/logout", 401),
        // Pages, which send whoever has no session to the log-in page.
        (Method::GET, "/account", 303),
        (Method::POST, "/account/end-others", 401),
    ];
    for (method, path, status) in &routes {
        for header in [
            ("authorization", format!("Bearer {}", bound.token)),
            ("authorization", format!("DPoP {}", bound.token)),
            ("cookie", format!("__Host-session={}", bound.token)),
        ] {
            let request = client().request(method.clone(), serve.at(path)).header(header.0, &header.1);
            let request = if *path == "/account/end-others" {
                request.form(&[("password", PASSWORD)])
            } else {
                let tickets = *path == "/tickets";
                let body =
                    if tickets { json!({ "audience": "shop" }) } else { json!({ "password": PASSWORD }) };
                request.json(&body)
            };
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), *status, "{method} {path} {header:?}");
            if *status == 401 {
                let challenge = challenge(&answer);
                assert!(challenge.starts_with("DPoP error="), "{method} {path} {header:?} {challenge}");
            }
            assert!(answer.headers().get("set-cookie").is_none());
        }
    }
    assert_eq!(bound.ask(Method::GET, "/session", None).await.status(), 200, "none of that ended it");

    // The other way round: a token without a key shown as if it had one.
    let token = bearer(&serve.url).await;
    let proof = proof(&bound.key, "GET", &serve.at("/session"), Some(&bound.nonce), Some(&token));
    let unbound = client().get(serve.at("/session")).header("dpop", proof);
    let answer = unbound.header("authorization", format!("DPoP {token}")).send().await.unwrap();
    assert!(challenge(&answer).starts_with("DPoP error=\"invalid_dpop_proof\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_is_for_one_request_at_one_service() {
    let home = Home::new();
    let serve = serve(&home);
    let bound = Bound::log_in(&serve, Client::p256(3)).await;
    let used = bound.proof("GET", "/session");
    assert_eq!(bound.send(Method::GET, "/session", &used, None).await.status(), 200);
    let answer = bound.send(Method::GET, "/session", &used, None).await;
    assert!(challenge(&answer).starts_with("DPoP error=\"invalid_dpop_proof\""), "used already");

    let host = serve.address();
    for wrong in [
        bound.proof("POST", "/session"),
        bound.proof("GET", "/sessions"),
        proof(&bound.key, "GET", &format!("http://{host}/session"), Some(&bound.nonce), Some(&bound.token)),
        proof(
            &bound.key,
            "GET",
            &format!("https://{host}/auth/session"),
            Some(&bound.nonce),
            Some(&bound.token),
        ),
        proof(&bound.key, "GET", "http://evil.example/auth/session", Some(&bound.nonce), Some(&bound.token)),
        proof(&bound.key, "GET", &serve.at("/session"), Some(&bound.nonce), Some("another")),
        proof(&bound.key, "GET", &serve.at("/session"), Some(&bound.nonce), None),
        proof(&Client::p256(4), "GET", &serve.at("/session"), Some(&bound.nonce), Some(&bound.token)),
        String::new(),
    ] {
        let answer = bound.send(Method::GET, "/session", &wrong, None).await;
        assert!(challenge(&answer).starts_with("DPoP error=\"invalid_dpop_proof\""), "{wrong}");
    }
    // Two proofs, one of them good.
    let request = client().get(serve.at("/session")).header("authorization", format!("DPoP {}", bound.token));
    let request = request.header("dpop", bound.proof("GET", "/session")).header("dpop", &used);
    assert_eq!(request.send().await.unwrap().status(), 401);
    let (url, token) = (serve.at("/session"), Some(&*bound.token));
    for nonce in [None, Some("AAAAAAAAAAAAAAAAAAAAAA"), Some("")] {
        let answer =
            bound.send(Method::GET, "/session", &proof(&bound.key, "GET", &url, nonce, token), None).await;
        assert!(challenge(&answer).starts_with("DPoP error=\"use_dpop_nonce\""));
        assert_eq!(self::nonce(&answer), bound.nonce);
    }
    // Another process with the same keys and store, and even the same name in
    // the request: its nonces are its own.
    let other = self::serve(&home);
    let elsewhere = client().get(other.at("/session")).header("host", serve.address());
    let elsewhere = elsewhere.header("dpop", bound.proof("GET", "/session"));
    let answer = elsewhere.header("authorization", format!("DPoP {}", bound.token)).send().await.unwrap();
    assert!(challenge(&answer).starts_with("DPoP error=\"use_dpop_nonce\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_is_bound_or_refused() {
    let home = Home::new();
    let serve = serve(&home);
    let (key, url) = (Client::ed25519(5), serve.at("/login"));
    let asked = log_in(&serve, &proof(&key, "POST", &url, None, None), &credentials()).await;
    let nonce = nonce(&asked);
    let good = proof(&key, "POST", &url, Some(&nonce), None);
    let wrong = json!({ "username": "alice", "password": "wrong" });
    assert_eq!(log_in(&serve, &good, &wrong).await.status(), 401);
    let cookie = json!({ "username": "alice", "password": PASSWORD, "transport": "cookie" });
    assert_eq!(log_in(&serve, &good, &cookie).await.status(), 422);
    assert_eq!(log_in(&serve, &good, &credentials()).await.status(), 200, "none of that used it up");
    let again = log_in(&serve, &good, &credentials()).await;
    assert!(challenge(&again).starts_with("DPoP error=\"invalid_dpop_proof\""));
    for bad in [
        proof(&key, "GET", &url, Some(&nonce), None),
        proof(&key, "POST", &serve.at("/renew"), Some(&nonce), None),
        proof(&key, "POST", &url, Some(&nonce), Some("token")),
        "x".to_owned(),
    ] {
        let answer = log_in(&serve, &bad, &credentials()).await;
        assert!(challenge(&answer).starts_with("DPoP error=\"invalid_dpop_proof\""), "{bad}");
    }
    // Requests without a proof get no nonce.
    let answer = client().post(url).json(&credentials()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.headers().get("dpop-nonce").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_names_the_service_as_its_clients_see_it() {
    let home = Home::new();
    let url = "https://login.example/session";
    let log_in_at = "https://login.example/login";
    let config = home.write("c.toml", "public_origin = \"https://login.example\"\n");
    let serve = home.serve(&["--config", config.to_str().unwrap()]);
    let key = Client::p256(6);
    let nonce = nonce(&log_in(&serve, "x", &credentials()).await);
    let inner = proof(&key, "POST", &serve.at("/login"), Some(&nonce), None);
    assert_eq!(log_in(&serve, &inner, &credentials()).await.status(), 401, "nobody sees it there");
    let proof_of_log_in = proof(&key, "POST", log_in_at, Some(&nonce), None);
    let answer: Value = log_in(&serve, &proof_of_log_in, &credentials()).await.json().await.unwrap();
    let token = answer["token"].as_str().unwrap();
    let good = proof(&key, "GET", url, Some(&nonce), Some(token));
    assert_eq!(fetch(&serve.at("/session"), "DPoP", token, &good).await.status(), 200);
}

/// A log-out with the token of a session that a step-up replaced ends the new
/// session too, even when the old one has ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_bound_log_out_by_a_replaced_token_ends_the_log_in() {
    let home = Home::new();
    let serve = serve(&home);
    let bound = Bound::log_in(&serve, Client::p256(8)).await;
    let body = json!({ "password": PASSWORD });
    let answer: Value = bound.ask(Method::POST, "/reauthenticate", Some(body)).await.json().await.unwrap();
    let new = Bound {
        serve: &serve,
        key: Client::p256(8),
        token: answer["token"].as_str().unwrap().to_owned(),
        nonce: bound.nonce.clone(),
    };
    // The grace is a second; the replaced session is revoked after it.
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while bound.ask(Method::GET, "/session", None).await.status() == 200 {
        assert!(std::time::Instant::now() < until, "never revoked");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(new.ask(Method::GET, "/session", None).await.status(), 200);
    assert_eq!(bound.ask(Method::POST, "/logout", None).await.status(), 204);
    assert_eq!(new.ask(Method::GET, "/session", None).await.status(), 401);
}

/// A service that received a request passes token and proof on, with host headers
/// of its choice.
#[tokio::test(flavor = "multi_thread")]
async fn a_proof_for_another_site_is_refused_whoever_relays_it() {
    const SPOOFS: [&[(&str, &str)]; 3] = [
        &[("host", "evil.example")],
        &[("x-forwarded-host", "evil.example"), ("x-forwarded-proto", "https")],
        &[("host", "evil.example"), ("x-forwarded-proto", "https")],
    ];
    let own = "http://login.localhost:1";
    for origin in [None, Some(own)] {
        let home = Home::new();
        let key = origin.map(|origin| format!("public_origin = \"{origin}\"\n")).unwrap_or_default();
        let config = home.write("c.toml", format!("{key}trusted_proxies = [\"127.0.0.1\"]\n"));
        let serve = home.serve(&["--config", config.to_str().unwrap()]);
        let key = Client::p256(9);
        let nonce = nonce(&log_in(&serve, "x", &credentials()).await);
        let here = format!("{}/login", origin.unwrap_or(&serve.url));
        let answer = log_in(&serve, &proof(&key, "POST", &here, Some(&nonce), None), &credentials()).await;
        let token = answer.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned();
        for scheme in ["http", "https"] {
            for spoof in SPOOFS {
                let site = format!("{scheme}://evil.example");
                let spoofed = |request: reqwest::RequestBuilder| {
                    spoof.iter().fold(request, |request, (name, value)| request.header(*name, *value))
                };
                let log_in_proof = proof(&key, "POST", &format!("{site}/login"), Some(&nonce), None);
                let log_in = client().post(serve.at("/login")).json(&credentials());
                let relayed = spoofed(log_in).header("dpop", log_in_proof).send().await.unwrap();
                assert_eq!(relayed.status(), 401, "a log-in, {spoof:?}");
                let ask_proof = proof(&key, "GET", &format!("{site}/session"), Some(&nonce), Some(&token));
                let ask = client().get(serve.at("/session")).header("authorization", format!("DPoP {token}"));
                let relayed = spoofed(ask).header("dpop", ask_proof).send().await.unwrap();
                assert_eq!(relayed.status(), 401, "a request, {spoof:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_service_accepts_no_proof_again() {
    let home = Home::new();
    let config = home.write("c.toml", "public_origin = \"https://login.example\"\n");
    let arguments = ["--config", config.to_str().unwrap()];
    let mut first = home.serve(&arguments);
    let key = Client::ed25519(7);
    let asked = log_in(&first, "x", &credentials()).await;
    let log_in_proof = proof(&key, "POST", "https://login.example/login", Some(&nonce(&asked)), None);
    let answer = log_in(&first, &log_in_proof, &credentials()).await;
    let nonce = nonce(&answer);
    let token = answer.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned();
    let used = proof(&key, "GET", "https://login.example/session", Some(&nonce), Some(&token));
    let ask = async |serve: &Running, proof: &str| {
        let request = client().get(serve.at("/session")).header("authorization", format!("DPoP {token}"));
        request.header("dpop", proof).send().await.unwrap()
    };
    assert_eq!(ask(&first, &used).await.status(), 200);
    first.signal("KILL");
    first.wait();
    let second = home.serve(&arguments);
    let answer = ask(&second, &used).await;
    assert!(challenge(&answer).starts_with("DPoP error=\"use_dpop_nonce\""));
    assert_eq!(log_in(&second, &log_in_proof, &credentials()).await.status(), 401);
    // The client goes on with the nonce that it was given, at once.
    let nonce = self::nonce(&answer);
    let next = proof(&key, "GET", "https://login.example/session", Some(&nonce), Some(&token));
    assert_eq!(ask(&second, &next).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_nobody_here_wrote_log_in_and_go_on() {
    let Some(peers) = node_peers() else { return };
    let home = Home::new();
    let (serve, other) = (serve(&home), serve(&home));
    for (library, alg) in [("dpop", "ES256"), ("dpop", "Ed25519"), ("jose", "EdDSA")] {
        let mut node = NodeClient::new(&peers, library, alg);
        let mut prove = |method: &str, path: &str, nonce: Option<&str>, token: Option<&str>| {
            let mut question = json!({ "htm": method, "htu": serve.at(path) });
            if let Some(nonce) = nonce {
                question["nonce"] = nonce.into();
            }
            if let Some(token) = token {
                question["token"] = token.into();
            }
            node.prove(&question)
        };
        let asked = log_in(&serve, &prove("POST", "/login", None, None), &credentials()).await;
        assert!(challenge(&asked).starts_with("DPoP error=\"use_dpop_nonce\""));
        let nonce = nonce(&asked);
        let answer = log_in(&serve, &prove("POST", "/login", Some(&nonce), None), &credentials()).await;
        assert_eq!(answer.status(), 200, "{library} {alg}");
        let token = answer.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned();
        let ask = async |at: &Running, method: Method, path: &str, proof: &str| {
            let request = client().request(method, at.at(path)).header("dpop", proof);
            let request = request.header("authorization", format!("DPoP {token}"));
            request.json(&json!({ "audience": "shop" })).send().await.unwrap()
        };
        for (method, path) in [
            (Method::GET, "/session"),
            (Method::GET, "/sessions"),
            (Method::POST, "/renew"),
            (Method::POST, "/tickets"),
        ] {
            let proof = prove(method.as_str(), path, Some(&nonce), Some(&token));
            let elsewhere = ask(&other, method.clone(), path, &proof).await;
            assert_eq!(elsewhere.status(), 401, "another service");
            assert_eq!(
                ask(&serve, method.clone(), path, &proof).await.status(),
                200,
                "{library} {alg} {path}"
            );
            assert_eq!(ask(&serve, method, path, &proof).await.status(), 401, "a replay");
        }
        let proof = prove("POST", "/logout", Some(&nonce), Some(&token));
        assert_eq!(ask(&serve, Method::POST, "/logout", &proof).await.status(), 204);
    }
}

/// An edge whose layers are inside a nested router; with `proofs` or without.
async fn edge(serve: &Running, proofs: bool) -> String {
    let keys = client().get(serve.at("/.well-known/hallpass/keys")).send().await.unwrap();
    let keys = KeySet::from_bytes(&keys.bytes().await.unwrap()).unwrap();
    let verifier = Verifier::builder(keys).audience("shop").without_revocations().build().unwrap();
    let start = SystemClock.now().saturating_sub(Duration::from_mins(2));
    let tickets = TicketVerifier::new(verifier.clone(), NonceCache::new(start));
    let (mut sessions, mut tickets) = (SessionLayer::new(verifier), TicketLayer::new(tickets));
    if proofs {
        let proofs = ProofVerifier::new(NonceCache::new(start), ServerNonces::generate("edge").unwrap());
        let proofs = RequestProofs::on_loopback(proofs, Scheme::Http, TrustedProxies::none());
        (sessions, tickets) = (sessions.proofs(proofs.clone()), tickets.proofs(proofs));
    }
    let hello = async |session: Session| session.subject().to_owned();
    let inner = Router::new()
        .route("/hello", get(hello).layer(sessions.clone()))
        .route(
            "/maybe",
            get(async |s: Option<Session>| format!("{}", s.is_some())).layer(sessions.optional()),
        )
        .route("/file", get(hello).layer(tickets));
    let app = Router::new().nest("/api", inner);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}/api")
}

async fn fetch(url: &str, scheme: &str, token: &str, proof: &str) -> Response {
    let request = client().get(url).header("authorization", format!("{scheme} {token}"));
    request.header("dpop", proof).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_asks_for_proofs_of_its_own() {
    let home = Home::new();
    let serve = serve(&home);
    let bound = Bound::log_in(&serve, Client::p256(8)).await;
    let (one, two) = (edge(&serve, true).await, edge(&serve, true).await);
    let (key, token) = (&bound.key, &bound.token);
    let hello = format!("{one}/hello");
    let prove = |url: &str, nonce: &str| proof(key, "GET", url, Some(nonce), Some(token));

    let asked = fetch(&hello, "DPoP", token, &prove(&hello, &bound.nonce)).await;
    assert!(
        challenge(&asked).starts_with("DPoP error=\"use_dpop_nonce\""),
        "the issuer's nonce is not the edge's"
    );
    let nonce = nonce(&asked);
    let good = prove(&hello, &nonce);
    for scheme in ["Bearer", "Basic"] {
        assert_eq!(fetch(&hello, scheme, token, &good).await.status(), 401);
    }
    let plain = client().get(&hello).bearer_auth(token).send().await.unwrap();
    assert!(challenge(&plain).starts_with("DPoP error="), "what a bound token needs");
    let by_cookie = client().get(&hello).header("cookie", format!("__Host-session={token}"));
    assert_eq!(by_cookie.send().await.unwrap().status(), 401);
    let answer = fetch(&hello, "DPoP", token, &good).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(self::nonce(&answer), nonce, "beside what was granted too");
    assert_eq!(answer.text().await.unwrap(), "alice");
    assert!(challenge(&fetch(&hello, "DPoP", token, &good).await).contains("invalid_dpop_proof"), "a replay");

    // The other edge: another URI, and nonces of its own.
    let there = format!("{two}/hello");
    assert!(
        challenge(&fetch(&there, "DPoP", token, &prove(&hello, &nonce)).await).contains("invalid_dpop_proof")
    );
    assert!(
        challenge(&fetch(&there, "DPoP", token, &prove(&there, &nonce)).await).contains("use_dpop_nonce")
    );

    // Where the session is optional, the proof is still required.
    let maybe = format!("{one}/maybe");
    let answer = fetch(&maybe, "DPoP", token, &prove(&maybe, &nonce)).await;
    assert_eq!(answer.text().await.unwrap(), "true");
    assert_eq!(fetch(&maybe, "DPoP", token, &prove(&hello, &nonce)).await.text().await.unwrap(), "false");

    // An edge that checks no proofs refuses the DPoP scheme, for any token.
    let blind = format!("{}/hello", edge(&serve, false).await);
    assert_eq!(fetch(&blind, "DPoP", token, &prove(&blind, &nonce)).await.status(), 401);
    let unbound = bearer(&serve.url).await;
    assert_eq!(fetch(&blind, "DPoP", &unbound, "").await.status(), 401);
    assert_eq!(client().get(&blind).bearer_auth(&unbound).send().await.unwrap().status(), 200);
    let dressed = proof(key, "GET", &hello, Some(&nonce), Some(&unbound));
    assert_eq!(fetch(&hello, "DPoP", &unbound, &dressed).await.status(), 401);
    assert_eq!(client().get(&hello).bearer_auth(&unbound).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_sessions_ticket_needs_a_proof_too() {
    let home = Home::new();
    let serve = serve(&home);
    let bound = Bound::log_in(&serve, Client::ed25519(9)).await;
    let body = json!({ "audience": "shop", "path": "/api/file" });
    let answer: Value = bound.ask(Method::POST, "/tickets", Some(body)).await.json().await.unwrap();
    let ticket = answer["ticket"].as_str().unwrap();
    let url = format!("{}/file", edge(&serve, true).await);
    let with = async |proof: &str| {
        client().get(format!("{url}?ticket={ticket}")).header("dpop", proof).send().await.unwrap()
    };
    let asked = with(&proof(&bound.key, "GET", &url, None, Some(ticket))).await;
    assert!(challenge(&asked).contains("use_dpop_nonce"));
    let nonce = nonce(&asked);
    let bare = client().get(format!("{url}?ticket={ticket}")).send().await.unwrap();
    assert!(challenge(&bare).contains("invalid_dpop_proof"));
    let of_token = proof(&bound.key, "GET", &url, Some(&nonce), Some(&bound.token));
    assert_eq!(with(&of_token).await.status(), 401, "a proof for the token, not for the ticket");
    let good = proof(&bound.key, "GET", &url, Some(&nonce), Some(ticket));
    assert_eq!(with(&good).await.status(), 200, "refusals used nothing up");
    let blind = format!("{}/file", edge(&serve, false).await);
    let answer = client().get(format!("{blind}?ticket={ticket}")).header("dpop", good).send().await.unwrap();
    assert_eq!(answer.status(), 401);
}
