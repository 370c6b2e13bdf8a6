//! Five `examples/edge_live.rs` processes behind one `serve`. The time until a
//! revocation reaches all of them is printed, not asserted: it also depends on
//! the machine.
#![expect(clippy::unwrap_used, reason = "also in the helpers of tests")]

use std::time::{Duration, Instant};

use hallpass::{
    Clock, KeyDir, KeyUse, Lifetimes, Minter, NewSession, SigningKey, Subject, SystemClock, UnixTime,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::project::examples::Example;
use crate::support::{Home, Running, client, ok};

const SERVICE: &str = "0123456789abcdef0123456789abcdef";
const EDGES: usize = 5;
/// The number of times to ask an edge before giving up. Each takes a few
/// milliseconds.
const ATTEMPTS: usize = 5_000;
const BETWEEN: Duration = Duration::from_millis(3);

struct Edge(Example);

impl Edge {
    fn start(home: &Home, serve: &Running, stale: Duration) -> Self {
        let (keys, stale) = (home.path("feed-keys.cbor"), stale.as_secs().to_string());
        Self(Example::start("edge_live", &[&serve.url, &keys, "0", &stale]))
    }

    async fn status(&self, token: &str) -> u16 {
        status(&client(), &self.0.url, token).await
    }

    /// Returns the time at which the edge's list was complete.
    async fn as_of(&self) -> Option<UnixTime> {
        let answer = client().get(format!("{}/as-of", self.0.url)).send().await.unwrap();
        UnixTime::parse_rfc3339(&answer.text().await.unwrap())
    }
}

async fn status(client: &reqwest::Client, url: &str, token: &str) -> u16 {
    client.get(url).bearer_auth(token).send().await.unwrap().status().as_u16()
}

/// Asks until the answer is `wanted`. Returns when it was.
async fn until(url: String, token: String, wanted: u16) -> Instant {
    let client = client();
    for _ in 0..ATTEMPTS {
        let answer = status(&client, &url, &token).await;
        if answer == wanted {
            return Instant::now();
        }
        assert!([200, 401].contains(&answer), "{answer}");
        sleep(BETWEEN).await;
    }
    panic!("{url} never answered {wanted}")
}

/// Starts asking all edges.
fn ask(edges: &[Edge], token: &str, wanted: u16) -> JoinSet<Instant> {
    edges.iter().map(|edge| until(edge.0.url.clone(), token.to_owned(), wanted)).collect()
}

/// Returns how long after `start` each edge gave the wanted answer.
async fn delays(asked: JoinSet<Instant>, start: Instant) -> Vec<Duration> {
    asked.join_all().await.into_iter().map(|at| at.saturating_duration_since(start)).collect()
}

fn print(what: &str, mut delays: Vec<Duration>) {
    delays.sort_unstable();
    let of = |percent: usize| delays[(delays.len() - 1) * percent / 100];
    println!(
        "{what}: {} delays, least {:?}, median {:?}, 95 % {:?}, most {:?}",
        delays.len(),
        of(0),
        of(50),
        of(95),
        of(100)
    );
}

fn serve(home: &Home) -> Running {
    let config = home.write("c.toml", "[tokens]\naudience = \"store\"\n");
    let keys = ok(&["key", "export", "--dir", &home.path("keys"), "--use", "feed"], b"");
    home.write("feed-keys.cbor", keys);
    home.serve_with(&["--config", config.to_str().unwrap()], &[("HALLPASS_SERVICE_TOKEN", SERVICE)])
}

/// Starts a session of alice. Returns `None` while no key can sign.
async fn try_start(serve: &Running) -> Option<String> {
    let start = client().post(serve.at("/sessions")).bearer_auth(SERVICE);
    let answer = start.json(&json!({ "subject": "alice" })).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    answer["token"].as_str().map(str::to_owned)
}

async fn start(serve: &Running) -> String {
    try_start(serve).await.unwrap()
}

fn inside(token: &str) -> Value {
    hallpass::danger::inspect(token).unwrap().json
}

fn now() -> UnixTime {
    SystemClock.now()
}

/// Returns a token that a thief signs with a stolen session key.
fn forged(stolen: &SigningKey) -> String {
    let (subject, now) = (Subject::new("mallory").unwrap(), now());
    let new = NewSession {
        subject: &subject,
        claims: &(),
        started: now,
        auth_time: now,
        ends: None,
        amr: &[],
        bound_to: None,
    };
    let minter = Minter::new(Lifetimes::default()).audience(Some("store".into()));
    minter.start(stolen, &new, now).unwrap().as_str().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_revocation_reaches_five_edges_and_so_does_a_new_key() {
    let home = Home::new();
    let serve = serve(&home);
    let (data, keys) = (home.path("data"), home.path("keys"));
    let mut edges: Vec<_> = (0..EDGES).map(|_| Edge::start(&home, &serve, Duration::from_mins(15))).collect();
    let processes: Vec<_> = edges.iter_mut().map(|edge| edge.0.process()).collect();
    let bystander = start(&serve).await;
    delays(ask(&edges, &bystander, 200), Instant::now()).await;

    let (mut by_log_out, mut by_operator) = (Vec::new(), Vec::new());
    for round in 0..30 {
        let token = start(&serve).await;
        for edge in &edges {
            assert_eq!(edge.status(&token).await, 200);
        }
        let refusals = ask(&edges, &token, 401);
        if round % 3 < 2 {
            let answer = client().post(serve.at("/logout")).bearer_auth(&token).send().await.unwrap();
            assert_eq!(answer.status(), 204);
            by_log_out.extend(delays(refusals, Instant::now()).await);
        } else {
            let id = inside(&token)["session"]["session_id"].as_str().unwrap().to_owned();
            ok(&["revoke", "session", &id, "--data", &data], b"");
            by_operator.extend(delays(refusals, Instant::now()).await);
        }
    }
    print("log-out acknowledged, edge refuses", by_log_out);
    print("hallpass revoke beside serve done, edge refuses", by_operator);
    for edge in &edges {
        assert_eq!(edge.status(&bystander).await, 200, "somebody else was refused");
    }

    // The session key is stolen.
    let stolen = KeyDir::open(&keys).unwrap().signing_key(KeyUse::Session, now()).unwrap().key.clone();
    let kid = stolen.id().to_string();
    for edge in &edges {
        assert_eq!(edge.status(&forged(&stolen)).await, 200);
    }
    let forged_before = forged(&stolen);
    ok(&["key", "rotate", "--dir", &keys, "--now"], b"");
    let (forgeries, sessions) = (ask(&edges, &forged_before, 401), ask(&edges, &bystander, 401));
    ok(&["revoke", "key", &kid, "--data", &data], b"");
    let revoked = Instant::now();
    print("stolen key revoked, edge refuses what it signed", delays(forgeries, revoked).await);
    delays(sessions, revoked).await;
    // Tokens that the thief signs later are refused too.
    for edge in &edges {
        assert_eq!(edge.status(&forged(&stolen)).await, 401);
    }
    // serve reloads its keys every few seconds.
    let mut fresh = None;
    for _ in 0..ATTEMPTS {
        fresh = try_start(&serve).await.filter(|token| inside(token)["key_id"] != json!(kid));
        if fresh.is_some() {
            break;
        }
        sleep(BETWEEN).await;
    }
    let fresh = fresh.unwrap();
    println!("stolen key revoked, the new key signs after {:?}", revoked.elapsed());
    print("stolen key revoked, edge accepts the new key", delays(ask(&edges, &fresh, 200), revoked).await);
    for (edge, process) in edges.iter_mut().zip(processes) {
        assert_eq!(edge.status(&bystander).await, 401);
        assert_eq!(edge.status(&forged(&stolen)).await, 401);
        assert_eq!(edge.0.process(), process);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_is_cut_off_refuses_when_its_policy_says() {
    let home = Home::new();
    let mut serve = serve(&home);
    let bound = Duration::from_secs(8);
    let edges = [bound, Duration::from_mins(15)].map(|stale| Edge::start(&home, &serve, stale));
    let [short, long] = &edges;
    let token = start(&serve).await;
    delays(ask(&edges, &token, 200), Instant::now()).await;
    let first = short.as_of().await;
    let mut is_cut_off = false;
    let (mut accepted, mut refused) = (0, 0);
    while refused < 50 {
        let (as_of, before) = (short.as_of().await, now());
        let answer = short.status(&token).await;
        let after = now();
        if short.as_of().await != as_of {
            continue;
        }
        // The edge read its clock between `before` and `after`.
        let last = as_of.unwrap().saturating_add(bound);
        if after <= last {
            assert_eq!(answer, 200, "as of {as_of:?}, at {after}");
            accepted += u32::from(is_cut_off);
        }
        if before > last {
            assert_eq!(answer, 401, "as of {as_of:?}, at {before}");
            refused += u32::from(is_cut_off);
        }
        // Kill the issuer once the edge has a newer list.
        if !is_cut_off && as_of > first {
            serve.signal("KILL");
            serve.wait();
            is_cut_off = true;
        }
        sleep(BETWEEN).await;
    }
    println!("cut off: {accepted} times accepted, then {refused} times refused");
    assert!(accepted > 0, "refused as soon as the issuer was gone");
    assert_eq!(long.status(&token).await, 200);
}
