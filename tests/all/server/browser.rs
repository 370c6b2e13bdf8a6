//! The demo in a real browser: Chromium, driven through chromedriver.

use fantoccini::Locator;
use serde_json::json;

use crate::support::browser::{Browser, Demo};
use crate::support::needs;

#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_sees_who_they_are_and_logs_out() {
    if !needs("chromedriver") || !needs("chromium") {
        return;
    }
    let demo = Demo::start(&[]);
    for (name, dark, width) in [("light", false, 1200), ("dark", true, 1200), ("phone", false, 500)] {
        let browser = Browser::start(dark, width).await;
        browser.client.goto(&demo.app).await.unwrap();
        browser.shows("h1", "Log in").await;
        browser.screenshot(&format!("log-in-{name}.png")).await;

        browser.log_in("demo", "wrong").await;
        browser.shows("[role=alert]", "The user name or the password is wrong.").await;
        browser.screenshot(&format!("log-in-refused-{name}.png")).await;
        assert!(browser.cookie().await.is_none());

        browser.log_in("demo", &demo.password).await;
        browser.shows("h1", "You are demo").await;
        assert!(browser.client.current_url().await.unwrap().as_str().starts_with(&demo.app));
        browser.screenshot(&format!("who-am-i-{name}.png")).await;
        let cookie = browser.cookie().await.unwrap();
        assert_eq!(cookie.path(), Some("/"));
        assert_eq!((cookie.secure(), cookie.http_only()), (Some(true), Some(true)));
        assert_eq!(cookie.same_site().map(|site| site.to_string()).as_deref(), Some("Lax"));
        let seen = browser.client.execute("return document.cookie", vec![]).await.unwrap();
        assert_eq!(seen, json!(""), "no script sees the cookie");

        browser.client.find(Locator::Css("a.button")).await.unwrap().click().await.unwrap();
        browser.shows("h2", "Where you are logged in").await;
        browser.screenshot(&format!("account-{name}.png")).await;
        browser
            .client
            .find(Locator::Css("form[action$='/logout'] button"))
            .await
            .unwrap()
            .click()
            .await
            .unwrap();
        browser.shows("h1", "Log in").await;
        assert!(browser.cookie().await.is_none());
        browser.client.back().await.unwrap();
        browser.shows("h1", "Log in").await;
        browser.client.goto(&demo.app).await.unwrap();
        browser.shows("h1", "Log in").await;
        browser.stop().await;
    }
}

/// The account page: this device and another one, ended without JavaScript.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_their_sessions_and_ends_the_others() {
    if !needs("chromedriver") || !needs("chromium") {
        return;
    }
    let home = crate::support::Home::new();
    let serve = home.serve(&[]);
    let other = crate::support::bearer(&serve.url).await;
    let url = serve.url.replace("127.0.0.1", "localhost");
    for (name, dark, width) in [("light", false, 1200), ("dark", true, 1200), ("phone", false, 500)] {
        let another = crate::support::bearer(&serve.url).await;
        let browser = Browser::start(dark, width).await;
        browser.client.goto(&format!("{url}/account")).await.unwrap();
        browser.shows("h1", "Log in").await;
        browser.log_in("alice", crate::support::PASSWORD).await;
        browser.shows("h1", "You are alice").await;
        browser.screenshot(&format!("sessions-{name}.png")).await;
        let listed = browser.client.find_all(Locator::Css("ul.sessions li")).await.unwrap().len();
        assert!(listed >= 2, "{listed}");
        assert!(browser.text("ul.sessions").await.contains("This device"));

        // One is ended by its button; the wrong password ends nothing.
        browser.client.find(Locator::Css("ul.sessions button")).await.unwrap().click().await.unwrap();
        browser.counts("ul.sessions li", listed - 1).await;
        let third = crate::support::bearer(&serve.url).await;
        browser.client.refresh().await.unwrap();
        let ask = async |password: &str| {
            let field = browser.client.find(Locator::Css("#password")).await.unwrap();
            field.send_keys(password).await.unwrap();
            let form = "form[action$='/account/end-others'] button";
            browser.client.find(Locator::Css(form)).await.unwrap().click().await.unwrap();
        };
        ask("wrong").await;
        browser.shows("[role=alert]", "The password is wrong; nothing was ended.").await;
        browser.screenshot(&format!("sessions-refused-{name}.png")).await;
        ask(crate::support::PASSWORD).await;
        browser.counts("ul.sessions li", 1).await;
        for token in [&other, &another, &third] {
            let answer = crate::support::client().get(serve.at("/session")).bearer_auth(token).send().await;
            assert_eq!(answer.unwrap().status(), 401);
        }
        browser.stop().await;
    }
}
