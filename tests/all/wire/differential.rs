//! Another implementation's opinion: what coset makes of our tokens, and what
//! we make of its.

use ciborium::Value;
use coset::cwt::ClaimsSet;
use coset::iana::EnumI64;
use coset::{
    Algorithm, AsCborValue, CborSerializable, CoseKey, CoseKeySet, CoseSign1, CoseSign1Builder,
    HeaderBuilder, KeyType, Label, RegisteredLabel, TaggedCborSerializable, iana,
};
use ed25519_dalek::Signer;
use hallpass::{Session, UnixTime, Verifier};
use proptest::prelude::*;

use crate::support::raw::{NOW, base64url, claims, label, map, text, token, uint, unbase64url};
use crate::support::test_keys::TestKey;

fn verify(token: &str) -> Result<Session, hallpass::Rejection> {
    let now = UnixTime::from_secs(NOW + 10).unwrap();
    Verifier::builder(TestKey::key_set()).without_revocations().build().unwrap().verify(token, now)
}

/// What coset says of a token: its parts, if it is a COSE_Sign1 whose
/// signature the test key made.
fn coset_accepts(bytes: &[u8]) -> Result<CoseSign1, String> {
    let sign1 = CoseSign1::from_tagged_slice(bytes).map_err(|error| error.to_string())?;
    let key = [TestKey::Session, TestKey::Session19]
        .into_iter()
        .find(|key| sign1.protected.header.key_id == key.kid())
        .ok_or("no such key")?;
    sign1
        .verify_signature(b"", |signature, message| {
            let signature =
                ed25519_dalek::Signature::from_slice(signature).map_err(|error| error.to_string())?;
            key.signing()
                .verifying_key()
                .verify_strict(message, &signature)
                .map_err(|error| error.to_string())
        })
        .map(|()| sign1)
}

