//! `/ops`: who may see it, what it shows as it happens, and that it ends
//! sessions.

use std::time::Duration;

use fantoccini::Locator;
use hallpass::revocation::FeedKeys;
use hallpass::revocation::sync::{EdgeName, FeedClient};
use reqwest::Response;
use serde_json::json;

use crate::support::browser::Browser;
use crate::support::exchange::exchange;
use crate::support::{Home, PASSWORD, Running, bearer, client, misused, needs, ok};

const ADMIN: &[&str] = &["--admin-listen", "127.0.0.1:0"];
const OPERATOR_TOKEN: &str = "0123456789abcdef0123456789abcdef";
const EDGE_TOKEN: &str = "fedcba9876543210fedcba9876543210";

/// A home with an operator.
fn home() -> Home {
    let home = Home::new();
    home.add_user("olga", &["--role", "operator"]);
    home
}

fn serve(home: &Home) -> Running {
    home.serve_with(
        ADMIN,
        &[("HALLPASS_OPERATOR_TOKEN", OPERATOR_TOKEN), ("HALLPASS_EDGE_TOKEN", EDGE_TOKEN)],
    )
}

fn at(serve: &Running, path: &str) -> String {
    format!("{}{path}", serve.admin.as_ref().unwrap())
}

async fn get(serve: &Running, path: &str, cookie: &str) -> Response {
    client().get(at(serve, path)).header("cookie", cookie).send().await.unwrap()
}

async fn log_in(serve: &Running, user: &str, password: &str) -> Response {
    let form = [("username", user), ("password", password)];
    client().post(at(serve, "/ops/login")).form(&form).send().await.unwrap()
}

