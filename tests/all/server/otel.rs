//! Traces to a collector, which is this test.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::routing::post;
use http::HeaderMap;

use crate::support::leaks::{found, secret};
use crate::support::{Home, PASSWORD, bearer, client};

const API_KEY: &str = "collector-api-key-0123456789";

/// What the collector was sent: headers and bodies.
#[derive(Clone, Default)]
struct Received(Arc<Mutex<Vec<(HeaderMap, Bytes)>>>);

/// A collector that takes traces, and its URL.
async fn collector() -> (Received, String) {
    let received = Received::default();
    let kept = received.clone();
    let take = async move |headers: HeaderMap, body: Bytes| {
        kept.0.lock().unwrap().push((headers, body));
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = axum::Router::new().route("/v1/traces", post(take));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (received, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_a_span_without_secrets() {
    let home = Home::new();
    let config = home.write("c.toml", "base_path = \"/.hallpass\"\n");
    let trusting = home.write("t.toml", "base_path = \"/.hallpass\"\ntrusted_proxies = [\"127.0.0.1\"]\n");
    for (config, is_trusted) in [(config, false), (trusting, true)] {
        let (received, url) = collector().await;
        secret(API_KEY);
        let headers = format!("x-api-key={API_KEY}");
        let env = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &*url),
            ("OTEL_EXPORTER_OTLP_HEADERS", &headers),
            ("HALLPASS_LOG", "trace"),
        ];
        let mut serve = home.serve_with(&["--config", config.to_str().unwrap()], &env);
        let token = bearer(&serve.url).await;
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let answer = client()
            .get(serve.at(&format!("/session?token={token}")))
            .bearer_auth(&token)
            .header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        // Pending spans are sent at shutdown.
        serve.signal("TERM");
        assert_eq!(serve.wait(), Some(0));
        let received = received.0.lock().unwrap();
        let sent: Vec<u8> = received.iter().flat_map(|(_, body)| body.to_vec()).collect();
        let has = |wanted: &[u8]| sent.windows(wanted.len()).any(|part| part == wanted);
        for wanted in
            ["GET /session", "POST /login", "service.name", "hallpass", "http.response.status_code", &id]
        {
            assert!(has(wanted.as_bytes()), "no {wanted}: {}", serve.log());
        }
        assert_eq!(has(&hex::decode(trace).unwrap()), is_trusted, "the trace of whoever is no proxy");
        for (headers, _) in received.iter() {
            assert_eq!(headers["content-type"], "application/x-protobuf");
            assert_eq!(headers["x-api-key"], API_KEY);
        }
        let text = String::from_utf8_lossy(&sent);
        assert!(found(&text).is_empty() && !text.contains(PASSWORD), "{:?}", found(&text));
    }
}

/// A missing or broken collector does not prevent log-ins.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_it_works_on() {
    let home = Home::new();
    for endpoint in ["http://127.0.0.1:9", "not a url"] {
        let env = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), ("OTEL_BSP_SCHEDULE_DELAY", "50")];
        let serve = home.serve_with(&[], &env);
        bearer(&serve.url).await;
        while !(serve.log().contains("opentelemetry") || serve.log().contains("no traces are sent")) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}
