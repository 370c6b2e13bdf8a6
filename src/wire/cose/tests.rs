//! The fast frame reader accepts nothing that the strict one refuses.

use super::*;

/// A token with this much payload, as an issuer writes it.
fn token(algorithm: Algorithm, payload: usize) -> Vec<u8> {
    let header = Header::encode(algorithm, KeyId::from_bytes(*b"kid kid "), Typ::Session);
    encode(&header, &vec![0xa5; payload], |_| [0x5a; 64])
}

fn same(bytes: &[u8]) -> bool {
    let strict = Sign1::decode_strictly(bytes);
    let Some(usual) = Sign1::usual(bytes) else { return false };
    let strict = strict.expect("what is usual is right");
    assert_eq!(usual.header, strict.header);
    assert_eq!(usual.payload, strict.payload);
    assert_eq!(usual.signature, strict.signature);
    assert_eq!((usual.protected_item, usual.payload_item), (strict.protected_item, strict.payload_item));
    true
}

#[test]
fn every_token_of_ours_is_read_the_quick_way() {
    for algorithm in [Algorithm::EdDsa, Algorithm::Ed25519] {
        for payload in [0, 1, 23, 24, 80, 255, 256, 257, 2900] {
            assert!(same(&token(algorithm, payload)), "{algorithm} {payload}");
        }
    }
}

#[test]
fn the_quick_way_agrees_with_the_strict_one_on_every_changed_byte() {
    for payload in [0, 23, 24, 255, 256] {
        let good = token(Algorithm::EdDsa, payload);
        let mut accepted = 0;
        for at in 0..good.len() {
            for value in 0..=255 {
                let mut changed = good.clone();
                changed[at] = value;
                accepted += usize::from(same(&changed));
            }
        }
        // Whatever stands in kid, payload and signature, and two algorithms.
        let rest = good.len() - 8 - payload - 64;
        assert_eq!(accepted, (8 + payload + 64) * 256 + rest + 1);
        for length in 0..good.len() {
            assert!(!same(&good[..length]));
        }
        assert!(!same(&[&good[..], &[0]].concat()));
    }
}

#[test]
fn longer_spellings_of_a_length_are_not_usual() {
    let good = token(Algorithm::EdDsa, 20);
    for head in [&[0x58, 20][..], &[0x59, 0, 20], &[0x5a, 0, 0, 0, 20], &[0x5f]] {
        let changed = [&good[..20], head, &good[21..]].concat();
        assert!(Sign1::usual(&changed).is_none() && Sign1::decode(&changed).is_err());
    }
}

#[test]
fn what_is_signed_is_the_same_in_place() {
    for payload in [0, 23, 24, 300, 2900] {
        for typ in [Typ::Session, Typ::Ticket, Typ::Feed] {
            let header = Header::encode(Algorithm::EdDsa, KeyId::from_bytes([1; 8]), typ);
            let mut signed = Vec::new();
            let bytes = encode(&header, &vec![7; payload], |message| {
                signed = message.to_vec();
                [9; 64]
            });
            let mut roomy = [&[0xff; InPlace::ROOM][..], &bytes].concat();
            let frame = InPlace::decode(&mut roomy).unwrap();
            assert_eq!(frame.message(&roomy), signed);
            assert_eq!(signed, &Sign1::decode(&bytes).unwrap().signed_message()[..]);
            assert_eq!(frame.payload(&roomy), vec![7; payload]);
            assert_eq!(InPlace::signature(&roomy), &[9; 64]);
        }
    }
    assert!(InPlace::decode(&mut []).is_err());
}

#[cfg(feature = "issuer")]
#[test]
fn the_length_of_a_token_is_known_before() {
    for payload in [0, 23, 24, 100, 255, 256, 3000] {
        assert_eq!(session_token_len(payload), token(Algorithm::Ed25519, payload).len());
    }
}
