//! Proofs of possession: each check of RFC 9449 §4.3 broken alone, replays,
//! other edges, and clients that nobody here wrote.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hallpass::proof::{MAX_PROOF_CHARS, ProofError, ServerNonces, wants_nonce};
use hallpass::replay::{NonceSettings, Purpose};
use hallpass::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::proof_client::*;

const BASE: u64 = 1_800_000_000;
const URI: &str = "https://shop.example/orders";

fn at(seconds: u64) -> UnixTime {
    UnixTime::from_secs(BASE + seconds).unwrap()
}

/// An issuer, and a client with a session bound to its key.
struct World {
    client: Client,
    verifier: Verifier,
    token: IssuedToken,
}

impl World {
    fn new(client: Client) -> Self {
        let key = SigningKey::from_seed(&[7; 32], KeyUse::Session, Algorithm::EdDsa).unwrap();
        let verifier = Verifier::builder(KeySet::new([key.verifying_key().clone()]).unwrap())
            .audience("shop")
            .without_revocations()
            .build()
            .unwrap();
        let token = bound_token(client.thumbprint(), at(0));
        Self { client, verifier, token }
    }

    fn claims(&self, now: u64) -> Value {
        json!({
            "jti": "-BwC3ESc6acc2lTc",
            "htm": "POST",
            "htu": URI,
            "iat": BASE + now,
            "ath": b64(Sha256::digest(self.token.as_str())),
        })
    }

    fn check(&self, proofs: &ProofVerifier, dpop: &[&str], now: u64) -> Result<(), ProofError> {
        let dpop: Vec<_> = dpop.iter().map(|header| header.as_bytes()).collect();
        let request = ProofRequest { dpop: &dpop, method: "POST", uri: URI };
        let session = self.token.session();
        proofs.check(&request, self.token.as_str(), session.id(), session.bound_to().unwrap(), at(now))
    }

    /// The verdict on a proof with these claims, made and presented at 20.
    fn verdict(&self, header: &Value, claims: &Value) -> Result<(), ProofError> {
        let proof = self.client.sign(&header.to_string(), &claims.to_string());
        self.check(&proofs(), &[&proof], 20)
    }
}

fn bound_token(thumbprint: [u8; 32], now: UnixTime) -> IssuedToken {
    let key = SigningKey::from_seed(&[7; 32], KeyUse::Session, Algorithm::EdDsa).unwrap();
    let subject = Subject::new("alice").unwrap();
    let new = NewSession {
        subject: &subject,
        claims: &(),
        started: now,
        auth_time: now,
        ends: None,
        amr: &[],
        bound_to: Some(thumbprint),
    };
    let minter = Minter::new(Lifetimes::default()).audience(Some("shop".into()));
    minter.start(&key, &new, now).unwrap()
}

fn proofs() -> ProofVerifier {
    ProofVerifier::without_server_nonces(NonceCache::new(at(0)))
}

/// `value` with `member` set; removed if it is null.
fn with(value: &Value, member: &str, new: impl Into<Value>) -> Value {
    let mut changed = value.clone();
    let members = changed.as_object_mut().unwrap();
    match new.into() {
        Value::Null => drop(members.remove(member)),
        new => drop(members.insert(member.to_owned(), new)),
    }
    changed
}

fn both() -> [World; 2] {
    [World::new(Client::p256(1)), World::new(Client::ed25519(1))]
}

#[test]
fn a_good_proof_is_accepted_once() {
    for world in both() {
        let proof = world.client.sign(&world.client.header().to_string(), &world.claims(20).to_string());
        let proofs = proofs();
        assert_eq!(world.check(&proofs, &[&proof], 20), Ok(()));
        assert_eq!(world.check(&proofs, &[&proof], 20), Err(ProofError::Replayed));
        // As long as it could be accepted, which is 60 s of age and 5 of leeway.
        assert_eq!(world.check(&proofs, &[&proof], 84), Err(ProofError::Replayed));
        assert_eq!(world.check(&proofs, &[&proof], 85), Err(ProofError::TooOld));
        // Signed anew, with the same jti: used.
        let again = world.client.sign(&world.client.header().to_string(), &world.claims(21).to_string());
        assert_eq!(world.check(&proofs, &[&again], 21), Err(ProofError::Replayed));
    }
}

