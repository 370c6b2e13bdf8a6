//! Sessions that rest for longer than a token lives: their cookies are renewed
//! before a request is served, at the issuer's own pages and at an edge.

use std::collections::HashSet;
use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::Value;
use tokio::time::sleep;

use crate::support::edge::{edge, until, verify};
use crate::support::{Home, PASSWORD, Running, client};

/// Tokens for a second, in sessions for an hour.
const SHORT: &str = "[lifetimes]\ntoken_max_age = \"1s\"\nrenew_after = \"0s\"\nidle_timeout = \"1h\"\nleeway = \"0s\"\n\
                     [[hosts]]\norigin = \"https://b.example\"\naudience = \"b\"\n";

fn serve(home: &Home) -> Running {
    let config = home.write("short.toml", SHORT);
    home.serve(&["--config", config.to_str().unwrap()])
}

/// The token of a cookie that an answer sets.
fn set(answer: &Response) -> Option<String> {
    let cookie = answer.headers().get("set-cookie")?.to_str().unwrap();
    let token = cookie.strip_prefix("__Host-session=").unwrap().split(';').next().unwrap();
    (!token.is_empty()).then(|| token.to_owned())
}

/// The `Max-Age` of the cookie that an answer sets, in seconds.
fn max_age(answer: &Response) -> u64 {
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    cookie.split("Max-Age=").nth(1).unwrap().split(';').next().unwrap().parse().unwrap()
}

async fn log_in(serve: &Running) -> String {
    let body = serde_json::json!({ "username": "alice", "password": PASSWORD });
    let answer = client().post(serve.at("/login")).json(&body).send().await.unwrap();
    // The cookie outlives its token.
    let max_age = max_age(&answer);
    assert!((3_500..=3_600).contains(&max_age), "{max_age}");
    let token = set(&answer).unwrap();
    let body: Value = answer.json().await.unwrap();
    assert!((3_500..=3_600).contains(&body["renewable_for"].as_u64().unwrap()), "{body}");
    token
}

