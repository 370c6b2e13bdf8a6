//! Floods of a small size: honest clients at other addresses are served, all of
//! them, and the process's memory stays bounded. `benches/run flood` measures
//! the same with thousands and writes docs/abuse.md. No time is asserted.

#[path = "../../../benches/common/flood.rs"]
mod flood;

use std::net::Ipv4Addr;
use std::time::Duration;

use flood::{Flood, HONEST, MALLORY, Outcome, Service, Size};
use hallpass::issuer::store::SqliteStore;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::time::sleep;

use crate::support::{Home, PASSWORD, Running};

const SMALL: Size = Size { time: Duration::from_secs(2), clients: 16, connections: 2_000 };
/// In KiB; without bounds each flood could take far more.
const MOST_MEMORY: u64 = 150 * 1024;

fn home() -> Home {
    let home = Home::new();
    for name in HONEST.iter().chain([&MALLORY]) {
        home.add_user(name, &[]);
    }
    home
}

fn service(running: &Running) -> Service {
    Service::new(running.url.clone(), running.pid(), PASSWORD.to_owned())
}

async fn survives(flood: Flood) -> Outcome {
    let home = home();
    let running = home.serve_quietly(&[]);
    let outcome = service(&running).run(flood, SMALL).await;
    let (before, after) = outcome.memory;
    println!("{flood:?}: {:?}, {before} KiB, {after} KiB", outcome.flood);
    // However busy the machine is, everybody got through more than once.
    assert!(outcome.before.asked >= 48 && outcome.during.asked >= 48);
    assert!(outcome.before.log_ins.len() >= 4 && outcome.during.log_ins.len() >= 4);
    assert_eq!(outcome.before.failed, Vec::<String>::new());
    assert_eq!(outcome.during.failed, Vec::<String>::new(), "honest clients during {flood:?}");
    assert!(after < MOST_MEMORY, "{after} KiB");
    outcome
}

fn count(outcome: &Outcome, what: &str) -> u64 {
    outcome.flood.get(what).copied().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_forged_tokens() {
    let outcome = survives(Flood::ForgedTokens).await;
    assert!(count(&outcome, "401") > 20);
    assert_eq!(outcome.flood.len(), 1, "{:?}", outcome.flood);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_log_ins() {
    let outcome = survives(Flood::LogIns).await;
    // The burst and what the rate lets through besides; the rest costs no password check.
    assert!(count(&outcome, "401") <= 110, "{:?}", outcome.flood);
    assert!(count(&outcome, "429") > 20, "{:?}", outcome.flood);
    assert_eq!(count(&outcome, "200"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_new_sessions() {
    let outcome = survives(Flood::NewSessions).await;
    assert!(count(&outcome, "200") <= 65, "{:?}", outcome.flood);
    assert!(count(&outcome, "429") > 20, "{:?}", outcome.flood);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_requests_for_the_feed() {
    let outcome = survives(Flood::Feed).await;
    assert!(count(&outcome, "200") > 20, "{:?}", outcome.flood);
    assert!(
        outcome.flood.keys().all(|answer| ["200", "429"].contains(&answer.as_str())),
        "{:?}",
        outcome.flood
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_slow_connections() {
    let outcome = survives(Flood::SlowConnections).await;
    // The machine decides how many open; the service keeps 256. More count as
    // open until their closing is read: up to 180 on a busy machine.
    assert!(count(&outcome, "opened") > 300, "{:?}", outcome.flood);
    assert!(count(&outcome, "open at the end") <= 600, "{:?}", outcome.flood);
    assert!(count(&outcome, "closed by the service") > 0, "{:?}", outcome.flood);
}

/// Clients that hang up during a password check must not use more memory than
/// those that wait.
#[tokio::test(flavor = "multi_thread")]
async fn hanging_up_does_not_multiply_password_work() {
    let home = home();
    let running = home.serve_quietly(&[]);
    let service = service(&running);
    let before = service.peak_memory();
    let address = running.address().parse().unwrap();
    let store = SqliteStore::open(home.path("data").as_ref()).await.unwrap();
    let (mut round, mut attempts) = (0, 0);
    // A busy machine looks at fewer passwords in the same time.
    while round < 3 || (attempts <= 20 && round < 100) {
        let mut open = Vec::new();
        for last in 2..40_u8 {
            let body = format!("{{\"username\":\"name {last} {round}\",\"password\":\"wrong\"}}");
            let head = "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json";
            let request = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into()).unwrap();
            let mut stream = socket.connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            open.push(stream);
        }
        sleep(Duration::from_millis(300)).await;
        // In the order of service, so those being checked close first.
        for stream in open {
            drop(stream);
            sleep(Duration::from_millis(10)).await;
        }
        attempts = store.count_attempts().await.unwrap();
        round += 1;
    }
    let after = service.peak_memory();
    // 19 MiB for each core at work.
    let cores = std::thread::available_parallelism().unwrap().get() as u64;
    let most = before + (cores * 19 + 30) * 1024;
    println!("{attempts} attempts, {before} KiB, {after} KiB, at most {most} KiB");
    assert!(attempts > 20, "too few passwords were looked at: {attempts}");
    assert!(after < most, "{after} KiB");
}
