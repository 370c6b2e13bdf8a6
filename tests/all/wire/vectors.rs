//! `tests/vectors/tokens.json`: tokens good and bad, each with the verdict that
//! every implementation must give. Made here, read here.
//!
//! `HALLPASS_REGENERATE=1 cargo test --all-features --test all vectors` writes
//! the file again; without it the test fails when the two differ.

mod application;
mod claims;
mod feeds;
mod frame;
mod header;
mod policy;
mod spelling;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use hallpass::{KeySet, Rejection, Session, UnixTime, Verifier};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::support::raw::NOW;
use crate::support::test_keys::TestKey;

/// The whole file.
#[derive(Serialize, Deserialize)]
struct File {
    about: Vec<String>,
    version: u32,
    key_sets: Value,
    vectors: Vec<Vector>,
}

/// One token and what a verifier must say to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    why: String,
    token: String,
    key_set: String,
    now: u64,
    leeway: u64,
    audience: Option<String>,
    issuer: Option<String>,
    verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Accepted,
    Refused,
}

/// Collects vectors under one heading.
struct Maker {
    heading: &'static str,
    vectors: Vec<Vector>,
}

impl Maker {
    fn under(heading: &'static str) -> Self {
        Self { heading, vectors: Vec::new() }
    }

    fn push(&mut self, name: &str, why: &str, token: String, verdict: Verdict) -> &mut Vector {
        self.vectors.push(Vector {
            name: format!("{}/{}", self.heading, name.replace(' ', "-")),
            why: why.to_owned(),
            token,
            key_set: "session".to_owned(),
            now: NOW + 10,
            leeway: 5,
            audience: None,
            issuer: None,
            verdict,
            reason: None,
            detail: None,
            session: None,
        });
        self.vectors.last_mut().unwrap()
    }

    fn malformed(&mut self, name: &str, why: &str, token: String, detail: &str) -> &mut Vector {
        let vector = self.refused(name, why, token, "malformed");
        vector.detail = Some(detail.to_owned());
        vector
    }

    fn refused(&mut self, name: &str, why: &str, token: String, reason: &str) -> &mut Vector {
        let vector = self.push(name, why, token, Verdict::Refused);
        vector.reason = Some(reason.to_owned());
        vector
    }

    fn accepted(&mut self, name: &str, why: &str, token: String, session: Value) -> &mut Vector {
        let vector = self.push(name, why, token, Verdict::Accepted);
        vector.session = Some(session);
        vector
    }
}

impl Vector {
    fn at(&mut self, now: u64) -> &mut Self {
        self.now = now;
        self
    }

    fn leeway(&mut self, leeway: u64) -> &mut Self {
        self.leeway = leeway;
        self
    }

    fn audience(&mut self, audience: Option<&str>) -> &mut Self {
        self.audience = audience.map(str::to_owned);
        self
    }

    fn issuer(&mut self, issuer: Option<&str>) -> &mut Self {
        self.issuer = issuer.map(str::to_owned);
        self
    }
}

/// What a verifier says of [`crate::support::raw::claims`], with `changes` on top.
fn session(changes: &Value) -> Value {
    let mut session = json!({
        "subject": "alice",
        "session_id": "51".repeat(16),
        "token_id": "c7".repeat(16),
        "audience": null,
        "issued_at": "2026-09-21T14:13:20Z",
        "expires_at": "2026-09-21T14:28:20Z",
        "started_at": "2026-09-21T13:13:20Z",
        "ends_at": "2026-09-22T01:13:20Z",
        "auth_time": "2026-09-21T13:13:20Z",
        "amr": [],
        "generation": 4,
        "claims": null,
    });
    for (field, value) in changes.as_object().unwrap() {
        session[field] = value.clone();
    }
    session
}

const ABOUT: &[&str] = &[
    "Test vectors for hallpass tokens, wire format version 1.",
    "A verifier that trusts the keys of key_sets[key_set] (a JWKS), has this audience and issuer (null: none configured) and this leeway (seconds) is given the token at the time now (seconds since 1970). It must answer verdict. If refused, the class of refusal must be reason; detail names the rule of the format that is broken, and an implementation may name it otherwise. If accepted, session is what the token says; claims are the application's, byte strings in them as lowercase hex and tags dropped.",
    "Every token is signed with a published test key (keys/test/), so that what is refused is refused for the reason given and not for its signature, unless the vector is about signatures.",
    "Generated by tests/all/wire/vectors.rs; don't edit.",
];

fn generate() -> File {
    let vectors: Vec<_> = [
        spelling::make(),
        frame::make(),
        header::make(),
        claims::make(),
        application::make(),
        policy::make(),
    ]
    .into_iter()
    .flat_map(|maker: Maker| maker.vectors)
    .collect();
    File {
        about: ABOUT.iter().map(|line| (*line).to_owned()).collect(),
        version: 1,
        key_sets: json!({ "session": TestKey::session_jwks() }),
        vectors,
    }
}

/// A vector a line, so that differences show.
fn render(file: &File) -> String {
    let line = |value: &dyn erased::Line| value.line();
    let vectors: Vec<_> = file.vectors.iter().map(|vector| format!("    {}", line(vector))).collect();
    format!(
        "{{\n  \"about\": {},\n  \"version\": {},\n  \"key_sets\": {},\n  \"vectors\": [\n{}\n  ]\n}}\n",
        line(&file.about),
        file.version,
        line(&file.key_sets),
        vectors.join(",\n")
    )
}

mod erased {
    pub(super) trait Line {
        fn line(&self) -> String;
    }

    impl<T: serde::Serialize> Line for T {
        fn line(&self) -> String {
            serde_json::to_string(self).unwrap()
        }
    }
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/tokens.json")
}

