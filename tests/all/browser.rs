//! The demo in a real browser: Chromium, driven through chromedriver.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use fantoccini::cookies::Cookie;
use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{hallpass, needs};

/// chromedriver and a browser of its own, until dropped.
struct Browser {
    driver: Child,
    client: Client,
    _profile: TempDir,
}

impl Browser {
    async fn start(dark: bool, width: u32) -> Self {
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

    async fn text(&self, selector: &str) -> String {
        self.client.find(Locator::Css(selector)).await.unwrap().text().await.unwrap()
    }

    async fn log_in(&self, user: &str, password: &str) {
        let username = self.client.find(Locator::Css("#username")).await.unwrap();
        username.clear().await.unwrap();
        username.send_keys(user).await.unwrap();
        self.client.find(Locator::Css("#password")).await.unwrap().send_keys(password).await.unwrap();
        self.client.find(Locator::Css("button")).await.unwrap().click().await.unwrap();
    }

    /// Kept under target/screenshots for a person to look at.
    async fn screenshot(&self, name: &str) {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), self.client.screenshot().await.unwrap()).unwrap();
    }

    async fn cookie(&self) -> Option<Cookie<'static>> {
        self.client.get_named_cookie("__Host-session").await.ok()
    }

    async fn stop(mut self) {
        self.client.clone().close().await.unwrap();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// The demo on free ports: its app's address and the demo user's password.
struct Demo {
    process: Child,
    app: String,
    password: String,
}

impl Demo {
    fn start() -> Self {
        let mut process = hallpass()
            .args(["demo", "--listen", "127.0.0.1:0", "--app-listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut say = |label: &str| {
            let line = lines.by_ref().map(Result::unwrap).find(|line| line.trim().starts_with(label));
            line.unwrap().split_whitespace().last().unwrap().to_owned()
        };
        let (app, password) = (say("protected app"), say("password"));
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, app, password }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_sees_who_they_are_and_logs_out() {
    if !needs("chromedriver") || !needs("chromium") {
        return;
    }
    let demo = Demo::start();
    for (name, dark, width) in [("light", false, 1200), ("dark", true, 1200), ("phone", false, 500)] {
        let browser = Browser::start(dark, width).await;
        browser.client.goto(&demo.app).await.unwrap();
        assert_eq!(browser.text("h1").await, "Log in");
        browser.screenshot(&format!("log-in-{name}.png")).await;

        browser.log_in("demo", "wrong").await;
        assert_eq!(browser.text("[role=alert]").await, "The user name or the password is wrong.");
        browser.screenshot(&format!("log-in-refused-{name}.png")).await;
        assert!(browser.cookie().await.is_none());

        browser.log_in("demo", &demo.password).await;
        assert_eq!(browser.text("h1").await, "You are demo", "and back at the app");
        assert!(browser.client.current_url().await.unwrap().as_str().starts_with(&demo.app));
        browser.screenshot(&format!("who-am-i-{name}.png")).await;
        let cookie = browser.cookie().await.unwrap();
        assert_eq!(cookie.path(), Some("/"));
        assert_eq!((cookie.secure(), cookie.http_only()), (Some(true), Some(true)));
        assert_eq!(cookie.same_site().map(|site| site.to_string()).as_deref(), Some("Lax"));
        let seen = browser.client.execute("return document.cookie", vec![]).await.unwrap();
        assert_eq!(seen, json!(""), "no script sees the cookie");

        browser.client.find(Locator::Css("a.button")).await.unwrap().click().await.unwrap();
        browser.screenshot(&format!("account-{name}.png")).await;
        browser
            .client
            .find(Locator::Css("form[action$='/logout'] button"))
            .await
            .unwrap()
            .click()
            .await
            .unwrap();
        assert_eq!(browser.text("h1").await, "Log in");
        assert!(browser.cookie().await.is_none());
        browser.client.back().await.unwrap();
        assert_eq!(browser.text("h1").await, "Log in", "the back button shows nothing private");
        browser.client.goto(&demo.app).await.unwrap();
        assert_eq!(browser.text("h1").await, "Log in");
        browser.stop().await;
    }
}
