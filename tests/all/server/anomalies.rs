//! Anomalies: each detector at its threshold and below it, its bounds, and what
//! becomes of an anomaly in a running login service.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use base64::Engine as _;
use hallpass::anomaly::{Anomaly, AnomalyKind, Rules, Watch};
use hallpass::event::{Event, EventKind, EventSink};
use hallpass::issuer::store::{AuditRecord, SqliteStore, Store};
use hallpass::revocation::FeedKeys;
use hallpass::revocation::sync::{EdgeName, FeedClient};
use hallpass::{Clock, Reason, SystemClock};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::anomaly::detector::address;
use crate::support::edge::{EDGE_TOKEN, edge as edge_service, verify};
use crate::support::{Home, PASSWORD, Running, bearer, client, ok};

const ADMIN: &[&str] = &["--admin-listen", "127.0.0.1:0"];
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn serve(home: &Home, config: &str, env: &[(&str, &str)]) -> Running {
    let config = home.write("config.toml", config);
    home.serve_with(&[ADMIN, &["--config", config.to_str().unwrap()]].concat(), env)
}

async fn log_in(serve: &Running, user: &str, password: &str, from: &str) -> reqwest::Response {
    client()
        .post(serve.at("/login"))
        .header("x-forwarded-for", from)
        .json(&json!({ "username": user, "password": password, "transport": "bearer" }))
        .send()
        .await
        .unwrap()
}

async fn session(serve: &Running, token: &str, from: &str) -> u16 {
    let ask = client().get(serve.at("/session")).header("x-forwarded-for", from).bearer_auth(token);
    ask.send().await.unwrap().status().as_u16()
}

/// Waits until the audit trail has an event of this kind.
async fn audited(home: &Home, kind: &str) -> AuditRecord {
    let store = SqliteStore::open(&home.folder().join("data")).await.unwrap();
    // A generous limit, so that a failure does not hang.
    for _ in 0..3000 {
        let trail = store.audit(None, 100).await.unwrap();
        if let Some(found) = trail.into_iter().find(|record| record.event.kind == kind) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the audit trail has no {kind}");
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_tokens_end_up_in_the_log_the_audit_trail_and_the_metrics() {
    let home = Home::new();
    let serve = serve(&home, "[anomalies.token_guessing]\nthreshold = 5\n", &[]);
    for n in 0..4 {
        assert_eq!(session(&serve, &format!("forged-{n}"), "").await, 401);
    }
    let metrics = || async {
        let url = format!("{}/metrics", serve.admin.as_ref().unwrap());
        client().get(url).send().await.unwrap().text().await.unwrap()
    };
    assert!(metrics().await.contains("hallpass_anomalies_total{kind=\"token_guessing\"} 0"));
    // At `/renew` a forged token is a guess as well.
    let renew = client().post(serve.at("/renew")).bearer_auth("forged").send().await.unwrap();
    assert_eq!(renew.status(), 401);
    let found = audited(&home, "anomaly_token_guessing").await.event;
    assert_eq!(found.address.as_deref(), Some("127.0.0.1"));
    let detail = json!({ "count": 5, "within": 60, "edge": null, "action": "none" });
    assert_eq!(found.detail, Some(detail));
    let line = serve.log().lines().find(|line| line.contains("token_guessing")).unwrap().to_owned();
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["fields"]["event"], "malicious_extraneous");
    assert_eq!(line["fields"]["network"], "127.0.0.1");
    assert!(metrics().await.contains("hallpass_anomalies_total{kind=\"token_guessing\"} 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_network_is_refused_log_in_and_others_are_not() {
    let home = Home::new();
    let config = r#"
trusted_proxies = ["127.0.0.1"]
[anomalies]
throttle_for = "7m"
[anomalies.password_spraying]
threshold = 3
action = "throttle"
"#;
    let serve = serve(&home, config, &[]);
    for user in ["bob", "carol", "dave"] {
        assert_eq!(log_in(&serve, user, "password", "192.0.2.1").await.status(), 401);
    }
    let event = audited(&home, "anomaly_password_spraying").await.event;
    assert_eq!(event.address.as_deref(), Some("192.0.2.1"));
    assert_eq!(event.detail.unwrap()["action"], "throttled");
    let refused = log_in(&serve, "alice", PASSWORD, "192.0.2.1").await;
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=420).contains(&wait), "{wait}");
    assert_eq!(log_in(&serve, "alice", PASSWORD, "192.0.2.2").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_on_many_networks_is_revoked_if_so_configured() {
    let home = Home::new();
    let config = r#"
trusted_proxies = ["127.0.0.1"]
[anomalies.session_on_many_networks]
threshold = 3
action = "revoke"
"#;
    let serve = serve(&home, config, &[]);
    let (token, other) = (bearer(&serve.url).await, bearer(&serve.url).await);
    for from in ["192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.2"] {
        assert_eq!(session(&serve, &token, from).await, 200);
    }
    assert_eq!(session(&serve, &token, "192.0.2.3").await, 200, "seen by then, not before");
    let event = audited(&home, "anomaly_session_on_many_networks").await.event;
    assert_eq!(event.detail.unwrap()["action"], "revoked");
    assert_eq!(session(&serve, &token, "192.0.2.1").await, 401);
    assert_eq!(session(&serve, &other, "192.0.2.1").await, 200, "the user's other session goes on");
}

/// A token that is only sent to `/renew`, and is not due.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_renewed_from_many_networks_is_seen() {
    let home = Home::new();
    let config = "trusted_proxies = [\"127.0.0.1\"]\n[anomalies.session_on_many_networks]\nthreshold = 3\n";
    let serve = serve(&home, config, &[]);
    let token = bearer(&serve.url).await;
    for from in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        let ask = client().post(serve.at("/renew")).header("x-forwarded-for", from).bearer_auth(&token);
        let answer: Value = ask.send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["renewed"], false, "{answer}");
    }
    audited(&home, "anomaly_session_on_many_networks").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_token_raises_renewal_reuse() {
    let home = Home::new();
    let config = "[lifetimes]\nidle_timeout = \"60s\"\nrenew_after = \"0s\"\nrenewal_grace = \"0s\"\n";
    let serve = serve(&home, config, &[]);
    let stolen = bearer(&serve.url).await;
    let renew = async |token: &str| {
        let answer = client().post(serve.at("/renew")).bearer_auth(token).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap()["token"].as_str().map(str::to_owned))
    };
    let (_, second) = renew(&stolen).await;
    let (status, _) = renew(&second.unwrap()).await;
    assert_eq!(status, 200);
    // The grace is over a second later.
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(renew(&stolen).await.0, 401);
    let event = audited(&home, "anomaly_renewal_reuse").await.event;
    assert!(event.session.is_some() && event.address.is_some(), "{event:?}");
}

