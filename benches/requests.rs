//! A costly request of each route: CPU time of the service for one, and the
//! bytes that it answers. `benches/run requests` rewrites the table in
//! docs/abuse.md.

#![expect(
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "a bench prints rough numbers and may fail loudly"
)]

mod common;
#[path = "common/serving.rs"]
mod serving;

use std::time::Duration;

use common::{machine, publish, table};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use serving::{EDGE, Edge, PASSWORD, SERVICE, Serving};

/// Sessions of one user, as many as the default cap allows.
const SESSIONS: usize = 50;

/// No limit is met, so that each request is served; every token is due; and one
/// other host.
const CONFIG: &str = r#"
[limits]
attempts_per_address = { burst = 10000, per_minute = 60000 }
new_sessions_per_address = { burst = 10000, per_minute = 60000 }
new_sessions_per_account = { burst = 10000, per_minute = 60000 }
feed_requests_per_address = { burst = 10000, per_minute = 60000 }
feed_snapshots_per_address = { burst = 10000, per_minute = 60000 }
[lifetimes]
renew_after = "0s"
[tokens]
audience = "a"
[[hosts]]
origin = "https://b.example"
audience = "b"
"#;

/// User and system time of a process so far, in microseconds. The kernel counts
/// in hundredths of a second.
fn cpu(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) as f64 * 10_000.0
}

struct Bench {
    client: Client,
    pid: u32,
    rows: Vec<Vec<String>>,
}

impl Bench {
    /// Sends `count` requests, one after the other.
    async fn row(
        &mut self,
        route: &str,
        costly: &str,
        bound: &str,
        count: usize,
        mut request: impl FnMut(&Client, usize) -> RequestBuilder,
    ) {
        let (mut bytes, mut status) = (0, 0);
        let before = cpu(self.pid);
        for n in 0..count {
            let answer = request(&self.client, n).send().await.unwrap();
            status = answer.status().as_u16();
            bytes = answer.bytes().await.unwrap().len();
        }
        let each = (cpu(self.pid) - before) / count as f64 / 1e3;
        eprintln!("{route}: {each:.2} ms, {status}");
        let cells = [route, costly, &status.to_string(), &format!("{each:.2} ms"), &bytes.to_string(), bound];
        self.rows.push(cells.map(str::to_owned).into());
    }
}

/// The tokens and ids of sessions that a service starts.
async fn sessions(client: &Client, url: &str, subject: &str, count: usize) -> (Vec<String>, Vec<String>) {
    let body = json!({ "subject": subject });
    let (mut tokens, mut ids) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let answer = client.post(format!("{url}/sessions")).bearer_auth(SERVICE).json(&body);
        let answer: Value = answer.send().await.unwrap().json().await.unwrap();
        tokens.push(answer["token"].as_str().unwrap().to_owned());
        ids.push(answer["session"]["session_id"].as_str().unwrap().to_owned());
    }
    (tokens, ids)
}

/// A genuine token with another signature.
fn forged(token: &str, n: usize) -> String {
    let at = token.len() - 60;
    format!("{}{n:08}{}", &token[..at], &token[at + 8..])
}

