//! The cases that every proxy must pass.

use std::time::{Duration, Instant};

use hallpass::{Clock, KeyDir, KeyUse, Lifetimes, Minter, NewSession, Subject, SystemClock, UnixTime};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message, client::IntoClientRequest};

use super::app::TARGETED;
use super::site::{Proxy, Site};
use crate::support::dpop::proof;
use crate::support::exchange::{Answer, exchange};
use crate::support::proof_client::Client;
use crate::support::{PASSWORD, ok};

/// The identity headers, spelled as on the page.
const IDENTITY: [&str; 7] = [
    "x-hallpass-subject",
    "x-hallpass-session",
    "x-hallpass-audience",
    "x-hallpass-auth-time",
    "x-hallpass-amr",
    "x-hallpass-claims",
    "x-hallpass-token",
];

pub(super) fn all(site: &Site, proxy: Proxy) {
    // This token is due for renewal soon after the other cases.
    let (mut token, since) = (site.log_in(), Instant::now());
    let resting = [site.log_in(), site.log_in()];
    without_a_session(site, proxy);
    with_a_session(site);
    expired_and_made_up(site);
    spoofed_identity(site);
    spoofed_request(site);
    spoofed_origin(site, proxy);
    unsafe_methods(site);
    websocket(site);
    odd_paths(site);
    the_services_own_headers(site, proxy);
    revoked(site, proxy);
    println!("{proxy:?}: all but the renewal took {:?}", since.elapsed());
    // On a busy machine the token may expire before or during the renewal case.
    while !renewed(site, &token) {
        token = site.log_in();
    }
    rested(site, proxy, &resting);
}

/// Returns whether this token has expired.
fn is_over(token: &str) -> bool {
    let expires = inside(token)["session"]["expires_at"].as_str().and_then(UnixTime::parse_rfc3339);
    SystemClock.now() >= expires.unwrap()
}

/// A request as the service received it.
struct Seen(Value);

impl Seen {
    fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{answer:?}");
        Self(answer.json())
    }

    fn headers(&self) -> Vec<(&str, &str)> {
        let headers = self.0["headers"].as_array().unwrap();
        headers.iter().map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap())).collect()
    }

    /// Returns the only value of an identity header.
    fn identity(&self, name: &str) -> &str {
        let all: Vec<_> = self.headers().into_iter().filter(|(other, _)| *other == name).collect();
        assert_eq!(all.len(), 1, "{name}: {:?}", self.headers());
        all[0].1
    }
}

fn inside(token: &str) -> Value {
    hallpass::danger::inspect(token).unwrap().json
}

fn without_a_session(site: &Site, proxy: Proxy) {
    let before = site.app.reached();
    let program = site.ask("GET", "/data", &[("Accept", "application/json")]);
    assert_eq!(program.status, 401, "{program:?}\n{}", site.log());
    assert_eq!(program.header("www-authenticate"), Some("Bearer"));

    // A browser is sent to the log-in page, which leads back.
    let page = [("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate")];
    let answer = site.ask("GET", "/page?a=b&c=%20", &page);
    let log_in = "/.hallpass/?return_to=%2Fpage%3Fa%3Db%26c%3D%2520";
    match proxy {
        Proxy::Nginx | Proxy::Caddy | Proxy::Haproxy => {
            assert_eq!((answer.status, answer.header("location")), (303, Some(log_in)), "{answer:?}");
        }
        Proxy::Traefik | Proxy::Envoy => {
            assert_eq!(answer.status, 401, "{answer:?}");
            let refresh = format!("content=\"0; url={log_in}\"").replace('&', "&#38;");
            assert!(answer.body.contains(&refresh), "{answer:?}");
            assert!(answer.header("content-type").unwrap().starts_with("text/html"));
        }
    }
    let form = site.ask("GET", log_in, &page);
    assert_eq!(form.status, 200, "{form:?}");
    assert!(form.body.contains("value=\"/page?a=b&#38;c=%20\""), "{form:?}");

    // A path that starts with `//` does not lead to another host.
    let answer = site.ask("GET", "//evil.example/", &page);
    assert!(!format!("{answer:?}").contains("return_to=%2F%2F"), "{answer:?}");
    assert_eq!(site.app.reached(), before, "the service was reached without a session");
}

