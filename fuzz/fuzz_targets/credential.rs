//! The token that is found is in the headers, once. The client's address is the
//! peer's, or one that a trusted proxy listed.
//!
//! A line of the input is a header: its first byte says which.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hallpass::http::{Credential, CredentialError, TrustedProxies};
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

const NAME: &str = "__Host-hallpass";
const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The session cookies' values, found in the simplest way.
fn cookies(headers: &HeaderMap) -> Vec<&[u8]> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs
        .filter_map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=')?;
            let is_ours = pair[..at].trim_ascii() == NAME.as_bytes();
            is_ours.then(|| pair[at + 1..].trim_ascii())
        })
        .collect()
}

fn credential(headers: &HeaderMap) {
    let found = Credential::find(headers, NAME);
    let authorizations: Vec<_> = headers.get_all(AUTHORIZATION).iter().collect();
    match authorizations[..] {
        [] => {
            let wanted = match cookies(headers)[..] {
                [] => Ok(None),
                [value] => Ok(core::str::from_utf8(value).ok().map(Credential::Cookie)),
                _ => Err(CredentialError::TwoCookies),
            };
            assert_eq!(found, wanted);
        }
        [line] => match found.expect("one header") {
            None => {}
            Some(Credential::Cookie(_)) => panic!("the cookie was read beside Authorization"),
            Some(Credential::Bearer(token)) => assert!(is_of("bearer", token, line)),
            Some(Credential::Dpop(token)) => assert!(is_of("dpop", token, line)),
            Some(other) => panic!("a new kind: {other:?}"),
        },
        _ => assert_eq!(found, Err(CredentialError::TwoAuthorizations)),
    }
}

fn is_of(scheme: &str, token: &str, line: &HeaderValue) -> bool {
    let line = line.to_str().expect("text");
    line.len() > scheme.len()
        && line[..scheme.len()].eq_ignore_ascii_case(scheme)
        && line[scheme.len()..].starts_with(' ')
        && line[scheme.len()..].trim() == token
}

/// Every address that a proxy or client listed.
fn listed(headers: &HeaderMap) -> Vec<IpAddr> {
    let lines = headers.get_all(FORWARDED).iter().filter_map(|line| line.to_str().ok());
    let read = |hop: &str| {
        let hop = hop.trim();
        let with_port = hop.parse::<SocketAddr>().map(|address| address.ip());
        with_port
            .or_else(|_| hop.trim_matches(['[', ']']).parse())
            .ok()
            .map(|address: IpAddr| address.to_canonical())
    };
    lines.flat_map(|line| line.split(',')).filter_map(read).collect()
}

fn address(headers: &HeaderMap) {
    let trusted = TrustedProxies::new(["10.0.0.0/8", "::1"]).expect("networks");
    let proxy = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    let stranger = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    assert_eq!(trusted.client(stranger, headers), stranger, "a stranger was believed");
    let (client, listed) = (trusted.client(proxy, headers), listed(headers));
    assert!(client == proxy || listed.contains(&client), "{client} is not in the headers");
    // A client may have invented what is left of the last untrusted address.
    if let Some(last) = listed.iter().rev().find(|address| !trusted.contains(**address)) {
        assert!(client == *last || trusted.contains(client), "{client} is left of {last}");
    }
}

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Some((which, value)) = line.split_first() else { continue };
        let name = [COOKIE, AUTHORIZATION, FORWARDED][usize::from(*which) % 3].clone();
        let Ok(value) = HeaderValue::from_bytes(value) else { continue };
        headers.append(name, value);
    }
    credential(&headers);
    address(&headers);
    // With Authorization, cookies are ignored.
    headers.remove(AUTHORIZATION);
    credential(&headers);
});
