//! Real proxies with the configurations of docs/proxies.md, and one list of cases
//! for all of them.
#![expect(clippy::unwrap_used, reason = "also in the helpers of tests")]

mod app;
mod cases;
mod in_a_browser;
mod page;
mod site;
mod sockets;

use self::site::{Proxy, Site};

/// Starts a site behind this proxy and runs all cases.
fn passes(proxy: Proxy) {
    let Some(site) = Site::start(proxy) else { return };
    cases::all(&site, proxy);
}

#[test]
fn nginx() {
    passes(Proxy::Nginx);
}

#[test]
fn caddy() {
    passes(Proxy::Caddy);
}

#[test]
fn haproxy() {
    passes(Proxy::Haproxy);
}

#[test]
fn traefik() {
    passes(Proxy::Traefik);
}

#[test]
fn envoy() {
    passes(Proxy::Envoy);
}
