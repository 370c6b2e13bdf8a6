//! Real processes of the release build, for benches.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

#[path = "revoke_many.rs"]
mod revoke_many;
pub use revoke_many::revoke_many;

pub const PASSWORD: &str = "correct horse battery";
/// The credentials of services and of edges.
pub const SERVICE: &str = "0123456789abcdef0123456789abcdef";
pub const EDGE: &str = "fedcba9876543210fedcba9876543210";

/// `serve` with its defaults, in a process of its own.
pub struct Serving {
    pub process: Child,
    pub url: String,
}

impl Serving {
    /// `prepare` is given the data directory, before it serves; `config` is a
    /// configuration file's text.
    pub fn start<'a>(
        folder: &Path,
        users: impl IntoIterator<Item = &'a str>,
        config: &str,
        prepare: impl FnOnce(&Path),
    ) -> Self {
        let (data, keys) = (folder.join("data"), folder.join("keys"));
        let hallpass = || Command::new(env!("CARGO_BIN_EXE_hallpass"));
        let made = hallpass().args(["key", "init", "--dir"]).arg(&keys).stdout(Stdio::null()).status();
        assert!(made.unwrap().success());
        for name in users {
            let mut add = hallpass();
            add.args(["user", "add", name, "--data"]).arg(&data).stdin(Stdio::piped());
            let mut adding = add.spawn().unwrap();
            adding.stdin.take().unwrap().write_all(PASSWORD.as_bytes()).unwrap();
            assert!(adding.wait().unwrap().success());
        }
        prepare(&data);
        let mut serve = hallpass();
        serve.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data).arg("--keys").arg(keys);
        let file = folder.join("hallpass.toml");
        std::fs::write(&file, config).unwrap();
        serve
            .arg("--config")
            .arg(file)
            .env("HALLPASS_SERVICE_TOKEN", SERVICE)
            .env("HALLPASS_EDGE_TOKEN", EDGE);
        let serve = serve.env("HALLPASS_LOG", "error").stdout(Stdio::piped());
        let mut process = serve.spawn().unwrap();
        let url = listening(&mut process);
        Self { process, url }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns the address that it prints.
fn listening(process: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let said: serde_json::Value = serde_json::from_str(&line).expect("it says where it listens");
    said["listening"].as_str().unwrap().to_owned()
}

/// `edge`, in a process of its own.
pub struct Edge {
    pub process: Child,
    pub url: String,
}

impl Edge {
    pub fn start(issuer: &str, folder: &Path, more: &[&str]) -> Self {
        let hallpass = || Command::new(env!("CARGO_BIN_EXE_hallpass"));
        let keys =
            hallpass().args(["key", "export", "--use", "feed", "--dir"]).arg(folder.join("keys")).output();
        let trusted = folder.join("feed-keys.cbor");
        std::fs::write(&trusted, keys.unwrap().stdout).unwrap();
        let mut edge = hallpass();
        edge.args(["edge", "--listen", "127.0.0.1:0", "--issuer", issuer, "--trust"]).arg(trusted).args(more);
        let mut process = edge.env("HALLPASS_LOG", "error").stdout(Stdio::piped()).spawn().unwrap();
        let url = listening(&mut process);
        Self { process, url }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
