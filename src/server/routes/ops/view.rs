//! The parts of the page, each a template.

use std::collections::BTreeMap;
use std::time::Duration;

use askama::Template;

use super::plot;
use crate::event::{Event, EventKind};
use crate::issuer::store::{AuditRecord, SessionRecord, Store as _};
use crate::key::{KeyEntry, KeyState};
use crate::server::feed::edges::{CONNECTED, Edge};
use crate::server::observe::activity::{Minute, Noted};
use crate::server::state::App;
use crate::time::UnixTime;

/// How many lines of the audit trail are shown.
const AUDIT: u32 = 20;

/// The whole page.
#[derive(Template)]
#[template(path = "ops.html")]
pub(crate) struct Page<'a> {
    pub(crate) base_path: &'a str,
    pub(crate) operator: &'a str,
    /// The search text and what was found.
    pub(crate) find: Option<&'a str>,
    pub(crate) found: &'a [SessionRecord],
    pub(crate) message: Option<&'static str>,
    pub(crate) parts: &'a Parts,
}

impl Page<'_> {
    fn part(&self, id: &str) -> &str {
        self.parts.0.get(id).map_or("", String::as_str)
    }

    /// Returns whether the search was for a user and not a session.
    fn is_user(&self) -> bool {
        self.find.is_some_and(|find| find.parse::<crate::id::SessionId>().is_err())
    }
}

/// Pieces of the page, by their element's id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts(pub(crate) BTreeMap<&'static str, String>);

#[derive(Template)]
#[template(path = "ops_tiles.html")]
struct Tiles {
    sum: Minute,
    refused: u64,
    raised: u64,
    connected: usize,
    edges: usize,
}

#[derive(Template)]
#[template(path = "ops_anomaly.html")]
struct OneAnomaly<'a> {
    noted: &'a Noted,
    time: String,
    sentence: String,
}

#[derive(Template)]
#[template(path = "ops_log_ins.html")]
struct LogIns {
    log_ins: Vec<LogInLine>,
}

struct LogInLine {
    event: Event,
    time: String,
    outcome: &'static str,
}

#[derive(Template)]
#[template(path = "ops_edges.html")]
struct Edges {
    edges: Vec<EdgeLine>,
}

struct EdgeLine {
    edge: Edge,
    state: &'static str,
    feed_age: Option<String>,
    reported: String,
}

#[derive(Template)]
#[template(path = "ops_keys.html")]
struct Keys {
    keys: Vec<KeyLine>,
}

struct KeyLine {
    entry: KeyEntry,
    state: &'static str,
    age: String,
}

#[derive(Template)]
#[template(path = "ops_audit.html")]
struct Audit {
    records: Vec<AuditLine>,
}

struct AuditLine {
    record: AuditRecord,
    more: String,
}

impl Parts {
    /// Returns the current page. Parts that can't be read are left out, so the
    /// page keeps the old ones.
    pub(crate) async fn now(app: &App) -> Self {
        let now = app.now();
        let mut parts = BTreeMap::new();
        let live = &app.events.activity;
        let minutes = live.minutes(now);
        let mut sum = Minute::default();
        for minute in &minutes {
            sum.log_ins += minute.log_ins;
            sum.failed += minute.failed;
            sum.limited += minute.limited;
        }
        let refused = minutes.iter().flat_map(|minute| minute.refused).sum();
        let edges: Vec<_> = app.edges.list(now).into_iter().map(|edge| EdgeLine::new(edge, now)).collect();
        let connected = edges.iter().filter(|line| line.state == "connected").count();
        let tiles = Tiles { sum, refused, raised: live.raised(), connected, edges: edges.len() };
        render(&mut parts, "tiles", &tiles);
        render(&mut parts, "edges", &Edges { edges });
        render(&mut parts, "refusals", &plot::refusals(&minutes));
        render(&mut parts, "log-in-plot", &plot::log_ins(&minutes));
        render(
            &mut parts,
            "log-ins",
            &LogIns { log_ins: live.log_ins().into_iter().map(LogInLine::new).collect() },
        );
        let keys = app.keyring.listing(now).into_iter().map(|(entry, state)| KeyLine::new(entry, state, now));
        render(&mut parts, "keys", &Keys { keys: keys.collect() });
        match app.service.store.audit(None, AUDIT).await {
            Ok(records) => {
                let records = records.into_iter().map(AuditLine::new).collect();
                render(&mut parts, "audit", &Audit { records });
            }
            Err(error) => tracing::error!(%error, "the audit trail could not be read"),
        }
        let (anomalies, _) = live.anomalies();
        let anomalies: Vec<_> = anomalies.iter().map(|noted| anomaly(noted)).collect();
        parts.insert("anomalies", anomalies.concat());
        Self(parts)
    }

