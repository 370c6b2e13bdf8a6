use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;
use crate::wire::text::MAX_TOKEN_CHARS;

/// The shapes that serde writes out of order or with an indefinite length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Shape {
    zebra: u64,
    apple: i64,
    ratio: f64,
    single: f32,
    #[serde(with = "bytes")]
    blob: Vec<u8>,
    nested: Option<Box<Shape>>,
    numbers: BTreeMap<i64, String>,
    list: Vec<(bool, char)>,
    kind: Kind,
    #[serde(flatten)]
    rest: BTreeMap<String, u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Unit,
    Newtype(u8),
    Struct { b: u8, a: u8 },
}

mod bytes {
    pub(super) fn serialize<S: serde::Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        use serde::Deserialize;
        // Behind `flatten` serde buffers everything, and gives bytes or a sequence.
        let value = ciborium::Value::deserialize(d)?;
        match value {
            ciborium::Value::Bytes(bytes) => Ok(bytes),
            other => Err(serde::de::Error::custom(format!("{other:?}"))),
        }
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Unit),
        any::<u8>().prop_map(Kind::Newtype),
        any::<(u8, u8)>().prop_map(|(b, a)| Kind::Struct { b, a }),
    ]
}

fn shape() -> impl Strategy<Value = Shape> {
    let flat = (
        any::<u64>(),
        any::<i64>(),
        proptest::num::f64::ANY.prop_filter("NaN is not itself", |x| !x.is_nan()),
        proptest::num::f32::ANY.prop_filter("NaN is not itself", |x| !x.is_nan()),
        proptest::collection::vec(any::<u8>(), 0..40),
        proptest::collection::btree_map(any::<i64>(), ".{0,5}", 0..5),
        proptest::collection::vec(any::<(bool, char)>(), 0..4),
        kind(),
        proptest::collection::btree_map("x[a-zß-ÿ]{0,3}", any::<u32>(), 0..5),
    );
    let leaf = flat.prop_map(|(zebra, apple, ratio, single, blob, numbers, list, kind, rest)| Shape {
        zebra,
        apple,
        ratio,
        single,
        blob,
        nested: None,
        numbers,
        list,
        kind,
        rest,
    });
    let leaf = leaf.boxed();
    (leaf.clone(), proptest::option::of(leaf))
        .prop_map(|(outer, inner)| Shape { nested: inner.map(Box::new), ..outer })
}

/// Any CBOR, for what no serde type makes.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::Float),
        any::<f32>().prop_map(|x| Value::Float(f64::from(x))),
        any::<i16>().prop_map(|x| Value::Float(f64::from(x))),
        any::<bool>().prop_map(Value::Bool),
        Just(Value::Null),
        ".{0,8}".prop_map(Value::Text),
        proptest::collection::vec(any::<u8>(), 0..30).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            proptest::collection::vec((inner.clone(), inner.clone()), 0..5).prop_map(Value::Map),
            (any::<u64>(), inner).prop_map(|(tag, inner)| Value::Tag(tag, Box::new(inner))),
        ]
    })
}

