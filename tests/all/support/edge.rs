//! `hallpass edge`, as a proxy talks to it.

use std::time::{Duration, Instant};

use crate::support::exchange::{Answer, exchange, try_exchange};
use crate::support::{Home, PASSWORD, Running, ok};

const PATIENCE: Duration = Duration::from_secs(60);

/// For edges that are told to report.
pub(crate) const EDGE_TOKEN: &str = "fedcba9876543210fedcba9876543210";

pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An edge of this issuer, pinned to its feed keys, once it is ready.
pub(crate) fn edge(home: &Home, issuer: &Running, more: &[&str]) -> Running {
    let edge = start_edge(home, &issuer.url, more);
    let address = edge.address();
    until("the edge is ready", || {
        exchange(&address, "GET", "/readyz", &[("Host", &address)], "").status == 200
    });
    edge
}

pub(crate) fn start_edge(home: &Home, issuer: &str, more: &[&str]) -> Running {
    let keys = ok(&["key", "export", "--use", "feed", "--dir", &home.path("keys")], b"");
    let keys = home.write("feed-keys.cbor", keys);
    let mut args = vec!["edge", "--issuer", issuer, "--trust", keys.to_str().unwrap()];
    if !more.contains(&"--listen") {
        args.extend(["--listen", "127.0.0.1:0"]);
    }
    args.extend(more);
    Running::start(&args, &[("HALLPASS_EDGE_TOKEN", EDGE_TOKEN)])
}

/// What nginx would ask of this request.
pub(crate) fn verify(edge: &Running, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
    ask(edge, "/verify", method, target, headers)
}

pub(crate) fn ask(
    edge: &Running,
    path: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let mut all = vec![("Host", "shop.example"), ("X-Original-Method", method), ("X-Original-URI", target)];
    all.extend(headers);
    exchange(&edge.address(), "GET", path, &all, "")
}

/// A browser that logs in and out, for the tests of the hop.
pub(crate) fn log_in(issuer: &Running, return_to: &str) -> Answer {
    let encoded: String = url::form_urlencoded::byte_serialize(return_to.as_bytes()).collect();
    let form = format!("username=alice&password={}&return_to={encoded}", PASSWORD.replace(' ', "+"));
    let address = issuer.address();
    let origin = format!("http://{address}");
    let headers = [
        ("Host", address.as_str()),
        ("Origin", origin.as_str()),
        ("Accept", "text/html"),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    try_exchange(&address, "POST", "/login", &headers, &form).unwrap()
}
