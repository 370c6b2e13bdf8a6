//! Renewals a second that the store makes durable, by how many are asked for at
//! a time: they share a commit, and with it the wait for the disk.
//!
//! `benches/run renewals`

#![expect(clippy::cast_precision_loss, clippy::unwrap_used, reason = "prints rough numbers")]

mod common;

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Task, interleave, machine, median, publish, rounds, show, table};
use hallpass::issuer::ledger::{Outcome, Presented, RenewalRequest, Row};
use hallpass::issuer::store::{SessionCaps, SessionRecord, SqliteStore, Store};
use hallpass::{KeyId, Lifetimes, Profile, SessionId, Subject, UnixTime};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const NOW: UnixTime = UnixTime::saturating_from_secs(1_790_000_000);
const KEY: KeyId = KeyId::from_bytes([1; 8]);
const AT_A_TIME: [usize; 4] = [1, 16, 128, 1024];

fn main() {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(runtime.block_on(SqliteStore::open(folder.path())).unwrap());
    let sessions: Vec<_> = (0..AT_A_TIME[3] as u128).map(record).collect();
    for session in &sessions {
        runtime.block_on(store.insert_session(session.clone(), SessionCaps::default(), None, NOW)).unwrap();
    }
    let generation = std::cell::Cell::new(0);
    let mut tasks: Vec<_> = AT_A_TIME
        .into_iter()
        .map(|count| {
            let (runtime, store, sessions, generation) = (&runtime, &store, &sessions, &generation);
            Task::timed(count.to_string(), move || {
                // Every session is renewed, `count` at a time, so that all stay
                // of one generation.
                let current = generation.replace(generation.get() + 1);
                let start = Instant::now();
                for some in sessions.chunks(count) {
                    runtime.block_on(renew(store, some, current));
                }
                start.elapsed().as_secs_f64() * 1e9 / sessions.len() as f64
            })
        })
        .collect();
    interleave(&mut tasks, rounds(9));
    let rows: Vec<_> = tasks
        .iter()
        .map(|task| vec![task.name.clone(), show(task.median()), format!("{:.0}", 1e9 / task.median())])
        .collect();
    let sync = median((0..50).map(|_| sync(folder.path())).collect());
    let head = ["asked for at a time", "each", "a second"];
    publish(
        "renewals",
        &format!(
            "{}; writing 4 kB to this disk and waiting for it takes {}.\n\n{}",
            machine(),
            show(sync),
            table(&head, &rows)
        ),
    );
}

async fn renew(store: &Arc<SqliteStore>, sessions: &[SessionRecord], generation: u64) {
    let mut all = JoinSet::new();
    for session in sessions {
        let (store, request) = (Arc::clone(store), request(session, generation));
        all.spawn(async move { store.renew(request).await });
    }
    while let Some(outcome) = all.join_next().await {
        let outcome = outcome.unwrap().unwrap();
        assert!(matches!(outcome, Outcome::Successor(_)), "it must be renewed to be measured: {outcome:?}");
    }
}

fn after(minutes: u64) -> UnixTime {
    NOW.saturating_add(Duration::from_mins(minutes))
}

fn record(n: u128) -> SessionRecord {
    SessionRecord {
        id: SessionId::from_bytes(n.wrapping_mul(0xda94_2042_e4dd_58b5_9e37_79b9_7f4a_7c15).to_le_bytes()),
        subject: Subject::new("alice").unwrap(),
        parent: None,
        replaces: None,
        audience: Some("shop".to_owned()),
        address: None,
        user_agent: None,
        started: NOW,
        auth_time: NOW,
        last_renewal: NOW,
        ends: after(60 * 12),
        row: Row {
            generation: 0,
            issued: NOW,
            expires: after(15),
            renewable_until: after(15),
            key_id: KEY,
            carried: [7; 32],
            seen_at: None,
            repeated_at: None,
            profile: Profile::Standard,
        },
        password_version: None,
    }
}

/// Each generation is due ten minutes after the one before.
fn request(session: &SessionRecord, generation: u64) -> RenewalRequest {
    let issued = after(10 * generation);
    RenewalRequest {
        session_id: session.id,
        subject: session.subject.as_str().into(),
        started: session.started,
        presented: Presented {
            generation,
            issued,
            expires: after(10 * generation + 15).min(session.ends),
            ends: session.ends,
            key_id: KEY,
            carried: [7; 32],
        },
        lifetimes: Lifetimes::default().into(),
        newest_key: KEY,
        available_keys: Arc::new([KEY]),
        address: None,
        now: after(10 * (generation + 1)),
    }
}

fn sync(folder: &std::path::Path) -> f64 {
    let mut file = std::fs::File::create(folder.join("sync")).unwrap();
    file.write_all(&[1; 4096]).unwrap();
    let start = Instant::now();
    file.sync_data().unwrap();
    start.elapsed().as_secs_f64() * 1e9
}
