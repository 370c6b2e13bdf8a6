//! Passes events to the metrics, the log, the operators' page and the anomaly
//! detectors.

use std::net::IpAddr;

use crate::anomaly::Watch;
use crate::error::Reason;
use crate::event::{Event, EventKind, EventSink};
use crate::id::SessionId;
use crate::server::observe::activity::RecentActivity;
use crate::server::observe::metrics::Metrics;
use crate::time::UnixTime;

/// Receives every event. Clones share their counts.
#[derive(Clone)]
pub(crate) struct Events {
    pub(crate) metrics: Metrics,
    pub(crate) activity: RecentActivity,
    pub(crate) watch: Watch,
}

impl EventSink for Events {
    fn record(&self, event: Event) {
        self.metrics.event(&event);
        log(&event);
        self.activity.event(&event);
        self.watch.record(event);
    }

    fn used(&self, session: SessionId, address: IpAddr, at: UnixTime) {
        self.watch.used(session, address, at);
    }

    fn verdict(&self, verdict: Result<(), Reason>) {
        self.metrics.verdict(verdict);
    }
}

/// Logs one line, with the session by its short hash and no secrets.
fn log(event: &Event) {
    let name = event.kind.name();
    let address = event.address.map(tracing::field::display);
    let session = event.session.map(|id| id.short_hash());
    let (reason, limit) = match event.kind {
        EventKind::TokenRefused(reason) => (Some(reason.as_str()), None),
        EventKind::LogInLimited(limit) | EventKind::SessionsExceeded(limit) => (None, Some(limit.name())),
        _ => (None, None),
    };
    match event.kind {
        EventKind::LogInFailed
        | EventKind::LogInLimited(_)
        | EventKind::SessionsExceeded(_)
        | EventKind::TokenReuse => {
            tracing::warn!(event = name, address, session, reason, limit, "{}", sentence(event.kind));
        }
        _ => tracing::info!(event = name, address, session, reason, limit, "{}", sentence(event.kind)),
    }
}

const fn sentence(kind: EventKind) -> &'static str {
    match kind {
        EventKind::LogInSucceeded => "password accepted",
        EventKind::LogInFailed => "password refused",
        EventKind::LogInLimited(_) => "log-in refused before the password was looked at",
        EventKind::SessionCreated => "session created",
        EventKind::SessionRenewed => "session renewed",
        EventKind::SessionEnded => "session ended",
        EventKind::SessionsExceeded(_) => "more sessions than there may be",
        EventKind::UseAfterExpiry => "an expired token was used",
        EventKind::TokenRefused(_) => "token refused",
        EventKind::TokenReuse => "an old token was used: session revoked",
        EventKind::TicketIssued => "ticket issued",
        EventKind::TicketRedeemed => "ticket redeemed",
    }
}