proptest! {
    #[test]
    fn a_serde_type_comes_back_as_it_was(shape in shape()) {
        let encoded = encode(&shape).unwrap().unwrap();
        prop_assert_eq!(decode::<Shape>(&encoded).unwrap(), shape);
    }

    /// What was decoded encodes into the same bytes, so that there is no
    /// second spelling.
    #[test]
    fn encoding_what_was_decoded_changes_nothing(value in value()) {
        // Two keys that are one in CBOR are refused; everything else is written.
        match encode(&value) {
            Ok(None) => prop_assert!(value.is_null()),
            Ok(Some(encoded)) => {
                let again: Value = decode(&encoded).unwrap();
                prop_assert_eq!(encode(&again).unwrap(), Some(encoded.clone()));
                prop_assert_eq!(item(&mut Reader::new(&encoded)), Ok(encoded.as_slice()));
                let _ = to_json(&encoded);
            }
            Err(error) => prop_assert!(error.to_string().contains("twice"), "{}", error),
        }
    }

    /// The same from the other side: whatever bytes are accepted, ciborium
    /// understands and our writer spells alike.
    #[test]
    fn bytes_that_are_accepted_are_the_only_spelling(
        value in value(),
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let Ok(Some(mut bytes)) = encode(&value) else { return Ok(()) };
        for (at, to) in flips {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        let mut reader = Reader::new(&bytes);
        if item(&mut reader).is_ok() && reader.finish().is_ok() {
            // Simple values other than false, true and null have no serde form.
            if let Ok(value) = decode::<Value>(&bytes) && !contains_undefined(&bytes) {
                prop_assert_eq!(encode(&value).unwrap_or(None).unwrap_or(vec![0xf6]), bytes);
            }
        }
    }
}

/// ciborium reads `undefined` as null, so that it can't come back.
fn contains_undefined(bytes: &[u8]) -> bool {
    bytes.contains(&0xf7)
}

#[test]
fn nothing_is_no_claims() {
    assert_eq!(encode(&()).unwrap(), None);
    assert_eq!(encode(&None::<u8>).unwrap(), None);
    assert_eq!(encode(&Some(0_u8)).unwrap(), Some(vec![0]));
}

#[test]
fn two_keys_that_become_one_are_refused() {
    #[derive(Serialize)]
    struct Twice {
        a: u8,
        #[serde(flatten)]
        rest: BTreeMap<&'static str, u8>,
    }
    let error = encode(&Twice { a: 1, rest: BTreeMap::from([("a", 2)]) }).unwrap_err();
    assert!(matches!(error, ConfigError::Claims(ref why) if why.to_string().contains("twice")), "{error}");
}

#[test]
fn depth_16_is_written_and_17_is_not() {
    let nested = |levels: usize| (1..levels).fold(Value::Array(vec![]), |inner, _| Value::Array(vec![inner]));
    assert!(encode(&nested(16)).is_ok());
    assert!(matches!(encode(&nested(17)), Err(ConfigError::Claims(_))));
    let tagged = |levels: usize| (0..levels).fold(Value::from(1), |inner, _| Value::Tag(7, Box::new(inner)));
    assert!(encode(&tagged(16)).is_ok());
    assert!(matches!(encode(&tagged(17)), Err(ConfigError::Claims(_))));
}

#[test]
fn wide_numbers() {
    assert_eq!(encode(&u128::from(u64::MAX)).unwrap().unwrap().len(), 9);
    // serde's 128 bits become a bignum, which is a tag and so allowed.
    let wide = encode(&u128::MAX).unwrap().unwrap();
    assert_eq!(wide[0], 0xc2);
    assert_eq!(decode::<u128>(&wide), Ok(u128::MAX));
    assert_eq!(decode::<i128>(&encode(&i128::MIN).unwrap().unwrap()), Ok(i128::MIN));
}

#[test]
fn json_of_what_json_does_not_have() {
    use serde_json::json;
    for (hex, expected) in [
        (&[0x3b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..], json!("-18446744073709551616")),
        (&[0x42, 0x01, 0xff], json!("01ff")),
        (&[0xc1, 0x00], json!(0)),
        (&[0xa1, 0x81, 0x01, 0x02], json!({ "[1]": 2 })),
        (&[0xf9, 0x7e, 0x00], json!(null)),
    ] {
        assert_eq!(to_json(hex), expected);
    }
}

/// 4,096 characters of arrays are no depth for ciborium to recurse into.
#[test]
fn deep_bytes_are_refused_before_ciborium_sees_them() {
    let deep = vec![0x81; MAX_TOKEN_CHARS];
    assert_eq!(item(&mut Reader::new(&deep)), Err(Malformed::TooDeep));
}