#[test]
fn a_configuration_that_would_let_strangers_log_people_out_is_refused() {
    let home = Home::new();
    for (table, hint) in [
        ("[anomalies.password_guessing]\naction = \"revoke\"", "a stranger could log people out"),
        ("[anomalies.password_guessing]\naction = \"throttle\"", "name a network"),
        ("[anomalies.password_gessing]\nthreshold = 3", "a table for each kind"),
        ("[anomalies.replay]\nthreshold = 0", "1 to 1000"),
        ("[anomalies.replay]\nwindow = \"0s\"", "1s to 24h"),
        ("[anomalies.replay]\ntreshold = 3", "unknown field"),
        ("[anomalies]\nkeys = 3", "100 to 1000000"),
        ("[webhook]\nurl = \"http://hooks.example/\"", "https"),
        ("[webhook]\nurl = \"https://hooks.example/\"", "HALLPASS_WEBHOOK_SECRET"),
    ] {
        let config = home.write("config.toml", table);
        let (data, keys, config) = (home.path("data"), home.path("keys"), config.to_str().unwrap());
        let args = ["serve", "--listen", "127.0.0.1:0", "--data", &data, "--keys", &keys, "--config", config];
        crate::support::misused(&args, hint);
    }
}

// ---- webhooks ----

/// What a receiver got: headers by name, and the body's bytes.
type Received = Arc<Mutex<Vec<(http::HeaderMap, Bytes)>>>;

