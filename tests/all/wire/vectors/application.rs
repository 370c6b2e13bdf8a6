//! The application's own claims: any deterministic CBOR, at most 16 deep.

use serde_json::{Value, json};

use super::frame::chunked;
use super::{Maker, session};
use crate::support::raw::{
    array, bytes, cat, claims, f16, f32, f64, head, int, label, map, pairs_of, tag, text, token, uint, wide,
};
use crate::support::test_keys::TestKey;

fn with(app: Vec<u8>) -> String {
    token(TestKey::Session, &claims().with(label::APP, app))
}

/// `levels` arrays, one in another.
fn nested(levels: usize) -> Vec<u8> {
    [vec![0x81; levels - 1], vec![0x80]].concat()
}

fn nested_json(levels: usize) -> Value {
    (1..levels).fold(json!([]), |inner, _| json!([inner]))
}

pub(super) fn make() -> Maker {
    let mut m = Maker::under("application");
    good(&mut m);
    depth(&mut m);
    floats(&mut m);
    order(&mut m);
    encoding(&mut m);
    m
}

fn good(m: &mut Maker) {
    for (name, why, app, json) in [
        ("number", "any item will do", uint(7), json!(7)),
        ("null", "null is not the same as no claims", vec![0xf6], json!(null)),
        ("true", "true", vec![0xf5], json!(true)),
        ("text", "text outside ASCII", text("水 ü"), json!("水 ü")),
        ("bytes", "a byte string", bytes(&[0, 255]), json!("00ff")),
        ("largest", "2^64 - 1", uint(u64::MAX), json!(u64::MAX)),
        ("smallest", "-2^63", int(i64::MIN), json!(i64::MIN)),
        ("empty map", "an empty map", map(&[]), json!({})),
        ("array", "an array", array(&[uint(1), text("x"), vec![0xf4]]), json!([1, "x", false])),
        (
            "map",
            "a map, its keys in bytewise order",
            map(&[(text("b"), uint(1)), (text("aa"), map(&[(text("c"), vec![0xf6])]))]),
            json!({ "b": 1, "aa": { "c": null } }),
        ),
        (
            "map of numbers",
            "keys that are numbers: 24 comes before -1 (RFC 8949, section 4.2.1)",
            map(&[(uint(10), uint(0)), (uint(24), uint(1)), (int(-1), uint(2)), (text("a"), uint(3))]),
            json!({ "10": 0, "24": 1, "-1": 2, "a": 3 }),
        ),
        (
            "tag",
            "a tag is allowed here",
            tag(0, &text("2026-09-21T14:13:20Z")),
            json!("2026-09-21T14:13:20Z"),
        ),
        ("half float", "1.5", f16(0x3e00), json!(1.5)),
        ("single float", "100000.0", f32(100_000.0), json!(100_000.0)),
        ("double float", "1.1", f64(1.1), json!(1.1)),
        ("negative zero", "-0.0", f16(0x8000), json!(-0.0)),
        (
            "small half",
            "2^-14, the smallest normal number of 16 bits",
            f16(0x0400),
            json!(0.000_061_035_156_25),
        ),
        ("infinity", "JSON has no infinity", f16(0x7c00), json!(null)),
        ("not a number", "the one spelling of NaN; JSON has none", f16(0x7e00), json!(null)),
    ] {
        m.accepted(name, why, with(app), session(&json!({ "claims": json })));
    }
}

fn depth(m: &mut Maker) {
    m.accepted(
        "depth 16",
        "16 arrays, one in another",
        with(nested(16)),
        session(&json!({ "claims": nested_json(16) })),
    );
    m.malformed("depth 17", "17 arrays, one in another", with(nested(17)), "too_deep");
    m.malformed("depth 900", "900 arrays, one in another", with(nested(900)), "too_deep");
    let maps = |levels: usize| [[0xa1, 0x00].repeat(levels - 1), vec![0xa0]].concat();
    m.accepted("depth 16 of maps", "16 maps, one in another", with(maps(16)), {
        let inner = (1..16).fold(json!({}), |inner, _| json!({ "0": inner }));
        session(&json!({ "claims": inner }))
    });
    m.malformed("depth 17 of maps", "17 maps, one in another", with(maps(17)), "too_deep");
    let tags = |levels: usize| [[0xd8, 42].repeat(levels), uint(7)].concat();
    m.accepted(
        "depth 16 of tags",
        "16 tags, one in another",
        with(tags(16)),
        session(&json!({ "claims": 7 })),
    );
    m.malformed("depth 17 of tags", "17 tags, one in another", with(tags(17)), "too_deep");
    let key = map(&[(nested(17), uint(0))]);
    m.malformed("depth in a key", "a key 17 arrays deep", with(key), "too_deep");
}