fn with_a_session(site: &Site) {
    let token = site.log_in();
    let answer = site.ask_as(&token, "GET", "/hello?x=1&y=%2F", &[]);
    assert_eq!(answer.cookie("__Host-session"), None);
    let seen = Seen::of(&answer);
    assert_eq!(seen.0["target"], "/hello?x=1&y=%2F");
    let inside = inside(&token);
    assert_eq!(seen.identity("x-hallpass-subject"), "alice");
    assert_eq!(seen.identity("x-hallpass-session"), inside["session"]["session_id"].as_str().unwrap());
    assert_eq!(seen.identity("x-hallpass-audience"), "shop");
    assert_eq!(seen.identity("x-hallpass-auth-time"), inside["session"]["auth_time"].as_str().unwrap());
    let claims: Value = serde_json::from_str(seen.identity("x-hallpass-claims")).unwrap();
    assert_eq!(claims, json!({ "roles": ["admin"] }));

    // The service can verify the token again with only the public key.
    let shown = seen.identity("x-hallpass-token");
    assert_eq!(shown, token);
    let keys = ok(&["key", "export", "--dir", &site.home.path("keys")], b"");
    let keys = site.home.write("public.cbor", keys);
    let verdict =
        ok(&["token", "verify", shown, "--keys", keys.to_str().unwrap(), "--audience", "shop"], b"");
    let verdict: Value = serde_json::from_slice(&verdict).unwrap();
    assert_eq!(verdict["session"]["subject"], "alice");

    // An API client.
    let bearer = format!("Bearer {token}");
    let answer = site.ask("GET", "/api", &[("Authorization", &bearer)]);
    assert_eq!(Seen::of(&answer).identity("x-hallpass-subject"), "alice");
    // A client that sends the session cookie twice.
    let both = [("Cookie", format!("__Host-session={token}; __Host-session={token}"))];
    let both: Vec<_> = both.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(site.ask("GET", "/api", &both).status, 401);
}

fn expired_and_made_up(site: &Site) {
    let before = site.app.reached();
    let keys = KeyDir::open(site.home.path("keys")).unwrap();
    let now = SystemClock.now();
    let key = &keys.signing_key(KeyUse::Session, now).unwrap().key;
    let subject = Subject::new("alice").unwrap();
    let make = |audience: &str, started: UnixTime| {
        let new = NewSession {
            subject: &subject,
            claims: &(),
            started,
            auth_time: started,
            ends: None,
            amr: &[],
            bound_to: None,
        };
        let minter = Minter::new(Lifetimes::default()).audience(Some(audience.into()));
        minter.start(key, &new, started).unwrap().as_str().to_owned()
    };
    let an_hour_ago = now.saturating_sub(Duration::from_secs(3600));
    for token in [
        make("shop", an_hour_ago),
        make("shop", now.saturating_add(Duration::from_secs(3600))),
        make("another", now),
        "nonsense".to_owned(),
        String::new(),
    ] {
        let answer = site.ask_as(&token, "GET", "/", &[]);
        assert_eq!(answer.status, 401, "{token} {answer:?}");
        let bearer = format!("Bearer {token}");
        assert_eq!(site.ask("GET", "/", &[("Authorization", &bearer)]).status, 401, "{token}");
    }
    assert_eq!(site.app.reached(), before);
    let good = make("shop", now);
    assert_eq!(Seen::of(&site.ask_as(&good, "GET", "/", &[])).identity("x-hallpass-subject"), "alice");
    // A client's own claims header does not reach the service.
    let seen = Seen::of(&site.ask_as(&good, "GET", "/", &[("X-Hallpass-Claims", "{\"roles\":[\"root\"]}")]));
    assert!(!seen.0.to_string().contains("root"), "{:?}", seen.0);
}

/// Returns the spellings of an identity header that some servers treat as equal.
fn spellings(name: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for part in name.split('-') {
        all = all
            .iter()
            .flat_map(|start| match start.as_str() {
                "" => vec![part.to_owned()],
                _ => vec![format!("{start}-{part}"), format!("{start}_{part}")],
            })
            .collect();
    }
    let loud: Vec<_> = all.iter().map(|spelling| spelling.to_ascii_uppercase()).collect();
    all.into_iter().chain(loud).collect()
}

