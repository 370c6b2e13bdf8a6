//! Requests a second with each kind of session check, relative to none: the
//! server on one core, the load (wrk) on another. `benches/run http` builds and
//! runs it; wrk and redis-server must be installed.

#[path = "../../common/mod.rs"]
mod common;
mod servers;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::{machine, publish, rounds, table};

const MANY: usize = 100_000;

/// Name for people, kind of server, number of different tokens.
const CASES: [(&str, &str, usize); 9] = [
    ("no check", "none", 1),
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
    // The caches that are to be warm are: every token has been seen.
    for case in &mut cases {
        let mut seen = 0.0;
        while seen < 2.0 * case.count as f64 {
            seen += case.load(2).0;
        }
    }
    for _ in 0..rounds(7) {
        for case in &mut cases {
            let before = case.cpu_seconds();
            let (requests, seconds) = case.load(2);
            let cpu = case.cpu_seconds() - before;
            case.rates.push(requests / seconds);
            case.cpu.push(cpu * 1e6 / requests);
        }
    }
    let results: Vec<_> =
        cases.iter_mut().map(|case| (median(&mut case.rates), median(&mut case.cpu))).collect();
    let (base_rate, base_cpu) = results[0];
    let rows: Vec<_> = cases
        .iter()
        .zip(&results)
        .map(|(case, (rate, cpu))| {
            vec![
                case.name.to_owned(),
                format!("{rate:.0}"),
                format!("{:.2}", rate / base_rate),
                format!("{cpu:.1} µs"),
                format!("{:.2}", base_cpu / cpu),
            ]
        })
        .collect();
    let head = &["", "requests a second", "of no check", "server CPU a request", "no check's CPU / this"];
    publish("http", &format!("{}.\n\n{}", machine(), table(head, &rows)));
    drop(cases);
    drop(redis);
    let _ = std::fs::remove_dir_all(folder);
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A server of its own process on core 0.
struct Case {
    name: &'static str,
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
    fn start((name, kind, count): &(&'static str, &str, usize), folder: &Path, redis_port: u16) -> Self {
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
        Self { name, process, port, cookies, count: *count, begin: 0.0, rates: Vec::new(), cpu: Vec::new() }
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
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        // proc(5): utime and stime are the 14th and 15th, in ticks of 10 ms.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        ticks / 100.0
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
