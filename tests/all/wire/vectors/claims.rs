//! The claims, each signed correctly by the test keys.

use serde_json::json;

use super::frame::chunked;
use super::{Maker, session};
use crate::support::raw::{
    NOW, Pairs, Part, array, bytes, cat, claims, f16, f64, head, int, label, map, pairs_of, tag, text, token,
    token_of, uint, wide,
};
use crate::support::test_keys::TestKey;

fn signed(claims: &Pairs) -> String {
    token(TestKey::Session, claims)
}

/// Every claim there is.
fn full() -> Pairs {
    claims()
        .with(label::ISS, text("idp"))
        .with(label::AUD, text("store"))
        .with(label::CNF, map(&[(uint(5), bytes(&[0xcf; 32]))]))
        .with(label::APP, map(&[(text("a"), uint(1))]))
        .with(label::AMR, array(&[text("pwd"), text("otp")]))
}

fn parts(change: impl FnOnce(&mut Part)) -> Pairs {
    let mut part = Part::default();
    change(&mut part);
    claims().with(label::SESSION, part.encode())
}

pub(super) fn make() -> Maker {
    let mut m = Maker::under("claims");
    types(&mut m);
    presence(&mut m);
    sizes(&mut m);
    times(&mut m);
    spellings(&mut m);
    encoding(&mut m);
    m
}

/// One value of each CBOR type.
fn types_of_cbor() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("uint", uint(NOW)),
        ("negative", int(-1)),
        ("bytes", bytes(b"alice")),
        ("text", text("alice")),
        ("array", array(&[])),
        ("map", map(&[])),
        ("tag", tag(1, &uint(NOW))),
        ("false", vec![0xf4]),
        ("true", vec![0xf5]),
        ("null", vec![0xf6]),
        ("undefined", vec![0xf7]),
        ("simple", vec![0xf8, 99]),
        ("half float", f16(0x3c00)),
        ("double float", f64(1_790_000_000.5)),
    ]
}

fn types(m: &mut Maker) {
    for (name, value) in types_of_cbor() {
        let mut try_claim = |claim: &str, right: &str, claims: &Pairs| {
            if name != right {
                m.malformed(
                    &format!("{claim} is {name}"),
                    &format!("the claim {claim} must be {right}: refused, never treated as absent"),
                    signed(claims),
                    "claim_type",
                );
            }
        };
        for (claim, label, right) in [
            ("iss", label::ISS, "text"),
            ("sub", label::SUB, "text"),
            ("aud", label::AUD, "text"),
            ("exp", label::EXP, "uint"),
            ("iat", label::IAT, "uint"),
            ("cti", label::CTI, "bytes"),
            ("cnf", label::CNF, "map"),
            ("amr", label::AMR, "array"),
            ("session", label::SESSION, "array"),
            ("path", label::PATH, "text"),
        ] {
            try_claim(claim, right, &claims().with(label, value.clone()));
        }
        try_claim("cnf thumbprint", "bytes", &claims().with(label::CNF, map(&[(uint(5), value.clone())])));
        try_claim("cnf method", "uint", &claims().with(label::CNF, map(&[(value.clone(), bytes(&[0; 32]))])));
        try_claim("sid", "bytes", &parts(|p| p.sid.clone_from(&value)));
        try_claim("started", "uint", &parts(|p| p.started.clone_from(&value)));
        try_claim("ends", "uint", &parts(|p| p.ends.clone_from(&value)));
        try_claim("generation", "uint", &parts(|p| p.generation.clone_from(&value)));
        try_claim("auth_time", "uint", &parts(|p| p.auth_time.clone_from(&value)));
    }
    for (claim, label, value) in [
        ("sub", label::SUB, text("alice")),
        ("exp", label::EXP, uint(NOW + 900)),
        ("cti", label::CTI, bytes(&[0xc7; 16])),
        ("session", label::SESSION, Part::default().encode()),
    ] {
        m.malformed(
            &format!("{claim} tagged"),
            "a tag around the right value",
            signed(&claims().with(label, tag(1, &value))),
            "claim_type",
        );
    }
    m.malformed(
        "exp as float",
        "the right value as a float",
        signed(&claims().with(label::EXP, f64(1_790_000_900.0))),
        "claim_type",
    );
    m.malformed(
        "aud array",
        "several audiences, as JWTs have",
        signed(&claims().with(label::AUD, array(&[text("store")]))),
        "claim_type",
    );
    m.malformed(
        "exp as text",
        "the right value as text",
        signed(&claims().with(label::EXP, text("1790000900"))),
        "claim_type",
    );
}

