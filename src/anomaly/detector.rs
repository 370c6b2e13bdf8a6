//! Turns events into anomalies.

use std::net::IpAddr;
use std::time::Duration;

use super::Anomaly;
use super::kind::AnomalyKind;
use super::rules::Rules;
use super::table::{Counts, Distinct, Hashed, Said, Seed};
use crate::error::Reason;
use crate::event::{Event, EventKind};
use crate::id::SessionId;
use crate::network::network_of;
use crate::time::UnixTime;

/// Most anomalies of one kind in a minute: an attack from a million networks is
/// one attack, and a person reads only the first few.
const MOST_A_MINUTE: u32 = 50;
/// The thing to count where there is only one.
const ALL: &str = "all";

/// The anomalies of one event; usually none, rarely two.
type Found = Vec<Anomaly>;

/// Turns events into [`Anomaly`]s: each kind once for each key and window, and
/// at most 50 a minute.
pub struct Detector {
    rules: Rules,
    seed: Seed,
    forged_by_network: Counts,
    failures_by_subject: Counts,
    subjects_by_network: Distinct,
    networks_by_subject: Distinct,
    failing_subjects: Distinct,
    created: Counts,
    replayed: Counts,
    networks_by_session: Distinct,
    /// Without a key: tokens from the future, tickets refused because the cache
    /// is full.
    without_key: Counts,
    said: Said,
    /// The start of the current minute, and the anomalies of each kind in it.
    minute: UnixTime,
    in_minute: [u32; AnomalyKind::COUNT],
    suppressed: u64,
    /// The wall clock at the monotonic clock's zero.
    clock_base: Option<i128>,
}

