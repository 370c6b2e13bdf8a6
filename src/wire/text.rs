//! The text form: base64url without padding (RFC 4648 §5).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use smallvec::SmallVec;

use crate::error::Malformed;

/// Longest token, in characters: what a browser stores for one cookie.
pub const MAX_TOKEN_CHARS: usize = 4096;

/// A token's bytes. A usual token needs no allocation.
pub(crate) type TokenBytes = SmallVec<[u8; 384]>;

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The number of characters that [`encode`] makes from `bytes` bytes.
pub(crate) const fn encoded_len(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

/// Decodes a token. Checks the length first, so that an overlong text is never
/// read.
pub(crate) fn decode(text: &[u8]) -> Result<TokenBytes, Malformed> {
    check_length(text)?;
    let mut bytes = room_for(0, text);
    decode_exactly(text, &mut bytes)?;
    Ok(bytes)
}

pub(crate) const fn check_length(text: &[u8]) -> Result<(), Malformed> {
    match text.len() {
        0 => Err(Malformed::Empty),
        1..=MAX_TOKEN_CHARS => Ok(()),
        _ => Err(Malformed::TooLong),
    }
}

/// A buffer for what `text` decodes to, with `before` bytes before it.
pub(crate) fn room_for(before: usize, text: &[u8]) -> TokenBytes {
    TokenBytes::from_elem(0, before + text.len() * 3 / 4)
}

/// Decodes into a buffer of exactly the needed length.
pub(crate) fn decode_exactly(text: &[u8], bytes: &mut [u8]) -> Result<(), Malformed> {
    if decode_right(text, bytes).is_some() {
        return Ok(());
    }
    // Invalid text is decoded again by the engine, to find the reason. If the
    // two ever disagree, the text is refused.
    decode_into(text, bytes).and(Err(Malformed::NotBase64url))
}

/// Decodes text that is valid in every character; `None` for any other. The
/// engine takes twice as long, which is a fifth of the work on a token besides
/// its signature.
fn decode_right(text: &[u8], bytes: &mut [u8]) -> Option<()> {
    let (eights, rest) = text.as_chunks();
    let (sixes, last) = bytes.as_chunks_mut();
    // A single last character has too few bits for a byte.
    if rest.len() % 4 == 1 || sixes.len() != eights.len() || last.len() != rest.len() * 3 / 4 {
        return None;
    }
    let mut seen = 0;
    for (eight, six) in eights.iter().zip(sixes) {
        *six = decode_eight(*eight, &mut seen);
    }
    // 'A' is zero. The unused bits must be zero too.
    let mut eight = [b'A'; 8];
    eight[..rest.len()].copy_from_slice(rest);
    let six = decode_eight(eight, &mut seen);
    let (needed, stray) = six.split_at(last.len());
    last.copy_from_slice(needed);
    (seen >= 0 && stray.iter().all(|bits| *bits == 0)).then_some(())
}

/// `seen` becomes negative at the first character outside the alphabet.
fn decode_eight(eight: [u8; 8], seen: &mut i64) -> [u8; 6] {
    let value = |character: u8| i64::from(VALUES[usize::from(character)]);
    let bits = eight.into_iter().fold(0, |bits, character| bits << 6 | value(character));
    *seen |= bits;
    let [_, _, six @ ..] = bits.to_be_bytes();
    six
}

/// The value of each character of the alphabet (RFC 4648 table 2); −1 for any
/// other byte: all its bits stay set when it is shifted.
const VALUES: [i8; 256] = {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut values = [-1; 256];
    let mut value = 0_i8;
    while value < 64 {
        values[alphabet[value.cast_unsigned() as usize] as usize] = value;
        value += 1;
    }
    values
};

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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Translates the engine's error.
    fn engine(text: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut bytes = vec![0; text.len() * 3 / 4];
        decode_into(text, &mut bytes).map(|written| bytes[..written].to_vec())
    }

    fn agree(text: &[u8]) {
        let ours = decode(text).map(|bytes| bytes.to_vec());
        assert_eq!(ours, engine(text), "{:?}", core::str::from_utf8(text));
        let mut room = room_for(0, text);
        assert_eq!(decode_right(text, &mut room).is_some(), ours.is_ok(), "only what is wrong is read twice");
    }

    #[test]
    fn every_character_in_every_place() {
        for length in 1..20 {
            for at in 0..length {
                for character in 0..=255 {
                    let mut text = vec![b'A'; length];
                    text[at] = character;
                    agree(&text);
                }
            }
        }
    }

    #[test]
    fn lengths_are_looked_at_first() {
        assert_eq!(decode(b""), Err(Malformed::Empty));
        assert!(decode(&[b'A'; MAX_TOKEN_CHARS]).is_ok());
        assert_eq!(decode(&[b'!'; MAX_TOKEN_CHARS + 1]), Err(Malformed::TooLong));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(bytes in proptest::collection::vec(any::<u8>(), 1..400)) {
            let text = encode(&bytes);
            agree(text.as_bytes());
            prop_assert_eq!(decode(text.as_bytes()).map(|read| read.to_vec()), Ok(bytes));
        }

        #[test]
        fn any_text(text in "[A-Za-z0-9_+/=-]{1,40}") {
            agree(text.as_bytes());
        }
    }
}
