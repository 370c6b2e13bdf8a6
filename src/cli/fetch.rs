//! One bounded GET, for commands that take a URL.

use std::time::Duration;

use super::Failure;

/// Parses a URL that nobody on the way can read or change: HTTPS, or HTTP on
/// loopback. Over plain HTTP, keys could be forged and secrets read.
pub(super) fn private_url(url: &str) -> Result<url::Url, Failure> {
    let fail = |why: &dyn std::fmt::Display| Failure::Setup(format!("{url}: {why}"));
    let parsed = url::Url::parse(url).map_err(|error| fail(&error))?;
    let loopback = match parsed.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    match parsed.scheme() {
        "https" => Ok(parsed),
        "http" if loopback => Ok(parsed),
        _ => Err(fail(&"anybody in between could read and change this; use https")),
    }
}

/// Fetches the body at `url`, at most `most` bytes.
pub(super) fn bytes(url: &str, most: usize) -> Result<Vec<u8>, Failure> {
    let fail = |why: &dyn std::fmt::Display| Failure::Setup(format!("{url}: {why}"));
    let parsed = private_url(url)?;
    super::runtime()?.block_on(async {
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| fail(&error))?;
        let mut response = client
            .get(parsed)
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(|error| fail(&error))?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| fail(&error))? {
            body.extend_from_slice(&chunk);
            if body.len() > most {
                return Err(fail(&format!("longer than {most} bytes")));
            }
        }
        Ok(body)
    })
}
