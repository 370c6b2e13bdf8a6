//! A whole site: issuer, edge, service, and a proxy in front.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::app::App;
use super::page;
use crate::support::exchange::{Answer, exchange, try_exchange};
use crate::support::{Home, PASSWORD, Running, needs, ok};

/// The timeout for process starts and all other waits.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Tokens are due for renewal after ten seconds and valid for ten more: a test
/// logs in first and checks the renewal last. Their sessions may rest for an
/// hour.
const CONFIG: &str = r#"
base_path = "/.hallpass"
trusted_proxies = ["127.0.0.1"]

[tokens]
audience = "shop"

[lifetimes]
token_max_age = "20s"
idle_timeout = "1h"
"#;

/// One of the five proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proxy {
    Nginx,
    Caddy,
    Haproxy,
    Traefik,
    Envoy,
}

impl Proxy {
    fn program(self) -> Option<PathBuf> {
        let name = match self {
            Self::Nginx => "nginx",
            Self::Caddy => "caddy",
            Self::Haproxy => "haproxy",
            Self::Traefik => "traefik",
            Self::Envoy => "envoy",
        };
        // tests/peers/setup-proxies.sh installs three of them here.
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/proxies/bin").join(name);
        if own.is_file() { Some(own) } else { needs(name).then(|| name.into()) }
    }

    /// The page's files for this proxy.
    fn files(self) -> &'static [&'static str] {
        match self {
            Self::Nginx => &["nginx.conf"],
            Self::Caddy => &["Caddyfile"],
            Self::Haproxy => &["haproxy.cfg", "hallpass.lua"],
            Self::Traefik => &["traefik.yml", "hallpass.yml"],
            Self::Envoy => &["envoy.yaml"],
        }
    }

    /// Returns the file with changes that let several instances run on one
    /// machine.
    fn apart(self, text: &str, folder: &Path) -> String {
        match self {
            Self::Nginx => {
                let folder = folder.display();
                let own = format!(
                    "http {{\n    access_log off;\n    client_body_temp_path {folder}/body;\n    \
                     proxy_temp_path {folder}/proxy;\n    fastcgi_temp_path {folder}/fastcgi;\n    \
                     uwsgi_temp_path {folder}/uwsgi;\n    scgi_temp_path {folder}/scgi;\n"
                );
                format!("pid {folder}/nginx.pid;\ndaemon off;\n{}", text.replacen("http {\n", &own, 1))
            }
            Self::Caddy => format!("{{\n\tadmin off\n\tpersist_config off\n}}\n{text}"),
            _ => text.to_owned(),
        }
    }

    fn command(self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        match self {
            Self::Nginx => command.args(["-e", "stderr", "-p"]).arg(folder).args(["-c", "nginx.conf"]),
            Self::Caddy => command
                .args(["run", "--config", "Caddyfile"])
                .env("XDG_DATA_HOME", folder)
                .env("XDG_CONFIG_HOME", folder),
            Self::Haproxy => command.args(["-db", "-f", "haproxy.cfg"]),
            Self::Traefik => command.args(["--configfile", "traefik.yml"]),
            Self::Envoy => command.args([
                "-c",
                "envoy.yaml",
                "--use-dynamic-base-id",
                "--concurrency",
                "1",
                "-l",
                "warn",
            ]),
        };
        command
    }
}

/// A process that serves until it is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // nginx stops its workers on SIGTERM. SIGKILL would leave them running.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) struct Site {
    pub(super) home: Home,
    pub(super) issuer: Running,
    pub(super) edge: Running,
    pub(super) app: App,
    /// The proxy's `HOST:PORT`, to connect to.
    pub(super) address: String,
    /// The proxy's `HOST:PORT` as the browser sees it.
    pub(super) host: String,
    log: PathBuf,
    _proxy: Process,
}

impl Site {
    /// `None` if the proxy is not installed here.
    pub(super) fn start(proxy: Proxy) -> Option<Self> {
        Self::before(proxy, |_, app| app.address.port())
    }

