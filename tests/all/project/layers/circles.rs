//! No import circle: the files of `src/` can be put into an order in which each
//! names earlier ones alone.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::{Module, files, imports, parse};

/// Groups of files of which each leads to every other.
fn circles(imports: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<BTreeSet<Module>> {
    let reach = |from: &Module| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(module) = next.pop() {
            for to in imports.get(&module).into_iter().flatten() {
                if seen.insert(to.clone()) {
                    next.push(to.clone());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<_, _> = imports.keys().map(|module| (module, reach(module))).collect();
    let mut found = BTreeSet::new();
    for (module, reachable) in &reached {
        if reachable.contains(*module) {
            let back = |other: &&Module| reached.get(other).is_some_and(|reached| reached.contains(*module));
            found.insert(reachable.iter().filter(back).cloned().collect::<BTreeSet<_>>());
        }
    }
    found.into_iter().collect()
}

#[test]
fn no_file_imports_itself_through_others() {
    let files = files();
    let imports = imports(&files);
    assert!(imports.values().map(BTreeSet::len).sum::<usize>() > 300, "the imports were not found");
    let circles: Vec<_> = circles(&imports)
        .iter()
        .map(|circle| {
            let inside = circle.iter().flat_map(|from| {
                let to = imports[from].iter().filter(|to| circle.contains(*to));
                to.map(|to| format!("  {} imports {}", files[from].shown, files[to].shown))
            });
            inside.collect::<Vec<_>>().join("\n")
        })
        .collect();
    assert!(circles.is_empty(), "{} import circles:\n{}", circles.len(), circles.join("\n\n"));
}

#[test]
fn a_circle_through_a_re_export_is_found() {
    let sources = [
        ("", "pub mod a; pub mod b; pub use a::A;"),
        ("a", "mod inner; pub use inner::A; use crate::b::B;"),
        ("a::inner", "pub struct A(super::super::b::B);"),
        ("b", "use crate::a::A; pub struct B;"),
        ("c", "use crate::a::A; #[cfg(test)] mod tests { use crate::d::D; }"),
        ("d", "use crate::c::C;"),
    ];
    let files: BTreeMap<_, _> = sources
        .iter()
        .map(|(module, text)| {
            let path: Module =
                module.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
            let file = parse(&path, text, (*module).to_owned());
            (path, file)
        })
        .collect();
    let found = circles(&imports(&files));
    let circle = [vec!["a".to_owned(), "inner".to_owned()], vec!["b".to_owned()]];
    assert_eq!(found, [BTreeSet::from(circle)]);
}
