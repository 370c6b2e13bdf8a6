//! A proxy's description of a request is taken unchanged from one of its
//! headers, and a browser is sent to a path of the same host.
//!
//! A line of the input is a header: its first byte says which.
#![no_main]

use hallpass::fuzzing::forwarded;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

/// The headers of the method, of the URI, and of the host.
const METHOD: [&str; 2] = ["x-original-method", "x-forwarded-method"];
const TARGET: [&str; 2] = ["x-original-uri", "x-forwarded-uri"];
const HOSTS: [&str; 2] = ["x-forwarded-host", "host"];

/// The different non-empty values of these headers.
fn values<'a>(headers: &'a HeaderMap, names: &[&str]) -> Vec<&'a [u8]> {
    let all = names.iter().flat_map(|name| headers.get_all(*name));
    let mut values: Vec<_> = all.map(HeaderValue::as_bytes).filter(|value| !value.is_empty()).collect();
    values.sort_unstable();
    values.dedup();
    values
}

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Some((which, value)) = line.split_first() else { continue };
        let name = [METHOD[0], METHOD[1], TARGET[0], TARGET[1], HOSTS[0], HOST.as_str()];
        let name = HeaderName::from_static(name[usize::from(*which) % name.len()]);
        let Ok(value) = HeaderValue::from_bytes(value) else { continue };
        headers.append(name, value);
    }
    let Some((method, authority, return_to)) = forwarded(&headers) else { return };
    assert_eq!(values(&headers, &METHOD), [method.as_bytes()], "one method was named");

    // Never to another host: one slash, and nothing that a browser reads as
    // two.
    let path = return_to.as_bytes();
    assert!(path[0] == b'/' && !matches!(path.get(1), Some(b'/' | b'\\')), "{return_to:?}");
    assert!(path.iter().all(|byte| (0x21..0x7f).contains(byte) && *byte != b'\\'), "{return_to:?}");
    assert!(return_to == "/" || values(&headers, &TARGET) == [path], "{return_to:?} was made up");

    let forwarded = values(&headers, &HOSTS[..1]);
    let hosts = if forwarded.is_empty() { values(&headers, &HOSTS[1..]) } else { forwarded };
    match authority {
        None => {}
        Some(host) => assert_eq!(hosts, [host.as_bytes()], "another host"),
    }
});
