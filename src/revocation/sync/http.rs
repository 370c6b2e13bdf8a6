//! Requests to the issuer, and the feeds in their answers. Every answer is
//! bounded in size and time.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use reqwest::{Response, StatusCode, Url};
use tokio::time::timeout;

use super::error::SyncError;
use super::events::EventReader;
use super::report::EdgeReport;
use super::spawn_blocking::spawn_blocking;
use crate::error::{ConfigError, Malformed};
use crate::key::exchange::MAX_KEY_SET_BYTES;
use crate::outbound::{self, BodyError, Outbound};
use crate::revocation::feed::{FeedPart, FeedParts, MEDIA_TYPE, next_part, part_from_text};
use crate::revocation::{Feed, FeedError, FeedKeys, Position};
use crate::time::Clock;

const EVENT_STREAM: &str = "text/event-stream";
/// The second half is [`MEDIA_TYPE`].
const EVENTS_OR_FEED: &str = "text/event-stream, application/hallpass-feed+cbor-seq;q=0.5";
/// Verifying a part of this length, in bytes, takes about a millisecond. Longer
/// ones are verified on a blocking thread.
const LARGE_PART: usize = 64 * 1024;

/// The connection to one issuer.
#[derive(Clone)]
pub(super) struct Http {
    issuer: Outbound,
    revocations: Url,
    feed_keys: Url,
    report: Url,
    pub(super) timeout: Duration,
    max_feed_bytes: usize,
}

/// What to request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask<'a> {
    /// A snapshot, unless it has this ETag.
    Snapshot(Option<&'a str>),
    /// Events after this position, or one feed if the issuer has no events.
    Events(Position),
    /// One feed, when there is news.
    Next(Position),
    /// One feed, at once.
    Now(Position),
}

impl Http {
    pub(super) fn new(options: &outbound::Options, max_feed_bytes: usize) -> Result<Self, ConfigError> {
        let issuer = options.outbound()?;
        Ok(Self {
            revocations: issuer.at("/revocations"),
            feed_keys: issuer.at("/.well-known/hallpass/feed-keys"),
            report: issuer.at("/edges/report"),
            issuer,
            timeout: options.timeout,
            max_feed_bytes,
        })
    }

    /// Whether nobody on the way can change the issuer's answers.
    pub(super) fn is_private(&self) -> bool {
        self.issuer.is_private()
    }

    /// Fetches the issuer's feed keys.
    pub(super) async fn feed_keys(&self) -> Result<FeedKeys, SyncError> {
        let read = async {
            let response = self.issuer.client().get(self.feed_keys.clone()).send().await.map_err(broken)?;
            is_ok(&response)?;
            let body = outbound::body(response, MAX_KEY_SET_BYTES).await.map_err(|why| match why {
                BodyError::Broken(why) => broken(why),
                BodyError::TooLarge => SyncError::TooLarge { limit: MAX_KEY_SET_BYTES },
            })?;
            FeedKeys::from_bytes(&body).map_err(|why| SyncError::FeedKeys(why.to_string()))
        };
        self.in_time(read).await
    }

    /// Sends a report to the issuer.
    pub(super) async fn report(&self, report: &EdgeReport, credential: &str) -> Result<(), SyncError> {
        let request = self.issuer.client().post(self.report.clone()).bearer_auth(credential).json(report);
        let answer = self.in_time(async { request.send().await.map_err(broken) }).await?;
        if answer.status().is_success() { Ok(()) } else { Err(SyncError::Status(answer.status().as_u16())) }
    }

    /// Sends the request; `None` if nothing has changed.
    pub(super) async fn ask(&self, what: Ask<'_>) -> Result<Option<Answer>, SyncError> {
        let mut url = self.revocations.clone();
        if let Ask::Events(after) | Ask::Next(after) | Ask::Now(after) = what {
            let mut query = url.query_pairs_mut();
            query.append_pair("after", &after.sequence.to_string());
            query.append_pair("epoch", &after.epoch.to_string());
            if matches!(what, Ask::Now(_)) {
                query.append_pair("wait", "0");
            }
        }
        let accept = match what {
            Ask::Events(_) => EVENTS_OR_FEED,
            _ => MEDIA_TYPE,
        };
        let mut request = self.issuer.client().get(url).header(ACCEPT, accept);
        if let Ask::Snapshot(Some(etag)) = what {
            request = request.header(IF_NONE_MATCH, etag);
        }
        // A long poll is answered when there is news.
        let response = self.in_time(async { request.send().await.map_err(broken) }).await?;
        if response.status() == StatusCode::NOT_MODIFIED && matches!(what, Ask::Snapshot(Some(_))) {
            return Ok(None);
        }
        is_ok(&response)?;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let kind = header(CONTENT_TYPE).unwrap_or("");
        let framing = match kind.split(';').next().unwrap_or("").trim() {
            MEDIA_TYPE => Framing::Sequence(Vec::new()),
            EVENT_STREAM if matches!(what, Ask::Events(_)) => Framing::Events(EventReader::default()),
            _ => return Err(SyncError::ContentType(kind.chars().take(80).collect())),
        };
        let etag = header(ETAG).map(str::to_owned);
        Ok(Some(Answer { response, framing, etag }))
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, SyncError>>) -> Result<T, SyncError> {
        timeout(self.timeout, work).await.unwrap_or(Err(SyncError::TimedOut(self.timeout)))
    }