/// A receiver that fails `failures` times first.
async fn receiver(failures: usize) -> (String, Received) {
    let received = Received::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/in", listener.local_addr().unwrap());
    let take = move |State(received): State<Received>, headers: http::HeaderMap, body: Bytes| async move {
        let mut received = received.lock().unwrap();
        received.push((headers, body));
        if received.len() <= failures {
            http::StatusCode::INTERNAL_SERVER_ERROR
        } else {
            http::StatusCode::OK
        }
    };
    let app = Router::new().route("/in", post(take)).with_state(Arc::clone(&received));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, received)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_signed_and_delivered_again_after_a_failure() {
    let home = Home::new();
    let (url, received) = receiver(1).await;
    let config = format!("[webhook]\nurl = \"{url}\"\n[anomalies.token_guessing]\nthreshold = 5\n");
    let serve = serve(&home, &config, &[("HALLPASS_WEBHOOK_SECRET", SECRET)]);
    for n in 0..5 {
        assert_eq!(session(&serve, &format!("forged-{n}"), "").await, 401);
    }
    while received.lock().unwrap().len() < 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let received = received.lock().unwrap().clone();
    let key =
        base64::engine::general_purpose::STANDARD.decode(SECRET.strip_prefix("whsec_").unwrap()).unwrap();
    for (headers, body) in &received {
        let header = |name: &str| headers[name].to_str().unwrap().to_owned();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("{}.{}.", header("webhook-id"), header("webhook-timestamp")).as_bytes());
        mac.update(body);
        let signed = base64::engine::general_purpose::STANDARD
            .decode(header("webhook-signature").strip_prefix("v1,").unwrap())
            .unwrap();
        assert!(mac.verify_slice(&signed).is_ok());
        let sent: u64 = header("webhook-timestamp").parse().unwrap();
        assert!(SystemClock.now().as_secs().abs_diff(sent) < 60);
        let body: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(body["type"], "anomaly.token_guessing");
        assert_eq!(body["data"]["anomaly"]["network"], "127.0.0.1");
        assert_eq!(body["data"]["anomaly"]["count"], 5);
        assert_eq!(body["data"]["action"], "none");
    }
    assert_eq!(received[0].0["webhook-id"], received[1].0["webhook-id"]);
    assert_eq!(received[0].1, received[1].1, "the same message");
    assert!(!serve.log().contains(SECRET));
}

/// A receiver that accepts connections and never answers delays nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_keeps_nobody_waiting() {
    let home = Home::new();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = format!(
        "[webhook]\nurl = \"http://{}/\"\n[anomalies.token_guessing]\nthreshold = 1\nwindow = \"1s\"\n\
         [anomalies.password_guessing]\nthreshold = 1\n",
        silent.local_addr().unwrap()
    );
    let serve = serve(&home, &config, &[("HALLPASS_WEBHOOK_SECRET", SECRET)]);
    assert_eq!(session(&serve, "forged", "").await, 401);
    let (_held, _) = silent.accept().await.unwrap();
    // The first delivery hangs; the next anomaly is in the trail regardless.
    assert_eq!(log_in(&serve, "alice", "wrong", "").await.status(), 401);
    audited(&home, "anomaly_password_guessing").await;
    assert_eq!(log_in(&serve, "alice", PASSWORD, "").await.status(), 200);
}

// ---- edges ----

fn edge(home: &Home, serve: &Running, name: &str, credential: &str) -> FeedClient {
    let keys = ok(&["key", "export", "--dir", &home.path("keys"), "--use", "feed"], b"");
    let client = FeedClient::builder(&serve.url).trust(FeedKeys::from_bytes(&keys).unwrap());
    client.report_as(EdgeName::new(name).unwrap(), credential).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_reports_its_anomalies_and_a_stranger_is_not_believed() {
    let home = Home::new();
    let serve = serve(&home, "", &[("HALLPASS_EDGE_TOKEN", EDGE_TOKEN)]);
    // The edge's own detector, off its request path.
    let reporting = edge(&home, &serve, "shop-1", EDGE_TOKEN);
    let handle = reporting.handle();
    tokio::spawn(reporting.run());
    let (watch, mut watcher) = Watch::new(Rules::default(), Arc::new(SystemClock));
    tokio::spawn(async move {
        while let Some(anomaly) = watcher.next().await {
            handle.report(anomaly);
        }
    });
    for _ in 0..20 {
        let kind = EventKind::TokenRefused(Reason::BadSignature);
        watch.record(Event::new(kind, SystemClock.now()).from([192, 0, 2, 9].into()));
    }
    let found = audited(&home, "anomaly_token_guessing").await.event;
    assert_eq!(found.address.as_deref(), Some("192.0.2.9"));
    assert_eq!(found.detail.unwrap()["edge"], "shop-1");

    // The same without the credential, and a malformed report.
    let report = |anomaly: Value, credential: &'static str| {
        let body = json!({ "edge": "shop-2", "anomalies": [anomaly] });
        client().post(serve.at("/edges/report")).bearer_auth(credential).json(&body).send()
    };
    let replay = json!({ "kind": "replay", "at": 1, "count": 9, "within": 60, "network": "192.0.2.7" });
    let stranger = report(replay.clone(), "00000000000000000000000000000000").await.unwrap();
    assert_eq!(stranger.status(), 401);
    for (field, value) in
        [("kind", json!("no_such_kind")), ("subject", json!("a\nb")), ("session_id", json!("00"))]
    {
        let mut wrong = replay.clone();
        wrong[field] = value;
        assert_eq!(report(wrong, EDGE_TOKEN).await.unwrap().status(), 204, "{field}: not an anomaly");
    }
    let mut good = replay;
    good["network"] = json!("192.0.2.8");
    assert_eq!(report(good, EDGE_TOKEN).await.unwrap().status(), 204);
    // This arrives after the others, so those were refused.
    assert_eq!(audited(&home, "anomaly_replay").await.event.address.as_deref(), Some("192.0.2.8"));
}

