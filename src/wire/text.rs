//! The text form: base64url without padding (RFC 4648 §5).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use smallvec::SmallVec;

use crate::error::Malformed;

/// Longest token, in characters: what a browser stores for one cookie.
pub const MAX_TOKEN_CHARS: usize = 4096;

/// A token's bytes; those of a usual one need no allocation.
pub(crate) type TokenBytes = SmallVec<[u8; 384]>;

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// How many characters [`encode`] makes of `bytes` bytes.
pub(crate) const fn encoded_len(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

/// Decodes a token. The length is looked at first, so that the rest of an
/// overlong text is never read.
pub(crate) fn decode(text: &[u8]) -> Result<TokenBytes, Malformed> {
    decode_after(0, text)
}

/// The same, with `room` bytes before what is decoded.
pub(crate) fn decode_after(room: usize, text: &[u8]) -> Result<TokenBytes, Malformed> {
    match text.len() {
        0 => return Err(Malformed::Empty),
        1..=MAX_TOKEN_CHARS => {}
        _ => return Err(Malformed::TooLong),
    }
    let mut bytes = TokenBytes::from_elem(0, room + text.len() * 3 / 4);
    let written = decode_into(text, &mut bytes[room..])?;
    debug_assert_eq!(room + written, bytes.len(), "an unpadded text of n characters is 3n/4 bytes");
    bytes.truncate(room + written);
    Ok(bytes)
}

/// Decodes text of any length, such as a key in a JWK.
pub(crate) fn decode_vec(text: &str) -> Result<Vec<u8>, Malformed> {
    let mut bytes = vec![0; text.len() * 3 / 4];
    let written = decode_into(text.as_bytes(), &mut bytes)?;
    bytes.truncate(written);
    Ok(bytes)
}

fn decode_into(text: &[u8], bytes: &mut [u8]) -> Result<usize, Malformed> {
    use base64::DecodeSliceError::{DecodeError, OutputSliceTooSmall};
    URL_SAFE_NO_PAD.decode_slice(text, bytes).map_err(|error| match error {
        DecodeError(base64::DecodeError::InvalidLastSymbol { .. }) => Malformed::StrayBits,
        DecodeError(_) | OutputSliceTooSmall => Malformed::NotBase64url,
    })
}
