//! Process metrics, by the names that Prometheus client libraries share. They
//! come from `/proc`; elsewhere only the start time is known.

use prometheus::{IntGauge, Result};

use super::families::{Maker, signed};
use crate::time::UnixTime;

pub(in crate::server) struct Families {
    start: IntGauge,
    resident: IntGauge,
    peak: IntGauge,
    files: IntGauge,
    threads: IntGauge,
}

impl Families {
    pub(in crate::server) fn new(m: &Maker) -> Result<Self> {
        Ok(Self {
            start: m.gauge("process_start_time_seconds", "When the process started, in unix time.")?,
            resident: m.gauge("process_resident_memory_bytes", "Resident memory.")?,
            peak: m.gauge("hallpass_process_peak_memory_bytes", "The most resident memory so far.")?,
            files: m.gauge("process_open_fds", "Open file descriptors.")?,
            threads: m.gauge("process_threads", "Threads.")?,
        })
    }

    pub(in crate::server) fn refresh(&self, started: UnixTime) {
        self.start.set(signed(started.as_secs()));
        if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
            self.resident.set(kibibytes(&status, "VmRSS:"));
            self.peak.set(kibibytes(&status, "VmHWM:"));
            self.threads.set(number(&status, "Threads:"));
        }
        if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
            // The listing itself has one file open.
            self.files.set(signed(files.count().saturating_sub(1)));
        }
    }
}

/// Returns a number in `/proc/self/status`, the one after `name`. See
/// `man 5 proc_pid_status`.
fn number(status: &str, name: &str) -> i64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("");
    line.split_whitespace().next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

fn kibibytes(status: &str, name: &str) -> i64 {
    number(status, name).saturating_mul(1024)
}
