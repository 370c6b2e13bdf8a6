//! The documentation is true: its commands run, its listing is of a real
//! token, its examples are as small as it says.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<PathBuf> {
    let docs = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<_> = docs.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    pages.push(root().join("README.md"));
    pages.sort();
    pages
}

/// The blocks that are fenced as `sh`, one after the other.
fn shell(page: &str) -> String {
    let mut script = String::new();
    let mut inside = false;
    for line in page.lines() {
        match (inside, line) {
            (false, "```sh") => inside = true,
            (true, "```") => inside = false,
            (true, line) => script.extend([line, "\n"]),
            _ => {}
        }
    }
    script
}

/// The script with a free port in the place of each port of 127.0.0.1 that it
/// prints: two runs on one machine must not meet.
fn with_free_ports(script: &str) -> String {
    let mut ports = BTreeMap::new();
    for rest in script.split("127.0.0.1:").skip(1) {
        let printed: String = rest.chars().take_while(char::is_ascii_digit).collect();
        // Held until all are chosen, so that no two are the same.
        ports.entry(printed).or_insert_with(|| TcpListener::bind("127.0.0.1:0").unwrap());
    }
    ports.into_iter().filter(|(printed, _)| !printed.is_empty()).fold(
        script.to_owned(),
        |script, (printed, free)| {
            let free = free.local_addr().unwrap();
            script.replace(&format!("127.0.0.1:{printed}"), &free.to_string())
        },
    )
}

/// Runs a page's commands in a folder of their own; again on other ports if
/// somebody else took one in between.
fn run(script: &str, path: &str) -> (Output, TempDir) {
    for attempts_left in (0..5).rev() {
        let folder = TempDir::new().unwrap();
        // Stops whatever a page leaves running.
        let script = with_free_ports(script);
        let script = format!("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\nset -euo pipefail\n{script}");
        let output = Command::new("bash")
            .args(["-c", &script])
            .current_dir(folder.path())
            .env("PATH", path)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let taken = String::from_utf8_lossy(&output.stderr).contains("can't listen on");
        if output.status.success() || !taken || attempts_left == 0 {
            return (output, folder);
        }
    }
    unreachable!("the last attempt returns")
}

/// Every page's commands, in order, in a folder of its own.
#[test]
fn every_command_in_the_documentation_runs() {
    let program = Path::new(env!("CARGO_BIN_EXE_hallpass"));
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut ran = 0;
    for page in pages() {
        let script = shell(&std::fs::read_to_string(&page).unwrap());
        if script.is_empty() {
            continue;
        }
        if script.contains("curl ") && !crate::support::needs("curl") {
            continue;
        }
        let (output, folder) = run(&script, &path);
        assert!(
            output.status.success(),
            "{}:\n{}\n{}",
            page.display(),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        crate::support::leaks::none_in(&page.display().to_string(), &String::from_utf8_lossy(&output.stderr));
        let logs = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
        for log in logs.filter(|path| path.extension().is_some_and(|end| end == "log")) {
            crate::support::leaks::none_in(
                &page.display().to_string(),
                &std::fs::read_to_string(log).unwrap(),
            );
        }
        ran += 1;
    }
    assert!(ran > 0, "no page has commands");
}

#[test]
fn every_link_between_the_pages_leads_somewhere() {
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") || target.starts_with('#') {
                continue;
            }
            let file = target.split('#').next().unwrap();
            assert!(page.parent().unwrap().join(file).exists(), "{}: {target}", page.display());
        }
    }
}

#[test]
fn the_smallest_examples_are_small() {
    for name in ["edge", "login_service"] {
        let text = std::fs::read_to_string(root().join(format!("examples/{name}.rs"))).unwrap();
        assert!(text.lines().count() < 40, "{name}");
    }
}

/// The listing in docs/specification.md; `HALLPASS_WRITE=1` writes it again.
#[test]
fn the_annotated_token_is_a_token() {
    let listing = annotate(&good_token());
    let path = root().join("docs/specification.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (start, end) = ("<!-- annotated token: written by a test -->\n", "\n[RFC 4648]:");
    let (before, rest) = page.split_once(start).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    let wanted = format!("{before}{start}\n{listing}{end}{after}");
    if std::env::var_os("HALLPASS_WRITE").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    assert!(page == wanted, "docs/specification.md is out of date; run again with HALLPASS_WRITE=1");
}

/// The vector for alice at an audience of five letters.
fn good_token() -> String {
    let vectors = std::fs::read_to_string(root().join("tests/vectors/tokens.json")).unwrap();
    let vectors: serde_json::Value = serde_json::from_str(&vectors).unwrap();
    let fits = |vector: &&serde_json::Value| {
        let session = &vector["session"];
        vector["verdict"] == "accepted"
            && session["subject"] == "alice"
            && session["audience"].as_str().is_some_and(|audience| audience.len() == 5)
            && session["claims"].is_null()
            && vector["issuer"].is_null()
    };
    let vector = vectors["vectors"].as_array().unwrap().iter().find(fits).unwrap();
    vector["token"].as_str().unwrap().to_owned()
}

/// The token's bytes, each run with what it is. Fails if the token is not of
/// this form, since every length is checked against the bytes' own.
fn annotate(token: &str) -> String {
    let bytes = crate::support::raw::unbase64url(token);
    let mut listing = format!("```text\n{token}\n\n");
    let mut at = 0;
    let mut line = |length: usize, starts: &[u8], what: &str| {
        let run = &bytes[at..at + length];
        assert!(run.starts_with(starts), "{what}: {run:02x?}");
        at += length;
        let digits: Vec<_> = run.chunks(16).map(hex::encode).collect();
        for (n, digits) in digits.iter().enumerate() {
            let what = if n == 0 { what } else { "" };
            listing.push_str(format!("{digits:<34}{what}").trim_end());
            listing.push('\n');
        }
    };
    line(1, &[0xd2], "tag 18: COSE_Sign1");
    line(1, &[0x84], "array of 4");
    line(1, &[0x50], "  protected header, 16 bytes");
    line(1, &[0xa3], "    map of 3");
    line(2, &[1, 0x27], "      1 (alg): -8 (EdDSA)");
    line(10, &[4, 0x48], "      4 (kid): 8 bytes of the key's thumbprint");
    line(3, &[0x10, 0x18, 61], "      16 (typ): 61 (application/cwt)");
    line(1, &[0xa0], "  unprotected header, empty");
    line(2, &[0x58], "  payload");
    line(1, &[0xa6], "    map of 6");
    line(7, &[2, 0x65], "      2 (sub): \"alice\"");
    line(7, &[3, 0x65], "      3 (aud)");
    line(6, &[4, 0x1a], "      4 (exp)");
    line(6, &[6, 0x1a], "      6 (iat)");
    line(18, &[7, 0x50], "      7 (cti)");
    line(6, &[0x3a, 0, 1, 0, 0, 0x85], "      -65537: array of 5");
    line(17, &[0x50], "        sid");
    line(5, &[0x1a], "        started");
    line(5, &[0x1a], "        ends");
    line(1, &[], "        generation");
    line(5, &[0x1a], "        auth_time");
    line(66, &[0x58, 64], "  signature, 64 bytes");
    assert_eq!(at, bytes.len());
    listing.push_str("```\n");
    listing
}
