//! The others, each as its documentation says to use it.

use std::hint::black_box;
use std::time::Duration;

use crate::RUN;
use crate::common::Task;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use biscuit_auth::builder::{Algorithm as BiscuitAlgorithm, AuthorizerBuilder};
use biscuit_auth::macros::{authorizer, biscuit};
use biscuit_auth::{AuthorizerLimits, Biscuit, KeyPair};
use coset::{CborSerializable, TaggedCborSerializable};
use ed25519_dalek::{Signature, Signer, SigningKey};
use hallpass::Session;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use pasetors::keys::{AsymmetricPublicKey, AsymmetricSecretKey};
use pasetors::{Public, token::UntrustedToken, version4::V4};
use serde::{Deserialize, Serialize};

pub const STRICT: &str = "ed25519-dalek `verify_strict`";
pub const JWT: &str = "jsonwebtoken, EdDSA";
const AUDIENCE: &str = "store";

/// What a hallpass token says, under the short names of a JWT.
#[derive(Clone, Serialize, Deserialize)]
pub struct Claims {
    sub: String,
    aud: String,
    exp: u64,
    iat: u64,
    jti: String,
    sid: String,
    started: u64,
    ends: u64,
    generation: u64,
    auth_time: u64,
}

impl Claims {
    pub fn of(session: &Session) -> Self {
        Self {
            sub: session.subject().to_owned(),
            aud: session.audience().unwrap_or_default().to_owned(),
            exp: session.expires_at().as_secs(),
            iat: session.issued_at().as_secs(),
            jti: URL_SAFE_NO_PAD.encode(session.token_id().as_bytes()),
            sid: URL_SAFE_NO_PAD.encode(session.id().as_bytes()),
            started: session.started_at().as_secs(),
            ends: session.ends_at().as_secs(),
            generation: session.generation(),
            auth_time: session.auth_time().as_secs(),
        }
    }

    /// PASETO wants its times as RFC 3339.
    fn paseto(&self) -> pasetors::claims::Claims {
        let time = |seconds| hallpass::UnixTime::saturating_from_secs(seconds).to_string();
        let mut claims = pasetors::claims::Claims::new().unwrap();
        claims.subject(&self.sub).unwrap();
        claims.audience(&self.aud).unwrap();
        claims.expiration(&time(self.exp)).unwrap();
        claims.issued_at(&time(self.iat)).unwrap();
        claims.not_before(&time(self.iat)).unwrap();
        claims.token_identifier(&self.jti).unwrap();
        claims.add_additional("sid", self.sid.clone()).unwrap();
        for (name, value) in [
            ("started", self.started),
            ("ends", self.ends),
            ("generation", self.generation),
            ("auth_time", self.auth_time),
        ] {
            claims.add_additional(name, value).unwrap();
        }
        claims
    }
}

/// PKCS#8 version 1 of an Ed25519 key (RFC 8410 §7).
pub fn pkcs8(seed: &[u8; 32]) -> Vec<u8> {
    let mut der = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
    der.extend(seed);
    der
}

/// Signatures alone, over the bytes that hallpass signed.
pub fn raw_signatures<'a>(signer: &SigningKey, signed: &'a [(Vec<u8>, [u8; 64])]) -> Vec<Task<'a>> {
    let key = signer.verifying_key();
    let bytes = key.to_bytes();
    let ring = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, bytes);
    let aws = aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, bytes);
    let old = ed25519_dalek_2::VerifyingKey::from_bytes(&bytes).unwrap();
    let at = |i: usize| &signed[i % signed.len()];
    vec![
        Task::each(STRICT, RUN, move |i| {
            let (message, signature) = at(i);
            key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
        }),
        Task::each("ed25519-dalek `verify`", RUN, move |i| {
            let (message, signature) = at(i);
            ed25519_dalek::Verifier::verify(&key, message, &Signature::from_bytes(signature)).is_ok()
        }),
        Task::each("ed25519-dalek 2.2 `verify_strict`", RUN, move |i| {
            let (message, signature) = at(i);
            old.verify_strict(message, &ed25519_dalek_2::Signature::from_bytes(signature)).is_ok()
        }),
        Task::each("ring", RUN, move |i| ring.verify(&at(i).0, &at(i).1).is_ok()),
        Task::each("aws-lc-rs", RUN, move |i| aws.verify(&at(i).0, &at(i).1).is_ok()),
    ]
}

