//! Strangers at the feed: they ask for deltas that nobody needs, or for more
//! than they read. Log-outs reach edges meanwhile, and memory stays bounded.
#![expect(clippy::unwrap_used, reason = "also in the helpers of tests")]

#[path = "../../../benches/common/revoke_many.rs"]
mod revoke_many;

use std::io::{BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use revoke_many::revoke_many;
use tokio::time::sleep;

use crate::support::edge::{edge, until, verify};
use crate::support::{Home, Running, bearer, client};

const RATE: &str = "{ burst = 1000000, per_minute = 1000000 }";
const FLOODER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// How often a feed of one position is signed again.
const RESIGN: u64 = 5;

async fn serve(home: &Home, entries: u32) -> Running {
    revoke_many(home.path("data").as_ref(), entries).await;
    let limits =
        format!("[limits]\nfeed_requests_per_address = {RATE}\nfeed_snapshots_per_address = {RATE}\n");
    let config = home.write("feed-floods.toml", limits);
    home.serve_with(
        &["--config", config.to_str().unwrap(), "--admin-listen", "127.0.0.1:0"],
        &[("HALLPASS_LOG", "error"), ("HALLPASS_OPERATOR_TOKEN", "0123456789abcdef0123456789abcdef")],
    )
}

async fn feeds_signed(serve: &Running) -> u64 {
    let url = format!("{}/metrics", serve.admin.as_ref().unwrap());
    let text = client().get(url).send().await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("hallpass_feeds_signed_total ")).unwrap();
    line.parse().unwrap()
}