fn presence(m: &mut Maker) {
    for (claim, label) in [
        ("sub", label::SUB),
        ("exp", label::EXP),
        ("iat", label::IAT),
        ("cti", label::CTI),
        ("session", label::SESSION),
    ] {
        m.malformed(
            &format!("{claim} missing"),
            &format!("no {claim}"),
            signed(&claims().without(label)),
            "missing_claim",
        );
    }
    m.malformed("no claims", "an empty map", token_of(&[0xa0]), "missing_claim");
    let mut unknown = |name: &str, why: &str, label: Vec<u8>, value: Vec<u8>| {
        let mut pairs = claims();
        let at = pairs.0.partition_point(|(other, _)| *other < label);
        pairs.0.insert(at, (label, value));
        m.malformed(name, why, signed(&pairs), "unknown_claim");
    };
    unknown("nbf", "nbf: iat is the not-before", uint(5), uint(NOW));
    unknown("label 0", "the reserved label 0", uint(0), uint(0));
    unknown("label 9", "scope (RFC 9200)", uint(9), text("admin"));
    unknown("label 40", "an unknown label", uint(40), uint(0));
    unknown("label -1", "an unknown label", int(-1), uint(0));
    unknown("label -65536", "the label before the session's", int(-65536), uint(0));
    unknown("label -65544", "a label after the last", int(-65544), uint(0));
    unknown("label 65536", "the session's label with the wrong sign", int(65536), uint(0));
    unknown("label 2^64-1", "the largest label", uint(u64::MAX), uint(0));
    unknown("label -2^64", "the smallest label", head(1, u64::MAX), uint(0));
    unknown("label text", "a label that is text", text("sub"), text("admin"));
    unknown("label bytes", "a label that is a byte string", bytes(&[2]), text("admin"));
    unknown("label array", "a label that is an array", vec![0x80], uint(0));
    unknown("label true", "a label that is true", vec![0xf5], uint(0));
    unknown("path in a session token", "path belongs to tickets", int(label::PATH), text("/download"));
    m.malformed(
        "label float",
        "a label that is a float",
        signed(&claims().then(f16(0x3c00), uint(0))),
        "claim_type",
    );
    m.malformed(
        "label tag",
        "a label in a tag",
        signed(&claims().then(tag(1, &uint(2)), uint(0))),
        "claim_type",
    );

    for at in 0..full().0.len() {
        let mut pairs = full();
        pairs.0.insert(at, pairs.0[at].clone());
        m.malformed(&format!("twice {at}"), "a claim twice", signed(&pairs), "duplicate_key");
        if at > 0 {
            let mut pairs = full();
            pairs.0.swap(at - 1, at);
            m.malformed(
                &format!("unsorted {at}"),
                "two claims out of order",
                signed(&pairs),
                "unsorted_keys",
            );
        }
    }
    m.malformed(
        "sub twice, differing",
        "two subjects",
        signed(&{
            let mut pairs = claims();
            pairs.0.insert(1, (uint(2), text("admin")));
            pairs
        }),
        "duplicate_key",
    );
    m.malformed(
        "sub again at the end",
        "a claim a second time, out of order",
        signed(&claims().then(uint(2), text("admin"))),
        "unsorted_keys",
    );
}

