//! One direction: a layer knows those below it and none above.

mod circles;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The layers from the bottom up, each with what it must not know.
const LAYERS: &[(&[&str], &str)] = &[
    (
        &["error", "time", "id", "event", "files", "network"],
        "plain values; they may use each other and nothing else",
    ),
    (&["anomaly"], "what of all that happens is worth a person's time, whoever it happens to"),
    (&["wire"], "bytes and structures: no keys, no clock, no policy"),
    (&["key"], "keys, without what they are used for"),
    (&["verify"], "the signature alone: nothing of a claim is believed here"),
    (&["outbound"], "requests to the issuer, whatever for"),
    (&["revocation"], "what is denied, whoever asks"),
    (&["replay", "proof"], "nonces and proofs of possession, whoever asks"),
    (&["policy"], "pure decisions over what is verified"),
    (&["session"], "what was admitted"),
    (&["verifier", "danger"], "the edge in one call; looking inside"),
    (&["ticket"], "tickets, redeemed once"),
    (&["renew"], "renewal as an edge does it, whatever asked"),
    (&["issuer"], "sessions and tokens, without HTTP"),
    (&["http"], "HTTP for any application, without the service"),
    (&["service"], "what any listening process needs, whatever it serves"),
    (&["edge"], "the forward-auth service, which knows nothing of the login service"),
    (&["server"], "the login service"),
    (&["cli", "main"], "the command line, which is thin"),
];

fn src() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rank(module: &str) -> Option<usize> {
    LAYERS.iter().position(|(modules, _)| modules.contains(&module))
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The module at the crate's root that a file belongs to.
fn module_of(file: &Path) -> String {
    let first = file.strip_prefix(src()).unwrap().components().next().unwrap();
    let name = first.as_os_str().to_str().unwrap();
    name.strip_suffix(".rs").unwrap_or(name).to_owned()
}

/// The text without comments, in which documentation may name anything, and
/// without string literals' influence (no path looks like a `crate::` path).
fn without_comments(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// What follows each `crate::`: one name, or those in braces.
fn names_after_crate(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        // Not the end of another word, like `my_crate::`.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let (mut depth, mut name) = (0, String::new());
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => names.extend(first_word(&std::mem::take(&mut name))),
                    _ if depth == 0 => name.push(c),
                    _ => {}
                }
            }
            names.extend(first_word(&name));
        } else {
            names.extend(first_word(rest));
        }
    }
    names
}

fn first_word(text: &str) -> Option<String> {
    let word: String = text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!word.is_empty()).then_some(word)
}

#[test]
fn no_layer_names_a_higher_one() {
    let mut found = Vec::new();
    files(&src(), &mut found);
    assert!(found.len() > 20, "the sources were not found");
    let (mut wrong, mut named) = (Vec::new(), 0);
    for file in &found {
        let module = module_of(file);
        // lib.rs names everything; unit tests may look at it from above.
        if module == "lib" || file.file_name().is_some_and(|name| name == "tests.rs") {
            continue;
        }
        let shown = file.strip_prefix(src()).unwrap().display();
        let Some(own) = rank(&module) else {
            wrong.push(format!("{shown}: '{module}' has no place in LAYERS"));
            continue;
        };
        for name in names_after_crate(&without_comments(&std::fs::read_to_string(file).unwrap())) {
            named += 1;
            match rank(&name) {
                Some(other) if other <= own => {}
                Some(other) => wrong.push(format!(
                    "{shown} names crate::{name}, which is above it; {module} is: {}; {name} is: {}",
                    LAYERS[own].1, LAYERS[other].1
                )),
                None => wrong.push(format!(
                    "{shown} names crate::{name}; name the module that it is in, so that the layer shows"
                )),
            }
        }
    }
    assert!(named > 50, "only {named} paths were found");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_walk_finds_every_form_of_a_path() {
    let code = without_comments(
        "use crate::wire::{app, text};\nuse crate::{key, policy::{admit, x}, issuer as i};\n\
         /// [`x`](crate::server::x)\nlet x = crate::http::y(); // crate::cli\npub(crate) use my_crate::verifier;",
    );
    let names: Vec<_> = names_after_crate(&code).into_iter().collect();
    assert_eq!(names, ["http", "issuer", "key", "policy", "wire"]);
}

fn tree(arguments: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "--offline", "--locked", "-e", "normal", "--prefix", "none", "--format", "{p}"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).unwrap();
    names.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// What an edge needs to verify has no async runtime, no HTTP, no database, no
/// randomness and no C.
#[test]
fn the_default_tree_stays_small() {
    const HEAVY: &[&str] =
        &["axum", "tokio", "sqlx", "hyper", "rand", "getrandom", "reqwest", "ring", "libc"];
    for arguments in [&[][..], &["--no-default-features"]] {
        let tree = tree(arguments);
        assert!(tree.iter().any(|name| name == "ed25519-dalek"), "{tree:?}");
        let heavy: Vec<_> =
            tree.iter().filter(|name| HEAVY.contains(&name.as_str()) || name.ends_with("-sys")).collect();
        assert!(heavy.is_empty(), "{arguments:?}: {heavy:?}");
    }
    // The same look at everything finds them, so that it can find them.
    let everything = tree(&["--all-features"]);
    assert!(
        everything.iter().any(|name| name == "axum") && everything.iter().any(|name| name.ends_with("-sys"))
    );
}
