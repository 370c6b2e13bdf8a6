//! `hallpass key …`.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::{Failure, print_json, rfc3339};
use crate::id::KeyId;
use crate::key::{Activation, Algorithm, KeyDir, KeyEntry, KeyUse};
use crate::time::{Clock, SystemClock, UnixTime};

#[derive(Subcommand)]
pub(super) enum KeyCommand {
    /// Make the directory with one session key and one feed key
    Init {
        #[command(flatten)]
        dir: Dir,
        #[command(flatten)]
        alg: Alg,
    },
    /// Make one more key, which signs from now on
    New {
        #[command(flatten)]
        dir: Dir,
        #[command(flatten)]
        usage: Use,
        #[command(flatten)]
        alg: Alg,
    },
    /// List the keys and what each does now
    List {
        #[command(flatten)]
        dir: Dir,
    },
    /// Make the successor of the key that signs: published now, signing in five minutes
    Rotate {
        #[command(flatten)]
        dir: Dir,
        #[command(flatten)]
        usage: Use,
        /// Sign with it at once; edges refuse its tokens until they learn of it
        #[arg(long)]
        now: bool,
    },
    /// Accept nothing that a key signed any more
    Retire {
        /// The key's id, 16 hex digits
        kid: KeyId,
        #[command(flatten)]
        dir: Dir,
        /// From when on, in RFC 3339; now unless given
        #[arg(long, value_parser = rfc3339)]
        at: Option<UnixTime>,
    },
    /// Write the public halves to stdout
    Export {
        #[command(flatten)]
        dir: Dir,
        #[command(flatten)]
        usage: Use,
        /// The form of the key set
        #[arg(long, value_enum, default_value_t = Format::Cose)]
        format: Format,
    },
}

#[derive(Args)]
pub(super) struct Dir {
    /// The directory of the key files
    #[arg(long)]
    dir: PathBuf,
}

#[derive(Args)]
pub(super) struct Use {
    /// What the key signs
    #[arg(long = "use", value_enum, default_value_t = UseArg::Session)]
    usage: UseArg,
}

#[derive(Args)]
pub(super) struct Alg {
    /// What the tokens call the algorithm; every COSE library knows EdDSA
    #[arg(long, value_enum, default_value_t = AlgArg::EdDsa)]
    alg: AlgArg,
}

#[derive(Clone, Copy, ValueEnum)]
enum UseArg {
    Session,
    Feed,
}

impl From<UseArg> for KeyUse {
    fn from(usage: UseArg) -> Self {
        match usage {
            UseArg::Session => Self::Session,
            UseArg::Feed => Self::Feed,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum AlgArg {
    /// COSE -8
    #[value(name = "EdDSA")]
    EdDsa,
    /// COSE -19
    #[value(name = "Ed25519")]
    Ed25519,
}

impl From<AlgArg> for Algorithm {
    fn from(alg: AlgArg) -> Self {
        match alg {
            AlgArg::EdDsa => Self::EdDsa,
            AlgArg::Ed25519 => Self::Ed25519,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Format {
    /// COSE Key Set, RFC 9052 (CBOR)
    Cose,
    /// JWKS, RFC 7517 (JSON)
    Jwks,
}

impl KeyCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        let now = SystemClock.now();
        match self {
            Self::Init { dir, alg } => init(dir.dir, alg.alg.into(), now),
            Self::New { dir, usage, alg } => {
                let mut keys = KeyDir::open(dir.dir)?;
                let id = keys.add(usage.usage.into(), alg.alg.into(), now, now)?;
                print_key(&keys, id, now)
            }
            Self::List { dir } => {
                let keys = KeyDir::open(dir.dir)?;
                keys.entries().try_for_each(|entry| print_json(&describe(&keys, entry, now)))
            }
            Self::Rotate { dir, usage, now: immediately } => {
                let mut keys = KeyDir::open(dir.dir)?;
                let activation = if immediately { Activation::Immediate } else { Activation::Announced };
                let id = keys.rotate(usage.usage.into(), now, activation)?;
                print_key(&keys, id, now)
            }
            Self::Retire { kid, dir, at } => {
                let mut keys = KeyDir::open(dir.dir)?;
                keys.retire(kid, at.unwrap_or(now))?;
                print_key(&keys, kid, now)
            }
            Self::Export { dir, usage, format } => {
                let set = KeyDir::open(dir.dir)?.key_set(usage.usage.into(), now)?;
                let mut stdout = std::io::stdout();
                match format {
                    Format::Cose => stdout.write_all(&set.to_cose())?,
                    Format::Jwks => writeln!(stdout, "{}", set.to_jwks())?,
                }
                Ok(stdout.flush()?)
            }
        }
    }
}

fn init(dir: PathBuf, algorithm: Algorithm, now: UnixTime) -> Result<(), Failure> {
    let mut keys = KeyDir::create(dir)?;
    if keys.entries().next().is_some() {
        return Err(Failure::Setup(format!(
            "{} has keys already; see them with 'hallpass key list', replace one with 'hallpass key rotate'",
            keys.path().display()
        )));
    }
    for usage in [KeyUse::Session, KeyUse::Feed] {
        let id = keys.add(usage, algorithm, now, now)?;
        print_key(&keys, id, now)?;
    }
    Ok(())
}

fn print_key(keys: &KeyDir, id: KeyId, now: UnixTime) -> Result<(), Failure> {
    keys.entries()
        .filter(|entry| entry.key.id() == id)
        .try_for_each(|entry| print_json(&describe(keys, entry, now)))
}

fn describe(keys: &KeyDir, entry: &KeyEntry, now: UnixTime) -> serde_json::Value {
    json!({
        "key_id": entry.key.id(),
        "use": entry.key.usage(),
        "algorithm": entry.key.algorithm().jose(),
        "state": keys.state(entry, now),
        "created_at": entry.created,
        "activates_at": entry.activates,
        "retires_at": entry.retires,
    })
}