#[test]
fn coset_reads_our_tokens_and_finds_the_same() {
    let mut read = 0;
    for (name, token) in crate::wire::vectors::accepted() {
        let sign1 = coset_accepts(&unbase64url(&token)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let header = &sign1.protected.header;
        assert!(sign1.unprotected.is_empty() && header.crit.is_empty());
        if header.key_id == TestKey::Session.kid() {
            assert_eq!(header.alg, Some(Algorithm::Assigned(iana::Algorithm::EdDSA)), "{name}");
        }
        assert_eq!(header.rest, [(Label::Int(16), Value::from(61))], "{name}");
        let set = ClaimsSet::from_slice(sign1.payload.as_deref().unwrap()).unwrap();
        assert!(set.subject.is_some() && set.expiration_time.is_some() && set.cwt_id.is_some(), "{name}");
        read += 1;
    }
    assert!(read > 40, "only {read} good vectors");

    let bytes = unbase64url(&token(TestKey::Session, &claims().with(label::AUD, text("store"))));
    let set = ClaimsSet::from_slice(coset_accepts(&bytes).unwrap().payload.as_deref().unwrap()).unwrap();
    assert_eq!(set.subject.as_deref(), Some("alice"));
    assert_eq!(set.audience.as_deref(), Some("store"));
    assert_eq!(set.cwt_id.as_deref(), Some(&[0xc7; 16][..]));
    assert_eq!(format!("{:?}", set.expiration_time), format!("Some(WholeSeconds({}))", NOW + 900));
}

#[cfg(feature = "issuer")]
#[test]
fn coset_reads_what_the_minter_makes() {
    use hallpass::{KeyUse, Lifetimes, Minter, NewSession, SigningKey, Subject};
    let key =
        SigningKey::from_seed(&TestKey::Session.seed(), KeyUse::Session, hallpass::Algorithm::EdDsa).unwrap();
    let subject = Subject::new("alice").unwrap();
    let now = UnixTime::from_secs(NOW).unwrap();
    let new = NewSession {
        subject: &subject,
        claims: &serde_json::json!({ "zebra": 1, "apple": [1.5, null] }),
        started: now,
        auth_time: now,
        ends: None,
        amr: &[],
        bound_to: Some([9; 32]),
    };
    let issued =
        Minter::new(Lifetimes::default()).audience(Some("store".into())).start(&key, &new, now).unwrap();
    let sign1 = coset_accepts(&unbase64url(issued.as_str())).unwrap();
    let set = ClaimsSet::from_slice(sign1.payload.as_deref().unwrap()).unwrap();
    assert_eq!(set.subject.as_deref(), Some("alice"));
    assert_eq!(set.audience.as_deref(), Some("store"));
    assert_eq!(set.rest.len(), 3, "cnf, session and the application's own");
    let session = issued.session();
    assert_eq!(set.cwt_id.as_deref(), Some(&session.token_id().as_bytes()[..]));
    let Some((_, Value::Array(part))) =
        set.rest.iter().find(|(name, _)| format!("{name:?}").contains("-65537"))
    else {
        panic!("{:?}", set.rest)
    };
    assert_eq!(part[0].as_bytes().map(Vec::as_slice), Some(&session.id().as_bytes()[..]));
    assert_eq!(part[2], Value::from(session.ends_at().as_secs()));
}

#[test]
fn coset_reads_our_key_set_and_we_read_its() {
    let ours = TestKey::key_set();
    let theirs = CoseKeySet::from_slice(&ours.to_cose()).unwrap();
    assert_eq!(theirs.0.len(), 2);
    for key in &theirs.0 {
        assert_eq!(key.kty, KeyType::Assigned(iana::KeyType::OKP));
        assert!(key.key_ops.contains(&RegisteredLabel::Assigned(iana::KeyOperation::Verify)));
    }
    let made = CoseKeySet(vec![CoseKey {
        kty: KeyType::Assigned(iana::KeyType::OKP),
        alg: Some(Algorithm::Assigned(iana::Algorithm::EdDSA)),
        params: vec![
            (
                Label::Int(iana::OkpKeyParameter::Crv.to_i64()),
                Value::from(iana::EllipticCurve::Ed25519.to_i64()),
            ),
            (Label::Int(iana::OkpKeyParameter::X.to_i64()), Value::Bytes(TestKey::Session.public().to_vec())),
        ],
        ..CoseKey::default()
    }]);
    let read = hallpass::KeySet::from_bytes(&made.to_vec().unwrap()).unwrap();
    assert_eq!(*read.iter().next().unwrap().id().as_bytes(), TestKey::Session.kid());
}

/// A COSE_Sign1 as coset makes it, with much that our format does not have.
#[derive(Clone, Debug)]
struct Variant {
    alg: Option<iana::Algorithm>,
    kid: Vec<u8>,
    typ: Option<Value>,
    extra: Vec<(i64, Value)>,
    unprotected: bool,
    payload: Option<Vec<u8>>,
    aad: Vec<u8>,
    tagged: bool,
}

fn variant() -> impl Strategy<Value = Variant> {
    let kid = prop_oneof![
        8 => Just(TestKey::Session.kid().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..12),
    ];
    let alg = prop_oneof![
        8 => Just(Some(iana::Algorithm::EdDSA)),
        1 => Just(None),
        1 => Just(Some(iana::Algorithm::ES256)),
    ];
    let typ = prop_oneof![
        8 => Just(Some(Value::from(61))),
        1 => Just(None),
        1 => Just(Some(Value::from("application/cwt"))),
        1 => any::<u16>().prop_map(|n| Some(Value::from(n))),
    ];
    let extra = prop_oneof![
        8 => Just(Vec::new()),
        1 => (17_i64..100, any::<u8>()).prop_map(|(label, value)| vec![(label, Value::from(value))]),
    ];
    let payload = prop_oneof![
        8 => payload().prop_map(Some),
        1 => Just(None),
        1 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(Some),
    ];
    let aad = prop_oneof![8 => Just(Vec::new()), 1 => Just(b"x".to_vec())];
    (alg, kid, typ, extra, prop::bool::weighted(0.1), payload, aad, prop::bool::weighted(0.9)).prop_map(
        |(alg, kid, typ, extra, unprotected, payload, aad, tagged)| Variant {
            alg,
            kid,
            typ,
            extra,
            unprotected,
            payload,
            aad,
            tagged,
        },
    )
}

/// Claims as another implementation might put them: any order, any subset, some
/// of another type.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let odd = prop_oneof![
        Just(vec![0xf6]),
        Just(uint(5)),
        Just(text("x")),
        Just(map(&[])),
        any::<f64>().prop_map(crate::support::raw::f64),
    ];
    let changes = proptest::collection::vec((0_usize..6, odd, any::<bool>()), 0..2);
    (changes, prop::bool::weighted(0.2)).prop_map(|(changes, shuffled)| {
        let mut pairs = claims().with(label::APP, map(&[(text("a"), uint(1))]));
        for (at, odd, remove) in changes {
            if at < pairs.0.len() {
                if remove {
                    pairs.0.remove(at);
                } else {
                    pairs.0[at].1 = odd;
                }
            }
        }
        if shuffled {
            pairs.0.reverse();
        }
        pairs.encode()
    })
}