fn read() -> File {
    serde_json::from_str(&std::fs::read_to_string(path()).unwrap()).unwrap()
}

/// The good tokens of the file, with their names.
pub(crate) fn accepted() -> Vec<(String, String)> {
    chosen(|vector| vector.verdict == Verdict::Accepted)
}

/// The tokens of the file that are refused for this reason, with their names.
pub(crate) fn refused(reason: &str) -> Vec<(String, String)> {
    chosen(|vector| vector.reason.as_deref() == Some(reason))
}

#[cfg(feature = "issuer")]
/// The first token of each verdict, named by it.
pub(crate) fn one_of_each_kind() -> Vec<(String, String)> {
    let mut kinds = std::collections::BTreeMap::new();
    for vector in read().vectors {
        let kind = [vector.reason, vector.detail].into_iter().flatten().collect::<Vec<_>>().join("-");
        let kind = if kind.is_empty() { vector.name.replace('/', "-") } else { kind };
        kinds.entry(kind).or_insert(vector.token);
    }
    kinds.into_iter().collect()
}

#[cfg(feature = "issuer")]
/// The tokens whose application claims are good or bad.
pub(crate) fn of_application_claims() -> Vec<(String, String)> {
    let of = chosen(|vector| vector.name.starts_with("application/"));
    of.into_iter().map(|(name, token)| (name.replace("application/", ""), token)).collect()
}

fn chosen(which: impl Fn(&Vector) -> bool) -> Vec<(String, String)> {
    read().vectors.into_iter().filter(which).map(|vector| (vector.name, vector.token)).collect()
}

/// Every token of the file, good and bad.
pub(crate) fn all_tokens() -> Vec<String> {
    read().vectors.into_iter().map(|vector| vector.token).collect()
}

fn judge(keys: &Value, vector: &Vector) -> Result<Value, Rejection> {
    let keys = KeySet::from_bytes(keys[&vector.key_set].to_string().as_bytes()).unwrap();
    let mut verifier =
        Verifier::builder(keys).leeway(Duration::from_secs(vector.leeway)).without_revocations();
    if let Some(audience) = &vector.audience {
        verifier = verifier.audience(audience.as_str());
    }
    if let Some(issuer) = &vector.issuer {
        verifier = verifier.issuer(issuer.as_str());
    }
    let now = UnixTime::from_secs(vector.now).unwrap();
    let session: Session = verifier.build().unwrap().verify(&vector.token, now)?;
    Ok(serde_json::to_value(&session).unwrap())
}

#[test]
fn every_vector_gets_its_verdict() {
    let file = read();
    let mut wrong = Vec::new();
    for vector in &file.vectors {
        let (verdict, reason, detail, session) = match judge(&file.key_sets, vector) {
            Ok(session) => (Verdict::Accepted, None, None, Some(session)),
            Err(rejection) => {
                let detail = match &rejection {
                    Rejection::Malformed { detail } => Some(detail.name()),
                    _ => None,
                };
                (Verdict::Refused, Some(rejection.reason().as_str().to_owned()), detail, None)
            }
        };
        let answer = Vector { verdict, reason, detail, session, ..vector.clone() };
        if answer != *vector {
            wrong.push(format!(
                "{} ({})\n   expected {:?} {:?} {:?} {:?}\n   got      {:?} {:?} {:?} {:?}",
                vector.name,
                vector.why,
                vector.verdict,
                vector.reason,
                vector.detail,
                vector.session,
                answer.verdict,
                answer.reason,
                answer.detail,
                answer.session,
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), file.vectors.len(), wrong.join("\n"));
}

#[test]
fn regenerating_gives_the_same_file() {
    let text = render(&generate());
    if std::env::var_os("HALLPASS_REGENERATE").is_some() {
        std::fs::create_dir_all(path().parent().unwrap()).unwrap();
        std::fs::write(path(), &text).unwrap();
    }
    let committed = std::fs::read_to_string(path()).unwrap_or_default();
    let different = text.lines().zip(committed.lines()).find(|(new, old)| new != old);
    assert!(text == committed, "run it with HALLPASS_REGENERATE=1; first difference: {different:?}");
}

#[test]
fn every_vector_has_a_name_of_its_own_and_good_ones_differ() {
    let file = read();
    let names: BTreeSet<_> = file.vectors.iter().map(|vector| &vector.name).collect();
    assert_eq!(names.len(), file.vectors.len(), "a name twice");
    for vector in &file.vectors {
        assert!(!vector.why.is_empty(), "{} doesn't say why", vector.name);
    }
}

/// A rule of the format without a vector would be one that an implementer
/// never hears of.
#[test]
fn every_rule_of_the_format_has_a_vector() {
    let file = read();
    let details: BTreeSet<_> = file.vectors.iter().filter_map(|vector| vector.detail.as_deref()).collect();
    let rules = include_str!("../../../src/error.rs");
    let rules = rules.split_once("pub enum Malformed {").unwrap().1.split_once("\n}\n").unwrap().0;
    let rules: Vec<String> = rules
        .lines()
        .filter_map(|line| line.trim().strip_suffix(','))
        .filter(|name| name.chars().all(char::is_alphanumeric))
        .map(snake_case)
        .collect();
    assert!(rules.len() > 25, "the enum was not found: {rules:?}");
    let missing: Vec<_> = rules.iter().filter(|rule| !details.contains(rule.as_str())).collect();
    assert!(missing.is_empty(), "no vector for {missing:?}");
}

fn snake_case(name: &str) -> String {
    let mut out = String::new();
    for (at, c) in name.char_indices() {
        if c.is_uppercase() && at > 0 {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}
