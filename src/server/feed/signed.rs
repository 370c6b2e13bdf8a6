//! A signed feed as it is sent. All its receivers share its bytes.

use core::convert::Infallible;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::{Arc, OnceLock};

use axum::body::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::revocation::Position;
use crate::revocation::feed::{SessionKey, part_to_text};
use crate::time::UnixTime;

/// Bytes in a frame. A transport may copy what it has not written yet.
const FRAME: usize = 16 * 1024;

/// A feed, signed.
pub(crate) struct Signed {
    /// Whether it is the whole list and not a delta.
    pub(crate) is_snapshot: bool,
    pub(crate) position: Position,
    pub(crate) issued_at: UnixTime,
    /// The session keys in it.
    pub(super) keys: Arc<[SessionKey]>,
    parts: Vec<Part>,
}

struct Part {
    bytes: Bytes,
    /// Made when the first reader of events needs it.
    event: OnceLock<Bytes>,
}

impl Signed {
    pub(super) fn new(
        is_snapshot: bool,
        position: Position,
        issued_at: UnixTime,
        keys: Arc<[SessionKey]>,
        parts: Vec<Vec<u8>>,
    ) -> Self {
        let part = |bytes: Vec<u8>| Part { bytes: bytes.into(), event: OnceLock::new() };
        Self { is_snapshot, position, issued_at, keys, parts: parts.into_iter().map(part).collect() }
    }

    /// Returns the server-sent event of each part, in frames.
    pub(crate) fn events(&self) -> impl Iterator<Item = Bytes> {
        self.parts.iter().flat_map(|part| frames(part.event()))
    }

    /// Returns all parts in sequence: a CBOR sequence.
    pub(crate) fn body(self: Arc<Self>) -> SignedBody {
        let left = self.parts.iter().map(|part| part.bytes.len() as u64).sum();
        SignedBody { signed: self, part: 0, at: 0, left }
    }
}

impl Part {
    fn event(&self) -> &Bytes {
        self.event.get_or_init(|| format!("data: {}\n\n", part_to_text(&self.bytes)).into())
    }
}

fn frames(bytes: &Bytes) -> impl Iterator<Item = Bytes> {
    (0..bytes.len()).step_by(FRAME).map(|at| bytes.slice(at..bytes.len().min(at + FRAME)))
}

/// The body of a response, with a known length.
pub(crate) struct SignedBody {
    signed: Arc<Signed>,
    part: usize,
    at: usize,
    left: u64,
}

impl Body for SignedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(part) = self.signed.parts.get(self.part) else { return Poll::Ready(None) };
        let end = part.bytes.len().min(self.at + FRAME);
        let frame = part.bytes.slice(self.at..end);
        (self.part, self.at) = if end == part.bytes.len() { (self.part + 1, 0) } else { (self.part, end) };
        self.left -= frame.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
