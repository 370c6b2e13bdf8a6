//! An API client whose session is bound to its key (RFC 9449).

use std::sync::atomic::{AtomicU64, Ordering};

use hallpass::{Clock, SystemClock};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::proof_client::{Client, b64};
use crate::support::{PASSWORD, Running, client};

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// An API client's proof for one request.
pub(crate) fn proof(
    key: &Client,
    method: &str,
    htu: &str,
    nonce: Option<&str>,
    token: Option<&str>,
) -> String {
    let mut claims = json!({
        "jti": format!("jti-{}", COUNTER.fetch_add(1, Ordering::Relaxed)),
        "htm": method,
        "htu": htu,
        "iat": SystemClock.now().as_secs(),
    });
    if let Some(nonce) = nonce {
        claims["nonce"] = nonce.into();
    }
    if let Some(token) = token {
        claims["ath"] = b64(Sha256::digest(token)).into();
    }
    key.sign(&key.header().to_string(), &claims.to_string())
}

pub(crate) fn credentials() -> Value {
    json!({ "username": "alice", "password": PASSWORD })
}

pub(crate) async fn log_in(serve: &Running, proof: &str, body: &Value) -> Response {
    client().post(serve.at("/login")).header("dpop", proof).json(body).send().await.unwrap()
}

pub(crate) fn nonce(answer: &Response) -> String {
    answer.headers()["dpop-nonce"].to_str().unwrap().to_owned()
}

pub(crate) fn challenge(answer: &Response) -> &str {
    assert_eq!(answer.status(), 401);
    answer.headers()["www-authenticate"].to_str().unwrap()
}

/// A session bound to a key.
pub(crate) struct Bound<'a> {
    pub(crate) serve: &'a Running,
    pub(crate) key: Client,
    pub(crate) token: String,
    pub(crate) nonce: String,
}

impl<'a> Bound<'a> {
    pub(crate) async fn log_in(serve: &'a Running, key: Client) -> Self {
        let url = serve.at("/login");
        let asked = log_in(serve, &proof(&key, "POST", &url, None, None), &credentials()).await;
        assert!(challenge(&asked).starts_with("DPoP error=\"use_dpop_nonce\""));
        let nonce = nonce(&asked);
        let answer = log_in(serve, &proof(&key, "POST", &url, Some(&nonce), None), &credentials()).await;
        assert_eq!(answer.status(), 200);
        assert!(answer.headers().get("set-cookie").is_none());
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["token_type"], "DPoP");
        let token = answer["token"].as_str().unwrap().to_owned();
        Self { serve, key, token, nonce }
    }

    pub(crate) fn proof(&self, method: &str, path: &str) -> String {
        proof(&self.key, method, &self.serve.at(path), Some(&self.nonce), Some(&self.token))
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        proof: &str,
        body: Option<Value>,
    ) -> Response {
        let request = client().request(method, self.serve.at(path));
        let request = request.header("authorization", format!("DPoP {}", self.token)).header("dpop", proof);
        let request = if let Some(body) = body { request.json(&body) } else { request };
        request.send().await.unwrap()
    }

    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        self.send(method.clone(), path, &self.proof(method.as_str(), path), body).await
    }
}

/// The token of such a session.
pub(crate) async fn bound(serve: &Running) -> String {
    Bound::log_in(serve, Client::p256(7)).await.token
}
