//! An operator's revocation, in JSON and on the command line.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::ConfigError;
use crate::id::Subject;
use crate::issuer::store::{AuditEvent, Revoked, Target};

/// `{"session":ID}`, `{"subject":S}`, `{"key":KID}` or `{"all":true}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Revoke {
    /// One session, by its id in hex.
    Session(String),
    /// Every session of a subject started so far.
    Subject(String),
    /// Everything that a key signed, by its id in hex.
    Key(String),
    /// Every session started so far.
    All(bool),
}

impl Revoke {
    /// Returns what to revoke.
    ///
    /// # Errors
    /// [`ConfigError`] for an invalid id or subject.
    pub(crate) fn target(&self) -> Result<Target, ConfigError> {
        Ok(match self {
            Self::Session(id) => Target::Session { id: id.parse()?, ends: None },
            Self::Subject(subject) => Target::Subject(Subject::new(subject.as_str())?),
            Self::Key(id) => Target::Key(id.parse()?),
            Self::All(true) => Target::All,
            Self::All(false) => return Err(ConfigError::Builder("\"all\" is true or not there")),
        })
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Session(_) => "session",
            Self::Subject(_) => "subject",
            Self::Key(_) => "key",
            Self::All(_) => "all",
        }
    }

    /// Makes the audit event.
    pub(crate) fn event(&self, address: Option<IpAddr>) -> AuditEvent {
        let subject = match self {
            Self::Subject(subject) => Some(subject.clone()),
            _ => None,
        };
        AuditEvent {
            kind: "operator_revoked".to_owned(),
            subject,
            session: None,
            address: address.map(|address| address.to_string()),
            detail: Some(json!({ "revoked": self.kind() })),
        }
    }

    /// Returns the answer in JSON.
    pub(crate) fn answer(&self, revoked: &Revoked) -> serde_json::Value {
        json!({
            "revoked": self.kind(),
            "added": revoked.added,
            "epoch": revoked.position.epoch,
            "sequence": revoked.position.sequence,
        })
    }
}
