//! The demo: issuer, an edge and a small protected app in one process. Its keys
//! and user are made at the start and deleted at the end.

use std::net::SocketAddr;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use axum_server::Handle;
use http::{HeaderMap, HeaderValue, header};
use rand::TryRng;
use serde_json::json;
use tempfile::TempDir;

use crate::error::ConfigError;
use crate::files;
use crate::http::SessionLayer;
use crate::id::{Subject, hex};
use crate::issuer::store::{NewUser, Role, SqliteStore, Store};
use crate::key::{Algorithm, KeyDir, KeyUse};
use crate::renew::RenewClient;
use crate::revocation::FeedKeys;
use crate::revocation::sync::FeedClient;
use crate::server::config::Config;
use crate::server::login::password::Password;
use crate::server::{IssuerService, Options};
use crate::service::listen::{Listener, TlsMode};
use crate::service::style::style_sheet;
use crate::session::Session;
use crate::time::{Clock, SystemClock};
use crate::verifier::Verifier;

/// The audience of the demo's tokens.
const AUDIENCE: &str = "demo";
const USER: &str = "demo";

/// The demo, listening.
pub(crate) struct Demo {
    /// The log-in page's URL.
    pub(crate) issuer_url: String,
    /// The protected app's URL.
    pub(crate) app_url: String,
    /// The demo user's name.
    pub(crate) user: &'static str,
    /// The demo user's password, new at each start.
    pub(crate) password: String,
    issuer: IssuerService,
    app_listener: Listener,
    app: Router,
    /// Keeps the edge's keys and revocations up to date.
    feed: FeedClient,
    /// Keys and database; removed when the demo ends.
    _folder: TempDir,
}

impl Demo {
    /// Makes keys and a user, and binds both addresses.
    pub(crate) async fn open(
        issuer: SocketAddr,
        app: SocketAddr,
        mut config: Config,
    ) -> Result<Self, ConfigError> {
        let folder =
            TempDir::with_prefix("hallpass-demo-").map_err(|why| files::error(&std::env::temp_dir(), why))?;
        let (keys, data) = (folder.path().join("keys"), folder.path().join("data"));
        let now = SystemClock.now();
        let mut dir = KeyDir::create(&keys)?;
        for usage in [KeyUse::Session, KeyUse::Feed] {
            dir.add(usage, Algorithm::EdDsa, now, now)?;
        }
        let password = random_password()?;
        add_user(&data, &password).await?;

        let app_listener = Listener::bind(app, TlsMode::Plain)?;
        let app_url = url(&app_listener).map_err(|why| ConfigError::Serve(why.into()))?;
        config
            .return_origins
            .push(app_url.parse().map_err(|_| ConfigError::Builder("the demo's own address is no origin"))?);
        config.tokens.audience = Some(AUDIENCE.into());
        let base_path = config.base_path.clone();
        let lifetimes = config.lifetimes()?;
        let (renew_after, remember) = (lifetimes.renew_after(), lifetimes.renewal_grace());
        let options =
            Options { listen: issuer, data, keys, config, transport: TlsMode::Plain, admin_listen: None };
        let issuer = IssuerService::open(options).await?;
        let issuer_url = url(&issuer.listener).map_err(|why| ConfigError::Serve(why.into()))? + &base_path;

        // This edge knows only the public key of the issuer's feed. The feed
        // brings it the session keys and the revocations.
        let feed_keys = FeedKeys::new(dir.key_set(KeyUse::Feed, now)?.iter().cloned())?;
        let feed = FeedClient::builder(&issuer_url).trust(feed_keys).build()?;
        let verifier = Verifier::builder(feed.keys().clone())
            .revocations(feed.list().clone())
            .audience(AUDIENCE)
            .build()?;
        let renewal = RenewClient::builder(&issuer_url, verifier.clone())
            .renew_after(renew_after)
            .remember(remember)
            .build()?;
        let app = Router::new()
            .route("/", get(whoami))
            .route("/style.css", get(style_sheet))
            .layer(SessionLayer::new(verifier).optional().renewing(renewal))
            .with_state(Arc::from(issuer_url.as_str()));
        Ok(Self {
            issuer_url,
            app_url,
            user: USER,
            password,
            issuer,
            app_listener,
            app,
            feed,
            _folder: folder,
        })
    }

    /// Serves both until `handle` stops them.
    pub(crate) async fn serve(self, handle: Handle<SocketAddr>) -> Result<(), ConfigError> {
        let app_handle = Handle::new();
        let app = tokio::spawn(self.app_listener.serve(self.app, app_handle.clone()));
        let feed = tokio::spawn(self.feed.run());
        let served = self.issuer.serve(handle).await;
        feed.abort();
        app_handle.shutdown();
        match app.await {
            Ok(app) => served.and(app),
            Err(_) => served,
        }
    }
}

async fn add_user(data: &std::path::Path, password: &str) -> Result<(), ConfigError> {
    let store = SqliteStore::open(data).await?;
    let user = NewUser {
        name: Subject::new(USER)?,
        password_hash: Password::new(password.to_owned())
            .hash()
            .map_err(|why| ConfigError::Serve(why.into()))?,
        role: Role::User,
        claims: Some(json!({ "roles": ["guest"] })),
    };
    store.add_user(user, SystemClock.now()).await.map_err(|why| ConfigError::Serve(why.into()))?;
    store.close().await;
    Ok(())
}

/// Returns `http://localhost:PORT`. For this name alone, browsers keep Secure
/// cookies without TLS.
fn url(listener: &Listener) -> std::io::Result<String> {
    Ok(format!("http://localhost:{}", listener.address()?.port()))
}

fn random_password() -> Result<String, ConfigError> {
    let mut bytes = [0; 6];
    rand::rngs::SysRng.try_fill_bytes(&mut bytes).map_err(|error| ConfigError::Randomness(error.into()))?;
    Ok(hex(&bytes))
}

#[derive(Template)]
#[template(path = "whoami.html")]
struct WhoAmI<'a> {
    base_path: &'a str,
    issuer: &'a str,
    session: &'a Session,
}

/// The protected app: one page for people, JSON for programs.
async fn whoami(State(issuer): State<Arc<str>>, session: Option<Session>, headers: HeaderMap) -> Response {
    let page = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    let mut response = match session {
        Some(session) if page => {
            let page = WhoAmI { base_path: "", issuer: &issuer, session: &session };
            page.render().map_or_else(
                |_| http::StatusCode::INTERNAL_SERVER_ERROR.into_response(),
                |html| Html(html).into_response(),
            )
        }
        Some(session) => Json(json!({ "session": session })).into_response(),
        None if page => {
            let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
            Redirect::to(&format!("{issuer}/?return_to=http://{host}/")).into_response()
        }
        None => crate::http::problem::Problem::unauthorized().into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'self'; frame-ancestors 'none'"),
    );
    response
}
