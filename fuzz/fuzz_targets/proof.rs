//! Proofs: nothing panics, nothing that the key did not sign is accepted, and
//! another JSON reader finds the required members in what is accepted.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use ed25519_dalek::{Signer, SigningKey};
use hallpass::{NonceCache, ProofRequest, ProofVerifier, SessionId, UnixTime};
use hallpass_fuzz::{NOW, base64url};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const TOKEN: &str = "a token";
const URI: &str = "https://shop.example/orders";

/// The client's key, the header of its proofs and its thumbprint.
static CLIENT: LazyLock<(SigningKey, Value, [u8; 32])> = LazyLock::new(|| {
    let key = SigningKey::from_bytes(&[7; 32]);
    let x = key.verifying_key().to_bytes();
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(&x) });
    let thumbprint = Sha256::digest([&[0xa3, 1, 1, 0x20, 6, 0x21, 0x58, 32][..], &x].concat());
    (key, json!({ "typ": "dpop+jwt", "alg": "EdDSA", "jwk": jwk }), thumbprint.into())
});

/// The thumbprint of a P-256 key is not known; any thumbprint reaches its
/// reader.
fn accepted(proof: &[u8], thumbprint: &[u8; 32]) -> bool {
    let now = UnixTime::saturating_from_secs(NOW);
    let start = now.saturating_sub(Duration::from_secs(100));
    let proofs = ProofVerifier::without_server_nonces(NonceCache::new(start));
    let request = ProofRequest { dpop: &[proof], method: "POST", uri: URI };
    let _ = proofs.check_log_in(&request, now);
    let session = SessionId::from_bytes([1; 16]);
    let verdict = proofs.check(&request, TOKEN, session, thumbprint, now);
    if verdict.is_ok() {
        assert!(proofs.check(&request, TOKEN, session, thumbprint, now).is_err(), "accepted twice");
    }
    verdict.is_ok()
}

fuzz_target!(|data: &[u8]| {
    let (key, header, thumbprint) = &*CLIENT;
    // As a proof of its own; as header and claims without a good signature.
    assert!(!accepted(data, thumbprint));
    let ath = base64url(&Sha256::digest(TOKEN));
    let good = json!({ "jti": "x", "htm": "POST", "htu": URI, "iat": NOW, "ath": ath });
    let unsigned =
        format!("{}.{}.{}", base64url(data), base64url(good.to_string().as_bytes()), base64url(&[1; 64]));
    assert!(!accepted(unsigned.as_bytes(), thumbprint));

    // Signed: as claims, and as header.
    let sign = |header: &[u8], claims: &[u8]| {
        let signed = format!("{}.{}", base64url(header), base64url(claims));
        let signature = key.sign(signed.as_bytes()).to_bytes();
        format!("{signed}.{}", base64url(&signature))
    };
    if accepted(sign(header.to_string().as_bytes(), data).as_bytes(), thumbprint) {
        let claims: Value = serde_json::from_slice(data).expect("JSON");
        assert_eq!((&claims["htm"], &claims["ath"]), (&good["htm"], &good["ath"]));
        assert!(claims["iat"].as_f64().is_some_and(|iat| (iat - NOW as f64).abs() <= 65.0));
    }
    if accepted(sign(data, good.to_string().as_bytes()).as_bytes(), thumbprint) {
        let other: Value = serde_json::from_slice(data).expect("JSON");
        assert_eq!((&other["typ"], &other["jwk"]["x"]), (&header["typ"], &header["jwk"]["x"]));
    }

    // As the URI: equal to ours only by its scheme and host.
    let uri = String::from_utf8_lossy(data);
    let mut claims = good.clone();
    claims["htu"] = Value::from(&*uri);
    if accepted(sign(header.to_string().as_bytes(), claims.to_string().as_bytes()).as_bytes(), thumbprint) {
        let start = uri.to_ascii_lowercase();
        assert!(start.starts_with("https://") && !uri.contains('@'), "{uri}");
    }
});
