//! A reader that accepts only one encoding of each item, and a writer of that
//! encoding.
//!
//! RFC 8949 §4.2.1 (core deterministic encoding): "The initial byte and the
//! argument … MUST be as short as possible", definite lengths only, "the keys
//! in every map must be sorted in the bytewise lexicographic order of their
//! deterministic encodings". ciborium-ll reads the heads and returns the length
//! of each, which shows whether an encoding is longer than it must be.

use core::cmp::Ordering;

use ciborium_ll::{Decoder, Encoder, Header};

use crate::error::Malformed;

/// The head of an item: its type with its argument (RFC 8949 §3).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Head {
    Uint(u64),
    /// −1 − n.
    Nint(u64),
    Bytes(usize),
    Text(usize),
    Array(usize),
    /// Number of pairs.
    Map(usize),
    Tag(u64),
    Simple(u8),
    Float(f64),
}

/// Whether a skipped item may have floats and tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extended {
    /// Any deterministic item: the application's claims.
    Allowed,
    /// Neither floats nor tags: registered claims.
    Refused,
}

/// Reads deterministic CBOR from a slice, borrowing what it reads.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    pub(crate) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Nothing may follow the last item.
    pub(crate) const fn finish(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::TrailingBytes) }
    }

    pub(crate) fn head(&mut self) -> Result<Head, Malformed> {
        match usual_head(self.rest) {
            Some((head, rest)) => {
                self.rest = rest;
                Ok(head)
            }
            None => self.any_head(),
        }
    }

    /// Reads a common head of this major type and returns its argument; reads
    /// nothing if the head is another.
    #[inline]
    fn usual(&mut self, major: u8) -> Option<u32> {
        let (initial, rest) = self.rest.split_first()?;
        let (argument, rest) = usual_argument(initial & 0x1f, rest).filter(|_| initial >> 5 == major)?;
        self.rest = rest;
        Some(argument)
    }

    fn any_head(&mut self) -> Result<Head, Malformed> {
        let mut decoder = Decoder::from(self.rest);
        let header = decoder.pull().map_err(|error| match error {
            ciborium_ll::Error::Io(_) => Malformed::Truncated,
            ciborium_ll::Error::Syntax(_) => Malformed::NotWellFormed,
        })?;
        let used = decoder.offset();
        let definite = |length: Option<usize>| length.ok_or(Malformed::IndefiniteLength);
        let (head, shortest) = match header {
            Header::Positive(n) => (Head::Uint(n), argument_len(n)),
            Header::Negative(n) => (Head::Nint(n), argument_len(n)),
            Header::Bytes(n) => (Head::Bytes(definite(n)?), length_len(n)),
            Header::Text(n) => (Head::Text(definite(n)?), length_len(n)),
            Header::Array(n) => (Head::Array(definite(n)?), length_len(n)),
            Header::Map(n) => (Head::Map(definite(n)?), length_len(n)),
            Header::Tag(n) => (Head::Tag(n), argument_len(n)),
            // RFC 8949 §3.3: the two-byte form of values below 32 is not well-formed.
            Header::Simple(n @ ..24) if used == 1 => (Head::Simple(n), 1),
            Header::Simple(n @ 32..) => (Head::Simple(n), 2),
            Header::Float(x) => (Head::Float(x), float_len(x)),
            Header::Simple(_) | Header::Break => return Err(Malformed::NotWellFormed),
        };
        if used != shortest {
            return Err(Malformed::NotShortest);
        }
        if let Head::Float(x) = head
            && x.is_nan()
            && self.rest[..used] != CANONICAL_NAN
        {
            return Err(Malformed::NotShortest);
        }
        self.rest = &self.rest[used..];
        Ok(head)
    }

    /// The next `length` bytes. An announced length allocates nothing.
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn take_text(&mut self, length: usize) -> Result<&'a str, Malformed> {
        core::str::from_utf8(self.take(length)?).map_err(|_| Malformed::NotUtf8)
    }

    /// Reads a byte string; returns `otherwise` if the item is another.
    pub(crate) fn bytes_or(&mut self, otherwise: Malformed) -> Result<&'a [u8], Malformed> {
        if let Some(length) = self.usual(2) {
            return self.take(length as usize);
        }
        match self.head()? {
            Head::Bytes(length) => self.take(length),
            _ => Err(otherwise),
        }
    }

    pub(crate) fn text_or(&mut self, otherwise: Malformed) -> Result<&'a str, Malformed> {
        if let Some(length) = self.usual(3) {
            return self.take_text(length as usize);
        }
        match self.head()? {
            Head::Text(length) => self.take_text(length),
            _ => Err(otherwise),
        }
    }

    pub(crate) fn uint_or(&mut self, otherwise: Malformed) -> Result<u64, Malformed> {
        if let Some(n) = self.usual(0) {
            return Ok(n.into());
        }
        match self.head()? {
            Head::Uint(n) => Ok(n),
            _ => Err(otherwise),
        }
    }

    /// The length of an array.
    pub(crate) fn array_or(&mut self, otherwise: Malformed) -> Result<usize, Malformed> {
        match self.head()? {
            Head::Array(length) => Ok(length),
            _ => Err(otherwise),
        }
    }

    /// The number of pairs of a map.
    pub(crate) fn map_or(&mut self, otherwise: Malformed) -> Result<usize, Malformed> {
        match self.head()? {
            Head::Map(pairs) => Ok(pairs),
            _ => Err(otherwise),
        }
    }

    /// Checks one whole item and returns its bytes. `depth` is the most levels
    /// of arrays, maps and tags.
    pub(crate) fn item(&mut self, depth: usize, extended: Extended) -> Result<&'a [u8], Malformed> {
        let before = self.rest;
        self.skip(depth, extended)?;
        Ok(&before[..before.len() - self.rest.len()])
    }

    fn skip(&mut self, depth: usize, extended: Extended) -> Result<(), Malformed> {
        // A loop over an announced length ends with the input: every item
        // takes at least a byte.
        match self.head()? {
            Head::Uint(_) | Head::Nint(_) | Head::Simple(_) => Ok(()),
            Head::Bytes(length) => self.take(length).map(drop),
            Head::Text(length) => self.take_text(length).map(drop),
            Head::Array(length) => {
                let depth = depth.checked_sub(1).ok_or(Malformed::TooDeep)?;
                (0..length).try_for_each(|_| self.skip(depth, extended))
            }
            Head::Map(pairs) => {
                let depth = depth.checked_sub(1).ok_or(Malformed::TooDeep)?;
                let mut order = KeyOrder::default();
                (0..pairs).try_for_each(|_| {
                    order.next(self.item(depth, extended)?)?;
                    self.skip(depth, extended)
                })
            }
            Head::Tag(_) if extended == Extended::Allowed => {
                self.skip(depth.checked_sub(1).ok_or(Malformed::TooDeep)?, extended)
            }
            Head::Float(_) if extended == Extended::Allowed => Ok(()),
            Head::Tag(_) | Head::Float(_) => Err(Malformed::ClaimType),
        }
    }

    /// Reads an item and returns its bytes too.
    pub(crate) fn spanned<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<(T, &'a [u8]), Malformed> {
        let before = self.rest;
        let item = read(self)?;
        Ok((item, &before[..before.len() - self.rest.len()]))
    }
}

