//! hallpass and `ed25519_dalek`'s `verify_strict` agree on every signature,
//! whatever key, R and s it is made of: with a table for the key and without,
//! alone and among many.
#![no_main]

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use curve25519_dalek::Scalar;
use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::EdwardsPoint;
use ed25519_dalek::Signature;
use hallpass::{Algorithm, KeySet, Reason, Session, UnixTime, Verifier, VerifyingKey};
use hallpass_fuzz::{NOW, base64url, bytes};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha512};

fuzz_target!(|data: &[u8]| {
    let Some((choices, rest)) = data.split_first_chunk::<5>() else { return };
    let (raw, rest) = rest.split_at(rest.len().min(96));
    let raw = |from: usize| -> [u8; 32] {
        let mut part = [0; 32];
        let given = raw.get(from..).unwrap_or_default();
        let length = given.len().min(32);
        part[..length].copy_from_slice(&given[..length]);
        part
    };

    // The key: one of a few secrets and a torsion, or any bytes.
    let secret = Scalar::from_bytes_mod_order([choices[0] & 3 | 0x80; 32]);
    let key = match choices[0] >> 5 {
        7 => raw(64),
        _ => (EdwardsPoint::mul_base(&secret) + torsion(choices[0] >> 2)).compress().0,
    };
    let stock = ed25519_dalek::VerifyingKey::from_bytes(&key).ok().filter(|key| !key.is_weak());
    let Ok(ours) = VerifyingKey::new(&key, Algorithm::EdDsa) else {
        // The only additional refusal: a y that is not reduced.
        assert!(stock.is_none_or(|stock| stock.to_edwards().compress().0 != key), "{key:x?}");
        return;
    };
    let stock = stock.expect("hallpass takes no weak key");

    // What the signature covers: a frame of the right form with any payload.
    let payload = &rest[..rest.len().min(300)];
    let protected = [&b"\x50\xa3\x01\x27\x04\x48"[..], ours.id().as_bytes(), b"\x10\x18\x3d"].concat();
    let message = [b"\x84\x6aSignature1", &protected[..], b"\x40", &bytes(payload)].concat();

    // R: honest, with a torsion, of small order in any spelling, or any bytes.
    let nonce = Scalar::from_bytes_mod_order(raw(0));
    let r = match choices[1] % 4 {
        0 => EdwardsPoint::mul_base(&nonce).compress().0,
        1 => (EdwardsPoint::mul_base(&nonce) + torsion(choices[1] >> 2)).compress().0,
        2 => small_order(choices[1] >> 2),
        _ => raw(0),
    };
    let hash = Sha512::new().chain_update(r).chain_update(key).chain_update(&message).finalize();
    let k = Scalar::from_bytes_mod_order_wide(&hash.into());
    let s = match choices[2] % 4 {
        0 => (nonce + k * secret).to_bytes(),
        // For an R that consists of its torsion alone.
        1 => (k * secret).to_bytes(),
        2 => plus_order((nonce + k * secret).to_bytes()),
        _ => raw(32),
    };
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&r);
    signature[32..].copy_from_slice(&s);
    if choices[3] != 0 {
        signature[usize::from(choices[3] % 64)] ^= choices[4];
    }

    let strict = stock.verify_strict(&message, &Signature::from_bytes(&signature)).is_ok();
    let token = [b"\xd2\x84", &protected[..], b"\xa0", &bytes(payload), b"\x58\x40", &signature].concat();
    let token = base64url(&token);
    let now = UnixTime::saturating_from_secs(NOW);
    let holds = |verdict: Result<Session, _>| match verdict.map_err(|why: hallpass::Rejection| why.reason()) {
        // A trusted key may sign invalid claims.
        Ok(_) | Err(Reason::Malformed) => true,
        Err(Reason::BadSignature) => false,
        Err(other) => panic!("{other:?}"),
    };
    let judge = |verifier: &Verifier| {
        assert_eq!(holds(verifier.verify(&token, now)), strict, "{key:x?} {signature:x?}");
        for verdict in verifier.verify_many(&[&token, &token], now) {
            assert_eq!(holds(verdict), strict, "together: {key:x?} {signature:x?}");
        }
    };
    if choices[0] >> 5 == 7 {
        // Most other keys come once, so making tables for them would take all
        // the time.
        return judge(&crowded(ours));
    }
    let mut known = KNOWN.lock().expect("one thread");
    for verifier in known.entry(key).or_insert_with(|| [alone(ours.clone()), crowded(ours)]) {
        judge(verifier);
    }
});

/// Verifiers of the keys that come again and again.
static KNOWN: LazyLock<Mutex<HashMap<[u8; 32], [Verifier; 2]>>> = LazyLock::new(Mutex::default);

/// With a table, which a build for fuzzing always makes.
fn alone(key: VerifyingKey) -> Verifier {
    verifier(KeySet::new([key]))
}

/// Without one: the eight that get a table come before it.
fn crowded(key: VerifyingKey) -> Verifier {
    static CROWD: LazyLock<Vec<VerifyingKey>> = LazyLock::new(|| {
        let mut keys: Vec<_> = (0..=255)
            .map(|seed| ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).verifying_key())
            .map(|key| VerifyingKey::new(key.as_bytes(), Algorithm::EdDsa).expect("a key"))
            .collect();
        keys.sort_by_key(VerifyingKey::id);
        keys.truncate(8);
        keys
    });
    verifier(KeySet::new(CROWD.iter().cloned().filter(|other| other.id() != key.id()).chain([key.clone()])))
}

fn verifier(keys: Result<KeySet, hallpass::ConfigError>) -> Verifier {
    let keys = keys.expect("different keys");
    Verifier::builder(keys).without_revocations().without_token_cache().build().expect("a verifier")
}

fn torsion(choice: u8) -> EdwardsPoint {
    EIGHT_TORSION[usize::from(choice % 8)]
}

/// The points of small order, and the spellings of them that only a decoder takes.
fn small_order(choice: u8) -> [u8; 32] {
    let spelt = |first, middle, last| {
        let mut bytes = [middle; 32];
        (bytes[0], bytes[31]) = (first, last);
        bytes
    };
    match choice % 14 {
        8 => spelt(1, 0, 0x80),
        9 => spelt(0xec, 0xff, 0xff),
        10 => spelt(0xed, 0xff, 0x7f),
        11 => spelt(0xed, 0xff, 0xff),
        12 => spelt(0xee, 0xff, 0x7f),
        13 => spelt(0xee, 0xff, 0xff),
        order => torsion(order).compress().0,
    }
}

/// s + L, which fits: L is little more than 2^252.
fn plus_order(s: [u8; 32]) -> [u8; 32] {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let (mut sum, mut carry) = ([0; 32], 0);
    for (sum, (a, b)) in sum.iter_mut().zip(s.iter().zip(&ORDER)) {
        let total = u16::from(*a) + u16::from(*b) + carry;
        *sum = total as u8;
        carry = total >> 8;
    }
    sum
}
