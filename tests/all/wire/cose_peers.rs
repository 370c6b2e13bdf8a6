//! Independent COSE libraries verify our tokens and find the same claims.
//!
//! They live in `target/peers` (`tests/peers/setup.sh` makes it). Without it
//! the test is skipped and says so; with `HALLPASS_TEST_ALL=1` it fails.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::raw::unbase64url;
use crate::support::test_keys::TestKey;
use crate::wire::vectors;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn python() -> Option<PathBuf> {
    let python = root().join("target/peers/bin/python");
    if python.exists() {
        return Some(python);
    }
    let how = "target/peers is not there; make it with tests/peers/setup.sh";
    assert!(std::env::var_os("HALLPASS_TEST_ALL").is_none(), "{how}");
    println!("SKIPPED cose_peers: {how}");
    None
}

/// What a library says of each token: the claims' bytes or an error.
fn ask(python: &Path, library: &str, tokens: &[(String, String)]) -> Vec<(String, Result<Vec<u8>, String>)> {
    let mut child = Command::new(python)
        .arg(root().join("tests/peers/verify_token.py"))
        .arg(library)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut questions = Vec::new();
    for (name, token) in tokens {
        let key = if is_19(token) { TestKey::Session19 } else { TestKey::Session };
        let question = json!({ "name": name, "token": token, "key": key.jwk() });
        writeln!(questions, "{question}").unwrap();
    }
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&questions));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{library}");
    let answers: Vec<_> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| {
            let answer: Value = serde_json::from_str(line).unwrap();
            let claims = match answer["claims"].as_str() {
                Some(claims) => Ok(hex::decode(claims).unwrap()),
                None => Err(answer["error"].as_str().unwrap().to_owned()),
            };
            (answer["name"].as_str().unwrap().to_owned(), claims)
        })
        .collect();
    assert_eq!(answers.len(), tokens.len(), "{library} left some out");
    answers
}

fn is_19(token: &str) -> bool {
    let kid = TestKey::Session19.kid();
    unbase64url(token).windows(8).any(|window| window == kid)
}

fn payload(token: &str) -> Vec<u8> {
    let ciborium::Value::Tag(18, inner) = ciborium::from_reader(&unbase64url(token)[..]).unwrap() else {
        panic!()
    };
    inner.into_array().unwrap()[2].as_bytes().unwrap().clone()
}

#[test]
fn other_libraries_verify_our_tokens() {
    let Some(python) = python() else { return };
    let good = vectors::accepted();
    #[cfg(feature = "issuer")]
    let good = [good, vec![("freshly minted".to_owned(), minted())]].concat();
    for library in ["cwt", "pycose"] {
        for ((name, token), (_, claims)) in good.iter().zip(ask(&python, library, &good)) {
            // Of these only cwt knows the newer number.
            if library == "pycose" && is_19(token) {
                assert!(claims.unwrap_err().contains("-19"));
                continue;
            }
            assert_eq!(claims, Ok(payload(token)), "{library}: {name}");
        }
    }
}

#[test]
fn other_libraries_refuse_what_nobody_signed() {
    let Some(python) = python() else { return };
    let bad: Vec<_> = vectors::refused("bad_signature")
        .into_iter()
        .filter(|(name, _)| name.starts_with("frame/"))
        // Its equation holds; it takes verify_strict to refuse it.
        .filter(|(name, _)| name != "frame/signature-without-a-nonce")
        .collect();
    assert!(bad.len() > 10, "{}", bad.len());
    for library in ["cwt", "pycose"] {
        for (name, claims) in ask(&python, library, &bad) {
            assert!(claims.is_err(), "{library}: {name}");
        }
    }
}

#[cfg(feature = "issuer")]
fn minted() -> String {
    use hallpass::{Algorithm, KeyUse, Lifetimes, Minter, NewSession, SigningKey, Subject, UnixTime};
    let key = SigningKey::from_seed(&TestKey::Session.seed(), KeyUse::Session, Algorithm::EdDsa).unwrap();
    let subject = Subject::new("alice").unwrap();
    let now = UnixTime::from_secs(crate::support::raw::NOW).unwrap();
    let new = NewSession {
        subject: &subject,
        claims: &json!({ "b": [1.5, 1.1, -0.0], "a": { "cart": null } }),
        started: now,
        auth_time: now,
        ends: None,
        amr: &[],
        bound_to: Some([7; 32]),
    };
    let minter = Minter::new(Lifetimes::default()).issuer(Some("idp".into())).audience(Some("store".into()));
    minter.start(&key, &new, now).unwrap().as_str().to_owned()
}
