//! Log-in on hosts other than the issuer's: three loopback hosts, and a browser
//! that follows redirects and keeps cookies per host.
#![expect(clippy::unwrap_used, reason = "also in the helpers of tests")]

use std::collections::BTreeMap;
use std::net::TcpListener;

use crate::support::edge::{edge, log_in, until, verify};
use crate::support::exchange::{Answer, exchange};
use crate::support::{Home, Running};

const SESSION: &str = "__Host-session";
const STATE: &str = "__Host-hallpass-state";

/// The issuer and edges b and c, each on its own address.
struct Hosts {
    issuer: Running,
    b: Running,
    c: Running,
    _home: Home,
}

impl Hosts {
    fn start() -> Self {
        let home = Home::new();
        let (b, c) = (free_address("127.0.7.2"), free_address("127.0.7.3"));
        let config = home.write(
            "hosts.toml",
            format!(
                "trusted_proxies = [\"127.0.0.0/8\"]\n[tokens]\naudience = \"a\"\n\
                 [lifetimes]\nidle_timeout = \"8s\"\n\
                 [[hosts]]\norigin = \"http://{b}\"\naudience = \"b\"\n\
                 [[hosts]]\norigin = \"http://{c}\"\naudience = \"c\"\n"
            ),
        );
        let issuer = home.serve(&["--config", config.to_str().unwrap()]);
        let start = |address: &str, audience: &str| {
            let origin = format!("http://{address}");
            let more = ["--listen", address, "--audience", audience, "--public-origin", &origin];
            let listed = ["--return-origin", "https://app.example"];
            edge(&home, &issuer, &[&more[..], &listed].concat())
        };
        let (b, c) = (start(&b, "b"), start(&c, "c"));
        Self { issuer, b, c, _home: home }
    }
}

/// The port stays free until the edge takes it: no other test uses these
/// addresses.
fn free_address(ip: &str) -> String {
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap().to_string()
}

/// Cookies by host, like `__Host-` cookies.
#[derive(Default)]
struct Browser(BTreeMap<String, BTreeMap<String, String>>);

impl Browser {
    fn get(&mut self, url: &str) -> Answer {
        let (address, target) = parts(url);
        let cookies = self.0.entry(address.to_owned()).or_default();
        let cookie: Vec<_> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookie = cookie.join("; ");
        let mut headers = vec![("Host", address), ("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate")];
        if !cookie.is_empty() {
            headers.push(("Cookie", &cookie));
        }
        let answer = exchange(address, "GET", target, &headers, "");
        self.keep(address, &answer);
        answer
    }

    fn keep(&mut self, address: &str, answer: &Answer) {
        let cookies = self.0.entry(address.to_owned()).or_default();
        for name in [SESSION, STATE] {
            match answer.cookie(name) {
                Some(value) if value.is_empty() => drop(cookies.remove(name)),
                Some(value) => drop(cookies.insert(name.to_owned(), value)),
                None => {}
            }
        }
    }

    fn cookie(&self, host: &Running, name: &str) -> Option<String> {
        self.0.get(&host.address())?.get(name).cloned()
    }

    /// Returns whether this edge accepts the browser's session for it.
    fn is_in(&self, edge: &Running) -> bool {
        let Some(token) = self.cookie(edge, SESSION) else { return false };
        let cookie = format!("{SESSION}={token}");
        let answer = verify(edge, "GET", "/", &[("Cookie", &cookie)]);
        assert!([200, 401].contains(&answer.status), "{answer:?}");
        answer.status == 200
    }

    fn is_in_at_the_issuer(&mut self, hosts: &Hosts) -> bool {
        self.get(&hosts.issuer.at("/session")).status == 200
    }

    /// Follows the redirects from `/start`, at most six requests.
    fn follow(&mut self, mut url: String) -> (String, Answer) {
        for _ in 0..6 {
            let answer = self.get(&url);
            let Some(to) = answer.header("location").map(str::to_owned) else { return (url, answer) };
            assert_eq!(answer.status, 303, "{answer:?}");
            if let Some(path) = to.strip_prefix('/') {
                let (address, _) = parts(&url);
                url = format!("http://{address}/{path}");
                // This path belongs to the service, not to the edge.
                if to.starts_with("/deep") || to == "/" {
                    return (url, answer);
                }
            } else {
                url = to;
            }
        }
        panic!("redirected without end, last to {url}");
    }

    /// Returns a host's callback URL without requesting it.
    fn go_to_callback(&mut self, edge: &Running) -> String {
        let to_issuer = location(&self.get(&edge.at("/.hallpass/start?return_to=/deep")));
        let go_to_callback = location(&self.get(&to_issuer));
        assert!(go_to_callback.starts_with(&edge.at("/.hallpass/callback?ticket=")), "{go_to_callback}");
        go_to_callback
    }

    fn log_in(&mut self, hosts: &Hosts) {
        let answer = log_in(&hosts.issuer, "/");
        self.keep(&hosts.issuer.address(), &answer);
    }
}

fn parts(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("http://").unwrap();
    let at = rest.find('/').unwrap_or(rest.len());
    (&rest[..at], &rest[at..])
}

