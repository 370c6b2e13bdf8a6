//! How the user authenticated (`amr`, RFC 8176), as deterministic CBOR.

use crate::error::Malformed;
use crate::wire::cbor::{Reader, Writer};

/// Most methods in a token.
const MOST: usize = 8;
/// Longest method, in bytes.
const LONGEST: usize = 32;

/// Returns whether this is a method: 1 to 32 visible ASCII characters, so that
/// headers can list methods.
fn is_method(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Encodes the methods. `Ok(None)` for none; `Err` for more than eight, or for
/// one that is no method.
pub(crate) fn encode<S: AsRef<str>>(methods: &[S]) -> Result<Option<Vec<u8>>, Malformed> {
    if methods.is_empty() {
        return Ok(None);
    }
    if methods.len() > MOST || !methods.iter().all(|method| is_method(method.as_ref())) {
        return Err(Malformed::ClaimRange);
    }
    let mut w = Writer::with_capacity(1 + methods.len() * (1 + LONGEST));
    w.array(methods.len());
    for method in methods {
        w.text(method.as_ref());
    }
    Ok(Some(w.into_vec()))
}

/// Checks the claim.
pub(crate) fn read(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    let methods = reader.array_or(Malformed::ClaimType)?;
    if !(1..=MOST).contains(&methods) {
        return Err(Malformed::ClaimRange);
    }
    for _ in 0..methods {
        if !is_method(reader.text_or(Malformed::ClaimType)?) {
            return Err(Malformed::ClaimRange);
        }
    }
    Ok(())
}

/// Iterates over the methods of a claim that was read.
pub(crate) fn methods(claim: &[u8]) -> impl Iterator<Item = &str> {
    let mut reader = Reader::new(claim);
    let methods = reader.array_or(Malformed::ClaimType).unwrap_or_default();
    (0..methods).map_while(move |_| reader.text_or(Malformed::ClaimType).ok())
}