/// Odd numbers: of the past, of the future, and of another epoch.
fn odd(n: u64) -> String {
    match n % 4 {
        0 => format!("after={}&epoch=1&wait=0", n * 7919 % 2_000),
        1 => format!("after={}&wait=0", n * 7919 % 1_900),
        2 => format!("after={}&wait=0", 3_000 + n),
        _ => format!("after={}&wait=0", u64::MAX - n),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_strangers_ask_for_makes_no_signatures_and_holds_up_no_log_out() {
    const CONNECTIONS: u64 = 48;
    let home = Home::new();
    let serve = serve(&home, 2_000).await;
    let edge = edge(&home, &serve, &[]);
    let token = bearer(&serve.url).await;
    let authorization = format!("Bearer {token}");
    let status = || verify(&edge, "GET", "/", &[("Authorization", &authorization)]).status;
    until("the edge takes the session", || status() == 200);

    let (before, start) = (feeds_signed(&serve).await, Instant::now());
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let flood: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (stop, asked, url) = (Arc::clone(&stop), Arc::clone(&asked), serve.at("/revocations"));
            tokio::spawn(async move {
                let client = reqwest::Client::builder().local_address(Some(FLOODER.into()));
                let client = client.tls_certs_only([]).build().unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let n = asked.fetch_add(1, Ordering::Relaxed);
                    let answer = client.get(format!("{url}?{}", odd(n))).send().await.unwrap();
                    assert_eq!(answer.status(), 200);
                    answer.bytes().await.unwrap();
                }
            })
        })
        .collect();
    while asked.load(Ordering::Relaxed) < 500 {
        sleep(Duration::from_millis(10)).await;
    }
    let answer = client().post(serve.at("/logout")).bearer_auth(&token).send().await.unwrap();
    assert_eq!(answer.status(), 204);
    until("the edge refuses the session", || status() == 401);
    while asked.load(Ordering::Relaxed) < 2_000 {
        sleep(Duration::from_millis(10)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for one in flood {
        one.await.unwrap();
    }
    // The intervals that have begun, and one for the log-out; in each a
    // snapshot, a re-signing and a delta for the edge.
    let intervals = start.elapsed().as_secs() / RESIGN + 2;
    let signed = feeds_signed(&serve).await - before;
    println!("{} asked, {signed} signed in {intervals} intervals", asked.load(Ordering::Relaxed));
    assert!(signed <= 4 * intervals, "{signed} signed in {intervals} intervals");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_network_asks_for_so_many_feeds_and_no_more() {
    for limit in ["feed_requests_per_address", "feed_snapshots_per_address"] {
        let home = Home::new();
        let limits = format!("[limits]\n{limit} = {{ burst = 3, per_minute = 1 }}\n");
        let config = home.write("c.toml", limits);
        let serve = home.serve(&["--config", config.to_str().unwrap()]);
        let url = serve.at("/revocations?wait=0");
        for _ in 0..3 {
            assert_eq!(client().get(&url).send().await.unwrap().status(), 200);
        }
        let asked = Instant::now();
        let refused = client().get(&url).send().await.unwrap();
        assert_eq!(refused.status(), 429);
        // A client that asks again at once is delayed.
        let waited = asked.elapsed() >= Duration::from_millis(250);
        assert!(waited || limit == "feed_snapshots_per_address", "refused at once");
        let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
        let elsewhere = reqwest::Client::builder().local_address(Some(FLOODER.into()));
        let elsewhere = elsewhere.tls_certs_only([]).build().unwrap();
        assert_eq!(elsewhere.get(&url).send().await.unwrap().status(), 200);
    }
}

/// A header that HPACK has a name for, not indexed (RFC 7541 §6.2.2).
fn header(block: &mut Vec<u8>, name: &[u8], value: &str) {
    block.extend_from_slice(name);
    block.push(u8::try_from(value.len()).unwrap());
    block.extend_from_slice(value.as_bytes());
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A connection with a window of one byte for each of so many requests for the
/// feed, every other one for events. Returns when each has got its byte.
pub(crate) fn stall(address: &str, streams: u32) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 §6.5.2).
    out.extend(frame(4, 0, 0, &[0, 4, 0, 0, 0, 1]));
    for n in 0..streams {
        // GET, http.
        let mut block = vec![0x82, 0x86];
        header(&mut block, &[0x04], "/revocations?wait=0");
        header(&mut block, &[0x01], "localhost");
        if n % 2 == 1 {
            header(&mut block, &[0x0f, 0x04], "text/event-stream");
        }
        // END_STREAM, END_HEADERS.
        out.extend(frame(1, 0x5, 2 * n + 1, &block));
    }
    stream.write_all(&out).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut waiting = streams;
    while waiting > 0 {
        let mut head = [0; 9];
        reader.read_exact(&mut head).unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        reader.read_exact(&mut payload).unwrap();
        // DATA.
        if head[3] == 0 && !payload.is_empty() {
            assert_eq!(payload.len(), 1);
            waiting -= 1;
        }
    }
    stream
}

/// `VmRSS` in KiB.
fn memory(serve: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", serve.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// What so many stalled readers take, in KiB.
async fn taken(entries: u32, connections: u32, streams: u32) -> u64 {
    let home = Home::new();
    let serve = serve(&home, entries).await;
    // What is signed for all is there before.
    for accept in ["*/*", "text/event-stream"] {
        let ask = client().get(serve.at("/revocations")).header("accept", accept);
        ask.send().await.unwrap().chunk().await.unwrap();
    }
    let before = memory(&serve);
    let address = serve.address();
    let stalled: Vec<_> = (0..connections).map(|_| stall(&address, streams)).collect();
    let after = memory(&serve);
    println!("{entries} entries: {before} KiB, with {} stalled readers {after} KiB", connections * streams);
    drop(stalled);
    after.saturating_sub(before)
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_never_read_take_little_and_share_the_feed() {
    const CONNECTIONS: u32 = 63;
    const STREAMS: u32 = 16;
    let short = taken(2_000, CONNECTIONS, STREAMS).await;
    let long = taken(50_000, CONNECTIONS, STREAMS).await;
    let readers = u64::from(CONNECTIONS * STREAMS);
    for taken in [short, long] {
        assert!(taken <= readers * 100, "{taken} KiB for {readers} readers");
    }
    // Signed again once or twice meanwhile, but never for a reader: a copy of
    // this list has more than 1,300 KiB.
    assert!(long <= short + 32 * 1024, "{long} KiB, and {short} KiB with a short list");
}
