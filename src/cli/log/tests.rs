use std::process::Command;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use tower::Service as _;
use tower_http::catch_panic::CatchPanicLayer;

/// A value that must never be logged.
const SECRET: &str = "a-token-that-nobody-may-read";

/// The log of a panic names the place but none of the values it quotes. This
/// runs in a process of its own, since the panic hook is process-wide.
#[test]
fn a_panic_says_where_and_quotes_nothing() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "cli::log::tests::panics_everywhere", "--ignored", "--nocapture"])
        .env("HALLPASS_LOG", "trace")
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    let panics: Vec<_> = log.lines().filter(|line| line.contains("a bug: panicked")).collect();
    assert_eq!(panics.len(), 6, "{log}");
    for line in panics {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["level"], "ERROR");
        assert!(line["fields"]["location"].as_str().unwrap().contains("tests.rs:"), "{line}");
    }
    assert!(log.contains("a constant sentence"), "what quotes nothing is shown: {log}");
    assert!(!log.contains(SECRET), "{log}");
}

#[test]
#[ignore = "run by the test above, in a process of its own"]
fn panics_everywhere() {
    super::to_stderr();
    // Panics as in a request, a task, the password checker and a thread.
    let quoting = || -> &str { SECRET.parse::<u64>().map_err(|_| SECRET).map(|_| "").unwrap() };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let panicking = || Router::new().route("/", get(async move || quoting()));
        let served = panicking().layer(CatchPanicLayer::custom(crate::service::panics::panicked));
        for mut router in [served, crate::edge::guarded(panicking())] {
            let answer = router.call(http::Request::new(Body::empty())).await.unwrap();
            assert_eq!(answer.status(), 500);
            let body = axum::body::to_bytes(answer.into_body(), 1000).await.unwrap();
            assert!(!String::from_utf8_lossy(&body).contains(SECRET));
        }
        tokio::spawn(async move { quoting() }).await.unwrap_err();
        tokio::task::spawn_blocking(quoting).await.unwrap_err();
    });
    std::thread::spawn(move || quoting().len()).join().unwrap_err();
    std::thread::spawn(|| panic!("a constant sentence")).join().unwrap_err();
}
