//! Normalises a URI (RFC 3986 §6.2.2 and §6.2.3), so that `htu` can be
//! compared. Only http and https; query and fragment are dropped, as RFC 9449
//! §4.3 says.

use core::fmt::Write;

/// Returns the normalised form, or `None` if it is not an http(s) URI. User
/// information is refused (RFC 9110 §4.2.4).
pub(super) fn normalised(uri: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "http" => "80",
        "https" => "443",
        _ => return None,
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        // §6.2.3: "an empty path should be normalized to a path of '/'".
        None => (rest, "/"),
    };

    let mut normal = format!("{scheme}://");
    let port = host_and_port(authority, &mut normal)?;
    if !port.is_empty() && port != default_port {
        write!(normal, ":{port}").ok()?;
    }
    // Escapes first, then dot segments: "%2e%2e" is "..".
    let mut unescaped = String::with_capacity(path.len());
    unescape(path, |byte| is_pchar(byte) || byte == b'/', &mut unescaped)?;
    remove_dot_segments(&unescaped, &mut normal);
    Some(normal)
}

/// Writes the host in lower case. Returns the port's digits.
fn host_and_port<'a>(authority: &'a str, normal: &mut String) -> Option<&'a str> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let is_v6 = |byte: u8| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.';
        if address.is_empty() || !address.bytes().all(is_v6) {
            return None;
        }
        write!(normal, "[{}]", address.to_ascii_lowercase()).ok()?;
        (None, if port.is_empty() { "" } else { port.strip_prefix(':')? })
    } else {
        let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
        (Some(host), port)
    };
    if let Some(host) = host {
        let mut unescaped = String::with_capacity(host.len());
        unescape(host, |byte| is_unreserved(byte) || is_sub_delim(byte), &mut unescaped)?;
        if unescaped.is_empty() {
            return None;
        }
        // The escapes that are left stay in upper case.
        let mut in_escape = 0;
        for c in unescaped.chars() {
            in_escape = if c == '%' { 3_u8 } else { in_escape.saturating_sub(1) };
            normal.push(if in_escape > 0 { c } else { c.to_ascii_lowercase() });
        }
    }
    if port.len() > 5 || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // "0443" is 443.
    let significant = port.trim_start_matches('0');
    Some(if significant.is_empty() && !port.is_empty() { "0" } else { significant })
}

/// §6.2.2.1 and §6.2.2.2: upper-case escapes, and no needless ones. `None` if a
/// byte is not `allowed` or an escape is broken.
fn unescape(text: &str, allowed: impl Fn(u8) -> bool, out: &mut String) -> Option<()> {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(allowed(byte).then_some(char::from(byte))?);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|n| u8::try_from(n).ok());
        let value = digit(bytes.next())? << 4 | digit(bytes.next())?;
        if is_unreserved(value) {
            out.push(char::from(value));
        } else {
            write!(out, "%{value:02X}").ok()?;
        }
    }
    Some(())
}

/// §5.2.4, of a path that starts with a slash.
fn remove_dot_segments(path: &str, out: &mut String) {
    let mut segments = Vec::new();
    let mut ends_in_dots = false;
    for segment in path.split('/').skip(1) {
        ends_in_dots = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    for segment in &segments {
        out.push('/');
        out.push_str(segment);
    }
    if ends_in_dots || segments.is_empty() {
        out.push('/');
    }
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

const fn is_sub_delim(byte: u8) -> bool {
    matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}

const fn is_pchar(byte: u8) -> bool {
    is_unreserved(byte) || is_sub_delim(byte) || matches!(byte, b':' | b'@')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::normalised;

    #[test]
    fn one_spelling_of_each() {
        for (uri, expected) in [
            ("https://a.example/x", "https://a.example/x"),
            ("HTTPS://A.Example:443/x?y#z", "https://a.example/x"),
            ("https://a.example:/x", "https://a.example/x"),
            ("https://a.example:0443/x", "https://a.example/x"),
            ("https://a.example:80/x", "https://a.example:80/x"),
            ("http://a.example:80", "http://a.example/"),
            ("https://a.example?x", "https://a.example/"),
            ("https://a.example#x", "https://a.example/"),
            ("https://a.example/%7euser/%2F%c3%a4", "https://a.example/~user/%2F%C3%A4"),
            ("https://a.example/a/./b/../c", "https://a.example/a/c"),
            ("https://a.example/a/%2e%2E/c/.", "https://a.example/c/"),
            ("https://a.example/../..", "https://a.example/"),
            ("https://a.example/a//b/", "https://a.example/a//b/"),
            ("https://a.example//", "https://a.example//"),
            ("https://%41.example%FF/", "https://a.example%FF/"),
            ("https://[2001:DB8::1]:8443/x", "https://[2001:db8::1]:8443/x"),
            ("https://a.example/x:y@z;v=1,2", "https://a.example/x:y@z;v=1,2"),
        ] {
            assert_eq!(normalised(uri).as_deref(), Some(expected), "{uri}");
        }
    }

    #[test]
    fn what_is_no_http_uri() {
        for uri in [
            "",
            "/x",
            "a.example/x",
            "ftp://a.example/",
            "https:/a.example/",
            "https:///x",
            "https://:443/",
            "https://user@a.example/",
            "https://a.example:44x/",
            "https://a.example:443443/",
            "https://a.example/%4",
            "https://a.example/%zz",
            "https://a.example/%+1",
            "https://a.example/a b",
            "https://a.example/ä",
            "https://a.example\\@b.example/",
            "https://a.example/\\x",
            "https://[::1/x",
            "https://[::1]x/",
            "https://[]/",
            " https://a.example/",
        ] {
            assert_eq!(normalised(uri), None, "{uri}");
        }
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(uri in "(https?|HTTP)://[a-zA-Z%.0-9:\\[\\]]{0,12}(/[a-zA-Z%.0-9~/?#:@]{0,30})?") {
            if let Some(once) = normalised(&uri) {
                prop_assert_eq!(normalised(&once), Some(once));
            }
        }

        #[test]
        fn nothing_panics(uri in "\\PC{0,60}") {
            let _ = normalised(&uri);
        }
    }
}