fn spoofed_identity(site: &Site) {
    let token = site.log_in();
    let before = site.app.reached();
    let all: Vec<String> = IDENTITY.iter().flat_map(|name| spellings(name)).collect();
    let spoofed: Vec<_> = all.iter().map(|name| (name.as_str(), "mallory")).collect();
    // All at once, then each alone. A proxy may answer 400 to such a request.
    let each = spoofed.iter().map(std::slice::from_ref);
    for headers in std::iter::once(&*spoofed).chain(each) {
        assert!(site.ask("GET", "/", headers).status >= 400);
        let answer = site.ask_as(&token, "GET", "/", headers);
        if answer.status == 400 {
            continue;
        }
        let seen = Seen::of(&answer);
        assert!(!seen.0.to_string().contains("mallory"), "{headers:?}: {:?}", seen.headers());
        assert_eq!(seen.identity("x-hallpass-subject"), "alice");
        for name in IDENTITY {
            seen.identity(name);
        }
    }
    // The same header twice, in two spellings.
    let twice = [("X-Hallpass-Subject", "mallory"), ("x-hallpass-subject", "mallory")];
    assert!(!Seen::of(&site.ask_as(&token, "GET", "/", &twice)).0.to_string().contains("mallory"));
    let reached = site.app.reached() - before;
    assert!(reached <= spoofed.len() + 2, "one without a session was let through");
}

/// Headers that describe the request have no effect if the client sends them.
fn spoofed_request(site: &Site) {
    let token = site.log_in();
    let before = site.app.reached();
    let cross_site = ("Sec-Fetch-Site", "cross-site");
    let lies = [
        ("X-Original-Method", "GET"),
        ("X-Forwarded-Method", "GET"),
        ("X_Original_Method", "GET"),
        ("X-HTTP-Method-Override", "GET"),
        ("X-Original-URI", "/.hallpass/"),
        ("X-Forwarded-Uri", "/.hallpass/"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Proto", "https"),
        ("X-Hallpass-Login", "/"),
        ("X-Envoy-Original-Path", "/.hallpass/"),
        ("X-Envoy-Internal", "true"),
        ("Forwarded", "for=127.0.0.1;host=evil.example"),
    ];
    for lie in lies {
        let answer = site.ask_as(&token, "POST", "/pay", &[cross_site, lie]);
        assert_eq!(answer.status, 403, "{lie:?} {answer:?}");
        let answer = site.ask("GET", "/pay", &[lie]);
        assert!([401, 403].contains(&answer.status), "{lie:?} {answer:?}");
    }
    // The foreign page's host, given as the requested host.
    let evil = ("Origin", "https://evil.example");
    for lie in ["X-Forwarded-Host", "X-Original-Host", "X-Host"] {
        let answer = site.ask_as(&token, "POST", "/pay", &[evil, (lie, "evil.example")]);
        assert_eq!(answer.status, 403, "{lie} {answer:?}");
    }
    assert_eq!(site.app.reached(), before, "{}", site.log());
    // They do not break an honest request either.
    let origin = format!("http://{}", site.host);
    for lie in lies {
        let answer = site.ask_as(&token, "POST", "/pay", &[("Origin", &origin), lie]);
        assert_eq!(answer.status, 200, "{lie:?} {answer:?}");
    }
    let honest = [("Origin", origin.as_str()), ("X-Forwarded-Host", "evil.example")];
    let seen = Seen::of(&site.ask_as(&token, "POST", "/pay", &honest));
    assert!(!seen.0.to_string().contains("evil.example"), "{:?}", seen.headers());
    // A browser is sent back to its own path, whatever headers it sends.
    let lies = [
        ("Accept", "text/html"),
        ("X-Forwarded-Uri", "//evil.example/"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Hallpass-Login", "https://evil.example/"),
    ];
    let answer = site.ask("GET", "/page", &lies);
    assert!(!format!("{answer:?}").contains("evil.example"), "{answer:?}");
}

/// For the issuer's routes too, the proxy describes the request, not the client:
/// a proof for the proxy's origin is valid, whatever headers the client adds.
fn spoofed_origin(site: &Site, proxy: Proxy) {
    let key = Client::p256(3);
    let target = "/.hallpass/login";
    let url = format!("http://{}{target}", site.host);
    let body = json!({ "username": "alice", "password": PASSWORD }).to_string();
    let log_in = |proof: &str| {
        let headers = [
            ("Host", site.host.as_str()),
            ("Content-Type", "application/json"),
            ("X-Forwarded-Host", "evil.example"),
            ("X-Forwarded-Proto", "https"),
            ("DPoP", proof),
        ];
        exchange(&site.address, "POST", target, &headers, &body)
    };
    let asked = log_in(&proof(&key, "POST", &url, None, None));
    let nonce = asked.header("dpop-nonce").unwrap_or_else(|| panic!("{proxy:?}: {asked:?}"));
    let answer = log_in(&proof(&key, "POST", &url, Some(nonce), None));
    assert_eq!(answer.status, 200, "{proxy:?}: {answer:?}\n{}", site.log());
}

fn unsafe_methods(site: &Site) {
    let token = site.log_in();
    let origin = format!("http://{}", site.host);
    for headers in [
        &[("Sec-Fetch-Site", "same-origin"), ("Origin", origin.as_str())][..],
        &[("Sec-Fetch-Site", "none")],
        &[("Origin", origin.as_str())],
        &[],
    ] {
        let seen = Seen::of(&site.ask_as(&token, "POST", "/pay", headers));
        assert_eq!((&seen.0["method"], &seen.0["body"]), (&json!("POST"), &json!("a=b")));
        assert_eq!(seen.identity("x-hallpass-subject"), "alice");
    }
    let before = site.app.reached();
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        for headers in [
            &[("Sec-Fetch-Site", "cross-site")][..],
            &[("Sec-Fetch-Site", "same-site"), ("Origin", origin.as_str())],
            &[("Origin", "https://evil.example")],
            &[("Origin", "null")],
            &[("Origin", "http://localhost:1")],
        ] {
            let answer = site.ask_as(&token, method, "/pay", headers);
            assert_eq!(answer.status, 403, "{method} {headers:?} {answer:?}");
        }
    }
    assert_eq!(site.app.reached(), before);
    // A link from another site is not a forgery, and a bearer token is not a
    // cookie.
    let link = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")];
    assert_eq!(site.ask_as(&token, "GET", "/", &link).status, 200);
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str()), ("Origin", "https://evil.example")];
    assert_eq!(site.ask("POST", "/pay", &headers).status, 200);
}