fn location(answer: &Answer) -> String {
    assert_eq!(answer.status, 303, "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    answer.header("location").unwrap().to_owned()
}

/// Checks for a refusal without a redirect and without a session.
fn refused(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("location"), None);
    assert_eq!(answer.cookie(SESSION), None);
    assert!(!answer.body.contains("refresh"), "{answer:?}");
}

#[test]
fn one_log_in_is_enough_for_all_hosts() {
    let hosts = Hosts::start();
    let mut browser = Browser::default();
    // The edge tells b's proxy where to send the user, who arrives at the log-in
    // page.
    let page = [("Accept", "text/html")];
    let answer = verify(&hosts.b, "GET", "/deep?x=1", &page);
    let start = answer.header("x-hallpass-login").unwrap().to_owned();
    assert_eq!(start, "/.hallpass/start?return_to=%2Fdeep%3Fx%3D1");
    let answer = browser.get(&hosts.b.at(&start));
    let state = answer.header("set-cookie").unwrap();
    for attribute in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/", "Max-Age=900"] {
        assert!(state.contains(attribute), "{state}");
    }
    let (url, form) = browser.follow(location(&answer));
    assert_eq!(form.status, 200, "{form:?}");
    assert!(parts(&url).0 == hosts.issuer.address() && form.body.contains("password"));

    // After the log-in, the user returns to the original page.
    let query = url.split_once("return_to=").unwrap().1;
    let back = url::form_urlencoded::parse(format!("x={query}").as_bytes()).next().unwrap().1.into_owned();
    let answer = log_in(&hosts.issuer, &back);
    browser.keep(&hosts.issuer.address(), &answer);
    let (url, answer) = browser.follow(hosts.issuer.at(&location(&answer)));
    assert_eq!(url, hosts.b.at("/deep?x=1"), "{answer:?}");
    assert_eq!(browser.cookie(&hosts.b, STATE), None, "cleared");
    assert!(browser.is_in(&hosts.b));
    let cookie = format!("{SESSION}={}", browser.cookie(&hosts.b, SESSION).unwrap());
    let answer = verify(&hosts.b, "GET", "/", &[("Cookie", &cookie)]);
    assert_eq!(answer.header("x-hallpass-audience"), Some("b"));
    assert_eq!(answer.header("x-hallpass-subject"), Some("alice"));

    // c needs no second log-in.
    let (url, _) = browser.follow(hosts.c.at("/.hallpass/start?return_to=%2Fdeep"));
    assert_eq!(url, hosts.c.at("/deep"));
    assert!(browser.is_in(&hosts.c));

    // A session is valid for its host only. A wrong one causes no redirect loop.
    let answer = verify(&hosts.c, "GET", "/", &[("Cookie", &cookie), ("Accept", "text/html")]);
    assert_eq!((answer.status, answer.header("x-hallpass-login")), (401, None), "{answer:?}");

    // The edge renews its session: the issuer knows the host's audience.
    until("the child is renewed", || {
        let answer = verify(&hosts.b, "GET", "/", &[("Cookie", &cookie)]);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.cookie(SESSION).is_some() && answer.header("x-hallpass-audience") == Some("b")
    });
}

#[test]
fn a_log_out_anywhere_ends_parent_and_children() {
    let hosts = Hosts::start();
    let everywhere = || {
        let mut browser = Browser::default();
        browser.log_in(&hosts);
        for edge in [&hosts.b, &hosts.c] {
            browser.follow(edge.at("/.hallpass/start?return_to=/"));
            assert!(browser.is_in(edge));
        }
        browser
    };
    let bystander = everywhere();
    let log_out = |address: &str, path: &str, token: &str, more: &[(&str, &str)]| {
        let cookie = format!("{SESSION}={token}");
        let headers = [&[("Host", address), ("Cookie", cookie.as_str())], more].concat();
        exchange(address, "POST", path, &headers, "")
    };
    for at_the_edge in [true, false] {
        let mut browser = everywhere();
        let (b, issuer) = (hosts.b.address(), hosts.issuer.address());
        let answer = if at_the_edge {
            let token = browser.cookie(&hosts.b, SESSION).unwrap();
            // A foreign page can't log the user out.
            for forged in [("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example")] {
                assert_eq!(log_out(&b, "/.hallpass/logout", &token, &[forged]).status, 403);
            }
            assert!(browser.is_in(&hosts.b));
            let origin = format!("http://{b}");
            log_out(&b, "/.hallpass/logout", &token, &[("Origin", &origin)])
        } else {
            let token = browser.cookie(&hosts.issuer, SESSION).unwrap();
            log_out(&issuer, "/logout", &token, &[("Sec-Fetch-Site", "same-origin")])
        };
        assert_eq!(answer.status, 204, "{answer:?}");
        assert_eq!(answer.cookie(SESSION).as_deref(), Some(""));
        assert!(answer.header("clear-site-data").is_some());
        assert!(!browser.is_in_at_the_issuer(&hosts));
        until("b refuses", || !browser.is_in(&hosts.b));
        until("c refuses", || !browser.is_in(&hosts.c));
    }
    // Another browser's log-in is not affected.
    let fresh = everywhere();
    assert!(fresh.is_in(&hosts.b));
    drop(bystander);
}

