//! Limits on open connections, in all and from one address, so that a client
//! with thousands of idle connections keeps nobody else out. A connection whose
//! peer reads nothing is closed.

use std::future::Future as _;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use crate::http::TrustedProxies;
use crate::service::permits::{Full, Permit, Permits};

/// Largest request head, in bytes.
const MAX_HEAD: u32 = 64 * 1024;
/// Most concurrent requests on one HTTP/2 connection.
const MAX_STREAMS: u32 = 16;

/// Smallest write that counts as an answer, in bytes. An HTTP/2 peer can cause
/// smaller frames for ever: a PING's answer has 17, one byte of a stream 10.
const ANSWER: usize = 64;
/// A connection without an answer for this many times `stalled_after` is
/// closed. An HTTP/2 peer that stalls by flow control leaves nothing to write,
/// so no write fails.
const SILENT: u32 = 10;

/// Bounds the memory that one connection can use.
pub(crate) fn bound(builder: &mut Builder<TokioExecutor>) {
    builder.http1().max_buf_size(MAX_HEAD as usize);
    builder
        .http2()
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD)
        .initial_stream_window_size(MAX_HEAD)
        .initial_connection_window_size(2 * MAX_HEAD);
}

/// Open files that are not connections: the database, its log, the key files,
/// the listening sockets.
const OTHER_FILES: u32 = 128;

/// How many connections may be open at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionLimits {
    /// In all.
    pub(crate) all: u32,
    /// From each address that is not a trusted proxy's.
    pub(crate) per_address: u32,
    /// How long a connection may have bytes to send while the peer reads none.
    pub(crate) stalled_after: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { all: 8192, per_address: 256, stalled_after: Duration::from_secs(30) }
    }
}

/// Admits and counts connections. Clones share the count.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionLimiter {
    permits: Permits,
    /// Not limited per address, since many clients come from these.
    proxies: TrustedProxies,
    stalled_after: Duration,
}

impl ConnectionLimiter {
    /// Allows fewer than `limits.all` if the process may not open enough files.
    pub(crate) fn new(limits: ConnectionLimits, proxies: TrustedProxies) -> Self {
        let ConnectionLimits { all: most, per_address, stalled_after } = limits;
        let possible = open_files().map_or(u32::MAX, |files| files.saturating_sub(OTHER_FILES).max(16));
        if possible < most {
            tracing::warn!(
                connections = possible,
                configured = most,
                "the process may open too few files for limits.connections; raise it (ulimit -n, LimitNOFILE)"
            );
        }
        Self { permits: Permits::new(most.min(possible), per_address), proxies, stalled_after }
    }

    /// Returns permits for requests that wait: at most `all`, and at most three
    /// quarters of the connections. The rest stays free for other requests.
    pub(crate) fn waiting(&self, all: u32, per_address: u32) -> Permits {
        Permits::new(all.min(self.permits.most() / 4 * 3), per_address)
    }

    /// Takes a permit for a connection from `peer`, until it is dropped.
    pub(crate) fn enter(&self, peer: IpAddr) -> Result<Permit, Full> {
        self.permits.enter((!self.proxies.contains(peer)).then_some(peer))
    }
}

impl Default for ConnectionLimiter {
    /// Uses the defaults of `[limits]`.
    fn default() -> Self {
        Self::new(ConnectionLimits::default(), TrustedProxies::none())
    }
}

/// Returns the soft limit of open files, if the system tells.
fn open_files() -> Option<u32> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

impl<S> Accept<TcpStream, S> for ConnectionLimiter {
    type Stream = Admitted;
    type Service = S;
    type Future = std::future::Ready<io::Result<(Admitted, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let admitted = stream.peer_addr().and_then(|peer| {
            let permit = self.enter(peer.ip()).map_err(io::Error::other)?;
            Ok((
                Admitted {
                    stream,
                    stalled_after: self.stalled_after,
                    stalled: None,
                    answered: Instant::now(),
                    silent: Box::pin(sleep(self.stalled_after * SILENT)),
                    _permit: permit,
                },
                service,
            ))
        });
        // Dropping the stream closes it.
        std::future::ready(admitted)
    }
}

/// A connection that has its permit.
pub(crate) struct Admitted {
    stream: TcpStream,
    stalled_after: Duration,
    /// Runs while bytes are to be sent and the peer reads none.
    stalled: Option<Pin<Box<Sleep>>>,
    /// When an answer, or part of one, was last sent.
    answered: Instant,
    /// Fires when that may be too long ago.
    silent: Pin<Box<Sleep>>,
    _permit: Permit,
}

impl Admitted {
    /// Passes on a write's result; fails if no write succeeds for too long.
    fn progress(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(result) = &written {
            self.stalled = None;
            if matches!(result, Ok(bytes) if *bytes >= ANSWER) {
                self.answered = Instant::now();
            }
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(self.stalled_after)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Admitted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        while read.is_pending() && self.silent.as_mut().poll(cx).is_ready() {
            let until = self.answered + self.stalled_after * SILENT;
            if until <= Instant::now() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.silent.as_mut().reset(until);
        }
        read
    }
}

impl AsyncWrite for Admitted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.progress(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.progress(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_network_and_all_together_have_their_bound() {
        let limiter = ConnectionLimiter::new(
            ConnectionLimits { all: 16, per_address: 3, ..Default::default() },
            TrustedProxies::new(["10.0.0.1"]).unwrap(),
        );
        let mut held: Vec<_> = (0..3).map(|_| limiter.enter(ip("192.0.2.1")).unwrap()).collect();
        assert!(limiter.enter(ip("192.0.2.1")).is_err(), "a fourth");
        assert!(limiter.enter(ip("::ffff:192.0.2.1")).is_err(), "the same in an IPv4-mapped IPv6 address");
        // Three of one /64, whatever the rest of the address.
        held.extend((1..=3).map(|n| limiter.enter(ip(&format!("2001:db8::{n}"))).unwrap()));
        assert!(limiter.enter(ip("2001:db8::9")).is_err());
        held.push(limiter.enter(ip("2001:db8:0:1::9")).unwrap());
        // A trusted proxy opens many.
        held.extend((0..9).map(|_| limiter.enter(ip("10.0.0.1")).unwrap()));
        assert_eq!(limiter.permits.stats(), (16, 3));
        assert!(limiter.enter(ip("10.0.0.1")).is_err() && limiter.enter(ip("192.0.2.9")).is_err());
        held.remove(0);
        held.push(limiter.enter(ip("192.0.2.1")).unwrap());
        drop(held);
        assert_eq!(limiter.permits.stats(), (0, 0));
        assert!(limiter.permits.room() < 64);
    }

    #[test]
    fn the_open_files_bound_the_connections() {
        let files = open_files().unwrap();
        assert_eq!(
            ConnectionLimiter::new(
                ConnectionLimits { all: u32::MAX, per_address: 1, ..Default::default() },
                TrustedProxies::none()
            )
            .permits
            .most(),
            files - OTHER_FILES
        );
    }

    #[test]
    fn threads_at_once_get_no_more_permits() {
        let limiter = ConnectionLimiter::new(
            ConnectionLimits { all: 1000, per_address: 10, ..Default::default() },
            TrustedProxies::none(),
        );
        let barrier = std::sync::Barrier::new(32);
        let entered = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..32)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        limiter.enter(ip("192.0.2.1"))
                    })
                })
                .collect();
            // Kept until all threads have tried: a dropped permit is free
            // again.
            threads.into_iter().filter_map(|thread| thread.join().unwrap().ok()).collect::<Vec<_>>()
        });
        assert_eq!(entered.len(), 10);
    }
}
