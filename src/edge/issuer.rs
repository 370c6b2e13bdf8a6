//! What the edge asks of the issuer on behalf of one person: redeem a ticket,
//! end a session.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use crate::error::ConfigError;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer that is read, in bytes: a token and its session fit often.
const MAX_ANSWER: usize = 64 * 1024;

/// Why the issuer did not do it.
#[derive(Debug, thiserror::Error)]
pub(super) enum IssuerError {
    /// It said no.
    #[error("the issuer refused with status {0}")]
    Refused(StatusCode),
    #[error("the issuer can't be reached: {0}")]
    Unreachable(String),
    #[error("the issuer's answer is not what was asked for")]
    Answer,
}

pub(super) struct IssuerClient {
    http: reqwest::Client,
    tickets: Url,
    log_out: Url,
}

#[derive(Deserialize)]
struct Redeemed {
    token: String,
}

impl IssuerClient {
    /// # Errors
    /// [`ConfigError::Builder`] for a URL that is none, or over which tokens
    /// would travel in the clear.
    pub(super) fn new(issuer: &str) -> Result<Self, ConfigError> {
        let under = |path: &str| {
            Url::parse(&format!("{}/{path}", issuer.trim_end_matches('/')))
                .map_err(|_| ConfigError::Builder("the issuer is a URL like https://login.example/.hallpass"))
        };
        let log_out = under("logout")?;
        let loopback = match log_out.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        if log_out.scheme() != "https" && !(log_out.scheme() == "http" && loopback) {
            return Err(ConfigError::Builder(
                "tokens travel between edge and issuer: use https, or an address of this machine",
            ));
        }
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|why| ConfigError::Serve(why.to_string()))?;
        Ok(Self { http, tickets: under("tickets/redeem")?, log_out })
    }

    /// The token of the child session that a ticket opens.
    pub(super) async fn redeem(&self, ticket: &str, audience: Option<&str>) -> Result<String, IssuerError> {
        let body = json!({ "ticket": ticket, "audience": audience });
        let mut answer = self.http.post(self.tickets.clone()).json(&body).send().await.map_err(unreachable)?;
        if answer.status() != StatusCode::OK {
            return Err(IssuerError::Refused(answer.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER {
                return Err(IssuerError::Answer);
            }
        }
        let redeemed: Redeemed = serde_json::from_slice(&body).map_err(|_| IssuerError::Answer)?;
        Ok(redeemed.token)
    }

    /// Ends the session of this token.
    pub(super) async fn log_out(&self, token: &str) -> Result<(), IssuerError> {
        let answer =
            self.http.post(self.log_out.clone()).bearer_auth(token).send().await.map_err(unreachable)?;
        if answer.status().is_success() { Ok(()) } else { Err(IssuerError::Refused(answer.status())) }
    }
}

fn unreachable(why: reqwest::Error) -> IssuerError {
    // Without the URL, and nothing of what was sent.
    IssuerError::Unreachable(why.without_url().to_string())
}
