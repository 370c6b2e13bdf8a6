//! The examples, run as they say.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::client;

/// An example's process, and the URL it printed.
pub(crate) struct Example {
    child: Child,
    pub(crate) url: String,
}

impl Example {
    /// `cargo test` builds the examples beside the tests.
    pub(crate) fn start(name: &str, args: &[&str]) -> Self {
        let mut folder: PathBuf = std::env::current_exe().unwrap();
        folder.pop(); // deps
        folder.pop();
        let program = folder.join("examples").join(name);
        let mut child = Command::new(program).args(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        Self { child, url: url.trim().to_owned() }
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
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

    // Why a request is refused is not for its sender.
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
