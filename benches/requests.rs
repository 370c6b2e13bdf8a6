//! The dearest request of each route: CPU time of the service for one, and the
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

/// No limit is met, so that each request is served; and one other host.
const CONFIG: &str = r#"
[limits]
attempts_per_address = { burst = 10000, per_minute = 60000 }
new_sessions_per_address = { burst = 10000, per_minute = 60000 }
new_sessions_per_account = { burst = 10000, per_minute = 60000 }
feed_requests_per_address = { burst = 10000, per_minute = 60000 }
feed_snapshots_per_address = { burst = 10000, per_minute = 60000 }
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
        dearest: &str,
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
        let cells =
            [route, dearest, &status.to_string(), &format!("{each:.2} ms"), &bytes.to_string(), bound];
        self.rows.push(cells.map(str::to_owned).into());
    }
}

/// A session that a service starts, as bearer.
async fn start(client: &Client, url: &str, subject: &str) -> Value {
    let body = json!({ "subject": subject });
    let answer = client.post(format!("{url}/sessions")).bearer_auth(SERVICE).json(&body);
    answer.send().await.unwrap().json().await.unwrap()
}

/// A genuine token with another signature.
fn forged(token: &str, n: usize) -> String {
    let at = token.len() - 60;
    format!("{}{n:08}{}", &token[..at], &token[at + 8..])
}

async fn issuer(bench: &mut Bench, url: &str) {
    let at = |path: &str| format!("{url}{path}");
    let mut tokens = Vec::new();
    for _ in 0..SESSIONS {
        tokens.push(start(&bench.client, url, "alice").await["token"].as_str().unwrap().to_owned());
    }
    let token = tokens[0].clone();
    let cookie = format!("__Host-session={token}");
    let long = format!("/{}", "a".repeat(2000));
    let password = |wrong: &str| json!({ "username": "alice", "password": wrong, "transport": "bearer" });
    let page = "no signature, no store";
    bench
        .row("`GET /`", "the longest `return_to`", page, 1000, |c, _| {
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
    bench
        .row("`POST /reauthenticate`", "the right password", "the same", 30, |c, n| {
            c.post(at("/reauthenticate")).bearer_auth(&tokens[n % 40]).json(&password(PASSWORD))
        })
        .await;
    let fresh = start(&bench.client, url, "bob").await["token"].as_str().unwrap().to_owned();
    bench
        .row("`POST /renew`", "a token that is not due", "one transaction", 500, |c, _| {
            c.post(at("/renew")).bearer_auth(&fresh)
        })
        .await;
    bench
        .row("`GET /session`", "a forged token", "one signature check", 2000, |c, n| {
            c.get(at("/session")).bearer_auth(forged(&fresh, n))
        })
        .await;
    bench
        .row("`GET /sessions`", "50 live sessions", "the cap on live sessions", 500, |c, _| {
            c.get(at("/sessions")).bearer_auth(&tokens[49])
        })
        .await;
    bench
        .row("`DELETE /sessions/{id}`", "no such session", "one look-up", 500, |c, n| {
            c.delete(at(&format!("/sessions/{n:032x}"))).bearer_auth(&fresh)
        })
        .await;
    bench
        .row("`POST /sessions/revoke-others`", "none to end", "one transaction", 200, |c, _| {
            c.post(at("/sessions/revoke-others")).bearer_auth(&fresh)
        })
        .await;
    bench
        .row("`POST /tickets`", "a ticket", "one signature", 40, |c, _| {
            c.post(at("/tickets")).bearer_auth(&fresh).json(&json!({ "audience": "a" }))
        })
        .await;
    bench
        .row("`GET /hop`", "a ticket for another host", "one signature", 400, |c, n| {
            let session = ("cookie", format!("__Host-session={}", tokens[n % 40]));
            c.get(at("/hop?origin=https://b.example&state=x")).header(session.0, session.1)
        })
        .await;
    bench
        .row("`POST /tickets/redeem`", "a forged ticket", "one signature check", 1000, |c, n| {
            c.post(at("/tickets/redeem")).json(&json!({ "ticket": forged(&fresh, n), "audience": "b" }))
        })
        .await;
    bench
        .row("`POST /sessions`", "a session", "the services' credential, rates", 200, |c, n| {
            let body = json!({ "subject": format!("user{n}") });
            c.post(at("/sessions")).bearer_auth(SERVICE).json(&body)
        })
        .await;
    let anomaly = json!({ "kind": "forged_tokens", "at": 1_790_000_000, "count": 3, "within": 60, "network": "192.0.2.1" });
    let report = json!({ "edge": "shop-1", "anomalies": vec![anomaly; 90] });
    bench
        .row("`POST /edges/report`", "16 KiB of anomalies", "the edges' credential", 300, |c, _| {
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
        .row("`POST /logout`", "a live session", "one transaction and one signature", 9, |c, n| {
            c.post(at("/logout")).bearer_auth(&tokens[40 + n])
        })
        .await;
    bench
        .row("`POST /account/end`", "no such session", "one look-up", 200, |c, n| {
            let form = format!("session_id={n:032x}");
            let kind = "application/x-www-form-urlencoded";
            let cookie = format!("__Host-session={fresh}");
            c.request(Method::POST, at("/account/end"))
                .header("content-type", kind)
                .header("cookie", cookie)
                .header("sec-fetch-site", "same-origin")
                .body(form)
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
        .row("edge `GET /verify`", "a page without a session", page_bound(), 3000, |c, _| {
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

const fn page_bound() -> &'static str {
    "no signature, no store"
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
        let token = start(&bench.client, &serving.url, "carol").await["token"].as_str().unwrap().to_owned();
        edge(&mut bench, &running.url, &token).await;
    });
    let head = &[
        "route",
        "its dearest request",
        "status",
        "CPU time of the service",
        "bytes answered",
        "what bounds it",
    ];
    let build = if cfg!(debug_assertions) { "a development build" } else { "a release build" };
    publish("requests", &format!("{}; {build}.\n\n{}", machine(), table(head, &bench.rows)));
}