impl Detector {
    /// A detector without events.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        let room = rules.keys;
        Self {
            rules,
            seed: Seed::default(),
            forged_by_network: Counts::new(room),
            failures_by_subject: Counts::new(room),
            subjects_by_network: Distinct::new(room),
            networks_by_subject: Distinct::new(room),
            failing_subjects: Distinct::new(1),
            created: Counts::new(room),
            replayed: Counts::new(room),
            networks_by_session: Distinct::new(room),
            without_key: Counts::new(2),
            said: Said::new(room),
            minute: UnixTime::EPOCH,
            in_minute: [0; AnomalyKind::COUNT],
            suppressed: 0,
            clock_base: None,
        }
    }

    /// The number of keys remembered, over all tables.
    #[must_use]
    pub fn keys(&self) -> usize {
        let counts = [
            &self.forged_by_network,
            &self.failures_by_subject,
            &self.created,
            &self.replayed,
            &self.without_key,
        ];
        let distinct = [
            &self.subjects_by_network,
            &self.networks_by_subject,
            &self.failing_subjects,
            &self.networks_by_session,
        ];
        counts.iter().map(|table| table.len()).sum::<usize>()
            + distinct.iter().map(|table| table.len()).sum::<usize>()
            + self.said.len()
    }

    /// The number of anomalies dropped because there were too many.
    #[must_use]
    pub const fn suppressed(&self) -> u64 {
        self.suppressed
    }

    /// Takes an event, at the event's own time.
    pub fn event(&mut self, event: &Event) -> Vec<Anomaly> {
        let mut found = Found::new();
        let network = event.address.map(network_of);
        match event.kind {
            EventKind::LogInFailed | EventKind::LogInLimited(_) => self.failure(event, network, &mut found),
            EventKind::SessionCreated => self.creation(event, network, &mut found),
            EventKind::SessionRenewed => {
                if let (Some(session), Some(address)) = (event.session, event.address) {
                    self.seen(session, address, event, &mut found);
                }
            }
            EventKind::TokenReuse => {
                let key = self.seed.hash((AnomalyKind::RenewalReuse.name(), event.session));
                self.raise(AnomalyKind::RenewalReuse, key, 1, event, network, &mut found);
            }
            EventKind::TokenRefused(reason) => self.refusal(reason, event, network, &mut found),
            _ => {}
        }
        found
    }

    /// Takes the use of a session, which is not an event.
    pub fn used(&mut self, session: SessionId, address: IpAddr, at: UnixTime) -> Option<Anomaly> {
        let mut found = Found::new();
        // The session names its user, so this does not.
        let event = Event::new(EventKind::SessionRenewed, at).from(address).session(session);
        self.seen(session, address, &event, &mut found);
        found.pop()
    }

    /// Takes the wall clock and the monotonic clock, every few seconds. The
    /// first call only sets the reference.
    pub fn clocks(&mut self, wall: UnixTime, monotonic: Duration) -> Option<Anomaly> {
        let base = i128::from(wall.as_secs()) - i128::from(monotonic.as_secs());
        let step = base.abs_diff(self.clock_base.unwrap_or(base));
        // Smaller steps add up, so this also reports a clock that is slewed for
        // hours.
        if self.clock_base.is_some() && step <= u128::from(self.rules.clock_step.as_secs().max(1)) {
            return None;
        }
        let is_first = self.clock_base.replace(base).is_none();
        let key = self.seed.hash("clock step");
        // No window, since its times would be from the clock before the step.
        // Each step is reported; nobody sets a clock by accident.
        if is_first || !self.has_room(AnomalyKind::ClockTrouble, wall) {
            return None;
        }
        self.said.say(key, wall, Duration::from_secs(1));
        let step = u64::try_from(step).unwrap_or(u64::MAX);
        Some(Anomaly::new(AnomalyKind::ClockTrouble, wall, step, Duration::ZERO))
    }

    /// Takes the age of an edge's revocation list.
    pub fn edge(&mut self, name: &str, age: Duration, at: UnixTime) -> Option<Anomaly> {
        let rule = self.rules.of(AnomalyKind::StaleEdge);
        if age.as_secs() < u64::from(rule.threshold()) {
            return None;
        }
        let mut anomaly = Anomaly::new(AnomalyKind::StaleEdge, at, age.as_secs(), rule.window());
        anomaly.edge = Some(name.into());
        self.again(anomaly)
    }

    /// Takes an anomaly of another detector, which is reported once in a window
    /// too.
    pub fn again(&mut self, anomaly: Anomaly) -> Option<Anomaly> {
        let (kind, at) = (anomaly.kind, anomaly.at);
        let key =
            self.seed.hash((kind.name(), anomaly.network, &anomaly.subject, anomaly.session, &anomaly.edge));
        self.may_say(kind, key, at).then_some(anomaly)
    }

    fn failure(&mut self, event: &Event, network: Option<IpAddr>, found: &mut Found) {
        // An invalid name counts as a name too.
        let subject = self.seed.hash(event.subject.as_ref().map(crate::id::Subject::as_str));
        let kind = AnomalyKind::PasswordGuessing;
        if event.subject.is_some()
            && let Some(count) = self.failures_by_subject.add(subject, event.at, self.rules.of(kind))
        {
            let key = self.seed.hash((kind.name(), subject));
            self.raise(kind, key, count, event, None, found);
        }
        let kind = AnomalyKind::CredentialStuffing;
        let all = self.seed.hash(ALL);
        if let Some(count) = self.failing_subjects.add(all, subject, event.at, self.rules.of(kind)) {
            let key = self.seed.hash(kind.name());
            self.raise(kind, key, count, &Event::new(event.kind, event.at), None, found);
        }
        let Some(network) = network else { return };
        let hashed = self.seed.hash(network);
        let kind = AnomalyKind::PasswordSpraying;
        if let Some(count) = self.subjects_by_network.add(hashed, subject, event.at, self.rules.of(kind)) {
            let key = self.seed.hash((kind.name(), hashed));
            self.raise(kind, key, count, &Event::new(event.kind, event.at), Some(network), found);
        }
        let kind = AnomalyKind::DistributedGuessing;
        if event.subject.is_some()
            && let Some(count) = self.networks_by_subject.add(subject, hashed, event.at, self.rules.of(kind))
        {
            let key = self.seed.hash((kind.name(), subject));
            self.raise(kind, key, count, event, None, found);
        }
    }

    fn creation(&mut self, event: &Event, network: Option<IpAddr>, found: &mut Found) {
        let kind = AnomalyKind::CreationFlood;
        let rule = self.rules.of(kind);
        if let Some(network) = network {
            let key = self.seed.hash((kind.name(), network));
            if let Some(count) = self.created.add(key, event.at, rule) {
                // Its users may be innocent.
                self.raise(kind, key, count, &Event::new(event.kind, event.at), Some(network), found);
            }
        }
        if let Some(subject) = &event.subject {
            let key = self.seed.hash((kind.name(), subject.as_str()));
            if let Some(count) = self.created.add(key, event.at, rule) {
                let about = Event::new(event.kind, event.at).of(Some(subject.clone()));
                self.raise(kind, key, count, &about, None, found);
            }
        }
    }

    fn refusal(&mut self, reason: Reason, event: &Event, network: Option<IpAddr>, found: &mut Found) {
        let (kind, key) = match reason {
            Reason::Malformed | Reason::WrongType | Reason::UnknownKey | Reason::BadSignature => {
                (AnomalyKind::TokenGuessing, self.seed.hash(network))
            }
            Reason::Replayed => {
                let kind = AnomalyKind::Replay;
                let key = match event.session {
                    Some(session) => self.seed.hash((kind.name(), session)),
                    None => self.seed.hash((kind.name(), network)),
                };
                (kind, key)
            }
            Reason::NotYetValid => (AnomalyKind::ClockTrouble, self.seed.hash("future")),
            Reason::Capacity => (AnomalyKind::NoncesFull, self.seed.hash("full")),
            _ => return,
        };
        let table = match kind {
            AnomalyKind::TokenGuessing => &mut self.forged_by_network,
            AnomalyKind::Replay => &mut self.replayed,
            _ => &mut self.without_key,
        };
        let Some(count) = table.add(key, event.at, self.rules.of(kind)) else { return };
        // The last client that met a wrong clock or a full cache is not its
        // cause.
        let (about, network) = match kind {
            AnomalyKind::TokenGuessing => (&Event::new(event.kind, event.at), network),
            AnomalyKind::Replay => (event, network),
            _ => (&Event::new(event.kind, event.at), None),
        };
        let key = self.seed.hash((kind.name(), key));
        self.raise(kind, key, count, about, network, found);
    }

    fn seen(&mut self, session: SessionId, address: IpAddr, event: &Event, found: &mut Found) {
        let kind = AnomalyKind::SessionOnManyNetworks;
        let (session, network) = (self.seed.hash(session), self.seed.hash(network_of(address)));
        if let Some(count) = self.networks_by_session.add(session, network, event.at, self.rules.of(kind)) {
            let key = self.seed.hash((kind.name(), session));
            self.raise(kind, key, count, event, None, found);
        }
    }

    fn raise(
        &mut self,
        kind: AnomalyKind,
        key: Hashed,
        count: u64,
        about: &Event,
        network: Option<IpAddr>,
        found: &mut Found,
    ) {
        if self.may_say(kind, key, about.at) {
            let mut anomaly = Anomaly::new(kind, about.at, count, self.rules.of(kind).window());
            anomaly.network = network;
            anomaly.subject.clone_from(&about.subject);
            anomaly.session = about.session;
            found.push(anomaly);
        }
    }

    fn may_say(&mut self, kind: AnomalyKind, key: Hashed, at: UnixTime) -> bool {
        self.said.say(key, at, self.rules.of(kind).window()) && self.has_room(kind, at)
    }

    fn has_room(&mut self, kind: AnomalyKind, at: UnixTime) -> bool {
        const MINUTE: Duration = Duration::from_mins(1);
        if at.since(self.minute) >= MINUTE || self.minute.since(at) >= MINUTE {
            self.minute = at;
            self.in_minute = [0; AnomalyKind::COUNT];
        }
        let said = &mut self.in_minute[kind as usize];
        if *said == MOST_A_MINUTE {
            self.suppressed = self.suppressed.saturating_add(1);
            return false;
        }
        *said += 1;
        true
    }
}

impl core::fmt::Debug for Detector {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Detector").field("keys", &self.keys()).finish_non_exhaustive()
    }
}
