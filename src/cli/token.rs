//! `hallpass token …`.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{Failure, duration, lines, rfc3339};
use crate::danger;
use crate::error::ConfigError;
use crate::id::Subject;
use crate::issuer::{Minter, NewSession};
use crate::key::exchange::MAX_KEY_SET_BYTES;
use crate::key::{KeyDir, KeySet, KeyUse, LiveKeys};
use crate::policy::{LifetimeSettings, Lifetimes, StalePolicy};
use crate::revocation::{FeedError, FeedKeys, RevocationList, feed};
use crate::time::{Clock, SystemClock, UnixTime};
use crate::verifier::Verifier;

/// Largest file of revocations, in bytes: some ten million entries.
const MAX_FEED_BYTES: usize = 512 * 1024 * 1024;

#[derive(Subcommand)]
pub(super) enum TokenCommand {
    /// Print a new token
    Issue(IssueArgs),
    /// Show what is inside a token, without verifying it
    Inspect {
        /// The token; read from stdin if it is - or missing
        token: Option<String>,
    },
    /// Verify a token, or with - one token a line
    Verify(VerifyArgs),
}

#[derive(Args)]
pub(super) struct IssueArgs {
    /// The directory of the key files
    #[arg(long)]
    dir: PathBuf,
    /// Whose session it is
    #[arg(long)]
    subject: String,
    /// Whom the token is for
    #[arg(long)]
    audience: Option<String>,
    /// Who issues it
    #[arg(long)]
    issuer: Option<String>,
    /// The token's max age
    #[arg(long, default_value = "15m", value_parser = duration)]
    max_age: Duration,
    /// The session's absolute lifetime
    #[arg(long, default_value = "12h", value_parser = duration)]
    lifetime: Duration,
    /// The application's claims
    #[arg(long, value_name = "JSON")]
    claims: Option<String>,
}

#[derive(Args)]
pub(super) struct VerifyArgs {
    /// The token; - reads one a line from stdin, and answers one a line
    token: Option<String>,
    /// The key set: a file that 'hallpass key export' wrote, or a URL
    #[arg(long, value_name = "FILE|URL")]
    keys: String,
    /// The audience that is required; without it, tokens that name one are refused
    #[arg(long)]
    audience: Option<String>,
    /// The issuer that is required; without it, tokens that name one are refused
    #[arg(long)]
    issuer: Option<String>,
    /// The time to verify at, in RFC 3339; now unless given
    #[arg(long, value_name = "RFC3339", value_parser = rfc3339)]
    at: Option<UnixTime>,
    /// Refuse what this feed revokes: a file that GET /revocations answered
    #[arg(long, value_name = "FILE")]
    revocations: Option<PathBuf>,
    /// The feed keys ('hallpass key export --use feed') that must have signed
    /// the revocations; without them the file is believed as it is
    #[arg(long, value_name = "FILE", requires = "revocations")]
    trust: Option<PathBuf>,
    /// Clock skew to forgive, at most 60s
    #[arg(long, default_value = "5s", value_parser = duration)]
    leeway: Duration,
}

impl TokenCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Issue(args) => args.run(),
            Self::Inspect { token } => inspect(token),
            Self::Verify(args) => args.run(),
        }
    }
}

impl IssueArgs {
    fn run(self) -> Result<(), Failure> {
        let now = SystemClock.now();
        let lifetimes = Lifetimes::new(LifetimeSettings {
            token_max_age: Some(self.max_age.min(self.lifetime)),
            absolute_lifetime: self.lifetime,
            ..LifetimeSettings::default()
        })?;
        let claims: serde_json::Value = match &self.claims {
            None => serde_json::Value::Null,
            Some(json) => serde_json::from_str(json)
                .map_err(|error| Failure::Setup(format!("--claims is not JSON: {error}")))?,
        };
        let keys = KeyDir::open(self.dir)?;
        let entry = keys.signing_key(KeyUse::Session, now)?;
        let subject = Subject::new(self.subject)?;
        let new = NewSession {
            subject: &subject,
            claims: &claims,
            started: now,
            auth_time: now,
            ends: None,
            amr: &[],
            bound_to: None,
        };
        let minter = Minter::new(lifetimes)
            .audience(self.audience.map(Into::into))
            .issuer(self.issuer.map(Into::into));
        let token = minter.start(&entry.key, &new, now)?;
        Ok(writeln!(io::stdout(), "{}", token.as_str())?)
    }
}

