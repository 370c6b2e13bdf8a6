//! Sessions that end when they should, over real sockets: renewal, reuse,
//! revocation, and the feed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use hallpass::revocation::feed::part_from_text;
use hallpass::revocation::{Feed, FeedKeys};
use hallpass::{Clock, LiveKeys, RevocationList, SystemClock, UnixTime, Verifier};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::time::sleep;

use crate::support::{Home, PASSWORD, Running, bearer, client, hallpass, is_due, ok, run};

/// As in the configuration.
const RENEW_AFTER: Duration = Duration::from_secs(2);
/// Lifetimes short enough for tests.
const QUICK: &str = "[lifetimes]\nidle_timeout = \"1m\"\nrenew_after = \"2s\"\nrenewal_grace = \"1s\"\nabsolute_lifetime = \"1h\"\nleeway = \"0s\"\n";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn now() -> UnixTime {
    SystemClock.now()
}

fn quick(home: &Home) -> Running {
    let config = home.write("quick.toml", QUICK);
    home.serve(&["--config", config.to_str().unwrap()])
}

async fn call(method: Method, url: String, token: &str, body: Option<Value>) -> (StatusCode, Value) {
    let mut request = client().request(method, url).bearer_auth(token);
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status();
    (status, answer.json().await.unwrap_or(Value::Null))
}

async fn renew(serve: &Running, token: &str) -> (StatusCode, Value) {
    call(Method::POST, serve.at("/renew"), token, None).await
}

async fn lives(serve: &Running, token: &str) -> bool {
    call(Method::GET, serve.at("/session"), token, None).await.0 == StatusCode::OK
}

fn session_id(token: &str) -> String {
    let inside = hallpass::danger::inspect(token).unwrap().json;
    inside["session"]["session_id"].as_str().unwrap().to_owned()
}

