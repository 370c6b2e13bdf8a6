//! Sockets: loopback or TLS, timeouts for slow clients, graceful shutdown.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use hyper_util::rt::TokioTimer;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::error::ConfigError;
use crate::service::certificate::Certificate;
use crate::service::connections::{self, ConnectionLimiter};

/// How long a client may take to send a request's head, and how long a
/// connection may stay silent before its first request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests in progress may take to end after SIGTERM.
const DRAIN: Duration = Duration::from_secs(10);

/// Where TLS is terminated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// Nowhere; for loopback only.
    Plain,
    /// At a proxy in front, as the operator confirms.
    BehindTlsProxy,
    /// In this process.
    Tls {
        /// The certificate chain in PEM, the server's certificate first.
        cert: PathBuf,
        /// The private key in PEM.
        key: PathBuf,
    },
}

impl TlsMode {
    /// Checks that the mode is safe on this address.
    ///
    /// # Errors
    /// [`ConfigError::Builder`] for plain HTTP on an address that others can
    /// reach: cookies and passwords would travel in the clear.
    pub fn check(&self, address: IpAddr) -> Result<(), ConfigError> {
        if *self == Self::Plain && !address.is_loopback() {
            return Err(ConfigError::Builder(
                "plain HTTP is for loopback addresses; give --tls-cert and --tls-key, \
                 or --behind-tls-proxy if a proxy in front ends TLS",
            ));
        }
        Ok(())
    }
}

/// A bound socket.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    transport: TlsMode,
    limiter: ConnectionLimiter,
}

impl Listener {
    /// Binds a socket; port 0 takes a free port.
    ///
    /// # Errors
    /// [`ConfigError::Builder`] as in [`TlsMode::check`], [`ConfigError::File`]
    /// if the address can't be bound.
    pub fn bind(address: SocketAddr, transport: TlsMode) -> Result<Self, ConfigError> {
        transport.check(address.ip())?;
        let fail = |why: std::io::Error| ConfigError::Listen { address, source: why };
        let socket = TcpListener::bind(address).map_err(fail)?;
        socket.set_nonblocking(true).map_err(fail)?;
        Ok(Self { socket, transport, limiter: ConnectionLimiter::default() })
    }

    /// Sets the bounds on connections.
    pub(crate) fn limited(self, limiter: ConnectionLimiter) -> Self {
        Self { limiter, ..self }
    }

    /// Returns the address it is bound to.
    ///
    /// # Errors
    /// If the system doesn't tell.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until `handle` is stopped and the requests in progress have
    /// ended.
    ///
    /// # Errors
    /// [`ConfigError`] for certificates that can't be used, or if the socket
    /// fails.
    pub async fn serve(self, app: Router, handle: Handle<SocketAddr>) -> Result<(), ConfigError> {
        let fail = |why: std::io::Error| ConfigError::Serve(why.into());
        let service = app.into_make_service_with_connect_info::<SocketAddr>();
        if let TlsMode::Tls { cert, key } = self.transport {
            let certificate = Certificate::open(cert, key).await?;
            let mut server = axum_server::from_tcp_rustls(self.socket, certificate.config())
                .map_err(fail)?
                .map(|tls| tls.acceptor(self.limiter))
                .handle(handle)
                .first_request_timeout(HEAD_TIMEOUT);
            server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
            server.http_builder().http2().timer(TokioTimer::new()).keep_alive_interval(Some(HEAD_TIMEOUT));
            connections::bound(server.http_builder());
            // This task ends when the set is dropped, at the end of this
            // function.
            let mut follower = JoinSet::new();
            follower.spawn(certificate.keep_current());
            server.serve(service).await.map_err(fail)
        } else {
            let mut server = axum_server::from_tcp(self.socket)
                .map_err(fail)?
                .acceptor(self.limiter)
                .handle(handle)
                .first_request_timeout(HEAD_TIMEOUT);
            server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
            connections::bound(server.http_builder());
            server.serve(service).await.map_err(fail)
        }
    }
}

/// Waits for SIGTERM or SIGINT, then lets `handle` drain.
///
/// # Errors
/// If the signals can't be listened for.
pub async fn stop_on_signal(handle: Handle<SocketAddr>) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping: serving what is under way, {} s at most", DRAIN.as_secs());
    handle.graceful_shutdown(Some(DRAIN));
    Ok(())
}
