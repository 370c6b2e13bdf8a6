//! Log-in and log-out over HTTP, by cookie and by bearer token.

use hallpass::{KeySet, Session, UnixTime, Verifier};
use reqwest::header::{HeaderMap, ORIGIN};
use serde_json::{Value, json};

use crate::support::{Home, PASSWORD, bearer, client};

pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).unwrap_or_else(|| panic!("no {name} in {headers:?}")).to_str().unwrap()
}

pub(super) fn credentials() -> Value {
    json!({ "username": "alice", "password": PASSWORD })
}

fn now() -> UnixTime {
    hallpass::Clock::now(&hallpass::SystemClock)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_is_set_used_and_cleared() {
    let home = Home::new();
    let serve = home.serve(&[]);
    let answer = client().post(serve.at("/login")).json(&credentials()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(header(answer.headers(), "cache-control"), "no-store");
    assert!(header(answer.headers(), "vary").eq_ignore_ascii_case("cookie"));
    let cookie = header(answer.headers(), "set-cookie").to_owned();
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    let mut attributes: Vec<_> = attributes.split("; ").collect();
    attributes.sort_unstable();
    // What is left of the token's 15 minutes when the answer is written.
    let max_age: u64 = attributes.remove(1).strip_prefix("Max-Age=").unwrap().parse().unwrap();
    assert!((800..=900).contains(&max_age), "{cookie}");
    assert_eq!(attributes, ["HttpOnly", "Path=/", "SameSite=Lax", "Secure"], "{cookie}");
    assert!(pair.starts_with("__Host-session="), "{cookie}");
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["session"]["subject"], "alice");
    assert_eq!(body["session"]["claims"], json!({ "roles": ["admin"] }));
    assert_eq!(body["session"]["amr"], json!(["pwd"]));
    assert!(body.get("token").is_none(), "a page's script must not see the token");

    let shown = client().get(serve.at("/session")).header("cookie", pair).send().await.unwrap();
    assert_eq!(shown.json::<Value>().await.unwrap()["session"], body["session"]);
    assert!((800..=900).contains(&body["renewable_for"].as_u64().unwrap()), "{body}");

    let out = client().post(serve.at("/logout")).header("cookie", pair).send().await.unwrap();
    assert_eq!(out.status(), 204);
    let cleared = header(out.headers(), "set-cookie");
    assert!(cleared.starts_with("__Host-session=;") && cleared.contains("Max-Age=0"), "{cleared}");
    assert!(cleared.contains("Secure") && cleared.contains("Path=/"), "else browsers keep it: {cleared}");
    assert_eq!(header(out.headers(), "cache-control"), "no-store");
    assert!(header(out.headers(), "clear-site-data").contains("\"cache\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bearer_token_verifies_with_the_published_keys_alone() {
    let home = Home::new();
    let config = home.write("c.toml", "base_path = \"/.hallpass\"\n[tokens]\naudience = \"store\"\n");
    let serve = home.serve(&["--config", config.to_str().unwrap()]);
    assert!(serve.url.ends_with("/.hallpass"));
    let token = bearer(&serve.url).await;
    for path in ["/.well-known/hallpass/keys", "/.well-known/jwks.json"] {
        let answer = client().get(serve.at(path)).send().await.unwrap();
        assert!(header(answer.headers(), "cache-control").contains("max-age"));
        let keys = KeySet::from_bytes(&answer.bytes().await.unwrap()).unwrap();
        let verifier = Verifier::builder(keys).audience("store").without_revocations().build().unwrap();
        let session: Session = verifier.verify(&token, now()).unwrap();
        assert_eq!(session.subject(), "alice");
    }
    let answer = client().get(serve.at("/session")).bearer_auth(&token).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_log_in_says_the_same_whoever_it_was() {
    let home = Home::new();
    let serve = home.serve(&[]);
    let mut bodies = Vec::new();
    for (username, password) in [("alice", "wrong"), ("nobody", PASSWORD), ("", ""), ("alice", "")] {
        let body = json!({ "username": username, "password": password });
        let answer = client().post(serve.at("/login")).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 401);
        assert!(answer.headers().get("set-cookie").is_none());
        assert_eq!(header(answer.headers(), "content-type"), "application/problem+json");
        bodies.push(answer.text().await.unwrap());
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_presented_token_is_never_taken_over_by_a_log_in() {
    let home = Home::new();
    let serve = home.serve(&[]);
    let planted = bearer(&serve.url).await;
    let answer = client()
        .post(serve.at("/login"))
        .header("cookie", format!("__Host-session={planted}"))
        .json(&credentials())
        .send()
        .await
        .unwrap();
    let inside = hallpass::danger::inspect(&planted).unwrap().json;
    let body: Value = answer.json().await.unwrap();
    assert_ne!(body["session"]["session_id"], inside["session"]["session_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_works_like_json_and_leads_a_browser_on() {
    let home = Home::new();
    let config = home.write("c.toml", "return_origins = [\"https://app.example\"]\n");
    let serve = home.serve(&["--config", config.to_str().unwrap()]);
    let form = |return_to: &'static str| {
        let fields = [("username", "alice"), ("password", PASSWORD), ("return_to", return_to)];
        client().post(serve.at("/login")).form(&fields)
    };
    let answer = form("/").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json::<Value>().await.unwrap()["session"]["subject"], "alice");
    for (return_to, leads_to) in [
        ("/cart?id=1", "/cart?id=1"),
        ("https://app.example/cart", "https://app.example/cart"),
        ("https://evil.example/", "/account"),
        ("https://app.example.evil.example/", "/account"),
        ("https://app.example@evil.example/", "/account"),
        ("https://u@app.example/", "/account"),
        ("//evil.example", "/account"),
        ("/\\evil.example", "/account"),
        ("/\t/evil.example", "/account"),
        ("javascript:alert(1)", "/account"),
        ("http://app.example/", "/account"),
    ] {
        let answer = form(return_to).header("accept", "text/html").send().await.unwrap();
        assert_eq!(answer.status(), 303);
        assert_eq!(header(answer.headers(), "location"), leads_to, "{return_to}");
        assert_eq!(header(answer.headers(), "cache-control"), "no-store");
    }
}

/// An edge that found the session's log-in too old sends the browser here, and
/// would send it here again if it came back at once.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_in_page_asks_again_when_the_session_will_not_do() {
    let home = Home::new();
    let serve = home.serve(&[]);
    let cookie = format!("__Host-session={}", bearer(&serve.url).await);
    for (query, status) in [
        ("return_to=/cart", 303),
        ("return_to=/cart&max_age=3600", 303),
        ("return_to=/cart&max_age=0", 200),
        ("return_to=/cart&max_age=x", 400),
    ] {
        let page = client().get(serve.at(&format!("/?{query}"))).header("cookie", &cookie).send().await;
        let page = page.unwrap();
        assert_eq!(page.status(), status, "{query}");
        if status == 200 {
            assert!(page.text().await.unwrap().contains("value=\"/cart\""));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_sites_page_can_neither_log_in_nor_out() {
    let home = Home::new();
    let serve = home.serve(&[]);
    let token = bearer(&serve.url).await;
    let cookie = format!("__Host-session={token}");
    for path in ["/login", "/logout"] {
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "https://evil.example"),
            ("origin", "null"),
        ] {
            let answer = client()
                .post(serve.at(path))
                .header(name, value)
                .header("cookie", &cookie)
                .json(&credentials())
                .send()
                .await
                .unwrap();
            assert_eq!(answer.status(), 403, "{path} {name}: {value}");
            assert!(answer.headers().get("set-cookie").is_none());
        }
    }
    let own = format!("http://{}", serve.address());
    let answer = client().post(serve.at("/login")).header(ORIGIN, own).json(&credentials()).send().await;
    assert_eq!(answer.unwrap().status(), 200);
    let answer = client().get(serve.at("/session")).header("cookie", &cookie).send().await.unwrap();
    assert_eq!(answer.status(), 200, "the session lives on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_says_two_things_has_no_session() {
    let home = Home::new();
    let serve = home.serve(&[]);
    let token = bearer(&serve.url).await;
    let cookie = format!("__Host-session={token}");
    let twice = format!("{cookie}; {cookie}");
    for (headers, status) in [
        (vec![("cookie", cookie.as_str())], 200),
        (vec![("cookie", "theme=dark"), ("cookie", cookie.as_str())], 200),
        (vec![("cookie", twice.as_str())], 401),
        (vec![("cookie", cookie.as_str()), ("cookie", cookie.as_str())], 401),
        // The cookie is never consulted beside an Authorization of any kind.
        (vec![("cookie", cookie.as_str()), ("authorization", "Bearer x")], 401),
        (vec![("cookie", cookie.as_str()), ("authorization", "Basic x")], 401),
    ] {
        let mut request = client().get(serve.at("/session"));
        for (name, value) in &headers {
            request = request.header(*name, *value);
        }
        assert_eq!(request.send().await.unwrap().status(), status, "{headers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_body_gets_a_clear_answer_that_quotes_nothing() {
    let home = Home::new();
    let serve = home.serve(&[]);
    let secret = "hunter2hunter2";
    let large = format!("{{\"username\":\"{}\"}}", "a".repeat(20_000));
    for (kind, body, status) in [
        ("application/json", "{", 400),
        ("application/json", "{\"username\":\"alice\",\"password\":[\"hunter2hunter2\"]}", 422),
        ("application/json", "[]", 422),
        ("application/x-www-form-urlencoded", "username=alice", 422),
        ("text/plain", secret, 415),
        ("", secret, 415),
        ("application/json", large.as_str(), 413),
    ] {
        let answer = client()
            .post(serve.at("/login"))
            .header("content-type", kind)
            .body(body.to_owned())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status, "{kind}: {body:.60}");
        assert_eq!(header(answer.headers(), "content-type"), "application/problem+json");
        let text = answer.text().await.unwrap();
        assert!(!text.contains(secret), "{text}");
    }
    for (method, path, status) in [("GET", "/login", 405), ("GET", "/nothing", 404)] {
        let answer = client().request(method.parse().unwrap(), serve.at(path)).send().await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(header(answer.headers(), "content-type"), "application/problem+json");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_are_told_to_be_careful() {
    let home = Home::new();
    let serve = home.serve(&["--behind-tls-proxy"]);
    for path in ["/", "/session", "/healthz", "/nothing"] {
        let answer = client().get(serve.at(path)).send().await.unwrap();
        let headers = answer.headers();
        assert_eq!(header(headers, "x-content-type-options"), "nosniff");
        assert_eq!(header(headers, "x-frame-options"), "DENY");
        assert_eq!(header(headers, "referrer-policy"), "no-referrer");
        assert!(header(headers, "content-security-policy").starts_with("default-src 'none'"));
        assert!(header(headers, "strict-transport-security").starts_with("max-age="));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_logged() {
    let home = Home::new();
    let serve = home.serve(&[]);
    let token = bearer(&serve.url).await;
    let cookie = format!("__Host-session={token}");
    for path in ["/session", "/account", "/"] {
        client().get(serve.at(path)).header("cookie", &cookie).send().await.unwrap();
    }
    client()
        .post(serve.at("/login"))
        .json(&json!({ "username": "alice", "password": "not-my-password" }))
        .send()
        .await
        .unwrap();
    client().post(serve.at("/logout")).header("cookie", &cookie).send().await.unwrap();
    let log = serve.log();
    assert!(log.contains("authn_login_fail") && log.contains("session_created"), "{log}");
    let inside = hallpass::danger::inspect(&token).unwrap().json;
    let session_id = inside["session"]["session_id"].as_str().unwrap();
    for secret in [token.as_str(), PASSWORD, "not-my-password", session_id, "PRIVATE KEY"] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
}
