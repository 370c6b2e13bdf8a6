//! `hallpass serve` and `hallpass demo`.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use axum_server::Handle;
use clap::Args;
use serde_json::json;

pub(super) use super::log::to_stderr as log_to_stderr;
use super::{Failure, print_json, runtime};
use crate::server::config::Config;
use crate::server::demo::Demo;
use crate::server::{IssuerService, Options};
use crate::service::listen::{TlsMode, stop_on_signal};

#[derive(Args)]
pub(super) struct ServeArgs {
    /// The address to listen on, like 127.0.0.1:8700
    #[arg(long)]
    listen: SocketAddr,
    /// The directory of the database
    #[arg(long)]
    data: PathBuf,
    /// The directory of the key files
    #[arg(long)]
    keys: PathBuf,
    /// The configuration, TOML
    #[arg(long)]
    config: Option<PathBuf>,
    /// The certificate chain, PEM
    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The operators' own address, loopback only: /ops and more
    #[arg(long)]
    admin_listen: Option<SocketAddr>,
    /// A proxy in front ends TLS, and nobody reaches this address without it
    #[arg(long, conflicts_with = "tls_cert")]
    behind_tls_proxy: bool,
}

#[derive(Args)]
pub(super) struct DemoArgs {
    /// The address of the login service
    #[arg(long, default_value = "127.0.0.1:8700")]
    listen: SocketAddr,
    /// The address of the protected app
    #[arg(long, default_value = "127.0.0.1:8701")]
    app_listen: SocketAddr,
    /// The configuration, TOML; for trying other lifetimes
    #[arg(long)]
    config: Option<PathBuf>,
}

impl ServeArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        log_to_stderr();
        let transport = match (self.tls_cert, self.tls_key) {
            (Some(cert), Some(key)) => TlsMode::Tls { cert, key },
            _ if self.behind_tls_proxy => TlsMode::BehindTlsProxy,
            _ => TlsMode::Plain,
        };
        let scheme = if matches!(transport, TlsMode::Tls { .. }) { "https" } else { "http" };
        let config = read_config(self.config)?;
        let base_path = config.base_path.clone();
        let options = Options {
            listen: self.listen,
            data: self.data,
            keys: self.keys,
            config,
            transport,
            admin_listen: self.admin_listen,
        };
        runtime()?.block_on(async {
            let issuer = IssuerService::open(options).await?;
            let address = issuer.address()?;
            let handle = Handle::new();
            tokio::spawn(stop_on_signal(handle.clone()));
            let admin = issuer.admin_address()?.map(|address| format!("http://{address}"));
            print_json(&json!({ "listening": format!("{scheme}://{address}{base_path}"), "admin": admin }))?;
            Ok(issuer.serve(handle).await?)
        })
    }
}

impl DemoArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        log_to_stderr();
        let config = read_config(self.config)?;
        runtime()?.block_on(async {
            let demo = Demo::open(self.listen, self.app_listen, config).await?;
            let handle = Handle::new();
            tokio::spawn(stop_on_signal(handle.clone()));
            explain(&demo)?;
            Ok(demo.serve(handle).await?)
        })
    }
}

fn explain(demo: &Demo) -> std::io::Result<()> {
    let Demo { issuer_url, app_url, user, password, .. } = demo;
    // With `cargo run`, hallpass is not on the PATH.
    let hallpass = std::env::current_exe()?;
    let hallpass = hallpass.display();
    let mut out = std::io::stdout().lock();
    write!(
        out,
        "\
hallpass demo: everything is in this process, and gone when it ends (Ctrl-C).

  login service   {issuer_url}/
  protected app   {app_url}/
  user            {user}
  password        {password}

In a browser, open {app_url}/ and log in.

With curl, log in, and keep the token:

  TOKEN=$(curl -s {issuer_url}/login -H 'Content-Type: application/json' \\
    -d '{{\"username\":\"{user}\",\"password\":\"{password}\",\"transport\":\"bearer\"}}' \\
    | sed 's/.*\"token\":\"\\([^\"]*\\)\".*/\\1/')

show it to the app, which has the public key and nothing else:

  curl -s {app_url}/ -H \"Authorization: Bearer $TOKEN\"

and look inside, or verify it yourself:

  {hallpass} token inspect $TOKEN
  {hallpass} token verify $TOKEN --audience demo --keys {issuer_url}/.well-known/hallpass/keys
"
    )?;
    out.flush()
}

fn read_config(path: Option<PathBuf>) -> Result<Config, Failure> {
    Ok(path.map(|path| Config::read(&path)).transpose()?.unwrap_or_default())
}