/// Checks that a map's keys have the order of RFC 8949 §4.2.1.
#[derive(Default)]
pub(crate) struct KeyOrder<'a>(Option<&'a [u8]>);

impl<'a> KeyOrder<'a> {
    /// The next key's encoding must come after the last one's.
    pub(crate) fn next(&mut self, key: &'a [u8]) -> Result<(), Malformed> {
        match self.0.replace(key).map_or(Ordering::Less, |last| last.cmp(key)) {
            Ordering::Less => Ok(()),
            Ordering::Equal => Err(Malformed::DuplicateKey),
            Ordering::Greater => Err(Malformed::UnsortedKeys),
        }
    }
}

/// A common head and the rest of the bytes: no float, no simple value, and an
/// argument below 2^32 in its shortest form. `None` for any other head, valid
/// or not.
fn usual_head(bytes: &[u8]) -> Option<(Head, &[u8])> {
    let (initial, rest) = bytes.split_first()?;
    let (argument, rest) = usual_argument(initial & 0x1f, rest)?;
    let length = || usize::try_from(argument).ok();
    let head = match initial >> 5 {
        0 => Head::Uint(argument.into()),
        1 => Head::Nint(argument.into()),
        2 => Head::Bytes(length()?),
        3 => Head::Text(length()?),
        4 => Head::Array(length()?),
        5 => Head::Map(length()?),
        6 => Head::Tag(argument.into()),
        _ => return None,
    };
    Some((head, rest))
}

fn usual_argument(information: u8, rest: &[u8]) -> Option<(u32, &[u8])> {
    match (information, rest) {
        (argument @ ..24, _) => Some((u32::from(argument), rest)),
        (24, &[argument @ 24..=255, ref rest @ ..]) => Some((u32::from(argument), rest)),
        (25, &[a @ 1..=255, b, ref rest @ ..]) => Some((u32::from_be_bytes([0, 0, a, b]), rest)),
        (26, &[a, b, c, d, ref rest @ ..]) if a != 0 || b != 0 => {
            Some((u32::from_be_bytes([a, b, c, d]), rest))
        }
        _ => None,
    }
}