/// `hallpass edge` has its own detector, which reports to the issuer.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_edge_service_sees_reaches_the_issuer() {
    let home = Home::new();
    let serve = serve(&home, "", &[("HALLPASS_EDGE_TOKEN", EDGE_TOKEN)]);
    let edge = edge_service(&home, &serve, &["--report-as", "shop-1"]);
    let ask = |token: &str, from: &str| {
        let token = format!("Bearer {token}");
        verify(&edge, "GET", "/", &[("Authorization", &token), ("X-Forwarded-For", from)]).status
    };
    for n in 0..20 {
        assert_eq!(ask(&format!("forged-{n}"), "192.0.2.9"), 401);
    }
    let found = audited(&home, "anomaly_token_guessing").await.event;
    assert_eq!(found.address.as_deref(), Some("192.0.2.9"));
    assert_eq!(found.detail.unwrap()["edge"], "shop-1");

    // A good token from four networks: each use is counted.
    let token = bearer(&serve.url).await;
    for n in 1..=4 {
        assert_eq!(ask(&token, &format!("198.51.100.{n}")), 200);
    }
    let found = audited(&home, "anomaly_session_on_many_networks").await.event;
    assert!(found.session.is_some());
    assert_eq!(found.detail.unwrap()["edge"], "shop-1");

    // The edge logs it too.
    let line = edge.log().lines().find(|line| line.contains("token_guessing")).unwrap().to_owned();
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["level"], &line["fields"]["network"]), (&json!("WARN"), &json!("192.0.2.9")));
    let address = edge.address();
    let metrics = client().get(format!("http://{address}/metrics")).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    for kind in ["token_guessing", "session_on_many_networks"] {
        assert!(
            metrics.contains(&format!("hallpass_edge_anomalies_total{{kind=\"{kind}\"}} 1\n")),
            "{metrics}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_falls_silent_is_told_of() {
    let home = Home::new();
    let config = "[anomalies.stale_edge]\nthreshold = 1\n";
    let serve = serve(&home, config, &[("HALLPASS_EDGE_TOKEN", EDGE_TOKEN)]);
    let task = tokio::spawn(edge(&home, &serve, "shop-1", EDGE_TOKEN).run());
    let page = || async {
        let url = format!("{}/metrics", serve.admin.as_ref().unwrap());
        client().get(url).send().await.unwrap().text().await.unwrap()
    };
    while !page().await.contains("hallpass_edges_feed_sequence{edge=\"shop-1\"}") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    task.abort();
    let found = audited(&home, "anomaly_stale_edge").await.event;
    assert_eq!(found.detail.unwrap()["edge"], "shop-1");
}

#[tokio::test]
async fn an_edge_reports_a_bounded_number() {
    let home = Home::new();
    let serve = serve(&home, "", &[("HALLPASS_EDGE_TOKEN", EDGE_TOKEN)]);
    let reporting = edge(&home, &serve, "shop-1", EDGE_TOKEN);
    let handle = reporting.handle();
    for n in 0..100_000_u32 {
        let mut anomaly = Anomaly::new(AnomalyKind::Replay, SystemClock.now(), 3, Duration::from_secs(60));
        anomaly.network = Some(address(n));
        // The client is not running yet.
        handle.report(anomaly);
    }
    tokio::spawn(reporting.run());
    // The oldest of the last hundred comes first, and the last one comes.
    audited(&home, "anomaly_replay").await;
    let store = SqliteStore::open(&home.folder().join("data")).await.unwrap();
    loop {
        let trail = store.audit(None, 1000).await.unwrap();
        let networks: Vec<_> = trail.iter().filter_map(|record| record.event.address.clone()).collect();
        // 50 of a kind in a minute; the issuer heard no more than 60.
        if networks.len() == 50 {
            assert!(networks.contains(&address(99_900).to_string()), "{networks:?}");
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
