//! The examples, run as they say.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::support::client;
use crate::support::leaks::Log;

/// The folder of the examples, built from the current sources. `cargo test` builds them
/// too, but not with `--test` or `--examples`: what is there may be old.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        // target/PROFILE/deps/all-…
        let tests = std::env::current_exe().unwrap();
        let built = tests.ancestors().nth(2).unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--locked", "--all-features", "--examples"]);
        cargo.args(built.ends_with("release").then_some("--release"));
        cargo.arg("--target-dir").arg(built.parent().unwrap());
        let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        built.join("examples")
    })
}

/// An example's process, and the URL it printed.
pub(crate) struct Example {
    child: Child,
    log: Log,
    pub(crate) url: String,
}

impl Example {
    pub(crate) fn start(name: &str, args: &[&str]) -> Self {
        let mut command = Command::new(folder().join(name));
        let mut child = command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Log::of(child.stderr.take().unwrap(), format!("{name} {args:?}"));
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        Self { child, log, url: url.trim().to_owned() }
    }

    /// Its process id; fails if the process has ended.
    pub(crate) fn process(&mut self) -> u32 {
        assert!(self.child.try_wait().unwrap().is_none(), "{} is gone", self.url);
        self.child.id()
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.log.check();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_smallest_login_service_and_the_smallest_edge() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("public.cbor");
    let file = file.to_str().unwrap();
    let login = Example::start("login_service", &[file, "0"]);
    let edge = Example::start("edge", &[file, "0"]);
    let ask = |password: &'static str| {
        client()
            .post(format!("{}/login", login.url))
            .form(&[("username", "alice"), ("password", password)])
            .send()
    };
    assert_eq!(ask("wrong").await.unwrap().status(), 401);
    let token = ask("wonderland").await.unwrap().text().await.unwrap();

    assert_eq!(
        client().get(&edge.url).bearer_auth(&token).send().await.unwrap().text().await.unwrap(),
        "hello alice\n"
    );
    let cookie = format!("__Host-session={token}");
    assert_eq!(client().get(&edge.url).header("cookie", &cookie).send().await.unwrap().status(), 200);

    // The answer does not say why a request was refused.
    let mut bodies = Vec::new();
    for bearer in ["", "x", &token[..token.len() - 4], &format!("{token}A"), &"A".repeat(5000)] {
        let answer = client().get(&edge.url).bearer_auth(bearer).send().await.unwrap();
        assert_eq!(answer.status(), 401);
        assert_eq!(answer.headers()["www-authenticate"], "Bearer");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        bodies.push(answer.text().await.unwrap());
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    // A page of another site can't use the cookie for what changes something.
    let forged = client().post(&edge.url).header("cookie", &cookie).header("sec-fetch-site", "cross-site");
    assert_eq!(forged.send().await.unwrap().status(), 403);
}
