//! Shared by the fuzz targets: CBOR encoded without hallpass's own writer.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ciborium::Value;

/// The `now` of every target.
pub const NOW: u64 = 1_790_000_000;

/// The text form of a token.
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of a text, if it is base64url without padding.
pub fn unbase64url(text: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// A CBOR head with the shortest argument.
pub fn head(major: u8, argument: u64) -> Vec<u8> {
    let (info, width) = match argument {
        0..24 => (argument as u8, 0),
        24..0x100 => (24, 1),
        0x100..0x1_0000 => (25, 2),
        0x1_0000..0x1_0000_0000 => (26, 4),
        _ => (27, 8),
    };
    [&[major << 5 | info][..], &argument.to_be_bytes()[8 - width..]].concat()
}

/// A byte string.
pub fn bytes(content: &[u8]) -> Vec<u8> {
    [head(2, content.len() as u64), content.to_vec()].concat()
}

/// The deterministic encoding of a value (RFC 8949 §4.2.1).
pub fn spelled(value: &Value) -> Vec<u8> {
    match value {
        Value::Integer(n) => {
            let n = i128::from(*n);
            match u64::try_from(n) {
                Ok(n) => head(0, n),
                Err(_) => head(1, (-1 - n) as u64),
            }
        }
        Value::Bytes(content) => bytes(content),
        Value::Text(text) => [&head(3, text.len() as u64), text.as_bytes()].concat(),
        Value::Array(items) => {
            let body: Vec<_> = items.iter().flat_map(spelled).collect();
            [head(4, items.len() as u64), body].concat()
        }
        Value::Map(pairs) => {
            let mut sorted: Vec<_> = pairs.iter().map(|(k, v)| (spelled(k), spelled(v))).collect();
            sorted.sort();
            let body: Vec<_> = sorted.into_iter().flat_map(|(k, v)| [k, v].concat()).collect();
            [head(5, pairs.len() as u64), body].concat()
        }
        Value::Tag(tag, inner) => [head(6, *tag), spelled(inner)].concat(),
        Value::Float(x) if x.is_nan() => vec![0xf9, 0x7e, 0],
        other => {
            let mut out = Vec::new();
            ciborium::into_writer(other, &mut out).expect("a Vec takes every byte");
            out
        }
    }
}

/// Returns whether ciborium's `Value` can represent the items: it reads
/// `undefined` as null, and no other simple values.
pub fn has_undefined(bytes: &[u8]) -> bool {
    bytes.contains(&0xf7)
}
