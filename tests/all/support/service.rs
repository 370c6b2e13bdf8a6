//! The program under test, as a real process on a real socket.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use tempfile::TempDir;

use crate::support::leaks::{self, Log};

pub(crate) const PASSWORD: &str = "correct horse battery";

pub(crate) fn hallpass() -> Command {
    Command::new(env!("CARGO_BIN_EXE_hallpass"))
}

/// Runs the program to its end with `stdin`.
pub(crate) fn run(args: &[&str], stdin: &[u8]) -> Output {
    let mut child = hallpass()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let stdin = stdin.to_vec();
    let writer = thread::spawn(move || drop(input.write_all(&stdin)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    leaks::none_in(&format!("{args:?}"), &String::from_utf8_lossy(&output.stderr));
    output
}

/// Runs the program and expects success.
pub(crate) fn ok(args: &[&str], stdin: &[u8]) -> Vec<u8> {
    let output = run(args, stdin);
    assert!(output.status.success(), "{args:?}: {output:?}");
    output.stdout
}

/// Expects exit code 2 and a message on stderr that contains `hint`.
pub(crate) fn misused(args: &[&str], hint: &str) {
    let output = run(args, b"");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {message}");
    assert!(message.contains(hint), "{args:?}: {message}");
}

/// A folder with keys and a user alice.
pub(crate) struct Home {
    folder: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        let home = Self { folder: TempDir::new().unwrap() };
        ok(&["key", "init", "--dir", &home.path("keys")], b"");
        home.add_user("alice", &["--claims", r#"{"roles":["admin"]}"#]);
        home
    }

    pub(crate) fn add_user(&self, name: &str, more: &[&str]) {
        let data = self.path("data");
        let mut args = vec!["user", "add", name, "--data", &data];
        args.extend(more);
        ok(&args, format!("{PASSWORD}\n").as_bytes());
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `serve` on a free port.
    pub(crate) fn serve(&self, more: &[&str]) -> Running {
        self.serve_with(more, &[])
    }

    /// Runs `serve` at log level `error`.
    pub(crate) fn serve_quietly(&self, more: &[&str]) -> Running {
        self.serve_with(more, &[("HALLPASS_LOG", "error")])
    }

    /// `serve` with secrets in its environment.
    pub(crate) fn serve_with(&self, more: &[&str], env: &[(&str, &str)]) -> Running {
        let (data, keys) = (self.path("data"), self.path("keys"));
        let mut args = vec!["serve", "--listen", "127.0.0.1:0", "--data", &data, "--keys", &keys];
        args.extend(more);
        Running::start(&args, env)
    }
}

/// A process that serves until it is dropped.
pub(crate) struct Running {
    child: Child,
    /// The address it reports.
    pub(crate) url: String,
    /// The operators' address.
    pub(crate) admin: Option<String>,
    log: Log,
}

impl Running {
    pub(crate) fn start(args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut child = hallpass()
            .args(args)
            .env("HALLPASS_LOG", "debug")
            .envs(env.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Log::of(child.stderr.take().unwrap(), format!("{args:?}"));
        leaks::secret(PASSWORD);
        for (name, value) in env {
            if name.ends_with("_TOKEN") {
                leaks::secret(value);
            }
        }
        if let Some([_, keys]) = args.windows(2).find(|pair| pair[0] == "--keys") {
            leaks::keys_in(Path::new(keys));
        }
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        // Whatever else it prints must not block it.
        thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        let said: serde_json::Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("{args:?} said {line:?}, log: {}", log.text()));
        let admin = said["admin"].as_str().map(str::to_owned);
        Self { child, url: said["listening"].as_str().unwrap().to_owned(), admin, log }
    }

    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// `HOST:PORT`.
    pub(crate) fn address(&self) -> String {
        self.url.split("://").nth(1).unwrap().split('/').next().unwrap().to_owned()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// Waits for the end; its exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// All that it has logged.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.log.check();
    }
}

/// A client that follows no redirects, keeps no cookies and trusts no
/// certificate: reading the system's takes longer than all it does.
pub(crate) fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    client.tls_certs_only([]).build().unwrap()
}

/// Logs alice in over `url`; the bearer token.
pub(crate) async fn bearer(url: &str) -> String {
    let answer = client()
        .post(format!("{url}/login"))
        .json(&serde_json::json!({ "username": "alice", "password": PASSWORD, "transport": "bearer" }))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200, "{:?}", answer.text().await);
    let answer: serde_json::Value = answer.json().await.unwrap();
    let token = answer["token"].as_str().unwrap();
    leaks::secret(token);
    token.to_owned()
}

/// Whether an outside component is here. Where it isn't, the test that asks is
/// skipped and says so; with `HALLPASS_TEST_ALL=1`, as `tests/run` has it, it
/// fails.
pub(crate) fn needs(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()));
    if !found {
        assert!(
            std::env::var_os("HALLPASS_TEST_ALL").is_none(),
            "{program} is missing; tests/run installs it"
        );
        // Past the test runner's capture, so that it is seen.
        let _ = writeln!(std::io::stderr(), "skipped: {program} is not installed; tests/run installs it");
    }
    found
}

/// Returns whether this file, which `script` installs, is there.
pub(crate) fn have(file: &Path, script: &str) -> bool {
    let found = file.exists();
    if !found {
        let how = format!("{} is missing; {script} installs it", file.display());
        assert!(std::env::var_os("HALLPASS_TEST_ALL").is_none(), "{how}");
        let _ = writeln!(std::io::stderr(), "skipped: {how}");
    }
    found
}

/// Whether the token is at least so old that it may be renewed, by this clock,
/// which is the service's too.
pub(crate) fn is_due(token: &str, renew_after: std::time::Duration) -> bool {
    let issued = hallpass::danger::inspect(token).unwrap().json["session"]["issued_at"].clone();
    let issued = hallpass::UnixTime::parse_rfc3339(issued.as_str().unwrap()).unwrap();
    hallpass::Clock::now(&hallpass::SystemClock) >= issued.saturating_add(renew_after)
}