impl Variant {
    fn make(&self) -> Vec<u8> {
        let mut protected = HeaderBuilder::new().key_id(self.kid.clone());
        if let Some(alg) = self.alg {
            protected = protected.algorithm(alg);
        }
        if let Some(typ) = &self.typ {
            protected = protected.value(16, typ.clone());
        }
        for (label, value) in &self.extra {
            protected = protected.value(*label, value.clone());
        }
        let mut builder = CoseSign1Builder::new().protected(protected.build());
        if self.unprotected {
            builder = builder.unprotected(HeaderBuilder::new().key_id(self.kid.clone()).build());
        }
        if let Some(payload) = &self.payload {
            builder = builder.payload(payload.clone());
        }
        let sign = |message: &[u8]| TestKey::Session.signing().sign(message).to_bytes().to_vec();
        let sign1 = builder.create_signature(&self.aad, sign).build();
        if self.tagged { sign1.to_tagged_vec().unwrap() } else { sign1.to_vec().unwrap() }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    /// Whatever we accept, coset accepts and understands alike.
    #[test]
    fn what_we_accept_coset_accepts(variant in variant()) {
        let bytes = variant.make();
        if let Ok(session) = verify(&base64url(&bytes)) {
            let sign1 = coset_accepts(&bytes).unwrap();
            let set = ClaimsSet::from_cbor_value(
                ciborium::from_reader(sign1.payload.as_deref().unwrap()).unwrap()
            ).unwrap();
            prop_assert_eq!(set.subject.as_deref(), Some(session.subject()));
            let token_id = session.token_id();
            prop_assert_eq!(set.cwt_id.as_deref(), Some(&token_id.as_bytes()[..]));
            prop_assert!(sign1.unprotected.is_empty());
            prop_assert!(variant.tagged && variant.aad.is_empty() && variant.extra.is_empty());
        }
    }
}

/// The variants are not all refused for one reason, or the test above is empty.
#[test]
fn coset_s_plain_variant_is_accepted() {
    let plain = Variant {
        alg: Some(iana::Algorithm::EdDSA),
        kid: TestKey::Session.kid().to_vec(),
        typ: Some(Value::from(61)),
        extra: Vec::new(),
        unprotected: false,
        payload: Some(claims().encode()),
        aad: Vec::new(),
        tagged: true,
    };
    let bytes = plain.make();
    assert!(verify(&base64url(&bytes)).is_ok());
    assert!(coset_accepts(&bytes).is_ok());
    // Both make the same bytes of it.
    assert_eq!(base64url(&bytes), token(TestKey::Session, &claims()));
}
