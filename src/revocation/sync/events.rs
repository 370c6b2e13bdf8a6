//! Server-sent events (HTML Living Standard §9.2), as far as a feed needs them:
//! one line of data for each event. Ignores comments, ids, retry times, and
//! events with another name than `feed`.

use super::error::SyncError;
use crate::revocation::feed::MAX_PART_TEXT;

/// Longest line: a part's text and the field's name before it.
const MAX_LINE: usize = MAX_PART_TEXT + 16;

/// Splits a stream of bytes into events.
#[derive(Debug, Default)]
pub(super) struct EventReader {
    buffer: Vec<u8>,
    /// There is no end of a line before this index.
    scanned: usize,
    data: Option<String>,
    /// The event has another name.
    is_foreign: bool,
}

impl EventReader {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next event's data.
    pub(super) fn next(&mut self) -> Result<Option<String>, SyncError> {
        let mut start = 0;
        let mut event = None;
        while event.is_none() {
            let from = start.max(self.scanned);
            let Some(end) = self.buffer[from..].iter().position(|byte| *byte == b'\n') else {
                self.scanned = self.buffer.len();
                break;
            };
            let end = from + end;
            if end - start > MAX_LINE {
                return Err(too_long());
            }
            let line = self.buffer[start..end].to_vec();
            (start, self.scanned) = (end + 1, end + 1);
            event = self.line(&line)?;
        }
        // Once for all lines of a chunk, so that short lines cost no more.
        self.buffer.drain(..start);
        self.scanned -= start;
        if self.buffer.len() > MAX_LINE && self.scanned == self.buffer.len() {
            return Err(too_long());
        }
        Ok(event)
    }

    /// Takes a line; an empty one ends the event.
    fn line(&mut self, line: &[u8]) -> Result<Option<String>, SyncError> {
        let line = core::str::from_utf8(line).map_err(|_| SyncError::Events("not UTF-8"))?;
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            let is_foreign = core::mem::take(&mut self.is_foreign);
            return Ok(self.data.take().filter(|_| !is_foreign));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" if self.data.is_some() => {
                return Err(SyncError::Events("more than one line of data in an event"));
            }
            "data" => self.data = Some(value.to_owned()),
            "event" => self.is_foreign = !matches!(value, "" | "feed" | "message"),
            _ => {}
        }
        Ok(None)
    }
}

fn too_long() -> SyncError {
    SyncError::Events("a line is longer than any part")
}

/// The data of all events before the first error, and that error.
#[cfg(any(test, fuzzing))]
pub(crate) fn events(chunks: &[&[u8]]) -> (Vec<String>, Option<SyncError>) {
    let mut reader = EventReader::default();
    let mut found = Vec::new();
    for chunk in chunks {
        reader.push(chunk);
        loop {
            match reader.next() {
                Ok(Some(event)) => found.push(event),
                Ok(None) => break,
                Err(why) => return (found, Some(why)),
            }
        }
    }
    (found, None)
}