fn sizes(m: &mut Maker) {
    let sub = |text_: &str| signed(&claims().with(label::SUB, text(text_)));
    m.malformed("sub empty", "an empty subject", sub(""), "claim_range");
    m.accepted(
        "sub with a byte order mark",
        "U+FEFF is a character like any other",
        sub("\u{feff}alice"),
        session(&json!({ "subject": "\u{feff}alice" })),
    );
    m.malformed("sub of 256", "a subject of 256 bytes", sub(&"a".repeat(256)), "claim_range");
    m.malformed(
        "sub of 256 in 128 characters",
        "the limit is of bytes",
        sub(&"é".repeat(128)),
        "claim_range",
    );
    for subject in ["a".to_owned(), "a".repeat(255), "阿里斯".to_owned(), "a b".to_owned()] {
        m.accepted(
            &format!("sub of {}", subject.len()),
            "a subject of 1 to 255 bytes",
            sub(&subject),
            session(&json!({ "subject": subject })),
        );
    }
    for (name, bytes) in [
        ("lone continuation", &[0x80][..]),
        ("unfinished", &[0xc3]),
        ("overlong", &[0xc0, 0x80]),
        ("surrogate", &[0xed, 0xa0, 0x80]),
        ("too large", &[0xf4, 0x90, 0x80, 0x80]),
        ("latin-1", &[b'a', 0xe9]),
    ] {
        let subject = cat([head(3, bytes.len() as u64), bytes.to_vec()]);
        m.malformed(
            &format!("sub not UTF-8: {name}"),
            "text that is not UTF-8",
            signed(&claims().with(label::SUB, subject)),
            "not_utf8",
        );
    }
    for length in [0, 15, 17, 32] {
        m.malformed(
            &format!("cti of {length}"),
            "a cti that is not 16 bytes",
            signed(&claims().with(label::CTI, bytes(&vec![7; length]))),
            "claim_range",
        );
        m.malformed(
            &format!("sid of {length}"),
            "a sid that is not 16 bytes",
            signed(&parts(|p| p.sid = bytes(&vec![7; length]))),
            "claim_range",
        );
    }
    for length in [0, 8, 31, 33] {
        let cnf = map(&[(uint(5), bytes(&vec![7; length]))]);
        m.malformed(
            &format!("cnf of {length}"),
            "a thumbprint that is not 32 bytes",
            signed(&claims().with(label::CNF, cnf)),
            "claim_range",
        );
    }
    let key = map(&[(int(1), int(1)), (int(-1), int(6)), (int(-2), bytes(&TestKey::Session.public()))]);
    for (name, why, cnf) in [
        ("cnf key", "a whole key (RFC 8747, section 3.2)", map(&[(uint(1), key)])),
        ("cnf kid", "a kid (RFC 8747, section 3.4)", map(&[(uint(3), bytes(&[0; 8]))])),
        ("cnf empty", "an empty confirmation", map(&[])),
        ("cnf two", "two confirmations", map(&[(uint(5), bytes(&[0; 32])), (uint(6), bytes(&[0; 32]))])),
    ] {
        m.malformed(name, why, signed(&claims().with(label::CNF, cnf)), "claim_range");
    }
    let items = Part::default().items();
    for length in [0, 1, 4, 6] {
        let items: Vec<_> = items.iter().cloned().cycle().take(length).collect();
        m.malformed(
            &format!("session of {length}"),
            "a session claim that has not exactly five parts",
            signed(&claims().with(label::SESSION, array(&items))),
            "claim_range",
        );
    }
    let longest = "m".repeat(32);
    let methods = |methods: &[&str]| array(&methods.iter().map(|method| text(method)).collect::<Vec<_>>());
    for (name, why, amr) in [
        ("amr empty", "no method; then the claim is left out", methods(&[])),
        ("amr of nine", "more than eight methods", methods(&["m"; 9])),
        ("amr without a name", "a method of no characters", methods(&["pwd", ""])),
        ("amr of 33 characters", "a method of more than 32 characters", methods(&[&format!("{longest}m")])),
        ("amr with a space", "a method with a space", methods(&["a b"])),
        ("amr outside ASCII", "a method outside ASCII", methods(&["\u{fc}"])),
    ] {
        m.malformed(name, why, signed(&claims().with(label::AMR, amr)), "claim_range");
    }
    for (name, why, amr) in [
        ("amr", "two methods", &["pwd", "otp"][..]),
        ("amr longest", "eight methods of 32 characters", &[&*longest; 8]),
        ("amr twice", "a method twice", &["pwd", "pwd"]),
    ] {
        let token = signed(&claims().with(label::AMR, methods(amr)));
        m.accepted(name, why, token, session(&json!({ "amr": amr })));
    }
    m.accepted(
        "generation largest",
        "any unsigned number is a generation",
        signed(&parts(|p| p.generation = uint(u64::MAX))),
        session(&json!({ "generation": u64::MAX })),
    );
}

/// 9999-12-31T23:59:59Z, the last time that RFC 3339 can write.
const LAST: u64 = 253_402_300_799;

