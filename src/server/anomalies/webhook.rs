//! Anomalies as webhooks, after "Standard Webhooks" 1.0.0: `webhook-id`,
//! `webhook-timestamp`, and `webhook-signature: v1,` with the base64 of
//! HMAC-SHA256 over `id.timestamp.body`.
//!
//! Messages are sent one at a time, each until it is accepted or has failed too
//! often. The queue is bounded; what doesn't fit is counted and dropped. The
//! audit trail has all anomalies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use rand::TryRng;
use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use serde_json::json;
use sha2::Sha256;
use tokio::sync::mpsc;
use url::Url;
use zeroize::Zeroizing;

use crate::error::ConfigError;
use crate::id::hex;
use crate::server::config::anomalies::WebhookTable;
use crate::time::{Clock, UnixTime};

/// The environment variable with the secret.
pub(crate) const SECRET: &str = "HALLPASS_WEBHOOK_SECRET";
/// How many messages may wait.
const QUEUE: usize = 256;
/// How long one attempt may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Attempts for each message: over some three minutes.
const ATTEMPTS: u32 = 10;
/// The wait after the first failure, which doubles, and the longest wait.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_mins(1));
/// Shortest secret, in bytes: 192 bits, as the standard requires.
const MIN_BYTES: usize = 24;

/// Queues messages. Clones share the queue.
#[derive(Clone)]
pub(crate) struct Webhook {
    queue: mpsc::Sender<Message>,
    dropped: Arc<AtomicU64>,
}

struct Message {
    id: String,
    body: Vec<u8>,
}

/// Sends the queued messages.
pub(crate) struct Courier {
    queue: mpsc::Receiver<Message>,
    client: Client,
    url: Url,
    secret: Zeroizing<Vec<u8>>,
    clock: Arc<dyn Clock>,
}

impl Webhook {
    /// Sets up the configured webhook with the secret from the environment;
    /// `None` if none is configured.
    pub(crate) fn open(
        table: &WebhookTable,
        clock: Arc<dyn Clock>,
    ) -> Result<Option<(Self, Courier)>, ConfigError> {
        let Some(url) = &table.url else { return Ok(None) };
        let url = Url::parse(url).ok().filter(is_private).ok_or(ConfigError::Builder(
            "[webhook]: url is an https URL, or http on this machine; what is sent names people",
        ))?;
        let secret = secret(std::env::var(SECRET).ok().map(Zeroizing::new))?;
        // If it is set twice, the first stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!("hallpass/", env!("CARGO_PKG_VERSION")))
            .timeout(TIMEOUT)
            // The message is signed for one receiver, and a redirect would lead
            // to another.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|why| ConfigError::HttpClient(why.into()))?;
        let (send, receive) = mpsc::channel(QUEUE);
        let courier = Courier { queue: receive, client, url, secret, clock };
        Ok(Some((Self { queue: send, dropped: Arc::default() }, courier)))
    }

    /// Queues a message and returns at once.
    pub(crate) fn send(&self, kind: &str, now: UnixTime, data: &serde_json::Value) {
        let mut id = [0; 16];
        if let Err(error) = rand::rngs::SysRng.try_fill_bytes(&mut id) {
            tracing::error!(%error, "no webhook: the system gives no randomness");
            return;
        }
        let id = format!("msg_{}", hex(&id));
        let body = json!({ "type": kind, "timestamp": now, "data": data }).to_string().into_bytes();
        if self.queue.try_send(Message { id, body }).is_err()
            && self.dropped.fetch_add(1, Ordering::Relaxed).is_power_of_two()
        {
            tracing::error!(dropped = self.dropped(), "webhooks are lost: the receiver doesn't take them");
        }
    }

    /// Returns how many messages were dropped because the queue was full.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Courier {
    /// Sends messages until the last [`Webhook`] is dropped.
    pub(crate) async fn run(mut self) {
        while let Some(message) = self.queue.recv().await {
            self.deliver(&message).await;
        }
    }

    async fn deliver(&self, message: &Message) {
        let mut wait = BACK_OFF.0;
        for attempt in 1..=ATTEMPTS {
            let why = match self.post(message).await {
                Ok(status) if status.is_success() => return,
                Ok(status) => status.to_string(),
                Err(error) => error.without_url().to_string(),
            };
            if attempt == ATTEMPTS {
                tracing::error!(id = message.id, why, "a webhook was given up");
                return;
            }
            tracing::warn!(id = message.id, attempt, why, "a webhook was not taken; trying again");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(BACK_OFF.1);
        }
    }

    async fn post(&self, message: &Message) -> reqwest::Result<reqwest::StatusCode> {
        // Each attempt has its own timestamp, so that receivers can refuse old
        // ones.
        let timestamp = self.clock.now().as_secs().to_string();
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &message.id)
            .header("webhook-signature", sign(&self.secret, &message.id, &timestamp, &message.body))
            .header("webhook-timestamp", timestamp)
            .body(message.body.clone());
        Ok(request.send().await?.status())
    }
}

/// "The content to sign is the id, the timestamp and the payload, joined by a
/// full stop."
fn sign(secret: &[u8], id: &str, timestamp: &str, body: &[u8]) -> String {
    // HMAC takes a key of any length, so this never fails.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return String::new() };
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// Decodes `whsec_` and base64, as the standard writes it; else takes the text
/// itself.
fn secret(text: Option<Zeroizing<String>>) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
    const BASE64: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let text = text.unwrap_or_default();
    let secret = match text.strip_prefix("whsec_") {
        Some(encoded) => BASE64.decode(encoded).unwrap_or_default(),
        None => text.as_bytes().to_vec(),
    };
    let secret = Zeroizing::new(secret);
    if secret.len() < MIN_BYTES {
        return Err(ConfigError::Builder(
            "[webhook] needs HALLPASS_WEBHOOK_SECRET: \"whsec_\" and the base64 of 24 bytes or more, \
             or a text of at least 24 characters",
        ));
    }
    Ok(secret)
}

/// Returns whether nobody on the way can read what is sent.
fn is_private(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example from the Standard Webhooks reference libraries.
    #[test]
    fn the_signature_is_the_standards() {
        let key = secret(Some("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned().into())).unwrap();
        let signed = sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_short_secret_and_a_plain_receiver_are_refused() {
        for text in [None, Some("short"), Some("whsec_c2hvcnQ="), Some("whsec_!")] {
            assert!(secret(text.map(|text| text.to_owned().into())).is_err(), "{text:?}");
        }
        for (url, private) in [
            ("https://hooks.example/in", true),
            ("http://127.0.0.1:9/in", true),
            ("http://[::1]:9/", true),
            ("http://hooks.example/in", false),
            ("ftp://localhost/", false),
        ] {
            assert_eq!(is_private(&Url::parse(url).unwrap()), private, "{url}");
        }
    }
}
