//! Key sets as files, and the input that they must refuse.

use ciborium::Value;
use hallpass::{Algorithm, ConfigError, KeyId, KeySet, UnixTime, VerifyingKey};
use proptest::prelude::*;
use serde_json::json;

use crate::support::raw;
use crate::support::test_keys::{TestKey, thumbprint};

fn now() -> UnixTime {
    UnixTime::from_secs(raw::NOW).unwrap()
}

fn public(n: u8, algorithm: Algorithm) -> VerifyingKey {
    let key = ed25519_dalek::SigningKey::from_bytes(&[n; 32]);
    VerifyingKey::new(key.verifying_key().as_bytes(), algorithm).unwrap()
}

fn read(bytes: &[u8]) -> Result<KeySet, ConfigError> {
    KeySet::from_bytes(bytes)
}

fn why(result: Result<KeySet, ConfigError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn a_kid_is_the_beginning_of_the_thumbprint() {
    for n in 0..50 {
        let key = public(n, Algorithm::EdDsa);
        assert_eq!(key.id().as_bytes()[..], thumbprint(key.as_bytes())[..8]);
        // The algorithm is not part of the id: RFC 9679 §4.1 uses kty, crv and x.
        assert_eq!(key.id(), public(n, Algorithm::Ed25519).id());
    }
}

#[test]
fn a_key_is_found_by_its_kid_and_retires() {
    let at = |seconds: u64| UnixTime::from_secs(seconds).unwrap();
    let (a, b) = (public(1, Algorithm::EdDsa), public(2, Algorithm::EdDsa).retiring(Some(at(100))));
    let set = KeySet::new([a.clone(), b.clone()]).unwrap();
    assert_eq!(set.get(a.id(), now()), Some(&a));
    assert_eq!(set.get(b.id(), at(99)), Some(&b));
    assert_eq!(set.get(b.id(), at(100)), None);
    assert_eq!(set.get(KeyId::from_bytes([0; 8]), now()), None);
}

#[test]
fn a_set_has_keys_and_no_two_of_one_kid() {
    assert!(matches!(KeySet::new([]), Err(ConfigError::NoKeys)));
    let twice = [public(1, Algorithm::EdDsa), public(2, Algorithm::EdDsa), public(1, Algorithm::Ed25519)];
    assert!(matches!(KeySet::new(twice.clone()), Err(ConfigError::DuplicateKey(id)) if id == twice[0].id()));
}

#[test]
fn duplicates_in_files_are_refused() {
    let jwk = TestKey::Session.jwk();
    assert!(matches!(
        read(json!({ "keys": [jwk, TestKey::Session19.jwk(), jwk] }).to_string().as_bytes()),
        Err(ConfigError::DuplicateKey(_))
    ));
    let cose = cose_key(&[]);
    assert!(matches!(read(&raw::array(&[cose.clone(), cose])), Err(ConfigError::DuplicateKey(_))));
}

/// A COSE_Key of the test key, with changes: a label and its value, or `None` to
/// omit it.
fn cose_key(changes: &[(i64, Option<Vec<u8>>)]) -> Vec<u8> {
    let mut pairs = raw::Pairs(Vec::new())
        .with(1, raw::int(1))
        .with(2, raw::bytes(&TestKey::Session.kid()))
        .with(3, raw::int(-8))
        .with(-1, raw::int(6))
        .with(-2, raw::bytes(&TestKey::Session.public()));
    for (label, value) in changes {
        pairs = match value {
            Some(value) => pairs.with(*label, value.clone()),
            None => pairs.without(*label),
        };
    }
    pairs.encode()
}

fn cose_set(changes: &[(i64, Option<Vec<u8>>)]) -> Vec<u8> {
    raw::array(&[cose_key(changes)])
}

#[test]
fn a_cose_key_set_says_what_it_must() {
    let expected = read(json!({ "keys": [TestKey::Session.jwk()] }).to_string().as_bytes()).unwrap();
    assert_eq!(read(&cose_set(&[])).unwrap(), expected);
    // alg and kid are optional: the default is -8, and the kid is computed.
    assert_eq!(read(&cose_set(&[(3, None), (2, None)])).unwrap(), expected);
    assert_eq!(read(&cose_set(&[(4, Some(raw::array(&[raw::int(2)])))])).unwrap(), expected);
    let ed25519 = read(&cose_set(&[(3, Some(raw::int(-19)))])).unwrap();
    assert_eq!(ed25519.iter().next().unwrap().algorithm(), Algorithm::Ed25519);

    for (bad, changes) in [
        ("private", vec![(-4, Some(raw::bytes(&[7; 32])))]),
        ("private", vec![(-4, Some(vec![0xf6]))]),
        ("OKP", vec![(1, Some(raw::int(2)))]),
        ("OKP", vec![(1, None)]),
        ("OKP", vec![(-1, Some(raw::int(7)))]),
        ("OKP", vec![(-1, Some(raw::int(4)))]),
        ("alg", vec![(3, Some(raw::int(-7)))]),
        ("alg", vec![(3, Some(raw::text("EdDSA")))]),
        ("without x", vec![(-2, None)]),
        ("without x", vec![(-2, Some(raw::text("x")))]),
        ("32 bytes", vec![(-2, Some(raw::bytes(&[1; 31])))]),
        ("32 bytes", vec![(-2, Some(raw::bytes(&[1; 33])))]),
        ("thumbprint", vec![(2, Some(raw::bytes(&[0; 8])))]),
        ("thumbprint", vec![(2, Some(raw::bytes(&thumbprint(&TestKey::Session.public()))))]),
        ("thumbprint", vec![(2, Some(raw::text("kid")))]),
        ("verify", vec![(4, Some(raw::array(&[raw::int(1)])))]),
        ("verify", vec![(4, Some(raw::array(&[])))]),
    ] {
        let error = why(read(&cose_set(&changes)));
        assert!(error.contains(bad), "{bad}: {error}");
    }
    let twice = raw::map(&[(raw::int(1), raw::int(1)), (raw::int(1), raw::int(2))]);
    assert!(why(read(&raw::array(&[twice]))).contains("twice"));
    assert!(why(read(&[cose_set(&[]), vec![0]].concat())).contains("after the end"));
    assert!(why(read(&cose_key(&[]))).contains("no array"));
    assert!(why(read(&raw::array(&[raw::uint(1)]))).contains("no map"));
    assert!(matches!(read(&[0x80]), Err(ConfigError::NoKeys)));
}

#[test]
fn a_jwks_says_what_it_must() {
    let good = TestKey::Session.jwk();
    let set = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut jwk = good.clone();
        change(&mut jwk);
        read(json!({ "keys": [jwk] }).to_string().as_bytes())
    };
    assert!(set(&|_| {}).is_ok());
    // RFC 7517 §4: unknown members are ignored.
    assert!(set(&|jwk| jwk["x5t"] = json!("abc")).is_ok());
    for optional in ["alg", "kid", "use"] {
        assert!(set(&|jwk| drop(jwk.as_object_mut().unwrap().remove(optional))).is_ok(), "{optional}");
    }
    assert!(set(&|jwk| jwk["key_ops"] = json!(["verify"])).is_ok());
    for (member, value, expected) in [
        ("d", json!("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"), "private"),
        ("d", json!(null), "private"),
        ("d", json!({}), "private"),
        ("kty", json!("EC"), "OKP"),
        ("crv", json!("X25519"), "Ed25519"),
        ("crv", json!("Ed448"), "Ed25519"),
        ("alg", json!("none"), "alg"),
        ("alg", json!("HS256"), "alg"),
        ("alg", json!("ES256"), "alg"),
        ("use", json!("enc"), "use"),
        ("key_ops", json!(["sign"]), "key_ops"),
        ("key_ops", json!([]), "key_ops"),
        ("x", json!("AA"), "32 bytes"),
        ("x", json!(format!("{}=", good["x"].as_str().unwrap())), "base64url"),
        ("x", json!(""), "32 bytes"),
        ("kid", json!("0000000000000000"), "thumbprint"),
        ("kid", json!(hex::encode_upper(TestKey::Session.kid())), "thumbprint"),
        ("x", json!(7), "JWKS"),
    ] {
        let error = why(set(&|jwk| jwk[member] = value.clone()));
        assert!(error.contains(expected), "{member} {value}: {error}");
    }
    for text in ["{}", r#"{"keys":{}}"#, "{", r#"{"keys":[1]}"#, "{\"keys\":[]} x"] {
        assert!(read(text.as_bytes()).is_err(), "{text}");
    }
    assert!(matches!(read(br#"  {"keys":[]}"#), Err(ConfigError::NoKeys)));
    // A duplicate member is ambiguous.
    let x = good["x"].as_str().unwrap();
    let twice = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{x}","x":"{x}"}}]}}"#);
    assert!(read(twice.as_bytes()).is_err());
}

#[test]
fn weak_keys_get_into_no_set() {
    for (first, last) in [(0, 0), (1, 0), (0, 0x80)] {
        let mut x = [0; 32];
        (x[0], x[31]) = (first, last);
        let jwks = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": raw::base64url(&x) }] });
        assert!(matches!(read(jwks.to_string().as_bytes()), Err(ConfigError::WeakKey(_))));
        let cose = cose_set(&[(2, None), (-2, Some(raw::bytes(&x)))]);
        assert!(matches!(read(&cose), Err(ConfigError::WeakKey(_))));
    }
}

#[test]
fn what_is_no_key_set_says_so() {
    assert!(why(read(b"")).contains("empty"));
    assert!(why(read(b" \n")).contains("empty"));
    assert!(why(read(b"-----BEGIN PRIVATE KEY-----")).contains("hallpass key export"));
    assert!(why(read(&vec![b'{'; 65 * 1024])).contains("at most"));
    // A declared length allocates nothing, and nesting does not exhaust the
    // stack.
    assert!(read(&raw::head(4, u64::MAX)).is_err());
    assert!(read(&[raw::head(4, 1), raw::head(2, 1 << 40)].concat()).is_err());
    assert!(read(&vec![0x81; 60_000]).is_err());
    assert!(read(&vec![0xc1; 60_000]).is_err());
    assert!(read("[".repeat(60_000).as_bytes()).is_err());
    assert!(read("{\"keys\":".repeat(7_000).as_bytes()).is_err());
}

/// A key set is the same after a round trip through either format.
#[test]
fn the_two_formats_say_the_same() {
    let keys = (0..20).map(|n| public(n, if n % 2 == 0 { Algorithm::EdDsa } else { Algorithm::Ed25519 }));
    let set = KeySet::new(keys).unwrap();
    assert_eq!(read(&set.to_cose()).unwrap(), set);
    assert_eq!(read(set.to_jwks().as_bytes()).unwrap(), set);
    let jwks: serde_json::Value = serde_json::from_str(&set.to_jwks()).unwrap();
    for jwk in jwks["keys"].as_array().unwrap() {
        let names: Vec<_> = jwk.as_object().unwrap().keys().collect();
        assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x"], "public members alone");
    }
    let Value::Array(keys) = ciborium::from_reader(&set.to_cose()[..]).unwrap() else { panic!() };
    for key in keys {
        let labels: Vec<_> = key.as_map().unwrap().iter().map(|(label, _)| label.clone()).collect();
        assert_eq!(labels, [1, 2, 3, 4, -1, -2].map(Value::from), "public members alone");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_key_set_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
    }

    #[test]
    fn a_damaged_key_set_is_refused_or_still_one(
        json in any::<bool>(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let set = TestKey::key_set();
        let mut bytes = if json { set.to_jwks().into_bytes() } else { set.to_cose() };
        for (at, to) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *to;
        }
        if let Ok(read_back) = read(&bytes) {
            // Each key has a kid, so one change to the JSON can't yield another
            // key. Two changes can: one removes the kid, the other changes the
            // key.
            for key in read_back.iter() {
                prop_assert!(set.get(key.id(), now()).is_some() || !json || changes.len() > 1);
            }
            prop_assert_eq!(&read(&read_back.to_cose()).unwrap(), &read_back);
        }
    }
}