fn times(m: &mut Maker) {
    let ends = NOW - 3600 + 43_200;
    for (name, why, claims) in [
        ("started after iat", "started is after iat", parts(|p| p.started = uint(NOW + 1))),
        ("auth_time after iat", "auth_time is after iat", parts(|p| p.auth_time = uint(NOW + 1))),
        ("exp is iat", "no second to live", claims().with(label::EXP, uint(NOW))),
        ("exp before iat", "over before it starts", claims().with(label::EXP, uint(NOW - 1))),
        ("exp zero", "exp 0", claims().with(label::EXP, uint(0))),
        ("exp after ends", "exp a second past the session's end", claims().with(label::EXP, uint(ends + 1))),
        ("ends before exp", "the session ends before the token", parts(|p| p.ends = uint(NOW + 899))),
        (
            "ends before iat",
            "the session ended before the token was issued",
            parts(|p| p.ends = uint(NOW - 1)),
        ),
        ("ends zero", "ends 0", parts(|p| p.ends = uint(0))),
        ("iat zero", "iat 0 is before started", claims().with(label::IAT, uint(0))),
    ] {
        m.malformed(name, why, signed(&claims), "times_out_of_order");
    }
    for (name, time) in [("10000", LAST + 1), ("2^63", 1 << 63), ("2^64-1", u64::MAX)] {
        for (claim, claims) in [
            ("exp", claims().with(label::EXP, uint(time))),
            ("iat", claims().with(label::IAT, uint(time))),
            ("started", parts(|p| p.started = uint(time))),
            ("ends", parts(|p| p.ends = uint(time))),
            ("auth_time", parts(|p| p.auth_time = uint(time))),
        ] {
            m.malformed(
                &format!("{claim} {name}"),
                "a time after the year 9999",
                signed(&claims),
                "claim_range",
            );
        }
    }
    m.accepted(
        "times touch",
        "started = auth_time = iat and exp = ends",
        signed(
            &parts(|p| {
                p.started = uint(NOW);
                p.auth_time = uint(NOW);
                p.ends = uint(NOW + 900);
            })
            .with(label::EXP, uint(NOW + 900)),
        ),
        session(&json!({
            "started_at": "2026-09-21T14:13:20Z",
            "auth_time": "2026-09-21T14:13:20Z",
            "ends_at": "2026-09-21T14:28:20Z",
        })),
    );
    m.accepted(
        "ends last",
        "a session to the end of the year 9999",
        signed(&parts(|p| p.ends = uint(LAST))),
        session(&json!({ "ends_at": "9999-12-31T23:59:59Z" })),
    );
    m.accepted(
        "times zero",
        "started and auth_time at 1970",
        signed(&parts(|p| {
            p.started = uint(0);
            p.auth_time = uint(0);
        })),
        session(&json!({ "started_at": "1970-01-01T00:00:00Z", "auth_time": "1970-01-01T00:00:00Z" })),
    );
    m.accepted(
        "auth_time before started",
        "a session that took over an older log-in",
        signed(&parts(|p| p.auth_time = uint(NOW - 7200))),
        session(&json!({ "auth_time": "2026-09-21T12:13:20Z" })),
    );
}

