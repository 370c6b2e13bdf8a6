//! The application's own claims: any serde type, made deterministic at the
//! issuer and decoded at the edge only when asked for.

use ciborium::Value;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{ConfigError, Malformed};
use crate::id::hex;
use crate::wire::cbor::{Extended, Reader, Writer};

/// Most levels of arrays, maps and tags in the claims.
pub(crate) const MAX_DEPTH: usize = 16;

/// Checks one item of application claims and returns its bytes.
pub(crate) fn item<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    reader.item(MAX_DEPTH, Extended::Allowed)
}

/// `claims` as deterministic CBOR; `None` if they are nothing (`()` or `None`).
///
/// serde writes struct fields in their own order and flattened maps with an
/// indefinite length, so this sorts its output.
pub(crate) fn encode<C: Serialize + ?Sized>(claims: &C) -> Result<Option<Vec<u8>>, ConfigError> {
    let value = Value::serialized(claims).map_err(|error| ConfigError::Claims(error.into()))?;
    if value.is_null() {
        return Ok(None);
    }
    let mut writer = Writer::default();
    write(&mut writer, &value, MAX_DEPTH)?;
    let encoded = writer.into_vec();
    // Two keys that differ in Rust may be equal in CBOR.
    item(&mut Reader::new(&encoded)).map_err(|error| ConfigError::Claims(error.into()))?;
    Ok(Some(encoded))
}

/// The claims as the application's type.
pub(crate) fn decode<C: DeserializeOwned>(encoded: &[u8]) -> Result<C, String> {
    ciborium::from_reader(encoded).map_err(|error| error.to_string())
}

fn write(writer: &mut Writer, value: &Value, depth: usize) -> Result<(), ConfigError> {
    let deeper = || depth.checked_sub(1).ok_or_else(|| ConfigError::Claims(Malformed::TooDeep.into()));
    match value {
        Value::Integer(n) => {
            let n = i128::from(*n);
            match (u64::try_from(n), u64::try_from(-1 - n)) {
                (Ok(n), _) => writer.uint(n),
                (_, Ok(n)) => writer.nint(n),
                _ => return Err(ConfigError::Claims("a number of more than 64 bits".into())),
            };
        }
        Value::Bytes(bytes) => drop(writer.bytes(bytes)),
        Value::Text(text) => drop(writer.text(text)),
        Value::Float(x) => drop(writer.float(*x)),
        Value::Bool(truth) => drop(writer.simple(20 + u8::from(*truth))),
        Value::Null => drop(writer.null()),
        Value::Tag(tag, inner) => {
            writer.tag(*tag);
            write(writer, inner, deeper()?)?;
        }
        Value::Array(items) => {
            writer.array(items.len());
            let depth = deeper()?;
            items.iter().try_for_each(|item| write(writer, item, depth))?;
        }
        Value::Map(pairs) => {
            let depth = deeper()?;
            let mut encoded = Vec::with_capacity(pairs.len());
            for (key, value) in pairs {
                let (mut k, mut v) = (Writer::default(), Writer::default());
                write(&mut k, key, depth)?;
                write(&mut v, value, depth)?;
                encoded.push((k.into_vec(), v.into_vec()));
            }
            encoded.sort();
            writer.map(encoded.len());
            for (key, value) in encoded {
                writer.raw(&key).raw(&value);
            }
        }
        _ => return Err(ConfigError::Claims("a value that CBOR does not have".into())),
    }
    Ok(())
}

/// The claims as JSON, for people and scripts: byte strings as lowercase hex,
/// tags dropped, keys that are not text written as JSON.
pub(crate) fn to_json(encoded: &[u8]) -> serde_json::Value {
    decode::<Value>(encoded).map_or(serde_json::Value::Null, |value| value_to_json(&value))
}

fn value_to_json(value: &Value) -> serde_json::Value {
    use serde_json::Value as Json;
    match value {
        Value::Integer(n) => {
            let n = i128::from(*n);
            u64::try_from(n)
                .map(Json::from)
                .or_else(|_| i64::try_from(n).map(Json::from))
                .unwrap_or_else(|_| Json::String(n.to_string()))
        }
        Value::Bytes(bytes) => Json::String(hex(bytes)),
        Value::Float(x) => Json::from(*x),
        Value::Text(text) => Json::String(text.clone()),
        Value::Bool(truth) => Json::Bool(*truth),
        Value::Tag(_, inner) => value_to_json(inner),
        Value::Array(items) => items.iter().map(value_to_json).collect(),
        Value::Map(pairs) => pairs
            .iter()
            .map(|(key, value)| {
                let key = match key {
                    Value::Text(text) => text.clone(),
                    other => value_to_json(other).to_string(),
                };
                (key, value_to_json(value))
            })
            .collect::<serde_json::Map<_, _>>()
            .into(),
        _ => Json::Null,
    }
}

#[cfg(test)]
mod tests;
