//! The login service.

pub(crate) mod anomalies;
pub(crate) mod config;
pub(crate) mod demo;
mod expiry;
mod feed;
mod hosts;
pub(crate) mod login;
mod observe;
pub(crate) mod operators;
pub(crate) mod routes;
mod state;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum_server::Handle;

use crate::anomaly::Watch;
use crate::error::ConfigError;
use crate::issuer::store::{SqliteStore, StoreError};
use crate::server::anomalies::Responder;
use crate::server::anomalies::edges::{EdgeAnomalies, watch_edges};
use crate::server::anomalies::webhook::Webhook;
use crate::server::config::Config;
use crate::server::feed::edges::Edges;
use crate::server::feed::follower::Follower;
use crate::server::feed::keyring::Keyring;
use crate::server::feed::publisher::Publisher;
use crate::server::hosts::Hosts;
use crate::server::login::LiveTickets;
use crate::server::login::SessionService;
use crate::server::login::limits::Limits;
use crate::server::login::password::PasswordChecker;
use crate::server::login::throttle::Throttle;
use crate::server::observe::activity::RecentActivity;
use crate::server::observe::events::Events;
use crate::server::observe::metrics::{Metrics, Timed};
use crate::server::operators::Operators;
use crate::server::state::{App, Engine, Settings};
use crate::service::connections::ConnectionLimiter;
use crate::service::listen::{Listener, TlsMode};
use crate::time::{Clock, SystemClock};

/// Options of `serve`.
pub(crate) struct Options {
    pub(crate) listen: SocketAddr,
    pub(crate) data: PathBuf,
    pub(crate) keys: PathBuf,
    pub(crate) config: Config,
    pub(crate) transport: TlsMode,
    pub(crate) admin_listen: Option<SocketAddr>,
}

/// A login service that is set up but not serving yet.
pub(crate) struct IssuerService {
    app: Arc<App>,
    listener: Listener,
    admin: Option<Listener>,
    tasks: tokio::task::JoinSet<()>,
}

impl IssuerService {
    /// Opens and checks everything, before anything is served.
    pub(crate) async fn open(options: Options) -> Result<Self, ConfigError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        // The cheap checks come first.
        let listener = Listener::bind(options.listen, options.transport.clone())?;
        // Operators connect through a tunnel or from the machine itself.
        let admin =
            options.admin_listen.map(|address| Listener::bind(address, TlsMode::Plain)).transpose()?;
        let keyring = Keyring::open(options.keys, clock.now())?;
        let minter = options.config.minter()?;
        let settings = Settings::new(&options.config, options.transport != TlsMode::Plain)?;
        if options.transport == TlsMode::BehindTlsProxy && options.config.trusted_proxies.is_empty() {
            tracing::warn!(
                "no trusted_proxies: all clients count as one, the proxy, and share its limits; \
                 name the proxy's address in the configuration"
            );
        }
        if options.config.public_origin.is_none()
            && (options.transport != TlsMode::Plain
                || !options.listen.ip().is_loopback()
                || !options.config.trusted_proxies.is_empty())
        {
            tracing::warn!(
                "no public_origin: log-ins that bind a session to the client's key (DPoP) are refused but on \
                 loopback; set it to where clients see this service, like https://login.example"
            );
        }
        let table = options.config.limits;
        let proxies = settings.trusted_proxies.clone();
        let limiter = ConnectionLimiter::new(table.connection_limits(), proxies);
        let waiting = limiter.waiting(table.waiting, table.waiting_per_address);
        let listener = listener.limited(limiter);
        let metrics = Metrics::new()?;
        let store = Arc::new(Timed::new(SqliteStore::open(&options.data).await?, metrics.clone()));

        let unusable = |why: StoreError| ConfigError::Serve(why.into());
        let revocations = Follower::start(Arc::clone(&store), clock.now()).await.map_err(unusable)?;
        let encrypted = options.transport != TlsMode::Plain;
        let hosts =
            Hosts::new(&options.config, keyring.session_keys(), revocations.list(), encrypted, clock.now())?;
        let hosts = Arc::new(hosts);
        let (watch, watcher) = Watch::new(options.config.anomalies.rules()?, Arc::clone(&clock));
        let actions = options.config.anomalies.actions()?;
        let events = Events { metrics: metrics.clone(), activity: RecentActivity::default(), watch };
        let (webhook, courier) = Webhook::open(&options.config.webhook, Arc::clone(&clock))?.unzip();
        let service = Arc::new(SessionService {
            store: Arc::clone(&store),
            revocations: revocations.clone(),
            minter,
            profiles: options.config.profiles()?,
            hosts: Arc::clone(&hosts),
            keyring: keyring.clone(),
            events: events.clone(),
            passwords: PasswordChecker::new().map_err(|why| ConfigError::Serve(why.into()))?,
            limits: Limits::open(table, &*store).await?,
            throttle: Throttle::default(),
            live_tickets: LiveTickets::new()?,
        });
        let publisher = Publisher::new(
            Arc::clone(&store),
            keyring.clone(),
            Arc::clone(&clock),
            metrics,
            options.config.profiles()?.largest(),
        );
        let operators = Operators::new(Arc::clone(&service), &options.config)?;
        let responder = Responder {
            service: Arc::clone(&service),
            actions,
            activity: events.activity.clone(),
            webhook: webhook.clone(),
            clock: Arc::clone(&clock),
        };
        let app = Arc::new(App {
            settings,
            events,
            keyring: keyring.clone(),
            hosts,
            service,
            publisher,
            operators,
            webhook,
            edge_anomalies: EdgeAnomalies::default(),
            edges: Edges::default(),
            waiting,
            stream_life: table.stream_life,
            clock: Arc::clone(&clock),
        });

        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(keyring.keep_current(Arc::clone(&clock)));
        tasks.spawn(revocations.keep_current(Arc::clone(&clock)));
        tasks.spawn(end_replaced(Arc::clone(&app.service), Arc::clone(&clock)));
        tasks.spawn(expiry::keep_tidy(store, Arc::clone(&clock)));
        tasks.spawn(responder.run(watcher));
        tasks.spawn(watch_edges(app.edges.clone(), app.events.watch.clone(), clock));
        if let Some(courier) = courier {
            tasks.spawn(courier.run());
        }
        Ok(Self { app, listener, admin, tasks })
    }

    /// Returns the address it listens on.
    pub(crate) fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.address()
    }

    /// Returns the operators' address.
    pub(crate) fn admin_address(&self) -> std::io::Result<Option<SocketAddr>> {
        self.admin.as_ref().map(Listener::address).transpose()
    }

    /// Serves until `handle` stops it.
    pub(crate) async fn serve(mut self, handle: Handle<SocketAddr>) -> Result<(), ConfigError> {
        if let Some(admin) = self.admin {
            let (routes, handle) = (routes::admin::router(&self.app), handle.clone());
            self.tasks.spawn(async move {
                if let Err(error) = admin.serve(routes, handle).await {
                    tracing::error!(%error, "the operators' address is not served any more");
                }
            });
        }
        let served = self.listener.serve(routes::router(&self.app), handle).await;
        self.tasks.shutdown().await;
        served
    }
}

/// Ends the sessions that were replaced, whichever process replaced them.
async fn end_replaced(service: Arc<SessionService<Engine>>, clock: Arc<dyn Clock>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        if let Err(error) = service.end_replaced(clock.now()).await {
            tracing::error!(%error, "the session before a reauthentication could not be ended");
        }
    }
}
