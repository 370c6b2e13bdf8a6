//! Responses to an anomaly: a log line, an audit event, a place on the
//! operators' page, a webhook, and the configured action. All of it runs off
//! the request path.

pub(crate) mod edges;
pub(crate) mod webhook;

use std::sync::Arc;

use serde_json::json;

use crate::anomaly::{Anomaly, Watcher};
use crate::issuer::store::{AuditEvent, Store, Target};
use crate::server::anomalies::webhook::Webhook;
use crate::server::config::anomalies::{Action, Actions};
use crate::server::login::SessionService;
use crate::server::observe::activity::RecentActivity;
use crate::service::anomaly_log::log_anomaly;
use crate::time::{Clock, UnixTime};

/// Handles anomalies one after the other.
pub(crate) struct Responder<S> {
    pub(crate) service: Arc<SessionService<S>>,
    pub(crate) actions: Actions,
    pub(crate) activity: RecentActivity,
    pub(crate) webhook: Option<Webhook>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl<S: Store> Responder<S> {
    /// Runs until the watcher ends.
    pub(crate) async fn run(self, mut watcher: Watcher) {
        let mut suppressed = 0;
        while let Some(anomaly) = watcher.next().await {
            self.respond(anomaly).await;
            if watcher.suppressed() > suppressed {
                suppressed = watcher.suppressed();
                tracing::warn!(suppressed, "more anomalies than a person reads");
            }
        }
    }

    async fn respond(&self, anomaly: Anomaly) {
        let now = self.clock.now();
        let action = self.actions.of(anomaly.kind);
        let done = self.act(action, &anomaly, now).await;
        self.service.events.metrics.anomaly(anomaly.kind);
        log_anomaly(&anomaly, Some(done));
        if let Some(webhook) = &self.webhook {
            webhook.send(
                &format!("anomaly.{}", anomaly.kind.name()),
                now,
                &json!({
                    "anomaly": anomaly,
                    "action": done,
                }),
            );
        }
        let event = audit_event(&anomaly, done);
        self.activity.anomaly(anomaly, done);
        if let Err(error) = self.service.store.append_audit(event, now).await {
            tracing::error!(%error, "the audit trail could not be written");
        }
    }

    /// Performs the action. Returns what was done, which may be less than was
    /// configured.
    async fn act(&self, action: Action, anomaly: &Anomaly, now: UnixTime) -> &'static str {
        match (action, anomaly.network) {
            (Action::Log, _) | (Action::Throttle, None) => "none",
            (Action::Throttle, Some(network)) => {
                self.service.throttle.refuse(network, self.actions.throttle_for, now);
                "throttled"
            }
            (Action::Revoke, _) => match self.revoke(anomaly, now).await {
                Ok(true) => "revoked",
                Ok(false) => "none",
                Err(error) => {
                    tracing::error!(%error, "what an anomaly asks for could not be revoked");
                    "failed"
                }
            },
        }
    }

    /// Ends the session that the anomaly names, or else all sessions of the
    /// user.
    async fn revoke(
        &self,
        anomaly: &Anomaly,
        now: UnixTime,
    ) -> Result<bool, crate::issuer::store::StoreError> {
        let target = match (anomaly.session, &anomaly.subject) {
            (Some(id), _) => {
                // An edge may name a session that never existed. Such a session
                // must not fill the feed.
                let Some(record) = self.service.store.find_session(id).await? else { return Ok(false) };
                Target::Session { id, ends: Some(record.ends) }
            }
            (None, Some(subject)) => Target::Subject(subject.clone()),
            (None, None) => return Ok(false),
        };
        Ok(self.service.revoke(target, None, None, now).await?.added > 0)
    }
}

/// Named `anomaly_` and the kind, so that one can search the audit trail.
fn audit_event(anomaly: &Anomaly, done: &'static str) -> AuditEvent {
    AuditEvent {
        kind: format!("anomaly_{}", anomaly.kind.name()),
        subject: anomaly.subject.as_ref().map(|subject| subject.as_str().to_owned()),
        session: anomaly.session.map(|id| id.short_hash()),
        address: anomaly.network.map(|network| network.to_string()),
        detail: Some(json!({
            "count": anomaly.count,
            "within": anomaly.within.as_secs(),
            "edge": anomaly.edge,
            "action": done,
        })),
    }
}
