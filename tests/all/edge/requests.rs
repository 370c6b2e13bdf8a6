//! `hallpass edge`, with the requests that a proxy sends.

use serde_json::{Value, json};

use crate::support::dpop::bound;
use crate::support::edge::*;
use crate::support::exchange::{exchange, try_exchange};
use crate::support::{Home, PASSWORD, Running, bearer, client, misused, ok};

const SERVICE: &str = "0123456789abcdef0123456789abcdef";
/// The headers of a browser that navigates to a page.
const PAGE: [(&str, &str); 2] = [("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate")];

fn with_cookie(token: &str) -> String {
    format!("__Host-session={token}")
}

/// A site with short-lived tokens and no audience.
fn site() -> (Home, Running) {
    let home = Home::new();
    let issuer = home.serve_with(&[], &[("HALLPASS_SERVICE_TOKEN", SERVICE)]);
    (home, issuer)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_asking_is_told_completely() {
    let (home, issuer) = site();
    let edge = edge(&home, &issuer, &[]);
    let start = client().post(issuer.at("/sessions")).bearer_auth(SERVICE);
    let subject = "Zo\u{eb} 100%, x: y";
    let started = start.json(
        &json!({ "subject": subject, "amr": ["pwd", "otp"], "claims": { "n\u{e4}me": "\u{1f600}\r\n" } }),
    );
    let started: Value = started.send().await.unwrap().json().await.unwrap();
    let token = started["token"].as_str().unwrap();

    let answer = verify(&edge, "GET", "/", &[("Cookie", &with_cookie(token))]);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("x-hallpass-subject"), Some("Zo%C3%AB%20100%25,%20x:%20y"));
    assert_eq!(answer.header("x-hallpass-session"), started["session"]["session_id"].as_str());
    assert_eq!(answer.header("x-hallpass-auth-time"), started["session"]["auth_time"].as_str());
    assert_eq!(answer.header("x-hallpass-amr"), Some("pwd otp"));
    assert_eq!(answer.header("x-hallpass-audience"), Some(""), "there and empty");
    assert_eq!(answer.header("x-hallpass-token"), Some(token));
    let claims = answer.header("x-hallpass-claims").unwrap();
    assert!(claims.is_ascii());
    assert_eq!(serde_json::from_str::<Value>(claims).unwrap(), json!({ "n\u{e4}me": "\u{1f600}\r\n" }));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("vary"), Some("Cookie"));
    assert!(!edge.log().contains(token) && !edge.log().contains("Zo"), "{}", edge.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_can_be_read_in_two_ways_is_refused() {
    let (home, issuer) = site();
    let edge = edge(&home, &issuer, &[]);
    let cookie = with_cookie(&bearer(&issuer.url).await);
    let cookie = ("Cookie", cookie.as_str());
    let address = edge.address();
    for headers in [
        &[cookie][..],
        &[cookie, ("X-Original-Method", "POST"), ("X-Forwarded-Method", "GET")],
        &[cookie, ("X-Original-Method", "GET"), ("X-Original-Method", "POST")],
        &[cookie, ("X-Original-Method", "G T")],
    ] {
        let headers = [&[("Host", "shop.example")], headers].concat();
        let answer = exchange(&address, "GET", "/verify", &headers, "");
        assert_eq!(answer.status, 403, "{headers:?} {answer:?}");
        assert!(answer.all("x-hallpass-subject").is_empty());
    }
    // Envoy sends the original request line with the client's headers.
    let host = ("Host", "shop.example");
    for (method, target, wanted) in [
        ("GET", "/verify/", 200),
        ("GET", "/verify//x/../%2e", 200),
        ("POST", "/verify/verify", 200),
        ("GET", "/verifyx", 404),
    ] {
        assert_eq!(
            exchange(&address, method, target, &[host, cookie], "").status,
            wanted,
            "{method} {target}"
        );
    }
    let cross = [host, cookie, ("X-Forwarded-Method", "GET"), ("Sec-Fetch-Site", "cross-site")];
    assert_eq!(exchange(&address, "POST", "/verify/pay", &cross, "").status, 403);
    let cross = [host, cookie, ("X-Forwarded-Host", "evil.example"), ("Origin", "https://evil.example")];
    assert_eq!(exchange(&address, "POST", "/verify/pay", &cross, "").status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_trusted_proxies_are_answered() {
    let (home, issuer) = site();
    let token = bearer(&issuer.url).await;
    let authorization = format!("Bearer {token}");
    for (trusted, wanted) in [("10.0.0.0/8", 403), ("127.0.0.1", 200)] {
        let edge = edge(&home, &issuer, &["--trusted-proxy", "192.0.2.7", "--trusted-proxy", trusted]);
        let answer = verify(&edge, "GET", "/", &[("Authorization", &authorization)]);
        assert_eq!(answer.status, wanted, "{trusted} {answer:?}");
        let answer = verify(&edge, "GET", "/", &[("X-Forwarded-For", "127.0.0.1")]);
        assert_ne!(answer.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_listed_origins_may_change_something() {
    let (home, issuer) = site();
    let edge = edge(&home, &issuer, &["--allow-origin", "https://app.example"]);
    let cookie = with_cookie(&bearer(&issuer.url).await);
    for (origin, wanted) in [
        ("https://shop.example", 200),
        ("https://app.example", 200),
        ("http://app.example", 403),
        ("https://app.example:444", 403),
        ("https://app.example.evil.example", 403),
    ] {
        let headers = [("Cookie", cookie.as_str()), ("Origin", origin)];
        assert_eq!(verify(&edge, "POST", "/", &headers).status, wanted, "{origin}");
    }
    let told =
        [("Cookie", cookie.as_str()), ("Origin", "https://app.example"), ("Sec-Fetch-Site", "same-site")];
    assert_eq!(verify(&edge, "POST", "/", &told).status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_may_see_some_pages() {
    let (home, issuer) = site();
    let edge = edge(&home, &issuer, &[]);
    let cookie = with_cookie(&bearer(&issuer.url).await);
    let optional = |headers: &[_]| ask(&edge, "/optional", "GET", "/", headers);
    for headers in [&[][..], &[("Cookie", "__Host-session=nonsense")]] {
        let answer = optional(headers);
        assert_eq!((answer.status, answer.header("x-hallpass-subject")), (200, Some("")), "{answer:?}");
        assert_eq!(answer.header("x-hallpass-token"), Some(""));
    }
    assert_eq!(optional(&[("Cookie", &cookie)]).header("x-hallpass-subject"), Some("alice"));
    // Optional mode can't be set by a query: Caddy appends the client's query.
    for query in ["/verify?optional", "/verify?mode=optional"] {
        assert_eq!(ask(&edge, query, "GET", "/", &[]).status, 401);
    }
    // With the cookie, a forged request is still refused.
    let forged = [("Cookie", cookie.as_str()), ("Sec-Fetch-Site", "cross-site")];
    assert_eq!(ask(&edge, "/optional", "POST", "/", &forged).status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_starts_while_the_issuer_is_down() {
    let (home, mut issuer) = site();
    let token = bearer(&issuer.url).await;
    let revoked = bearer(&issuer.url).await;
    let cache = home.path("edge-cache");
    let is = |edge: &Running, token: &str, status: u16| {
        let authorization = format!("Bearer {token}");
        verify(edge, "GET", "/", &[("Authorization", &authorization)]).status == status
    };
    let first = edge(&home, &issuer, &["--cache", &cache]);
    let answer = client().post(issuer.at("/logout")).bearer_auth(&revoked).send().await.unwrap();
    assert_eq!(answer.status(), 204);
    until("the revocation arrives", || is(&first, &revoked, 401));
    // The revocation applies before it is on disk: the cache is written in the
    // background.
    assert!(is(&first, &token, 200));
    let gone = hallpass::danger::inspect(&revoked).unwrap().json["session"]["session_id"].clone();
    let gone = hex::decode(gone.as_str().unwrap()).unwrap();
    until("it is on disk", || {
        std::fs::read_dir(&cache).unwrap().any(|file| {
            let kept = std::fs::read(file.unwrap().path()).unwrap_or_default();
            kept.windows(16).any(|bytes| bytes == gone)
        })
    });
    issuer.signal("KILL");
    issuer.wait();
    // Without the issuer, sessions go on, and a new edge starts from the cache.
    assert!(is(&first, &token, 200));
    drop(first);
    let second = edge(&home, &issuer, &["--cache", &cache]);
    assert!(is(&second, &token, 200));
    assert!(is(&second, &revoked, 401), "{}", second.log());
    // Without a cache, the edge has no keys and refuses.
    let third = start_edge(&home, &issuer.url, &[]);
    assert!(is(&third, &token, 401));
    let address = third.address();
    assert_eq!(exchange(&address, "GET", "/readyz", &[("Host", &address)], "").status, 503);
    assert_eq!(exchange(&address, "GET", "/healthz", &[("Host", &address)], "").status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_edge_refuses_and_sends_nobody_round_in_circles() {
    let home = Home::new();
    let config = home.write("b.toml", "[tokens]\naudience = \"b\"\n");
    let mut issuer = home.serve(&["--config", config.to_str().unwrap()]);
    let cookie = with_cookie(&bearer(&issuer.url).await);
    let stale = ["--stale-after", "15s", "--audience", "b"];
    let elsewhere = edge(&home, &issuer, &[&stale[..], &["--public-origin", "http://b.example"]].concat());
    let edge = edge(&home, &issuer, &stale);
    let ask = || verify(&edge, "GET", "/", &[("Cookie", &cookie), PAGE[0], PAGE[1]]);
    assert_eq!(ask().status, 200);
    issuer.signal("KILL");
    issuer.wait();
    until("the edge is stale", || ask().status == 401);
    let answer = ask();
    assert_eq!(answer.header("x-hallpass-login"), None, "the issuer would send it back: {answer:?}");
    assert!(!answer.body.contains("refresh"));
    let address = edge.address();
    assert_eq!(exchange(&address, "GET", "/readyz", &[("Host", &address)], "").status, 503);
    // Without a cookie, a log-in may help.
    assert_eq!(
        verify(&edge, "GET", "/x", &PAGE).header("x-hallpass-login"),
        Some("/.hallpass/?return_to=%2Fx")
    );
    // Log-out at the edge: the issuer may still know the session, and only the
    // issuer can end it.
    let address = elsewhere.address();
    until("the other edge is stale", || {
        exchange(&address, "GET", "/readyz", &[("Host", &address)], "").status == 503
    });
    let headers = [("Host", "b.example"), ("Cookie", cookie.as_str())];
    let answer = exchange(&address, "POST", "/.hallpass/logout", &headers, "");
    assert_eq!((answer.status, answer.cookie("__Host-session")), (503, None), "{answer:?}");
}

/// All requests of a proxy come from one address.
#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_may_hold_many_connections() {
    let (home, issuer) = site();
    let (edge, stranger) =
        (edge(&home, &issuer, &[]), edge(&home, &issuer, &["--trusted-proxy", "192.0.2.7"]));
    let cookie = with_cookie(&bearer(&issuer.url).await);
    let idle = |edge: &Running| -> Vec<_> {
        (0..300).map(|_| std::net::TcpStream::connect(edge.address()).unwrap()).collect()
    };
    let held = idle(&edge);
    assert_eq!(verify(&edge, "GET", "/", &[("Cookie", &cookie)]).status, 200);
    drop(held);
    // Any other address gets 256 connections.
    let held = idle(&stranger);
    let asked = try_exchange(&stranger.address(), "GET", "/healthz", &[("Host", "b.example")], "");
    assert!(asked.is_err(), "{asked:?}");
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_token_without_its_proof_is_refused() {
    let (home, issuer) = site();
    let edge = edge(&home, &issuer, &[]);
    let token = bound(&issuer).await;
    for (name, value) in [
        ("Cookie", with_cookie(&token)),
        ("Authorization", format!("Bearer {token}")),
        ("Authorization", format!("DPoP {token}")),
    ] {
        let answer = verify(&edge, "GET", "/", &[(name, &value)]);
        assert_eq!(answer.status, 401, "{name} {answer:?}");
        assert!(answer.all("x-hallpass-subject").is_empty(), "{answer:?}");
        let answer = ask(&edge, "/optional", "GET", "/", &[(name, &value)]);
        assert_eq!((answer.status, answer.header("x-hallpass-token")), (200, Some("")), "{answer:?}");
    }
    // The reason is the missing proof, not an unknown session.
    let address = edge.address();
    let metrics = exchange(&address, "GET", "/metrics", &[("Host", &address)], "").body;
    assert!(metrics.contains("hallpass_edge_verdicts_total{verdict=\"proof_required\"} 3\n"), "{metrics}");
}

/// A page of another site could open a WebSocket with its visitor's cookie, over
/// HTTP/2 without a key (RFC 8441 §5).
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_page_opens_no_web_socket() {
    let (home, issuer) = site();
    let edge = edge(&home, &issuer, &[]);
    let cookie = with_cookie(&bearer(&issuer.url).await);
    for sign in [
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-Fetch-Mode", "websocket"),
    ] {
        for (origin, wanted) in [("https://evil.example", 403), ("https://shop.example", 200)] {
            let headers = [("Cookie", cookie.as_str()), ("Origin", origin), sign];
            assert_eq!(verify(&edge, "GET", "/ws", &headers).status, wanted, "{sign:?} {origin}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_count_every_verdict() {
    let (home, issuer) = site();
    let edge = edge(&home, &issuer, &[]);
    let cookie = with_cookie(&bearer(&issuer.url).await);
    for _ in 0..3 {
        assert_eq!(verify(&edge, "GET", "/", &[("Cookie", &cookie)]).status, 200);
    }
    verify(&edge, "GET", "/", &[]);
    verify(&edge, "GET", "/", &[("Cookie", "__Host-session=x")]);
    verify(&edge, "POST", "/", &[("Cookie", &cookie), ("Sec-Fetch-Site", "cross-site")]);
    let address = edge.address();
    let metrics = || exchange(&address, "GET", "/metrics", &[("Host", &address)], "").body;
    for line in [
        "hallpass_edge_verdicts_total{verdict=\"accepted\"} 3",
        "hallpass_edge_verdicts_total{verdict=\"no_token\"} 1",
        "hallpass_edge_verdicts_total{verdict=\"malformed\"} 1",
        "hallpass_edge_verdicts_total{verdict=\"cross_site\"} 1",
        "hallpass_edge_verdicts_total{verdict=\"revocations_stale\"} 0",
        "hallpass_edge_token_cache_hits_total 2",
        "hallpass_edge_feed_failures 0",
    ] {
        let metrics = metrics();
        assert!(metrics.lines().any(|other| other == line), "{line}\n{metrics}");
    }
    // Reading the metrics does not change the counts.
    assert!(metrics().contains("hallpass_edge_token_cache_hits_total 2\n"));
    assert!(!metrics().contains("hallpass_edge_feed_age_seconds -1"));
}

#[test]
fn an_edge_that_is_set_up_wrong_does_not_start() {
    let home = Home::new();
    let keys = ok(&["key", "export", "--use", "feed", "--dir", &home.path("keys")], b"");
    let keys = home.write("feed-keys.cbor", keys);
    let garbage = home.write("garbage", "no keys");
    let (keys, garbage) = (keys.to_str().unwrap(), garbage.to_str().unwrap());
    let loopback = ["--listen", "127.0.0.1:0"];
    let issuer = ["--issuer", "https://login.example"];
    let trust = ["--trust", keys];
    for (args, hint) in [
        (&[&loopback[..], &["--issuer", "http://login.example"], &trust].concat()[..], "https"),
        (&[&loopback[..], &["--issuer", "login.example"], &trust].concat(), "URL"),
        (&[&["--listen", "0.0.0.0:0"], &issuer[..], &trust].concat(), "--behind-tls-proxy"),
        (&[&loopback[..], &issuer, &["--trust", "/nowhere"]].concat(), "/nowhere"),
        (&[&loopback[..], &issuer, &["--trust", garbage]].concat(), "garbage"),
        (&[&loopback[..], &issuer, &trust, &["--trusted-proxy", "everybody"]].concat(), "everybody"),
        (&[&loopback[..], &issuer, &trust, &["--base-path", "x"]].concat(), "/.hallpass"),
        (&[&loopback[..], &issuer, &trust, &["--public-origin", "https://b.example"]].concat(), "--audience"),
        (
            &[&loopback[..], &issuer, &trust, &["--public-origin", "b.example", "--audience", "b"]].concat(),
            "https://app.example",
        ),
        (&[&loopback[..], &issuer, &trust, &["--report-as", "b"]].concat(), "HALLPASS_EDGE_TOKEN"),
    ] {
        misused(&[&["edge"], args].concat(), hint);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_for_a_domain_must_be_asked_for() {
    let home = Home::new();
    let config = home.write(
        "domain.toml",
        "cookie_domain = \"example.com\"\n[lifetimes]\nidle_timeout = \"8s\"\nrenew_after = \"2s\"\nrenewal_grace = \"1s\"\n",
    );
    let issuer = home.serve(&["--config", config.to_str().unwrap()]);
    let edge = edge(&home, &issuer, &["--cookie-domain", "example.com"]);
    let body = json!({ "username": "alice", "password": PASSWORD });
    let answer = client().post(issuer.at("/login")).json(&body).send().await.unwrap();
    let set = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(set.contains("; Domain=example.com") && set.contains("; Secure"), "{set}");
    let token = set.strip_prefix("__Secure-session=").unwrap().split(';').next().unwrap();
    let (of_domain, of_host) = (format!("__Secure-session={token}"), with_cookie(token));
    for (cookie, status) in [(&of_domain, 200), (&of_host, 401)] {
        assert_eq!(verify(&edge, "GET", "/", &[("Cookie", cookie)]).status, status, "{cookie}");
        let at_issuer = client().get(issuer.at("/session")).header("cookie", cookie);
        assert_eq!(at_issuer.send().await.unwrap().status(), status, "{cookie}");
    }
    // The renewed cookie is set for the domain again.
    until("the cookie is renewed", || {
        let answer = verify(&edge, "GET", "/", &[("Cookie", &of_domain)]);
        answer
            .header("set-cookie")
            .is_some_and(|set| set.starts_with("__Secure-session=") && set.contains("; Domain=example.com"))
    });
    let out = client().post(issuer.at("/logout")).header("cookie", &of_domain).send().await.unwrap();
    let cleared = out.headers()["set-cookie"].to_str().unwrap();
    assert!(
        cleared.starts_with("__Secure-session=;") && cleared.contains("; Domain=example.com"),
        "{cleared}"
    );
    let both = home.write(
        "both.toml",
        "cookie_domain = \"example.com\"\n[[hosts]]\norigin = \"https://b.example\"\naudience = \"b\"\n",
    );
    let (data, keys) = (home.path("data"), home.path("keys"));
    let args = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data",
        &data,
        "--keys",
        &keys,
        "--config",
        both.to_str().unwrap(),
    ];
    misused(&args, "choose one");
}

/// The issuer's lifetimes come with the feed: no second configuration.
#[tokio::test(flavor = "multi_thread")]
async fn an_edge_takes_staleness_and_renewal_from_the_feed() {
    let home = Home::new();
    let config = "[lifetimes]\ntoken_max_age = \"8s\"\nidle_timeout = \"1h\"\nrenew_after = \"1s\"\nrenewal_grace = \"0s\"\n";
    let config = home.write("short.toml", config);
    let issuer = home.serve(&["--config", config.to_str().unwrap()]);
    let by_feed = edge(&home, &issuer, &[]);
    let configured = edge(&home, &issuer, &["--stale-after", "1h"]);
    until("the contradiction is logged", || configured.log().contains("--stale-after is longer"));
    assert!(!by_feed.log().contains("--stale-after"), "{}", by_feed.log());

    // Half of the max age would be four seconds.
    let body = json!({ "username": "alice", "password": PASSWORD });
    let answer = client().post(issuer.at("/login")).json(&body).send().await.unwrap();
    let set = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    let cookie = set.split(';').next().unwrap();
    let mut renewed = None;
    until("the cookie is renewed", || {
        renewed = verify(&by_feed, "GET", "/", &[("Cookie", cookie)]).cookie("__Host-session");
        renewed.is_some()
    });
    let inside = hallpass::danger::inspect(renewed.unwrap()).unwrap().json;
    assert_eq!(inside["session"]["generation"], 1);

    // Cut off for longer than a token lives, the edge knows too little.
    issuer.signal("KILL");
    let ready = |edge: &Running| {
        let address = edge.address();
        exchange(&address, "GET", "/readyz", &[("Host", &address)], "").status
    };
    until("the list is stale", || ready(&by_feed) == 503);
    assert_eq!(ready(&configured), 200);
}
