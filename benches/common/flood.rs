//! Floods from one address, and their effect on honest clients at others and on
//! the process's memory. Bounded in count and time, on loopback only.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;

/// The source address of every flood.
pub const FLOODER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// The honest clients, each with an address and an account.
pub const HONEST: [&str; 4] = ["honest1", "honest2", "honest3", "honest4"];
/// An attacker with an account.
pub const MALLORY: &str = "mallory";

/// Log-outs that are measured, before and during.
const LOG_OUTS: usize = 10;
/// Fewest rounds of each honest client.
const LEAST_ROUNDS: u64 = 12;

/// The kind of flood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flood {
    /// Different tokens with wrong signatures.
    ForgedTokens,
    /// Wrong passwords for names of all kinds.
    LogIns,
    /// An account's correct password, for more and more sessions.
    NewSessions,
    /// Connections that send the head of a request one line at a time.
    SlowConnections,
    /// Requests for the feed from invented positions.
    Feed,
}

/// The size and duration.
#[derive(Clone, Copy)]
pub struct Size {
    /// Each of the two measurements.
    pub time: Duration,
    /// Number of flooding clients.
    pub clients: usize,
    /// Slow connections, held or tried.
    pub connections: usize,
}

/// The results of the honest clients.
#[derive(Default)]
pub struct Honest {
    pub asked: u64,
    /// Answers other than 200, and missing answers.
    pub failed: Vec<String>,
    /// Each on a connection of its own.
    pub requests: Vec<Duration>,
    pub log_ins: Vec<Duration>,
    /// From the request for a log-out to the edge's refusal.
    pub log_outs: Vec<Duration>,
}

/// The outcome of a flood.
pub struct Outcome {
    pub before: Honest,
    pub during: Honest,
    /// The flood's answers, by status or error.
    pub flood: BTreeMap<String, u64>,
    /// `VmHWM` in KiB, before and after.
    pub memory: (u64, u64),
}

/// The service under test.
#[derive(Clone)]
pub struct Service {
    pub url: String,
    pub pid: u32,
    pub password: String,
    /// An edge of this service, `http://HOST:PORT`, if log-outs are measured.
    pub edge: Option<String>,
    /// The device cookie of each honest client.
    devices: Arc<Mutex<BTreeMap<String, String>>>,
}

fn client(address: IpAddr, keep: usize) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().local_address(address).pool_max_idle_per_host(keep);
    client.timeout(Duration::from_secs(10)).tls_certs_only([]).build().unwrap()
}

impl Service {
    pub fn new(url: String, pid: u32, password: String) -> Self {
        Self { url, pid, password, edge: None, devices: Arc::default() }
    }

    fn address(&self) -> SocketAddr {
        self.url.split("://").nth(1).unwrap().split('/').next().unwrap().parse().unwrap()
    }

    async fn log_in(&self, client: &Client, name: &str, password: &str) -> Result<Value, String> {
        let body = json!({ "username": name, "password": password, "transport": "bearer" });
        let answer = client.post(format!("{}/login", self.url)).json(&body).send().await;
        let answer = answer.map_err(|error| cause(&error))?;
        let status = answer.status();
        let body = answer.json().await.map_err(|error| cause(&error))?;
        if status == 200 { Ok(body) } else { Err(status.as_u16().to_string()) }
    }

    /// Logs in like a browser, which keeps the session cookie and the device
    /// cookie.
    async fn log_in_as_browser(&self, client: &Client, name: &str) -> Result<String, String> {
        let device = self.devices.lock().unwrap().get(name).cloned().unwrap_or_default();
        let body = json!({ "username": name, "password": self.password });
        let request = client.post(format!("{}/login", self.url)).header("cookie", device).json(&body);
        let answer = request.send().await.map_err(|error| cause(&error))?;
        if answer.status() != 200 {
            return Err(format!("{} at log-in", answer.status().as_u16()));
        }
        let (mut session, mut device) = (String::new(), String::new());
        for cookie in answer.headers().get_all("set-cookie") {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
            let kept = if pair.starts_with("__Host-device") { &mut device } else { &mut session };
            *kept = pair;
        }
        answer.bytes().await.map_err(|error| cause(&error))?;
        self.devices.lock().unwrap().insert(name.to_owned(), device);
        Ok(session.split_once('=').map(|(_, token)| token.to_owned()).unwrap_or_default())
    }