    /// Returns the next complete feed of an answer, verified; `None` at its
    /// end.
    pub(super) async fn next_feed(
        &self,
        answer: &mut Answer,
        keys: &Arc<FeedKeys>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Option<Feed>, SyncError> {
        self.in_time(answer.next_feed(keys, clock, self.max_feed_bytes)).await
    }
}

/// An answer of the issuer that is still arriving.
pub(super) struct Answer {
    response: Response,
    framing: Framing,
    pub(super) etag: Option<String>,
}

enum Framing {
    /// The parts of one feed so far.
    Sequence(Vec<u8>),
    Events(EventReader),
}

impl Answer {
    /// Whether it may carry more than one feed.
    pub(super) const fn is_stream(&self) -> bool {
        matches!(self.framing, Framing::Events(_))
    }

    async fn next_feed(
        &mut self,
        keys: &Arc<FeedKeys>,
        clock: &Arc<dyn Clock>,
        limit: usize,
    ) -> Result<Option<Feed>, SyncError> {
        let mut parts = FeedParts::default();
        let mut length = 0;
        loop {
            while let Some(part) = self.framing.next_part()? {
                length += part.len();
                if length > limit {
                    return Err(SyncError::TooLarge { limit });
                }
                if let Some(feed) = parts.add(verify(keys, part, clock).await?)? {
                    self.nothing_follows().await?;
                    return Ok(Some(feed));
                }
            }
            let Some(chunk) = self.response.chunk().await.map_err(broken)? else {
                parts.finish()?;
                return self.framing.is_empty().then_some(None).ok_or(Malformed::Truncated.into());
            };
            self.framing.push(&chunk);
        }
    }

    /// A body is one feed; an event stream continues.
    async fn nothing_follows(&mut self) -> Result<(), SyncError> {
        if self.is_stream() {
            return Ok(());
        }
        if !self.framing.is_empty() || self.response.chunk().await.map_err(broken)?.is_some() {
            return Err(Malformed::TrailingBytes.into());
        }
        Ok(())
    }
}

impl Framing {
    fn push(&mut self, bytes: &[u8]) {
        match self {
            Self::Sequence(buffer) => buffer.extend_from_slice(bytes),
            Self::Events(reader) => reader.push(bytes),
        }
    }

    fn next_part(&mut self) -> Result<Option<Vec<u8>>, SyncError> {
        match self {
            Self::Sequence(buffer) => {
                let Some(length) = next_part(buffer)? else { return Ok(None) };
                let rest = buffer.split_off(length);
                Ok(Some(core::mem::replace(buffer, rest)))
            }
            Self::Events(reader) => Ok(reader.next()?.map(|text| part_from_text(&text)).transpose()?),
        }
    }

    /// Whether everything was read. An incomplete event is ignored.
    fn is_empty(&self) -> bool {
        match self {
            Self::Sequence(buffer) => buffer.is_empty(),
            Self::Events(_) => true,
        }
    }
}

async fn verify(keys: &Arc<FeedKeys>, part: Vec<u8>, clock: &Arc<dyn Clock>) -> Result<FeedPart, SyncError> {
    let now = clock.now();
    if part.len() < LARGE_PART {
        return Ok(keys.verify_part(&part, now)?);
    }
    let keys = Arc::clone(keys);
    Ok(spawn_blocking(move || keys.verify_part(&part, now)).await?)
}

fn is_ok(response: &Response) -> Result<(), SyncError> {
    if response.status() == StatusCode::OK {
        Ok(())
    } else {
        Err(SyncError::Status(response.status().as_u16()))
    }
}

impl From<Malformed> for SyncError {
    fn from(why: Malformed) -> Self {
        Self::Feed(FeedError::Malformed(why))
    }
}

fn broken(error: reqwest::Error) -> SyncError {
    SyncError::Unreachable(outbound::reason(error))
}