/// The right values in longer spellings.
fn spellings(m: &mut Maker) {
    let mut longer = |name: String, claims: &Pairs| {
        m.malformed(&name, "a number or length that has a shorter form", signed(claims), "not_shortest");
    };
    for (claim, label, value) in [("exp", label::EXP, NOW + 900), ("iat", label::IAT, NOW)] {
        longer(format!("{claim} in nine bytes"), &full().with(label, wide(0, value, 8)));
    }
    for claim in [label::ISS, label::SUB, label::AUD, label::EXP, label::IAT, label::CTI, label::CNF] {
        for width in [1, 2, 8] {
            let label = wide(0, claim.cast_unsigned(), width);
            longer(format!("label {claim} in {width}"), &full().spelling(claim, label));
        }
    }
    for claim in [label::SESSION, label::APP] {
        let label = wide(1, (!claim).cast_unsigned(), 8);
        longer(format!("label {claim} in 8"), &full().spelling(claim, label));
    }
    for (claim, label, major, content) in [
        ("iss", label::ISS, 3, &b"idp"[..]),
        ("sub", label::SUB, 3, b"alice"),
        ("aud", label::AUD, 3, b"store"),
        ("cti", label::CTI, 2, &[0xc7; 16]),
    ] {
        for width in [1, 2, 4, 8] {
            let value = cat([wide(major, content.len() as u64, width), content.to_vec()]);
            longer(format!("{claim} length in {width}"), &full().with(label, value));
        }
    }
    let thumbprint = bytes(&[0xcf; 32]);
    for (name, cnf) in [
        ("cnf length", cat([wide(5, 1, 1), uint(5), thumbprint.clone()])),
        ("cnf method", cat([head(5, 1), wide(0, 5, 1), thumbprint])),
        ("cnf thumbprint", cat([head(5, 1), uint(5), wide(2, 32, 2), vec![0xcf; 32]])),
    ] {
        longer(name.to_owned(), &full().with(label::CNF, cnf));
    }
    let items = Part::default().items().concat();
    longer("session length".to_owned(), &full().with(label::SESSION, cat([wide(4, 5, 1), items])));
    for (name, claims) in [
        ("sid", parts(|p| p.sid = cat([wide(2, 16, 1), vec![0x51; 16]]))),
        ("started", parts(|p| p.started = wide(0, NOW - 3600, 8))),
        ("ends", parts(|p| p.ends = wide(0, NOW - 3600 + 43_200, 8))),
        ("generation", parts(|p| p.generation = wide(0, 4, 1))),
        ("generation zero", parts(|p| p.generation = wide(0, 0, 8))),
        ("auth_time", parts(|p| p.auth_time = wide(0, NOW - 3600, 8))),
    ] {
        longer(format!("{name} in more bytes"), &claims);
    }

    let part = Part::default().items().concat();
    for (name, claims) in [
        ("sub", claims().with(label::SUB, cat([vec![0x7f], text("alice"), vec![0xff]]))),
        ("cti", claims().with(label::CTI, chunked(&[0xc7; 16]))),
        ("cnf", claims().with(label::CNF, cat([vec![0xbf], uint(5), bytes(&[0xcf; 32]), vec![0xff]]))),
        ("cnf thumbprint", claims().with(label::CNF, cat([head(5, 1), uint(5), chunked(&[0xcf; 32])]))),
        ("session", claims().with(label::SESSION, cat([vec![0x9f], part, vec![0xff]]))),
        ("sid", parts(|p| p.sid = chunked(&[0x51; 16]))),
    ] {
        m.malformed(
            &format!("{name} indefinite"),
            "an indefinite length",
            signed(&claims),
            "indefinite_length",
        );
    }
}

fn encoding(m: &mut Maker) {
    let pairs = claims().0;
    let (body, length) = (pairs_of(&pairs), pairs.len() as u64);
    for (name, why, payload, detail) in [
        (
            "map length",
            "the number of claims has a shorter form",
            cat([wide(5, length, 1), body.clone()]),
            "not_shortest",
        ),
        (
            "map indefinite",
            "a map of indefinite length",
            cat([vec![0xbf], body.clone(), vec![0xff]]),
            "indefinite_length",
        ),
        (
            "map longer",
            "a map that announces a claim more",
            cat([head(5, length + 1), body.clone()]),
            "truncated",
        ),
        (
            "map shorter",
            "a map that announces a claim less",
            cat([head(5, length - 1), body.clone()]),
            "trailing_bytes",
        ),
        ("trailing zero", "a byte after the claims", cat([claims().encode(), vec![0]]), "trailing_bytes"),
        (
            "trailing map",
            "second claims after the claims",
            cat([claims().encode(), vec![0xa0]]),
            "trailing_bytes",
        ),
        ("array", "an array in the place of the map", array(&[text("alice")]), "claims_not_map"),
        ("bytes", "the claims in two byte strings", bytes(&claims().encode()), "claims_not_map"),
        ("text", "JSON text in the place of the map", text(r#"{"sub":"alice"}"#), "claims_not_map"),
        ("null", "null in the place of the map", vec![0xf6], "claims_not_map"),
        ("tagged", "a tag around the map", tag(61, &claims().encode()), "claims_not_map"),
        ("JSON", "JSON in the place of CBOR", br#"{"sub":"alice"}"#.to_vec(), "claims_not_map"),
        ("garbage", "no CBOR", vec![0xff; 40], "not_well_formed"),
    ] {
        m.malformed(name, why, token_of(&payload), detail);
    }
    let whole = claims().encode();
    for length in [1, 8, 20, 50, whole.len() - 1] {
        m.malformed(
            &format!("first {length} bytes"),
            "the claims end too early",
            token_of(&whole[..length]),
            "truncated",
        );
    }
}
