//! `GET /metrics`, and what is said about it in docs/.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use hallpass::revocation::FeedKeys;
use hallpass::revocation::sync::{EdgeName, FeedClient};
use serde_json::{Value, json};

use crate::support::{Home, PASSWORD, Running, bearer, client, needs, ok};

const EDGE_TOKEN: &str = "fedcba9876543210fedcba9876543210";
const ADMIN: &[&str] = &["--admin-listen", "127.0.0.1:0"];

async fn scrape(serve: &Running) -> String {
    let answer = client().get(format!("{}/metrics", serve.admin.as_ref().unwrap())).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4");
    answer.text().await.unwrap()
}

/// The value of one series, written as in the text.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in:\n{text}")).parse().unwrap()
}

async fn log_in(serve: &Running, password: &str) -> u16 {
    let body = json!({ "username": "alice", "password": password, "transport": "bearer" });
    client().post(serve.at("/login")).json(&body).send().await.unwrap().status().as_u16()
}

/// An edge in this process that reports as `name`.
fn reporter(home: &Home, serve: &Running, name: &str, credential: &str) -> FeedClient {
    let keys = ok(&["key", "export", "--dir", &home.path("keys"), "--use", "feed"], b"");
    let keys = FeedKeys::from_bytes(&keys).unwrap();
    let client = FeedClient::builder(&serve.url).trust(keys);
    client.report_as(EdgeName::new(name).unwrap(), credential).build().unwrap()
}

/// A service that has had every event that metrics count, and its
/// metrics.
async fn eventful(home: &Home) -> (Running, String) {
    let serve = home.serve_with(ADMIN, &[("HALLPASS_EDGE_TOKEN", EDGE_TOKEN)]);
    assert_eq!(log_in(&serve, "wrong").await, 401);
    let token = bearer(&serve.url).await;
    let session = |token: String| client().get(serve.at("/session")).bearer_auth(token).send();
    assert_eq!(session(token.clone()).await.unwrap().status(), 200);
    assert_eq!(session(token.clone()).await.unwrap().status(), 200);
    assert_eq!(session("nonsense".to_owned()).await.unwrap().status(), 401);
    let renewal = client().post(serve.at("/renew")).bearer_auth("nonsense").send().await.unwrap();
    assert_eq!(renewal.status(), 401);
    assert_eq!(client().get(serve.at("/nothing/here")).send().await.unwrap().status(), 404);
    let out = client().post(serve.at("/logout")).bearer_auth(&token).send().await.unwrap();
    assert_eq!(out.status(), 204);
    assert_eq!(session(token).await.unwrap().status(), 401);

    tokio::spawn(reporter(home, &serve, "shop-1", EDGE_TOKEN).run());
    let mut text = scrape(&serve).await;
    while !text.contains("hallpass_edges_feed_sequence{edge=\"shop-1\"} 1") {
        tokio::time::sleep(Duration::from_millis(20)).await;
        text = scrape(&serve).await;
    }
    (serve, text)
}

