//! No secret in any log: every line that a process under test writes to
//! its stderr is looked at when the process ends, in every test.
//!
//! Finds secrets by their form: tokens and tickets, password hashes, private
//! keys, JWTs. Also finds those that tests register: passwords, shared
//! credentials, private keys' bytes, cookies.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;
use std::process::ChildStderr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

static KNOWN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Makes a secret known to every later look, in the spellings that it may have.
pub(crate) fn secret(text: &str) {
    // Short texts would match by accident.
    if text.len() < 8 {
        return;
    }
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    for spelling in [text.to_owned(), text.replace(' ', "+"), text.replace(' ', "%20"), hex::encode(text)] {
        known.insert(spelling);
    }
    let (head, tail) =
        (text.chars().take(40).collect(), text.chars().skip(text.chars().count() / 2).collect());
    known.extend([head, tail].into_iter().filter(|part: &String| part.len() >= 16));
}

/// Makes the bytes of every private key in a directory known.
pub(crate) fn keys_in(dir: &Path) {
    for file in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(text) = std::fs::read_to_string(file.path()) else { continue };
        let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
        if !text.starts_with("-----BEGIN PRIVATE KEY") {
            continue;
        }
        // PKCS#8 of an Ed25519 key: 16 bytes, then the seed (RFC 8410 §7).
        let der = STANDARD.decode(&body).unwrap();
        let seed = &der[16..48];
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(body[24..].to_owned());
        known.insert(hex::encode(seed));
        known.insert(format!("{:?}", &seed[..8]).trim_matches(['[', ']']).to_owned());
        known.extend([STANDARD_NO_PAD.encode(seed), URL_SAFE_NO_PAD.encode(seed)]);
    }
}

/// The secrets in `log`, each with the line that it is in.
pub(crate) fn found(log: &str) -> Vec<String> {
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut found = Vec::new();
    for line in log.lines() {
        let by_form = form(line);
        let by_name = known.iter().find(|secret| line.contains(&***secret)).map(|_| "a known secret");
        found.extend(by_form.or(by_name).map(|what| format!("{what}: {line}")));
    }
    found
}

/// What a line holds that looks like a secret.
fn form(line: &str) -> Option<&'static str> {
    // Tag 18, an array of four, a protected header of 16 to 255 bytes.
    let begins: [(&str, usize, &str); 4] =
        [("0oRQ", 40, "a token"), ("0oRY", 40, "a token"), ("0oR_", 40, "a token"), ("eyJ", 40, "a JWT")];
    let runs = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'));
    for run in runs.filter(|run| run.len() >= 40) {
        for (start, least, what) in begins {
            if run.find(start).is_some_and(|at| run.len() - at >= least) {
                return Some(what);
            }
        }
    }
    [("$argon2", "a password hash"), ("PRIVATE KEY", "a private key")]
        .into_iter()
        .find_map(|(part, what)| line.contains(part).then_some(what))
}

/// Fails the test if there are any.
pub(crate) fn none_in(what: &str, log: &str) {
    let found = found(log);
    // A second panic would abort the test run and hide the first.
    if !thread::panicking() {
        assert!(found.is_empty(), "{what} logged secrets:\n{}", found.join("\n"));
    }
}

/// What a process writes to its stderr, all of it.
pub(crate) struct Log {
    what: String,
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Log {
    /// Of a process that is called `what` in messages.
    pub(crate) fn of(mut stderr: ChildStderr, what: String) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&text);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = stderr.read(&mut buffer) {
                kept.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..n]));
            }
        });
        Self { what, text, reader: Some(reader) }
    }

    pub(crate) fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    /// Looks at all of it, once the process has ended.
    pub(crate) fn check(&mut self) {
        // Its children may live on with its stderr; what they say is theirs.
        if let Some(reader) = self.reader.take() {
            for _ in 0..200 {
                if reader.is_finished() {
                    break;
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
        none_in(&self.what, &self.text());
    }
}

#[test]
fn every_kind_of_secret_is_found() {
    secret("correct horse of this test");
    let folder = tempfile::TempDir::new().unwrap();
    let keys = folder.path().join("keys");
    crate::support::ok(&["key", "init", "--dir", keys.to_str().unwrap()], b"");
    keys_in(&keys);
    let pem = std::fs::read_dir(&keys).unwrap().map(|file| file.unwrap().path());
    let pem = pem.filter(|path| path.extension().is_some_and(|end| end == "pem"));
    let pem = pem.min().unwrap();
    let pem = std::fs::read_to_string(pem).unwrap();
    let token =
        crate::support::ok(&["token", "issue", "--dir", keys.to_str().unwrap(), "--subject", "a"], b"");
    let token = String::from_utf8(token).unwrap();
    let body = pem.lines().nth(1).unwrap();
    let seed = &STANDARD.decode(body).unwrap()[16..48];
    for line in [
        "{\"password\":\"correct horse of this test\"}",
        "password=correct+horse+of+this+test",
        &format!("token {token:?}"),
        &token[..60],
        pem.lines().next().unwrap(),
        body,
        &hex::encode(seed),
        &format!("{seed:?}"),
        "hash $argon2id$v=19$m=19456",
        "eyJhbGciOiJFUzI1NiIsInR5cCI6ImRwb3Arand0In0.e30",
    ] {
        assert_eq!(found(&format!("before\n{line}\nafter")).len(), 1, "{line}");
    }
    assert!(found("session 3f9a created; key 00fa9c4be1d27735; path /sessions/{id}").is_empty());
}