async fn issuer(bench: &mut Bench, url: &str) {
    let at = |path: &str| format!("{url}{path}");
    let (tokens, _) = sessions(&bench.client, url, "alice", SESSIONS).await;
    let cookie = format!("__Host-session={}", tokens[0]);
    let long = format!("/{}", "a".repeat(2046));
    bench
        .row("`GET /`", "the longest `return_to`", "no signature, no store", 1000, |c, _| {
            c.get(at(&format!("/?return_to={long}")))
        })
        .await;
    bench
        .row("`GET /account`", "50 live sessions", "the cap on live sessions", 500, |c, _| {
            c.get(at("/account")).header("cookie", &cookie)
        })
        .await;
    bench
        .row("`POST /login`", "a wrong password", "rates, and the places for password checks", 30, |c, n| {
            c.post(at("/login")).json(&json!({ "username": format!("nobody{n}"), "password": "wrong" }))
        })
        .await;
    let password = json!({ "username": "alice", "password": PASSWORD, "transport": "bearer" });
    bench
        .row("`POST /reauthenticate`", "the right password", "the same", 30, |c, n| {
            c.post(at("/reauthenticate")).bearer_auth(&tokens[n % 40]).json(&password)
        })
        .await;
    let mut due = Vec::new();
    for n in 0..300 {
        due.extend(sessions(&bench.client, url, &format!("due{n}"), 1).await.0);
    }
    bench
        .row(
            "`POST /renew`",
            "a token that is due",
            "one transaction and one signature",
            due.len(),
            |c, n| c.post(at("/renew")).bearer_auth(&due[n]),
        )
        .await;
    let fresh = &sessions(&bench.client, url, "bob", 1).await.0[0];
    bench
        .row("`GET /session`", "a forged token", "one signature check", 2000, |c, n| {
            c.get(at("/session")).bearer_auth(forged(fresh, n))
        })
        .await;
    bench
        .row("`GET /sessions`", "50 live sessions", "the cap on live sessions", 500, |c, _| {
            c.get(at("/sessions")).bearer_auth(&tokens[49])
        })
        .await;
    let (_, ids) = sessions(&bench.client, url, "bob", SESSIONS - 1).await;
    bench
        .row("`DELETE /sessions/{id}`", "a live session", "as for log-out", ids.len(), |c, n| {
            c.delete(at(&format!("/sessions/{}", ids[n]))).bearer_auth(fresh)
        })
        .await;
    let mut crowded = Vec::new();
    for n in 0..5 {
        crowded.extend(sessions(&bench.client, url, &format!("crowded{n}"), SESSIONS).await.0.pop());
    }
    bench
        .row(
            "`POST /sessions/revoke-others`",
            "49 live sessions",
            "the cap on live sessions",
            crowded.len(),
            |c, n| c.post(at("/sessions/revoke-others")).bearer_auth(&crowded[n]),
        )
        .await;
    bench
        .row("`POST /tickets`", "a ticket", "one signature", 40, |c, _| {
            c.post(at("/tickets")).bearer_auth(fresh).json(&json!({ "audience": "a" }))
        })
        .await;
    bench
        .row("`GET /hop`", "a ticket for another host", "one signature", SESSIONS, |c, n| {
            let session = ("cookie", format!("__Host-session={}", tokens[n]));
            c.get(at("/hop?origin=https://b.example&state=x")).header(session.0, session.1)
        })
        .await;
    bench
        .row("`POST /tickets/redeem`", "a forged ticket", "one signature check", 1000, |c, n| {
            c.post(at("/tickets/redeem")).json(&json!({ "ticket": forged(fresh, n), "audience": "b" }))
        })
        .await;
    bench
        .row("`POST /sessions`", "a session", "the services' credential, rates", 200, |c, n| {
            let body = json!({ "subject": format!("user{n}") });
            c.post(at("/sessions")).bearer_auth(SERVICE).json(&body)
        })
        .await;
    // 15 KiB in all; what counts is the longest that a report may hold.
    let anomaly = |n| json!({ "kind": "token_guessing", "at": 1_790_000_000, "count": n, "within": 60, "network": format!("192.0.2.{n}") });
    let report = json!({ "edge": "shop-1", "anomalies": (0..140).map(anomaly).collect::<Vec<_>>() });
    bench
        .row("`POST /edges/report`", "15 KiB of anomalies", "the edges' credential", 300, |c, _| {
            c.post(at("/edges/report")).bearer_auth(EDGE).json(&report)
        })
        .await;
    bench
        .row(
            "`GET /revocations`",
            "a snapshot of 50,000 entries",
            "rates, and one signing a second",
            30,
            |c, n| c.get(at(&format!("/revocations?after={}&epoch=1&wait=0", 90_000_000 + n))),
        )
        .await;
    for (path, what) in [
        ("/.well-known/hallpass/keys", "the same each time"),
        ("/.well-known/hallpass/feed-keys", "the same each time"),
        ("/.well-known/jwks.json", "the same each time"),
        ("/openapi.json", "the same each time"),
        ("/style.css", "the same each time"),
        ("/healthz", "the same each time"),
    ] {
        bench
            .row(&format!("`GET {path}`"), what, "the number of connections", 500, |c, _| c.get(at(path)))
            .await;
    }
    bench.row("`GET /readyz`", "reads the store", "one look-up", 500, |c, _| c.get(at("/readyz"))).await;
    // Last, since each ends a session.
    bench
        .row("`POST /logout`", "a live session", "one transaction and one signature", 40, |c, n| {
            c.post(at("/logout")).bearer_auth(&tokens[n])
        })
        .await;
    let (tokens, ids) = sessions(&bench.client, url, "carol", SESSIONS).await;
    bench
        .row("`POST /account/end`", "a live session", "as for log-out", ids.len() - 1, |c, n| {
            c.request(Method::POST, at("/account/end"))
                .header("content-type", "application/x-www-form-urlencoded")
                .header("cookie", format!("__Host-session={}", tokens[SESSIONS - 1]))
                .header("sec-fetch-site", "same-origin")
                .body(format!("session_id={}", ids[n]))
        })
        .await;
}