/// Waits three seconds; a token is due after two.
async fn until_due() {
    sleep(Duration::from_secs(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_renewed_when_due_and_lost_answers_are_given_again() {
    let home = Home::new();
    let serve = quick(&home);
    // On a busy machine the token may already be due.
    let (first, early) = loop {
        let first = bearer(&serve.url).await;
        let (status, early) = renew(&serve, &first).await;
        assert_eq!(status, StatusCode::OK);
        if early["renewed"] == false {
            break (first, early);
        }
        assert!(is_due(&first, RENEW_AFTER), "{early}");
    };
    assert_eq!(early["token"], json!(first));
    until_due().await;
    let (_, answer) = renew(&serve, &first).await;
    assert_eq!(answer["renewed"], true);
    let second = answer["token"].as_str().unwrap().to_owned();
    let (before, after) = (&early["session"], &answer["session"]);
    for same in ["session_id", "subject", "started_at", "ends_at", "auth_time", "claims", "audience"] {
        assert_eq!(before[same], after[same], "{same}");
    }
    assert_eq!(after["generation"], 1);
    assert_ne!(before["token_id"], after["token_id"]);
    // The answer was lost: the old token gets the same bytes again.
    assert_eq!(renew(&serve, &first).await.1["token"], json!(second));
    assert!(lives(&serve, &first).await && lives(&serve, &second).await);

    // By cookie the new one comes as a cookie, and scripts don't see it.
    let cookie = format!("__Host-session={first}");
    let answer = client().post(serve.at("/renew")).header("cookie", cookie).send().await.unwrap();
    let set = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(set.starts_with(&format!("__Host-session={second};")), "{set}");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert!(answer.json::<Value>().await.unwrap().get("token").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_renewals_in_two_processes_give_one_token() {
    let home = Home::new();
    let serves = [Arc::new(quick(&home)), Arc::new(quick(&home))];
    let token = bearer(&serves[0].url).await;
    until_due().await;
    let barrier = Arc::new(Barrier::new(200));
    let renewals: Vec<_> = (0..200)
        .map(|n| {
            let (serve, token, barrier) = (Arc::clone(&serves[n % 2]), token.clone(), Arc::clone(&barrier));
            tokio::spawn(async move {
                barrier.wait().await;
                let (status, answer) = renew(&serve, &token).await;
                assert_eq!(status, StatusCode::OK);
                answer["token"].as_str().unwrap().to_owned()
            })
        })
        .collect();
    let mut distinct = HashSet::new();
    for renewal in renewals {
        distinct.insert(renewal.await.unwrap());
    }
    assert_eq!(distinct.len(), 1);
    assert!(!distinct.contains(&token));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_used_after_its_successor_ends_the_session() {
    let home = Home::new();
    let serve = quick(&home);
    let stolen = bearer(&serve.url).await;
    until_due().await;
    let owners = renew(&serve, &stolen).await.1["token"].as_str().unwrap().to_owned();
    // Marks it as used, then waits longer than the grace of a second.
    assert_eq!(renew(&serve, &owners).await.0, StatusCode::OK);
    sleep(Duration::from_millis(2500)).await;
    assert_eq!(renew(&serve, &stolen).await.0, StatusCode::UNAUTHORIZED);
    assert!(!lives(&serve, &owners).await && !lives(&serve, &stolen).await);
    assert_eq!(renew(&serve, &owners).await.0, StatusCode::UNAUTHORIZED);
    assert!(serve.log().contains("authn_token_reuse"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_out_holds_here_at_once_and_in_another_process_soon() {
    let home = Home::new();
    let (one, two) = (quick(&home), quick(&home));
    let token = bearer(&one.url).await;
    assert!(lives(&two, &token).await);
    assert_eq!(call(Method::POST, one.at("/logout"), &token, None).await.0, StatusCode::NO_CONTENT);
    assert!(!lives(&one, &token).await);
    assert_eq!(renew(&two, &token).await.0, StatusCode::UNAUTHORIZED, "the store is asked");
    gone(&two, &token).await;
}

/// Waits until a process refuses the token, for at most a minute or so.
async fn gone(serve: &Running, token: &str) {
    for _ in 0..600 {
        if !lives(serve, token).await {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("the revocation never arrived");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_revokes_beside_a_running_serve() {
    let home = Home::new();
    home.add_user("bob", &[]);
    let serve = home.serve(&[]);
    let data = home.path("data");
    let revoke = |args: &[&str]| {
        let args: Vec<_> = [&["revoke"], args, &["--data", &data]].concat();
        serde_json::from_slice::<Value>(&ok(&args, b"")).unwrap()
    };
    let (alice, other) = (bearer(&serve.url).await, bearer(&serve.url).await);
    let said = revoke(&["session", &session_id(&alice)]);
    assert_eq!((&said["revoked"], &said["added"]), (&json!("session"), &json!(1)));
    gone(&serve, &alice).await;
    assert!(lives(&serve, &other).await);
    assert_eq!(revoke(&["session", &session_id(&alice)])["added"], 0, "once is enough");

    revoke(&["subject", "alice"]);
    gone(&serve, &other).await;
    let later = bearer(&serve.url).await;
    assert_eq!(renew(&serve, &later).await.0, StatusCode::OK, "a log-in after it counts");

    revoke(&["all"]);
    gone(&serve, &later).await;

    for (args, hint) in [
        (vec!["revoke", "session", "xyz", "--data", &data], "32 lowercase hex digits"),
        (vec!["revoke", "key", "xyz", "--data", &data], "16 lowercase hex digits"),
        (vec!["revoke", "subject", "", "--data", &data], "1 to 255 bytes"),
        (vec!["revoke", "all"], "--data"),
    ] {
        crate::support::misused(&args, hint);
    }
}

/// A stolen session key is replaced and revoked while the service runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_key_is_replaced_and_revoked() {
    let home = Home::new();
    let serve = home.serve(&[]);
    let (data, keys) = (home.path("data"), home.path("keys"));
    let token = bearer(&serve.url).await;
    let stolen = hallpass::danger::inspect(&token).unwrap().json["key_id"].as_str().unwrap().to_owned();
    ok(&["key", "rotate", "--now", "--dir", &keys], b"");
    ok(&["revoke", "key", &stolen, "--data", &data], b"");
    gone(&serve, &token).await;
    assert_eq!(renew(&serve, &token).await.0, StatusCode::UNAUTHORIZED);
    // The new key signs once the directory has been read again.
    for _ in 0..100 {
        let answer = client()
            .post(serve.at("/login"))
            .json(&json!({ "username": "alice", "password": PASSWORD, "transport": "bearer" }))
            .send()
            .await
            .unwrap();
        if answer.status() == StatusCode::OK {
            let answer: Value = answer.json().await.unwrap();
            assert!(lives(&serve, answer["token"].as_str().unwrap()).await);
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("the new key never signed: {}", serve.log());
}

/// The same token for the user admin, signed with the key that was stolen from
/// its directory.
pub(crate) fn as_admin(home: &Home, token: &str) -> String {
    use ed25519_dalek::pkcs8::DecodePrivateKey;
    use ed25519_dalek::{Signer, SigningKey};

    let kid = hallpass::danger::inspect(token).unwrap().json["key_id"].as_str().unwrap().to_owned();
    let pem = std::fs::read_to_string(format!("{}/{kid}.pem", home.path("keys"))).unwrap();
    let stolen = SigningKey::from_pkcs8_pem(&pem).unwrap();
    let mut bytes = crate::support::raw::unbase64url(token);
    let name = bytes.windows(6).position(|window| window == b"\x65alice").unwrap();
    bytes[name + 1..name + 6].copy_from_slice(b"admin");
    let (frame, _) = bytes.split_at(bytes.len() - 66);
    // Tag and array, the header's item of 17 bytes, the empty map, the payload's item.
    let message = [b"\x84\x6aSignature1", &frame[2..19], b"\x40", &frame[20..]].concat();
    crate::support::raw::base64url(&[frame, b"\x58\x40", &stolen.sign(&message).to_bytes()].concat())
}

/// A stolen session key can sign anything, but a forgery can't be renewed into
/// a token of the next key: a renewal carries over only what was issued.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_forged_with_a_stolen_key_is_not_renewed() {
    let home = Home::new();
    let serve = quick(&home);
    let token = bearer(&serve.url).await;
    let forged = as_admin(&home, &token);
    assert!(lives(&serve, &forged).await, "the forgery is a good one");
    until_due().await;
    assert_eq!(renew(&serve, &forged).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(renew(&serve, &token).await.1["renewed"], true, "the owner stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_and_services_have_credentials_of_their_own() {
    let home = Home::new();
    // Without them nobody is admitted.
    let closed = home.serve(&["--admin-listen", "127.0.0.1:0"]);
    let start = json!({ "subject": "carol", "claims": { "tenant": 7 } });
    for secret in ["", SECRET] {
        let (status, _) = call(Method::POST, closed.at("/sessions"), secret, Some(start.clone())).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        let url = format!("{}/admin/revoke", closed.admin.as_ref().unwrap());
        assert_eq!(call(Method::POST, url, secret, Some(json!({ "all": true }))).await.0, 401);
    }
    drop(closed);

    let serve = home.serve_with(
        &["--admin-listen", "127.0.0.1:0"],
        &[("HALLPASS_SERVICE_TOKEN", SECRET), ("HALLPASS_OPERATOR_TOKEN", &SECRET.to_uppercase())],
    );
    let (status, answer) = call(Method::POST, serve.at("/sessions"), SECRET, Some(start.clone())).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["session"]["claims"], json!({ "tenant": 7 }));
    let carol = answer["token"].as_str().unwrap().to_owned();
    assert!(lives(&serve, &carol).await);
    // Nine methods, one with a space, one that is too long.
    for amr in [json!(vec!["m"; 9]), json!(["a b"]), json!(["m".repeat(33)]), json!("pwd")] {
        let start = json!({ "subject": "bob", "amr": amr });
        let (status, _) = call(Method::POST, serve.at("/sessions"), SECRET, Some(start)).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{amr}");
    }
    let (status, _) = call(Method::POST, serve.at("/sessions"), &SECRET.to_uppercase(), Some(start)).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "an operator's secret is no service's");

    let admin = serve.admin.clone().unwrap();
    let remotely = |secret: &str| {
        let mut command = hallpass();
        command.args(["revoke", "subject", "carol", "--issuer", &admin]);
        command.env("HALLPASS_OPERATOR_TOKEN", secret).output().unwrap()
    };
    assert_eq!(remotely(SECRET).status.code(), Some(1), "a service's secret is no operator's");
    assert!(lives(&serve, &carol).await);
    assert_eq!(remotely(&SECRET.to_uppercase()).status.code(), Some(0));
    assert!(!lives(&serve, &carol).await);
    // The operators' routes are not on the public address.
    let (status, _) = call(Method::POST, serve.at("/admin/revoke"), SECRET, None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);

    let mut weak = hallpass();
    let (data, keys) = (home.path("data"), home.path("keys"));
    weak.args(["serve", "--listen", "127.0.0.1:0", "--data", &data, "--keys", &keys]);
    let refused = weak.env("HALLPASS_OPERATOR_TOKEN", "short").output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("openssl rand"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_see_and_end_their_own_sessions_and_nobody_elses() {
    let home = Home::new();
    home.add_user("bob", &[]);
    let serve = home.serve(&[]);
    let (mine, other, third) = (bearer(&serve.url).await, bearer(&serve.url).await, bearer(&serve.url).await);
    let answer = client()
        .post(serve.at("/login"))
        .json(&json!({ "username": "bob", "password": PASSWORD, "transport": "bearer" }))
        .send()
        .await
        .unwrap();
    let bobs = answer.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned();

    let (_, list) = call(Method::GET, serve.at("/sessions"), &mine, None).await;
    let list = list["sessions"].as_array().unwrap();
    assert_eq!(list.len(), 3);
    let current: Vec<_> = list.iter().filter(|session| session["current"] == true).collect();
    assert_eq!(current.len(), 1);
    assert_eq!(current[0]["session_id"], session_id(&mine));
    assert_eq!(current[0]["address"], "127.0.0.1");

    let end = |id: String| call(Method::DELETE, serve.at(&format!("/sessions/{id}")), &mine, None);
    assert_eq!(end(session_id(&bobs)).await.0, StatusCode::NOT_FOUND);
    assert_eq!(end("nonsense".to_owned()).await.0, StatusCode::NOT_FOUND);
    assert!(lives(&serve, &bobs).await);
    assert_eq!(end(session_id(&other)).await.0, StatusCode::NO_CONTENT);
    assert!(!lives(&serve, &other).await && lives(&serve, &third).await);

    let others = serve.at("/sessions/revoke-others");
    let wrong = Some(json!({ "password": "wrong" }));
    assert_eq!(call(Method::POST, others.clone(), &mine, wrong).await.0, StatusCode::UNAUTHORIZED);
    assert!(lives(&serve, &third).await);
    let (status, answer) = call(Method::POST, others, &mine, None).await;
    assert_eq!(
        (status, &answer["revoked"]),
        (StatusCode::OK, &json!(1)),
        "just logged in: no password asked"
    );
    assert!(!lives(&serve, &third).await && lives(&serve, &mine).await && lives(&serve, &bobs).await);

    // A session that logged in long ago has to give the password.
    let old = UnixTime::from_secs(now().as_secs() - 3600).unwrap().to_string();
    let serve = home.serve_with(&[], &[("HALLPASS_SERVICE_TOKEN", SECRET)]);
    let body = json!({ "subject": "alice", "auth_time": old });
    let (_, answer) = call(Method::POST, serve.at("/sessions"), SECRET, Some(body)).await;
    let stale = answer["token"].as_str().unwrap().to_owned();
    let others = serve.at("/sessions/revoke-others");
    assert_eq!(call(Method::POST, others.clone(), &stale, None).await.0, StatusCode::FORBIDDEN);
    let right = Some(json!({ "password": PASSWORD }));
    assert_eq!(call(Method::POST, others, &stale, right).await.0, StatusCode::OK);
    assert!(!lives(&serve, &mine).await && lives(&serve, &stale).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_up_gives_a_new_session_with_the_same_end() {
    let home = Home::new();
    let serve = quick(&home);
    let old = bearer(&serve.url).await;
    sleep(Duration::from_millis(1100)).await;
    let step = |password: &'static str| {
        call(Method::POST, serve.at("/reauthenticate"), &old, Some(json!({ "password": password })))
    };
    assert_eq!(step("wrong").await.0, StatusCode::UNAUTHORIZED);
    let (status, answer) = step(PASSWORD).await;
    assert_eq!(status, StatusCode::OK);
    let before = hallpass::danger::inspect(&old).unwrap().json;
    let (before, after) = (&before["session"], &answer["session"]);
    assert_ne!(before["session_id"], after["session_id"]);
    assert_eq!(before["ends_at"], after["ends_at"]);
    assert!(before["auth_time"].as_str() < after["auth_time"].as_str());
    // The old one is to end after a grace, whatever happens to the process.
    drop(serve);
    let serve = quick(&home);
    gone(&serve, &old).await;
    assert!(lives(&serve, answer["token"].as_str().unwrap()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_and_a_disabled_user_end_sessions() {
    let home = Home::new();
    let serve = home.serve(&[]);
    let data = home.path("data");
    let token = bearer(&serve.url).await;
    ok(&["user", "passwd", "alice", "--data", &data], format!("{PASSWORD}\n").as_bytes());
    gone(&serve, &token).await;
    let token = bearer(&serve.url).await;
    ok(&["user", "disable", "alice", "--data", &data], b"");
    gone(&serve, &token).await;
    let body = json!({ "username": "alice", "password": PASSWORD });
    let answer = client().post(serve.at("/login")).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let list = String::from_utf8(ok(&["user", "list", "--data", &data], b"")).unwrap();
    assert!(list.contains("\"disabled\":true"), "{list}");
    for (args, stdin, hint) in [
        (["user", "add", "alice", "--data", data.as_str()], "long enough\n", "already"),
        (["user", "add", "dora", "--data", data.as_str()], "short\n", "at least 8"),
        (["user", "passwd", "nobody", "--data", data.as_str()], "long enough\n", "no user"),
    ] {
        let output = run(&args, stdin.as_bytes());
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(hint), "{output:?}");
    }
}

/// An edge's side of the feed: keys and list from the issuer's bytes alone.
#[tokio::test(flavor = "multi_thread")]
async fn the_feed_carries_keys_and_revocations_to_an_edge() {
    let home = Home::new();
    let serve = home.serve(&[]);
    let trusted = ok(&["key", "export", "--use", "feed", "--dir", &home.path("keys")], b"");
    let published = client().get(serve.at("/.well-known/hallpass/feed-keys")).send().await.unwrap();
    assert_eq!(published.bytes().await.unwrap(), trusted);
    let feed_keys = FeedKeys::from_bytes(&trusted).unwrap();
    let (list, keys) = (RevocationList::new(), LiveKeys::awaiting());
    let verifier = Verifier::builder(keys.clone()).revocations(list.clone()).build().unwrap();

    let answer = client().get(serve.at("/revocations")).send().await.unwrap();
    assert!(answer.headers()["cache-control"].to_str().unwrap().starts_with("public, max-age="));
    let etag = answer.headers()["etag"].clone();
    let snapshot = Feed::from_bytes(&feed_keys, &answer.bytes().await.unwrap(), now()).unwrap();
    assert_eq!(snapshot.base(), None);
    snapshot.apply(&list, &keys, now()).unwrap();
    let again = client().get(serve.at("/revocations")).header("if-none-match", etag).send().await.unwrap();
    // Signed again within the few seconds in between, or the same.
    assert!([200, 304].contains(&again.status().as_u16()));

    let token = bearer(&serve.url).await;
    assert_eq!(verifier.verify::<()>(&token, now()).unwrap().subject(), "alice");

    // A long poll is answered by the log-out, and so is an event stream.
    let at = list.position().unwrap();
    let url = serve.at(&format!("/revocations?after={}&epoch={}", at.sequence, at.epoch));
    let poll = tokio::spawn(client().get(url.clone()).send());
    let mut events = client().get(url).header("accept", "text/event-stream").send().await.unwrap();
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    sleep(Duration::from_millis(300)).await;
    assert_eq!(call(Method::POST, serve.at("/logout"), &token, None).await.0, StatusCode::NO_CONTENT);
    let answer = poll.await.unwrap().unwrap();
    let delta = Feed::from_bytes(&feed_keys, &answer.bytes().await.unwrap(), now()).unwrap();
    assert_eq!((delta.base(), delta.len()), (Some(at.sequence), 1));
    delta.apply(&list, &keys, now()).unwrap();
    assert_eq!(verifier.verify::<()>(&token, now()).unwrap_err().reason().as_str(), "revoked");

    // A saved feed is what an audit reads.
    let saved = client().get(serve.at("/revocations")).send().await.unwrap().bytes().await.unwrap();
    let saved = home.write("feed", saved);
    let trust = home.write("trust", &trusted);
    let public = home.write("public", ok(&["key", "export", "--dir", &home.path("keys")], b""));
    let audit = |more: &[&str]| {
        let args = ["token", "verify", &token, "--keys", public.to_str().unwrap()];
        let output = run(&[&args, more].concat(), b"");
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (saved, trust) = (saved.to_str().unwrap(), trust.to_str().unwrap());
    assert_eq!(audit(&[]).0, Some(0));
    for more in [&["--revocations", saved][..], &["--revocations", saved, "--trust", trust]] {
        let (code, said) = audit(more);
        assert!(code == Some(1) && said.contains("\"revoked\""), "{said}");
    }
    for more in [
        &["--revocations", trust][..],
        &["--revocations", "/dev/null"],
        &["--revocations", saved, "--trust", public.to_str().unwrap()],
        &["--trust", trust],
    ] {
        assert_eq!(audit(more).0, Some(2), "{more:?}");
    }

    let mut text = String::new();
    loop {
        text.push_str(core::str::from_utf8(&events.chunk().await.unwrap().unwrap()).unwrap());
        let parts = text.lines().filter_map(|line| line.strip_prefix("data: "));
        let feeds = parts.map(|part| Feed::from_bytes(&feed_keys, &part_from_text(part).unwrap(), now()));
        if feeds.flatten().any(|feed| feed.len() == 1) {
            break;
        }
    }

    // Malformed queries get a 400.
    for query in ["?after=x", "?after=-1", "?after=99999999999999999999"] {
        let answer = client().get(serve.at(&format!("/revocations{query}"))).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    }
    let future = client().get(serve.at("/revocations?after=18446744073709551615")).send().await.unwrap();
    let snapshot = Feed::from_bytes(&feed_keys, &future.bytes().await.unwrap(), now()).unwrap();
    assert_eq!(snapshot.base(), None, "from the future, so from the start");
}

fn copy_all(from: &str, to: &str) {
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), std::path::Path::new(to).join(file.file_name())).unwrap();
    }
}

/// The runbook in docs/operations.md: a backup is restored, and edges that know
/// more than it start afresh.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_starts_a_higher_epoch() {
    let home = Home::new();
    let data = home.path("data");
    let feed_keys =
        FeedKeys::from_bytes(&ok(&["key", "export", "--use", "feed", "--dir", &home.path("keys")], b""))
            .unwrap();
    let (list, keys) = (RevocationList::new(), LiveKeys::awaiting());
    let apply = async |serve: &Running| {
        let body = client().get(serve.at("/revocations")).send().await.unwrap().bytes().await.unwrap();
        Feed::from_bytes(&feed_keys, &body, now()).unwrap().apply(&list, &keys, now())
    };
    let mut serve = home.serve(&[]);
    serve.signal("TERM");
    serve.wait();
    // The database with its write-ahead log, as the runbook says.
    let backup = home.path("backup");
    copy_all(&data, &backup);

    let mut serve = home.serve(&[]);
    let token = bearer(&serve.url).await;
    assert_eq!(call(Method::POST, serve.at("/logout"), &token, None).await.0, StatusCode::NO_CONTENT);
    apply(&serve).await.unwrap();
    let before = list.position().unwrap();
    serve.signal("TERM");
    serve.wait();

    std::fs::remove_dir_all(&data).unwrap();
    copy_all(&backup, &data);
    let rolled_back = home.serve(&[]);
    assert!(apply(&rolled_back).await.is_err(), "without the runbook the edge keeps what it knows");
    assert_eq!(list.position().unwrap(), before);
    drop(rolled_back);
    ok(&["restored", "--data", &data], b"");
    ok(&["revoke", "all", "--data", &data], b"");
    let serve = home.serve(&[]);
    apply(&serve).await.unwrap();
    assert!(list.position().unwrap().epoch > before.epoch);
    assert!(!lives(&serve, &token).await);
}
