//! A signing key that is read from PEM is written, and read again, as the same
//! key, and it signs what its public half verifies.
#![no_main]

use ed25519_dalek::{Signature, Verifier, VerifyingKey};
use hallpass::{Algorithm, KeyUse, SigningKey};
use hallpass_fuzz::base64url;
use libfuzzer_sys::fuzz_target;

fn read(pem: &str) -> Option<SigningKey> {
    SigningKey::from_pkcs8_pem(pem, KeyUse::Session, Algorithm::EdDsa).ok()
}

/// The bytes as a PEM private key, so that DER is what gets mutated.
fn pem(der: &[u8]) -> String {
    let text = base64url(der).replace('-', "+").replace('_', "/");
    let text = format!("{text}{}", "=".repeat((4 - text.len() % 4) % 4));
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}

fn check(text: &str) {
    let Some(key) = read(text) else { return };
    let written = key.to_pkcs8_pem().expect("what we read we write");
    let again = read(&written).expect("what we write we read");
    assert_eq!(again.verifying_key(), key.verifying_key());
    assert_eq!(again.to_pkcs8_pem().expect("as before").as_str(), written.as_str());
    let public = VerifyingKey::from_bytes(key.verifying_key().as_bytes()).expect("a point");
    let private = ed25519_dalek::SigningKey::from_bytes(&seed(&written));
    assert_eq!(private.verifying_key(), public, "the public half is another key's");
    let signature: Signature = ed25519_dalek::Signer::sign(&private, b"message");
    public.verify(b"message", &signature).expect("its own signature");
}

/// The seed is the last 32 bytes of what is written (RFC 8410 §7).
fn seed(pem: &str) -> [u8; 32] {
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let body = body.trim_end_matches('=').replace('+', "-").replace('/', "_");
    let der = hallpass_fuzz::unbase64url(body.as_bytes()).expect("base64");
    *der.last_chunk().expect("32 bytes")
}

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = core::str::from_utf8(data) {
        check(text);
    }
    check(&pem(data));
});
