//! Requests a second with each kind of session check, relative to none: the
//! server on one core, the load (wrk) on another. `benches/run http` builds and
//! runs it; wrk and redis-server must be installed.

#[path = "../../common/mod.rs"]
mod common;
mod servers;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::{machine, median, publish, rounds, table};

const MANY: usize = 100_000;

/// Name for people, kind of server, number of different tokens.
const CASES: [(&str, &str, usize); 10] = [
    ("no check", "none", 1),
    ("no check, sent a token all the same", "none-sent", MANY),
    ("tower-sessions, in memory, one session", "memory", 1),
    ("tower-sessions, in memory, 100,000 sessions", "memory", MANY),
    ("tower-sessions, local Redis, one session", "redis", 1),
    ("tower-sessions, local Redis, 100,000 sessions", "redis", MANY),
    ("jsonwebtoken EdDSA", "jwt", MANY),
    ("**hallpass**, one token", "hallpass", 1),
    ("**hallpass**, 100,000 tokens", "hallpass", MANY),
    ("**hallpass**, all cold (no cache)", "hallpass-cold", MANY),
];

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, serve, kind, count, cookies, redis_port] = &args[..]
        && serve == "serve"
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (count, port) = (count.parse().unwrap(), redis_port.parse().unwrap());
        return runtime.block_on(servers::serve(kind, count, Path::new(cookies), port));
    }
    let folder = std::env::temp_dir().join(format!("hallpass-bench-http-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let redis = Redis::start();
    let mut cases: Vec<Case> = CASES.iter().map(|case| Case::start(case, &folder, redis.port)).collect();
    for case in &mut cases {
        let mut seen = case.load(1).0;
        // What is called hot is: every token has been seen.
        while case.kind == "hallpass" && seen < 1.1 * case.count as f64 {
            seen += case.load(1).0;
        }
    }
    for _ in 0..rounds(15) {
        for case in &mut cases {
            let before = case.cpu_seconds();
            let (requests, seconds) = case.load(1);
            let cpu = case.cpu_seconds() - before;
            case.rates.push(requests / seconds);
            case.cpu.push(cpu * 1e6 / requests);
        }
    }
    let base = &cases[0];
    let ratio = |a: &[f64], b: &[f64]| median(a.iter().zip(b).map(|(a, b)| a / b).collect());
    let rows: Vec<_> = cases
        .iter()
        .map(|case| {
            vec![
                case.name.to_owned(),
                format!("{:.0}", median(case.rates.clone())),
                format!("{:.2}", ratio(&case.rates, &base.rates)),
                format!("{:.1} µs", median(case.cpu.clone())),
                format!("{:.2}", ratio(&base.cpu, &case.cpu)),
            ]
        })
        .collect();
    let head = &["", "requests a second", "of no check", "server CPU a request", "no check's CPU / this"];
    publish("http", &format!("{}.\n\n{}", machine(), table(head, &rows)));
    drop(cases);
    drop(redis);
    let _ = std::fs::remove_dir_all(folder);
}

/// A server of its own process on core 0.
struct Case {
    name: &'static str,
    kind: &'static str,
    process: Child,
    port: u16,
    cookies: PathBuf,
    count: usize,
    /// Where in the tokens the next run begins.
    begin: f64,
    rates: Vec<f64>,
    cpu: Vec<f64>,
}

impl Case {
    fn start(
        (name, kind, count): &(&'static str, &'static str, usize),
        folder: &Path,
        redis_port: u16,
    ) -> Self {
        let cookies = folder.join(format!("{kind}-{count}"));
        let mut process = Command::new("taskset")
            .args(["-c", "0"])
            .arg(std::env::current_exe().unwrap())
            .args(["serve", kind, &count.to_string()])
            .arg(&cookies)
            .arg(redis_port.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().expect("the server says its port");
        Self {
            name,
            kind,
            process,
            port,
            cookies,
            count: *count,
            begin: 0.0,
            rates: Vec::new(),
            cpu: Vec::new(),
        }
    }

    /// Requests and seconds of 64 connections from core 1.
    fn load(&mut self, seconds: u32) -> (f64, f64) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/wrk.lua");
        let output = Command::new("taskset")
            .args(["-c", "1", "wrk", "-t1", "-c64", &format!("-d{seconds}s"), "-s", script])
            .arg(format!("http://127.0.0.1:{}/", self.port))
            .arg("--")
            .arg(&self.cookies)
            .arg(self.begin.to_string())
            .output()
            .expect("wrk is installed");
        let text = String::from_utf8_lossy(&output.stdout);
        let result = text
            .lines()
            .find_map(|line| line.strip_prefix("RESULT "))
            .unwrap_or_else(|| panic!("wrk said {text} {}", String::from_utf8_lossy(&output.stderr)));
        let numbers: Vec<f64> = result.split(' ').map(|n| n.parse().unwrap()).collect();
        assert_eq!(numbers[2], 0.0, "{}: requests failed: {text}", self.name);
        self.begin = (self.begin + numbers[0] / self.count as f64).fract();
        (numbers[0], numbers[1] / 1e6)
    }

    /// What the process has used of its core, the kernel's part for it too.
    fn cpu_seconds(&self) -> f64 {
        // Its first thread is its only one; the first number is nanoseconds.
        let stat = std::fs::read_to_string(format!("/proc/{}/schedstat", self.process.id())).unwrap();
        stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A Redis of this run's own on core 1.
struct Redis {
    process: Child,
    port: u16,
}

impl Redis {
    fn start() -> Self {
        let port = {
            let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
            listener.local_addr().unwrap().port()
        };
        let process = Command::new("taskset")
            .args(["-c", "1", "redis-server", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--port", &port.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Self { process, port }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
