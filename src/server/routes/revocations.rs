//! `GET /revocations`: the signed feed, by polling, long poll or server-sent
//! events. It is signed, so any cache on the way may keep it for a moment.

use core::convert::Infallible;
use core::time::Duration;
use std::net::IpAddr;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::IntoResponse;
use futures_util::Stream;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rand::RngExt as _;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tracing::Instrument as _;

use super::body::Params;
use super::error::{ApiError, ApiResult, failed};
use super::request::RequestContext;
use super::schema::{Always, Problem as Unusable};
use crate::revocation::Position;
use crate::revocation::feed::MEDIA_TYPE;
use crate::server::feed::publisher::RESIGN;
use crate::server::feed::signed::Signed;
use crate::server::login::LogInError;
use crate::server::state::App;
use crate::service::permits::{Full, Permit};

/// How long a poll waits for news. Less than the allowed age of an edge's list.
const HOLD: Duration = Duration::from_secs(8);

/// How long a request over the rate waits for its refusal. A client that asks
/// again at once would otherwise take the CPU time of thousands of refusals a
/// second.
const REFUSAL_DELAY: Duration = Duration::from_millis(250);

#[derive(Deserialize)]
pub(super) struct Known {
    /// The sequence the edge has.
    after: Option<u64>,
    /// The epoch the edge has; another one gets a snapshot.
    epoch: Option<u64>,
    /// 0 asks for an answer at once.
    wait: Option<u64>,
}

/// The signed feed of revocations and session keys
#[utoipa::path(
    get, path = "/revocations", tag = "edges",
    params(
        ("after" = Option<u64>, Query, description = "The sequence that the edge has"),
        ("epoch" = Option<u64>, Query, description = "The epoch that the edge has; another one gets a snapshot"),
        ("wait" = Option<u64>, Query, description = "0 asks for an answer at once"),
    ),
    responses(
        (
            status = 200, description = "A CBOR sequence of signed parts, or an event for each",
            content((Vec<u8> = "application/hallpass-feed+cbor-seq"), (String = "text/event-stream")),
        ),
        (status = 304, description = "As the ETag says"),
        (
            status = 400, description = "The query can't be understood", body = Unusable,
            content_type = "application/problem+json",
        ),
        (
            status = 429, description = "Too many requests from this network; see Retry-After",
            body = Unusable, content_type = "application/problem+json",
        ),
        Always,
    )
)]
pub(super) async fn feed(
    State(app): State<Arc<App>>,
    Params(query): Params<Known>,
    context: RequestContext,
) -> ApiResult {
    let address = app.client_address(&context);
    if let Err(limited) = app.service.limits.feed(address) {
        app.slow_down(&context).await;
        return Err(LogInError::Limited(limited).into());
    }
    let headers = &context.headers;
    let newest = *app.publisher.watch().borrow();
    let known = query.after.map(|sequence| Position { epoch: query.epoch.unwrap_or(newest.epoch), sequence });
    let events = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("text/event-stream"));
    if events {
        let place = app.wait(&context)?;
        let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
        return Ok((headers, Body::from_stream(stream(app, address, known, place))).into_response());
    }
    if query.wait != Some(0) && known == Some(newest) {
        let _place = app.wait(&context)?;
        // Whatever ends the wait, the answer has the current state.
        let _waiting = app.events.metrics.feed_connection();
        let mut positions = app.publisher.watch();
        let _ = timeout(HOLD, positions.wait_for(|position| *position != newest)).await;
    }
    let signed = app.publisher.feed(known).await;
    let signed = signed.map_err(failed("The feed is not to be had at the moment."))?;
    respond(&app, address, signed, headers)
}

fn respond(app: &App, address: IpAddr, signed: Arc<Signed>, asked: &HeaderMap) -> ApiResult {
    let Position { epoch, sequence } = signed.position;
    // The ETag includes the time, since a cached feed is valid only for its own
    // time.
    let etag = format!("\"{epoch}.{sequence}.{}\"", signed.issued_at.as_secs());
    let same = asked.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()) == Some(&etag);
    if !same && signed.is_snapshot {
        app.service.limits.snapshot(address).map_err(LogInError::Limited)?;
    }
    let mut response = if same {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, MEDIA_TYPE)], Body::new(signed.body())).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=1"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    if let Ok(etag) = etag.try_into() {
        headers.insert(header::ETAG, etag);
    }
    Ok(response)
}

impl App {
    /// Takes a place for a request that waits. It counts for the client, not
    /// for the proxy in front.
    fn wait(&self, context: &RequestContext) -> ApiResult<Permit> {
        self.waiting.enter(Some(self.client_address(context))).map_err(|full| {
            self.events.metrics.may_not_wait(full);
            tracing::info!(%full, "a request may not wait for revocations");
            let status = match full {
                Full::All => StatusCode::SERVICE_UNAVAILABLE,
                Full::Address => StatusCode::TOO_MANY_REQUESTS,
            };
            ApiError::TooMany(status, "Too many requests wait here. Ask later, or with wait=0.")
        })
    }

    /// Waits before a refusal. A direct client waits on its own few connections.
    /// A trusted proxy may open any number, so there only as many requests wait
    /// as have permits.
    async fn slow_down(&self, context: &RequestContext) {
        let proxied = self.settings.trusted_proxies.contains(context.peer());
        let permit = proxied.then(|| self.waiting.enter(Some(self.client_address(context))));
        if !matches!(permit, Some(Err(_))) {
            sleep(REFUSAL_DELAY).await;
        }
    }
}

/// A comment that shows the client that the connection is alive.
const ALIVE: Bytes = Bytes::from_static(b":\n\n");

/// Sends an event for each part: at once, on every change, and every few
/// seconds without one.
fn stream(
    app: Arc<App>,
    address: IpAddr,
    mut known: Option<Position>,
    place: Permit,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    // Bounded: an edge that doesn't read makes this wait, not buffer.
    let (send, events) = mpsc::channel(1);
    // Random, so that streams do not all end at once.
    let life = app.stream_life.mul_f64(rand::rng().random_range(1.0..1.1));
    let feed = async move {
        let end = sleep(life);
        tokio::pin!(end);
        let _connected = app.events.metrics.feed_connection();
        let mut positions = app.publisher.watch();
        loop {
            positions.mark_unchanged();
            match app.publisher.feed(known).await {
                Ok(signed) => {
                    // An edge whose snapshot the rate limit refuses reconnects
                    // later.
                    if signed.is_snapshot && app.service.limits.snapshot(address).is_err() {
                        return;
                    }
                    for frame in signed.events() {
                        if send.send(Ok(frame)).await.is_err() {
                            return;
                        }
                    }
                    known = Some(signed.position);
                }
                Err(error) => {
                    tracing::error!(%error, "the feed could not be signed");
                    if send.send(Ok(ALIVE)).await.is_err() {
                        return;
                    }
                }
            }
            tokio::select! {
                () = send.closed() => return,
                () = &mut end => return,
                _ = timeout(RESIGN, positions.changed()) => {}
            }
        }
    };
    // The stream ends between two feeds. If nobody reads, the timeout ends it.
    let feed = async move {
        let _place = place;
        let _ = timeout(life + HOLD, feed).await;
    };
    tokio::spawn(feed.in_current_span());
    ReceiverStream::new(events)
}
