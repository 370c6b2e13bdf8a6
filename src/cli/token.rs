//! `hallpass token …`

use std::io::{self, BufRead, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Failure, duration, rfc3339};
use crate::danger;
use crate::error::{ConfigError, Rejection};
use crate::id::Subject;
use crate::issuer::{Minter, NewSession};
use crate::key::exchange::MAX_KEY_SET_BYTES;
use crate::key::{KeyDir, KeySet, KeyUse};
use crate::policy::{LifetimeSettings, Lifetimes};
use crate::session::Session;
use crate::time::{Clock, SystemClock, UnixTime};
use crate::verifier::Verifier;
use crate::wire::text::MAX_TOKEN_CHARS;

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
            idle_timeout: self.max_age.min(self.lifetime),
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
            read_line(&mut io::stdin().lock(), &mut line)?;
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

/// One line of output: a verdict with the session or the facts.
#[derive(Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
enum Verdict {
    Accepted {
        session: Box<Session>,
    },
    Refused {
        #[serde(flatten)]
        rejection: Rejection,
    },
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
        let verifier = builder.without_revocations().build()?;
        let judge = |token: &[u8]| {
            let now = self.at.unwrap_or_else(|| SystemClock.now());
            match verifier.verify(token, now) {
                Ok(session) => Verdict::Accepted { session: Box::new(session) },
                Err(rejection) => Verdict::Refused { rejection },
            }
        };
        let mut stdout = io::BufWriter::with_capacity(64 * 1024, io::stdout().lock());
        let all_accepted = match self.token {
            Some(token) if token != "-" => answer(&mut stdout, &judge(token.as_bytes()))?,
            given => {
                let mut stdin = io::BufReader::with_capacity(64 * 1024, io::stdin().lock());
                judge_lines(&mut stdin, &mut stdout, given.is_none(), judge)?
            }
        };
        stdout.flush()?;
        if all_accepted { Ok(()) } else { Err(Failure::Refused) }
    }
}

/// Answers every line, or the first alone.
fn judge_lines<R: Read>(
    input: &mut io::BufReader<R>,
    output: &mut impl Write,
    first_only: bool,
    judge: impl Fn(&[u8]) -> Verdict,
) -> Result<bool, Failure> {
    let mut all_accepted = true;
    let mut line = Vec::with_capacity(MAX_TOKEN_CHARS);
    while read_line(input, &mut line)? {
        all_accepted &= answer(output, &judge(&line))?;
        // Whoever asks line by line gets each answer before the next question.
        if input.buffer().is_empty() {
            output.flush()?;
        }
        if first_only {
            break;
        }
    }
    Ok(all_accepted)
}

fn answer(output: &mut impl Write, verdict: &Verdict) -> Result<bool, Failure> {
    serde_json::to_writer(&mut *output, verdict).map_err(io::Error::from)?;
    output.write_all(b"\n")?;
    Ok(matches!(verdict, Verdict::Accepted { .. }))
}

/// Reads a line without its end into `line`; false at the end of the input. Of
/// a line that is too long for a token only so much is kept that it shows.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut any = false;
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            break;
        }
        any = true;
        let (part, used, last) = match buffer.iter().position(|&byte| byte == b'\n') {
            Some(end) => (&buffer[..end], end + 1, true),
            None => (buffer, buffer.len(), false),
        };
        let room = (MAX_TOKEN_CHARS + 2).saturating_sub(line.len());
        line.extend_from_slice(&part[..part.len().min(room)]);
        input.consume(used);
        if last {
            break;
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(any)
}

fn load_keys(source: &str) -> Result<KeySet, Failure> {
    let bytes = if source.starts_with("https://") || source.starts_with("http://") {
        super::fetch::bytes(source, MAX_KEY_SET_BYTES)?
    } else {
        read_file(source.as_ref(), MAX_KEY_SET_BYTES)?
    };
    KeySet::from_bytes(&bytes).map_err(|error| Failure::Setup(format!("{source}: {error}")))
}

fn read_file(path: &std::path::Path, most: usize) -> Result<Vec<u8>, ConfigError> {
    let fail = |why: io::Error| ConfigError::File { path: path.to_owned(), why: why.to_string() };
    let file = std::fs::File::open(path).map_err(fail)?;
    let mut bytes = Vec::new();
    // One byte more than is allowed, so that too long a file shows.
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(fail)?;
    Ok(bytes)
}
