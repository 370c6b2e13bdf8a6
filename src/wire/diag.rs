//! CBOR diagnostic notation (RFC 8949 §8), for people.

use core::fmt::Write as _;

use crate::error::Malformed;
use crate::id::hex;
use crate::wire::cbor::{Head, Reader};

/// A COSE_Sign1 with its protected header and payload opened as `<< … >>` (RFC
/// 8610 §G.3). Bytes that are not CBOR are shown as hex.
pub(crate) fn sign1(bytes: &[u8]) -> String {
    let mut out = String::new();
    let mut reader = Reader::new(bytes);
    while reader.remaining() > 0 {
        let before = out.len();
        if item(&mut reader, &mut out, 0).is_err() {
            out.truncate(before);
            break;
        }
    }
    out
}

/// Depth 2 is the array in the tag. Only there are byte strings that are CBOR
/// opened.
fn item(reader: &mut Reader<'_>, out: &mut String, depth: usize) -> Result<(), Malformed> {
    match reader.head()? {
        Head::Uint(n) => drop(write!(out, "{n}")),
        Head::Nint(n) => drop(write!(out, "{}", -1 - i128::from(n))),
        Head::Bytes(length) => {
            let bytes = reader.take(length)?;
            let mut opened = String::new();
            let mut inner = Reader::new(bytes);
            if depth == 2
                && item(&mut inner, &mut opened, 3).is_ok()
                && inner.remaining() == 0
                && length != 64
            {
                let _ = write!(out, "<< {opened} >>");
            } else {
                let _ = write!(out, "h'{}'", hex(bytes));
            }
        }
        Head::Text(length) => drop(write!(out, "{}", serde_json::Value::from(reader.take_text(length)?))),
        Head::Array(length) => {
            list(reader, out, depth, length, ['[', ']'], |reader, out| item(reader, out, depth + 1))?;
        }
        Head::Map(pairs) => list(reader, out, depth, pairs, ['{', '}'], |reader, out| {
            item(reader, out, depth + 1)?;
            out.push_str(": ");
            item(reader, out, depth + 1)
        })?,
        Head::Tag(tag) => {
            let _ = write!(out, "{tag}(");
            item(reader, out, depth + 1)?;
            out.push(')');
        }
        Head::Simple(20) => out.push_str("false"),
        Head::Simple(21) => out.push_str("true"),
        Head::Simple(22) => out.push_str("null"),
        Head::Simple(23) => out.push_str("undefined"),
        Head::Simple(n) => drop(write!(out, "simple({n})")),
        Head::Float(x) if x.is_infinite() => out.push_str(if x > 0.0 { "Infinity" } else { "-Infinity" }),
        Head::Float(x) => drop(write!(out, "{x:?}")),
    }
    Ok(())
}

fn list<'a>(
    reader: &mut Reader<'a>,
    out: &mut String,
    depth: usize,
    length: usize,
    [open, close]: [char; 2],
    mut each: impl FnMut(&mut Reader<'a>, &mut String) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    // The application's claims nest at most 16 deep, seven levels down.
    if depth > 32 {
        return Err(Malformed::TooDeep);
    }
    out.push(open);
    for n in 0..length {
        if n > 0 {
            out.push_str(", ");
        }
        each(reader, out)?;
    }
    out.push(close);
    Ok(())
}
