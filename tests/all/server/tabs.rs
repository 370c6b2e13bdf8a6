//! What people do with browsers: several tabs, the back button, other sites.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use fantoccini::Locator;
use fantoccini::wd::WindowHandle;
use serde_json::json;

use crate::support::browser::{Browser, Demo};
use crate::support::{Home, needs};

fn no_browser() -> bool {
    !needs("chromedriver") || !needs("chromium")
}

/// Logged in at the demo's app.
async fn logged_in(demo: &Demo) -> Browser {
    let browser = Browser::start(false, 1200).await;
    browser.client.goto(&demo.app).await.unwrap();
    browser.shows("h1", "Log in").await;
    browser.log_in("demo", &demo.password).await;
    browser.shows("h1", "You are demo").await;
    browser
}

async fn another_tab(browser: &Browser, url: &str) -> WindowHandle {
    let tab = browser.client.new_window(true).await.unwrap().handle;
    browser.client.switch_to_window(tab.clone()).await.unwrap();
    browser.client.goto(url).await.unwrap();
    tab
}

/// A demo whose sessions live as `lifetimes` says.
fn demo_with(home: &Home, lifetimes: &str) -> Demo {
    let config = home.write("demo.toml", format!("[lifetimes]\n{lifetimes}"));
    Demo::start(&["--config", config.to_str().unwrap()])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_out_in_one_tab_ends_the_other_and_back_shows_nothing_private() {
    if no_browser() {
        return;
    }
    let demo = Demo::start(&[]);
    let browser = logged_in(&demo).await;
    let first = browser.client.window().await.unwrap();
    let second = another_tab(&browser, &format!("{}account", demo.issuer)).await;
    browser.shows("h1", "You are demo").await;
    browser.client.find(Locator::Css("form[action$='/logout'] button")).await.unwrap().click().await.unwrap();
    browser.shows("h1", "Log in").await;
    // Back to the account page, which the browser must not have kept.
    browser.client.back().await.unwrap();
    browser.shows("h1", "Log in").await;

    browser.client.switch_to_window(first).await.unwrap();
    browser.client.refresh().await.unwrap();
    browser.shows("h1", "Log in").await;
    browser.client.back().await.unwrap();
    browser.shows("h1", "Log in").await;
    browser.client.switch_to_window(second).await.unwrap();
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_sites_form_changes_nothing() {
    if no_browser() {
        return;
    }
    let demo = Demo::start(&[]);
    let browser = logged_in(&demo).await;
    // To a browser 127.0.0.1 is another site than localhost.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let evil = format!("http://{}", listener.local_addr().unwrap());
    let form = |action: String, fields: &str| {
        let page = format!("<form method=post action='{action}'>{fields}<button>Win</button></form>");
        get(move || async { Html(page) })
    };
    let fields = format!("<input name=username value=demo><input name=password value='{}'>", demo.password);
    let pages = Router::new()
        .route("/out", form(format!("{}logout", demo.issuer), ""))
        .route("/in", form(format!("{}login", demo.issuer), &fields));
    tokio::spawn(async { axum::serve(listener, pages).await });

    for page in ["/out", "/in"] {
        browser.client.goto(&format!("{evil}{page}")).await.unwrap();
        browser.client.find(Locator::Css("button")).await.unwrap().click().await.unwrap();
        let mut refused = false;
        for _ in 0..100 {
            refused = browser.text("body").await.contains("made by another site");
            if refused {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(refused, "{page}: {}", browser.text("body").await);
        browser.client.goto(&demo.app).await.unwrap();
        browser.shows("h1", "You are demo").await;
    }
    browser.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_at_its_absolute_lifetime() {
    if no_browser() {
        return;
    }
    let home = Home::new();
    let demo = demo_with(&home, "absolute_lifetime = \"15s\"\nidle_timeout = \"15s\"\nleeway = \"0s\"\n");
    let browser = logged_in(&demo).await;
    for _ in 0..240 {
        browser.client.refresh().await.unwrap();
        if browser.text("h1").await == "Log in" {
            browser.stop().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("still logged in after the session's end");
}

/// Uses no mouse; every element has a name for screen readers.
#[tokio::test(flavor = "multi_thread")]
async fn the_pages_work_by_keyboard_alone_and_have_names_for_everything() {
    if no_browser() {
        return;
    }
    const TAB: &str = "\u{e004}";
    const ENTER: &str = "\u{e007}";
    let demo = Demo::start(&[]);
    let browser = Browser::start(false, 1200).await;
    browser.client.goto(&demo.app).await.unwrap();
    browser.shows("h1", "Log in").await;
    browser.is_labelled().await;
    // The first field has the focus.
    browser.types(&format!("demo{TAB}")).await;
    browser.types(&format!("{}{ENTER}", demo.password)).await;
    browser.shows("h1", "You are demo").await;
    browser.is_labelled().await;
    browser.types(TAB).await;
    browser.types(ENTER).await;
    browser.shows("h2", "Where you are logged in").await;
    browser.is_labelled().await;
    browser.types(TAB).await;
    browser.types(ENTER).await;
    browser.shows("h1", "Log in").await;
    browser.stop().await;
}

/// The edge renews unnoticed: three tabs load at once, repeatedly, past the
/// expiry of many tokens.
#[tokio::test(flavor = "multi_thread")]
async fn three_tabs_that_reload_at_once_stay_logged_in_across_renewals() {
    if no_browser() {
        return;
    }
    let home = Home::new();
    let demo = demo_with(&home, "idle_timeout = \"1m\"\nrenew_after = \"6s\"\nrenewal_grace = \"3s\"\n");
    let browser = logged_in(&demo).await;
    let mut tabs = vec![browser.client.window().await.unwrap()];
    for _ in 0..2 {
        tabs.push(another_tab(&browser, &demo.app).await);
    }
    for _ in 0..7 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let at = u64::try_from(now.as_millis()).unwrap() + 4500;
        for tab in &tabs {
            browser.client.switch_to_window(tab.clone()).await.unwrap();
            let reload = "setTimeout(() => location.reload(), arguments[0] - Date.now())";
            browser.client.execute(reload, vec![json!(at)]).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(5500)).await;
        for tab in &tabs {
            browser.client.switch_to_window(tab.clone()).await.unwrap();
            browser.shows("h1", "You are demo").await;
        }
    }
    let renewed = browser.text("#renewed").await;
    assert!(renewed.split(' ').next().unwrap().parse::<u32>().unwrap() >= 3, "renewed {renewed}");
    browser.stop().await;
}