/// The metrics of `hallpass edge` once it has answered.
async fn edge_service(home: &Home, serve: &Running) -> String {
    let edge = crate::support::edge::edge(home, serve, &["--report-as", "shop-2"]);
    let token = format!("Bearer {}", bearer(&serve.url).await);
    for (token, status) in [(&*token, 200), (&*token, 200), ("Bearer nonsense", 401)] {
        let answer = crate::support::edge::verify(&edge, "GET", "/", &[("Authorization", token)]);
        assert_eq!(answer.status, status, "{answer:?}");
    }
    let answer = client().get(format!("http://{}/metrics", edge.address())).send().await.unwrap();
    answer.text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_tells_how_long_it_took_and_what_it_knows() {
    let home = Home::new();
    let (serve, _) = eventful(&home).await;
    let text = edge_service(&home, &serve).await;
    assert_eq!(value(&text, "hallpass_edge_verify_duration_seconds_count"), 3.0);
    assert!(value(&text, "hallpass_edge_verify_duration_seconds_sum") > 0.0);
    // One log-out.
    assert_eq!(value(&text, "hallpass_edge_revocation_list_entries"), 1.0);
    assert!(value(&text, "hallpass_edge_revocation_list_bytes") > 0.0);
    assert_eq!(value(&text, "hallpass_edge_anomalies_total{kind=\"token_guessing\"}"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_counted() {
    let home = Home::new();
    let (serve, text) = eventful(&home).await;
    for (series, wanted) in [
        ("hallpass_log_ins_total{outcome=\"success\"}", 1.0),
        ("hallpass_log_ins_total{outcome=\"failure\"}", 1.0),
        ("hallpass_events_total{event=\"authn_login_fail\"}", 1.0),
        ("hallpass_verdicts_total{verdict=\"accepted\"}", 3.0),
        ("hallpass_verdicts_total{verdict=\"malformed\"}", 2.0),
        ("hallpass_events_total{event=\"token_refused\"}", 3.0),
        ("hallpass_verdicts_total{verdict=\"revoked\"}", 1.0),
        ("hallpass_verdicts_total{verdict=\"expired\"}", 0.0),
        ("hallpass_sessions_total{change=\"created\"}", 1.0),
        ("hallpass_sessions_total{change=\"ended\"}", 1.0),
        ("hallpass_revocations_total{target=\"family\"}", 1.0),
        ("hallpass_http_request_duration_seconds_count{route=\"/session\",status=\"2xx\"}", 2.0),
        ("hallpass_http_request_duration_seconds_count{route=\"/session\",status=\"4xx\"}", 2.0),
        ("hallpass_http_request_duration_seconds_count{route=\"none\",status=\"4xx\"}", 1.0),
        ("hallpass_store_duration_seconds_count{operation=\"revoke\"}", 1.0),
        ("hallpass_store_errors_total{kind=\"io\"}", 0.0),
        // A log-out checks the signature itself.
        ("hallpass_token_cache_lookups_total{result=\"hit\"}", 2.0),
        ("hallpass_revocation_list_entries", 1.0),
        ("hallpass_revocations_position{of=\"list\",part=\"sequence\"}", 1.0),
        ("hallpass_revocations_position{of=\"store\",part=\"sequence\"}", 1.0),
        ("hallpass_edges_connected", 1.0),
        ("hallpass_http_requests_in_flight", 1.0),
        ("hallpass_password_checks{state=\"working\"}", 0.0),
        ("hallpass_clock_drift_seconds", 0.0),
        ("hallpass_panics_total", 0.0),
    ] {
        assert_eq!(value(&text, series), wanted, "{series} in:\n{text}");
    }
    for series in [
        "hallpass_feeds_signed_total",
        "hallpass_feed_connections",
        "hallpass_feed_signed_timestamp_seconds",
        "hallpass_password_checks_limit{state=\"waiting\"}",
        "process_resident_memory_bytes",
        "process_open_fds",
    ] {
        assert!(value(&text, series) > 0.0, "{series} in:\n{text}");
    }
    assert_eq!(
        value(&text, "hallpass_edges_feed_epoch{edge=\"shop-1\"}"),
        value(&text, "hallpass_revocations_position{of=\"store\",part=\"epoch\"}")
    );
    assert!(value(&text, "hallpass_edges_feed_age_seconds{edge=\"shop-1\"}") < 600.0);
    assert!(value(&text, "hallpass_key_age_seconds{use=\"feed\"}") < 600.0);
    // Only on the operators' address.
    assert_eq!(client().get(serve.at("/metrics")).send().await.unwrap().status(), 404);
}

/// No client input becomes a label.
#[tokio::test(flavor = "multi_thread")]
async fn labels_are_from_lists_of_ours() {
    let home = Home::new();
    let serve = home.serve_with(ADMIN, &[("HALLPASS_EDGE_TOKEN", EDGE_TOKEN)]);
    let mark = "zzmarkzz";
    let method = reqwest::Method::from_bytes(mark.as_bytes()).unwrap();
    client().request(method, serve.at("/session")).send().await.unwrap();
    client().get(serve.at(&format!("/sessions/{mark}"))).bearer_auth(mark).send().await.unwrap();
    client()
        .get(serve.at(&format!("/{mark}?{mark}={mark}")))
        .header("user-agent", mark)
        .send()
        .await
        .unwrap();
    let body = json!({ "username": mark, "password": mark });
    client().post(serve.at("/login")).json(&body).send().await.unwrap();
    // An edge that hasn't the credential, and one that has and gives no name.
    let report = json!({ "edge": mark, "epoch": 1, "sequence": 1, "as_of": 1 });
    let edges = serve.at("/edges/report");
    let answer = client().post(&edges).json(&report).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    let wrong = client().post(&edges).bearer_auth(PASSWORD).json(&report).send().await.unwrap();
    assert_eq!(wrong.status(), 401);
    let report = json!({ "edge": format!("{mark} {mark}"), "epoch": 1, "sequence": 1, "as_of": 1 });
    let nameless = client().post(&edges).bearer_auth(EDGE_TOKEN).json(&report).send().await.unwrap();
    assert_eq!(nameless.status(), 422);
    let text = scrape(&serve).await;
    assert!(!text.contains(mark), "{text}");
    assert!(text.contains("route=\"/sessions/{id}\""), "the template, not the path:\n{text}");
    assert_eq!(value(&text, "hallpass_edges_reports_refused_total"), 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_cache_can_be_sized_and_turned_off() {
    let home = Home::new();
    for (config, hits) in [("[cache]\ntokens_mib = 1\n", 2.0), ("[cache]\ntokens_mib = 0\n", 0.0)] {
        let config = home.write("c.toml", config);
        let serve = home.serve(&["--config", config.to_str().unwrap(), ADMIN[0], ADMIN[1]]);
        let token = bearer(&serve.url).await;
        for _ in 0..3 {
            let answer = client().get(serve.at("/session")).bearer_auth(&token).send().await.unwrap();
            assert_eq!(answer.status(), 200);
        }
        let text = scrape(&serve).await;
        assert_eq!(value(&text, "hallpass_token_cache_lookups_total{result=\"hit\"}"), hits);
    }
}

/// `promtool check metrics` reports nothing.
#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_nothing_wrong_with_the_metrics() {
    if !needs("promtool") {
        return;
    }
    let home = Home::new();
    let (serve, text) = eventful(&home).await;
    for text in [text, edge_service(&home, &serve).await] {
        promtool_checks(&text);
    }
}

fn promtool_checks(text: &str) {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = promtool.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

fn doc(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

/// Every query of the dashboard.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&doc("grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

/// The names in a text that can only be metrics.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("hallpass_") || word.starts_with("process_")).collect()
}

/// A panel or alert on a missing metric would never show anything.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_dashboard_and_the_alerts_name_is_there() {
    let home = Home::new();
    let (serve, text) = eventful(&home).await;
    let text = text + &edge_service(&home, &serve).await;
    let there = names(&text);
    let (queries, alerts, page) = (queries(), doc("alerts.yml"), doc("operations.md"));
    assert!(queries.len() > 25 && names(&alerts).len() > 15, "{queries:?}");
    let mut named: BTreeSet<&str> = queries.iter().flat_map(|query| names(query)).collect();
    named.extend(names(&alerts));
    named.extend(names(&page));
    let missing: Vec<_> = named.difference(&there).collect();
    assert!(missing.is_empty(), "named and not there: {missing:?}");
    // And the page has all of the issuer's.
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let unsaid: Vec<_> = families.filter(|family| !names(&page).contains(family)).collect();
    assert!(unsaid.is_empty(), "not in docs/operations.md: {unsaid:?}");
}

fn promtool(folder: &Path, arguments: &[&str]) {
    let output = Command::new("promtool").args(arguments).current_dir(folder).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said));
}

/// The alerts fire when they should and not otherwise, and the dashboard's
/// queries are PromQL.
#[test]
fn promtool_takes_the_alerts_and_the_dashboard() {
    if !needs("promtool") {
        return;
    }
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    promtool(&docs, &["check", "rules", "--lint=all", "--lint-fatal", "alerts.yml"]);
    promtool(&docs, &["test", "rules", "alerts_test.yml"]);
    let folder = tempfile::TempDir::new().unwrap();
    let rule = |(n, query): (usize, String)| {
        // Variables that Grafana substitutes.
        let query = query.replace("$__rate_interval", "1m").replace("$instance", ".*");
        json!({ "record": format!("query:{n}"), "expr": query })
    };
    let rules: Vec<_> = queries().into_iter().enumerate().map(rule).collect();
    // JSON is valid YAML.
    let rules = json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    std::fs::write(folder.path().join("rules.yml"), rules.to_string()).unwrap();
    promtool(folder.path(), &["check", "rules", "rules.yml"]);
}
