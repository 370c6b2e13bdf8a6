//! `docs/security-requirements.md` and `docs/guarantees.md` name tests: each
//! exists.

use std::path::{Path, PathBuf};

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// `module::test` in code spans.
fn named(page: &str) -> Vec<(&str, &str)> {
    page.split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|code| code.split_once("::"))
        .filter(|(module, test)| {
            [module, test]
                .iter()
                .all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'))
        })
        .collect()
}

/// Whether a file is the module: by its name, or by its folder.
fn is_module(file: &Path, module: &str) -> bool {
    file.iter()
        .any(|part| part.to_str().is_some_and(|part| part.strip_suffix(".rs").unwrap_or(part) == module))
}

#[test]
fn every_test_that_the_pages_name_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = |name: &str| std::fs::read_to_string(root.join("docs").join(name)).unwrap();
    let (requirements, guarantees) = (page("security-requirements.md"), page("guarantees.md"));
    let mut files = Vec::new();
    for dir in ["tests", "src"] {
        rust_files(&root.join(dir), &mut files);
    }
    let (required, guaranteed) = (named(&requirements), named(&guarantees));
    assert!(!requirements.contains("being built"), "a requirement without a test");
    assert!(required.len() > 60 && guaranteed.len() > 30, "the tests were not found");
    for (module, test) in required.into_iter().chain(guaranteed) {
        let declared = format!("fn {test}(");
        let found =
            files.iter().filter(|file| is_module(file.strip_prefix(root).unwrap(), module)).any(|file| {
                let text = std::fs::read_to_string(file).unwrap();
                text.match_indices(&declared).any(|(at, _)| {
                    // Not a helper: an attribute that makes it a test stands above.
                    text[..at].lines().rev().take(8).any(|line| line.contains("test"))
                })
            });
        assert!(found, "there is no test {module}::{test}");
    }
}
