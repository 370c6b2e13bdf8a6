//! The hop to another host, at the issuer: `/hop`, `/tickets/redeem`, and the
//! child session that comes of it.

use std::sync::Arc;

use hallpass::{Clock, KeySet, Session, SystemClock, Verifier};
use reqwest::{Method, Response, StatusCode, Url};
use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::support::{Home, PASSWORD, Running, client, misused};

const HOSTS: &str = "base_path = \"/auth\"\n[tokens]\naudience = \"a\"\n[lifetimes]\nidle_timeout = \"1m\"\nrenew_after = \"2s\"\nrenewal_grace = \"1s\"\nabsolute_lifetime = \"1h\"\n[[hosts]]\norigin = \"https://b.example\"\naudience = \"b\"\n[[hosts]]\norigin = \"https://c.example\"\naudience = \"c\"\nbase_path = \"/pass\"\n";

fn serve(home: &Home) -> Running {
    let config = home.write("hosts.toml", HOSTS);
    home.serve(&["--config", config.to_str().unwrap()])
}

/// Logs alice in; her cookie.
async fn cookie(serve: &Running) -> String {
    let body = json!({ "username": "alice", "password": PASSWORD });
    let answer = client().post(serve.at("/login")).json(&body).send().await.unwrap();
    let set = answer.headers()["set-cookie"].to_str().unwrap();
    set.split(';').next().unwrap().to_owned()
}

fn location(answer: &Response) -> String {
    assert_eq!(answer.status(), 303);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert_eq!(answer.headers()["referrer-policy"], "no-referrer");
    answer.headers()["location"].to_str().unwrap().to_owned()
}

/// The ticket of a hop to b.
async fn ticket(serve: &Running, cookie: &str) -> String {
    let url = serve.at("/hop?origin=https://b.example&state=S1");
    let answer = client().get(url).header("cookie", cookie).send().await.unwrap();
    let to = Url::parse(&location(&answer)).unwrap();
    assert_eq!((to.host_str(), to.path()), (Some("b.example"), "/.hallpass/callback"));
    let query: Vec<_> = to.query_pairs().into_owned().collect();
    assert_eq!(query[1], ("state".to_owned(), "S1".to_owned()));
    assert_eq!(query[0].0, "ticket");
    query[0].1.clone()
}