#[test]
fn check_1_one_header() {
    for world in both() {
        let proof = world.client.sign(&world.client.header().to_string(), &world.claims(20).to_string());
        assert_eq!(world.check(&proofs(), &[], 20), Err(ProofError::Missing));
        assert_eq!(world.check(&proofs(), &[&proof, &proof], 20), Err(ProofError::TwoHeaders));
        assert_eq!(world.check(&proofs(), &[&proof, ""], 20), Err(ProofError::TwoHeaders));
        // Two headers that a proxy has joined.
        let joined = format!("{proof}, {proof}");
        assert_eq!(world.check(&proofs(), &[&joined], 20), Err(ProofError::NotJwt));
    }
}

#[test]
fn check_2_a_well_formed_jwt() {
    for world in both() {
        let header = world.client.header().to_string();
        let claims = world.claims(20).to_string();
        let good = world.client.sign(&header, &claims);
        let (signed, signature) = good.rsplit_once('.').unwrap();
        for bad in [
            String::new(),
            ".".to_owned(),
            "..".to_owned(),
            signed.to_owned(),
            format!("{good}."),
            format!(".{good}"),
            format!(" {good}"),
            format!("{good}="),
            format!("{signed}.{signature}\n"),
            // Not an object; not JSON; a member twice; something after.
            world.client.sign("[]", &claims),
            world.client.sign(&header[1..], &claims),
            world.client.sign(&format!("{{\"alg\":\"none\",{}", &header[1..]), &claims),
            world.client.sign(&header, "\"claims\""),
            world.client.sign(&header, &format!("{{\"htm\":\"GET\",{}", &claims[1..])),
            world.client.sign(&header, &format!("{claims}{claims}")),
            // A member twice inside the key.
            world.client.sign(&header.replace("{\"crv\"", "{\"crv\":\"P-256\",\"crv\""), &claims),
            // What is critical is not understood (RFC 7515 §4.1.11).
            world.client.sign(&format!("{{\"crit\":[\"b64\"],\"b64\":false,{}", &header[1..]), &claims),
        ] {
            assert_eq!(world.check(&proofs(), &[&bad], 20), Err(ProofError::NotJwt), "{bad}");
        }
        let (longest, longer) = ("a".repeat(MAX_PROOF_CHARS), "a".repeat(MAX_PROOF_CHARS + 1));
        assert_eq!(world.check(&proofs(), &[&longest], 20), Err(ProofError::NotJwt), "looked at");
        assert_eq!(world.check(&proofs(), &[&longer], 20), Err(ProofError::TooLong));
        let long = world.client.sign(&header, &with(&world.claims(20), "x", "y".repeat(4000)).to_string());
        assert_eq!(world.check(&proofs(), &[&long], 20), Err(ProofError::TooLong));
    }
}

#[test]
fn check_3_every_claim() {
    for world in both() {
        let (header, claims) = (world.client.header(), world.claims(20));
        for claim in ["jti", "htm", "htu", "iat", "ath"] {
            let refused = world.verdict(&header, &with(&claims, claim, Value::Null));
            assert_eq!(refused, Err(ProofError::MissingClaim), "{claim}");
            for wrong in [json!(true), json!([1]), json!({}), json!({ "a": 1 })] {
                let refused = world.verdict(&header, &with(&claims, claim, wrong));
                assert_eq!(refused, Err(ProofError::ClaimType), "{claim}");
            }
            let mut null = claims.clone();
            null[claim] = Value::Null;
            assert_eq!(world.verdict(&header, &null), Err(ProofError::ClaimType), "{claim}: null");
        }
        for claim in ["jti", "htm", "htu", "ath", "nonce"] {
            let refused = world.verdict(&header, &with(&claims, claim, 1));
            assert_eq!(refused, Err(ProofError::ClaimType), "{claim}");
        }
        for iat in [json!((BASE + 20).to_string()), json!(-1), json!(1e300), json!(u64::MAX)] {
            let refused = world.verdict(&header, &with(&claims, "iat", iat));
            assert_eq!(refused, Err(ProofError::ClaimType));
        }
        for jti in [String::new(), "j".repeat(257)] {
            assert_eq!(world.verdict(&header, &with(&claims, "jti", jti)), Err(ProofError::ClaimType));
        }
        assert_eq!(world.verdict(&header, &with(&claims, "jti", "j".repeat(256))), Ok(()));
        // Unknown claims are ignored; fractions of a second are dropped.
        assert_eq!(world.verdict(&header, &with(&claims, "x", json!({ "y": 1 }))), Ok(()));
        assert_eq!(world.verdict(&header, &with(&claims, "iat", json!(1_800_000_020.9))), Ok(()));
    }
}