fn websocket(site: &Site) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connect = |token: Option<&str>, origin: Option<&str>| {
        let mut request = format!("ws://{}/ws", site.host).into_client_request().unwrap();
        if let Some(token) = token {
            request.headers_mut().insert("cookie", format!("__Host-session={token}").parse().unwrap());
        }
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", origin.parse().unwrap());
        }
        let address = site.address.clone();
        runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await?;
            use futures_util::{SinkExt, StreamExt};
            socket.send(Message::text("hi")).await?;
            Ok::<_, tungstenite::Error>(socket.next().await.unwrap()?.into_text()?.to_string())
        })
    };
    let token = site.log_in();
    let origin = format!("http://{}", site.host);
    assert_eq!(connect(Some(&token), Some(&origin)).unwrap(), "alice: hi");
    assert_eq!(connect(Some(&token), None).unwrap(), "alice: hi");
    let refused = |token, origin, status| match connect(token, origin) {
        Err(tungstenite::Error::Http(answer)) => assert_eq!(answer.status(), status),
        other => panic!("{other:?}"),
    };
    refused(None, Some(&origin), 401);
    refused(Some("nonsense"), Some(&origin), 401);
    // A page of another site can't open one with its visitor's cookie.
    refused(Some(&token), Some("https://evil.example"), 403);
    // Over HTTP/2 a WebSocket has no key (RFC 8441 §5).
    let keyless = [("Origin", "https://evil.example"), ("Sec-WebSocket-Version", "13")];
    assert_eq!(site.ask_as(&token, "GET", "/ws", &keyless).status, 403);
}

