//! The published formats of key sets: COSE Key Set (RFC 9052 §7, CBOR) and JWKS
//! (RFC 7517 §5, JSON). They never contain private keys.

use ciborium::Value;
use serde::{Deserialize, Serialize};

use crate::error::ConfigError;
use crate::key::{Algorithm, KeySet, VerifyingKey};
use crate::wire::cbor::Writer;
use crate::wire::text;

/// Largest key set that is read, in bytes: about five hundred keys.
pub const MAX_KEY_SET_BYTES: usize = 64 * 1024;

impl KeySet {
    /// Reads a COSE Key Set or a JWKS.
    ///
    /// # Errors
    /// [`ConfigError::Key`] that says what is wrong, and the errors of
    /// [`KeySet::new`] and [`VerifyingKey::new`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ConfigError> {
        Self::new(keys_from_bytes(bytes)?)
    }

    /// A COSE Key Set (`application/cose-key-set`).
    #[must_use]
    pub fn to_cose(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.array(self.iter().len());
        for key in self.iter() {
            // { 1: 1 (OKP), 2: kid, 3: alg, 4: [2 (verify)], -1: 6 (Ed25519), -2: x }
            w.map(6).int(1).int(1).int(2).bytes(key.id().as_bytes());
            w.int(3).int(key.algorithm().cose()).int(4).array(1).int(2);
            w.int(-1).int(6).int(-2).bytes(key.as_bytes());
        }
        w.into_vec()
    }

    /// A JWKS (`application/jwk-set+json`), kids in hex.
    #[must_use]
    pub fn to_jwks(&self) -> String {
        let keys = self
            .iter()
            .map(|key| Jwk {
                kty: "OKP".to_owned(),
                crv: "Ed25519".to_owned(),
                x: text::encode(key.as_bytes()),
                kid: Some(key.id().to_string()),
                alg: Some(key.algorithm().jose().to_owned()),
                usage: Some("sig".to_owned()),
                key_ops: None,
                private: false,
            })
            .collect();
        serde_json::to_string(&Jwks { keys }).unwrap_or_default()
    }
}

/// The keys of a COSE Key Set or a JWKS.
pub(crate) fn keys_from_bytes(bytes: &[u8]) -> Result<Vec<VerifyingKey>, ConfigError> {
    if bytes.len() > MAX_KEY_SET_BYTES {
        return Err(bad(format!("a key set has at most {MAX_KEY_SET_BYTES} bytes")));
    }
    match bytes.trim_ascii_start().first() {
        None => Err(bad("the key set is empty")),
        Some(b'{') => from_jwks(bytes),
        Some(b'-') => Err(bad("this is PEM; 'hallpass key export' writes the key set that is needed here")),
        Some(_) => from_cose(bytes),
    }
}

#[derive(Serialize, Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

/// RFC 7517 §4, RFC 8037 §2. Unknown members are ignored (§4).
#[derive(Serialize, Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    x: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alg: Option<String>,
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    usage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_ops: Option<Vec<String>>,
    /// Whether there is a private half, of any type.
    #[serde(rename = "d", default, skip_serializing, deserialize_with = "present")]
    private: bool,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(deserializer).map(|_| true)
}

fn bad(why: impl Into<String>) -> ConfigError {
    ConfigError::Key(why.into())
}

fn from_jwks(bytes: &[u8]) -> Result<Vec<VerifyingKey>, ConfigError> {
    let jwks: Jwks = serde_json::from_slice(bytes).map_err(|error| bad(format!("not a JWKS: {error}")))?;
    jwks.keys.iter().map(from_jwk).collect()
}