/// Reads the keys of a map whose known keys are all numbers, and checks the
/// order of RFC 8949 §4.2.1: unsigned ones first, each kind by its argument.
#[derive(Default)]
pub(crate) struct Labels {
    last: Option<(bool, u64)>,
}

impl Labels {
    /// Reads the next key. Skips a key that is no number: it sorts after every
    /// number, and no caller knows it.
    pub(crate) fn next(&mut self, reader: &mut Reader<'_>) -> Result<Head, Malformed> {
        let before = reader.clone();
        let head = reader.head()?;
        let rank = match head {
            Head::Uint(n) => (false, n),
            Head::Nint(n) => (true, n),
            _ => {
                *reader = before;
                reader.item(1, Extended::Refused)?;
                return Ok(head);
            }
        };
        match self.last.replace(rank).map_or(Ordering::Less, |last| last.cmp(&rank)) {
            Ordering::Less => Ok(head),
            Ordering::Equal => Err(Malformed::DuplicateKey),
            Ordering::Greater => Err(Malformed::UnsortedKeys),
        }
    }
}

const CANONICAL_NAN: [u8; 3] = [0xf9, 0x7e, 0x00];

const fn argument_len(n: u64) -> usize {
    match n {
        0..24 => 1,
        24..0x100 => 2,
        0x100..0x1_0000 => 3,
        0x1_0000..0x1_0000_0000 => 5,
        _ => 9,
    }
}

/// The encoded length of a byte string of `n` bytes.
#[cfg(feature = "issuer")]
pub(crate) const fn bytes_len(n: usize) -> usize {
    argument_len(n as u64) + n
}

fn length_len(length: Option<usize>) -> usize {
    length.map_or(1, |n| argument_len(n as u64))
}

/// RFC 8949 §4.2.2: the shortest form that keeps the value. ciborium-ll's
/// writer follows the same rule, so this compares with its output.
fn float_len(x: f64) -> usize {
    if x.is_nan() {
        return CANONICAL_NAN.len();
    }
    let mut buffer = [0; 9];
    let mut free = &mut buffer[..];
    put(&mut free, Header::Float(x));
    9 - free.len()
}

/// Writes deterministic CBOR: ciborium-ll makes every head as short as
/// possible; the caller must sort the map keys.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub(crate) fn into_vec(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn uint(&mut self, n: u64) -> &mut Self {
        self.push(Header::Positive(n))
    }

    /// −1 − n.
    pub(crate) fn nint(&mut self, n: u64) -> &mut Self {
        self.push(Header::Negative(n))
    }

    pub(crate) fn int(&mut self, n: i64) -> &mut Self {
        // −1 − n without overflow is the complement.
        if n < 0 { self.nint((!n).cast_unsigned()) } else { self.uint(n.cast_unsigned()) }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.push(Header::Bytes(Some(bytes.len()))).raw(bytes)
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.push(Header::Text(Some(text.len()))).raw(text.as_bytes())
    }

    pub(crate) fn array(&mut self, length: usize) -> &mut Self {
        self.push(Header::Array(Some(length)))
    }

    pub(crate) fn map(&mut self, pairs: usize) -> &mut Self {
        self.push(Header::Map(Some(pairs)))
    }

    pub(crate) fn tag(&mut self, tag: u64) -> &mut Self {
        self.push(Header::Tag(tag))
    }

    pub(crate) fn null(&mut self) -> &mut Self {
        self.simple(22)
    }

    pub(crate) fn simple(&mut self, value: u8) -> &mut Self {
        self.push(Header::Simple(value))
    }

    pub(crate) fn float(&mut self, x: f64) -> &mut Self {
        if x.is_nan() { self.raw(&CANONICAL_NAN) } else { self.push(Header::Float(x)) }
    }

    /// Writes bytes that are deterministic CBOR already.
    pub(crate) fn raw(&mut self, encoded: &[u8]) -> &mut Self {
        self.0.extend_from_slice(encoded);
        self
    }

    fn push(&mut self, header: Header) -> &mut Self {
        put(&mut self.0, header);
        self
    }
}

fn put(buffer: &mut impl std::io::Write, header: Header) {
    #[expect(clippy::expect_used, reason = "a Vec takes every byte, and nine hold every head")]
    Encoder::from(buffer).push(header).expect("room for a head");
}

#[cfg(test)]
mod tests;
