//! What is logged: which request a line belongs to, and no secret at any level.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use reqwest::header::{AUTHORIZATION, COOKIE};
use serde_json::{Value, json};

use crate::support::edge::until;
use crate::support::leaks::{Log, secret};
use crate::support::{Home, PASSWORD, Running, bearer, client, hallpass, ok};

const SERVICE: &str = "5e41ce00000000000000000000000001";
const OPERATOR: &str = "09e4a104000000000000000000000001";
const EDGE: &str = "ed9e0000000000000000000000000001";

/// The log's lines about one request.
fn lines_of(log: &str, id: &str) -> Vec<Value> {
    // The last line may still be on its way.
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    let lines = whole.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
    lines.filter(|line| line["span"]["id"] == id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_an_id_in_its_answer_and_on_its_lines() {
    let home = Home::new();
    let config = home.write("c.toml", "trusted_proxies = [\"127.0.0.1\"]\n");
    let direct = home.serve(&["--admin-listen", "127.0.0.1:0"]);
    let behind_proxy = home.serve(&["--config", config.to_str().unwrap()]);
    let wrong = json!({ "username": "alice", "password": "wrong wrong" });
    let id_of = async |serve: &Running, given: &[&str]| {
        let mut request = client().post(serve.at("/login")).json(&wrong);
        for id in given {
            request = request.header("x-request-id", *id);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers().get_all("x-request-id").iter().count(), 1);
        answer.headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    let (own, other) = (id_of(&direct, &[]).await, id_of(&direct, &["mine-1"]).await);
    for id in [&own, &other] {
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        // The last line of a request comes before its answer, and through a pipe.
        let is_whole = |lines: &[Value]| lines.iter().any(|line| line["fields"]["message"] == "answered");
        until("the request is logged", || is_whole(&lines_of(&direct.log(), id)));
        let lines = lines_of(&direct.log(), id);
        let refused = lines.iter().find(|line| line["fields"]["event"] == "authn_login_fail");
        assert_eq!(refused.unwrap_or_else(|| panic!("{}", direct.log()))["span"]["route"], "/login");
        assert!(lines.iter().any(|line| line["fields"]["status"] == 401), "{lines:?}");
    }
    assert_ne!(own, other);
    // A trusted proxy's, if it is one.
    assert_eq!(id_of(&behind_proxy, &["4bf92f3577b34da6:1"]).await, "4bf92f3577b34da6:1");
    let long = "x".repeat(129);
    for given in [&["a b"][..], &["a\"b"], &[&long], &["one", "two"], &[""]] {
        let id = id_of(&behind_proxy, given).await;
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{given:?}: {id}");
    }
    until("the proxy's id is logged", || !lines_of(&behind_proxy.log(), "4bf92f3577b34da6:1").is_empty());
    // For every answer, and on the operators' address too.
    for url in [direct.at("/nothing"), format!("{}/metrics", direct.admin.as_ref().unwrap())] {
        let answer = client().get(url).send().await.unwrap();
        assert_eq!(answer.headers()["x-request-id"].len(), 32);
    }
}

/// Returns the cookie's `NAME=VALUE` and registers the value as a secret.
fn cookie(answer: &reqwest::Response) -> String {
    let line = answer.headers()["set-cookie"].to_str().unwrap();
    let pair = line.split(';').next().unwrap();
    secret(pair.split_once('=').unwrap().1);
    pair.to_owned()
}

/// Sends every kind of secret in every place from which it could be logged, at
/// the most verbose level. The check itself runs at the end of every process.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_logged_at_the_level_that_shows_most() {
    let home = Home::new();
    let config = home.write(
        "c.toml",
        "trusted_proxies = [\"127.0.0.1\"]\n[lifetimes]\nrenew_after = \"0s\"\nrenewal_grace = \"0s\"\n",
    );
    let env = [
        ("HALLPASS_LOG", "trace"),
        ("HALLPASS_SERVICE_TOKEN", SERVICE),
        ("HALLPASS_OPERATOR_TOKEN", OPERATOR),
        ("HALLPASS_EDGE_TOKEN", EDGE),
    ];
    let serve =
        home.serve_with(&["--config", config.to_str().unwrap(), "--admin-listen", "127.0.0.1:0"], &env);
    let post = |path: &str| client().post(serve.at(path));

    // Passwords: right, wrong, where they don't belong, and in bodies that
    // can't be read.
    let wrong = "wrong password 7391";
    secret(wrong);
    let number = 739_182_645_391_827_u64;
    secret(&number.to_string());
    for body in [
        json!({ "username": "alice", "password": wrong }),
        json!({ "username": wrong, "password": PASSWORD }),
        json!({ "username": "alice", "password": number }),
        json!({ "username": "alice", "password": [wrong] }),
        json!({ "password": wrong, "transport": wrong }),
        json!(wrong),
    ] {
        post("/login").json(&body).send().await.unwrap();
        post("/login").form(&[("body", body.to_string())]).send().await.unwrap();
        post("/login").body(body.to_string()).send().await.unwrap();
        let cut = body.to_string();
        let cut = cut[..cut.len() - 1].to_owned();
        post("/login").header("content-type", "application/json").body(cut).send().await.unwrap();
    }
    client().get(serve.at(&format!("/?password={}", wrong.replace(' ', "+")))).send().await.unwrap();

    // Tokens: in a cookie, as a bearer, twice, forged, in paths and queries.
    let body = json!({ "username": "alice", "password": PASSWORD });
    let answer = post("/login").json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let pair = cookie(&answer);
    let token = pair.split_once('=').unwrap().1.to_owned();
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    secret(&forged);
    for cookies in [pair.clone(), format!("{pair}; {pair}"), pair.replace("__Host-", ""), forged.clone()] {
        for path in ["/session", "/account", "/sessions"] {
            client().get(serve.at(path)).header(COOKIE, &cookies).send().await.unwrap();
        }
    }
    for shown in [&token, &forged] {
        for scheme in ["Bearer", "Basic", "DPoP"] {
            let header = format!("{scheme} {shown}");
            client().get(serve.at("/session")).header(AUTHORIZATION, header).send().await.unwrap();
        }
        client().get(serve.at(&format!("/sessions/{shown}"))).send().await.unwrap();
        client().delete(serve.at(&format!("/sessions/{shown}"))).bearer_auth(shown).send().await.unwrap();
        client().get(serve.at(&format!("/{shown}?token={shown}"))).send().await.unwrap();
        post("/renew").bearer_auth(shown).send().await.unwrap();
    }
    let answer = post("/reauthenticate").header(COOKIE, &pair).json(&json!({ "password": PASSWORD }));
    let answer = answer.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    cookie(&answer);

    // Renewal, and a stolen token.
    let first = bearer(&serve.url).await;
    let mut next = first.clone();
    for _ in 0..3 {
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        let answer: Value = post("/renew").bearer_auth(&next).send().await.unwrap().json().await.unwrap();
        next = answer["token"].as_str().unwrap().to_owned();
        secret(&next);
    }
    assert_eq!(post("/renew").bearer_auth(&first).send().await.unwrap().status(), 401);
    until("the theft is logged", || serve.log().contains("authn_token_reuse"));

    // Shared credentials, right and wrong, each in the others' places.
    secret("0123456789abcdef0123456789abcdef");
    for credential in [SERVICE, OPERATOR, EDGE, "0123456789abcdef0123456789abcdef"] {
        let start = post("/sessions").bearer_auth(credential).json(&json!({ "subject": "alice" }));
        if let Some(token) = start.send().await.unwrap().json::<Value>().await.unwrap()["token"].as_str() {
            secret(token);
        }
        // Its caller is logged by name, which is not secret.
        let name = if credential == EDGE { "shop" } else { credential };
        let report = json!({ "edge": name, "epoch": 1, "sequence": 1, "as_of": 1 });
        post("/edges/report").bearer_auth(credential).json(&report).send().await.unwrap();
        let revoke = client().post(format!("{}/admin/revoke", serve.admin.as_ref().unwrap()));
        revoke.bearer_auth(credential).json(&json!({ "subject": "bob" })).send().await.unwrap();
    }

    // Commands that run beside the service.
    home.add_user("bob", &[]);
    ok(&["user", "passwd", "bob", "--data", &home.path("data")], b"another password\n");
    ok(&["revoke", "subject", "alice", "--data", &home.path("data")], b"");
    ok(&["key", "rotate", "--now", "--dir", &home.path("keys")], b"");
    assert_eq!(post("/logout").bearer_auth(&next).send().await.unwrap().status(), 204);
    let log = serve.log();
    // Only third-party clients log at trace; the demo has one.
    assert!(log.contains("\"level\":\"DEBUG\""), "not at a level that shows much");
}

/// The same for the demo, which has an edge in it.
#[tokio::test(flavor = "multi_thread")]
async fn nor_does_the_demo_log_any() {
    let mut process = hallpass()
        .args(["demo", "--listen", "127.0.0.1:0", "--app-listen", "127.0.0.1:0"])
        .env("HALLPASS_LOG", "trace")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = Log::of(process.stderr.take().unwrap(), "demo".to_owned());
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut say = |label: &str| {
        let line = lines.by_ref().map(Result::unwrap).find(|line| line.trim().starts_with(label));
        line.unwrap().split_whitespace().last().unwrap().to_owned()
    };
    let (login, app, password) = (say("login service"), say("protected app"), say("password"));
    secret(&password);
    let form = [("username", "demo"), ("password", &password), ("return_to", &app)];
    let answer = client().post(format!("{login}login")).form(&form).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let pair = cookie(&answer);
    // The edge has its keys from the feed, in a moment.
    let ask = async || client().get(&app).header(COOKIE, &pair).send().await.unwrap().status();
    while ask().await != 200 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(
        client().post(format!("{login}logout")).header(COOKIE, &pair).send().await.unwrap().status(),
        204
    );
    while ask().await == 200 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(log.text().contains("TRACE"));
    log.check();
}

/// Each line with the session by its short hash, or, where many are ended at
/// once, without.
#[tokio::test(flavor = "multi_thread")]
async fn creation_renewal_and_end_are_logged() {
    let home = Home::new();
    let config = home.write("c.toml", "[lifetimes]\nrenew_after = \"0s\"\nrenewal_grace = \"0s\"\n");
    let args = ["--config", config.to_str().unwrap(), "--admin-listen", "127.0.0.1:0"];
    let serve = home.serve_with(&args, &[("HALLPASS_OPERATOR_TOKEN", OPERATOR)]);
    // Which session each line of an event is about, once there are so many.
    let sessions = |event: &str, count: usize| {
        let mut found = Vec::new();
        until(event, || {
            let log = serve.log();
            let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
            let lines = lines.filter(|line| line["fields"]["event"] == event);
            found = lines.map(|line| line["fields"]["session"].clone()).collect();
            assert!(found.len() <= count, "{event}: {found:?}");
            found.len() == count
        });
        found
    };
    let mut tokens = Vec::new();
    for _ in 0..7 {
        tokens.push(bearer(&serve.url).await);
    }
    let created = sessions("session_created", 7);
    assert!(created.iter().all(Value::is_string), "{created:?}");

    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let answer = client().post(serve.at("/renew")).bearer_auth(&tokens[0]).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["renewed"], true);
    secret(answer["token"].as_str().unwrap());
    assert_eq!(sessions("session_renewed", 1), created[..1]);

    // Its user logs out; ends another one; ends all others.
    let answer = client().post(serve.at("/logout")).bearer_auth(&tokens[1]).send().await.unwrap();
    assert_eq!(answer.status(), 204);
    assert_eq!(sessions("session_expired", 1), created[1..2]);
    let id_of = async |token: &str| {
        let answer = client().get(serve.at("/session")).bearer_auth(token).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        answer["session"]["session_id"].as_str().unwrap().to_owned()
    };
    let other = serve.at(&format!("/sessions/{}", id_of(&tokens[2]).await));
    let answer = client().delete(other).bearer_auth(&tokens[3]).send().await.unwrap();
    assert_eq!(answer.status(), 204);
    assert_eq!(sessions("session_expired", 2)[1], created[2]);
    let third = id_of(&tokens[4]).await;
    let revoke = async |what: Value| {
        let revoke = client().post(format!("{}/admin/revoke", serve.admin.as_ref().unwrap()));
        assert_eq!(revoke.bearer_auth(OPERATOR).json(&what).send().await.unwrap().status(), 200);
    };
    // An operator ends one.
    revoke(json!({ "session": third })).await;
    assert_eq!(sessions("session_expired", 3)[2], created[4]);
    // Many at once: by their user, by an operator, and everybody's.
    let others = client().post(serve.at("/sessions/revoke-others")).bearer_auth(&tokens[3]);
    assert_eq!(others.send().await.unwrap().status(), 200);
    assert_eq!(sessions("session_expired", 4)[3], Value::Null);
    revoke(json!({ "subject": "alice" })).await;
    assert_eq!(sessions("session_expired", 5)[4], Value::Null);
    revoke(json!({ "all": true })).await;
    assert_eq!(sessions("session_expired", 6)[5], Value::Null);
    let lines = serve.log();
    let ended = lines.lines().filter(|line| line.contains("session_expired"));
    assert!(ended.into_iter().all(|line| line.contains("127.0.0.1")), "{lines}");
}
