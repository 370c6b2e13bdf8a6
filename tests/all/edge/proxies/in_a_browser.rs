//! Chromium in front of a real proxy: it is sent to the log-in and back, and gets
//! the renewed cookie. One proxy redirects, the other can't.

use fantoccini::Locator;

use super::site::{Proxy, Site};
use crate::support::browser::Browser;
use crate::support::{PASSWORD, needs};

fn goes_there_and_back(proxy: Proxy) {
    if !needs("chromedriver") {
        return;
    }
    let Some(site) = Site::start(proxy) else { return };
    // The site has its own runtime, which must be dropped outside this one.
    tokio::runtime::Runtime::new().unwrap().block_on(with_a_browser(&site));
}

async fn with_a_browser(site: &Site) {
    let browser = Browser::start(false, 800).await;
    let page = format!("http://{}/orders?of=today&page=%2F2", site.host);
    browser.client.goto(&page).await.unwrap();
    // The edge's own page follows its link automatically.
    browser.counts("#password", 1).await;
    browser.log_in("alice", PASSWORD).await;
    let shows_the_service = async |browser: &Browser| {
        for _ in 0..300 {
            let text = browser.text("body").await;
            if text.contains("x-hallpass-subject") {
                return text;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("{:?}: {}", browser.client.current_url().await, browser.text("body").await)
    };
    let text = shows_the_service(&browser).await;
    assert!(text.contains("[\"x-hallpass-subject\",\"alice\"]"), "{text}");
    assert_eq!(browser.client.current_url().await.unwrap().as_str(), page);

    let first = browser.cookie().await.unwrap();
    assert!(first.http_only().unwrap_or_default() && first.secure().unwrap_or_default(), "{first:?}");
    let mut renewed = false;
    for _ in 0..300 {
        browser.client.refresh().await.unwrap();
        assert!(!shows_the_service(&browser).await.is_empty());
        renewed = browser.cookie().await.is_some_and(|cookie| cookie.value() != first.value());
        if renewed {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(renewed, "the browser has the token that it had");

    // Without the cookie, the browser is sent to the log-in again.
    browser.client.delete_all_cookies().await.unwrap();
    browser.client.goto(&page).await.unwrap();
    browser.counts("#password", 1).await;
    assert!(browser.client.find(Locator::Css("#username")).await.is_ok());
    browser.stop().await;
}

#[test]
fn nginx_redirects_to_the_log_in() {
    goes_there_and_back(Proxy::Nginx);
}

#[test]
fn the_edges_own_page_leads_there_through_traefik() {
    goes_there_and_back(Proxy::Traefik);
}