fn from_jwk(jwk: &Jwk) -> Result<VerifyingKey, ConfigError> {
    if jwk.private {
        return Err(private_half());
    }
    // RFC 7517 §4.2 and §4.3: a key is not used for anything else.
    if let Some(other) = jwk.usage.as_deref().filter(|usage| *usage != "sig") {
        return Err(bad(format!("a key of use {other:?}, not \"sig\"")));
    }
    if jwk.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "verify")) {
        return Err(bad("a key whose key_ops don't have \"verify\""));
    }
    if jwk.kty != "OKP" || jwk.crv != "Ed25519" {
        return Err(bad(format!(
            "a key of kty {} and crv {}; only OKP and Ed25519 are used",
            jwk.kty, jwk.crv
        )));
    }
    let algorithm = match jwk.alg.as_deref() {
        None => Algorithm::default(),
        Some(name) => Algorithm::from_jose(name).ok_or_else(|| bad(format!("unknown alg {name:?}")))?,
    };
    let x = text::decode_vec(&jwk.x).map_err(|error| bad(format!("x: {error}")))?;
    let key = public(&x, algorithm)?;
    same_id(&key, jwk.kid.as_deref().map(|kid| kid == key.id().to_string()))
}

fn from_cose(bytes: &[u8]) -> Result<Vec<VerifyingKey>, ConfigError> {
    let mut rest = bytes;
    let value: Value = ciborium::from_reader(&mut rest).map_err(|_| bad("not a COSE Key Set (no CBOR)"))?;
    if !rest.is_empty() {
        return Err(bad("bytes after the end of the COSE Key Set"));
    }
    let Value::Array(keys) = value else {
        return Err(bad("not a COSE Key Set (no array)"));
    };
    keys.iter().map(from_cose_key).collect()
}

fn from_cose_key(value: &Value) -> Result<VerifyingKey, ConfigError> {
    let Value::Map(pairs) = value else {
        return Err(bad("not a COSE_Key (no map)"));
    };
    let find = |label: i64| {
        let mut values = pairs.iter().filter(|(key, _)| *key == Value::from(label)).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(bad(format!("COSE_Key label {label} twice"))),
            (first, None) => Ok(first),
        }
    };
    let number = |value: &Value| value.as_integer().and_then(|n| i64::try_from(n).ok());
    if find(-4)?.is_some() {
        return Err(private_half());
    }
    if find(1)?.and_then(number) != Some(1) || find(-1)?.and_then(number) != Some(6) {
        return Err(bad("a COSE_Key that is not OKP with Ed25519"));
    }
    let algorithm = match find(3)? {
        None => Algorithm::default(),
        Some(value) => number(value)
            .and_then(Algorithm::from_cose)
            .ok_or_else(|| bad("a COSE_Key with an alg other than -8 and -19"))?,
    };
    // RFC 9052 §7.1: key_ops, if present, must have 2 (verify).
    if let Some(ops) = find(4)?
        && !ops.as_array().is_some_and(|ops| ops.iter().any(|op| number(op) == Some(2)))
    {
        return Err(bad("a COSE_Key whose key_ops don't have 2 (verify)"));
    }
    let x = find(-2)?.and_then(Value::as_bytes).ok_or_else(|| bad("a COSE_Key without x"))?;
    let key = public(x, algorithm)?;
    let kid = find(2)?.map(|kid| kid.as_bytes().map(Vec::as_slice) == Some(key.id().as_bytes()));
    same_id(&key, kid)
}

fn public(x: &[u8], algorithm: Algorithm) -> Result<VerifyingKey, ConfigError> {
    let x = x.try_into().map_err(|_| bad("x is not 32 bytes"))?;
    VerifyingKey::new(x, algorithm)
}

/// A kid, if present, must be the one that tokens name.
fn same_id(key: &VerifyingKey, same: Option<bool>) -> Result<VerifyingKey, ConfigError> {
    if same == Some(false) {
        return Err(bad(format!("a kid that is not the key's thumbprint, which starts with {}", key.id())));
    }
    Ok(key.clone())
}

fn private_half() -> ConfigError {
    bad(
        "this key set holds a private key; give away only what 'hallpass key export' writes, and replace that key",
    )
}
