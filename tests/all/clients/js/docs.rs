//! The programs of `docs/other-languages.md`, copied from the page and run
//! against a real issuer.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fantoccini::Locator;
use serde_json::Value;
use tempfile::TempDir;

use super::{Server, Site, deno, deno_command, issuer, output, root, workerd};
use crate::support::browser::Browser;
use crate::support::{Home, Running, bearer, client, needs, ok};

/// The page's programs, each in the file that its first line names, next to the
/// client and an issuer's keys.
struct Folder {
    folder: TempDir,
    home: Home,
    serve: Running,
}

impl Folder {
    fn new() -> Self {
        let (home, serve) = issuer();
        let folder = TempDir::new().unwrap();
        let page = std::fs::read_to_string(root().join("docs/other-languages.md")).unwrap();
        let mut programs = 0;
        for block in page.split("\n```").skip(1).step_by(2) {
            let (language, text) = block.split_once('\n').unwrap();
            if matches!(language, "js" | "html" | "capnp" | "python") {
                let first = text.lines().next().unwrap();
                let name = first.split_whitespace().nth(1).unwrap_or_else(|| panic!("no name: {first}"));
                std::fs::write(folder.path().join(name), text).unwrap();
                programs += 1;
            }
        }
        assert_eq!(programs, 7, "a program was not found");
        std::fs::copy(root().join("clients/js/hallpass.js"), folder.path().join("hallpass.js")).unwrap();
        let keys = home.path("keys");
        for (file, usage) in [("keys.json", "session"), ("feed-keys.json", "feed")] {
            let set = ok(&["key", "export", "--dir", &keys, "--use", usage, "--format", "jwks"], b"");
            std::fs::write(folder.path().join(file), set).unwrap();
        }
        Self { folder, home, serve }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn start(&self, command: &mut Command) -> Server {
        Server::start(command.current_dir(self.path()).env("ISSUER", &self.serve.url).env("PORT", "0"))
    }

    /// Checks that bearer and cookie requests are told their user until the
    /// log-out.
    async fn guards(&self, server: &Server) {
        let ask = async |name: &str, value: &str| {
            let answer = client().get(server.url()).header(name, value).send().await.unwrap();
            assert_eq!(answer.headers()["cache-control"], "no-store");
            (answer.status().as_u16(), answer.text().await.unwrap())
        };
        let hello = (200, "hello alice\n".to_owned());
        let refused = (401, "log in first\n".to_owned());
        let (token, other) = (bearer(&self.serve.url).await, bearer(&self.serve.url).await);
        let (with, cookie) = (format!("Bearer {token}"), format!("__Host-session={token}"));
        assert_eq!(ask("authorization", &with).await, hello);
        assert_eq!(ask("cookie", &format!("a=b; {cookie}")).await, hello);
        assert_eq!(ask("accept", "*/*").await, refused);
        assert_eq!(ask("cookie", &format!("{cookie}; {cookie}")).await, refused);
        assert_eq!(ask("authorization", &with[..with.len() - 1]).await, refused);
        let out = client().post(self.serve.at("/logout")).bearer_auth(&token).send().await.unwrap();
        assert_eq!(out.status(), 204);
        for _ in 0..1200 {
            if ask("authorization", &with).await == refused {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(ask("authorization", &with).await, refused);
        assert_eq!(ask("cookie", &cookie).await, refused);
        assert_eq!(ask("authorization", &format!("Bearer {other}")).await, hello);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn node() {
    if !needs("node") {
        return;
    }
    let folder = Folder::new();
    folder.guards(&folder.start(Command::new("node").arg("node.mjs"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deno_too() {
    let Some(deno) = deno() else { return };
    let folder = Folder::new();
    let mut command = deno_command(&deno, &folder.home.folder().join("deno"));
    command.args(["run", "--allow-net", "--allow-env=ISSUER,PORT", "--allow-read=feed-keys.json", "deno.js"]);
    folder.guards(&folder.start(&mut command)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workerd_too() {
    let Some(workerd) = workerd() else { return };
    let folder = Folder::new();
    let config = folder.path().join("worker.capnp");
    folder.guards(&Server::workerd(&workerd, &config, &[("ISSUER", &folder.serve.url)])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn browser() {
    if !needs("chromedriver") || !needs("chromium") {
        return;
    }
    let folder = Folder::new();
    let site = Site::start(folder.path(), &folder.serve.url).await;
    let browser = Browser::start(false, 1200).await;
    browser.client.goto(&format!("{}/token.html", site.url)).await.unwrap();
    browser.client.wait().for_element(Locator::Css("body[data-ready]")).await.unwrap();
    let said = async |token: &str| -> Value {
        let input = browser.client.find(Locator::Css("#token")).await.unwrap();
        input.clear().await.unwrap();
        browser.client.execute("document.querySelector('#verdict').textContent = ''", vec![]).await.unwrap();
        input.send_keys(token).await.unwrap();
        for _ in 0..1200 {
            let text = browser.client.find(Locator::Css("#verdict")).await.unwrap().text().await.unwrap();
            // Each key stroke gives a verdict; the last is for the whole token.
            if let Ok(verdict) = serde_json::from_str::<Value>(&text)
                && verdict["reason"] != "malformed"
            {
                return verdict;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no verdict");
    };
    let token = bearer(&folder.serve.url).await;
    let verdict = said(&token).await;
    assert_eq!((&verdict["verdict"], &verdict["session"]["subject"]), (&"accepted".into(), &"alice".into()));
    let another = issuer();
    assert_eq!(said(&bearer(&another.1.url).await).await["reason"], "unknown_key");
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python() {
    let python = root().join("target/peers/bin/python");
    if !python.exists() {
        let how = "target/peers is not there; make it with tests/peers/setup.sh";
        assert!(std::env::var_os("HALLPASS_TEST_ALL").is_none(), "{how}");
        eprintln!("skipped: {how}");
        return;
    }
    let folder = Folder::new();
    let run = |args: &[&str]| {
        let mut command = Command::new(&python);
        command.current_dir(folder.path()).args(["verify.py", "keys.json"]).args(args);
        command
    };
    let token = bearer(&folder.serve.url).await;
    let said: Value = serde_json::from_str(&output(&mut run(&[&token]))).unwrap();
    assert_eq!(said["subject"], "alice");
    assert_eq!(said["claims"], serde_json::json!({ "roles": ["admin"] }));
    let another = issuer();
    // Change a character well inside the signature, so that the signature is sure
    // to differ.
    let at = token.len() - 40;
    let other = if &token[at..=at] == "A" { "B" } else { "A" };
    let forged = format!("{}{other}{}", &token[..at], &token[at + 1..]);
    for (token, audience, why) in [
        (forged.as_str(), "", "verify"),
        (&bearer(&another.1.url).await, "", "key"),
        (&token, "store", "another audience"),
        (&"A".repeat(5000), "", "too long"),
    ] {
        let args: Vec<_> = [token, audience].into_iter().filter(|arg| !arg.is_empty()).collect();
        let output = run(&args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains("refused: ") && said.contains(why),
            "{why}: {said}"
        );
    }
}
