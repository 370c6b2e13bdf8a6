//! The limits of log-in over HTTP, with small numbers.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use hallpass::http::SESSION_COOKIE;
use hallpass::revocation::{Feed, FeedKeys, RevocationList};
use hallpass::{Clock, LiveKeys, SystemClock};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::support::{Home, PASSWORD, Running, bearer, client, ok};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Waits that outlast every test.
const SLOW: &str = "[limits]\nfailures_before_wait = 3\nfirst_wait = \"60s\"\n";

fn serve(home: &Home, config: &str) -> Running {
    let config = home.write("limits.toml", config);
    home.serve_with(&["--config", config.to_str().unwrap()], &[("HALLPASS_SERVICE_TOKEN", SECRET)])
}

/// A client at another address of this machine.
fn from(last: u8) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    client.local_address(address).tls_certs_only([]).build().unwrap()
}

async fn log_in(client: &reqwest::Client, serve: &Running, name: &str, password: &str) -> Response {
    let body = json!({ "username": name, "password": password, "transport": "bearer" });
    client.post(serve.at("/login")).json(&body).send().await.unwrap()
}

async fn status(client: &reqwest::Client, serve: &Running, name: &str, password: &str) -> u16 {
    log_in(client, serve, name, password).await.status().as_u16()
}

