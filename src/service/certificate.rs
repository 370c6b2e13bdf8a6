//! The certificate of a TLS listener, reloaded when its files change. The tool
//! that renews it need not notify this process.

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
    /// Hash of the files that were tried last. They are not tried again until
    /// they change, so an error is logged once.
    tried: Option<[u8; 32]>,
}

impl Certificate {
    /// Loads the certificate and its key.
    ///
    /// # Errors
    /// [`ConfigError::File`] for files that can't be read, or that hold no
    /// certificate, no key, or the key of another certificate.
    pub(crate) async fn open(cert: PathBuf, key: PathBuf) -> Result<Self, ConfigError> {
        let (chain, secret) = (read(&cert).await?, read(&key).await?);
        let tried = Some(digest(&chain, &secret));
        let config = RustlsConfig::from_pem(chain, secret).await.map_err(|why| unusable(&cert, &why))?;
        Ok(Self { cert, key, config, tried })
    }

    /// Returns the configuration for new connections. Clones follow reloads.
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

    /// Reloads changed files. Returns whether there is a new certificate. The
    /// files are read once, so that no change falls between check and use.
    async fn reload(&mut self) -> Result<bool, ConfigError> {
        let both = async { Ok::<_, ConfigError>((read(&self.cert).await?, read(&self.key).await?)) };
        let (chain, secret) = match both.await {
            Ok(both) => both,
            // An unreadable file is logged once too.
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

/// Stands for unreadable files. No known input has this SHA-256.
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
