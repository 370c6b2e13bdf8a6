//! Open connections: so many of all, and so many from one address, so that who
//! opens thousands and says nothing keeps nobody else out.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum_server::accept::Accept;
use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::http::{TrustedProxies, network_of};

/// Largest head of a request, in bytes.
const MAX_HEAD: u32 = 64 * 1024;
/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 16;

/// Bounds what one connection can make the process remember.
pub(crate) fn bound(builder: &mut Builder<TokioExecutor>) {
    builder.http1().max_buf_size(MAX_HEAD as usize);
    builder
        .http2()
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD)
        .initial_stream_window_size(MAX_HEAD)
        .initial_connection_window_size(2 * MAX_HEAD);
}

/// Files that are not connections: the database, its log, the key files, the
/// sockets themselves.
const OTHER_FILES: u32 = 128;

/// How many connections may be open at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionLimits {
    /// In all.
    pub(crate) all: u32,
    /// From each address that is no trusted proxy's.
    pub(crate) per_address: u32,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { all: 8192, per_address: 256 }
    }
}

/// Lets connections in, and counts them out. Clones share the count.
#[derive(Clone)]
pub(crate) struct ConnectionLimiter {
    shared: Arc<Shared>,
}

struct Shared {
    most: u32,
    most_of_address: u32,
    /// Many clients come from these.
    proxies: TrustedProxies,
    open: Mutex<Open>,
    refused: AtomicU64,
    refused_of_address: AtomicU64,
}

/// Never more networks than connections.
#[derive(Default)]
struct Open {
    all: u32,
    by_network: HashMap<IpAddr, u32>,
}

/// For metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "for whoever exports metrics")]
pub(crate) struct ConnectionStats {
    /// Open now.
    pub(crate) open: u32,
    /// Networks they come from.
    pub(crate) networks: usize,
    /// Refused because there were too many of all.
    pub(crate) refused: u64,
    /// Refused because there were too many from their address.
    pub(crate) refused_of_address: u64,
}

impl ConnectionLimiter {
    /// Fewer than `limits.all` if the process may not open as many files.
    pub(crate) fn new(limits: ConnectionLimits, proxies: TrustedProxies) -> Self {
        let ConnectionLimits { all: most, per_address: most_of_address } = limits;
        let possible = open_files().map_or(u32::MAX, |files| files.saturating_sub(OTHER_FILES).max(16));
        if possible < most {
            tracing::warn!(
                connections = possible,
                configured = most,
                "the process may open too few files for limits.connections; raise it (ulimit -n, LimitNOFILE)"
            );
        }
        Self {
            shared: Arc::new(Shared {
                most: most.min(possible),
                most_of_address,
                proxies,
                open: Mutex::default(),
                refused: AtomicU64::new(0),
                refused_of_address: AtomicU64::new(0),
            }),
        }
    }

    /// A place for a connection from here, until it is dropped.
    pub(crate) fn enter(&self, peer: IpAddr) -> Option<Permit> {
        let shared = &self.shared;
        let network = (!shared.proxies.contains(peer)).then(|| network_of(peer));
        let mut open = shared.open();
        if open.all >= shared.most {
            shared.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        if let Some(network) = network {
            let of_network = open.by_network.get(&network).copied().unwrap_or(0);
            if of_network >= shared.most_of_address {
                shared.refused_of_address.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            open.by_network.insert(network, of_network + 1);
        }
        open.all += 1;
        drop(open);
        Some(Permit { shared: Arc::clone(shared), network })
    }

    #[allow(dead_code, reason = "for whoever exports metrics")]
    pub(crate) fn stats(&self) -> ConnectionStats {
        let open = self.shared.open();
        ConnectionStats {
            open: open.all,
            networks: open.by_network.len(),
            refused: self.shared.refused.load(Ordering::Relaxed),
            refused_of_address: self.shared.refused_of_address.load(Ordering::Relaxed),
        }
    }
}

impl Default for ConnectionLimiter {
    /// With the defaults of `[limits]`.
    fn default() -> Self {
        Self::new(ConnectionLimits::default(), TrustedProxies::none())
    }
}

impl std::fmt::Debug for ConnectionLimiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ConnectionLimiter({} open)", self.shared.open().all)
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, Open> {
        // Nothing panics with the lock held.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place.
pub(crate) struct Permit {
    shared: Arc<Shared>,
    network: Option<IpAddr>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = self.shared.open();
        open.all -= 1;
        if let Some(network) = self.network
            && let Some(count) = open.by_network.get_mut(&network)
        {
            *count -= 1;
            if *count == 0 {
                open.by_network.remove(&network);
                // A flood's table doesn't stay.
                if open.by_network.capacity() > 64 + 4 * open.by_network.len() {
                    open.by_network.shrink_to_fit();
                }
            }
        }
    }
}

/// The soft limit of open files, where the system tells.
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
            let place = self.enter(peer.ip());
            let place = place.ok_or_else(|| io::Error::other("too many connections"))?;
            Ok((Admitted { stream, _permit: place }, service))
        });
        // Dropping the stream closes it.
        std::future::ready(admitted)
    }
}

/// A connection that has its place.
pub(crate) struct Admitted {
    stream: TcpStream,
    _permit: Permit,
}

impl AsyncRead for Admitted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Admitted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
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
            ConnectionLimits { all: 16, per_address: 3 },
            TrustedProxies::new(["10.0.0.1"]).unwrap(),
        );
        let mut held: Vec<_> = (0..3).map(|_| limiter.enter(ip("192.0.2.1")).unwrap()).collect();
        assert!(limiter.enter(ip("192.0.2.1")).is_none(), "a fourth");
        assert!(limiter.enter(ip("::ffff:192.0.2.1")).is_none(), "the same in an IPv4-mapped IPv6 address");
        // Three of one /64, whatever the rest of the address.
        held.extend((1..=3).map(|n| limiter.enter(ip(&format!("2001:db8::{n}"))).unwrap()));
        assert!(limiter.enter(ip("2001:db8::9")).is_none());
        held.push(limiter.enter(ip("2001:db8:0:1::9")).unwrap());
        // A trusted proxy brings many.
        held.extend((0..9).map(|_| limiter.enter(ip("10.0.0.1")).unwrap()));
        let stats = limiter.stats();
        assert_eq!((stats.open, stats.networks, stats.refused_of_address, stats.refused), (16, 3, 3, 0));
        assert!(limiter.enter(ip("10.0.0.1")).is_none() && limiter.enter(ip("192.0.2.9")).is_none());
        assert_eq!(limiter.stats().refused, 2);
        held.remove(0);
        held.push(limiter.enter(ip("192.0.2.1")).unwrap());
        drop(held);
        assert_eq!((limiter.stats().open, limiter.stats().networks), (0, 0));
        assert!(limiter.shared.open().by_network.capacity() < 64);
    }

    #[test]
    fn the_open_files_bound_the_connections() {
        let files = open_files().unwrap();
        assert_eq!(
            ConnectionLimiter::new(
                ConnectionLimits { all: u32::MAX, per_address: 1 },
                TrustedProxies::none()
            )
            .shared
            .most,
            files - OTHER_FILES
        );
    }

    #[test]
    fn threads_at_once_get_no_more_permits() {
        let limiter =
            ConnectionLimiter::new(ConnectionLimits { all: 1000, per_address: 10 }, TrustedProxies::none());
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
            // Kept until all have tried: a place that is given back is free.
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(entered.len(), 10);
    }
}