#[test]
fn check_4_the_type() {
    for world in both() {
        let header = world.client.header();
        for typ in [json!("JWT"), json!("DPoP+JWT"), json!("application/dpop+jwt"), json!(61), Value::Null] {
            let refused = world.verdict(&with(&header, "typ", typ), &world.claims(20));
            assert_eq!(refused, Err(ProofError::Type));
        }
    }
}

#[test]
fn check_5_the_algorithm() {
    for world in both() {
        let header = world.client.header();
        for alg in [
            json!("none"),
            json!("HS256"),
            json!("RS256"),
            json!("PS256"),
            json!("ES384"),
            json!("ES256K"),
            json!("es256"),
            json!("Ed448"),
            json!(-8),
            Value::Null,
        ] {
            let refused = world.verdict(&with(&header, "alg", alg), &world.claims(20));
            assert_eq!(refused, Err(ProofError::Algorithm));
        }
    }
    // Another name of the same (RFC 9864), and the other one's.
    let [p256, ed25519] = both();
    let named = |world: &World, alg: &str| {
        world.verdict(&with(&world.client.header(), "alg", alg), &world.claims(20))
    };
    assert_eq!(named(&ed25519, "Ed25519"), Ok(()));
    assert_eq!(named(&ed25519, "ES256"), Err(ProofError::Key));
    assert_eq!(named(&p256, "EdDSA"), Err(ProofError::Key));
}

#[test]
fn check_6_the_signature() {
    for world in both() {
        let header = world.client.header();
        let good = world.client.sign(&header.to_string(), &world.claims(20).to_string());
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        for place in 0..signature.len() {
            let mut changed = signature.clone();
            changed[place] ^= 1;
            let bad = format!("{signed}.{}", b64(changed));
            assert_eq!(world.check(&proofs(), &[&bad], 20), Err(ProofError::Signature), "byte {place}");
        }
        for bad in [vec![], vec![0; 64], signature[..63].to_vec(), [&signature[..], &[0]].concat()] {
            let bad = format!("{signed}.{}", b64(bad));
            assert_eq!(world.check(&proofs(), &[&bad], 20), Err(ProofError::Signature));
        }
        // Claims that the key did not sign are not looked at.
        let other = signed.split_once('.').unwrap().0;
        let bad = format!("{other}.{}.{}", b64("{}"), b64(&signature));
        assert_eq!(world.check(&proofs(), &[&bad], 20), Err(ProofError::Signature));
        // Another key's signature, under this key's name.
        let thief = match world.client {
            Client::P256(_) => Client::p256(2),
            Client::Ed25519(_) => Client::ed25519(2),
        };
        let forged = thief.sign(&header.to_string(), &world.claims(20).to_string());
        assert_eq!(world.check(&proofs(), &[&forged], 20), Err(ProofError::Signature));
    }
}

#[test]
fn check_6_the_key() {
    for world in both() {
        let (header, jwk) = (world.client.header(), world.client.jwk());
        // No x below the field's prime; no y of a point.
        let off_the_curve = b64(match world.client {
            Client::P256(_) => [0xff; 32],
            Client::Ed25519(_) => std::array::from_fn(|at| if at == 0 { 2 } else { 0 }),
        });
        for bad in [
            Value::Null,
            json!("key"),
            with(&jwk, "kty", Value::Null),
            with(&jwk, "kty", "RSA"),
            with(&jwk, "crv", "P-384"),
            with(&jwk, "x", Value::Null),
            with(&jwk, "x", 1),
            with(&jwk, "x", ""),
            with(&jwk, "x", format!("{}=", jwk["x"].as_str().unwrap())),
            with(&jwk, "x", b64([1; 33])),
            with(&jwk, "x", off_the_curve),
        ] {
            let refused = world.verdict(&with(&header, "jwk", bad), &world.claims(20));
            assert_eq!(refused, Err(ProofError::Key));
        }
    }
    let world = World::new(Client::p256(1));
    for y in [Value::Null, json!(true), json!(b64([1; 32]))] {
        let jwk = with(&world.client.jwk(), "y", y);
        let refused = world.verdict(&with(&world.client.header(), "jwk", jwk), &world.claims(20));
        assert_eq!(refused, Err(ProofError::Key));
    }
}

