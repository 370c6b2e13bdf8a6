//! The certificate of a TLS listener, taken up when its files change: whatever
//! renews certificates need not know of this process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use sha2::{Digest, Sha256};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use crate::error::ConfigError;
use crate::files;

/// How often the files are read.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A certificate chain and its key, in use.
pub(crate) struct Certificate {
    cert: PathBuf,
    key: PathBuf,
    config: RustlsConfig,
    /// Of the files that were tried last: they are not tried again until they
    /// change, and what is wrong with them is said once.
    tried: Option<[u8; 32]>,
}

impl Certificate {
    /// # Errors
    /// [`ConfigError::File`] for files that can't be read, or hold no
    /// certificate, no key, or a key of another certificate.
    pub(crate) async fn open(cert: PathBuf, key: PathBuf) -> Result<Self, ConfigError> {
        let (chain, secret) = (read(&cert).await?, read(&key).await?);
        let tried = Some(digest(&chain, &secret));
        let config = RustlsConfig::from_pem(chain, secret).await.map_err(|why| unusable(&cert, &why))?;
        Ok(Self { cert, key, config, tried })
    }

    /// What new connections get; clones see the certificates to come.
    pub(crate) fn config(&self) -> RustlsConfig {
        self.config.clone()
    }

    /// Follows the files, for ever: every few seconds, and at once on SIGHUP.
    pub(crate) async fn keep_current(mut self) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut hang_up = signal(SignalKind::hangup())
            .inspect_err(|error| tracing::warn!(%error, "SIGHUP can't be listened for"))
            .ok();
        loop {
            let asked = async {
                match &mut hang_up {
                    Some(hang_up) => hang_up.recv().await,
                    None => core::future::pending().await,
                }
            };
            tokio::select! {
                _ = ticks.tick() => {}
                _ = asked => self.tried = None,
            }
            match self.reload().await {
                Ok(true) => tracing::info!(path = %self.cert.display(), "new certificate in use"),
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "the certificate is not taken; the one before stays"),
            }
        }
    }

    /// Whether there is another one now. Read once and used as read, so that
    /// no change falls in between.
    async fn reload(&mut self) -> Result<bool, ConfigError> {
        let both = async { Ok::<_, ConfigError>((read(&self.cert).await?, read(&self.key).await?)) };
        let (chain, secret) = match both.await {
            Ok(both) => both,
            // A file that is gone is said once too.
            Err(_) if self.tried == Some(GONE) => return Ok(false),
            Err(error) => {
                self.tried = Some(GONE);
                return Err(error);
            }
        };
        let found = digest(&chain, &secret);
        if self.tried.replace(found) == Some(found) {
            return Ok(false);
        }
        self.config.reload_from_pem(chain, secret).await.map_err(|why| unusable(&self.cert, &why))?;
        Ok(true)
    }
}

/// No SHA-256 that anybody knows the input of.
const GONE: [u8; 32] = [0; 32];

async fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    tokio::fs::read(path).await.map_err(|why| files::error(path, why))
}

fn digest(cert: &[u8], key: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(cert.len().to_be_bytes());
    hash.update(cert);
    hash.update(key);
    hash.finalize().into()
}

fn unusable(path: &Path, why: &std::io::Error) -> ConfigError {
    files::error(path, format!("certificate and key can't be used: {why}"))
}
