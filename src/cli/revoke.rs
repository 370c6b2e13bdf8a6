//! `hallpass revoke …` and `hallpass restored`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Failure, duration, print_json, runtime};
use crate::issuer::store::Store;
use crate::server::operators::revoke::Revoke;
use crate::time::{Clock, SystemClock};

#[derive(Subcommand)]
pub(super) enum RevokeCommand {
    /// One session
    Session {
        /// Its id, 32 hex digits
        id: String,
        #[command(flatten)]
        at: At,
    },
    /// Every session of a subject started so far
    Subject {
        /// The subject
        subject: String,
        #[command(flatten)]
        at: At,
    },
    /// Everything that a key signed; make its successor sign first
    Key {
        /// The key's id, 16 hex digits
        kid: String,
        #[command(flatten)]
        at: At,
    },
    /// Every session started so far
    All {
        #[command(flatten)]
        at: At,
    },
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(super) struct At {
    /// The directory of the database; a serve that runs on it takes it up
    #[arg(long)]
    data: Option<PathBuf>,
    /// The operators' address of a login service (serve --admin-listen), with
    /// its secret in `HALLPASS_OPERATOR_TOKEN`
    #[arg(long)]
    issuer: Option<String>,
}

impl RevokeCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (what, at) = match self {
            Self::Session { id, at } => (Revoke::Session(id), at),
            Self::Subject { subject, at } => (Revoke::Subject(subject), at),
            Self::Key { kid, at } => (Revoke::Key(kid), at),
            Self::All { at } => (Revoke::All(true), at),
        };
        // Validate the arguments before anything is opened.
        let target = what.target()?;
        runtime()?.block_on(async {
            match at {
                At { data: Some(data), .. } => {
                    let store = super::existing_store(&data).await?;
                    let revoked = store.revoke(target, Some(what.event(None)), SystemClock.now()).await;
                    print_json(&what.answer(&revoked.map_err(|error| Failure::Setup(error.to_string()))?))
                }
                At { issuer, .. } => remotely(&what, &issuer.unwrap_or_default()).await,
            }
        })
    }
}

async fn remotely(what: &Revoke, issuer: &str) -> Result<(), Failure> {
    let secret = std::env::var("HALLPASS_OPERATOR_TOKEN").map_err(|_| {
        Failure::Setup("set HALLPASS_OPERATOR_TOKEN to what the login service was started with".to_owned())
    })?;
    let url = format!("{}/admin/revoke", issuer.trim_end_matches('/'));
    let fail = |why: reqwest::Error| Failure::Setup(format!("{url}: {why}"));
    super::fetch::private_url(&url)?;
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().map_err(fail)?;
    let answer = client.post(&url).bearer_auth(secret).json(what).send().await.map_err(fail)?;
    let status = answer.status();
    if status == http::StatusCode::UNAUTHORIZED {
        eprintln!("hallpass: {url} refused HALLPASS_OPERATOR_TOKEN");
        return Err(Failure::Refused);
    }
    if !status.is_success() {
        return Err(Failure::Setup(format!("{url} answered {status}; nothing was revoked")));
    }
    print_json(&answer.json::<serde_json::Value>().await.map_err(fail)?)
}

#[derive(Args)]
pub(super) struct RestoredArgs {
    /// The directory of the database
    #[arg(long)]
    data: PathBuf,
    /// The absolute lifetime that the login service is configured with
    #[arg(long, default_value = "12h", value_parser = duration)]
    lifetime: Duration,
}

impl RestoredArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        runtime()?.block_on(async {
            let store = super::existing_store(&self.data).await?;
            let position = store.bump_epoch(self.lifetime, SystemClock.now()).await;
            let position = position.map_err(|error| Failure::Setup(error.to_string()))?;
            print_json(&json!({ "epoch": position.epoch, "sequence": position.sequence }))
        })
    }
}