    /// A site whose proxy stands before another service. `service` is given the
    /// edge's URL and returns the service's port.
    pub(super) fn before(proxy: Proxy, service: impl FnOnce(&str, &App) -> u16) -> Option<Self> {
        let program = proxy.program()?;
        let home = Home::new();
        let config = home.write("hallpass.toml", CONFIG);
        let feed_keys = ok(&["key", "export", "--use", "feed", "--dir", &home.path("keys")], b"");
        let feed_keys = home.write("feed-keys.cbor", feed_keys);
        let issuer = home.serve(&["--config", config.to_str().unwrap()]);
        let edge = Running::start(
            &[
                "edge",
                "--listen",
                "127.0.0.1:0",
                "--issuer",
                &issuer.url,
                "--trust",
                feed_keys.to_str().unwrap(),
                "--audience",
                "shop",
                "--cache",
                &home.path("edge-cache"),
            ],
            &[],
        );
        let app = App::start();
        let folder = home.folder().to_owned();
        let log = folder.join("proxy.log");
        let behind = [
            ("8780", port_of(&issuer.address())),
            ("8782", port_of(&edge.address())),
            ("8783", service(&edge.url, &app)),
        ];
        let (child, port) = started(proxy, &program, &home, &log, &behind);
        let site = Self {
            home,
            issuer,
            edge,
            app,
            address: format!("127.0.0.1:{port}"),
            host: format!("localhost:{port}"),
            log,
            _proxy: child,
        };
        let edge = site.edge.address();
        site.until("the edge is ready", || {
            exchange(&edge, "GET", "/readyz", &[("Host", &edge)], "").status == 200
        });
        site.until("the proxy passes", || {
            try_exchange(&site.address, "GET", "/.hallpass/healthz", &[("Host", &site.host)], "")
                .is_ok_and(|answer| answer.status == 200)
        });
        Some(site)
    }

    /// Waits until `holds` returns true.
    pub(super) fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < until, "never: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends a request through the proxy.
    pub(super) fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        let mut all = vec![("Host", self.host.as_str())];
        all.extend(headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("host")));
        exchange(&self.address, method, target, &all, if method == "POST" { "a=b" } else { "" })
    }

    /// Sends a request with the session cookie.
    pub(super) fn ask_as(&self, token: &str, method: &str, target: &str, more: &[(&str, &str)]) -> Answer {
        let cookie = format!("theme=dark; __Host-session={token}");
        let mut headers = vec![("Cookie", cookie.as_str())];
        headers.extend(more);
        self.ask(method, target, &headers)
    }

    /// Logs alice in through the proxy, like the form. Returns her token.
    pub(super) fn log_in(&self) -> String {
        let form = format!("username=alice&password={}&return_to=/", PASSWORD.replace(' ', "+"));
        let origin = format!("http://{}", self.host);
        let headers = [
            ("Host", self.host.as_str()),
            ("Origin", origin.as_str()),
            ("Accept", "text/html"),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ];
        let answer = exchange(&self.address, "POST", "/.hallpass/login", &headers, &form);
        assert_eq!(answer.status, 303, "{answer:?}\n{}", self.log());
        assert_eq!(answer.header("location"), Some("/"));
        answer.cookie("__Host-session").unwrap()
    }
}

/// Starts the proxy on its own port. If another process has taken the port since
/// it was found free, the proxy exits and is started on another.
fn started(proxy: Proxy, program: &Path, home: &Home, log: &Path, behind: &[(&str, u16)]) -> (Process, u16) {
    let folder = home.folder();
    for _ in 0..10 {
        let port = free_port();
        let ports = [&[("8080", port)], behind].concat();
        for name in proxy.files() {
            let text = proxy.apart(&page::file(name), folder);
            home.write(name, page::with_ports(&text, &ports));
        }
        let output = std::fs::File::create(log).unwrap();
        let child = proxy
            .command(program, folder)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let mut child = Process(child);
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let (address, host) = (format!("127.0.0.1:{port}"), format!("localhost:{port}"));
            let passes = try_exchange(&address, "GET", "/.hallpass/healthz", &[("Host", &host)], "")
                .is_ok_and(|answer| answer.status == 200);
            if passes && matches!(child.0.try_wait(), Ok(None)) {
                return (child, port);
            }
            if !matches!(child.0.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    panic!("{proxy:?} does not start: {}", std::fs::read_to_string(log).unwrap_or_default());
}

fn port_of(address: &str) -> u16 {
    address.rsplit(':').next().unwrap().parse().unwrap()
}

/// Returns a port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
