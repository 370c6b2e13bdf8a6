//! A real browser, and the demo that it visits.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use fantoccini::cookies::Cookie;
use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::json;
use tempfile::TempDir;

use crate::support::hallpass;
use crate::support::leaks::{self, Log};

/// chromedriver and a browser of its own, until dropped.
pub(crate) struct Browser {
    driver: Child,
    pub(crate) client: Client,
    _profile: TempDir,
}

impl Browser {
    pub(crate) async fn start(dark: bool, width: u32) -> Self {
        let mut driver = Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines
            .by_ref()
            .map(Result::unwrap)
            .find_map(|line| line.split("successfully on port ").nth(1).map(str::to_owned))
            .unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        let profile = TempDir::new().unwrap();
        let mut args = vec![
            "--headless".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-quic".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            format!("--window-size={width},900"),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        if dark {
            args.push("--blink-settings=preferredColorScheme=0".to_owned());
        }
        let mut capabilities = Capabilities::new();
        capabilities.insert("goog:chromeOptions".to_owned(), json!({ "args": args }));
        let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{}", port.trim_end_matches('.')))
            .await
            .unwrap();
        Self { driver, client, _profile: profile }
    }

    /// An element's text; empty while a page is being replaced.
    pub(crate) async fn text(&self, selector: &str) -> String {
        match self.client.find(Locator::Css(selector)).await {
            Ok(element) => element.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// Waits until an element says this: a click's page may take its time.
    pub(crate) async fn shows(&self, selector: &str, wanted: &str) {
        let mut said = String::new();
        for _ in 0..300 {
            said = self.text(selector).await;
            if said == wanted {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("{selector} says {said:?} and not {wanted:?}");
    }

    /// Waits until so many elements are there.
    pub(crate) async fn counts(&self, selector: &str, wanted: usize) {
        for _ in 0..300 {
            if self.client.find_all(Locator::Css(selector)).await.map_or(0, |found| found.len()) == wanted {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("there are not {wanted} of {selector}");
    }

    pub(crate) async fn log_in(&self, user: &str, password: &str) {
        let username = self.client.find(Locator::Css("#username")).await.unwrap();
        username.clear().await.unwrap();
        username.send_keys(user).await.unwrap();
        self.client.find(Locator::Css("#password")).await.unwrap().send_keys(password).await.unwrap();
        self.client.find(Locator::Css("button")).await.unwrap().click().await.unwrap();
    }

    /// Checks that every control has an accessible name, and
    /// the page a language and a title.
    pub(crate) async fn is_labelled(&self) {
        let unlabelled = "return [...document.querySelectorAll('input:not([type=hidden]), button, a, svg, \
             [tabindex]')].filter((e) => !(e.labels?.length || e.ariaLabel || e.textContent.trim() || \
             e.getAttribute('aria-labelledby'))).length + !document.documentElement.lang + !document.title";
        assert_eq!(self.client.execute(unlabelled, vec![]).await.unwrap(), json!(0), "all have a name");
    }

    /// Types into the focused element.
    pub(crate) async fn types(&self, text: &str) {
        self.client.active_element().await.unwrap().send_keys(text).await.unwrap();
    }

    /// Kept under target/screenshots for a person to look at.
    pub(crate) async fn screenshot(&self, name: &str) {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), self.client.screenshot().await.unwrap()).unwrap();
    }

    pub(crate) async fn cookie(&self) -> Option<Cookie<'static>> {
        self.client.get_named_cookie("__Host-session").await.ok()
    }

    pub(crate) async fn stop(mut self) {
        self.client.clone().close().await.unwrap();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// The demo on free ports: its addresses and the demo user's password.
pub(crate) struct Demo {
    process: Child,
    log: Log,
    pub(crate) issuer: String,
    pub(crate) app: String,
    pub(crate) password: String,
}

impl Demo {
    /// With these arguments besides.
    pub(crate) fn start(more: &[&str]) -> Self {
        let mut process = hallpass()
            .args(["demo", "--listen", "127.0.0.1:0", "--app-listen", "127.0.0.1:0"])
            .args(more)
            .stdout(Stdio::piped())
            .env("HALLPASS_LOG", "trace")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Log::of(process.stderr.take().unwrap(), "demo".to_owned());
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut say = |label: &str| {
            let line = lines.by_ref().map(Result::unwrap).find(|line| line.trim().starts_with(label));
            line.unwrap().split_whitespace().last().unwrap().to_owned()
        };
        let (issuer, app, password) = (say("login service"), say("protected app"), say("password"));
        std::thread::spawn(move || lines.for_each(drop));
        leaks::secret(&password);
        Self { process, log, issuer, app, password }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        self.log.check();
    }
}
