//! The user's identity, in headers for the service behind the proxy.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::session::Session;

pub(super) static SUBJECT: HeaderName = HeaderName::from_static("x-hallpass-subject");
static SESSION: HeaderName = HeaderName::from_static("x-hallpass-session");
static AUDIENCE: HeaderName = HeaderName::from_static("x-hallpass-audience");
static AUTH_TIME: HeaderName = HeaderName::from_static("x-hallpass-auth-time");
static AMR: HeaderName = HeaderName::from_static("x-hallpass-amr");
static CLAIMS: HeaderName = HeaderName::from_static("x-hallpass-claims");
static TOKEN: HeaderName = HeaderName::from_static("x-hallpass-token");

/// Writes every identity header, empty if there is no value. A proxy that
/// copies them then overwrites whatever the client sent under these names.
pub(super) fn write(headers: &mut HeaderMap, identity: Option<(&Session, &str)>) {
    let mut say = |name: &HeaderName, value: String| {
        // All of these are visible ASCII by construction.
        headers.insert(name, HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static("")));
    };
    let session = identity.map(|(session, _)| session);
    say(&SUBJECT, session.map(|session| encoded(session.subject())).unwrap_or_default());
    say(&SESSION, session.map(|session| session.id().to_string()).unwrap_or_default());
    say(&AUDIENCE, session.and_then(Session::audience).map(encoded).unwrap_or_default());
    say(&AUTH_TIME, session.map(|session| session.auth_time().to_string()).unwrap_or_default());
    say(&AMR, session.map(|session| session.amr().collect::<Vec<_>>().join(" ")).unwrap_or_default());
    say(&CLAIMS, session.map(claims).unwrap_or_default());
    let token = identity.map_or("", |(_, token)| token);
    let mut token = HeaderValue::try_from(token).unwrap_or(HeaderValue::from_static(""));
    token.set_sensitive(true);
    headers.insert(&TOKEN, token);
}

/// Percent-encodes `%` and whatever is not visible ASCII. So no subject can end
/// a header, no two subjects collide, and a usual name or mail address stays as
/// it is.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push_str(&crate::id::hex(&[byte]).to_ascii_uppercase());
        }
    }
    encoded
}

/// Returns the application's claims as ASCII JSON, empty if there are none.
fn claims(session: &Session) -> String {
    match session.claims_json() {
        serde_json::Value::Null => String::new(),
        claims => ascii(&claims.to_string()),
    }
}

/// Escapes what is not ASCII in JSON (RFC 8259 §7). It occurs only inside
/// strings, where control characters are escaped already.
fn ascii(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && c != '\x7f' {
            ascii.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                ascii.push_str("\\u");
                ascii.push_str(&crate::id::hex(&unit.to_be_bytes()));
            }
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_header() {
        assert_eq!(encoded("alice@example.com"), "alice@example.com");
        assert_eq!(encoded("Ann Ö%\r\nx: y"), "Ann%20%C3%96%25%0D%0Ax:%20y");
        let json = serde_json::json!({ "näme": "\u{1f600}\r\n\u{7f}" }).to_string();
        let shown = ascii(&json);
        assert_eq!(shown, r#"{"n\u00e4me":"\ud83d\ude00\r\n\u007f"}"#);
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&shown).unwrap(),
            serde_json::from_str::<serde_json::Value>(&json).unwrap()
        );
    }

    #[test]
    fn without_a_session_every_header_is_there_and_empty() {
        let mut headers = HeaderMap::new();
        write(&mut headers, None);
        assert_eq!(headers.len(), 7);
        assert!(
            headers.iter().all(|(name, value)| name.as_str().starts_with("x-hallpass-") && value.is_empty())
        );
    }
}
