//! One request to the issuer, and the meaning of its answer.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::memory::Known;
use super::state::RenewalState;
use super::successor::{Renewed, RenewedToken, Successor, renewable_until};
use crate::outbound::{self, BodyError};
use crate::session::Session;
use crate::time::UnixTime;

/// Longest answer, in bytes: the longest token, and its session with claims.
const MAX_ANSWER: usize = 64 * 1024;
/// How long a refused token is not sent again.
const AFTER_REFUSAL: Duration = Duration::from_secs(10);
/// Least time between two requests for a token that is not due.
const AFTER_NOT_DUE: Duration = Duration::from_secs(2);

/// The parts of the issuer's answer that are used.
#[derive(Deserialize)]
struct Answer {
    token: String,
    /// In seconds.
    renewable_for: Option<u64>,
}

/// Why there is no successor.
enum Failure {
    /// The issuer does not renew this token.
    Refused,
    /// This edge does not admit the answer's token: it does not know the key
    /// yet, for example. Other tokens may be renewed.
    Unusable(String),
    /// The issuer failed.
    Broken(String),
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        Self::Broken(outbound::reason(error))
    }
}

/// A request that is about to be sent.
pub(super) struct Asking {
    pub(super) shared: Arc<RenewalState>,
    pub(super) text: Arc<str>,
    pub(super) session: Session,
    pub(super) due_at: Option<UnixTime>,
    pub(super) client: Option<IpAddr>,
    pub(super) sender: watch::Sender<Option<Successor>>,
}

impl Asking {
    pub(super) async fn run(self) {
        let (shared, counters) = (&self.shared, &self.shared.counters);
        let answer = timeout(shared.timeout, self.ask()).await.unwrap_or_else(|_| {
            Err(Failure::Broken(format!("no answer within {} ms", shared.timeout.as_millis())))
        });
        let now = shared.clock.now();
        if !matches!(answer, Err(Failure::Broken(_))) {
            shared.answered();
        }
        let (counter, known, successor) = match answer.and_then(|answer| self.next(answer, now)) {
            Ok(Some(next)) => {
                let until = now.saturating_add(shared.remember);
                let known = Known::Renewed { text: Arc::clone(&self.text), next: next.clone(), until };
                (&counters.renewed, Some(known), Successor::Renewed(next))
            }
            Ok(None) => {
                (&counters.not_due, Some(Known::NotDue { again: self.again(now) }), Successor::NotDue)
            }
            Err(Failure::Refused) => {
                tracing::info!(session = %self.session.id().short_hash(), "the issuer refused a renewal");
                (&counters.refused, Some(not(Successor::Refused)), Successor::Refused)
            }
            Err(Failure::Unusable(why)) => {
                tracing::warn!(%why, "a renewed token can't be used here");
                (&counters.failed, Some(not(Successor::Unavailable)), Successor::Unavailable)
            }
            Err(Failure::Broken(why)) => {
                tracing::warn!(%why, "the issuer could not be asked for a renewal");
                shared.failed();
                (&counters.failed, None, Successor::Unavailable)
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let mut place = shared.memory.of(self.session.token_id());
        match known {
            Some(known) => place.put(known),
            None => place.forget(),
        }
        drop(place);
        // The memory is updated first, so that nobody asks in between.
        self.sender.send_replace(Some(successor));
    }

    /// Returns the issuer's answer.
    async fn ask(&self) -> Result<Answer, Failure> {
        let issuer = &self.shared.issuer;
        let mut request = issuer.client().post(issuer.at("/renew")).bearer_auth(&self.text);
        if let Some(client) = self.client {
            request = request.header("x-forwarded-for", client.to_string());
        }
        let response = request.send().await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => return Err(Failure::Refused),
            status => return Err(Failure::Broken(format!("status {}", status.as_u16()))),
        }
        let body = outbound::body(response, MAX_ANSWER).await.map_err(|why| match why {
            BodyError::Broken(why) => why.into(),
            BodyError::TooLarge => Failure::Broken(format!("more than {MAX_ANSWER} bytes")),
        })?;
        // The error would quote the answer, which has a token.
        serde_json::from_slice(&body).map_err(|_| Failure::Broken("the answer is no renewal".to_owned()))
    }

    /// Returns the successor; `None` if the token itself came back. Refuses a
    /// token that this edge would not admit, and a token of another session.
    fn next(&self, answer: Answer, now: UnixTime) -> Result<Option<Renewed>, Failure> {
        let Answer { token, renewable_for } = answer;
        if *token == *self.text {
            return Ok(None);
        }
        let session: Session = self
            .shared
            .verifier
            .verify(&token, now)
            .map_err(|rejection| Failure::Unusable(rejection.to_string()))?;
        let follows = session.id() == self.session.id()
            && session.subject() == self.session.subject()
            // Of the same generation, if that was made anew.
            && (session.generation(), session.issued_at())
                > (self.session.generation(), self.session.issued_at());
        if !follows {
            return Err(Failure::Unusable("it does not follow the one that was sent".to_owned()));
        }
        let renewable_for = renewable_for.map_or(Duration::ZERO, Duration::from_secs);
        let renewable_until = renewable_until(&session, renewable_for, now);
        Ok(Some(Renewed(Arc::new(RenewedToken { text: token.into(), session, renewable_until }))))
    }

    /// When to ask again about a token that was not due: when this edge takes
    /// it for due, and after that at half of its remaining time.
    fn again(&self, now: UnixTime) -> UnixTime {
        let expires = self.session.expires_at();
        match self.due_at {
            None => expires,
            Some(due_at) if now < due_at => due_at,
            Some(_) => now.saturating_add((expires.since(now) / 2).max(AFTER_NOT_DUE)),
        }
    }
}

fn not(said: Successor) -> Known {
    Known::Not { said, again: Instant::now() + AFTER_REFUSAL }
}