    async fn show(&self, client: &Client, token: &str) -> Result<(), String> {
        let answer = client.get(format!("{}/session", self.url)).bearer_auth(token).send().await;
        let answer = answer.map_err(|error| cause(&error))?;
        let status = answer.status();
        answer.bytes().await.map_err(|error| cause(&error))?;
        if status == 200 { Ok(()) } else { Err(status.as_u16().to_string()) }
    }

    async fn feed(&self, client: &Client, after: u64) -> Result<(), String> {
        let url = format!("{}/revocations?after={after}&wait=0", self.url);
        let answer = client.get(url).send().await.map_err(|error| cause(&error))?;
        let status = answer.status();
        answer.bytes().await.map_err(|error| cause(&error))?;
        if status == 200 { Ok(()) } else { Err(status.as_u16().to_string()) }
    }

    /// `VmHWM`: the most memory that the process ever had, in KiB.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Runs the honest clients for this long.
    async fn honest(&self, time: Duration) -> Honest {
        let mut all = Honest::default();
        let clients: Vec<_> = HONEST
            .iter()
            .zip(3..)
            .map(|(name, last)| {
                let service = self.clone();
                tokio::spawn(
                    async move { service.one_honest(name, IpAddr::from([127, 0, 0, last]), time).await },
                )
            })
            .collect();
        let mut log_outs = Vec::new();
        if let Some(edge) = &self.edge {
            for _ in 0..LOG_OUTS {
                log_outs.push(self.log_out(edge).await);
            }
        }
        all.log_outs = log_outs;
        for client in clients {
            let one = client.await.unwrap();
            all.asked += one.asked;
            all.failed.extend(one.failed);
            all.requests.extend(one.requests);
            all.log_ins.extend(one.log_ins);
        }
        all
    }

