//! No import circle: the files of `src/` can be put into an order in which each
//! names earlier ones alone.
//!
//! A file's imports are its `crate::`, `super::` and `self::` paths. A name that
//! a module re-exports counts for the file that defines it. What `mod` declares
//! is not an import. Unit tests may look at their module from above.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use syn::visit::{self, Visit};

/// A module's path from the crate's root; the root is empty.
type Module = Vec<String>;

#[derive(Default)]
struct File {
    shown: String,
    /// Every path that the file names, resolved from the crate's root.
    named: BTreeSet<Module>,
    /// What it hands on: the name here, and the path of what it stands for.
    re_exports: BTreeMap<String, Module>,
}

struct Paths<'a> {
    module: &'a Module,
    file: File,
}

impl Paths<'_> {
    /// The path from the crate's root, or nothing for one that starts elsewhere.
    fn resolve(&self, segments: &[String]) -> Option<Module> {
        let mut resolved = match segments.first()?.as_str() {
            "crate" => Module::new(),
            "self" => self.module.clone(),
            "super" => self.module.split_last()?.1.to_vec(),
            _ => return None,
        };
        for segment in &segments[1..] {
            if segment == "super" {
                resolved.pop();
            } else {
                resolved.push(segment.clone());
            }
        }
        Some(resolved)
    }

    fn tree(&mut self, tree: &syn::UseTree, before: &[String], handed_on: bool) {
        let mut path = before.to_vec();
        let (name, renamed) = match tree {
            syn::UseTree::Path(inner) => {
                path.push(inner.ident.to_string());
                return self.tree(&inner.tree, &path, handed_on);
            }
            syn::UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.tree(tree, before, handed_on));
            }
            syn::UseTree::Name(name) => (name.ident.to_string(), name.ident.to_string()),
            syn::UseTree::Rename(name) => (name.ident.to_string(), name.rename.to_string()),
            syn::UseTree::Glob(_) => ("*".to_owned(), "*".to_owned()),
        };
        if name != "self" {
            path.push(name);
        }
        // `pub use child::Name` names a child without `self::`.
        if handed_on && !matches!(path[0].as_str(), "crate" | "self" | "super") {
            path.insert(0, "self".to_owned());
        }
        let Some(resolved) = self.resolve(&path) else { return };
        if handed_on {
            self.file.re_exports.insert(renamed, resolved);
        } else {
            self.file.named.insert(resolved);
        }
    }
}

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let handed_on = !matches!(item.vis, syn::Visibility::Inherited);
        self.tree(&item.tree, &[], handed_on);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.file.named.extend(self.resolve(&segments));
        visit::visit_path(self, path);
    }

    /// `pub(super)` imports nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let for_tests = item.attrs.iter().any(|attribute| attribute.path().is_ident("cfg"));
        if !(for_tests && item.ident == "tests") {
            visit::visit_item_mod(self, item);
        }
    }
}

fn module_of(file: &Path, src: &Path) -> Module {
    let path = file.strip_prefix(src).unwrap().with_extension("");
    let mut module: Module = path.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if module.last().is_some_and(|last| last == "mod") || module == ["lib"] {
        module.pop();
    }
    module
}

/// The file that a path leads to, through re-exports. The crate's root is none:
/// it hands on everything.
fn target(path: &Module, files: &BTreeMap<Module, File>) -> Option<Module> {
    let mut path = path.clone();
    // A re-export of a re-export is followed as well, but not for ever.
    for _ in 0..8 {
        let module = (1..=path.len()).rev().map(|n| &path[..n]).find(|module| files.contains_key(*module));
        let module = module.map(<[_]>::to_vec).unwrap_or_default();
        let handed_on = path.get(module.len()).and_then(|name| files[&module].re_exports.get(name));
        match handed_on {
            Some(original) => path = original.clone(),
            None => return (!module.is_empty()).then_some(module),
        }
    }
    panic!("{path:?} is handed on in a circle");
}

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

fn parse(module: &Module, text: &str, shown: String) -> File {
    let mut paths = Paths { module, file: File { shown, ..File::default() } };
    paths.visit_file(&syn::parse_file(text).unwrap());
    paths.file
}

fn imports(files: &BTreeMap<Module, File>) -> BTreeMap<Module, BTreeSet<Module>> {
    files
        .iter()
        .filter(|(module, _)| !module.is_empty())
        .map(|(module, file)| {
            let named = file.named.iter().filter_map(|path| target(path, files));
            (module.clone(), named.filter(|other| other != module).collect())
        })
        .collect()
}

#[test]
fn no_file_imports_itself_through_others() {
    let src = super::src();
    let mut found = Vec::new();
    super::files(&src, &mut found);
    let files: BTreeMap<_, _> = found
        .iter()
        .filter(|file| file.file_name().is_some_and(|name| name != "tests.rs" && name != "main.rs"))
        .map(|file| {
            let module = module_of(file, &src);
            let text = std::fs::read_to_string(file).unwrap();
            let shown = file.strip_prefix(&src).unwrap().display().to_string();
            let parsed = parse(&module, &text, shown);
            (module, parsed)
        })
        .collect();
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
