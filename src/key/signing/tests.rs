use super::*;

/// RFC 8410 §10.3, without and with the public half.
const WITHOUT: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
";
const WITH: &str = "-----BEGIN PRIVATE KEY-----
MHICAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
oB8wHQYKKoZIhvcNAQkJFDEPDA1DdXJkbGUgQ2hhaXJzgSEAGb9ECWmEzf6FQbrB
Z9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PRIVATE KEY-----
";

fn read(pem: &str) -> Result<SigningKey, ConfigError> {
    SigningKey::from_pkcs8_pem(pem, KeyUse::Session, Algorithm::EdDsa)
}

#[test]
fn pem_is_written_as_rfc_8410_has_it() {
    let key = read(WITHOUT).unwrap();
    assert_eq!(key.to_pkcs8_pem().unwrap().as_str(), WITHOUT);
    assert_eq!(key.verifying_key().as_bytes()[..4], [0x19, 0xbf, 0x44, 0x09]);
    assert_eq!(read(WITH).unwrap().to_pkcs8_pem().unwrap().as_str(), WITHOUT);
}

/// RUSTSEC-2022-0093: a public half that is not the private half's would make
/// signatures that give the private half away.
#[test]
fn a_pem_with_another_public_half_is_refused() {
    let der = |public: [u8; 32]| {
        let key = read(WITHOUT).unwrap();
        let pair = KeypairBytes {
            secret_key: key.key.to_bytes(),
            public_key: Some(ed25519_dalek::pkcs8::PublicKeyBytes(public)),
        };
        pair.to_pkcs8_pem(LineEnding::LF).unwrap().to_string()
    };
    let right = *read(WITHOUT).unwrap().verifying_key().as_bytes();
    assert!(read(&der(right)).is_ok());
    let other = *SigningKey::from_seed(&[1; 32], KeyUse::Session, Algorithm::EdDsa)
        .unwrap()
        .verifying_key()
        .as_bytes();
    assert!(matches!(read(&der(other)), Err(ConfigError::Key(_))));
}

#[test]
fn other_files_are_refused() {
    // The first is an X25519 key, whose object identifier ends in 6e.
    for pem in [
        WITHOUT.replace("MC4CAQAwBQYDK2Vw", "MC4CAQAwBQYDK2Vu").as_str(),
        "",
        "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
        &WITHOUT.replace("PRIVATE", "PUBLIC"),
        &WITHOUT.replace("PRIVATE", "ENCRYPTED PRIVATE"),
        &WITHOUT.replace("VhC", "Vh"),
        &WITHOUT.replace('M', "%"),
    ] {
        assert!(matches!(read(pem), Err(ConfigError::Key(_))), "{pem}");
    }
}

/// Neither a key nor an error about one prints the private half.
#[test]
fn the_private_half_is_not_shown() {
    let key = SigningKey::from_seed(&[0xab; 32], KeyUse::Feed, Algorithm::Ed25519).unwrap();
    let shown = format!("{key:?} {key:#?}");
    assert!(shown.contains("not shown") && shown.contains(&key.id().to_string()), "{shown}");
    assert!(!shown.contains("171") && !shown.to_lowercase().contains("abab"), "{shown}");
    let error = read(&WITHOUT.replace("VhC", "Vh")).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("INTuctv5"), "{error:?}");
}

#[test]
fn generated_keys_differ_and_signatures_do_not() {
    let [a, b] = [(), ()].map(|()| SigningKey::generate(KeyUse::Session, Algorithm::EdDsa).unwrap());
    assert_ne!(a.id(), b.id());
    assert_eq!(a.sign(b"m"), a.clone().sign(b"m"));
    assert!(a.verifying_key().verifies(b"m", &a.sign(b"m")));
    assert!(!b.verifying_key().verifies(b"m", &a.sign(b"m")));
}
