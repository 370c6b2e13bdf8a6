//! An edge's reports to the issuer, so that operators see an edge that falls
//! behind: `POST {issuer}/edges/report`, with the edges' shared credential,
//! every few seconds. An edge works on if its reports are refused.

use core::fmt;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use zeroize::Zeroizing;

use crate::anomaly::{Anomaly, AnomalyKind, Rule};
use crate::error::ConfigError;
use crate::id::Subject;
use crate::network::network_of;
use crate::revocation::Position;
use crate::time::UnixTime;

/// How often an edge reports.
pub const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Most anomalies in one report: it stays under the 16 KiB that the issuer
/// reads.
pub(super) const MOST_ANOMALIES: usize = 20;
/// Most anomalies that wait to be reported; the oldest are dropped.
const MOST_WAITING: usize = 100;
/// Least time between two reports.
pub(super) const AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// The name of an edge: 1 to 64 of `A-Z a-z 0-9 . _ -`. Metrics and the
/// operators' page show it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EdgeName(Box<str>);

impl EdgeName {
    /// # Errors
    /// [`ConfigError::Builder`] for a name that is empty, too long, or has
    /// other characters.
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
    /// The position of the edge's list in the feed.
    pub(crate) epoch: Option<u64>,
    pub(crate) sequence: Option<u64>,
    /// When the last applied feed was signed, in Unix seconds.
    pub(crate) as_of: Option<u64>,
    /// Anomalies for the operators.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) anomalies: Vec<ReportedAnomaly>,
}

/// An anomaly in a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReportedAnomaly {
    kind: String,
    /// In Unix seconds.
    at: u64,
    count: u64,
    /// In seconds.
    within: u64,
    network: Option<IpAddr>,
    subject: Option<String>,
    session_id: Option<String>,
}

impl From<&Anomaly> for ReportedAnomaly {
    fn from(anomaly: &Anomaly) -> Self {
        Self {
            kind: anomaly.kind.name().to_owned(),
            at: anomaly.at.as_secs(),
            count: anomaly.count,
            within: anomaly.within.as_secs(),
            network: anomaly.network,
            subject: anomaly.subject.as_ref().map(|subject| subject.as_str().to_owned()),
            session_id: anomaly.session.map(|id| id.to_string()),
        }
    }
}

#[cfg_attr(
    not(feature = "server"),
    allow(dead_code, reason = "an edge writes it; reading is the issuer's half")
)]
impl ReportedAnomaly {
    /// `None` for a kind that this version doesn't know, and for invalid
    /// values.
    fn read(&self, edge: &EdgeName, now: UnixTime) -> Option<Anomaly> {
        let within = Duration::from_secs(self.within).min(Rule::MAX_WINDOW);
        let at = UnixTime::saturating_from_secs(self.at).min(now);
        let mut anomaly = Anomaly::new(AnomalyKind::from_name(&self.kind)?, at, self.count, within);
        anomaly.network = self.network.map(network_of);
        anomaly.subject = self.subject.as_deref().map(Subject::new).transpose().ok()?;
        anomaly.session = self.session_id.as_deref().map(str::parse).transpose().ok()?;
        anomaly.edge = Some(edge.as_str().into());
        Some(anomaly)
    }
}

#[cfg_attr(
    not(feature = "server"),
    allow(dead_code, reason = "an edge writes it; reading is the issuer's half")
)]
impl EdgeReport {
    /// Its anomalies, with times no later than `now`.
    pub(crate) fn anomalies(&self, now: UnixTime) -> impl Iterator<Item = Anomaly> {
        let anomalies = self.anomalies.iter().take(MOST_ANOMALIES);
        anomalies.filter_map(move |anomaly| anomaly.read(&self.edge, now))
    }

    pub(crate) fn position(&self) -> Option<Position> {
        Some(Position { epoch: self.epoch?, sequence: self.sequence? })
    }

    pub(crate) fn as_of(&self) -> Option<UnixTime> {
        self.as_of.and_then(UnixTime::from_secs)
    }
}

/// The sender of reports, and its credential.
pub(super) struct Reporter {
    pub(super) name: EdgeName,
    pub(super) credential: Zeroizing<String>,
}

/// Anomalies that wait for the next report: a bounded number, the latest.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    anomalies: Mutex<VecDeque<Anomaly>>,
    some: Notify,
}

impl Waiting {
    pub(super) fn push(&self, anomaly: Anomaly) {
        let mut waiting = self.lock();
        if waiting.len() >= MOST_WAITING {
            waiting.pop_front();
        }
        waiting.push_back(anomaly);
        drop(waiting);
        self.some.notify_one();
    }

    /// The next anomalies to report, oldest first.
    pub(super) fn take(&self) -> Vec<Anomaly> {
        let mut waiting = self.lock();
        let most = waiting.len().min(MOST_ANOMALIES);
        waiting.drain(..most).collect()
    }

    pub(super) fn put_back(&self, anomalies: Vec<Anomaly>) {
        let mut waiting = self.lock();
        for anomaly in anomalies.into_iter().rev() {
            if waiting.len() < MOST_WAITING {
                waiting.push_front(anomaly);
            }
        }
    }

    /// Waits until there are anomalies.
    pub(super) async fn wait(&self) {
        while self.lock().is_empty() {
            self.some.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Anomaly>> {
        self.anomalies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