/// Whole tokens: text to claims, with expiry and audience checked.
pub fn tokens(seed: &[u8; 32], signer: &SigningKey, claims: &[Claims]) -> Vec<(Task<'static>, usize)> {
    let mut peers = Vec::new();
    let mut add = |name: &str, texts: Vec<String>, mut verify: Box<dyn FnMut(&str) -> bool>| {
        let length = texts.iter().map(String::len).sum::<usize>() / texts.len();
        peers.push((Task::each(name, RUN, move |i| verify(&texts[i % texts.len()])), length));
    };

    let key = signer.verifying_key();
    add(
        "coset + ed25519-dalek",
        claims.iter().map(|claims| cwt(signer, claims)).collect(),
        Box::new(move |text| {
            let now = i128::from(jsonwebtoken::get_current_timestamp());
            let bytes = URL_SAFE_NO_PAD.decode(text).unwrap();
            let sign1 = coset::CoseSign1::from_tagged_slice(&bytes).unwrap();
            let verified = sign1.verify_signature(b"", |signature, message| {
                key.verify_strict(message, &Signature::from_slice(signature)?)
            });
            let claims = coset::cwt::ClaimsSet::from_slice(sign1.payload.as_deref().unwrap()).unwrap();
            let in_time = matches!(claims.expiration_time, Some(coset::cwt::Timestamp::WholeSeconds(at)) if i128::from(at) > now);
            verified.is_ok() && in_time && black_box(claims).audience.as_deref() == Some(AUDIENCE)
        }),
    );

    let x = URL_SAFE_NO_PAD.encode(key.as_bytes());
    let jwt_key = EncodingKey::from_ed_der(&pkcs8(seed));
    let decoding = DecodingKey::from_ed_components(&x).unwrap();
    add(JWT, jwts(Algorithm::EdDSA, &jwt_key, claims), jwt_verify(Algorithm::EdDSA, decoding));
    let secret = EncodingKey::from_secret(seed);
    let decoding = DecodingKey::from_secret(seed);
    add(
        "jsonwebtoken, HS256 (a shared secret)",
        jwts(Algorithm::HS256, &secret, claims),
        jwt_verify(Algorithm::HS256, decoding),
    );

    let secret = AsymmetricSecretKey::<V4>::from(&signer.to_keypair_bytes()).unwrap();
    let public = AsymmetricPublicKey::<V4>::from(key.as_bytes()).unwrap();
    let pasetos: Vec<String> = claims
        .iter()
        .map(|claims| pasetors::public::sign(&secret, &claims.paseto(), None, None).unwrap())
        .collect();
    let mut rules = pasetors::claims::ClaimsValidationRules::new();
    rules.validate_audience_with(AUDIENCE);
    add(
        "pasetors, v4.public",
        pasetos.clone(),
        Box::new(move |text| {
            let untrusted = UntrustedToken::<Public, V4>::try_from(text).unwrap();
            black_box(pasetors::public::verify(&public, &untrusted, &rules, None, None)).is_ok()
        }),
    );
    add("rusty_paseto, v4.public", pasetos, rusty_paseto_verify(*key.as_bytes()));

    let root = KeyPair::from(&biscuit_auth::PrivateKey::from_bytes(seed, BiscuitAlgorithm::Ed25519).unwrap());
    let public = root.public();
    let limits = AuthorizerLimits { max_time: Duration::from_secs(1), ..AuthorizerLimits::default() };
    add(
        "biscuit-auth",
        claims.iter().map(|claims| biscuit_of(&root, claims)).collect(),
        Box::new(move |text| {
            let biscuit = Biscuit::from_base64(text, public).unwrap();
            let now = std::time::SystemTime::now();
            let mut authorizer: biscuit_auth::Authorizer = AuthorizerBuilder::new()
                .merge(authorizer!(
                    r#"time({now}); check if aud({audience}); check if exp($t), time($now), $now < $t; allow if sub($s);"#,
                    audience = AUDIENCE
                ))
                // Its default of 1 ms would fail where the CPU is taken away.
                .set_limits(limits.clone())
                .build(&biscuit)
                .unwrap();
            authorizer.authorize().is_ok()
        }),
    );
    peers
}