/// An Ed25519 key of small order "signs" anything.
#[test]
fn check_6_no_key_of_small_order() {
    let mut identity = [0; 32];
    identity[0] = 1;
    let thumbprint = {
        let mut bytes = vec![0xa3, 1, 1, 0x20, 6, 0x21, 0x58, 32];
        bytes.extend(identity);
        Sha256::digest(bytes).into()
    };
    let token = bound_token(thumbprint, at(0));
    let header = json!({ "typ": "dpop+jwt", "alg": "EdDSA", "jwk": { "kty": "OKP", "crv": "Ed25519", "x": b64(identity) } });
    let claims = json!({ "jti": "x", "htm": "POST", "htu": URI, "iat": BASE + 20, "ath": b64(Sha256::digest(token.as_str())) });
    // R = identity, s = 0: the cofactored equation holds for every message.
    let mut signature = [0; 64];
    signature[0] = 1;
    let proof = format!("{}.{}.{}", b64(header.to_string()), b64(claims.to_string()), b64(signature));
    let request = ProofRequest { dpop: &[proof.as_bytes()], method: "POST", uri: URI };
    let verdict = proofs().check(&request, token.as_str(), token.session().id(), &thumbprint, at(20));
    assert_eq!(verdict, Err(ProofError::Signature));
}

#[test]
fn check_7_no_private_key() {
    for world in both() {
        for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            for value in [json!("AAAA"), json!(""), json!(1)] {
                let jwk = with(&world.client.jwk(), member, value);
                let refused = world.verdict(&with(&world.client.header(), "jwk", jwk), &world.claims(20));
                assert_eq!(refused, Err(ProofError::PrivateKey), "{member}");
            }
        }
    }
}

#[test]
fn check_8_the_method() {
    for world in both() {
        for htm in ["GET", "post", "POST ", ""] {
            let refused = world.verdict(&world.client.header(), &with(&world.claims(20), "htm", htm));
            assert_eq!(refused, Err(ProofError::Method));
        }
    }
}

#[test]
fn check_9_the_uri() {
    for world in both() {
        let verdict = |htu: &str| world.verdict(&world.client.header(), &with(&world.claims(20), "htu", htu));
        for same in [
            "https://shop.example/orders?page=2#x",
            "HTTPS://SHOP.EXAMPLE:443/orders",
            "https://shop.example/x/../%6frders",
        ] {
            assert_eq!(verdict(same), Ok(()), "{same}");
        }
        for other in [
            "http://shop.example/orders",
            "https://shop.example:444/orders",
            "https://shop.example/orders/",
            "https://shop.example/Orders",
            "https://shop.example/",
            "https://other.example/orders",
            "https://shop.example.evil.example/orders",
            "https://shop.example@evil.example/orders",
            "/orders",
            "",
        ] {
            assert_eq!(verdict(other), Err(ProofError::Uri), "{other}");
        }
        // Two invalid URIs are not equal.
        let proof = world
            .client
            .sign(&world.client.header().to_string(), &with(&world.claims(20), "htu", "x").to_string());
        let request = ProofRequest { dpop: &[proof.as_bytes()], method: "POST", uri: "x" };
        let session = world.token.session();
        let verdict =
            proofs().check(&request, world.token.as_str(), session.id(), session.bound_to().unwrap(), at(20));
        assert_eq!(verdict, Err(ProofError::Uri));
    }
}

