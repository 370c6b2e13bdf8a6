//! Clients that make proofs of possession: ours, and other libraries in Node.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::Signer;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An API client with a key.
pub(crate) enum Client {
    P256(Box<p256::ecdsa::SigningKey>),
    Ed25519(Box<ed25519_dalek::SigningKey>),
}

impl Client {
    pub(crate) fn p256(seed: u8) -> Self {
        Self::P256(Box::new(p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap()))
    }

    pub(crate) fn ed25519(seed: u8) -> Self {
        Self::Ed25519(Box::new(ed25519_dalek::SigningKey::from_bytes(&[seed; 32])))
    }

    pub(crate) fn xy(&self) -> (Vec<u8>, Vec<u8>) {
        match self {
            Self::P256(key) => {
                let point = key.verifying_key().to_sec1_point(false);
                let bytes = point.as_bytes();
                (bytes[1..33].to_vec(), bytes[33..].to_vec())
            }
            Self::Ed25519(key) => (key.verifying_key().to_bytes().to_vec(), Vec::new()),
        }
    }

    pub(crate) fn jwk(&self) -> Value {
        let (x, y) = self.xy();
        match self {
            Self::P256(_) => json!({ "kty": "EC", "crv": "P-256", "x": b64(x), "y": b64(y) }),
            Self::Ed25519(_) => json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(x) }),
        }
    }

    pub(crate) fn header(&self) -> Value {
        let alg = match self {
            Self::P256(_) => "ES256",
            Self::Ed25519(_) => "EdDSA",
        };
        json!({ "typ": "dpop+jwt", "alg": alg, "jwk": self.jwk() })
    }

    /// RFC 9679, by ciborium and not by our own writer.
    pub(crate) fn thumbprint(&self) -> [u8; 32] {
        use ciborium::value::Value as Cbor;
        let (x, y) = self.xy();
        let mut members: Vec<(Cbor, Cbor)> = match self {
            Self::P256(_) => vec![(1.into(), 2.into()), ((-1).into(), 1.into())],
            Self::Ed25519(_) => vec![(1.into(), 1.into()), ((-1).into(), 6.into())],
        };
        members.push(((-2).into(), Cbor::Bytes(x)));
        if !y.is_empty() {
            members.push(((-3).into(), Cbor::Bytes(y)));
        }
        let mut bytes = Vec::new();
        ciborium::into_writer(&Cbor::Map(members), &mut bytes).unwrap();
        Sha256::digest(bytes).into()
    }

    pub(crate) fn sign(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", b64(header), b64(claims));
        let signature = match self {
            Self::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(signed.as_bytes());
                signature.to_bytes().to_vec()
            }
            Self::Ed25519(key) => key.sign(signed.as_bytes()).to_vec(),
        };
        format!("{signed}.{}", b64(signature))
    }
}

/// A client made of `dpop` or `jose`, in Node.
pub(crate) struct NodeClient {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl NodeClient {
    pub(crate) fn new(peers: &std::path::Path, library: &str, alg: &str) -> Self {
        let mut child = Command::new("node")
            .arg(peers.join("dpop_client.mjs"))
            .args([library, alg])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, answers }
    }

    pub(crate) fn prove(&mut self, question: &Value) -> String {
        writeln!(self.child.stdin.as_mut().unwrap(), "{question}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }
}

impl Drop for NodeClient {
    fn drop(&mut self) {
        // End of input: it ends by itself.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

pub(crate) fn node_peers() -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let peers = root.join("target/node-peers");
    let node = Command::new("node").arg("--version").stdout(Stdio::null()).status();
    if peers.join("node_modules/dpop").exists() && node.is_ok_and(|status| status.success()) {
        // Beside its libraries, where Node looks for them.
        let script = "dpop_client.mjs";
        std::fs::copy(root.join("tests/peers").join(script), peers.join(script)).unwrap();
        return Some(peers);
    }
    let how = "node or target/node-peers is not there; make it with tests/peers/setup-node.sh";
    assert!(std::env::var_os("HALLPASS_TEST_ALL").is_none(), "{how}");
    println!("SKIPPED proofs of node clients: {how}");
    None
}
