//! What a token looks like from outside: size, text, what is inside, and what
//! other people's CWTs are told.

use hallpass::{Reason, Rejection, Session, UnixTime, UnverifiedToken, Verifier, danger};
use serde_json::json;

use crate::support::raw::{
    self, Frame, NOW, base64url, bytes, claims, header, label, map, text, token, uint,
};
use crate::support::test_keys::TestKey;

fn now() -> UnixTime {
    UnixTime::from_secs(NOW + 10).unwrap()
}

fn verify<C>(token: &str) -> Result<Session<C>, Rejection> {
    Verifier::builder(TestKey::key_set()).without_revocations().build().unwrap().verify(token, now())
}

fn unhex(text: &str) -> Vec<u8> {
    hex::decode(text.replace(char::is_whitespace, "")).unwrap()
}

/// RFC 8392 appendix A.1: the claims of all its examples.
const RFC_8392_CLAIMS: &str =
    "a70175636f61703a2f2f61732e6578616d706c652e636f6d02656572696b77037818636f61703a2f2f6c696768
    742e6578616d706c652e636f6d041a5612aeb0051a5610d9f0061a5610d9f007420b71";

/// CWTs that are good elsewhere and not of this format.
#[test]
fn rfc_8392_examples_are_refused_for_what_they_are() {
    let a_3 = format!(
        "d28443a10126a104524173796d6d657472696345434453413235365850 {RFC_8392_CLAIMS} 5840
         5427c1ff28d23fbad1f29c4c7c6a555e601d6fa29f9179bc3d7438bacaca5acd08c8d4d4f96131680c429a01f85951ec
         ee743a52b9b63632c57209120e1c9e30"
    );
    let a_4 =
        format!("d83dd18443a10104a1044c53796d6d65747269633235365850 {RFC_8392_CLAIMS} 48093101ef6d789200");
    let a_7 = "d18443a10104a1044c53796d6d65747269633235364ba106fb41d584367c20000048b8816f34c0542892";
    for (name, example, detail) in [
        ("A.3, signed with the kid unprotected", a_3.as_str(), "unprotected"),
        ("A.4, a MAC in tag 61", &a_4, "not_sign1"),
        ("A.7, a MAC", a_7, "not_sign1"),
    ] {
        let Err(Rejection::Malformed { detail: found }) = UnverifiedToken::decode(base64url(&unhex(example)))
        else {
            panic!("{name} was accepted")
        };
        assert_eq!(found.name(), detail, "{name}");
    }
    // The same claims in our frame, signed by a trusted key.
    for (name, claims, detail) in [
        ("A.1 has an nbf", unhex(RFC_8392_CLAIMS), "unknown_claim"),
        ("A.7 has a float for iat", unhex("a106fb41d584367c200000"), "claim_type"),
    ] {
        let Err(Rejection::Malformed { detail: found }) = verify::<()>(&raw::token_of(&claims)) else {
            panic!("{name} was accepted")
        };
        assert_eq!(found.name(), detail, "{name}");
    }
}

/// Design: at most 230 characters with a five-letter subject and audience.
#[cfg(feature = "issuer")]
#[test]
fn a_token_is_small() {
    use hallpass::{Algorithm, KeyUse, Lifetimes, Minter, NewSession, SigningKey, Subject};
    let subject = Subject::new("alice").unwrap();
    for algorithm in [Algorithm::EdDsa, Algorithm::Ed25519] {
        let key = SigningKey::generate(KeyUse::Session, algorithm).unwrap();
        let minter = Minter::new(Lifetimes::default()).audience(Some("store".into()));
        let new = NewSession {
            subject: &subject,
            claims: &(),
            started: now(),
            auth_time: now(),
            ends: None,
            amr: &[],
            bound_to: None,
        };
        let issued = minter.start(&key, &new, now()).unwrap();
        let length = issued.as_str().len();
        assert!(length <= 230, "{length}");
        // Nor do renewals make it longer than that, up to the generation 65535.
        let longest = claims()
            .with(label::AUD, text("store"))
            .with(label::SESSION, raw::Part { generation: uint(65_535), ..raw::Part::default() }.encode());
        let renewed = token(TestKey::Session, &longest).len();
        assert!(renewed <= 232, "{renewed}");
    }
}

#[test]
fn inspecting_shows_what_is_inside_and_that_nobody_verified_it() {
    let app = map(&[
        (text("a\"b"), raw::f64(1.1)),
        (text("inf"), raw::array(&[raw::f16(0x7c00), raw::f16(0xfc00), raw::f16(0x7e00)])),
        (text("simple"), raw::array(&[vec![0xf4], vec![0xf5], vec![0xf6], vec![0xf7], vec![0xf8, 99]])),
        (text("tagged"), raw::tag(1, &raw::int(-7))),
    ]);
    let claims = claims()
        .with(label::ISS, text("idp"))
        .with(label::AUD, text("store"))
        .with(label::CNF, map(&[(uint(5), bytes(&[0xcf; 32]))]))
        .with(label::APP, app);
    let mut frame = Frame::new(&header(TestKey::Session).encode(), &claims.encode());
    frame.signature_item = Some(bytes(&[0xee; 64]));
    let inspection = danger::inspect(frame.token(TestKey::Session)).unwrap();
    let (cf, ee) = ("cf".repeat(32), "ee".repeat(64));
    assert_eq!(
        inspection.diagnostic,
        format!(
            "18([<< {{1: -8, 4: h'3b2644f6c2776f5a', 16: 61}} >>, {{}}, << {{1: \"idp\", 2: \"alice\", 3: \"store\", \
             4: 1790000900, 6: 1790000000, 7: h'c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7', 8: {{5: h'{cf}'}}, \
             -65537: [h'51515151515151515151515151515151', 1789996400, 1790039600, 4, 1789996400], \
             -65538: {{\"a\\\"b\": 1.1, \"inf\": [Infinity, -Infinity, NaN], \"simple\": \
             [false, true, null, undefined, simple(99)], \"tagged\": 1(-7)}}}} >>, h'{ee}'])"
        )
    );
    let json = &inspection.json;
    assert_eq!(json["verified"], json!(false));
    assert_eq!(json["type"], json!("application/cwt"));
    assert_eq!(json["algorithm"], json!("EdDSA"));
    assert_eq!(json["key_id"], json!("3b2644f6c2776f5a"));
    assert_eq!(json["issuer"], json!("idp"));
    assert_eq!(json["bound_to"], json!(cf));
    assert_eq!(json["session"]["expires_at"], json!("2026-09-21T14:28:20Z"));
}