#[test]
fn check_10_the_servers_nonce() {
    for world in both() {
        let edge = |name: &str, secret: u8| {
            ProofVerifier::new(NonceCache::new(at(0)), ServerNonces::with_secret(name, [secret; 32]))
        };
        let here = edge("edge-1", 1);
        let proof =
            |claims: &Value| world.client.sign(&world.client.header().to_string(), &claims.to_string());
        let claims = world.claims(20);
        assert_eq!(world.check(&here, &[&proof(&claims)], 20), Err(ProofError::NonceMissing));

        let nonce = here.nonce(at(20)).unwrap();
        let with_nonce = proof(&with(&claims, "nonce", nonce.clone()));
        // Refused at another edge, which shares no store: one of another name,
        // one of the same name with a secret of its own, and this one restarted.
        for other in [edge("edge-2", 1), edge("edge-1", 2)] {
            assert_eq!(world.check(&other, &[&with_nonce], 20), Err(ProofError::NonceNotCurrent));
        }
        let restarted = ProofVerifier::new(NonceCache::new(at(0)), ServerNonces::generate("edge-1").unwrap());
        assert_eq!(world.check(&restarted, &[&with_nonce], 20), Err(ProofError::NonceNotCurrent));
        for wrong in ["", "AAAA", &nonce[..20], &format!("{nonce}AAAA"), &nonce.to_lowercase(), "%%%%"] {
            let refused = world.check(&here, &[&proof(&with(&claims, "nonce", wrong))], 20);
            assert_eq!(refused, Err(ProofError::NonceNotCurrent), "{wrong}");
        }
        assert_eq!(world.check(&here, &[&with_nonce], 20), Ok(()));
    }
}

#[test]
fn check_10_a_nonce_is_current_for_one_to_two_minutes() {
    let world = World::new(Client::ed25519(1));
    // BASE is the first second of a minute.
    let proofs = ProofVerifier::new(NonceCache::new(at(0)), ServerNonces::generate("edge").unwrap());
    let (first, last) = (proofs.nonce(at(60)).unwrap(), proofs.nonce(at(119)).unwrap());
    assert_eq!(first, last);
    assert_ne!(proofs.nonce(at(120)), Some(last));
    for (now, verdict) in [
        (59, Err(ProofError::NonceNotCurrent)),
        (60, Ok(())),
        (179, Ok(())),
        (180, Err(ProofError::NonceNotCurrent)),
    ] {
        let claims = with(&with(&world.claims(now), "nonce", first.clone()), "jti", format!("at {now}"));
        let proof = world.client.sign(&world.client.header().to_string(), &claims.to_string());
        // The clock goes forward only for the cache's sake.
        let fresh = ProofVerifier::clone(&proofs);
        assert_eq!(world.check(&fresh, &[&proof], now), verdict, "at {now}");
    }
}

#[test]
fn check_11_the_time() {
    for world in both() {
        // 60 s of age and 5 of leeway, at the exact second.
        for (iat, now, verdict) in [
            (20, 20, Ok(())),
            (20, 84, Ok(())),
            (20, 85, Err(ProofError::TooOld)),
            (25, 20, Ok(())),
            (26, 20, Err(ProofError::FromFuture)),
        ] {
            let claims = with(&world.claims(20), "iat", BASE + iat);
            let proof = world.client.sign(&world.client.header().to_string(), &claims.to_string());
            assert_eq!(world.check(&proofs(), &[&proof], now), verdict, "{iat} at {now}");
        }
        let extreme = with(&world.claims(20), "iat", UnixTime::MAX.as_secs());
        assert_eq!(world.verdict(&world.client.header(), &extreme), Err(ProofError::FromFuture));
    }
    for (max_age, leeway) in [(0, 5), (301, 5), (60, 61)] {
        let (max_age, leeway) = (Duration::from_secs(max_age), Duration::from_secs(leeway));
        assert!(proofs().window(max_age, leeway).is_err());
    }
    assert!(proofs().window(Duration::from_millis(1500), Duration::ZERO).is_err());
    assert!(proofs().window(Duration::from_secs(60), Duration::from_millis(500)).is_err());
    assert!(proofs().window(Duration::from_secs(300), Duration::from_secs(60)).is_ok());
}

#[test]
fn check_12_the_token_and_its_key() {
    for world in both() {
        for ath in [b64(Sha256::digest("another")), b64(""), world.token.as_str().to_owned()] {
            let refused = world.verdict(&world.client.header(), &with(&world.claims(20), "ath", ath));
            assert_eq!(refused, Err(ProofError::TokenHash));
        }
        // A thief with another key; everything else is valid.
        for thief in [Client::p256(9), Client::ed25519(9)] {
            let proof = thief.sign(&thief.header().to_string(), &world.claims(20).to_string());
            assert_eq!(world.check(&proofs(), &[&proof], 20), Err(ProofError::WrongKey));
        }
    }
}

