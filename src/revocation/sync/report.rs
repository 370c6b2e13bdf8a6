//! What an edge tells the issuer of itself, so that an operator sees an edge
//! that has fallen behind: `POST {issuer}/edges/report`, with the edges' shared
//! credential, every few seconds. Nothing depends on it: an edge whose report
//! is not taken works on.

use core::convert::Infallible;
use core::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use zeroize::Zeroizing;

use super::{FeedClient, FeedHandle, SyncError};
use crate::error::ConfigError;
#[cfg(feature = "server")]
use crate::revocation::Position;
use crate::time::UnixTime;

/// How often an edge reports.
pub const REPORT_EVERY: Duration = Duration::from_secs(10);

/// What an edge is called: 1 to 64 of `A-Z a-z 0-9 . _ -`. It becomes a label
/// in metrics and a line on the operators' page.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EdgeName(Box<str>);

impl EdgeName {
    /// # Errors
    /// [`ConfigError::Builder`] for a name that is empty, too long or has other
    /// characters.
    pub fn new(name: impl Into<Box<str>>) -> Result<Self, ConfigError> {
        let name = name.into();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if (1..=64).contains(&name.len()) && name.bytes().all(plain) {
            Ok(Self(name))
        } else {
            Err(ConfigError::Builder("an edge's name has 1 to 64 of the characters A-Z a-z 0-9 . _ -"))
        }
    }

    /// The name.
    #[must_use]
    pub const fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for EdgeName {
    type Error = ConfigError;

    fn try_from(name: String) -> Result<Self, ConfigError> {
        Self::new(name)
    }
}

impl From<EdgeName> for String {
    fn from(name: EdgeName) -> Self {
        name.0.into()
    }
}

impl fmt::Display for EdgeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The body of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EdgeReport {
    pub(crate) edge: EdgeName,
    /// How far the edge's list has followed the feed.
    pub(crate) epoch: Option<u64>,
    pub(crate) sequence: Option<u64>,
    /// When the feed applied last was signed, in unix seconds.
    pub(crate) as_of: Option<u64>,
}

#[cfg(feature = "server")]
impl EdgeReport {
    pub(crate) fn position(&self) -> Option<Position> {
        Some(Position { epoch: self.epoch?, sequence: self.sequence? })
    }

    pub(crate) fn as_of(&self) -> Option<UnixTime> {
        self.as_of.and_then(UnixTime::from_secs)
    }
}

/// Who reports, and what the issuer knows it by.
pub(super) struct Reporter {
    pub(super) name: EdgeName,
    pub(super) credential: Zeroizing<String>,
}

impl FeedClient {
    /// Keeps the list and the keys current for as long as it is polled, and so
    /// never ends.
    pub async fn run(mut self) -> Infallible {
        let Some(reporter) = self.reporter.take() else { return self.follow_for_ever().await };
        let (http, handle) = (self.http.clone(), self.handle());
        tokio::select! {
            never = self.follow_for_ever() => never,
            never = reporter.run(&http, &handle) => never,
        }
    }
}

impl Reporter {
    async fn run(self, http: &super::http::Http, handle: &FeedHandle) -> Infallible {
        // The first report says something.
        handle.wait_until(|status| status.as_of.is_some() || status.failures > 0).await;
        let mut last: Option<SyncError> = None;
        loop {
            let status = handle.status();
            let report = EdgeReport {
                edge: self.name.clone(),
                epoch: status.position.map(|position| position.epoch),
                sequence: status.position.map(|position| position.sequence),
                as_of: status.as_of.map(UnixTime::as_secs),
            };
            match http.report(&report, &self.credential).await {
                Ok(()) => last = None,
                // What goes on going wrong is logged once.
                Err(error) if last.as_ref() != Some(&error) => {
                    tracing::warn!(%error, "the issuer did not take this edge's report");
                    last = Some(error);
                }
                Err(_) => {}
            }
            sleep(REPORT_EVERY).await;
        }
    }
}
