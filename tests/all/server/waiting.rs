//! Requests that wait, streams, and readers that don't read: each has a bound and
//! an end.

use std::cell::Cell;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::server::feed_floods::stall;
use crate::support::edge::{edge, until, verify};
use crate::support::{Home, Running, bearer, client};

const PATIENCE: Duration = Duration::from_secs(60);
const EVENTS: &str = "Accept: text/event-stream\r\n";

fn serve(home: &Home, limits: &str) -> Running {
    let config = format!("trusted_proxies = [\"127.0.0.1\"]\n[limits]\n{limits}\n");
    let config = home.write("hallpass.toml", config);
    home.serve_with(&["--config", config.to_str().unwrap(), "--admin-listen", "127.0.0.1:0"], &[])
}

/// A request as the proxy passes it on for `client`, and the answer's head.
async fn get(serve: &Running, client: &str, path: &str, headers: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(serve.address()).await.unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {client}\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let head = timeout(PATIENCE, async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap().to_lowercase()
    });
    let head = head.await.expect("an answer");
    (stream, head)
}

fn status(head: &str) -> &str {
    head.split(' ').nth(1).unwrap()
}

async fn metric(serve: &Running, series: &str) -> Option<f64> {
    let metrics = format!("{}/metrics", serve.admin.as_ref().unwrap());
    let text = client().get(metrics).send().await.unwrap().text().await.unwrap();
    text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_behind_a_proxy_leaves_places_for_the_others() {
    let home = Home::new();
    let serve = serve(&home, "connections = 32\nconnections_per_address = 32\nwaiting_per_address = 3");
    let mut held = Vec::new();
    for n in 0..20 {
        let same = if n % 2 == 0 { "203.0.113.7" } else { "::ffff:203.0.113.7" };
        let (stream, head) = get(&serve, same, "/revocations", EVENTS).await;
        assert_eq!(status(&head), if n < 3 { "200" } else { "429" }, "{n}: {head}");
        if n < 3 {
            held.push(stream);
        } else {
            assert!(head.contains("retry-after: ") && head.contains("application/problem+json"), "{head}");
        }
    }
    // An IPv6 client has its whole /64.
    for n in 1..=6 {
        let (stream, head) = get(&serve, &format!("2001:db8::{n}"), "/revocations", EVENTS).await;
        assert_eq!(status(&head), if n <= 3 { "200" } else { "429" }, "{head}");
        held.push(stream);
    }
    // A long poll waits as a stream does; what does not wait is answered.
    let (_, head) = get(&serve, "198.51.100.1", "/revocations?wait=0", "").await;
    let etag = head.lines().find_map(|line| line.strip_prefix("etag: \"")).unwrap();
    let (epoch, rest) = etag.split_once('.').unwrap();
    let sequence = rest.split('.').next().unwrap();
    let known = format!("/revocations?epoch={epoch}&after={sequence}");
    let (_, head) = get(&serve, "203.0.113.7", &known, "").await;
    assert_eq!(status(&head), "429", "{head}");
    let (_, head) = get(&serve, "203.0.113.7", &format!("{known}&wait=0"), "").await;
    assert_eq!(status(&head), "200", "{head}");
    let (_, head) = get(&serve, "198.51.100.1", "/revocations", EVENTS).await;
    assert_eq!(status(&head), "200", "{head}");
    assert_eq!(metric(&serve, "hallpass_waiting_refused_total{limit=\"address\"}").await, Some(21.0));
    assert!(serve.log().contains("a request may not wait for revocations"));
    // A released slot can be used again.
    held.clear();
    let freed = async {
        while status(&get(&serve, "203.0.113.7", "/revocations", EVENTS).await.1) != "200" {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, freed).await.expect("a free place");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_wait_leave_connections_for_those_that_end() {
    let home = Home::new();
    let serve = serve(&home, "connections = 16\nconnections_per_address = 16");
    let mut held = Vec::new();
    for n in 0..12 {
        let (stream, head) = get(&serve, &format!("203.0.113.{n}"), "/revocations", EVENTS).await;
        assert_eq!(status(&head), "200", "{head}");
        held.push(stream);
    }
    let (_, head) = get(&serve, "203.0.113.99", "/revocations", EVENTS).await;
    assert_eq!(status(&head), "503", "{head}");
    assert!(head.contains("retry-after: "), "{head}");
    let (_, head) = get(&serve, "203.0.113.99", "/healthz", "").await;
    assert_eq!(status(&head), "200", "{head}");
    assert_eq!(metric(&serve, "hallpass_waiting_refused_total{limit=\"all\"}").await, Some(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_and_the_edge_stays_current() {
    let home = Home::new();
    let serve = serve(&home, "stream_life = \"1s\"");
    let edge = edge(&home, &serve, &[]);
    // The edge's streams end as ours do.
    for _ in 0..3 {
        let (mut stream, head) = get(&serve, "203.0.113.7", "/revocations", EVENTS).await;
        assert_eq!(status(&head), "200");
        let mut rest = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("an end").unwrap();
        assert!(rest.ends_with(b"0\r\n\r\n") || rest.ends_with(b"\n\r\n0\r\n\r\n"), "an orderly end");
    }
    let token = bearer(&serve.url).await;
    let authorization = format!("Bearer {token}");
    let headers = [("Authorization", authorization.as_str())];
    assert_eq!(verify(&edge, "GET", "/", &headers).status, 200);
    let log_out = client().post(serve.at("/logout")).bearer_auth(&token).send().await.unwrap();
    assert_eq!(log_out.status(), 204);
    until("the log-out reaches the edge", || verify(&edge, "GET", "/", &headers).status == 401);
    let log = edge.log();
    assert!(!log.contains("feed was not taken") && !log.contains("no events get through"), "{log}");
}

/// Asks for far more than the sockets hold, and reads nothing yet.
async fn pending(serve: &Running) -> TcpStream {
    let mut stream = TcpStream::connect(serve.address()).await.unwrap();
    let request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // The service stops reading when it can't write.
    let _ = timeout(Duration::from_secs(1), stream.write_all(&request.repeat(4000))).await;
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_nothing_is_closed_and_who_reads_slowly_is_not() {
    let home = Home::new();
    let serve = serve(&home, "stalled_after = \"3s\"");
    // An idle stream is not a stalled one.
    let (mut idle, head) = get(&serve, "203.0.113.7", "/revocations", EVENTS).await;
    assert_eq!(status(&head), "200");
    let (stalled, mut slow) = tokio::join!(pending(&serve), pending(&serve));
    let is_closed = Cell::new(false);
    let reading = async {
        let mut buffer = vec![0; 256 * 1024];
        // Reads on for longer than the stalled client was allowed to wait.
        let mut more = 80;
        while more > 0 {
            let read = timeout(PATIENCE, slow.read(&mut buffer)).await.expect("more to read");
            assert!(read.unwrap() > 0, "the slow reader was closed");
            sleep(Duration::from_millis(50)).await;
            more -= u32::from(is_closed.get());
        }
    };
    let closed = timeout(PATIENCE, async {
        // Writes fail once the other side has closed.
        while !matches!(stalled.try_write(b"G"), Err(error) if error.kind() != std::io::ErrorKind::WouldBlock)
        {
            sleep(Duration::from_millis(50)).await;
        }
        is_closed.set(true);
    });
    let (closed, read) = tokio::join!(closed, timeout(2 * PATIENCE, reading));
    closed.expect("closed");
    read.expect("the slow reader is let go");
    // The signed feed comes anew every few seconds.
    let mut buffer = vec![0; 64 * 1024];
    assert!(timeout(PATIENCE, idle.read(&mut buffer)).await.expect("an event").unwrap() > 0);
}

/// Stalls by flow control alone: the socket itself is not full.
#[tokio::test(flavor = "multi_thread")]
async fn an_http2_reader_that_takes_one_byte_is_closed() {
    let home = Home::new();
    let serve = serve(&home, "stalled_after = \"1s\"");
    let address = serve.address();
    let read_to_the_end = move || {
        let mut stalled = stall(&address, 4);
        // What was sent before the window was full, and then the end.
        let mut rest = [0; 1024];
        loop {
            match std::io::Read::read(&mut stalled, &mut rest) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "never closed"),
            }
        }
    };
    tokio::task::spawn_blocking(read_to_the_end).await.unwrap();
}

/// A body without a length that never ends is refused once it is over the limit.
#[tokio::test(flavor = "multi_thread")]
async fn an_endless_body_is_refused_once_it_is_over_the_limit() {
    let home = Home::new();
    let serve = serve(&home, "");
    let edge = edge(&home, &serve, &[]);
    for (address, path, expected) in [(serve.address(), "/login", "413"), (edge.address(), "/verify", "401")]
    {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             X-Original-Method: GET\r\nX-Original-URI: /\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        let chunk = format!("1000\r\n{}\r\n", "a".repeat(0x1000));
        stream.write_all(head.as_bytes()).await.unwrap();
        // A page over the 16 KiB, and no last chunk.
        stream.write_all(chunk.repeat(5).as_bytes()).await.unwrap();
        let mut line = [0; 12];
        timeout(PATIENCE, stream.read_exact(&mut line)).await.expect("an answer").unwrap();
        assert_eq!(std::str::from_utf8(&line).unwrap(), format!("HTTP/1.1 {expected}"), "{path}");
    }
}
