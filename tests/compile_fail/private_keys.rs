//! A private key is neither printed nor serialized nor compared, and brings no
//! public key but its own (RUSTSEC-2022-0093).

use hallpass::{Algorithm, KeyUse, SigningKey, VerifyingKey};

fn show(key: SigningKey, other: SigningKey, public: VerifyingKey) {
    println!("{key}"); //~ E0277
    let _ = serde_json::to_string(&key); //~ E0277
    let _ = key == other; //~ E0369
    let _ = SigningKey::from_seed(&[0; 32], public, KeyUse::Session, Algorithm::EdDsa); //~ E0061
    let _ = key.sign(b"whatever"); //~ E0624
}

fn main() {}
