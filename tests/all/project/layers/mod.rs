//! The order of the rooms, as the table in `docs/architecture.md` has it: a file
//! imports from its own room and from those above it in the table.

mod circles;
mod imports;
mod walks;

use std::path::Path;
use std::process::Command;

use self::imports::{Module, files, imports};

/// The rows of the table, lowest first: the rooms of each, as module paths.
fn rows() -> Vec<Vec<Module>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md");
    let page = std::fs::read_to_string(page).unwrap();
    let table = page.split("| room |").nth(1).expect("the table of rooms");
    let rows: Vec<Vec<Module>> = table
        .lines()
        .skip(2)
        .map_while(|line| line.strip_prefix("| "))
        .map(|row| {
            let rooms = row.split(" | ").next().unwrap().split('`').skip(1).step_by(2);
            rooms.map(|room| room.split('/').map(str::to_owned).collect()).collect()
        })
        .collect();
    assert!(rows.len() > 15, "the table was not found");
    rows
}

/// The row of the room that a module is in: the longest room name wins.
fn rank(module: &Module, rows: &[Vec<Module>]) -> Option<usize> {
    let rooms = rows.iter().enumerate().flat_map(|(rank, rooms)| rooms.iter().map(move |room| (rank, room)));
    let inside = rooms.filter(|(_, room)| module.starts_with(room));
    inside.max_by_key(|(_, room)| room.len()).map(|(rank, _)| rank)
}

#[test]
fn every_import_goes_down() {
    let (files, rows) = (files(), rows());
    let (mut wrong, mut looked_at) = (Vec::new(), 0);
    for (module, imported) in &imports(&files) {
        let shown = &files[module].shown;
        let Some(own) = rank(module, &rows) else {
            wrong.push(format!("{shown} is in no room of docs/architecture.md"));
            continue;
        };
        for other in imported {
            looked_at += 1;
            if rank(other, &rows).is_none_or(|other| other > own) {
                wrong.push(format!("{shown} imports {}, which is in a higher room", files[other].shown));
            }
        }
        // The crate's root hands on what is public; inside, the room shows.
        let hidden = files[module].named.iter().filter(|path| path.len() == 1 && !files.contains_key(*path));
        wrong.extend(hidden.map(|path| format!("{shown} names crate::{}; name its module", path[0])));
    }
    assert!(looked_at > 300, "only {looked_at} imports were found");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_room_of_the_table_exists() {
    let files = files();
    for room in rows().concat() {
        assert!(
            room == ["main"] || files.keys().any(|module| module.starts_with(&room)),
            "docs/architecture.md has a room {}",
            room.join("/")
        );
    }
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
    // With all features the same check finds them, so the check works.
    let everything = tree(&["--all-features"]);
    assert!(
        everything.iter().any(|name| name == "axum") && everything.iter().any(|name| name.ends_with("-sys"))
    );
}