#[test]
fn a_bound_token_without_its_proof_is_refused_everywhere() {
    for world in both() {
        let proof = world.client.sign(&world.client.header().to_string(), &world.claims(20).to_string());
        let missing = Rejection::ProofRequired { detail: ProofError::Missing };
        let token = world.token.as_str();
        assert_eq!(world.verifier.verify::<()>(token, at(20)).unwrap_err(), missing);
        let many: Vec<Result<Session, _>> = world.verifier.verify_many(&[token], at(20));
        assert_eq!(many[0].as_ref().unwrap_err(), &missing);
        let verified =
            UnverifiedToken::decode(token).unwrap().verify(&world.verifier.keys().current(), at(20)).unwrap();
        assert_eq!(world.verifier.admit::<()>(verified, at(20)).unwrap_err(), missing);

        let proofs = proofs();
        let bound = |dpop: &[&[u8]], now| {
            let request = ProofRequest { dpop, method: "POST", uri: URI };
            world.verifier.verify_bound::<()>(token, &request, &proofs, at(now))
        };
        assert_eq!(bound(&[], 20).unwrap_err(), missing);
        assert_eq!(bound(&[b"x"], 20).unwrap_err(), Rejection::ProofRequired { detail: ProofError::NotJwt });
        assert_eq!(bound(&[proof.as_bytes()], 20).unwrap().subject(), "alice");
        assert_eq!(bound(&[proof.as_bytes()], 20).unwrap_err(), Rejection::Replayed);
        // The token is checked first.
        assert_eq!(bound(&[], 100_000).unwrap_err().reason(), Reason::SessionEnded);
    }
}

#[test]
fn refusals_that_want_a_nonce_are_told_apart() {
    let all =
        [ProofError::NonceMissing, ProofError::NonceNotCurrent, ProofError::Missing, ProofError::Replayed];
    let wanting = all.map(|error| (error.wants_nonce(), wants_nonce(&Rejection::from(error))));
    assert_eq!(wanting, [(true, true), (true, true), (false, false), (false, false)]);
}

#[test]
fn a_bound_ticket_is_redeemed_with_a_proof() {
    let world = World::new(Client::ed25519(1));
    let key = SigningKey::from_seed(&[7; 32], KeyUse::Session, Algorithm::EdDsa).unwrap();
    let minter = Minter::new(Lifetimes::default());
    let minute = Duration::from_mins(1);
    let ticket = minter.ticket(&key, world.token.session(), "shop", minute, None, at(20)).unwrap();
    let nonces = NonceCache::new(at(0));
    let redeemer = TicketVerifier::new(world.verifier.clone(), nonces.clone());
    let proofs = ProofVerifier::without_server_nonces(nonces);
    let redeem = |jti: &str, ath: &str| {
        let claims = with(&with(&world.claims(20), "jti", jti), "ath", b64(Sha256::digest(ath)));
        let proof = world.client.sign(&world.client.header().to_string(), &claims.to_string());
        let request = ProofRequest { dpop: &[proof.as_bytes()], method: "POST", uri: URI };
        redeemer.redeem_bound::<()>(ticket.as_str(), "/orders", &request, &proofs, at(20))
    };
    // The proof for the session's token is none for its ticket.
    let refused = redeem("1", world.token.as_str()).unwrap_err();
    assert_eq!(refused, Rejection::ProofRequired { detail: ProofError::TokenHash });
    assert!(redeem("2", ticket.as_str()).is_ok());
    assert_eq!(redeem("3", ticket.as_str()).unwrap_err(), Rejection::Replayed);
}

#[test]
fn of_many_uses_at_once_one_is_accepted() {
    let world = World::new(Client::ed25519(1));
    let proof = world.client.sign(&world.client.header().to_string(), &world.claims(20).to_string());
    let proofs = proofs();
    let (accepted, barrier) = (AtomicUsize::new(0), Barrier::new(16));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                barrier.wait();
                match world.check(&proofs, &[&proof], 20) {
                    Ok(()) => drop(accepted.fetch_add(1, Ordering::Relaxed)),
                    Err(why) => assert_eq!(why, ProofError::Replayed),
                }
            });
        }
    });
    assert_eq!(accepted.into_inner(), 1);
}

