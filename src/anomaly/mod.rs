//! Detects what needs a person: guessing, floods, replays, stolen tokens, wrong
//! clocks and stale edges.
//!
//! A [`Detector`] turns [events](crate::event) into [`Anomaly`]s. It is pure
//! (every event has its time), and its memory is bounded whatever clients send.
//! The issuer and the edges use the same one; a [`Watch`] runs it off the
//! request path.
//!
//! ```
//! use hallpass::anomaly::{AnomalyKind, Detector, Rules};
//! use hallpass::event::{Event, EventKind};
//! use hallpass::{Reason, UnixTime};
//!
//! let mut detector = Detector::new(Rules::default());
//! let at = UnixTime::saturating_from_secs(1_700_000_000);
//! let forged = Event::new(EventKind::TokenRefused(Reason::BadSignature), at)
//!     .from([192, 0, 2, 7].into());
//! for _ in 1..20 {
//!     assert!(detector.event(&forged).is_empty());
//! }
//! let anomalies = detector.event(&forged);
//! assert_eq!(anomalies[0].kind, AnomalyKind::TokenGuessing);
//! ```

mod detector;
mod kind;
mod rules;
mod table;
#[cfg(any(feature = "axum", feature = "sync"))]
mod watch;

use std::net::IpAddr;
use std::time::Duration;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::id::{SessionId, Subject};
use crate::time::UnixTime;

pub use detector::Detector;
pub use kind::{AnomalyKind, Names};
pub use rules::{Rule, Rules};
#[cfg(any(feature = "axum", feature = "sync"))]
pub use watch::{Watch, Watcher};

/// Something for a person to look at, with the known facts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Anomaly {
    /// Its kind.
    pub kind: AnomalyKind,
    /// When the threshold was reached.
    pub at: UnixTime,
    /// The number of the things that the [kind](AnomalyKind) counts; seconds
    /// for a clock or an edge.
    pub count: u64,
    /// The window.
    pub within: Duration,
    /// The network it comes from: an IPv4 address, or the first of an IPv6 /64.
    pub network: Option<IpAddr>,
    /// The user that it is about.
    pub subject: Option<Subject>,
    /// The session that it is about.
    pub session: Option<SessionId>,
    /// The edge that it is about, or that detected it; `None` for the issuer.
    pub edge: Option<Box<str>>,
}

impl Anomaly {
    /// An anomaly without network, user, session or edge.
    #[must_use]
    pub const fn new(kind: AnomalyKind, at: UnixTime, count: u64, within: Duration) -> Self {
        Self { kind, at, count, within, network: None, subject: None, session: None, edge: None }
    }

    /// A sentence for a person.
    #[must_use]
    pub fn sentence(&self) -> String {
        let (count, within) = (self.count, Seconds(self.within));
        let network = self.network.map_or_else(|| "unknown addresses".to_owned(), |n| n.to_string());
        let subject = self.subject.as_ref().map_or("an unknown user", Subject::as_str);
        let edge = self.edge.as_deref().unwrap_or("the issuer");
        match self.kind {
            AnomalyKind::TokenGuessing => {
                format!("{count} forged or malformed tokens from {network} in {within}")
            }
            AnomalyKind::PasswordGuessing => format!("{count} failed log-ins as {subject} in {within}"),
            AnomalyKind::PasswordSpraying => {
                format!("failed log-ins as {count} users from {network} in {within}")
            }
            AnomalyKind::DistributedGuessing => {
                format!("failed log-ins as {subject} from {count} networks in {within}")
            }
            AnomalyKind::CredentialStuffing => format!("failed log-ins as {count} users in {within}"),
            AnomalyKind::CreationFlood if self.network.is_some() => {
                format!("{count} sessions created from {network} in {within}")
            }
            AnomalyKind::CreationFlood => format!("{count} sessions of {subject} created in {within}"),
            AnomalyKind::Replay => {
                format!("{count} used tickets or proofs were presented again in {within}, from {network}")
            }
            AnomalyKind::RenewalReuse => {
                format!(
                    "an old token was renewed again, from {network}: it was copied, and its session is revoked"
                )
            }
            AnomalyKind::SessionOnManyNetworks => {
                let of = self.subject.as_ref().map(|subject| format!(" of {subject}")).unwrap_or_default();
                format!("one session{of} was used from {count} networks in {within}")
            }
            AnomalyKind::ClockTrouble if self.within.is_zero() => {
                format!("the clock of {edge} was set by {count} s")
            }
            AnomalyKind::ClockTrouble => format!("{count} tokens from the future at {edge} in {within}"),
            AnomalyKind::StaleEdge => format!("the revocations that {edge} knows are {count} s old"),
            AnomalyKind::NoncesFull => {
                format!("{count} tickets or proofs were refused in {within}: the nonce cache is full")
            }
        }
    }
}

/// Like `90 s`, or whole minutes.
struct Seconds(Duration);

impl core::fmt::Display for Seconds {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0.as_secs() {
            seconds if seconds >= 120 && seconds % 60 == 0 => write!(f, "{} min", seconds / 60),
            seconds => write!(f, "{seconds} s"),
        }
    }
}

/// For reports and webhooks. They have the session's full id, since the
/// receiver may have to end it; logs and the audit trail show its short hash.
impl Serialize for Anomaly {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut s = serializer.serialize_struct("Anomaly", 9)?;
        s.serialize_field("kind", self.kind.name())?;
        s.serialize_field("at", &self.at)?;
        s.serialize_field("count", &self.count)?;
        s.serialize_field("within", &self.within.as_secs())?;
        s.serialize_field("network", &self.network)?;
        s.serialize_field("subject", &self.subject)?;
        s.serialize_field("session_id", &self.session)?;
        s.serialize_field("edge", &self.edge)?;
        s.serialize_field("sentence", &self.sentence())?;
        s.end()
    }
}