    /// Returns the pieces that changed.
    pub(crate) fn changed_since(&self, before: &Self) -> BTreeMap<&'static str, &str> {
        let changed = self.0.iter().filter(|(id, html)| before.0.get(*id) != Some(*html));
        changed.map(|(id, html)| (*id, html.as_str())).collect()
    }
}

/// Returns one line of the list of anomalies.
pub(crate) fn anomaly(noted: &Noted) -> String {
    let one = OneAnomaly { noted, time: clock(noted.anomaly.at), sentence: noted.anomaly.sentence() };
    one.render().unwrap_or_default()
}

impl OneAnomaly<'_> {
    /// Returns the search text that shows more about it.
    fn find(&self) -> Option<String> {
        let anomaly = &self.noted.anomaly;
        let session = anomaly.session.map(|id| id.to_string());
        session.or_else(|| anomaly.subject.as_ref().map(|subject| subject.as_str().to_owned()))
    }
}

impl LogInLine {
    fn new(event: Event) -> Self {
        let outcome = match event.kind {
            EventKind::LogInSucceeded => "succeeded",
            EventKind::LogInFailed => "failed",
            _ => "limited",
        };
        Self { time: clock(event.at), outcome, event }
    }
}

impl AuditLine {
    fn new(record: AuditRecord) -> Self {
        let more = match &record.event.detail {
            Some(serde_json::Value::Object(detail)) => more(detail),
            _ => String::new(),
        };
        Self { record, more }
    }
}

/// Returns an event's other details as text.
fn more(detail: &serde_json::Map<String, serde_json::Value>) -> String {
    let known = detail.iter().filter(|(_, value)| !value.is_null());
    let said = known.map(|(name, value)| match value {
        serde_json::Value::String(text) => format!("{name} {text}"),
        value => format!("{name} {value}"),
    });
    said.collect::<Vec<_>>().join(", ")
}

impl EdgeLine {
    fn new(edge: Edge, now: UnixTime) -> Self {
        let age = edge.as_of.map(|as_of| now.since(as_of));
        let state = if now.since(edge.reported_at) > CONNECTED {
            "silent"
        } else if age.is_none_or(|age| age > CONNECTED) {
            "stale"
        } else {
            "connected"
        };
        Self { state, feed_age: age.map(span), reported: span(now.since(edge.reported_at)), edge }
    }
}

impl KeyLine {
    fn new(entry: KeyEntry, state: KeyState, now: UnixTime) -> Self {
        let age = if entry.activates > now {
            format!("signs in {}", span(entry.activates.since(now)))
        } else {
            span(now.since(entry.activates))
        };
        let state = match state {
            KeyState::Pending => "pending",
            KeyState::Active => "active",
            KeyState::Superseded => "superseded",
            KeyState::Retired => "retired",
        };
        Self { entry, state, age }
    }
}

fn render(parts: &mut BTreeMap<&'static str, String>, id: &'static str, template: &impl Template) {
    match template.render() {
        Ok(html) => {
            parts.insert(id, html);
        }
        Err(error) => tracing::error!(%error, id, "a part of the operators' page could not be made"),
    }
}

/// Formats a duration: `14 s`, `3 min`, `5 h`, `12 d`.
fn span(length: Duration) -> String {
    match length.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// Formats the time of day, in UTC.
fn clock(at: UnixTime) -> String {
    at.to_string().get(11..19).unwrap_or_default().to_owned()
}
