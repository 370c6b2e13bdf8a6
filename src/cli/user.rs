//! `hallpass user …`.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::{Failure, print_json, runtime};
use crate::id::Subject;
use crate::issuer::store::{NewUser, Role, SqliteStore, Store};
use crate::server::login::password::{MAX_BYTES, Password};
use crate::time::{Clock, SystemClock};

#[derive(Subcommand)]
pub(super) enum UserCommand {
    /// Add a user; the password is read from the terminal, or from stdin
    Add {
        /// The user's name, which is the subject of the user's sessions
        name: String,
        #[command(flatten)]
        data: Data,
        /// What the user may do
        #[arg(long, value_enum, default_value_t = RoleArg::User)]
        role: RoleArg,
        /// The application's claims that the user's tokens carry
        #[arg(long, value_name = "JSON")]
        claims: Option<String>,
    },
    /// Change a password, which ends the user's sessions
    Passwd {
        /// The user's name
        name: String,
        #[command(flatten)]
        data: Data,
    },
    /// Keep a user from logging in, and end the user's sessions
    Disable {
        /// The user's name
        name: String,
        #[command(flatten)]
        data: Data,
    },
    /// Let a disabled user log in again
    Enable {
        /// The user's name
        name: String,
        #[command(flatten)]
        data: Data,
    },
    /// Let a user whose password was wrong too often try again
    Unlock {
        /// The user's name
        name: String,
        #[command(flatten)]
        data: Data,
    },
    /// List the users
    List {
        #[command(flatten)]
        data: Data,
    },
}

#[derive(Args)]
pub(super) struct Data {
    /// The directory of the database
    #[arg(long)]
    data: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum RoleArg {
    User,
    Operator,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::User => Self::User,
            RoleArg::Operator => Self::Operator,
        }
    }
}

impl UserCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        runtime()?.block_on(self.run_async())
    }

    async fn run_async(self) -> Result<(), Failure> {
        let now = SystemClock.now();
        match self {
            Self::Add { name, data, role, claims } => {
                let name = Subject::new(name)?;
                let claims = claims
                    .map(|json| serde_json::from_str(&json))
                    .transpose()
                    .map_err(|error| Failure::Setup(format!("--claims is not JSON: {error}")))?;
                let store = data.open().await?;
                let password_hash = new_password()?.hash().map_err(Failure::Setup)?;
                let user = NewUser { name, password_hash, role: role.into(), claims };
                store.add_user(user, now).await.map_err(refused)
            }
            Self::Passwd { name, data } => {
                let name = Subject::new(name)?;
                let store = data.existing().await?;
                let password_hash = new_password()?.hash().map_err(Failure::Setup)?;
                store.set_password(&name, password_hash, now).await.map(drop).map_err(refused)
            }
            Self::Disable { name, data } => {
                let name = Subject::new(name)?;
                data.existing().await?.disable_user(&name, now).await.map(drop).map_err(refused)
            }
            Self::Enable { name, data } => {
                let name = Subject::new(name)?;
                data.existing().await?.enable_user(&name).await.map_err(refused)
            }
            Self::Unlock { name, data } => {
                let name = Subject::new(name)?;
                data.existing().await?.unlock_user(&name).await.map_err(refused)
            }
            Self::List { data } => {
                let users = data.existing().await?.list_users().await.map_err(refused)?;
                users.iter().try_for_each(|user| {
                    print_json(&json!({
                        "name": user.name,
                        "role": user.role,
                        "disabled": user.disabled,
                        "created_at": user.created,
                        "claims": user.claims,
                    }))
                })
            }
        }
    }
}

impl Data {
    async fn existing(&self) -> Result<SqliteStore, Failure> {
        super::existing_store(&self.data).await
    }

    /// Opens the store and creates it if it doesn't exist.
    async fn open(&self) -> Result<SqliteStore, Failure> {
        Ok(SqliteStore::open(&self.data).await?)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
fn refused(error: crate::issuer::store::StoreError) -> Failure {
    Failure::Setup(error.to_string())
}

/// Reads a new password: typed twice at a terminal, else the first line of
/// stdin. Never an argument, which every process on the machine can read.
fn new_password() -> Result<Password, Failure> {
    let text = if std::io::stdin().is_terminal() {
        let first = rpassword::prompt_password("Password: ")?;
        if rpassword::prompt_password("The same again: ")? != first {
            return Err(Failure::Setup("the two passwords differ; nothing was changed".to_owned()));
        }
        first
    } else {
        let mut text = String::new();
        std::io::stdin().take(MAX_BYTES as u64 + 2).read_to_string(&mut text)?;
        text.lines().next().unwrap_or_default().to_owned()
    };
    let password = Password::new(text);
    password.check_length().map_err(Failure::Setup)?;
    Ok(password)
}