    /// Logs in, waits until the edge takes the session, and logs out.
    async fn log_out(&self, edge: &str) -> Duration {
        let client = client(IpAddr::from([127, 0, 0, 7]), 2);
        let token = self.log_in(&client, HONEST[0], &self.password).await.unwrap();
        let token = token["token"].as_str().unwrap();
        let until = async |wanted: u16| loop {
            let asked = client.get(format!("{edge}/verify")).bearer_auth(token);
            let asked = asked.header("x-original-method", "GET").header("x-original-uri", "/");
            if asked.send().await.unwrap().status() == wanted {
                break;
            }
            sleep(Duration::from_millis(2)).await;
        };
        until(200).await;
        let start = Instant::now();
        let answer = client.post(format!("{}/logout", self.url)).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), 204);
        until(401).await;
        start.elapsed()
    }

    async fn one_honest(&self, name: &str, address: IpAddr, time: Duration) -> Honest {
        // A new connection each time, since an open one would not meet the
        // limits.
        let client = client(address, 0);
        let (mut seen, mut token) = (Honest::default(), None);
        let (start, mut last_log_in) = (Instant::now(), None::<Instant>);
        // On a busy machine this takes longer, so that every client completes
        // some rounds.
        while start.elapsed() < time || seen.asked < LEAST_ROUNDS {
            let asked = Instant::now();
            seen.asked += 1;
            let due = last_log_in.is_none_or(|at| at.elapsed() >= Duration::from_millis(500));
            let answer = if due && seen.asked % 4 == 1 {
                last_log_in = Some(asked);
                let answer = self.log_in_as_browser(&client, name).await;
                seen.log_ins.push(asked.elapsed());
                answer.map(|new| token = Some(new))
            } else {
                let answer = self.show(&client, token.as_deref().unwrap_or("")).await;
                seen.requests.push(asked.elapsed());
                answer
            };
            if let Err(error) = answer {
                seen.failed.push(error);
            }
            sleep(Duration::from_millis(20)).await;
        }
        seen
    }

    /// Honest clients first alone, then during the flood.
    pub async fn run(&self, flood: Flood, size: Size) -> Outcome {
        let token = self.log_in(&client(FLOODER, 1), MALLORY, &self.password).await.unwrap();
        let token = token["token"].as_str().unwrap().to_owned();
        let before = self.honest(size.time).await;
        let memory = self.peak_memory();
        let stop = Arc::new(AtomicBool::new(false));
        let tally = Arc::new(Tally::default());
        let flooding: Vec<_> = (0..size.clients)
            .map(|n| {
                let (service, stop, tally) = (self.clone(), Arc::clone(&stop), Arc::clone(&tally));
                let token = token.clone();
                tokio::spawn(async move {
                    match flood {
                        Flood::SlowConnections => {
                            service.slow(size.connections / size.clients, &stop, &tally).await;
                        }
                        _ => service.hammer(flood, n, &token, &stop, &tally).await,
                    }
                })
            })
            .collect();
        // The flood is running before the honest clients are measured.
        sleep(size.time / 4).await;
        if flood == Flood::SlowConnections {
            let start = Instant::now();
            while tally.sum() < size.connections as u64 && start.elapsed() < Duration::from_mins(1) {
                sleep(Duration::from_millis(50)).await;
            }
        }
        let during = self.honest(size.time).await;
        stop.store(true, Ordering::Relaxed);
        for one in flooding {
            one.await.unwrap();
        }
        Outcome { before, during, flood: tally.counts(), memory: (memory, self.peak_memory()) }
    }

    /// Floods as fast as possible, on persistent connections.
    async fn hammer(&self, flood: Flood, n: usize, token: &str, stop: &AtomicBool, tally: &Tally) {
        let client = client(FLOODER, 1);
        for round in 0_u64.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let answer = match flood {
                Flood::ForgedTokens => {
                    let forged = format!(
                        "{}{n:03}{round:09}{}",
                        &token[..token.len() - 20],
                        &token[token.len() - 8..]
                    );
                    self.show(&client, &forged).await
                }
                Flood::Feed => {
                    let odd = (n as u64 * 1_000_003 + round * 7_919) % 1_000_000;
                    self.feed(&client, odd).await
                }
                Flood::LogIns => {
                    // Existing and unknown names.
                    let name =
                        if round % 2 == 0 { HONEST[n % 4].to_owned() } else { format!("name {n} {round}") };
                    self.log_in(&client, &name, "a wrong password").await.map(drop)
                }
                _ => self.log_in(&client, MALLORY, &self.password).await.map(drop),
            };
            tally.add(answer.map_or_else(|error| error, |()| "200".to_owned()));
        }
    }

    /// Opens the connections, sends a line on each now and then, and opens
    /// closed ones again, at most as many times in all.
    async fn slow(&self, connections: usize, stop: &AtomicBool, tally: &Tally) {
        let mut held = Vec::with_capacity(connections);
        for _ in 0..connections {
            held.extend(self.open_slowly(tally).await);
        }
        let mut again = connections;
        while !stop.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(500)).await;
            for stream in &mut held {
                if stream.write_all(b"X-Slow: 1\r\n").await.is_err() && again > 0 {
                    again -= 1;
                    if let Some(new) = self.open_slowly(tally).await {
                        *stream = new;
                    }
                }
            }
        }
        // The last refused connections are closed by then.
        sleep(Duration::from_secs(1)).await;
        let mut byte = [0];
        for mut stream in held {
            let open = tokio::time::timeout(Duration::from_millis(1), stream.read(&mut byte)).await.is_err();
            tally.add(if open { "open at the end" } else { "closed by the service" }.to_owned());
        }
    }

    async fn open_slowly(&self, tally: &Tally) -> Option<TcpStream> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(FLOODER, 0)).unwrap();
        match socket.connect(self.address()).await {
            Ok(mut stream) => {
                let _ = stream.write_all(b"GET /session HTTP/1.1\r\nHost: localhost\r\n").await;
                tally.add("opened".to_owned());
                Some(stream)
            }
            Err(error) => {
                tally.add(format!("{:?}", error.kind()));
                None
            }
        }
    }
}

#[derive(Default)]
struct Tally(Mutex<BTreeMap<String, u64>>);

impl Tally {
    fn add(&self, what: String) {
        *self.0.lock().unwrap().entry(what).or_default() += 1;
    }

    fn sum(&self) -> u64 {
        self.0.lock().unwrap().values().sum()
    }

    fn counts(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap().clone()
    }
}

fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
