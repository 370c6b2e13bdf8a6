//! `GET /ended`: a service learns when the session of a token is over.

use std::time::Duration;

use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::support::edge::edge;
use crate::support::{Home, Running, bearer, client};

const PATIENCE: Duration = Duration::from_secs(60);
/// Tokens for two seconds, in sessions for an hour.
const SHORT: &str = "[lifetimes]\ntoken_max_age = \"2s\"\nidle_timeout = \"1h\"\n";

async fn ask(edge: &Running, query: &str, token: &str, accept: &str) -> Response {
    let request = client().get(edge.at(&format!("/ended{query}"))).header("accept", accept);
    request.bearer_auth(token).send().await.unwrap()
}

async fn why(response: Response) -> Value {
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["cache-control"], "no-store");
    response.json::<Value>().await.unwrap()["ended"].clone()
}

async fn log_out(issuer: &Running, token: &str) {
    let answer = client().post(issuer.at("/logout")).bearer_auth(token).send().await.unwrap();
    assert_eq!(answer.status(), 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_learns_when_a_session_is_over() {
    let home = Home::new();
    let issuer = home.serve(&["--config", home.write("short.toml", SHORT).to_str().unwrap()]);
    let edge = edge(&home, &issuer, &[]);
    let token = bearer(&issuer.url).await;
    assert_eq!(ask(&edge, "", &token, "*/*").await.status(), StatusCode::NO_CONTENT);

    // Over the token's expiry and the leeway the session goes on.
    let verify =
        || crate::support::edge::verify(&edge, "GET", "/", &[("Authorization", &format!("Bearer {token}"))]);
    crate::support::edge::until("the token has expired", || verify().status == 401);
    assert_eq!(ask(&edge, "", &token, "*/*").await.status(), StatusCode::NO_CONTENT);
    assert_eq!(ask(&edge, "?wait=1", &token, "*/*").await.status(), StatusCode::NO_CONTENT);

    // A long poll and two streams, all of which end with the session.
    let poll = tokio::spawn({
        let (url, token) = (edge.at("/ended?wait=25"), token.clone());
        async move {
            // Asked again for as long as it lives.
            loop {
                let answer = client().get(&url).bearer_auth(&token).send().await.unwrap();
                if answer.status() != StatusCode::NO_CONTENT {
                    return why(answer).await;
                }
            }
        }
    });
    let mut streams = Vec::new();
    for _ in 0..2 {
        let stream = ask(&edge, "", &token, "text/event-stream").await;
        assert_eq!(stream.headers()["content-type"], "text/event-stream");
        streams.push(stream);
    }
    log_out(&issuer, &token).await;
    assert_eq!(timeout(PATIENCE, poll).await.expect("an answer").unwrap(), "revoked");
    for stream in streams {
        let text = timeout(PATIENCE, stream.text()).await.expect("an end").unwrap();
        assert!(text.contains("event: ended\ndata: {\"ended\":\"revoked\"}\n\n"), "{text}");
    }
    assert_eq!(why(ask(&edge, "", &token, "*/*").await).await, "revoked");
    assert_eq!(why(ask(&edge, "?wait=25", &token, "*/*").await).await, "revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_learns_anything_without_the_token() {
    let home = Home::new();
    let issuer = home.serve(&[]);
    let edge = edge(&home, &issuer, &[]);
    let token = bearer(&issuer.url).await;
    let last = if token.ends_with('A') { "BB" } else { "AA" };
    let forged = format!("{}{last}", &token[..token.len() - 20]);
    for token in ["", "nonsense", &forged] {
        assert_eq!(ask(&edge, "", token, "*/*").await.status(), 401, "{token}");
    }
    let by_cookie = client().get(edge.at("/ended")).header("cookie", format!("__Host-session={token}"));
    assert_eq!(by_cookie.send().await.unwrap().status(), 401);
    for query in ["?wait=26", "?wait=-1", "?wait=soon", "?wait=1&wait=2"] {
        assert_eq!(ask(&edge, query, &token, "*/*").await.status(), 400, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_may_wait_and_no_stranger_can_take_every_place() {
    let home = Home::new();
    let issuer = home.serve(&[]);
    // Services on this machine are trusted by default; here they are not.
    let strict = edge(&home, &issuer, &["--trusted-proxy", "192.0.2.1"]);
    let lax = edge(&home, &issuer, &[]);
    let token = bearer(&issuer.url).await;
    let mut streams = Vec::new();
    let mut refused = 0;
    for _ in 0..150 {
        let answer = ask(&strict, "", &token, "text/event-stream").await;
        match answer.status() {
            StatusCode::OK => streams.push(answer),
            status => {
                assert_eq!(status, 429);
                assert!(answer.headers().contains_key("retry-after"));
                refused += 1;
            }
        }
    }
    assert_eq!((streams.len(), refused), (128, 22));
    // What does not wait is answered.
    assert_eq!(ask(&strict, "", &token, "*/*").await.status(), StatusCode::NO_CONTENT);
    // A place that is given up is free.
    streams.truncate(100);
    let one_more = async {
        while ask(&strict, "", &token, "text/event-stream").await.status() != StatusCode::OK {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, one_more).await.expect("a free place");

    let many = Client::builder().tls_certs_only([]).build().unwrap();
    for _ in 0..300 {
        let stream = many.get(lax.at("/ended")).header("accept", "text/event-stream");
        streams.push(stream.bearer_auth(&token).send().await.unwrap());
    }
    log_out(&issuer, &token).await;
    for stream in streams {
        let text = timeout(PATIENCE, stream.text()).await.expect("an end").unwrap();
        assert!(text.contains("revoked"), "{text}");
    }
}