fn floats(m: &mut Maker) {
    for (name, why, app) in [
        ("1.0 in 32 bits", "1.0 has a form of 16 bits", f32(1.0)),
        ("1.0 in 64 bits", "1.0 has a form of 16 bits", f64(1.0)),
        ("100000.0 in 64 bits", "100000.0 has a form of 32 bits", f64(100_000.0)),
        ("zero in 32 bits", "0.0 has a form of 16 bits", f32(0.0)),
        ("negative zero in 64 bits", "-0.0 has a form of 16 bits", f64(-0.0)),
        ("infinity in 32 bits", "infinity has a form of 16 bits", f32(f32::INFINITY)),
        ("infinity in 64 bits", "infinity has a form of 16 bits", f64(f64::INFINITY)),
        ("negative infinity in 64 bits", "infinity has a form of 16 bits", f64(f64::NEG_INFINITY)),
        ("smallest half in 64 bits", "2^-24 has a form of 16 bits", f64(5.960_464_477_539_063e-8)),
        ("NaN in 32 bits", "another NaN", vec![0xfa, 0x7f, 0xc0, 0, 0]),
        ("NaN in 64 bits", "another NaN", vec![0xfb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0]),
        ("NaN with payload", "another NaN", f16(0x7e01)),
        ("NaN signalling", "another NaN", f16(0x7d00)),
        ("NaN negative", "another NaN", f16(0xfe00)),
        ("NaN with payload in 64 bits", "another NaN", vec![0xfb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 1]),
    ] {
        m.malformed(name, why, with(app), "not_shortest");
    }
}

fn order(m: &mut Maker) {
    let (a, b, aa) = (text("a"), text("b"), text("aa"));
    for (name, why, app, detail) in [
        ("unsorted", "b before a", map(&[(b.clone(), uint(1)), (a.clone(), uint(2))]), "unsorted_keys"),
        (
            "sorted as text",
            "aa before b: as text, not bytewise with the length",
            map(&[(aa.clone(), uint(1)), (b.clone(), uint(2))]),
            "unsorted_keys",
        ),
        (
            "sorted by length",
            "-1 before 24: length first, as RFC 7049 had it",
            map(&[(int(-1), uint(1)), (uint(24), uint(2))]),
            "unsorted_keys",
        ),
        (
            "key twice",
            "a key twice with one value",
            map(&[(a.clone(), uint(1)), (a.clone(), uint(1))]),
            "duplicate_key",
        ),
        (
            "key twice, differing",
            "a key twice with two values",
            map(&[(a.clone(), uint(1)), (a.clone(), uint(2))]),
            "duplicate_key",
        ),
        (
            "key twice, nested",
            "a key twice in an inner map",
            array(&[map(&[(text("x"), map(&[(a.clone(), uint(1)), (a.clone(), uint(2))]))])]),
            "duplicate_key",
        ),
        (
            "unsorted, nested",
            "keys out of order in an inner map",
            map(&[(a.clone(), map(&[(b.clone(), uint(1)), (a.clone(), uint(2))]))]),
            "unsorted_keys",
        ),
        (
            "unsorted in a tag",
            "keys out of order in a tag",
            tag(42, &map(&[(b.clone(), uint(1)), (a.clone(), uint(2))])),
            "unsorted_keys",
        ),
        (
            "key twice in a key",
            "a key that is a map with a key twice",
            map(&[(map(&[(uint(0), uint(0)), (uint(0), uint(0))]), uint(0))]),
            "duplicate_key",
        ),
    ] {
        m.malformed(name, why, with(app), detail);
    }
}

