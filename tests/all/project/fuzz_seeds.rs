//! The seeds in `fuzz/seeds/`: one of each kind of the test vectors.
//! `HALLPASS_REGENERATE=1` writes them again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use hallpass::revocation::feed::{NewFeed, SessionKey};
use hallpass::revocation::{Entry, FeedLifetimes, Position};
use hallpass::{Algorithm, KeyId, KeyUse, SessionId, SigningKey, SubjectHash, UnixTime};

use crate::support::raw;
use crate::support::test_keys::TestKey;
use crate::wire::vectors;

/// File names below `fuzz/seeds/` and what is in them.
fn seeds() -> BTreeMap<String, Vec<u8>> {
    let mut seeds = BTreeMap::new();
    for (kind, token) in vectors::one_of_each_kind() {
        // The targets take CBOR as well as text; CBOR is better to mutate.
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap_or_else(|_| token.clone().into_bytes());
        let kind = file_name(&kind);
        seeds.insert(format!("token_decode/{kind}"), bytes.clone());
        seeds.insert(format!("token_forged/{kind}"), bytes);
    }
    // Which token, how it is changed, where, and to what.
    for edit in [[0, 0, 0, 5], [1, 1, 1, 200], [2, 2, 2, 9], [3, 3, 3, 100], [0, 4, 4, 60], [1, 5, 5, 90]] {
        seeds.insert(format!("token_forged/edit-{}", edit[1]), edit.to_vec());
    }
    for (name, token) in vectors::of_application_claims() {
        if let Some(app) = application(&token) {
            seeds.insert(format!("app_claims/{}", file_name(&name)), app);
        }
    }
    // Key, R, s, and a damage: each way of making a signature once.
    for (r, s) in (0..4).flat_map(|r| (0..4).map(move |s| (r, s))) {
        let parts = [&[0x05, 0x04 | r, s, 0, 0][..], &[0x21; 96], b"payload"].concat();
        seeds.insert(format!("signature/{r}-{s}"), parts);
    }
    seeds.insert("signature/damaged".to_owned(), [&[1, 0, 0, 3, 4][..], &[7; 96]].concat());
    seeds.insert("signature/another-key".to_owned(), [&[0xe0, 3, 3, 0, 0][..], &[9; 96]].concat());
    let set = TestKey::key_set();
    seeds.insert("key_set/two.cbor".to_owned(), set.to_cose());
    seeds.insert("key_set/two.json".to_owned(), set.to_jwks().into_bytes());
    seeds.insert("key_set/empty.cbor".to_owned(), vec![0x80]);
    seeds.insert(
        "key_set/private.json".to_owned(),
        br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA","d":"AA"}]}"#.to_vec(),
    );
    seeds.extend(of_feeds());
    seeds.extend(of_headers());
    seeds.extend(of_proxies());
    // RFC 8410 §10.3: DER without the public half. PEM is in keys/test/.
    let der =
        [&b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20"[..], &[0x21; 32]].concat();
    seeds.insert("pem_key/key.der".to_owned(), der);
    seeds
}

/// Payloads of parts, and streams of events.
fn of_feeds() -> BTreeMap<String, Vec<u8>> {
    let key = |seed, usage| SigningKey::from_seed(&[seed; 32], usage, Algorithm::EdDsa).unwrap();
    let at = |secs| UnixTime::from_secs(1_790_000_000_u64 + secs).unwrap();
    let session = SessionKey::new(key(2, KeyUse::Session).verifying_key().clone(), UnixTime::EPOCH);
    let entries = [
        Entry::Session { sid: SessionId::from_bytes([5; 16]), ends: at(900) },
        Entry::Subject { hash: SubjectHash::from_bytes([6; 16]), up_to: at(0), ends: at(900) },
        Entry::Key { kid: KeyId::from_bytes([7; 8]), ends: at(900) },
        Entry::All { up_to: at(0), ends: at(900) },
    ];
    let lifetimes = FeedLifetimes {
        token_max_age: Duration::from_mins(5),
        idle_timeout: Duration::from_hours(24),
        renew_after: Duration::from_secs(150),
        leeway: Duration::from_secs(5),
    };
    let mut seeds = BTreeMap::new();
    for (name, base, entries) in
        [("snapshot", None, &entries[..]), ("delta", Some(1), &entries[..1]), ("re-signing", Some(2), &[])]
    {
        let new = NewFeed {
            position: Position { epoch: 1, sequence: 2 },
            base,
            issued_at: at(0),
            expires_at: at(600),
            session_keys: std::slice::from_ref(&session),
            lifetimes: base.is_none().then_some(lifetimes),
        };
        let part = new.sign(&key(1, KeyUse::Feed), entries.iter().copied()).unwrap().remove(0);
        // A map of eight or nine with the label 1 first; the signature is the
        // last 66 bytes.
        let start = part.windows(2).position(|bytes| matches!(bytes, [0xa8 | 0xa9, 1])).unwrap();
        seeds.insert(format!("feed_part/{name}"), part[start..part.len() - 66].to_vec());
        seeds.insert(format!("feed_part/{name}-part"), part);
    }
    for (name, stream) in [
        ("events", "\u{5}data: abc\n\nevent: feed\r\ndata:def\r\n\r\n: hello\nid: 1.5\nretry: 9\n\n"),
        ("foreign", "\u{9}event: other\ndata: no\n\ndata\n\ndata: ghi\n\ndata: cut off"),
        ("two-lines", "\u{2}data: a\n\ndata: b\ndata: c\n\n"),
    ] {
        seeds.insert(format!("events/{name}"), stream.as_bytes().to_vec());
    }
    seeds
}

/// Headers, of which `0` is Cookie, `1` Authorization and `2` X-Forwarded-For.
fn of_headers() -> BTreeMap<String, Vec<u8>> {
    [
        ("cookies", "0a=b; __Host-hallpass=token; c=d\n0e=f"),
        ("two-cookies", "0__Host-hallpass=a\n0__Host-hallpass = b"),
        ("bearer", "1Bearer token\n0__Host-hallpass=cookie"),
        ("dpop", "1dpop  token "),
        ("two-authorizations", "1Bearer a\n1Bearer b"),
        ("forwarded", "21.1.1.1, 198.51.100.1:80\n2[2001:db8::1]:443, ::ffff:10.0.0.2, ::1"),
        ("nonsense", "2198.51.100.1, nonsense, 10.0.0.2,"),
    ]
    .map(|(name, lines)| (format!("credential/{name}"), lines.as_bytes().to_vec()))
    .into()
}

/// Headers, of which `0` and `1` are the method, `2` and `3` the URI, and `4`
/// and `5` the host.
fn of_proxies() -> BTreeMap<String, Vec<u8>> {
    [
        ("nginx", "0GET\n2/a/b?c=d\n5shop.example"),
        ("caddy", "1POST\n3/\n4shop.example:8443\n5edge"),
        ("two-methods", "0GET\n1POST"),
        ("the-same-twice", "0GET\n1GET\n2/a\n3/a"),
        ("another-host", "0GET\n2//evil.example/\n4a@evil.example"),
        ("backslash", "0GET\n2/\\evil.example"),
    ]
    .map(|(name, lines)| (format!("forwarded/{name}"), lines.as_bytes().to_vec()))
    .into()
}

fn file_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect()
}

/// What stands after the application claims' label, which is the last.
fn application(token: &str) -> Option<Vec<u8>> {
    let bytes = raw::unbase64url(token);
    let label = raw::int(raw::label::APP);
    let at = bytes.windows(label.len()).position(|window| window == label)? + label.len();
    // The signature is the last 66 bytes.
    Some(bytes[at..bytes.len() - 66].to_vec())
}

#[test]
fn the_seeds_are_made_of_the_vectors() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let seeds = seeds();
    assert!(seeds.len() > 100, "{}", seeds.len());
    for (name, content) in &seeds {
        let path = dir.join(name);
        if std::env::var_os("HALLPASS_REGENERATE").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, content).unwrap();
        }
        assert_eq!(std::fs::read(&path).ok().as_ref(), Some(content), "{}", path.display());
    }
}
