//! What the edge asks of the issuer on behalf of one person: redeem a ticket,
//! end a session.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::error::ConfigError;
use crate::outbound::{self, BodyError, Outbound};

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

pub(super) struct IssuerClient(Outbound);

#[derive(Deserialize)]
struct Redeemed {
    token: String,
}

impl IssuerClient {
    /// # Errors
    /// [`ConfigError::Builder`] for a URL that is none, or over which tokens
    /// would travel in the clear.
    pub(super) fn new(issuer: &str) -> Result<Self, ConfigError> {
        let outbound = Outbound::new(issuer, Vec::new(), TIMEOUT)?;
        if outbound.is_private() {
            Ok(Self(outbound))
        } else {
            Err(ConfigError::Builder(
                "tokens travel between edge and issuer: --issuer is https, or on this machine",
            ))
        }
    }

    /// The token of the child session that a ticket opens.
    pub(super) async fn redeem(&self, ticket: &str, audience: &str) -> Result<String, IssuerError> {
        let asked = json!({ "ticket": ticket, "audience": audience });
        let request = self.0.client().post(self.0.at("/tickets/redeem")).timeout(TIMEOUT).json(&asked);
        let answer = request.send().await.map_err(unreachable)?;
        if answer.status() != StatusCode::OK {
            return Err(IssuerError::Refused(answer.status()));
        }
        let body = outbound::body(answer, MAX_ANSWER).await.map_err(|why| match why {
            BodyError::Broken(why) => unreachable(why),
            BodyError::TooLarge => IssuerError::Answer,
        })?;
        let redeemed: Redeemed = serde_json::from_slice(&body).map_err(|_| IssuerError::Answer)?;
        Ok(redeemed.token)
    }

    /// Ends the session of this token.
    pub(super) async fn log_out(&self, token: &str) -> Result<(), IssuerError> {
        let request = self.0.client().post(self.0.at("/logout")).timeout(TIMEOUT).bearer_auth(token);
        let answer = request.send().await.map_err(unreachable)?;
        if answer.status().is_success() { Ok(()) } else { Err(IssuerError::Refused(answer.status())) }
    }
}

fn unreachable(why: reqwest::Error) -> IssuerError {
    IssuerError::Unreachable(outbound::reason(why))
}