fn odd_paths(site: &Site) {
    let token = site.log_in();
    for path in [
        "//",
        "//x",
        "///evil.example/%2e%2e",
        "/..;/",
        "/.hallpass/..;/x",
        "/%2e%2e/x",
        "/a/../b",
        "/.hallpass/../x",
        "/.hallpass/%2e%2e/x",
        "/.hallpass/%2E%2E%2Fx",
        "/.hallpass//../x",
        "/.hallpass%2f..%2fx",
        "//.hallpass/../x",
        "/%2ehallpass/x",
        "/.HALLPASS/x",
        "/.hallpass",
        "-optional/",
        "/caf\u{e9}",
        "/optional",
        "/verify",
        "/_hallpass_verify",
        "/x%00y",
        "/x%0d%0aX-Hallpass-Subject:%20mallory",
        "/x\\..\\y",
        "/x?/.hallpass/",
        "/x#/.hallpass/",
        "/x;/.hallpass/",
    ] {
        let before = site.app.reached();
        let answer = site.ask("GET", path, &[("Accept", "text/html")]);
        assert_eq!(site.app.reached(), before, "{path} {answer:?}");
        assert!((300..500).contains(&answer.status), "{path} {answer:?}");
        if let Some(to) = answer.header("location") {
            let own = to.strip_prefix(&format!("http://{}", site.host)).unwrap_or(to);
            assert!(own.starts_with('/') && !own.starts_with("//"), "{path} leads to {to}");
            assert!(!own.contains("return_to=%2F%2F"), "{path} leads to {to}");
        }
        let answer = site.ask_as(&token, "GET", path, &[]);
        if site.app.reached() > before {
            let seen = Seen::of(&answer);
            assert_eq!(seen.identity("x-hallpass-subject"), "alice", "{path}");
        } else {
            assert!((300..500).contains(&answer.status), "{path} {answer:?}");
        }
    }
}

fn the_services_own_headers(site: &Site, proxy: Proxy) {
    let token = site.log_in();
    let answer = site.ask_as(&token, "GET", "/sets-cookie", &[]);
    assert_eq!(answer.all("set-cookie"), ["basket=7; Path=/"]);
    let answer = site.ask_as(&token, "GET", "/cacheable", &[]);
    assert_eq!(answer.status, 200);
    assert!(answer.all("vary").iter().any(|vary| vary.eq_ignore_ascii_case("cookie")), "{answer:?}");
    // Traefik treats all responses alike, as the page says.
    let kept = if proxy == Proxy::Traefik { "no-store" } else { "public, max-age=3600" };
    assert_eq!(answer.header("cache-control"), Some(kept));
    for name in TARGETED {
        let kept = (proxy != Proxy::Traefik).then_some("public, max-age=3600");
        assert_eq!(answer.header(name), kept, "{name}");
    }
    assert!(answer.all("set-cookie").is_empty());
}

fn revoked(site: &Site, proxy: Proxy) {
    let (token, bystander) = (site.log_in(), site.log_in());
    assert_eq!(site.ask_as(&token, "GET", "/", &[]).status, 200);
    let answer = site.ask_as(&token, "POST", "/.hallpass/logout", &[("Sec-Fetch-Site", "same-origin")]);
    assert_eq!(answer.status, 204, "{answer:?}");
    let since = Instant::now();
    assert_eq!(answer.cookie("__Host-session").as_deref(), Some(""));
    site.until("the revocation arrives", || {
        let status = site.ask_as(&token, "GET", "/", &[]).status;
        assert!([200, 401].contains(&status), "{status}");
        status == 401
    });
    println!("{proxy:?}: refused {:?} after the log-out", since.elapsed());
    assert_eq!(site.ask_as(&token, "GET", "/", &[]).status, 401);
    assert_eq!(site.ask_as(&bystander, "GET", "/", &[]).status, 200);
}