async fn redeem(serve: &Running, ticket: &str, audience: &str) -> (StatusCode, Value) {
    let body = json!({ "ticket": ticket, "audience": audience });
    let answer = client().post(serve.at("/tickets/redeem")).json(&body).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

/// A child session's token, and its session as it was answered.
async fn child(serve: &Running, cookie: &str) -> (String, Value) {
    let (status, answer) = redeem(serve, &ticket(serve, cookie).await, "b").await;
    assert_eq!(status, 200, "{answer}");
    (answer["token"].as_str().unwrap().to_owned(), answer["session"].clone())
}

async fn bearer(serve: &Running, method: Method, path: &str, token: &str) -> StatusCode {
    client().request(method, serve.at(path)).bearer_auth(token).send().await.unwrap().status()
}

async fn lives(serve: &Running, token: &str) -> bool {
    bearer(serve, Method::GET, "/session", token).await == 200
}

async fn cookie_lives(serve: &Running, cookie: &str) -> bool {
    client().get(serve.at("/session")).header("cookie", cookie).send().await.unwrap().status() == 200
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hop_makes_a_child_of_the_session() {
    let home = Home::new();
    let serve = serve(&home);
    let cookie = cookie(&serve).await;
    let mine = client().get(serve.at("/session")).header("cookie", &cookie).send().await.unwrap();
    let parent = mine.json::<Value>().await.unwrap()["session"].clone();
    let (token, session) = child(&serve, &cookie).await;
    assert_eq!(session["audience"], "b");
    for same in ["subject", "auth_time", "claims"] {
        assert_eq!(session[same], parent[same], "{same}");
    }
    assert_ne!(session["session_id"], parent["session_id"]);
    assert!(session["ends_at"].as_str() <= parent["ends_at"].as_str(), "{session} {parent}");

    // The edge verifies it with the published keys.
    let keys = client().get(serve.at("/.well-known/hallpass/keys")).send().await.unwrap();
    let keys = KeySet::from_bytes(&keys.bytes().await.unwrap()).unwrap();
    let edge = Verifier::builder(keys).audience("b").without_revocations().build().unwrap();
    let seen: Session = edge.verify(&token, SystemClock.now()).unwrap();
    assert_eq!(seen.id().to_string(), session["session_id"].as_str().unwrap());

    // Where the edge asks for its user, and nowhere else.
    assert!(lives(&serve, &token).await);
    for (method, path) in [
        (Method::GET, "/sessions"),
        (Method::POST, "/sessions/revoke-others"),
        (Method::GET, "/hop?origin=https://c.example&state=x"),
    ] {
        let status = bearer(&serve, method, path, &token).await;
        assert!([401, 303, 404].contains(&status.as_u16()), "{path}: {status}");
    }
    let asked = client().post(serve.at("/tickets")).bearer_auth(&token);
    let asked = asked.json(&json!({ "audience": "b" })).send().await.unwrap();
    assert_eq!(asked.status(), 401, "a child makes no tickets");
    let by_cookie = format!("__Host-session={token}");
    assert!(!cookie_lives(&serve, &by_cookie).await, "no browser has it here");

    // The edge's address says nothing of the user's, so it is not told.
    let created = |line: &Value| line["fields"]["event"] == "session_created";
    let log = serve.log();
    let lines: Vec<Value> =
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(created).collect();
    let told: Vec<bool> = lines.iter().map(|line| line["fields"]["address"].is_string()).collect();
    assert_eq!(told, [true, false], "the log-in's and not the hop's: {lines:?}");

    // Renewal keeps the audience.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let answer = client().post(serve.at("/renew")).bearer_auth(&token).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!((&answer["renewed"], &answer["session"]["audience"]), (&json!(true), &json!("b")));
    assert_eq!(answer["session"]["session_id"], session["session_id"]);
}

/// A hop must not turn a forgery into a session that outlives the stolen key.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_forged_with_a_stolen_key_takes_nobody_elsewhere() {
    let home = Home::new();
    let serve = serve(&home);
    let cookie = cookie(&serve).await;
    let forged = crate::server::sessions::as_admin(&home, cookie.split_once('=').unwrap().1);
    let forged = format!("__Host-session={forged}");
    assert!(cookie_lives(&serve, &forged).await, "the forgery is a good one");
    let (status, answer) = redeem(&serve, &ticket(&serve, &forged).await, "b").await;
    assert_eq!(status, 401, "{answer}");
    assert!(cookie_lives(&serve, &cookie).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_session_the_hop_goes_on_after_log_in() {
    let home = Home::new();
    let serve = serve(&home);
    let query = "origin=https%3A%2F%2Fb.example&state=S-1.x";
    let answer = client().get(serve.at(&format!("/hop?{query}"))).send().await.unwrap();
    let page = location(&answer);
    let back = Url::parse("http://x").unwrap().join(&page).unwrap();
    assert_eq!(back.path(), "/auth/");
    let (_, back) = back.query_pairs().find(|(name, _)| name == "return_to").unwrap();
    assert_eq!(back, format!("/auth/hop?{query}"));

    // The page keeps it, and may lead there: browsers hold form-action against
    // the whole chain of redirects.
    let answer = client().get(format!("http://{}{page}", serve.address())).send().await.unwrap();
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("form-action 'self' https://b.example https://c.example"), "{policy}");
    assert!(answer.text().await.unwrap().contains("/auth/hop?origin=https%3A%2F%2Fb.example"));
    let form = [("username", "alice"), ("password", PASSWORD), ("return_to", &*back)];
    let answer =
        client().post(serve.at("/login")).form(&form).header("accept", "text/html").send().await.unwrap();
    assert_eq!(location(&answer), back);
    let set = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let answer =
        client().get(format!("http://{}{back}", serve.address())).header("cookie", set).send().await.unwrap();
    assert!(location(&answer).starts_with("https://b.example/.hallpass/callback?ticket="));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_redemptions_in_two_processes_one_is_accepted() {
    let home = Home::new();
    let serves = [Arc::new(serve(&home)), Arc::new(serve(&home))];
    let cookie = cookie(&serves[0]).await;
    let ticket = ticket(&serves[0], &cookie).await;
    let barrier = Arc::new(Barrier::new(32));
    let tries: Vec<_> = (0..32)
        .map(|n| {
            let (serve, ticket, barrier) = (Arc::clone(&serves[n % 2]), ticket.clone(), Arc::clone(&barrier));
            tokio::spawn(async move {
                barrier.wait().await;
                redeem(&serve, &ticket, "b").await.0
            })
        })
        .collect();
    let mut accepted = 0;
    for one in tries {
        let status = one.await.unwrap();
        assert!([200, 401].contains(&status.as_u16()), "{status}");
        accepted += usize::from(status == 200);
    }
    assert_eq!(accepted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_opens_nothing_else() {
    let home = Home::new();
    let serve = serve(&home);
    let cookie = cookie(&serve).await;
    let good = ticket(&serve, &cookie).await;
    let token = cookie.split_once('=').unwrap().1;
    let (child, _) = child(&serve, &cookie).await;
    // Another audience, no audience, and values that are not tickets.
    for (ticket, audience) in
        [(&*good, "c"), (&*good, "a"), (&*good, ""), (token, "b"), (&*child, "b"), ("", "b")]
    {
        let (status, answer) = redeem(&serve, ticket, audience).await;
        assert_eq!(status, 401, "{audience} {answer}");
        assert!(answer.get("token").is_none());
    }
    // A ticket in a token's place.
    assert!(!lives(&serve, &good).await);
    assert!(!cookie_lives(&serve, &format!("__Host-session={good}")).await);
    assert_eq!(bearer(&serve, Method::POST, "/renew", &good).await, 401);
    // None of these attempts used the ticket up.
    assert_eq!(redeem(&serve, &good, "b").await.0, 200);
    assert_eq!(redeem(&serve, &good, "b").await.0, 401);

    for query in [
        "origin=https://evil.example&state=x",
        "origin=https://b.example.evil.example&state=x",
        "origin=http://b.example&state=x",
        "origin=https://b.example/&state=x",
        "origin=https://b.example&state=",
        "origin=https://b.example&state=a%26ticket%3Db",
        "origin=https://b.example&state=a%0d%0aset-cookie:x",
        "origin=https://b.example",
        "state=x",
        "",
    ] {
        let url = serve.at(&format!("/hop?{query}"));
        let answer = client().get(url).header("cookie", &cookie).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{query}");
        assert!(answer.headers().get("location").is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_out_anywhere_is_a_log_out_everywhere() {
    let home = Home::new();
    let serve = serve(&home);
    // At the issuer, and at one of two hosts.
    for at_the_edge in [false, true] {
        let cookie = cookie(&serve).await;
        let (one, _) = child(&serve, &cookie).await;
        let (two, _) = child(&serve, &cookie).await;
        let open = ticket(&serve, &cookie).await;
        let other = self::cookie(&serve).await;
        assert!(lives(&serve, &one).await && lives(&serve, &two).await);
        let log_out = client().post(serve.at("/logout"));
        let log_out = if at_the_edge { log_out.bearer_auth(&one) } else { log_out.header("cookie", &cookie) };
        assert_eq!(log_out.send().await.unwrap().status(), 204);
        assert!(!lives(&serve, &one).await && !lives(&serve, &two).await);
        assert!(!cookie_lives(&serve, &cookie).await);
        assert_eq!(redeem(&serve, &open, "b").await.0, 401, "a hop under way ends too");
        assert!(cookie_lives(&serve, &other).await, "another log-in lives on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_ticket_stays_used_after_a_kill() {
    let home = Home::new();
    let mut first = serve(&home);
    let cookie = cookie(&first).await;
    let (used, unused) = (ticket(&first, &cookie).await, ticket(&first, &cookie).await);
    assert_eq!(redeem(&first, &used, "b").await.0, 200);
    // Into the next second, so that what was issued is from before the start.
    let issued = SystemClock.now();
    first.signal("KILL");
    first.wait();
    while SystemClock.now() == issued {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let second = serve(&home);
    assert_eq!(redeem(&second, &used, "b").await.0, 401);
    assert_eq!(redeem(&second, &unused, "b").await.0, 401, "it may have been used, for all that is known");
    assert_eq!(redeem(&second, &ticket(&second, &cookie).await, "b").await.0, 200, "a new one at once");
}

#[test]
fn a_configuration_that_mixes_hosts_up_is_refused() {
    let home = Home::new();
    let (data, keys) = (home.path("data"), home.path("keys"));
    for (config, hint) in [
        ("[[hosts]]\norigin = \"https://b.example/\"\naudience = \"b\"\n", "no origin"),
        ("[[hosts]]\norigin = \"https://b.example\"\naudience = \"\"\n", "1 to 255 bytes"),
        (
            "[tokens]\naudience = \"a\"\n[[hosts]]\norigin = \"https://b.example\"\naudience = \"a\"\n",
            "of its own",
        ),
        (
            "[[hosts]]\norigin = \"https://b.example\"\naudience = \"b\"\n[[hosts]]\norigin = \"https://c.example\"\naudience = \"b\"\n",
            "of its own",
        ),
        (
            "[[hosts]]\norigin = \"https://b.example\"\naudience = \"b\"\n[[hosts]]\norigin = \"https://b.example\"\naudience = \"c\"\n",
            "twice",
        ),
        ("[[hosts]]\norigin = \"https://b.example\"\naudience = \"b\"\nbase_path = \"x\"\n", "base_path"),
        ("[[hosts]]\norigin = \"https://b.example\"\n", "audience"),
    ] {
        let config = home.write("bad.toml", config);
        let args = ["serve", "--listen", "127.0.0.1:0", "--data", &data, "--keys", &keys, "--config"];
        misused(&[&args[..], &[config.to_str().unwrap()]].concat(), hint);
    }
}