/// `NAME=TOKEN` of an operator who logged in.
async fn operator(serve: &Running) -> String {
    let answer = log_in(serve, "olga", PASSWORD).await;
    assert_eq!((answer.status().as_u16(), &answer.headers()["location"]), (303, &"/ops".parse().unwrap()));
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    for attribute in ["__Host-ops=", "HttpOnly", "SameSite=Strict", "Secure", "Path=/", "Max-Age=3"] {
        assert!(cookie.contains(attribute), "{attribute}: {cookie}");
    }
    assert_eq!(answer.headers()["cache-control"], "no-store");
    cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_operators_credential_nothing_is_shown() {
    let home = home();
    let serve = serve(&home);
    let alice = bearer(&serve.url).await;
    // No cookie, a user's session and a guess are all refused.
    for cookie in ["", &format!("__Host-session={alice}"), &format!("__Host-ops={alice}"), "__Host-ops=x"] {
        let page = get(&serve, "/ops?find=alice", cookie).await;
        assert_eq!(page.status(), 303, "{cookie}");
        assert_eq!(page.headers()["location"], "/ops/login");
        assert_eq!(page.text().await.unwrap(), "");
        assert_eq!(get(&serve, "/ops/events", cookie).await.status(), 401, "{cookie}");
        let end = client().post(at(&serve, "/ops/end")).header("cookie", cookie);
        assert_eq!(end.form(&[("subject", "alice")]).send().await.unwrap().status(), 401, "{cookie}");
        let form = get(&serve, "/ops/login", cookie).await.text().await.unwrap();
        assert!(form.contains("Log in") && !form.contains("Anomalies"));
    }
    let wrong = client().get(at(&serve, "/ops/events")).bearer_auth("0".repeat(32)).send().await.unwrap();
    assert_eq!(wrong.status(), 401);
    let session = client().get(serve.at("/session")).bearer_auth(&alice).send().await.unwrap();
    assert_eq!(session.status(), 200, "nothing was ended");
    // It is not on the public address, with or without a session.
    let cookie = operator(&serve).await;
    let public = client().get(serve.at("/ops")).header("cookie", &cookie).send().await.unwrap();
    assert_eq!(public.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_user_of_the_role_gets_in_and_the_session_is_good_for_nothing_else() {
    let home = home();
    let serve = serve(&home);
    for (user, password) in [("alice", PASSWORD), ("olga", "wrong"), ("nobody", PASSWORD)] {
        let refused = log_in(&serve, user, password).await;
        assert_eq!(refused.status(), 401, "{user}");
        assert!(refused.headers().get("set-cookie").is_none());
        let page = refused.text().await.unwrap();
        assert!(page.contains("The user name or the password is wrong."), "{user}: {page}");
    }
    let cookie = operator(&serve).await;
    let page = get(&serve, "/ops?find=alice", &cookie).await;
    assert_eq!(page.status(), 200);
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; style-src 'self'; script-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.headers()["cache-control"], "no-store");
    let page = page.text().await.unwrap();
    for shown in ["Refused tokens, by reason", "Audit trail", "olga", "operator_logged_in", "active"] {
        assert!(page.contains(shown), "{shown}");
    }

    // On the public routes the token has the wrong audience.
    let token = cookie.split_once('=').unwrap().1;
    for request in [client().get(serve.at("/session")), client().post(serve.at("/renew"))] {
        assert_eq!(request.bearer_auth(token).send().await.unwrap().status(), 401);
    }
    for cookie in [cookie.clone(), format!("__Host-session={token}")] {
        let session = client().get(serve.at("/session")).header("cookie", &cookie);
        assert_eq!(session.send().await.unwrap().status(), 401);
    }
    // Disabling the user ends the operator's session too.
    ok(&["user", "disable", "olga", "--data", &home.path("data")], b"");
    while get(&serve, "/ops", &cookie).await.status() != 303 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(log_in(&serve, "olga", PASSWORD).await.status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_ended_by_post_from_this_page_alone() {
    let home = home();
    let serve = serve(&home);
    let (one, two, three) = (bearer(&serve.url).await, bearer(&serve.url).await, bearer(&serve.url).await);
    let session = async |token: &str| {
        let answer = client().get(serve.at("/session")).bearer_auth(token).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<serde_json::Value>().await.unwrap())
    };
    let id = session(&one).await.1["session"]["session_id"].as_str().unwrap().to_owned();
    let cookie = operator(&serve).await;
    let end = |form: &[(&str, &str)], site: &'static str| {
        let post = client().post(at(&serve, "/ops/end")).header("cookie", &cookie);
        post.header("sec-fetch-site", site).form(form).send()
    };
    for site in ["cross-site", "same-site"] {
        assert_eq!(end(&[("session_id", &id)], site).await.unwrap().status(), 403);
    }
    assert_eq!(session(&one).await.0, 200);
    for form in [&[("session_id", "00")][..], &[], &[("subject", "alice"), ("session_id", &id)]] {
        assert_eq!(end(form, "same-origin").await.unwrap().status(), 422);
    }
    let ended = end(&[("session_id", &id), ("find", "alice")], "same-origin").await.unwrap();
    assert_eq!(ended.status(), 303);
    assert_eq!(ended.headers()["location"], "/ops?done=session&find=alice#find");
    assert_eq!((session(&one).await.0, session(&two).await.0), (401, 200));
    // A program may do it with the operators' credential.
    let post = client().post(at(&serve, "/ops/end")).bearer_auth(OPERATOR_TOKEN);
    assert_eq!(post.form(&[("subject", "alice")]).send().await.unwrap().status(), 303);
    assert_eq!((session(&two).await.0, session(&three).await.0), (401, 401));
    let page = get(&serve, "/ops", &cookie).await.text().await.unwrap();
    assert!(page.contains("operator olga, revoked session"), "{page}");
    assert!(page.contains("operator operator credential, revoked subject"), "{page}");

    // After the log-out the session is refused.
    let post = client().post(at(&serve, "/ops/logout")).header("cookie", &cookie);
    let answer = post.header("sec-fetch-site", "same-origin").send().await.unwrap();
    assert_eq!(answer.status(), 303);
    assert!(answer.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(get(&serve, "/ops", &cookie).await.status(), 303);
}

/// User input is shown as text and never interpreted as HTML.
#[tokio::test(flavor = "multi_thread")]
async fn what_clients_write_is_text() {
    let home = home();
    let serve = serve(&home);
    let name = "<img src=x onerror=alert(1)>\"'";
    let body = json!({ "username": name, "password": "wrong" });
    let answer = client().post(serve.at("/login")).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    let cookie = operator(&serve).await;
    for path in ["/ops", "/ops?find=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E"] {
        let page = get(&serve, path, &cookie).await.text().await.unwrap();
        assert!(page.contains("&#60;img") && !page.contains("<img"), "{page}");
    }
    let mut events = client().get(at(&serve, "/ops/events")).header("cookie", &cookie).send().await.unwrap();
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    let mut stream = String::new();
    while !stream.contains("\n\n") {
        stream.push_str(core::str::from_utf8(&events.chunk().await.unwrap().unwrap()).unwrap());
    }
    assert!(stream.starts_with("event: status\n"), "{stream}");
    assert!(stream.contains("&#60;img") && !stream.contains("<img"), "{stream}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_page_ends_with_the_operators_session() {
    let home = home();
    let serve = serve(&home);
    let cookie = operator(&serve).await;
    let mut events = client().get(at(&serve, "/ops/events")).header("cookie", &cookie).send().await.unwrap();
    let mut stream = String::new();
    stream.push_str(core::str::from_utf8(&events.chunk().await.unwrap().unwrap()).unwrap());
    ok(&["revoke", "subject", "olga", "--data", &home.path("data")], b"");
    // A generous limit, so that a failure does not hang.
    let rest = async {
        while let Some(chunk) = events.chunk().await.unwrap() {
            stream.push_str(&String::from_utf8_lossy(&chunk));
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(60), rest).await;
    assert!(ended.is_ok(), "the page is kept current still");
    assert!(stream.contains("event: over\n"), "{stream}");
}

async fn forge(serve: &Running, count: usize) {
    for n in 0..count {
        let forged = client().get(serve.at("/session")).bearer_auth(format!("forged-{n}")).send().await;
        assert_eq!(forged.unwrap().status(), 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_what_happens_as_it_happens() {
    if !needs("chromedriver") || !needs("chromium") {
        return;
    }
    for (name, dark, width) in [("light", false, 1200), ("dark", true, 1200), ("phone", false, 500)] {
        let home = home();
        let serve = serve(&home);
        let keys = ok(&["key", "export", "--dir", &home.path("keys"), "--use", "feed"], b"");
        let edge = FeedClient::builder(&serve.url).trust(FeedKeys::from_bytes(&keys).unwrap());
        let edge = edge.report_as(EdgeName::new("shop-1").unwrap(), EDGE_TOKEN).build().unwrap();
        tokio::spawn(edge.run());

        let browser = Browser::start(dark, width).await;
        let ops = at(&serve, "/ops").replace("127.0.0.1", "localhost");
        browser.client.goto(&ops).await.unwrap();
        browser.shows("h1", "Log in").await;
        browser.log_in("olga", PASSWORD).await;
        browser.shows("h1", "Operations").await;
        browser.shows("#connection", "Live").await;
        browser.shows("#edges tbody td", "shop-1").await;
        browser.counts("#anomalies li", 0).await;

        // A failed log-in, while the page is open.
        let body = json!({ "username": "mallory", "password": "wrong" });
        client().post(serve.at("/login")).json(&body).send().await.unwrap();
        browser.shows("#log-ins tr.failed td:nth-child(2)", "mallory").await;
        browser.shows("#tiles div:nth-child(2) dd", "1").await;
        // An anomaly.
        forge(&serve, 20).await;
        browser.counts("#anomalies li", 1).await;
        browser.shows("#anomalies strong", "token_guessing").await;
        browser.shows("#tiles div:nth-child(5) dd", "1").await;
        // More of everything, for the picture.
        for user in 0..12 {
            let body = json!({ "username": format!("user-{user}"), "password": "wrong" });
            client().post(serve.at("/login")).json(&body).send().await.unwrap();
        }
        browser.counts("#anomalies li", 2).await;
        let (token, other) = (bearer(&serve.url).await, bearer(&serve.url).await);
        for _ in 0..3 {
            let out = client().post(serve.at("/logout")).bearer_auth(&other).send().await.unwrap();
            assert_eq!(out.status(), 204);
        }
        browser.shows("#tiles div:nth-child(1) dd", "3").await;
        // All of it in one picture.
        browser.client.set_window_size(width, if width < 600 { 3400 } else { 1900 }).await.unwrap();
        browser.screenshot(&format!("ops-{name}.png")).await;

        // A user is found, and the session ended.
        let find = browser.client.find(Locator::Css("#find-what")).await.unwrap();
        find.send_keys("alice").await.unwrap();
        browser.client.find(Locator::Css("form.find button")).await.unwrap().click().await.unwrap();
        browser.counts("ul.sessions li", 1).await;
        browser.screenshot(&format!("ops-found-{name}.png")).await;
        browser.client.find(Locator::Css("ul.sessions button")).await.unwrap().click().await.unwrap();
        browser.shows("p.done", "The session is ended.").await;
        let refused = client().get(serve.at("/session")).bearer_auth(&token).send().await.unwrap();
        assert_eq!(refused.status(), 401);
        browser.counts("#anomalies li", 2).await;
        browser.screenshot(&format!("ops-ended-{name}.png")).await;

        let wide = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth";
        assert_eq!(browser.client.execute(wide, vec![]).await.unwrap(), json!(true), "no sideways scrolling");
        // By keyboard only, from the search field to the result.
        let focused = "document.getElementById('find-what').focus(); return document.activeElement.id";
        assert_eq!(browser.client.execute(focused, vec![]).await.unwrap(), json!("find-what"));
        browser.is_labelled().await;

        // The operator's session ends, and with it the page.
        ok(&["revoke", "subject", "olga", "--data", &home.path("data")], b"");
        browser.shows("h1", "Log in").await;
        browser.stop().await;
    }
}

/// A page whose host name resolves to this address (DNS rebinding) is refused on
/// every route.
#[tokio::test(flavor = "multi_thread")]
async fn the_operators_address_answers_to_its_own_names_alone() {
    const ROUTES: [(&str, &str); 12] = [
        ("GET", "/metrics"),
        ("GET", "/healthz"),
        ("POST", "/admin/revoke"),
        ("GET", "/ops"),
        ("GET", "/ops/login"),
        ("POST", "/ops/login"),
        ("POST", "/ops/logout"),
        ("POST", "/ops/end"),
        ("GET", "/ops/events"),
        ("GET", "/ops/ops.js"),
        ("GET", "/ops/style.css"),
        ("GET", "/nothing"),
    ];
    let home = home();
    let config = home.write("ops.toml", "admin_hosts = [\"ops.internal\"]\n");
    let more = [ADMIN, &["--config", config.to_str().unwrap()]].concat();
    let serve = home.serve_with(&more, &[("HALLPASS_OPERATOR_TOKEN", OPERATOR_TOKEN)]);
    let address = serve.admin.as_ref().unwrap().strip_prefix("http://").unwrap().to_owned();
    let ask = |method: &str, path: &str, hosts: &[&str]| {
        let credential = format!("Bearer {OPERATOR_TOKEN}");
        let mut headers = vec![("Authorization", credential.as_str())];
        headers.extend(hosts.iter().map(|host| ("Host", *host)));
        exchange(&address, method, path, &headers, "").status
    };
    for (method, path) in ROUTES {
        for hosts in [&["evil.example"][..], &["evil.example:8792"], &["localhost.evil.example"]] {
            assert_eq!(ask(method, path, hosts), 421, "{method} {path} of {hosts:?}");
        }
        assert!(ask(method, path, &[]) >= 400, "{method} {path} of no host");
        assert!(ask(method, path, &[&address, "evil.example"]) >= 400, "{method} {path} of two hosts");
    }
    for host in [address.as_str(), "localhost", "localhost:1", "[::1]", "ops.internal", "OPS.internal:8792"] {
        assert_eq!(ask("GET", "/metrics", &[host]), 200, "{host}");
    }
    // HTTP/2 names the host in the URI.
    let client = reqwest::Client::builder().http2_prior_knowledge();
    let resolved = address.parse().unwrap();
    let client = client.resolve("evil.example", resolved).resolve("ops.internal", resolved);
    let client = client.tls_certs_only([]).build().unwrap();
    let port = address.rsplit(':').next().unwrap();
    for (host, status) in [("evil.example", 421), ("ops.internal", 200)] {
        let answer = client.get(format!("http://{host}:{port}/metrics")).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{host}");
    }
    let wrong = home.write("wrong.toml", "admin_hosts = [\"ops.internal:8792\"]\n");
    misused(
        &[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--data",
            &home.path("data"),
            "--keys",
            &home.path("keys"),
            "--config",
            wrong.to_str().unwrap(),
        ],
        "without a port",
    );
}