/// Returns false if the token expired before this was done.
fn renewed(site: &Site, old: &str) -> bool {
    let before = renewals(site);
    let mut answer = None;
    site.until("the token is renewed", || {
        let next = site.ask_as(old, "GET", "/cacheable", &[]);
        if next.status == 401 && is_over(old) {
            return true;
        }
        assert_eq!(next.status, 200, "{next:?}");
        if next.cookie("__Host-session").is_some() {
            answer = Some(next);
        } else {
            assert!(next.all("set-cookie").is_empty(), "{next:?}");
        }
        answer.is_some()
    });
    let Some(answer) = answer else { return false };
    // No cache may store it, whatever headers the service sends.
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
    for name in TARGETED {
        assert!(answer.all(name).iter().all(|line| *line == "no-store"), "{name} {answer:?}");
    }
    assert!(answer.all("vary").iter().any(|vary| vary.eq_ignore_ascii_case("cookie")), "{answer:?}");
    let set = answer.header("set-cookie").unwrap();
    for attribute in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/", "Max-Age="] {
        assert!(set.contains(attribute), "{set}");
    }
    assert!(!set.contains("Domain"), "{set}");
    let new = answer.cookie("__Host-session").unwrap();
    assert_ne!(new, old);
    assert_eq!(inside(&new)["session"]["generation"], 1);

    // All tabs get the same new token, whatever they load.
    let answers: Vec<_> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..16)
            .map(|n| {
                scope.spawn(move || match n % 3 {
                    0 => site.ask_as(old, "GET", "/", &[]),
                    1 => site.ask_as(old, "POST", "/pay", &[("Sec-Fetch-Site", "same-origin")]),
                    _ => site.ask_as(old, "GET", "/sets-cookie", &[]),
                })
            })
            .collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    // A bearer token is renewed by its holder, not by the edge.
    let bearer = format!("Bearer {old}");
    let by_bearer = site.ask("GET", "/", &[("Authorization", &bearer)]);
    let after = site.ask_as(&new, "GET", "/", &[]);
    if is_over(old) {
        return false;
    }
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.cookie("__Host-session").as_deref(), Some(&*new), "{answer:?}");
        if n % 3 == 2 {
            assert_eq!(answer.cookie("basket").as_deref(), Some("7"), "{answer:?}");
        } else {
            // The service gets the new token.
            assert_eq!(Seen::of(answer).identity("x-hallpass-token"), new);
        }
    }
    assert!(by_bearer.all("set-cookie").is_empty(), "{by_bearer:?}");
    assert_eq!(Seen::of(&by_bearer).identity("x-hallpass-token"), old);
    assert_eq!(after.cookie("__Host-session"), None);
    assert_eq!(Seen::of(&after).identity("x-hallpass-token"), new);
    // The issuer was asked once, whatever the number of requests.
    assert_eq!(renewals(site), before + 1);
    true
}

/// Expired tokens whose sessions may go on. Stops the issuer.
fn rested(site: &Site, proxy: Proxy, tokens: &[String; 2]) {
    // No clock is wrong here, but the leeway applies.
    let over = |token: &String| {
        let expires = inside(token)["session"]["expires_at"].as_str().and_then(UnixTime::parse_rfc3339);
        SystemClock.now() >= expires.unwrap().saturating_add(Duration::from_secs(5))
    };
    site.until("the tokens have expired", || tokens.iter().all(over));
    let answer = site.ask_as(&tokens[0], "POST", "/pay", &[("Sec-Fetch-Site", "same-origin")]);
    let new = answer.cookie("__Host-session").unwrap();
    assert_eq!(Seen::of(&answer).identity("x-hallpass-token"), new);
    assert_eq!(inside(&new)["session"]["generation"], 1);
    let max_age = answer.header("set-cookie").unwrap().split("Max-Age=").nth(1).unwrap();
    let max_age: u64 = max_age.split(';').next().unwrap().parse().unwrap();
    assert!((1_800..=3_600).contains(&max_age), "{max_age} s, of an hour");

    // Without the issuer nobody is sent to log in again.
    site.issuer.signal("KILL");
    let page = [("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate")];
    for headers in [&page[..], &[("Accept", "application/json")]] {
        let answer = site.ask_as(&tokens[1], "GET", "/", headers);
        assert_eq!((answer.status, answer.header("location")), (503, None), "{answer:?}");
        assert!(answer.cookie("__Host-session").is_none(), "{answer:?}");
        // Envoy has an answer of its own for every 5xx.
        assert_eq!(answer.header("retry-after").is_some(), proxy != Proxy::Envoy, "{answer:?}");
    }
    // A token that is still good is served on.
    assert_eq!(site.ask_as(&new, "GET", "/", &[]).status, 200);
}

/// How many tokens the edge has had renewed.
fn renewals(site: &Site) -> u64 {
    let edge = site.edge.address();
    let metrics = exchange(&edge, "GET", "/metrics", &[("Host", &edge)], "").body;
    let start = "hallpass_edge_renewals_total{outcome=\"renewed\"} ";
    let count = metrics.lines().find_map(|line| line.strip_prefix(start));
    count.map_or(0, |count| count.parse().unwrap())
}