#[test]
fn a_way_back_is_taken_once_and_by_the_browser_that_left() {
    let hosts = Hosts::start();
    let mut browser = Browser::default();
    browser.log_in(&hosts);
    let callback = browser.go_to_callback(&hosts.b);
    let state = browser.cookie(&hosts.b, STATE).unwrap();
    let (b, target) = parts(&callback);
    let ask = |target: &str, cookie: &str| {
        exchange(b, "GET", target, &[("Host", b), ("Cookie", cookie), ("Accept", "text/html")], "")
    };
    let kept = format!("{STATE}={state}");
    // Log-in CSRF: a page sends another browser there, to log it in as the
    // attacker. None of these uses up the ticket.
    let (path, shown) = target.rsplit_once("state=").unwrap();
    let other = format!("{}0", &shown[..shown.len() - 1]);
    refused(&ask(target, "theme=dark"), 403);
    refused(&ask(target, &format!("{STATE}=0123456789abcdef0123456789abcdef.Lw")), 403);
    refused(&ask(target, &format!("{STATE}=.Lw")), 403);
    refused(&ask(&format!("{path}state="), &format!("{STATE}=.Lw")), 403);
    refused(&ask(target, &format!("{kept}; {kept}")), 403);
    if other != shown {
        refused(&ask(&format!("{path}state={other}"), &kept), 403);
    }
    assert!(ask("/.hallpass/callback", &kept).status == 400);

    // A ticket for another host, with the right state for this one.
    let elsewhere = browser.go_to_callback(&hosts.c);
    let ticket = elsewhere.split_once("ticket=").unwrap().1.split_once('&').unwrap().0;
    refused(&ask(&format!("/.hallpass/callback?ticket={ticket}&state={shown}"), &kept), 403);
    refused(&ask(&format!("/.hallpass/callback?ticket=nonsense&state={shown}"), &kept), 403);

    // The right ticket works exactly once.
    let forwarded = [("Host", b), ("Cookie", kept.as_str()), ("X-Forwarded-For", "192.0.2.7")];
    let answer = exchange(b, "GET", target, &forwarded, "");
    assert_eq!(location(&answer), "/deep");
    let session = answer.cookie(SESSION).unwrap();
    assert!(!session.is_empty());
    assert_eq!(answer.cookie(STATE).as_deref(), Some(""));
    let again = ask(target, &kept);
    refused(&again, 403);
    assert!(again.body.contains("opened twice"), "{again:?}");
    // The refused second use does not end the session.
    browser.keep(b, &answer);
    assert!(browser.is_in(&hosts.b));
    // The issuer sees the client's address, not the edge's.
    until("the issuer has logged it", || {
        hosts.issuer.log().lines().any(|line| line.contains("ticket redeemed") && line.contains("192.0.2.7"))
    });
}

#[test]
fn log_in_leads_back_to_where_it_may() {
    let hosts = Hosts::start();
    let mut browser = Browser::default();
    browser.log_in(&hosts);
    for (return_to, wanted) in [
        ("/deep?x=%26", "/deep?x=%26"),
        ("https://app.example/x", "https://app.example/x"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example/", "/"),
        ("https://app.example@evil.example/", "/"),
        ("javascript:alert(1)", "/"),
    ] {
        let encoded: String = url::form_urlencoded::byte_serialize(return_to.as_bytes()).collect();
        let to_issuer = location(&browser.get(&hosts.b.at(&format!("/.hallpass/start?return_to={encoded}"))));
        let callback = location(&browser.get(&to_issuer));
        assert_eq!(location(&browser.get(&callback)), wanted, "{return_to}");
    }
    // A forged cookie can't redirect elsewhere either.
    let callback = browser.go_to_callback(&hosts.b);
    let (b, target) = parts(&callback);
    let state = target.rsplit_once("state=").unwrap().1;
    // base64url of https://evil.example/
    let cookie = format!("{STATE}={state}.aHR0cHM6Ly9ldmlsLmV4YW1wbGUv");
    let answer = exchange(b, "GET", target, &[("Host", b), ("Cookie", &cookie)], "");
    assert_eq!(location(&answer), "/");
}

/// Without the issuer, there is an error page and no session.
#[test]
fn without_the_issuer_there_is_a_page() {
    let mut hosts = Hosts::start();
    let mut browser = Browser::default();
    browser.log_in(&hosts);
    let callback = browser.go_to_callback(&hosts.b);
    browser.follow(hosts.c.at("/.hallpass/start?return_to=/"));
    let token = browser.cookie(&hosts.c, SESSION).unwrap();
    hosts.issuer.signal("KILL");
    hosts.issuer.wait();
    refused(&browser.get(&callback), 503);
    // A log-out that failed is not reported as done.
    let (c, cookie) = (hosts.c.address(), format!("{SESSION}={token}"));
    let answer = exchange(&c, "POST", "/.hallpass/logout", &[("Host", &c), ("Cookie", &cookie)], "");
    assert_eq!((answer.status, answer.cookie(SESSION)), (503, None), "{answer:?}");
}
