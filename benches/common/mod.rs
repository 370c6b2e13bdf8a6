//! Interleaved measurements, and tables in the docs.
#![allow(dead_code, reason = "each bench uses its part")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a bench may fail loudly")]

pub mod plot;

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

/// A task to measure. It repeats its work and returns the nanoseconds of one
/// repetition.
pub struct Task<'a> {
    pub name: String,
    run: Box<dyn FnMut() -> f64 + 'a>,
    times: Vec<f64>,
}

impl<'a> Task<'a> {
    /// Calls `call` with 0, 1, 2 …, `run` times between two readings of the
    /// clock: so few that a busy machine seldom interrupts it.
    pub fn each(name: impl Into<String>, run: u32, mut call: impl FnMut(usize) -> bool + 'a) -> Self {
        let mut n = 0;
        let name = name.into();
        let what = name.clone();
        Self::timed(name, move || {
            let start = Instant::now();
            for _ in 0..run {
                assert!(call(n), "{what} must work to be measured");
                n += 1;
            }
            start.elapsed().as_secs_f64() * 1e9 / f64::from(run)
        })
    }

    /// A task that measures its own time.
    pub fn timed(name: impl Into<String>, run: impl FnMut() -> f64 + 'a) -> Self {
        Self { name: name.into(), run: Box::new(run), times: Vec::new() }
    }

    pub fn median(&self) -> f64 {
        median(self.times.clone())
    }

    /// Returns the ratio to `base`: the median of the rounds' ratios, so that
    /// what slows a whole round cancels out.
    pub fn ratio(&self, base: &Self) -> f64 {
        median(self.times.iter().zip(&base.times).map(|(this, base)| this / base).collect())
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs all tasks in turn, so that other work on the machine affects them
/// alike; in a different order each round, so that no task always follows the
/// same other.
pub fn interleave(tasks: &mut [Task<'_>], rounds: usize) {
    let mut order: Vec<usize> = (0..tasks.len()).collect();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..rounds {
        for last in (1..order.len()).rev() {
            // Marsaglia's xorshift64.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            order.swap(last, (random >> 32) as usize % (last + 1));
        }
        for &next in &order {
            let task = &mut tasks[next];
            let took = (task.run)();
            task.times.push(took);
        }
    }
}

pub fn rounds(default: usize) -> usize {
    std::env::var("ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// Nanoseconds for people.
pub fn show(nanoseconds: f64) -> String {
    if nanoseconds < 1_000.0 {
        format!("{nanoseconds:.0} ns")
    } else {
        format!("{:.2} µs", nanoseconds / 1e3)
    }
}

/// A markdown table; the first column is left, the others right.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = format!("| {} |\n|---|{}\n", head.join(" | "), "--:|".repeat(head.len() - 1));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

/// The machine.
pub fn machine() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map_or("unknown", |(_, value)| value.trim()).to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let ifma = if field("flags").contains("avx512ifma") { "with" } else { "without" };
    format!("{}, {cores} cores, {ifma} AVX-512 IFMA", field("model name"))
}

/// Prints a section, and with `WRITE=docs/performance.md` in the environment
/// puts it between the section's two markers there.
pub fn publish(section: &str, text: &str) {
    println!("{text}");
    let path = std::env::var("WRITE").unwrap_or_default();
    if path.is_empty() {
        return;
    }
    let path = Path::new(&path);
    let page = std::fs::read_to_string(path).unwrap();
    let (start, end) = (format!("<!-- {section} -->"), format!("<!-- end of {section} -->"));
    let (before, rest) = page.split_once(&start).unwrap_or_else(|| panic!("no marker {start}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no marker {end}"));
    std::fs::write(path, format!("{before}{start}\n{}\n{end}{after}", text.trim_end())).unwrap();
}
