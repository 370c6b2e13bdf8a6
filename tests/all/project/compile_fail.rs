//! Every forbidden state is a compile error, and so can't be reached by
//! mistake.
//!
//! Each file of `tests/compile_fail/` is a program; `//~ E0599` at a line's end
//! says which error it must give, and there must be no other. (trybuild would
//! check hallpass with all the features of the test run a second time, which
//! takes minutes, and compare rustc's whole words, which change.)

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// File and line, and what is said of it.
type Errors = BTreeMap<(String, usize), String>;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn programs() -> Vec<PathBuf> {
    let mut programs: Vec<_> = std::fs::read_dir(root().join("tests/compile_fail"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    programs.sort();
    programs
}

fn name(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}

fn expected(programs: &[PathBuf]) -> Errors {
    let mut errors = Errors::new();
    for program in programs {
        for (at, line) in std::fs::read_to_string(program).unwrap().lines().enumerate() {
            if let Some((_, error)) = line.split_once("//~ ") {
                errors.insert((name(program), at + 1), error.to_owned());
            }
        }
    }
    errors
}

/// A project with a program for each file, which sees hallpass as anybody does.
fn project(programs: &[PathBuf]) -> PathBuf {
    let dir = root().join("target/compile_fail");
    std::fs::create_dir_all(&dir).unwrap();
    let mut manifest = format!(
        "[package]\nname = \"compile_fail\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n\
         hallpass = {{ path = '{}', features = [\"issuer\"] }}\nserde = \"1\"\nserde_json = \"1\"\n",
        root().display()
    );
    for program in programs {
        write!(manifest, "\n[[bin]]\nname = \"{}\"\npath = '{}'\n", name(program), program.display())
            .unwrap();
    }
    std::fs::write(dir.join("Cargo.toml"), manifest).unwrap();
    std::fs::copy(root().join("Cargo.lock"), dir.join("Cargo.lock")).unwrap();
    dir
}

fn found(dir: &Path) -> Errors {
    let output = Command::new(env!("CARGO"))
        .current_dir(dir)
        .args(["check", "--offline", "--keep-going", "--bins", "--message-format=json"])
        .env("CARGO_TARGET_DIR", dir.join("target"))
        .output()
        .unwrap();
    let mut errors = Errors::new();
    let mut control = false;
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        control |= line["reason"] == "compiler-artifact" && line["target"]["name"] == "control";
        let message = &line["message"];
        if line["reason"] != "compiler-message" || message["level"] != "error" {
            continue;
        }
        let spans = message["spans"].as_array().unwrap();
        let Some(span) = spans.iter().find(|span| span["is_primary"] == true) else { continue };
        let at = usize::try_from(span["line_start"].as_u64().unwrap()).unwrap();
        let text = format!("{} {}", message["code"]["code"].as_str().unwrap_or_default(), message["message"]);
        errors.insert((line["target"]["name"].as_str().unwrap().to_owned(), at), text);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(control, "the control did not compile: {errors:?}\n{stderr}");
    errors
}

#[test]
fn forbidden_states_do_not_compile() {
    let programs = programs();
    let expected = expected(&programs);
    assert!(expected.len() > 30, "only {} errors are expected", expected.len());
    let found = found(&project(&programs));
    for ((program, line), error) in &expected {
        let text = found.get(&(program.clone(), *line));
        assert!(
            text.is_some_and(|text| text.contains(error)),
            "{program}.rs:{line} must not compile ({error}), and gives: {text:?}"
        );
    }
    for (place, error) in &found {
        assert!(expected.contains_key(place), "{}.rs:{} gives: {error}", place.0, place.1);
    }
}
