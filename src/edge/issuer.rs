//! Calls to the issuer on behalf of one user: redeem a ticket, end a session.

use std::net::IpAddr;
use std::time::Duration;

use http::StatusCode;
use reqwest::RequestBuilder;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::error::ConfigError;
use crate::key::VerifyingKey;
use crate::key::exchange::{MAX_KEY_SET_BYTES, keys_from_bytes};
use crate::outbound::{self, BodyError, Outbound};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer that is read, in bytes: several times a token and its
/// session.
const MAX_ANSWER: usize = 64 * 1024;
/// Most tickets that are redeemed at once. Anybody can send an invalid one, and
/// each waits for the issuer.
const MAX_REDEEMING: usize = 64;
/// Most log-outs that are forwarded at once. Anybody can send a token with a
/// key that this edge does not know, and only the issuer can decide about it.
const MAX_LOGGING_OUT: usize = 64;

/// Why a call to the issuer failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum IssuerError {
    /// The issuer refused.
    #[error("the issuer refused with status {0}")]
    Refused(StatusCode),
    /// Not sent: too many calls already wait for the issuer.
    #[error("too many wait for the issuer")]
    Busy,
    #[error("the issuer can't be reached: {0}")]
    Unreachable(String),
    #[error("the issuer's answer is not what was asked for")]
    Answer,
}

pub(super) struct IssuerClient {
    outbound: Outbound,
    redeeming: Semaphore,
    logging_out: Semaphore,
}

#[derive(Deserialize)]
pub(super) struct Redeemed {
    pub(super) token: String,
    /// For so many seconds its session can be renewed.
    pub(super) renewable_for: u64,
}

impl IssuerClient {
    /// Sets up calls to the issuer at this URL.
    ///
    /// # Errors
    /// [`ConfigError::Builder`] for an invalid URL, or one over which tokens
    /// would travel in the clear.
    pub(super) fn new(issuer: &str) -> Result<Self, ConfigError> {
        let outbound = Outbound::new(issuer, Vec::new(), TIMEOUT)?;
        if outbound.is_private() {
            Ok(Self {
                outbound,
                redeeming: Semaphore::new(MAX_REDEEMING),
                logging_out: Semaphore::new(MAX_LOGGING_OUT),
            })
        } else {
            Err(ConfigError::Builder(
                "tokens travel between edge and issuer: --issuer is https, or on this machine",
            ))
        }
    }

    /// Redeems the ticket that the browser at `client` brought. Returns the
    /// token of the child session.
    pub(super) async fn redeem(
        &self,
        ticket: &str,
        audience: &str,
        client: IpAddr,
    ) -> Result<Redeemed, IssuerError> {
        let _place = self.redeeming.try_acquire().map_err(|_| IssuerError::Busy)?;
        let asked = json!({ "ticket": ticket, "audience": audience });
        let request = self.post("/tickets/redeem", client).json(&asked);
        let answer = request.send().await.map_err(unreachable)?;
        if answer.status() != StatusCode::OK {
            return Err(IssuerError::Refused(answer.status()));
        }
        let body = outbound::body(answer, MAX_ANSWER).await.map_err(|why| match why {
            BodyError::Broken(why) => unreachable(why),
            BodyError::TooLarge => IssuerError::Answer,
        })?;
        serde_json::from_slice(&body).map_err(|_| IssuerError::Answer)
    }

    /// Fetches the keys that the issuer publishes at `path`.
    pub(super) async fn keys(&self, path: &str) -> Result<Vec<VerifyingKey>, IssuerError> {
        let request = self.outbound.client().get(self.outbound.at(path)).timeout(TIMEOUT);
        let answer = request.send().await.map_err(unreachable)?;
        if answer.status() != StatusCode::OK {
            return Err(IssuerError::Refused(answer.status()));
        }
        let body = outbound::body(answer, MAX_KEY_SET_BYTES).await.map_err(|why| match why {
            BodyError::Broken(why) => unreachable(why),
            BodyError::TooLarge => IssuerError::Answer,
        })?;
        keys_from_bytes(&body).map_err(|_| IssuerError::Answer)
    }

    /// Ends the session of this token, which the browser at `client` sent.
    pub(super) async fn log_out(&self, token: &str, client: IpAddr) -> Result<(), IssuerError> {
        let _place = self.logging_out.try_acquire().map_err(|_| IssuerError::Busy)?;
        let request = self.post("/logout", client).bearer_auth(token);
        let answer = request.send().await.map_err(unreachable)?;
        if answer.status().is_success() { Ok(()) } else { Err(IssuerError::Refused(answer.status())) }
    }

    /// Starts a POST that names the browser's address. The issuer limits and
    /// records by that address, not by the edge's.
    fn post(&self, path: &str, client: IpAddr) -> RequestBuilder {
        let request = self.outbound.client().post(self.outbound.at(path)).timeout(TIMEOUT);
        request.header("x-forwarded-for", client.to_string())
    }
}

fn unreachable(why: reqwest::Error) -> IssuerError {
    IssuerError::Unreachable(outbound::reason(why))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    #[tokio::test]
    async fn no_more_wait_for_the_issuer_than_may() {
        // It accepts connections and never answers.
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap();
        let issuer = Arc::new(IssuerClient::new(&format!("http://{address}")).unwrap());
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..MAX_REDEEMING {
            let issuer = Arc::clone(&issuer);
            waiting.spawn(async move { issuer.redeem("x", "b", CLIENT).await });
        }
        let all_wait = async {
            while issuer.redeeming.available_permits() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), all_wait).await.unwrap();
        assert!(matches!(issuer.redeem("x", "b", CLIENT).await, Err(IssuerError::Busy)));
        // A call that is cancelled frees its place.
        waiting.shutdown().await;
        assert_eq!(issuer.redeeming.available_permits(), MAX_REDEEMING);
    }

    #[tokio::test]
    async fn no_more_log_outs_wait_for_the_issuer_than_may() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap();
        let issuer = Arc::new(IssuerClient::new(&format!("http://{address}")).unwrap());
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..MAX_LOGGING_OUT {
            let issuer = Arc::clone(&issuer);
            waiting.spawn(async move { issuer.log_out("x", CLIENT).await });
        }
        let all_wait = async {
            while issuer.logging_out.available_permits() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), all_wait).await.unwrap();
        assert!(matches!(issuer.log_out("x", CLIENT).await, Err(IssuerError::Busy)));
        waiting.shutdown().await;
        assert_eq!(issuer.logging_out.available_permits(), MAX_LOGGING_OUT);
    }
}