#[test]
fn one_client_cannot_fill_the_cache_and_a_restart_revives_nothing() {
    let world = World::new(Client::ed25519(1));
    let settings = NonceSettings { tickets: 1, proofs: 192 };
    let nonces = NonceCache::with_settings(settings, at(0)).unwrap();
    let proofs = ProofVerifier::without_server_nonces(nonces.clone());
    let proof = |jti: u64| {
        let claims = with(&world.claims(20), "jti", jti.to_string());
        world.client.sign(&world.client.header().to_string(), &claims.to_string())
    };
    for jti in 0..3 {
        assert_eq!(world.check(&proofs, &[&proof(jti)], 20), Ok(()));
    }
    assert_eq!(world.check(&proofs, &[&proof(3)], 20), Err(ProofError::Capacity));
    assert_eq!(nonces.stats(Purpose::Proof).over_quota, 1);
    // 5 s of leeway: the client's clock may have been ahead.
    let restarted = |started| ProofVerifier::without_server_nonces(NonceCache::new(at(started)));
    assert_eq!(world.check(&restarted(15), &[&proof(0)], 20), Err(ProofError::Replayed));
    assert_eq!(world.check(&restarted(14), &[&proof(0)], 20), Ok(()));
}

#[test]
fn a_log_in_is_bound_to_the_key_of_its_proof() {
    for world in both() {
        let uri = "https://login.example/login";
        let claims = with(&with(&world.claims(20), "htu", uri), "ath", Value::Null);
        let proofs = proofs();
        let log_in = |claims: &Value| {
            let proof = world.client.sign(&world.client.header().to_string(), &claims.to_string());
            let request = ProofRequest { dpop: &[proof.as_bytes()], method: "POST", uri };
            proofs.check_log_in(&request, at(20))
        };
        // A failed log-in does not use the proof up.
        let _ = log_in(&claims).unwrap();
        let binding = log_in(&claims).unwrap();
        let again = log_in(&claims).unwrap();
        assert_eq!(proofs.accept(binding, at(20)), Ok(world.client.thumbprint()));
        assert_eq!(proofs.accept(again, at(20)), Err(ProofError::Replayed));
        let with_token = with(&world.claims(20), "htu", uri);
        assert_eq!(log_in(&with_token).unwrap_err(), ProofError::TokenHash);
        assert_eq!(log_in(&with(&claims, "htm", "GET")).unwrap_err(), ProofError::Method);
    }
}

/// The proof of RFC 9449 §7.1 (figure 12), checked as it is: its token is not
/// one of ours, so it is given as text, with the thumbprint of its key.
#[test]
fn the_example_of_the_rfc_is_accepted() {
    let proof = concat!(
        "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6Ik",
        "VDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCR",
        "nMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JE",
        "QSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIj",
        "oiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0Z",
        "WRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNF",
        "c05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71E",
        "OptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA",
    );
    let token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
    let now = UnixTime::from_secs(1_562_262_618).unwrap();
    let coordinate = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let thumbprint = ec2_thumbprint(
        &coordinate("l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs"),
        &coordinate("9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"),
    );
    let nonces = NonceCache::new(now.saturating_sub(Duration::from_secs(100)));
    let proofs = ProofVerifier::without_server_nonces(nonces);
    let request = ProofRequest {
        dpop: &[proof.as_bytes()],
        method: "GET",
        uri: "https://resource.example.org/protectedresource",
    };
    let session = SessionId::from_bytes([1; 16]);
    assert_eq!(proofs.check(&request, token, session, &thumbprint, now), Ok(()));
    assert_eq!(proofs.check(&request, token, session, &thumbprint, now), Err(ProofError::Replayed));
}

fn ec2_thumbprint(x: &[u8], y: &[u8]) -> [u8; 32] {
    let mut bytes = vec![0xa4, 1, 2, 0x20, 1, 0x21, 0x58, 32];
    bytes.extend(x);
    bytes.extend([0x22, 0x58, 32]);
    bytes.extend(y);
    Sha256::digest(bytes).into()
}