fn retry_after(answer: &Response) -> u64 {
    answer.headers()["retry-after"].to_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_not_looked_at_before_the_wait_is_over() {
    let home = Home::new();
    home.add_user("bob", &[]);
    let mut running = serve(&home, SLOW);
    // The same answers for a name that nobody has, to the byte.
    let mut answers = Vec::new();
    for name in ["alice", "nobody"] {
        let mut said = Vec::new();
        for _ in 0..3 {
            let answer = log_in(&client(), &running, name, "wrong").await;
            said.push((answer.status(), answer.text().await.unwrap()));
        }
        let answer = log_in(&client(), &running, name, PASSWORD).await;
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS, "right, and too soon");
        let wait = retry_after(&answer);
        assert!((1..=60).contains(&wait), "{wait}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        said.push((answer.status(), answer.text().await.unwrap()));
        answers.push(said);
    }
    assert_eq!(answers[0], answers[1]);
    assert!(answers[0][..3].iter().all(|(status, _)| *status == StatusCode::UNAUTHORIZED));
    let log = running.log();
    assert_eq!(log.matches("password refused").count(), 6);
    assert_eq!(log.matches("excess_rate_limit_exceeded").count(), 2);
    assert_eq!(log.matches("password accepted").count(), 0);
    assert_eq!(status(&client(), &running, "bob", PASSWORD).await, 200);

    // The page shows the wait, and no more than the API returns.
    let page = client()
        .post(running.at("/login"))
        .header("accept", "text/html")
        .form(&[("username", "alice"), ("password", PASSWORD)])
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!((1..=60).contains(&retry_after(&page)));
    let page = page.text().await.unwrap();
    assert!(page.contains("Too many attempts to log in. Try again in "), "{page}");
    assert!(page.contains("In a browser in which you logged in before"), "{page}");

    // The limits survive a restart and apply in other processes.
    let beside = serve(&home, SLOW);
    assert_eq!(status(&client(), &beside, "alice", PASSWORD).await, 429);
    running.signal("TERM");
    running.wait();
    let running = serve(&home, SLOW);
    assert_eq!(status(&client(), &running, "alice", PASSWORD).await, 429);

    let data = home.path("data");
    ok(&["user", "unlock", "alice", "--data", &data], b"");
    assert_eq!(status(&client(), &running, "alice", PASSWORD).await, 200);
    for _ in 0..3 {
        assert_eq!(status(&client(), &running, "alice", "wrong").await, 401);
    }
    assert_eq!(status(&client(), &running, "alice", PASSWORD).await, 429);
    ok(&["user", "passwd", "alice", "--data", &data], b"another good one\n");
    assert_eq!(status(&client(), &running, "alice", "another good one").await, 200);
    crate::support::misused(&["user", "unlock", "carol", "--data", &data], "no user 'carol'");
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_at_once_get_no_more_tries() {
    let home = Home::new();
    let serve = Arc::new(serve(&home, SLOW));
    let barrier = Arc::new(Barrier::new(30));
    let guesses: Vec<_> = (0..30)
        .map(|_| {
            let (serve, barrier) = (Arc::clone(&serve), Arc::clone(&barrier));
            tokio::spawn(async move {
                barrier.wait().await;
                status(&client(), &serve, "alice", "wrong").await
            })
        })
        .collect();
    let mut said = Vec::new();
    for guess in guesses {
        said.push(guess.await.unwrap());
    }
    said.sort_unstable();
    assert_eq!(said.iter().filter(|code| **code == 401).count(), 3, "{said:?}");
    // Too soon, or too many at once from one address.
    assert!(said[3..].iter().all(|code| [429, 503].contains(code)), "{said:?}");
    // The log may lag.
    for _ in 0..100 {
        if serve.log().matches("password refused").count() >= 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(serve.log().matches("password refused").count(), 3);
}

/// A log-in as a browser does it; the answer's cookies.
async fn browser(serve: &Running, name: &str, password: &str, cookies: &str) -> (u16, Vec<String>) {
    let answer = client()
        .post(serve.at("/login"))
        .header("cookie", cookies)
        .json(&json!({ "username": name, "password": password }))
        .send()
        .await
        .unwrap();
    let set = answer.headers().get_all("set-cookie").iter();
    (answer.status().as_u16(), set.map(|cookie| cookie.to_str().unwrap().to_owned()).collect())
}

fn pair(cookies: &[String], name: &str) -> String {
    let cookie = cookies.iter().find(|cookie| cookie.starts_with(&format!("{name}="))).unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_do_not_lock_a_known_device_out() {
    let home = Home::new();
    home.add_user("bob", &[]);
    let serve = serve(&home, SLOW);
    let (status_code, set) = browser(&serve, "alice", PASSWORD, "").await;
    assert_eq!((status_code, set.len()), (200, 2));
    assert!(set[0].starts_with(SESSION_COOKIE), "the session first");
    for word in ["Secure", "HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=15552000"] {
        assert!(set[1].contains(word), "{}", set[1]);
    }
    assert!(!set[1].contains("Domain"));
    let device = pair(&set, "__Host-device");
    let bobs = pair(&browser(&serve, "bob", PASSWORD, "").await.1, "__Host-device");

    for _ in 0..3 {
        assert_eq!(status(&from(2), &serve, "alice", "wrong").await, 401);
    }
    assert_eq!(browser(&serve, "alice", PASSWORD, "").await.0, 429);
    assert_eq!(browser(&serve, "alice", PASSWORD, &bobs).await.0, 429, "somebody else's device");
    let last = device.chars().last().unwrap();
    let forged = format!("{}{}", &device[..device.len() - 1], if last == 'A' { 'B' } else { 'A' });
    assert_eq!(browser(&serve, "alice", PASSWORD, &forged).await.0, 429);
    let twice = format!("{device}; {device}");
    assert_eq!(browser(&serve, "alice", PASSWORD, &twice).await.0, 429, "one of two was planted");
    // The owner's browser: log-in, as always; and wrong passwords count for it alone.
    let (code, again) = browser(&serve, "alice", PASSWORD, &device).await;
    assert_eq!(code, 200);
    let renewed = pair(&again, "__Host-device");
    for _ in 0..3 {
        assert_eq!(browser(&serve, "alice", "wrong", &renewed).await.0, 401);
    }
    assert_eq!(browser(&serve, "alice", PASSWORD, &device).await.0, 429, "the same device");

    // The device cookie is not a session, and a session is not a device cookie.
    let value = device.split_once('=').unwrap().1;
    let session = pair(&set, SESSION_COOKIE);
    for cookies in [format!("{SESSION_COOKIE}={value}"), device.clone()] {
        let answer = client().get(serve.at("/session")).header("cookie", cookies).send().await.unwrap();
        assert_eq!(answer.status(), 401);
    }
    assert_eq!(client().get(serve.at("/session")).bearer_auth(value).send().await.unwrap().status(), 401);
    let token = session.split_once('=').unwrap().1;
    let posing = format!("__Host-device={token}");
    assert_eq!(browser(&serve, "alice", PASSWORD, &posing).await.0, 429);
    // The log does not contain the cookie.
    assert!(!serve.log().contains(value));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_the_session_has_few_guesses_at_the_password() {
    let home = Home::new();
    let serve = serve(&home, SLOW);
    let (stolen, owners) = (bearer(&serve.url).await, bearer(&serve.url).await);
    let step_up = async |token: &str, password: &str| {
        let body = json!({ "password": password });
        let request = client().post(serve.at("/reauthenticate")).bearer_auth(token).json(&body);
        request.send().await.unwrap().status().as_u16()
    };
    let revoke_others = async |token: &str, password: &str| {
        let body = json!({ "password": password });
        let request = client().post(serve.at("/sessions/revoke-others")).bearer_auth(token).json(&body);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(step_up(&stolen, "wrong").await, 401);
    assert_eq!(revoke_others(&stolen, "wrong").await, 401);
    assert_eq!(step_up(&stolen, "wrong").await, 401);
    assert_eq!(step_up(&stolen, PASSWORD).await, 429);
    assert_eq!(revoke_others(&stolen, PASSWORD).await, 429);
    // Neither another session nor a log-in is held up by that.
    assert_eq!(step_up(&owners, PASSWORD).await, 200);
    assert_eq!(status(&client(), &serve, "alice", PASSWORD).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_its_own_rate_and_proxies_are_believed_if_trusted() {
    let home = Home::new();
    let limits = "[limits]\nattempts_per_address = { burst = 4, per_minute = 1 }\n";
    let plain = serve(&home, limits);
    let forwarded = async |serve: &Running, last: u8, header: &str| {
        let body = json!({ "username": "alice", "password": PASSWORD, "transport": "bearer" });
        let request = from(last).post(serve.at("/login")).header("x-forwarded-for", header).json(&body);
        request.send().await.unwrap().status().as_u16()
    };
    // A spray over accounts from one address, and X-Forwarded-For from nobody trusted.
    for n in 0..4 {
        assert_eq!(status(&from(2), &plain, &format!("name {n}"), "wrong").await, 401);
    }
    let answer = log_in(&from(2), &plain, "alice", PASSWORD).await;
    assert_eq!(answer.status(), 429);
    assert!((1..=60).contains(&retry_after(&answer)));
    for header in ["198.51.100.1", "127.0.0.3", "::1"] {
        assert_eq!(forwarded(&plain, 2, header).await, 429, "{header}");
    }
    assert_eq!(status(&from(3), &plain, "alice", PASSWORD).await, 200);
    drop(plain);

    let proxied = serve(&home, &format!("trusted_proxies = [\"127.0.0.8/31\"]\n{limits}"));
    for n in 0..4 {
        // The client's own values are on the left.
        assert_eq!(forwarded(&proxied, 9, &format!("192.0.2.{n}, 198.51.100.1")).await, 200);
    }
    for header in
        ["198.51.100.1", "192.0.2.77, 198.51.100.1", "198.51.100.1, 127.0.0.8", "::ffff:198.51.100.1"]
    {
        assert_eq!(forwarded(&proxied, 9, header).await, 429, "{header}");
    }
    assert_eq!(forwarded(&proxied, 9, "198.51.100.2").await, 200, "another client of the proxy");
    for n in 1..=4 {
        assert_eq!(forwarded(&proxied, 9, &format!("2001:db8:1:1::{n}")).await, 200);
    }
    assert_eq!(forwarded(&proxied, 9, "2001:db8:1:1:ffff::5").await, 429, "the same /64");
    assert_eq!(forwarded(&proxied, 9, "2001:db8:1:2::5").await, 200);
    // Not through the proxy: its forwarded header is ignored.
    assert_eq!(forwarded(&proxied, 2, "198.51.100.1").await, 200);
}

async fn start(serve: &Running, body: Value) -> Response {
    client().post(serve.at("/sessions")).bearer_auth(SECRET).json(&body).send().await.unwrap()
}

async fn lives(serve: &Running, token: &str) -> bool {
    client().get(serve.at("/session")).bearer_auth(token).send().await.unwrap().status() == 200
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_start_at_a_rate_per_account_and_per_address() {
    let home = Home::new();
    let serve = serve(
        &home,
        "[limits]\nnew_sessions_per_account = { burst = 3, per_minute = 1 }\n\
         new_sessions_per_address = { burst = 5, per_minute = 1 }\n",
    );
    let code = async |subject: &str, address: Option<&str>| {
        let answer = start(&serve, json!({ "subject": subject, "address": address })).await;
        let code = answer.status().as_u16();
        assert_eq!(answer.headers().contains_key("retry-after"), code == 429);
        code
    };
    for _ in 0..3 {
        assert_eq!(code("carol", Some("198.51.100.1")).await, 200);
    }
    assert_eq!(code("carol", Some("198.51.100.1")).await, 429, "a fourth of the account");
    assert_eq!(code("dora", Some("198.51.100.1")).await, 200, "the fifth of the address");
    assert_eq!(code("emil", Some("198.51.100.1")).await, 429);
    assert_eq!(code("emil", Some("198.51.100.2")).await, 200);
    // A service that doesn't say where its users are is not held for one of them.
    for n in 0..8 {
        assert_eq!(code(&format!("user {n}"), None).await, 200);
    }
    assert!(serve.log().contains("excess_sessions_exceeded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_session_ends_when_there_are_too_many() {
    let home = Home::new();
    let serve = serve(&home, "[limits]\nsessions_per_account = 3\n");
    let feed_keys =
        FeedKeys::from_bytes(&ok(&["key", "export", "--use", "feed", "--dir", &home.path("keys")], b""))
            .unwrap();
    let mut tokens = Vec::new();
    for n in 0..5 {
        tokens.push(bearer(&serve.url).await);
        // Sessions of one second have no order.
        if n < 2 {
            tokio::time::sleep(Duration::from_millis(1100)).await;
        }
    }
    let mut alive = Vec::new();
    for token in &tokens {
        alive.push(lives(&serve, token).await);
    }
    assert_eq!(alive, [false, false, true, true, true]);
    // Edges learn of it.
    let (list, keys) = (RevocationList::new(), LiveKeys::awaiting());
    let body = client().get(serve.at("/revocations")).send().await.unwrap().bytes().await.unwrap();
    let now = SystemClock.now();
    Feed::from_bytes(&feed_keys, &body, now).unwrap().apply(&list, &keys, now).unwrap();
    let verifier = hallpass::Verifier::builder(keys).revocations(list).build().unwrap();
    let refused = verifier.verify::<()>(&tokens[0], now).unwrap_err();
    assert_eq!(refused.reason().as_str(), "revoked");
    verifier.verify::<()>(&tokens[4], now).unwrap();
    assert!(serve.log().contains("excess_sessions_exceeded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_session_starts_when_there_are_too_many_and_none_may_end() {
    let home = Home::new();
    let serve = serve(
        &home,
        "[limits]\nsessions_per_account = 2\nwhen_account_is_full = \"refuse\"\nsessions_per_address = 3\n",
    );
    let first = bearer(&serve.url).await;
    bearer(&serve.url).await;
    let answer = log_in(&client(), &serve, "alice", PASSWORD).await;
    assert_eq!((answer.status().as_u16(), retry_after(&answer)), (429, 60));
    assert!(answer.text().await.unwrap().contains("too many sessions"));
    // A step-up takes the place of its session, so it is none too many.
    let body = json!({ "password": PASSWORD });
    let answer = client().post(serve.at("/reauthenticate")).bearer_auth(&first).json(&body).send();
    assert_eq!(answer.await.unwrap().status(), 200);
    for (subject, code) in [("carol", 200), ("dora", 429)] {
        let body = json!({ "subject": subject, "address": "127.0.0.1" });
        assert_eq!(start(&serve, body).await.status().as_u16(), code, "{subject}");
    }
    assert_eq!(client().post(serve.at("/logout")).bearer_auth(&first).send().await.unwrap().status(), 204);
    assert_eq!(start(&serve, json!({ "subject": "dora", "address": "127.0.0.1" })).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_at_once_never_exceed_the_cap() {
    let home = Home::new();
    let serve =
        Arc::new(serve(&home, "[limits]\nsessions_per_account = 4\nwhen_account_is_full = \"refuse\"\n"));
    let barrier = Arc::new(Barrier::new(24));
    let started: Vec<_> = (0..24)
        .map(|_| {
            let (serve, barrier) = (Arc::clone(&serve), Arc::clone(&barrier));
            tokio::spawn(async move {
                barrier.wait().await;
                start(&serve, json!({ "subject": "carol" })).await.status().as_u16()
            })
        })
        .collect();
    let mut codes = Vec::new();
    for one in started {
        codes.push(one.await.unwrap());
    }
    codes.sort_unstable();
    assert_eq!(codes, [vec![200; 4], vec![429; 20]].concat());
}

#[test]
fn limits_out_of_bounds_are_refused_at_start() {
    let home = Home::new();
    let config = home.write("bad.toml", "[limits]\nmost_failures = 101\n");
    let (data, keys) = (home.path("data"), home.path("keys"));
    let args = ["serve", "--listen", "127.0.0.1:0", "--data", &data, "--keys", &keys, "--config"];
    let args = [&args[..], &[config.to_str().unwrap()]].concat();
    crate::support::misused(&args, "limits.most_failures is 101, and must be from 12 to 100");
}
