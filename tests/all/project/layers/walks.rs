//! The walks of `docs/architecture.md`: each function exists, each is called by
//! the one that it stands under, and each step stays or goes down.

use std::path::{Path, PathBuf};

use super::{rank, rows};

struct Step<'a> {
    depth: usize,
    file: &'a str,
    function: &'a str,
}

fn steps(block: &str) -> Vec<Step<'_>> {
    block
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let depth = line.len() - line.trim_start().len();
            let (file, function) = line.trim().split_once(' ').expect("a file and a function");
            Step { depth, file, function }
        })
        .collect()
}

fn source(file: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{file}: {why}"))
}

fn module(file: &str) -> Vec<String> {
    let module = file.trim_end_matches(".rs").trim_end_matches("/mod");
    module.split('/').map(str::to_owned).collect()
}

#[test]
fn each_step_is_a_call_and_goes_down() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks: Vec<_> =
        page.split("```walk\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(blocks.len(), 6, "the walks were not found");
    let rows = rows();
    for block in blocks {
        let mut above: Vec<Step<'_>> = Vec::new();
        for step in steps(block) {
            let Step { depth, file, function } = step;
            let text = source(file);
            let declared = [format!("fn {function}("), format!("fn {function}<")];
            assert!(declared.iter().any(|one| text.contains(one)), "{file} has no function {function}");
            above.retain(|caller| caller.depth < depth);
            if let Some(caller) = above.last() {
                let calls = [format!("{function}("), format!("{function}::<"), format!("{function}<")];
                let body = source(caller.file);
                assert!(
                    calls.iter().any(|call| body.contains(call)),
                    "{} does not call {function} of {file}",
                    caller.file
                );
                let (from, to) = (rank(&module(caller.file), &rows), rank(&module(file), &rows));
                assert!(to <= from, "{} to {file} goes up", caller.file);
            }
            above.push(step);
        }
    }
}