/// RFC 9679 §6: the example key and its thumbprint, so that `cnf` is what
/// others compute.
#[test]
fn the_thumbprint_is_that_of_the_rfc() {
    let thumbprint = ec2_thumbprint(
        &hex::decode("65eda5a12577c2bae829437fe338701a10aaa375e1bb5b5de108de439c08551d").unwrap(),
        &hex::decode("1e52ed75701163f7f9e40ddf9f341b3dc9ba860af7e0ca7ca7e9eecd0084d19c").unwrap(),
    );
    let expected = "496bd8afadf307e5b08c64b0421bf9dc01528a344a43bda88fadd1669da253ec";
    assert_eq!(hex::encode(thumbprint), expected);
    let Client::P256(key) = Client::p256(1) else { unreachable!() };
    let (x, y) = Client::P256(key.clone()).xy();
    assert_eq!(Client::P256(key).thumbprint(), ec2_thumbprint(&x, &y));
}

proptest! {
    #[test]
    fn no_text_panics_nor_passes(text in "[ -~]{0,200}") {
        let world = World::new(Client::ed25519(1));
        prop_assert!(world.check(&proofs(), &[&text], 20).is_err());
    }

    /// Changing any one character of a good proof makes it invalid.
    #[test]
    fn every_byte_of_a_proof_is_signed(place in any::<prop::sample::Index>(), to in "[A-Za-z0-9_.-]", p256 in any::<bool>()) {
        let world = World::new(if p256 { Client::p256(1) } else { Client::ed25519(1) });
        let good = world.client.sign(&world.client.header().to_string(), &world.claims(20).to_string());
        let place = place.index(good.len());
        let mut changed = good.clone();
        changed.replace_range(place..=place, &to);
        prop_assert_eq!(world.check(&proofs(), &[&changed], 20).is_ok(), changed == good);
    }
}

#[test]
fn clients_that_nobody_here_wrote_log_in_and_ask() {
    let Some(peers) = node_peers() else { return };
    let verifier = World::new(Client::ed25519(1)).verifier;
    for (library, alg) in
        [("dpop", "ES256"), ("dpop", "Ed25519"), ("jose", "ES256"), ("jose", "EdDSA"), ("jose", "Ed25519")]
    {
        let clock = SystemClock;
        let nonces = NonceCache::new(clock.now().saturating_sub(Duration::from_secs(100)));
        let proofs = ProofVerifier::new(nonces, ServerNonces::generate("edge").unwrap());
        let mut client = NodeClient::new(&peers, library, alg);

        // Log in: no nonce, told one, bound to the key.
        let uri = "https://login.example/login";
        let mut question = json!({ "htm": "POST", "htu": uri });
        let log_in = |proof: &str| {
            let request = ProofRequest { dpop: &[proof.as_bytes()], method: "POST", uri };
            proofs.check_log_in(&request, clock.now())
        };
        assert_eq!(log_in(&client.prove(&question)).unwrap_err(), ProofError::NonceMissing);
        question["nonce"] = proofs.nonce(clock.now()).into();
        let binding = log_in(&client.prove(&question)).unwrap();
        let thumbprint = proofs.accept(binding, clock.now()).unwrap();
        let token = bound_token(thumbprint, clock.now());

        // Ask, once with each proof.
        let uri = "https://shop.example/orders?page=1";
        let ask = |proof: &str| {
            let request = ProofRequest { dpop: &[proof.as_bytes()], method: "GET", uri };
            verifier.verify_bound::<()>(token.as_str(), &request, &proofs, clock.now())
        };
        let nonce = proofs.nonce(clock.now());
        let question = json!({ "htm": "GET", "htu": URI, "nonce": nonce, "token": token.as_str() });
        let proof = client.prove(&question);
        assert!(ask(&proof).is_ok(), "{library} {alg}: {:?}", ask(&proof));
        assert_eq!(ask(&proof).unwrap_err(), Rejection::Replayed);
        assert!(ask(&client.prove(&question)).is_ok(), "the next proof");
        let other = with(&question, "token", "another");
        let refused = ask(&client.prove(&other)).unwrap_err();
        assert_eq!(refused, Rejection::ProofRequired { detail: ProofError::TokenHash });
        // Another client's proof for this token.
        let mut thief = NodeClient::new(&peers, library, alg);
        let refused = ask(&thief.prove(&question)).unwrap_err();
        assert_eq!(refused, Rejection::ProofRequired { detail: ProofError::WrongKey });
    }
}
