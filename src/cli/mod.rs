//! The command line. Machine output is JSON on stdout, one object a line.
//! Errors go to stderr and say what to do.
//!
//! Exit codes: 0 success, 1 refused, 2 usage or configuration error.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use serde::Serialize;

use crate::error::ConfigError;
use crate::id::SubjectError;
use crate::issuer::store::SqliteStore;
use crate::time::UnixTime;

mod bench;
mod edge;
mod fetch;
mod key;
mod lines;
mod log;
mod revoke;
mod serve;
mod token;
mod user;

/// Web sessions as signed tokens: issue at log-in, verify at any edge.
#[derive(Parser)]
#[command(name = "hallpass", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Try it: login service and a protected app on loopback, with a demo user
    Demo(serve::DemoArgs),
    /// Run the login service
    Serve(serve::ServeArgs),
    /// Run the forward-auth endpoint for nginx, Caddy, HAProxy, Traefik and Envoy
    Edge(Box<edge::EdgeArgs>),
    /// Revoke a session, a subject's sessions, a key's tokens, or everything
    #[command(subcommand)]
    Revoke(revoke::RevokeCommand),
    /// Say that the data directory was restored from a backup: edges start afresh
    Restored(revoke::RestoredArgs),
    /// Add and list users, change passwords
    #[command(subcommand)]
    User(user::UserCommand),
    /// Make, list, rotate, retire and export keys
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Issue, inspect and verify tokens
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Measure this machine's verifications a second, on one core and on all
    Bench(bench::BenchArgs),
}

/// How a command ended when it did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The token or request was refused, and this was already printed: exit 1.
    Refused,
    /// Usage or configuration error, with the message for stderr: exit 2.
    Setup(String),
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Setup(error.to_string())
    }
}

impl From<SubjectError> for Failure {
    fn from(error: SubjectError) -> Self {
        Self::Setup(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        // The reader closed the pipe on purpose and needs no message.
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Refused } else { Self::Setup(error.to_string()) }
    }
}

/// Runs the program with the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    // Usage errors exit here with code 2, --help with 0.
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Demo(args) => args.run(),
        Command::Serve(args) => args.run(),
        Command::Edge(args) => args.run(),
        Command::Revoke(command) => command.run(),
        Command::Restored(args) => args.run(),
        Command::User(command) => command.run(),
        Command::Key(command) => command.run(),
        Command::Token(command) => command.run(),
        Command::Bench(args) => args.run(),
    };
    log::finish();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Refused) => ExitCode::from(1),
        Err(Failure::Setup(message)) => {
            eprintln!("hallpass: {message}");
            ExitCode::from(2)
        }
    }
}

/// Starts the async runtime, for commands that need one.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    // Both users of rustls take the process-wide provider. If it is set twice,
    // the first stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Opens a store that exists, so that a mistyped directory creates none.
async fn existing_store(data: &Path) -> Result<SqliteStore, Failure> {
    if !data.join(SqliteStore::FILE).is_file() {
        return Err(Failure::Setup(format!(
            "{} holds no hallpass database; 'hallpass user add' and 'hallpass serve' make one",
            data.display()
        )));
    }
    Ok(SqliteStore::open(data).await?)
}

/// Prints one JSON object on one line of stdout.
fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let line = serde_json::to_string(value).map_err(|error| Failure::Setup(error.to_string()))?;
    writeln!(io::stdout(), "{line}").map_err(Failure::from)
}

/// Parses whole seconds like "15m", "90s" or "12h".
fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write it like \"15m\" or \"90s\""))?;
    if duration.subsec_nanos() == 0 { Ok(duration) } else { Err("must be whole seconds".to_owned()) }
}

fn rfc3339(text: &str) -> Result<UnixTime, String> {
    UnixTime::parse_rfc3339(text).ok_or_else(|| "write it like 2026-01-31T12:00:00Z".to_owned())
}