async fn ask(serve: &Running, method: Method, path: &str, token: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = client().request(method, serve.at(path));
    request = request.header("cookie", format!("theme=dark; __Host-session={token}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

async fn expired() {
    sleep(Duration::from_millis(2_100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_issuers_own_pages_renew_an_expired_cookie() {
    let home = Home::new();
    let serve = serve(&home);
    let mut token = log_in(&serve).await;
    for (method, path, status) in [
        (Method::GET, "/account", 200),
        (Method::GET, "/session", 200),
        (Method::GET, "/sessions", 200),
        // Logged in: on to the account page.
        (Method::GET, "/", 303),
        (Method::GET, "/hop?origin=https://b.example&state=x", 303),
        (Method::POST, "/sessions/revoke-others", 200),
    ] {
        expired().await;
        let answer = ask(&serve, method, path, &token, &[("sec-fetch-site", "same-origin")]).await;
        assert_eq!(answer.status(), status, "{path}");
        let to = answer.headers().get("location").map(|to| to.to_str().unwrap().to_owned());
        assert!(to.as_ref().is_none_or(|to| !to.contains("return_to")), "{path} leads to {to:?}");
        let next = set(&answer).unwrap_or_else(|| panic!("{path} sets no cookie"));
        assert_ne!(next, token, "{path}");
        token = next;
    }
    // Not for a page of another site.
    expired().await;
    let forged =
        ask(&serve, Method::POST, "/sessions/revoke-others", &token, &[("sec-fetch-site", "cross-site")])
            .await;
    assert_eq!((forged.status().as_u16(), set(&forged)), (403, None));
    // A session that has ended is not renewed, and a log-out needs no renewal.
    let out = ask(&serve, Method::POST, "/logout", &token, &[]).await;
    assert_eq!((out.status().as_u16(), set(&out)), (204, None));
    let over = ask(&serve, Method::GET, "/session", &token, &[]).await;
    assert_eq!((over.status().as_u16(), set(&over)), (401, None));
}

/// Tokens that live for long enough that twenty requests meet one successor.
const TEN_SECONDS: &str =
    "[lifetimes]\ntoken_max_age = \"10s\"\nrenew_after = \"0s\"\nidle_timeout = \"1h\"\nleeway = \"0s\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_renews_an_expired_cookie_once_however_many_wait() {
    let home = Home::new();
    let serve = home.serve(&["--config", home.write("ten.toml", TEN_SECONDS).to_str().unwrap()]);
    // Cut off from the issuer it must not become stale before the test is over.
    let edge = edge(&home, &serve, &["--stale-after", "1h"]);
    let over = |token: &str| {
        let bearer = format!("Bearer {token}");
        until("the token expires", || verify(&edge, "GET", "/", &[("Authorization", &bearer)]).status == 401);
    };
    let token = log_in(&serve).await;
    over(&token);
    let cookie = format!("__Host-session={token}");
    let answers: Vec<_> = std::thread::scope(|scope| {
        let ask = || verify(&edge, "POST", "/", &[("Cookie", &cookie), ("Sec-Fetch-Site", "same-origin")]);
        let asked: Vec<_> = (0..20).map(|_| scope.spawn(ask)).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    let mut tokens = HashSet::new();
    for answer in &answers {
        assert_eq!(answer.status, 200, "{answer:?}");
        let new = answer.cookie("__Host-session").unwrap();
        assert_eq!(answer.header("x-hallpass-token"), Some(&*new));
        tokens.insert(new);
    }
    assert_eq!(tokens.len(), 1, "one successor for all");

    // Without the issuer: neither a session nor a log-in page.
    serve.signal("KILL");
    let new = tokens.iter().next().unwrap();
    over(new);
    let cookie = format!("__Host-session={new}");
    for headers in [&[("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate")][..], &[]] {
        let answer = verify(&edge, "GET", "/", &[&[("Cookie", &*cookie)], headers].concat());
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.header("retry-after").is_some() && answer.header("x-hallpass-login").is_none());
    }
    // Where no session is needed, nobody is kept waiting for one.
    let answer = crate::support::edge::ask(&edge, "/optional", "GET", "/", &[("Cookie", &cookie)]);
    assert_eq!((answer.status, answer.header("x-hallpass-subject")), (200, Some("")));
}

const REMEMBERED: &str = "[lifetimes]\ntoken_max_age = \"1s\"\nrenew_after = \"0s\"\nidle_timeout = \"1h\"\nleeway = \"0s\"\n\
                          [lifetimes.remembered]\n";
const DAY: u64 = 24 * 3600;

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_asks_to_be_remembered_is() {
    let home = Home::new();
    let config = home.write("remembered.toml", REMEMBERED);
    let serve = home.serve(&["--config", config.to_str().unwrap()]);
    let page = client().get(serve.at("/")).send().await.unwrap().text().await.unwrap();
    assert!(page.contains(r#"<input name="remember" type="checkbox">"#), "{page}");

    let body = serde_json::json!({ "username": "alice", "password": PASSWORD, "remember": true });
    let answer = client().post(serve.at("/login")).json(&body).send().await.unwrap();
    let about = |days: u64, secs: u64| (days * DAY - 60..=days * DAY).contains(&secs);
    assert!(about(14, max_age(&answer)), "{answer:?}");
    let token = set(&answer).unwrap();
    let session = answer.json::<Value>().await.unwrap();
    assert!(about(14, session["renewable_for"].as_u64().unwrap()), "{session}");
    // A form, and a wrong password first: the box stays as it was.
    let form = |password: &str| format!("username=alice&password={password}&remember=on");
    let post = |form: String| {
        let kind = ("content-type", "application/x-www-form-urlencoded");
        client()
            .post(serve.at("/login"))
            .header(kind.0, kind.1)
            .header("accept", "text/html")
            .body(form)
            .send()
    };
    let again = post(form("wrong")).await.unwrap();
    assert_eq!(again.status(), 401);
    assert!(again.text().await.unwrap().contains(r#"type="checkbox" checked>"#));
    let answer = post(form(&PASSWORD.replace(' ', "+"))).await.unwrap();
    assert_eq!((answer.status().as_u16(), about(14, max_age(&answer))), (303, true));

    // Renewal and a step-up keep it; an ordinary log-in is not touched.
    expired().await;
    let answer = ask(&serve, Method::GET, "/session", &token, &[]).await;
    assert!(about(14, max_age(&answer)), "{answer:?}");
    let token = set(&answer).unwrap();
    let password = serde_json::json!({ "password": PASSWORD });
    let again = client().post(serve.at("/reauthenticate")).json(&password);
    let again = again.header("cookie", format!("__Host-session={token}")).send().await.unwrap();
    assert!(about(14, max_age(&again)), "{again:?}");
    log_in(&serve).await;
    let token = set(&again).unwrap();
    let listed: Value = ask(&serve, Method::GET, "/sessions", &token, &[]).await.json().await.unwrap();
    let remembered = |session: &&Value| session["remembered"] == true;
    let sessions = listed["sessions"].as_array().unwrap();
    assert_eq!(sessions.iter().filter(remembered).count(), sessions.len() - 1, "{listed}");
    let account = ask(&serve, Method::GET, "/account", &token, &[]).await.text().await.unwrap();
    assert!(account.contains(", remembered</p>"), "{account}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_is_remembered_nobody_can_ask() {
    let home = Home::new();
    let serve = serve(&home);
    let page = client().get(serve.at("/")).send().await.unwrap().text().await.unwrap();
    assert!(!page.contains("remember"), "{page}");
    for (remember, status) in
        [(Value::from(true), 422), (Value::from(false), 200), (Value::from("maybe"), 422)]
    {
        let body = serde_json::json!({ "username": "alice", "password": PASSWORD, "remember": remember });
        let answer = client().post(serve.at("/login")).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), status, "{remember}");
    }
}