fn rusty_paseto_verify(key: [u8; 32]) -> Box<dyn FnMut(&str) -> bool> {
    use rusty_paseto::prelude::*;
    let key = Key::<32>::from(key);
    Box::new(move |text| {
        let public = PasetoAsymmetricPublicKey::<V4, Public>::from(&key);
        let mut parser = PasetoParser::<V4, Public>::default();
        parser.check_claim(AudienceClaim::from(AUDIENCE));
        black_box(parser.parse(text, &public)).is_ok()
    })
}

fn jwts(algorithm: Algorithm, key: &EncodingKey, claims: &[Claims]) -> Vec<String> {
    let header = Header::new(algorithm);
    claims.iter().map(|claims| jsonwebtoken::encode(&header, claims, key).unwrap()).collect()
}

fn jwt_verify(algorithm: Algorithm, key: DecodingKey) -> Box<dyn FnMut(&str) -> bool> {
    let mut validation = Validation::new(algorithm);
    validation.set_audience(&[AUDIENCE]);
    Box::new(move |text| black_box(jsonwebtoken::decode::<Claims>(text, &key, &validation)).is_ok())
}

fn biscuit_of(root: &KeyPair, claims: &Claims) -> String {
    let time = |seconds| std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    let number = |n: u64| i64::try_from(n).unwrap();
    let id = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    biscuit!(
        r#"sub({sub}); aud({aud}); exp({exp}); iat({iat}); jti({jti});
           session({sid}, {started}, {ends}, {generation}, {auth_time});"#,
        sub = claims.sub.as_str(),
        aud = claims.aud.as_str(),
        exp = time(claims.exp),
        iat = time(claims.iat),
        jti = id(&claims.jti),
        sid = id(&claims.sid),
        started = number(claims.started),
        ends = number(claims.ends),
        generation = number(claims.generation),
        auth_time = number(claims.auth_time),
    )
    .build(root)
    .unwrap()
    .to_base64()
    .unwrap()
}

/// The same CWT by coset.
fn cwt(signer: &SigningKey, claims: &Claims) -> String {
    use ciborium::Value;
    let id = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let time = |seconds: u64| coset::cwt::Timestamp::WholeSeconds(i64::try_from(seconds).unwrap());
    let set = coset::cwt::ClaimsSetBuilder::new()
        .subject(claims.sub.clone())
        .audience(claims.aud.clone())
        .expiration_time(time(claims.exp))
        .issued_at(time(claims.iat))
        .cwt_id(id(&claims.jti))
        .private_claim(
            -65537,
            Value::Array(vec![
                Value::Bytes(id(&claims.sid)),
                Value::from(claims.started),
                Value::from(claims.ends),
                Value::from(claims.generation),
                Value::from(claims.auth_time),
            ]),
        )
        .build();
    let protected = coset::HeaderBuilder::new()
        .algorithm(coset::iana::Algorithm::EdDSA)
        .key_id(vec![7; 8])
        .value(16, Value::from(61))
        .build();
    let sign1 = coset::CoseSign1Builder::new()
        .protected(protected)
        .payload(set.to_vec().unwrap())
        .create_signature(b"", |message| signer.sign(message).to_vec())
        .build();
    URL_SAFE_NO_PAD.encode(sign1.to_tagged_vec().unwrap())
}

/// Making a token.
pub fn issuing(seed: &[u8; 32], claims: &[Claims]) -> Vec<Task<'static>> {
    let key = EncodingKey::from_ed_der(&pkcs8(seed));
    let header = Header::new(Algorithm::EdDSA);
    let claims = claims[0].clone();
    vec![Task::each(JWT, RUN, move |_| black_box(jsonwebtoken::encode(&header, &claims, &key)).is_ok())]
}
