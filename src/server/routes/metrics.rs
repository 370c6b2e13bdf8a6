//! Values that are kept elsewhere, read at each scrape.

use std::sync::PoisonError;
use std::time::Instant;

use prometheus::TextEncoder;

use crate::issuer::store::Store as _;
use crate::key::KeyUse;
use crate::replay::Purpose;
use crate::server::anomalies::webhook::Webhook;
use crate::server::feed::edges::{CONNECTED, Edges};
use crate::server::hosts::Hosts;
use crate::server::observe::metrics::Metrics;
use crate::server::observe::metrics::families::{follow, signed};
use crate::server::state::App;
use crate::time::{Clock as _, SystemClock, UnixTime};

impl Metrics {
    /// Returns the text of one scrape.
    pub(crate) fn scrape(&self, app: &App) -> prometheus::Result<String> {
        let m = &*self.0;
        // Two scrapes at once would count new events twice.
        let _one = m.scraping.lock().unwrap_or_else(PoisonError::into_inner);
        let now = app.now();
        self.refresh_revocations(app);
        self.refresh_edges(&app.edges, now);
        self.refresh_passwords(app);
        follow(&m.anomaly_events_dropped, app.events.watch.dropped());
        follow(&m.webhooks_dropped, app.webhook.as_ref().map_or(0, Webhook::dropped));
        if let Some(counts) = app.hosts.own().token_cache_counts() {
            follow(&m.cache_lookups.with_label_values(&["hit"]), counts.hits);
            follow(&m.cache_lookups.with_label_values(&["miss"]), counts.misses);
            m.cache_tokens.set(signed(counts.tokens));
            m.cache_bytes.set(signed(counts.bytes));
        }
        self.refresh_nonces(&app.hosts);
        for usage in [KeyUse::Session, KeyUse::Feed] {
            if let Some(since) = app.keyring.signs_since(usage, now) {
                m.key_age.with_label_values(&[usage.as_str()]).set(signed(now.since(since).as_secs()));
            }
        }
        let (started, running) = (m.started.0, Instant::now().duration_since(m.started.1));
        let wall = SystemClock.now().as_secs().cast_signed() - started.as_secs().cast_signed();
        #[expect(clippy::cast_precision_loss, reason = "seconds since the start")]
        let drift = wall as f64 - running.as_secs_f64();
        // The start was read in whole seconds, so ignore drift under a second.
        m.clock_drift.set(if drift.abs() <= 1.0 { 0.0 } else { drift });
        m.process.refresh(started);
        TextEncoder::new().encode_to_string(&m.registry.gather())
    }

    fn refresh_revocations(&self, app: &App) {
        let m = &*self.0;
        let list = app.service.revocations.list().snapshot();
        m.list_entries.set(signed(list.len()));
        m.list_bytes.set(signed(list.heap_bytes()));
        let of_store = *app.service.store.watch().borrow();
        for (of, position) in [("store", Some(of_store)), ("list", list.position())] {
            let Some(position) = position else { continue };
            m.position.with_label_values(&[of, "epoch"]).set(signed(position.epoch));
            m.position.with_label_values(&[of, "sequence"]).set(signed(position.sequence));
        }
    }

    /// Removes the lines of forgotten edges.
    fn refresh_edges(&self, edges: &Edges, now: UnixTime) {
        let m = &*self.0;
        for family in [&m.edge_reported, &m.edge_epoch, &m.edge_sequence] {
            family.reset();
        }
        m.edge_age.reset();
        let known = edges.list(now);
        m.edges.set(signed(known.iter().filter(|edge| now.since(edge.reported_at) <= CONNECTED).count()));
        for edge in known {
            let name = &[&*edge.name];
            m.edge_reported.with_label_values(name).set(signed(edge.reported_at.as_secs()));
            let since = edge.as_of.unwrap_or(m.started.0);
            m.edge_age.with_label_values(name).set(now.since(since).as_secs_f64());
            if let Some(position) = edge.position {
                m.edge_epoch.with_label_values(name).set(signed(position.epoch));
                m.edge_sequence.with_label_values(name).set(signed(position.sequence));
            }
        }
    }

    fn refresh_passwords(&self, app: &App) {
        let load = app.service.passwords.load();
        for (state, now, most) in
            [("working", load.working, load.most_working), ("waiting", load.waiting, load.most_waiting)]
        {
            self.0.password_checks.with_label_values(&[state]).set(signed(now));
            self.0.password_checks_limit.with_label_values(&[state]).set(signed(most));
        }
    }

    fn refresh_nonces(&self, hosts: &Hosts) {
        let m = &*self.0;
        for (purpose, name) in [(Purpose::Ticket, "ticket"), (Purpose::Proof, "proof")] {
            let stats = hosts.nonces(purpose);
            m.nonces.with_label_values(&[name]).set(signed(stats.entries));
            m.nonces_limit.with_label_values(&[name]).set(signed(stats.capacity));
            for (reason, count) in [
                ("replayed", stats.replayed),
                ("before_start", stats.before_start),
                ("clock_behind", stats.clock_behind),
                ("full", stats.full),
                ("over_quota", stats.over_quota),
            ] {
                follow(&m.nonces_refused.with_label_values(&[name, reason]), count);
            }
        }
    }
}