#[test]
fn tickets_are_inspected_and_other_artefacts_are_not() {
    let ticket = claims().with(label::AUD, text("store")).with(label::PATH, text("/file"));
    let of = |typ: Vec<u8>, claims: &raw::Pairs| {
        danger::inspect(
            Frame::new(&header(TestKey::Session).with(16, typ).encode(), &claims.encode())
                .token(TestKey::Session),
        )
    };
    let inspection = of(text("application/hallpass-ticket"), &ticket).unwrap();
    assert_eq!(inspection.json["path"], json!("/file"));
    assert_eq!(inspection.json["type"], json!("application/hallpass-ticket"));
    // aud is required in a ticket, and path stands nowhere else.
    let without = of(text("application/hallpass-ticket"), &ticket.clone().without(label::AUD)).unwrap_err();
    assert!(matches!(without, Rejection::Malformed { detail } if detail.name() == "missing_claim"));
    let session = of(uint(61), &ticket).unwrap_err();
    assert!(matches!(session, Rejection::Malformed { detail } if detail.name() == "unknown_claim"));
    for typ in [text("application/hallpass-feed"), text("x"), uint(60)] {
        assert_eq!(of(typ, &ticket).unwrap_err().reason(), Reason::WrongType);
    }
}

/// What is printed by `{:?}` ends up in logs.
#[test]
fn debug_output_names_nobody_and_shows_no_token() {
    let token = token(TestKey::Session, &claims());
    let unverified = UnverifiedToken::decode(&token).unwrap();
    let verified = unverified.verify(&TestKey::key_set(), now()).unwrap();
    let session: Session = verify(&token).unwrap();
    let shown = format!("{unverified:?} {verified:?} {session:?} {session:#?}");
    for secret in ["alice", "5151", "c7c7", &token[..20], &token[token.len() - 20..]] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert!(shown.contains(&session.id().short_hash()), "{shown}");
}

#[test]
fn application_claims_are_decoded_when_asked_for() {
    use hallpass::ClaimsError;
    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Cart {
        items: Vec<u32>,
        note: Option<String>,
    }
    let cart = map(&[(text("note"), vec![0xf6]), (text("items"), raw::array(&[uint(1), uint(2)]))]);
    let session = verify::<Cart>(&token(TestKey::Session, &claims().with(label::APP, cart.clone()))).unwrap();
    assert_eq!(session.claims().unwrap(), Cart { items: vec![1, 2], note: None });
    // Another idea of what the claims are is an error, not a default.
    assert!(matches!(session.with_claims::<Vec<u8>>().claims(), Err(ClaimsError::Shape(_))));
    let none = verify::<Cart>(&token(TestKey::Session, &claims())).unwrap();
    assert!(matches!(none.claims(), Err(ClaimsError::Absent)));
}

/// Design §5: the session in JSON, names and order.
#[test]
fn a_session_in_json() {
    let session: Session = verify(&token(TestKey::Session, &claims())).unwrap();
    assert_eq!(
        serde_json::to_string(&session).unwrap(),
        r#"{"subject":"alice","session_id":"51515151515151515151515151515151","token_id":"c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7","audience":null,"issued_at":"2026-09-21T14:13:20Z","expires_at":"2026-09-21T14:28:20Z","started_at":"2026-09-21T13:13:20Z","ends_at":"2026-09-22T01:13:20Z","auth_time":"2026-09-21T13:13:20Z","amr":[],"generation":4,"claims":null}"#
    );
}

/// The refusal in JSON, as scripts get it.
#[test]
fn a_rejection_in_json() {
    let in_json = |token: &str| serde_json::to_value(verify::<()>(token).unwrap_err()).unwrap();
    assert_eq!(in_json(""), json!({ "reason": "malformed", "detail": "empty" }));
    assert_eq!(
        in_json(&token(TestKey::Feed, &claims())),
        json!({ "reason": "unknown_key", "key_id": "6e38b80edd01dd28" })
    );
    assert_eq!(
        in_json(&token(TestKey::Session, &claims().with(label::AUD, text("x")))),
        json!({ "reason": "wrong_audience", "expected": null, "found": "x" })
    );
}

/// Every reason has a name of its own, in the order of the checks.
#[test]
fn reasons_are_named_and_ordered() {
    let names: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(
        names,
        [
            "malformed",
            "wrong_type",
            "unknown_key",
            "bad_signature",
            "wrong_issuer",
            "wrong_audience",
            "not_yet_valid",
            "session_ended",
            "expired",
            "revocations_stale",
            "revoked",
            "reauthentication_required",
            "proof_required",
            "replayed",
            "capacity"
        ]
    );
    assert!(Reason::ALL.is_sorted());
    for &reason in Reason::ALL {
        assert_eq!(serde_json::to_value(reason).unwrap(), json!(reason.as_str()));
        assert_eq!(reason.to_string(), reason.as_str());
    }
}
