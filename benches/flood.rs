//! Floods from one address while honest clients work at others. `benches/run
//! flood` rewrites the table in docs/abuse.md.

#![expect(
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a bench prints rough numbers and may fail loudly"
)]

mod common;
#[path = "common/flood.rs"]
mod flood;
#[path = "common/serving.rs"]
mod serving;

use std::time::Duration;

use common::{machine, publish, table};
use flood::{Flood, HONEST, Honest, MALLORY, Outcome, Service, Size};
use serving::{Edge, PASSWORD, Serving};

const SIZE: Size = Size { time: Duration::from_secs(10), clients: 32, connections: 10_000 };

const FLOODS: [(Flood, &str, u32); 6] = [
    (Flood::ForgedTokens, "forged tokens", 0),
    (Flood::LogIns, "log-ins", 0),
    (Flood::NewSessions, "new sessions", 0),
    (Flood::SlowConnections, "10,000 slow connections", 0),
    (Flood::Feed, "the feed, 50,000 entries", 50_000),
    (Flood::Feed, "the feed, 500,000 entries", 500_000),
];
/// Clients that flood the feed.
const FEED_CLIENTS: usize = 48;

fn main() {
    // `cargo test` and clippy's look at all targets pass other arguments.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (mut rows, mut floods) = (Vec::new(), Vec::new());
    let mut log_outs = Vec::new();
    for (flood, name, entries) in FLOODS {
        // A service of its own each, so that its memory is this flood's.
        let folder = tempfile::tempdir().unwrap();
        let serving = Serving::start(folder.path(), HONEST.iter().copied().chain([MALLORY]), "", |data| {
            if entries > 0 {
                runtime.block_on(serving::revoke_many(data, entries));
            }
        });
        let edge = (flood == Flood::Feed).then(|| Edge::start(&serving.url, folder.path(), &[]));
        let mut service = Service::new(serving.url.clone(), serving.process.id(), PASSWORD.to_owned());
        service.edge = edge.as_ref().map(|edge| edge.url.clone());
        let clients = if edge.is_some() { FEED_CLIENTS } else { SIZE.clients };
        let outcome = runtime.block_on(service.run(flood, Size { clients, ..SIZE }));
        if edge.is_some() {
            let most = |seen: &Honest| format!("{:.0} ms", quantile(&seen.log_outs, 100).as_secs_f64() * 1e3);
            log_outs.push(vec![name.to_owned(), most(&outcome.before), most(&outcome.during)]);
        }
        for failure in &outcome.during.failed {
            eprintln!("{name}: an honest client met {failure}");
        }
        rows.push(row(name, &outcome));
        let counts: Vec<_> = outcome.flood.iter().map(|(what, count)| format!("{count} × {what}")).collect();
        floods.push(vec![name.to_owned(), counts.join(", ")]);
    }
    let head = &[
        "flood",
        "honest requests served, before",
        "during",
        "a request: median before",
        "during / before",
        "99 %: before",
        "during / before",
        "a log-in: median before",
        "during / before",
        "peak memory before",
        "after",
    ];
    let text = format!(
        "{}: a shared virtual machine, on which other work ran at the same time; {} build. {} s each before and during; \
         {} honest clients at addresses of their own, {} flooding ones at one.\n\n{}\n{}\n{}",
        machine(),
        if cfg!(debug_assertions) { "a development" } else { "a release" },
        SIZE.time.as_secs(),
        HONEST.len(),
        SIZE.clients,
        table(head, &rows),
        table(&["flood", "log-out to the edge's refusal, the longest of 10: before", "during"], &log_outs),
        table(&["flood", "what it was answered"], &floods),
    );
    publish("flood", &text);
}

fn row(name: &str, outcome: &Outcome) -> Vec<String> {
    let Outcome { before, during, memory, .. } = outcome;
    let served = |seen: &Honest| format!("{:.1} % of {}", success(seen) * 100.0, seen.asked);
    let compared = |times: fn(&Honest) -> &[Duration], part| {
        let (before, during) = (quantile(times(before), part), quantile(times(during), part));
        let ratio = during.as_secs_f64() / before.as_secs_f64();
        [format!("{:.1} ms", before.as_secs_f64() * 1e3), format!("{ratio:.1}")]
    };
    let [half, half_ratio] = compared(|seen| &seen.requests, 50);
    let [most, most_ratio] = compared(|seen| &seen.requests, 99);
    let [log_in, log_in_ratio] = compared(|seen| &seen.log_ins, 50);
    let mib = |kib: u64| format!("{:.0} MiB", kib as f64 / 1024.0);
    let (alone, flooded) = (served(before), served(during));
    let (peak_before, peak_after) = (mib(memory.0), mib(memory.1));
    vec![
        name.to_owned(),
        alone,
        flooded,
        half,
        half_ratio,
        most,
        most_ratio,
        log_in,
        log_in_ratio,
        peak_before,
        peak_after,
    ]
}

fn success(seen: &Honest) -> f64 {
    1.0 - seen.failed.len() as f64 / seen.asked as f64
}

/// The time that `hundredths` of a hundred take at most.
fn quantile(times: &[Duration], hundredths: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get((times.len() * hundredths / 100).min(times.len() - 1)).copied().unwrap()
}