fn inspect(token: Option<String>) -> Result<(), Failure> {
    let token = match token {
        Some(token) if token != "-" => token.into_bytes(),
        _ => {
            let mut line = Vec::new();
            lines::read(&mut io::stdin().lock(), &mut line)?;
            line
        }
    };
    let inside = danger::inspect(&token).map_err(|rejection| {
        eprintln!("hallpass: not a token: {rejection}");
        Failure::Refused
    })?;
    let mut stdout = io::stdout();
    writeln!(stdout, "UNVERIFIED: whoever made this token may have written anything into it.")?;
    writeln!(stdout, "{}", inside.diagnostic)?;
    Ok(writeln!(stdout, "{}", inside.json)?)
}

impl VerifyArgs {
    fn run(self) -> Result<(), Failure> {
        let mut builder = Verifier::builder(load_keys(&self.keys)?).leeway(self.leeway);
        if let Some(audience) = self.audience {
            builder = builder.audience(audience);
        }
        if let Some(issuer) = self.issuer {
            builder = builder.issuer(issuer);
        }
        let verifier = match &self.revocations {
            None => builder.without_revocations(),
            // An audit may use an old file, so it never counts as stale.
            Some(path) => builder
                .revocations(load_revocations(path, self.trust.as_deref())?)
                .stale_policy(StalePolicy::NeverStale),
        };
        // Each token is verified once here, so a cache would not help.
        let verifier = verifier.without_token_cache().build()?;
        match self.token {
            Some(token) if token != "-" => lines::judge_one(token.as_bytes(), &verifier, self.at),
            Some(_) => lines::judge_all(&verifier, self.at),
            None => {
                let mut line = Vec::new();
                lines::read(&mut io::stdin().lock(), &mut line)?;
                lines::judge_one(&line, &verifier, self.at)
            }
        }
    }
}

fn load_keys(source: &str) -> Result<KeySet, Failure> {
    let bytes = if source.starts_with("https://") || source.starts_with("http://") {
        super::fetch::bytes(source, MAX_KEY_SET_BYTES)?
    } else {
        read_file(source.as_ref(), MAX_KEY_SET_BYTES)?
    };
    KeySet::from_bytes(&bytes).map_err(|error| Failure::Setup(format!("{source}: {error}")))
}

fn load_revocations(path: &Path, trust: Option<&Path>) -> Result<RevocationList, Failure> {
    let fail = |why: FeedError| Failure::Setup(format!("{}: not a revocation feed: {why}", path.display()));
    let bytes = read_file(path, MAX_FEED_BYTES)?;
    let feeds = match trust {
        None => feed::unverified_feeds(&bytes).map_err(fail)?,
        Some(trust) => {
            let keys = FeedKeys::from_bytes(&read_file(trust, MAX_KEY_SET_BYTES)?)
                .map_err(|error| Failure::Setup(format!("{}: {error}", trust.display())))?;
            feed::kept_feeds(&keys, &bytes, SystemClock.now()).collect::<Result<_, _>>().map_err(fail)?
        }
    };
    let (list, keys) = (RevocationList::new(), LiveKeys::awaiting());
    for feed in &feeds {
        // An audit takes the feed's own time as the current time.
        feed.apply(&list, &keys, feed.issued_at()).map_err(fail)?;
    }
    if list.position().is_none() {
        return Err(fail(crate::error::Malformed::Empty.into()));
    }
    Ok(list)
}

fn read_file(path: &Path, most: usize) -> Result<Vec<u8>, ConfigError> {
    let fail = |why: io::Error| ConfigError::File { path: path.to_owned(), source: why.into() };
    let file = std::fs::File::open(path).map_err(fail)?;
    let mut bytes = Vec::new();
    // One byte over the limit, so that too long a file is detected.
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(fail)?;
    Ok(bytes)
}