fn encoding(m: &mut Maker) {
    for (name, item, width) in [
        ("number", wide(0, 7, 1), 1),
        ("number 24", wide(0, 24, 2), 2),
        ("number 255", wide(0, 255, 2), 2),
        ("number 65535", wide(0, 65535, 4), 4),
        ("number 2^32-1", wide(0, 0xffff_ffff, 8), 8),
        ("negative", wide(1, 7, 1), 1),
        ("negative -256", wide(1, 255, 4), 4),
        ("tag", cat([wide(6, 1, 1), uint(0)]), 1),
        ("array", cat([wide(4, 1, 1), uint(0)]), 1),
        ("map", cat([wide(5, 1, 2), uint(0), uint(0)]), 2),
        ("text", cat([wide(3, 1, 1), b"a".to_vec()]), 1),
        ("bytes", cat([wide(2, 1, 4), b"a".to_vec()]), 4),
    ] {
        m.malformed(
            &format!("long {name}"),
            &format!("an argument in {width} bytes that has a shorter form"),
            with(item.clone()),
            "not_shortest",
        );
        m.malformed(
            &format!("long {name}, nested"),
            &format!("an argument in {width} bytes that has a shorter form"),
            with(map(&[(text("a"), array(&[item]))])),
            "not_shortest",
        );
    }
    m.malformed(
        "long key",
        "a key that has a shorter form",
        with(map(&[(wide(0, 7, 1), uint(0))])),
        "not_shortest",
    );
    let pair = pairs_of(&[(text("a"), uint(1))]);
    for (name, app) in [
        ("array", vec![0x9f, 0xff]),
        ("map", cat([vec![0xbf], pair.clone(), vec![0xff]])),
        ("text", cat([vec![0x7f], text("a"), vec![0xff]])),
        ("bytes", chunked(b"a")),
        ("empty text", vec![0x7f, 0xff]),
        ("nested array", array(&[vec![0x9f, 0xff]])),
        ("key", map(&[(cat([vec![0x7f], text("a"), vec![0xff]]), uint(1))])),
    ] {
        m.malformed(&format!("indefinite {name}"), "an indefinite length", with(app), "indefinite_length");
    }
    for (name, why, app, detail) in [
        (
            "false in two bytes",
            "f814 is false in two bytes (RFC 8949, section 3.3)",
            vec![0xf8, 20],
            "not_well_formed",
        ),
        ("simple 0 in two bytes", "f800", vec![0xf8, 0], "not_well_formed"),
        ("simple 24", "f818 is reserved", vec![0xf8, 24], "not_well_formed"),
        ("simple 31", "f81f is reserved", vec![0xf8, 31], "not_well_formed"),
        ("reserved 28", "additional information 28", vec![0x1c], "not_well_formed"),
        ("reserved 30", "additional information 30", vec![0xfe], "not_well_formed"),
        ("break", "a break out of place", vec![0xff], "not_well_formed"),
        ("number indefinite", "a number with additional information 31", vec![0x1f], "not_well_formed"),
        ("tag indefinite", "a tag with additional information 31", vec![0xdf, 0], "not_well_formed"),
        ("text not UTF-8", "text that is not UTF-8", vec![0x61, 0xff], "not_utf8"),
        ("key not UTF-8", "a key that is not UTF-8", map(&[(vec![0x61, 0xff], uint(0))]), "not_utf8"),
        ("missing", "a label without its value", Vec::new(), "truncated"),
        ("tag of nothing", "a tag without its item", tag(1, &[]), "truncated"),
        ("array of nothing", "an array that announces an item more", vec![0x82, 0x01], "truncated"),
        ("map of nothing", "a map without its last value", vec![0xa1, 0x01], "truncated"),
        ("text short", "text that announces a byte more", vec![0x62, b'a'], "truncated"),
        ("two items", "a second item after the claims", cat([uint(1), uint(2)]), "trailing_bytes"),
        ("length bomb array", "an array of 2^64 - 1 items announced", head(4, u64::MAX), "truncated"),
        ("length bomb map", "a map of 2^64 - 1 pairs announced", head(5, u64::MAX), "truncated"),
        ("length bomb text", "text of 2^63 bytes announced", head(3, 1 << 63), "truncated"),
        (
            "length bomb nested",
            "arrays of 2^32 - 1 items announced, 15 deep",
            head(4, 0xffff_ffff).repeat(15),
            "truncated",
        ),
    ] {
        m.malformed(name, why, with(app), detail);
    }
}