async fn edge(bench: &mut Bench, url: &str, token: &str) {
    let verify = |c: &Client, token: &str| {
        let request = c.get(format!("{url}/verify")).bearer_auth(token);
        request.header("x-original-method", "GET").header("x-original-uri", "/")
    };
    bench
        .row("edge `GET /verify`", "a token in the cache", "nothing is asked", 3000, |c, _| verify(c, token))
        .await;
    bench
        .row("edge `GET /verify`", "a forged token", "one signature check", 3000, |c, n| {
            verify(c, &forged(token, n))
        })
        .await;
    bench
        .row("edge `GET /verify`", "a page without a session", "no signature, no store", 3000, |c, _| {
            let request = c.get(format!("{url}/verify")).header("accept", "text/html");
            let request = request.header("x-original-method", "GET").header("sec-fetch-mode", "navigate");
            request.header("x-original-uri", format!("/{}", "a".repeat(2000)))
        })
        .await;
    bench
        .row("edge `GET /metrics`", "all of them", "loopback or a proxy", 500, |c, _| {
            c.get(format!("{url}/metrics"))
        })
        .await;
}

fn main() {
    // `cargo test` and clippy's look at all targets pass other arguments.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::start(folder.path(), ["alice", "bob"], CONFIG, |data| {
        runtime.block_on(serving::revoke_many(data, 50_000));
    });
    let running = Edge::start(&serving.url, folder.path(), &["--audience", "a"]);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder()
        .no_proxy()
        .timeout(Duration::from_mins(1))
        .redirect(reqwest::redirect::Policy::none());
    let client = client.tls_certs_only([]).build().expect("a client");
    let mut bench = Bench { client, pid: serving.process.id(), rows: Vec::new() };
    runtime.block_on(async {
        issuer(&mut bench, &serving.url).await;
        bench.pid = running.process.id();
        let token = sessions(&bench.client, &serving.url, "dave", 1).await.0.remove(0);
        edge(&mut bench, &running.url, &token).await;
    });
    let head = &[
        "route",
        "a costly request",
        "status",
        "CPU time of the service",
        "bytes answered",
        "what bounds it",
    ];
    let build = if cfg!(debug_assertions) { "a development build" } else { "a release build" };
    publish("requests", &format!("{}; {build}.\n\n{}", machine(), table(head, &bench.rows)));
}
